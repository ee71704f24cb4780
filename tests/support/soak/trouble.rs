//! What fails, every few seconds.

use super::stillness::Stillness;
use crate::support::link::Link;
use crate::support::random::Random;
use crate::support::server::Server;
use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

pub(super) struct Troubles {
    random: Random,
    /// Some last longer.
    timeout: Duration,
    counts: BTreeMap<&'static str, usize>,
    still: Vec<Stillness>,
}

impl Troubles {
    pub(super) fn new(random: Random, timeout: Duration) -> Self {
        Self { random, timeout, counts: BTreeMap::new(), still: Vec::new() }
    }

    /// One after the other until `until`, at which everything works.
    pub(super) fn make(&mut self, server: &mut Server, link: &Link, until: Instant) {
        loop {
            self.pause(2_000, 5_000);
            if Instant::now() >= until {
                return;
            }
            // A long one comes for sure, and first, so that a short run has it.
            let which = if self.counts.is_empty() { LONG_ONES.start } else { 0 };
            let which = which + self.random.below(LONG_ONES.end - which);
            let name = self.one(which, server, link);
            *self.counts.entry(name).or_default() += 1;
        }
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, usize)> {
        self.counts.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// The times in which nothing moved.
    pub(super) fn still(&self) -> &[Stillness] {
        &self.still
    }

    fn one(&mut self, which: u64, server: &mut Server, link: &Link) -> &'static str {
        match which {
            0..3 => {
                link.cut();
                self.pause(1_000, 8_000);
                link.mend();
                CUT
            }
            3..6 => {
                server.stop();
                self.pause(0, 2_000);
                server.start_again();
                RESTART
            }
            6..9 => {
                server.suspend();
                self.pause(500, 6_000);
                server.resume();
                STOP
            }
            9..12 => {
                server.kill_sessions();
                KILL
            }
            LONG_CUT => {
                link.cut();
                let still = Stillness::of_a_cut(OUTLASTING_CUT, || self.outlast());
                link.mend();
                self.still.push(still);
                OUTLASTING_CUT
            }
            LONG_STOP => {
                server.suspend();
                let still = Stillness::of_a_stop(OUTLASTING_STOP, link, || self.outlast());
                server.resume();
                self.still.push(still);
                OUTLASTING_STOP
            }
            _ => {
                link.forget();
                RESET
            }
        }
    }

    /// So long that whoever waits now has to be told.
    fn outlast(&mut self) {
        thread::sleep(self.timeout);
        self.pause(4_000, 5_000);
    }

    fn pause(&mut self, at_least: u64, at_most: u64) {
        thread::sleep(Duration::from_millis(at_least + self.random.below(at_most - at_least)));
    }
}

const CUT: &str = "cuts of the link";
const RESTART: &str = "restarts after kill -9";
const STOP: &str = "SIGSTOP and SIGCONT";
const KILL: &str = "kills of all sessions";
const RESET: &str = "resets of all connections";
const OUTLASTING_CUT: &str = "cuts for longer than the time limit";
const OUTLASTING_STOP: &str = "SIGSTOP for longer than the time limit";

/// Everything that can fail.
pub(super) const KINDS: [&str; 7] = [CUT, RESTART, STOP, KILL, RESET, OUTLASTING_CUT, OUTLASTING_STOP];

/// Which of the numbers that chance decides are those that outlast the time limit: fewer, for little is done in them.
const LONG_ONES: Range<u64> = 15..17;
const LONG_CUT: u64 = LONG_ONES.start;
const LONG_STOP: u64 = LONG_ONES.start + 1;
