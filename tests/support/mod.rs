//! What several test binaries share. Each uses its own part of it.
#![allow(dead_code, unreachable_pub, reason = "every binary includes all of it and uses some")]

pub mod certs;
pub mod link;
pub mod run;

pub mod server;

pub mod exerciser;
pub mod mountpoint;
pub mod random;
pub mod tree;

pub mod soak;
