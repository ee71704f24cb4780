//! The end of a mount: what is under way is waited for as long as the server goes on. Without it, what was written stays on
//! this machine, and the mount ends at once.

use crate::ftp::client::Client;
use crate::mount::End;
use crate::remote::Remote as _;
use crate::vfs::Vfs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

/// A server of which nothing came for so long is asked whether it is still there, by a connection of its own.
const QUIET: Duration = Duration::from_millis(400);
/// How long the answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(600);
/// One that is there and slow is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Watches the server while a mount ends, for as long as it lives.
#[derive(Debug)]
pub(super) struct Farewell {
    done: Arc<AtomicBool>,
}

impl Farewell {
    /// Begins to watch. Where the server is gone, everything under way ends, and `ended` is told not to wait for those who
    /// still have files open.
    pub(super) fn begin(client: &Arc<Client>, vfs: &Arc<Vfs>, ended: &Sender<End>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (client, ending, ended, over) =
            (Arc::clone(client), vfs.ending().clone(), ended.clone(), Arc::clone(&done));
        let watch = move || {
            if is_gone(&client, &over) {
                log::warn!("the server does not answer: the mount ends without it");
                ending.begin();
                // Fails when the end has come anyway.
                let _ = ended.send(End::GivenUp { impatient: false });
            }
        };
        if let Err(error) = thread::Builder::new().name("farewell".into()).spawn(watch) {
            log::warn!("the end of the mount waits for the server, whether it is there or not: {error}");
        }
        Self { done }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Waits until the server turns out to be gone; `false` when nobody wants to know any more.
fn is_gone(client: &Client, over: &AtomicBool) -> bool {
    let mut quiet_since = Instant::now();
    let mut quiet = QUIET;
    while !over.load(Ordering::Relaxed) {
        if client.is_away() {
            return true;
        }
        if !client.is_silent_since(quiet_since) {
            (quiet_since, quiet) = (Instant::now(), QUIET);
        } else if quiet_since.elapsed() >= quiet {
            if !client.answers(ANSWER_MAX) && client.is_silent_since(quiet_since) {
                return !over.load(Ordering::Relaxed);
            }
            (quiet_since, quiet) = (Instant::now(), ASK_AGAIN);
        }
        thread::sleep(PAUSE);
    }
    false
}
