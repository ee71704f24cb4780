//! The ways to list a directory, and what became of each on this server.

use crate::ftp::features::Features;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A way to list a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// `MLSD`: told in a form of its own (RFC 3659 section 7).
    Facts,
    /// `LIST -a` from inside the directory.
    ListAll,
    /// `LIST` from inside the directory: servers that take no option may show hidden names all the same.
    List,
    /// `STAT -a .` from inside the directory: needs no data connection, and is bounded by what a reply may hold.
    Status,
    /// `NLST` for the names, then `SIZE`, `MDTM` and `CWD` for each.
    Names,
}

/// What the server did on each rung. Shared by all sessions.
#[derive(Debug, Default)]
pub struct Rungs([Record; 5]);

#[derive(Debug, Default)]
struct Record {
    worked: AtomicBool,
    failures: AtomicU32,
    given_up: AtomicBool,
}

impl Rung {
    /// The best first.
    pub const ALL: [Self; 5] = [Self::Facts, Self::ListAll, Self::List, Self::Status, Self::Names];

    /// The order in which they are tried where `STAT` tells as much as `LIST`.
    pub const STATUS_FIRST: [Self; 4] = [Self::Status, Self::ListAll, Self::List, Self::Names];

    /// Whether `FEAT` speaks for trying it.
    pub fn is_offered(self, features: &Features) -> bool {
        self != Self::Facts || features.mlsd
    }
}

impl Rungs {
    /// Whether it is still worth trying.
    pub fn is_left(&self, rung: Rung) -> bool {
        !self.record(rung).given_up.load(Ordering::Relaxed)
    }

    /// `rung` listed a directory.
    pub fn worked(&self, rung: Rung) {
        self.record(rung).worked.store(true, Ordering::Relaxed);
    }

    /// A lower rung listed what `rung` could not; whether it is given up from now on. What worked before is only given up
    /// `for_good` reasons, and what never did after [`FAILURES_MAX`] directories: the first may be an odd one.
    pub fn failed(&self, rung: Rung, for_good: bool) -> bool {
        let record = self.record(rung);
        let failures = record.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let enough = failures >= FAILURES_MAX && !record.worked.load(Ordering::Relaxed);
        (for_good || enough) && !record.given_up.swap(true, Ordering::Relaxed)
    }

    fn record(&self, rung: Rung) -> &Record {
        let [facts, list_all, list, status, names] = &self.0;
        match rung {
            Rung::Facts => facts,
            Rung::ListAll => list_all,
            Rung::List => list,
            Rung::Status => status,
            Rung::Names => names,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Facts => "MLSD",
            Self::ListAll => "LIST -a",
            Self::List => "LIST",
            Self::Status => "STAT -a",
            Self::Names => "NLST with SIZE and MDTM",
        })
    }
}

/// How many directories a rung that never worked may fail to list before it is given up.
const FAILURES_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_that_worked_is_given_up_only_for_good_reasons() {
        let rungs = Rungs::default();
        assert!(!rungs.failed(Rung::Facts, false) && rungs.is_left(Rung::Facts));
        assert!(rungs.failed(Rung::Facts, false) && !rungs.is_left(Rung::Facts));
        assert!(!rungs.failed(Rung::Facts, false), "that is news only once");
        rungs.worked(Rung::ListAll);
        assert!(!(0..9).any(|_| rungs.failed(Rung::ListAll, false)) && rungs.is_left(Rung::ListAll));
        assert!(rungs.failed(Rung::ListAll, true) && !rungs.is_left(Rung::ListAll));
        assert!(rungs.is_left(Rung::List));
    }
}
