//! FTP over TLS: one wing of the house.
//!
//! The groups below are its layers, lowest first; see the crate's own page for the rule.

pub mod command;
pub mod reply;
pub mod settings;

pub mod passive;
