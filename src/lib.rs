//! ftpsfs mounts an FTPS server (FTP over TLS, RFC 4217) as a directory.
//!
//! A read: the kernel asks [`fuse`], which reads the clock and asks [`vfs`]; what the caches of `vfs` cannot answer goes
//! to the trait [`remote::Remote`], behind which [`ftp`] takes a logged-in session from its pool, opens a data connection
//! that resumes the TLS session of its control connection, and hands the bytes back.
//!
//! A write: [`vfs`] keeps one draft of a file for all who have it open; what comes in order is uploaded at once under a
//! temporary name, anything else waits in a spool, and when the file is closed the draft is whole on the server and is
//! renamed.
//!
//! The front: [`cli`] reads the command line into what was typed, [`config`] makes settings of it that hold together, and
//! [`mount`] runs in the process that [`background`] split off, until the kernel lets go or a signal comes; before it hears
//! of the server it enters the [`sandbox`], and what takes more rights than it keeps, a second process does. [`unmount`] is the
//! helper of umount(8), which finds in the `registry` what still is to be uploaded. [`check`] mounts nothing: it says in words
//! what `ftp::check` found out about a server. [`inspect`] shows how a mount is, and has it forget what it knows: it asks through
//! extended attributes, which [`status`] answers with what [`meter`] measured between `vfs` and `ftp`.
//!
//! The groups below are the layers, lowest first: a module names only modules of the groups above its own line
//! (`tests/house.rs` checks it). `ftp` knows nothing of inodes and `vfs` nothing of FTP; only [`mount`] joins them.

pub mod deadline;
pub mod errno;
pub mod failure;
pub mod path;
pub mod secret;
pub mod sys;
pub mod workers;

pub mod accounts;
pub mod sandbox;

pub mod remote;

pub mod meter;

pub mod ftp;
pub mod vfs;

mod values;

pub mod status;

pub mod credentials;
pub mod fuse;
pub mod logger;
pub mod options;
pub mod url;

pub mod background;
pub mod config;
mod registry;

pub mod check;
pub mod inspect;
pub mod mount;

pub mod cli;

pub mod unmount;
