//! The first login of a mount that did not wait for it: made when somebody wants something, and not again and again while
//! it fails. An account that is tried at each look of each program is soon a locked one.

use crate::ftp::client::kind::translate;
use crate::ftp::error::Error;
use crate::remote::{self, ErrorKind};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether the server has let us in.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    is_passed: AtomicBool,
    refusal: Mutex<Option<Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    kind: ErrorKind,
    text: String,
    since: Instant,
}

impl Entrance {
    /// Of a client that is in already.
    pub(super) fn passed() -> Self {
        Self { is_passed: AtomicBool::new(true), ..Self::default() }
    }

    /// Enters, unless that is done or was refused a moment ago. Several may enter at the same time: the lock is not held
    /// meanwhile.
    pub(super) fn pass(&self, enter: impl FnOnce() -> Result<(), Error>) -> Result<(), remote::Error> {
        if self.is_passed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(refusal) = self.refusal.lock().as_ref().filter(|refusal| refusal.since.elapsed() < refusal.pause())
        {
            return Err(remote::Error::new(refusal.kind, refusal.text.clone()));
        }
        match enter().map_err(translate) {
            Ok(()) => {
                self.is_passed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                *self.refusal.lock() =
                    Some(Refusal { kind: error.kind, text: error.to_string(), since: Instant::now() });
                Err(error)
            }
        }
    }
}

impl Refusal {
    /// How long nobody tries again.
    fn pause(&self) -> Duration {
        match self.kind {
            ErrorKind::LoginRefused | ErrorKind::Insecure => Duration::from_secs(60),
            _ => Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_is_not_tried_again_at_once() {
        let entrance = Entrance::default();
        let refused = || Err(Error::Insecure { step: "login".to_owned(), why: "no".to_owned() });
        for tries in [1, 0, 0] {
            let mut tried = 0;
            let error = entrance.pass(|| {
                tried += 1;
                refused()
            });
            assert_eq!((tried, error.unwrap_err().to_string().as_str()), (tries, "login: no"));
        }
        let open = Entrance::default();
        assert!(open.pass(|| Ok(())).is_ok() && open.pass(refused).is_ok());
    }
}
