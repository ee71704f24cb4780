//! The file system: inodes, caches and POSIX; the other wing of the house. Knows nothing of FTP.
//!
//! The groups below are its layers, lowest first; see the crate's own page for the rule.

pub mod settings;
