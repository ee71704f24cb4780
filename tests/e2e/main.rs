//! The whole program against real servers, through real mounts and with the programs that people use.
//!
//! Needs root on Debian 12; `tests/setup` installs the rest. What is missing is a failure, never a skip.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::duplicate_mod,
    reason = "the scripted server brings its certificates along, for binaries without the rest"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/ftpd/mod.rs"]
mod ftpd;

mod cases;
// The fast tests use it, too, and more of it.
#[allow(dead_code, unreachable_pub)]
#[path = "../support/memory.rs"]
mod memory;
mod writer;

mod attributes;
mod bounded;
mod check;
mod counts;
mod direct;
mod documents;
mod exercise;
mod failures;
mod flags;
mod fstab;
mod hard_names;
mod holds;
mod ladder;
mod limits;
mod link;
mod logged;
mod lost;
mod matrix;
mod mount;
mod posix;
mod programs;
mod refused;
mod resources;
mod sandbox;
mod segments;
mod servers;
mod sessions;
mod soak;
mod status;
mod stored;
mod stress;
mod terminal;
mod times;
mod translated;
mod trips;
mod trust;
mod uploads;
mod watched;
mod writeback;
