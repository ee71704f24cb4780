//! Tests that need no privileges, no network beyond loopback, and under a minute.

mod corpus;
#[path = "../support/memory.rs"]
mod memory;
mod model;
mod properties;
