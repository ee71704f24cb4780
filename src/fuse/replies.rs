//! What the kernel hears, in its own words.

use crate::errno::Errno;
use crate::vfs::attr::{Attr, Kind};
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Access, Bytes, Entry, Looked, Opened};
use crate::vfs::inodes::Ino;
use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr,
};
use std::time::{Duration, SystemTime};

/// No number stands for two files.
pub(super) const GENERATION: Generation = Generation(0);
/// What stat(2) calls the preferred size for reading (bytes).
const BLKSIZE: u32 = 128 * 1024;

pub(super) fn respond_empty(reply: ReplyEmpty, result: Result<(), fuser::Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_entry(reply: ReplyEntry, result: Result<Entry, fuser::Errno>) {
    match result {
        Ok(entry) => {
            let attr = file_attr(entry.ino, &entry.attr);
            reply.entry_with_ttls(&entry.attr_remaining, &entry.name_remaining, &attr, GENERATION);
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_looked(reply: ReplyEntry, looked: Result<Looked, fuser::Errno>) {
    match looked {
        Ok(Looked::Up(entry)) => {
            let attr = file_attr(entry.ino, &entry.attr);
            reply.entry_with_ttls(&entry.attr_remaining, &entry.name_remaining, &attr, GENERATION);
        }
        // The kernel keeps an entry with the number 0 as the knowledge that there is none.
        Ok(Looked::Absent(remaining)) if !remaining.is_zero() => {
            reply.entry(&remaining, &NOTHING, GENERATION);
        }
        Ok(Looked::Absent(_)) => reply.error(fuser::Errno::ENOENT),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_target(reply: ReplyData, target: Result<Vec<u8>, fuser::Errno>) {
    match target {
        Ok(target) => reply.data(&target),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_bytes(reply: ReplyData, bytes: Result<Bytes, fuser::Errno>) {
    match bytes {
        Ok(bytes) => bytes.with(|bytes| reply.data(bytes)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_directory(reply: ReplyOpen, opened: Result<Opened, fuser::Errno>) {
    match opened {
        Ok(Opened { fh, keep_cache, .. }) => {
            let keep = if keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
            reply.opened(FileHandle(fh.0), keep | FopenFlags::FOPEN_CACHE_DIR);
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_created(reply: ReplyCreate, created: Result<(Entry, Opened), fuser::Errno>) {
    match created {
        Ok((entry, opened)) => {
            let attr = file_attr(entry.ino, &entry.attr);
            reply.created(
                &entry.attr_remaining.min(entry.name_remaining),
                &attr,
                GENERATION,
                FileHandle(opened.fh.0),
                FopenFlags::empty(),
            );
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_attr(reply: ReplyAttr, result: Result<(INodeNo, (Attr, Duration)), fuser::Errno>) {
    match result {
        Ok((ino, (attr, remaining))) => reply.attr(&remaining, &file_attr(Ino(ino.0), &attr)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn respond_open(reply: ReplyOpen, opened: Result<(Opened, Access), fuser::Errno>) {
    match opened {
        Ok((Opened { fh, keep_cache, .. }, access)) => {
            let keep = if keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
            // Who only reads has nothing to hear when it closes.
            let silent = if access == Access::Read { FopenFlags::FOPEN_NOFLUSH } else { FopenFlags::empty() };
            reply.opened(FileHandle(fh.0), keep | silent);
        }
        Err(errno) => reply.error(errno),
    }
}

/// The value of an extended attribute, or how long it is where that is all that is asked for (getxattr(2)).
pub(super) fn respond_value(reply: ReplyXattr, size: u32, value: &[u8]) {
    match (u32::try_from(value.len()), size) {
        (Ok(len), 0) => reply.size(len),
        (Ok(len), size) if len <= size => reply.data(value),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}

pub(super) fn errno(error: &Error) -> fuser::Errno {
    let number: Errno = error.errno();
    fuser::Errno::from_i32(number.raw())
}

pub(super) fn file_attr(ino: Ino, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino.0),
        size: attr.size,
        blocks: attr.blocks(),
        atime: attr.modified,
        mtime: attr.modified,
        ctime: attr.modified,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        blksize: BLKSIZE,
        ..NOTHING
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

/// Attributes of no inode.
pub(super) const NOTHING: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: SystemTime::UNIX_EPOCH,
    mtime: SystemTime::UNIX_EPOCH,
    ctime: SystemTime::UNIX_EPOCH,
    crtime: SystemTime::UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: BLKSIZE,
    flags: 0,
};
