//! What becomes of an answer that the kernel did not wait for.

use crate::vfs::filesystem::{Access, Entry, Looked, Opened, Patience, Vfs};
use std::time::Instant;

/// What was done too late for its answer and may stay: the kernel knows no more of it than before.
pub(super) fn keep<T>(_: &Vfs, _: T) {}

pub(super) fn forget_entry(vfs: &Vfs, entry: Entry) {
    vfs.forget(entry.ino, 1);
}

pub(super) fn forget_looked(vfs: &Vfs, looked: Looked) {
    if let Looked::Up(entry) = looked {
        forget_entry(vfs, entry);
    }
}

pub(super) fn close_opened(vfs: &Vfs, (opened, _): (Opened, Access)) {
    if let Err(error) = vfs.release(opened.fh, Instant::now(), Patience::Network) {
        log::debug!("closing what was opened too late: {error}");
    }
}

pub(super) fn close_created(vfs: &Vfs, (entry, opened): (Entry, Opened)) {
    close_opened(vfs, (opened, Access::Write));
    forget_entry(vfs, entry);
}

pub(super) fn close_directory(vfs: &Vfs, opened: Opened) {
    if let Err(error) = vfs.releasedir(opened.fh) {
        log::debug!("closing what was opened too late: {error}");
    }
}
