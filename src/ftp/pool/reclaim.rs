//! Transfers that can give their session up.

use crate::ftp::pool::Lease;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// Something that holds a session for long and can give it up.
pub trait Reclaim: Send + Sync {
    /// Gives the session up, if nobody uses it or did a moment ago.
    fn reclaim(&self) -> Option<Lease>;

    /// When it was last used.
    fn idle_since(&self) -> Instant;

    /// Whether it can give its session up without waiting for the server.
    fn is_download(&self) -> bool;
}

/// The transfers that are still there, the longest idle first.
pub(super) fn by_idleness(transfers: &[Weak<dyn Reclaim>]) -> Vec<Arc<dyn Reclaim>> {
    let mut transfers: Vec<_> = transfers.iter().filter_map(Weak::upgrade).collect();
    // Asked once of each: it changes while they are sorted, and a sort whose keys change panics.
    transfers.sort_by_cached_key(|transfer| transfer.idle_since());
    transfers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

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
