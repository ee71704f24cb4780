//! Tests that need no privileges, no network beyond loopback, and under a minute.
// clippy lets `#[test]` functions unwrap, not the functions that they call; and the lengths here are small.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod away;
mod check;
mod cli;
mod corpus;
mod cut;
mod documents;
mod foresight;
// The unit tests of the file system use it, too, and more of it.
#[allow(dead_code, unreachable_pub)]
#[path = "../support/memory.rs"]
mod memory;
mod model;
mod model_write;
mod names;
mod packaging;
mod properties;
mod protocol;
mod reading;
mod reliability;
mod sandbox;
mod segments;
mod space;
mod stored;
mod writeback;
mod writing;
