//! Transfers that can give their session up.

use crate::ftp::pool::{Lease, Pool};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Something that holds a session for long and can give it up.
pub trait Reclaim: Send + Sync {
    /// Gives the session up, if nobody uses it or did a moment ago.
    fn reclaim(&self) -> Option<Lease>;

    /// When it was last used.
    fn idle_since(&self) -> Instant;

    /// Whether it can give its session up without waiting for the server.
    fn is_download(&self) -> bool;
}

impl Pool {
    /// Registers a transfer that may be asked to give its session up.
    pub fn register(&self, transfer: Weak<dyn Reclaim>) {
        let mut state = self.state.lock();
        state.transfers.retain(|transfer| transfer.strong_count() > 0);
        state.transfers.push(transfer);
    }

    /// A download broke off whose reader had paused for so long: others must not.
    pub fn paused_in_vain(&self, paused: Duration) {
        let mut state = self.state.lock();
        if paused >= PAUSED_MIN && !std::mem::replace(&mut state.ends_paused, true) {
            log::info!(
                "a download that was not read for {paused:.1?} broke off: paused ones give their connection back sooner"
            );
        }
    }

    /// Takes their sessions from downloads that nobody reads: servers end what stands still, and the session with it.
    pub(super) fn put_paused_aside(self: &Arc<Self>) {
        let (transfers, limit) = {
            let state = self.state.lock();
            (by_idleness(&state.transfers), if state.ends_paused { PAUSED_MIN } else { PAUSED_MAX })
        };
        let is_paused =
            |transfer: &&Arc<dyn Reclaim>| transfer.is_download() && transfer.idle_since().elapsed() >= limit;
        for lease in transfers.iter().filter(is_paused).filter_map(|transfer| transfer.reclaim()) {
            log::debug!("a paused download gives its connection back");
            lease.give_back();
        }
    }
}

/// The transfers that are still there, the longest idle first.
pub(super) fn by_idleness(transfers: &[Weak<dyn Reclaim>]) -> Vec<Arc<dyn Reclaim>> {
    let mut transfers: Vec<_> = transfers.iter().filter_map(Weak::upgrade).collect();
    // Asked once of each: it changes while they are sorted, and a sort whose keys change panics.
    transfers.sort_by_cached_key(|transfer| transfer.idle_since());
    transfers
}

/// How long a download that nobody reads keeps its session. vsftpd and pyftpdlib end the session after 300 s, by default; giving it
/// up costs what was on its way.
const PAUSED_MAX: Duration = Duration::from_secs(20);
/// The same where the server turned out to be less patient.
const PAUSED_MIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// One that is read from meanwhile: each look finds another time.
    struct Read {
        began: Instant,
        looks: AtomicU32,
    }

    impl Reclaim for Read {
        fn reclaim(&self) -> Option<Lease> {
            None
        }

        fn idle_since(&self) -> Instant {
            // Back and forth, so that no order is right.
            let look = self.looks.fetch_add(1, Ordering::Relaxed);
            self.began + Duration::from_secs(u64::from(look.wrapping_mul(2_654_435_761) >> 16))
        }

        fn is_download(&self) -> bool {
            true
        }
    }

    #[test]
    fn transfers_that_are_used_meanwhile_are_sorted() {
        let began = Instant::now();
        let transfers: Vec<_> =
            (0..500).map(|number| Arc::new(Read { began, looks: AtomicU32::new(number * 7919) })).collect();
        let weak: Vec<Weak<dyn Reclaim>> =
            transfers.iter().map(|transfer| Arc::downgrade(transfer) as Weak<dyn Reclaim>).collect();
        assert_eq!(by_idleness(&weak).len(), 500);
        let looks: Vec<u32> = transfers.iter().map(|transfer| transfer.looks.load(Ordering::Relaxed)).collect();
        let once: Vec<u32> = (0..500).map(|number| number * 7919 + 1).collect();
        assert_eq!(looks, once);
    }
}
