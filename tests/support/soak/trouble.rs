//! What fails, every few seconds.

use super::random::Random;
use crate::support::link::Link;
use crate::support::server::Server;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

pub(super) struct Troubles {
    random: Random,
    counts: BTreeMap<&'static str, usize>,
}

impl Troubles {
    pub(super) fn new(random: Random) -> Self {
        Self { random, counts: BTreeMap::new() }
    }

    /// One after the other until `until`, at which everything works.
    pub(super) fn make(&mut self, server: &mut Server, link: &Link, until: Instant) {
        loop {
            self.pause(2_000, 5_000);
            if Instant::now() >= until {
                return;
            }
            let name = self.one(server, link);
            *self.counts.entry(name).or_default() += 1;
        }
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, usize)> {
        self.counts.iter().map(|(name, count)| (*name, *count)).collect()
    }

    fn one(&mut self, server: &mut Server, link: &Link) -> &'static str {
        match self.random.below(5) {
            0 => {
                link.cut();
                self.pause(1_000, 8_000);
                link.mend();
                CUT
            }
            1 => {
                server.stop();
                self.pause(0, 2_000);
                server.start_again();
                RESTART
            }
            2 => {
                server.suspend();
                self.pause(500, 6_000);
                server.resume();
                STOP
            }
            3 => {
                server.kill_sessions();
                KILL
            }
            _ => {
                link.forget();
                RESET
            }
        }
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

/// Everything that can fail.
pub(super) const KINDS: [&str; 5] = [CUT, RESTART, STOP, KILL, RESET];
