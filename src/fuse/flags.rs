//! Numbers of the kernel.

/// Flags of open(2), as Linux numbers them on all processors that Rust's standard library knows as Linux but a few old
/// ones.
pub(super) struct Open;

impl Open {
    pub(super) const EXCLUSIVE: i32 = 0o200;
    pub(super) const TRUNCATE: i32 = 0o1000;
}

/// The bits of a mode that tell the kind of a file (inode(7)), and their value for a regular one.
pub(super) const MODE_KIND: u32 = 0o170_000;
pub(super) const MODE_FILE: u32 = 0o100_000;
