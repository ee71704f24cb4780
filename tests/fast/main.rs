//! Tests that need no privileges, no network beyond loopback, and under a minute.

// Helpers of tests are tests to us, not to the lint; the bytes that tests make up may be cut off.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod cli;
mod corpus;
mod cut;
#[path = "../support/memory.rs"]
mod memory;
mod model;
mod names;
mod properties;
mod protocol;
mod reading;
