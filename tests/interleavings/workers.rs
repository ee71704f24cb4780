//! Stands for `src/workers.rs`: each piece of work is a thread of its own, so that nothing is sure of their order.

use shuttle::thread;
use std::io;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Workers {}

/// Nothing: threads do not run out here.
#[derive(Default)]
pub(crate) struct Undone(Vec<Box<dyn FnOnce() + Send>>);

impl Workers {
    pub(crate) fn named(_name: &'static str) -> Self {
        Self {}
    }

    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Undone {
        thread::spawn(work);
        Undone::default()
    }

    pub(crate) fn wait(&self, _limit: Duration) -> bool {
        true
    }
}

/// Twice, whatever pause it asks for: a thread that goes on for ever would be one that is never done.
pub(crate) fn repeat(_name: &str, mut work: impl FnMut() -> Option<Duration> + Send + 'static) -> io::Result<()> {
    thread::spawn(move || {
        let _ = work().and_then(|_pause| work());
    });
    Ok(())
}
