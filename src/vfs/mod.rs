//! The file system: inodes, caches and POSIX; the other wing of the house. Knows nothing of FTP.
//!
//! A question from the kernel enters at [`filesystem`]. What concerns names and attributes goes to `tree`, which answers
//! from `cache` or asks the server once for everybody who waits (`flight`); what concerns bytes goes to `content`, which
//! answers from the block cache, from the one on this machine's `disk` where there is one, or lets a `stream` fetch them, and
//! several side by side where `segments` sees that this brings more. Every question says how patient it is: with
//! [`filesystem::Patience::CacheOnly`] nothing waits for the network.
//!
//! What is written to an inode is one `draft` for all who have it open: on its way to the server while it comes in order
//! (`outgoing`, a `transfer` across connections that break), else in a `spool` over what lies underneath. `drafts` takes
//! writes in and gets them to the file's name when flush or fsync asks for it: uploaded under a temporary name, compared
//! with what the server had, renamed. With `writeback` closing brings it into the `journal` on this machine's disk instead,
//! from which it is uploaded in its turn. `writing` and `changes` are the operations; `recovery` keeps what could not be
//! uploaded. What was done here `tree` tells at once, whatever listings say that were asked for before.
//!
//! Who goes through the tree in order is seen to do so by `walkers`; `foresight` then lists and fetches what comes next, on
//! connections that nobody else needs.
//!
//! `overview` tells a person how all of that stands, and `refresh` forgets what was learnt because a person says so.
//!
//! The groups below are its layers, lowest first; see the crate's own page for the rule.

pub mod error;
pub mod settings;

pub mod attr;
mod counters;
mod figures;
pub(crate) mod flight;
mod link;
mod names;
mod owners;
mod place;
mod ranges;
mod space;

pub mod inodes;
mod spool;

mod told;

mod cache;

mod disk;

mod handles;
mod segments;
mod source;
mod stream;
mod walkers;

mod content;
mod tree;

mod transfer;

mod outgoing;

mod draft;

pub mod journal;
mod recovery;

mod drafts;

mod foresight;

pub mod filesystem;

pub mod writing;

mod changes;

pub mod writeback;

pub mod overview;
pub mod refresh;

pub use disk::DiskCache;
pub use filesystem::Vfs;
pub use settings::Settings;
