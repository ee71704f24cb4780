//! Tests that need no privileges, no network beyond loopback, and under a minute.

#[path = "../support/memory.rs"]
mod memory;
mod model;
