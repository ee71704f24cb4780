//! Times in which nothing moved for anybody, and how long calls waited in them.
//!
//! A request ends at most a second after `timeout=` in which no byte moved for it (docs/semantics.md). Whether a byte moves for
//! this request or for that one cannot be seen from outside; that none moves for any can: while the link is cut, or the server
//! stands still and all that was on its way has arrived. So some faults last longer than `timeout=` and that second, and no
//! call may wait for so long within one of them, whatever moved before and whichever request of the kernel it was then at: the
//! first one that ends with an error ends the call.

use std::time::{Duration, Instant};

/// A call that took long.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) name: String,
}

/// From then to then nothing moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stillness {
    from: Instant,
    to: Instant,
}

impl Stillness {
    /// From now on nothing moves but what is on its way, and that until `pause` has returned at least.
    pub(super) fn during(pause: impl FnOnce()) -> Self {
        let from = Instant::now() + DRAINED;
        pause();
        Self { from, to: Instant::now() }
    }

    /// How much of `wait` lies in it.
    fn share(&self, wait: &Wait) -> Duration {
        wait.ended.min(self.to).saturating_duration_since(wait.begun.max(self.from))
    }
}

/// The longest that any call waited while nothing moved, and which.
pub(super) fn longest(waits: &[Wait], times: &[Stillness]) -> (Duration, String) {
    let pairs = waits.iter().flat_map(|wait| times.iter().map(move |time| (time.share(wait), wait)));
    pairs.max_by_key(|(share, _)| *share).map(|(share, wait)| (share, wait.name.clone())).unwrap_or_default()
}

/// How long what was sent before may go on arriving, from the buffers of the kernels at both ends: 12 MB.
const DRAINED: Duration = Duration::from_secs(1);
