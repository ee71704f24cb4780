//! Tests that need no privileges, no network beyond loopback, and under a minute.

mod cli;
mod corpus;
mod cut;
#[path = "../support/memory.rs"]
mod memory;
mod model;
mod properties;
mod protocol;
