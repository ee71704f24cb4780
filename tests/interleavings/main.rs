//! Orders in which threads can run, tried by shuttle: the source of the pool, of the single flight and of the file system
//! around them is built once more, over locks and threads of which shuttle decides who goes on.
//!
//! The orders are the same at each run and on each machine, unless `FTPSFS_TEST_SEED` says otherwise; one that fails prints
//! what repeats it. `FTPSFS_TEST_LONG` tries a hundred times as many. A word after `--` runs the scenarios that have it in
//! their names.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "of what is built once more a part is used, for nobody else, and its own tests are not"
)]

/// What `parking_lot` means here.
extern crate self as parking_lot;

use explore::explore;
use ftpsfs::{accounts, errno, path, remote, sys};
use locks::{Condvar, Mutex, MutexGuard, RwLock};

mod deadline;
mod explore;
mod ftp;
mod locks;
mod workers;

#[path = "../../src/vfs/mod.rs"]
#[allow(clippy::all, reason = "it is looked at where it belongs; here its locks have other sizes")]
mod vfs;

mod flight;
mod inodes;
mod pool;
mod tree;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let scenarios = [flight::SCENARIOS, inodes::SCENARIOS, pool::SCENARIOS, tree::SCENARIOS].concat();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    scenarios.into_iter().filter(|(name, _)| is_wanted(name)).for_each(explore);
}
