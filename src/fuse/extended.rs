//! Extended attributes, of which there are only those through which the mount itself is asked.

use crate::fuse::replies::{errno, respond_value};
use crate::fuse::{Adapter, attempt};
use crate::status::Question;
use crate::vfs::inodes::Ino;
use crate::vfs::refresh::Refreshed;
use fuser::{INodeNo, Notifier, ReplyXattr, Request};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;
use std::time::Instant;

impl Adapter {
    pub(super) fn value(&self, request: &Request, ino: Ino, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.status.question(ino, name.as_bytes(), request.uid()) {
            Ok(Question::Status) => respond_value(reply, size, &self.status.text(Instant::now())),
            Ok(Question::Refresh) => self.refresh(ino, size, reply),
            // Not ENOSYS, which the kernel remembers: it would never ask us again.
            Err(errno) => reply.error(fuser::Errno::from_i32(errno.raw())),
        }
    }

    /// Not by a worker: the kernel may have to wait for some of those.
    fn refresh(&self, ino: Ino, size: u32, reply: ReplyXattr) {
        let vfs = self.desk.share();
        let refresh = move || match attempt(|| vfs.refresh(ino)) {
            Ok(refreshed) => respond_value(reply, size, refreshed.inodes.len().to_string().as_bytes()),
            Err(error) => reply.error(errno(&error)),
        };
        if let Err(error) = thread::Builder::new().name("ftpsfs-refresh".into()).spawn(refresh) {
            log::error!("refresh: cannot start a thread: {error}");
        }
    }
}

/// Has the kernel forget; of most it knows nothing.
pub(super) fn forget(notifier: &Notifier, Refreshed { inodes, absent }: &Refreshed) {
    for ino in inodes {
        let _ = notifier.inval_inode(INodeNo(ino.0), 0, 0);
    }
    for (parent, name) in absent {
        let _ = notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.as_bytes()));
    }
}
