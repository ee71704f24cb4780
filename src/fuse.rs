//! The kernel's requests: decoded, asked of [`Vfs`], answered, logged. Decides nothing.
//!
//! A request is first tried in the dispatch loop with what is known. Only if it needs the network it goes to a worker
//! thread (`desk`), so that answers that are known are never stuck behind a server that is slow; what takes too long is
//! answered by the `watchdog`.

use crate::status::Status;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Access, DirectoryEntry, Entry, Fh, Patience, Vfs};
use crate::vfs::inodes::Ino;
use crate::vfs::writing::{Changes, Creation};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, Filesystem, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, Notifier, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod desk;
mod extended;
mod flags;
mod kills;
mod late;
mod replies;
mod watchdog;

pub use desk::Crew;
use desk::{Desk, Lane, attempt};
use extended::forget;
use flags::{MODE_FILE, MODE_KIND, Open};
use kills::{is_root, write};
use late::{close_created, close_directory, close_opened, forget_entry, forget_looked, keep};
use replies::{
    GENERATION, NOTHING, errno, file_attr, file_type, respond_attr, respond_bytes, respond_created, respond_directory,
    respond_empty, respond_entry, respond_looked, respond_open, respond_target,
};

/// Requests that the kernel sends without anybody waiting, read-ahead above all.
const MAX_BACKGROUND: u16 = 64;
/// What the kernel may read ahead (bytes); it allows itself less unless told otherwise at the mount.
const MAX_READAHEAD: u32 = 1 << 20;
/// What the kernel writes at once (bytes).
const MAX_WRITE: u32 = 1 << 20;
/// The kernel's view of a [`Vfs`].
#[derive(Debug)]
pub struct Adapter {
    desk: Desk,
    status: Arc<Status>,
}

impl Adapter {
    /// Requests are answered by `vfs`, questions about the mount itself by `status`.
    ///
    /// # Errors
    ///
    /// The system's, where there is no thread to be had.
    pub fn new(vfs: Arc<Vfs>, status: Status) -> io::Result<Self> {
        Ok(Self { desk: Desk::open(vfs)?, status: Arc::new(status) })
    }

    /// Those who answer requests, to wait for them at the end.
    pub fn crew(&self) -> Crew {
        self.desk.crew()
    }

    /// Lets `vfs` take back what the kernel was told, through the session that the adapter went into.
    pub fn connect(vfs: &Vfs, notifier: Notifier) {
        let forgetting = notifier.clone();
        vfs.on_refresh(move |refreshed| forget(&forgetting, refreshed));
        vfs.on_change(move |ino| {
            // Without a range only the attributes go: no page is locked, so this is safe while a request is answered.
            if let Err(error) = notifier.inval_inode(INodeNo(ino.0), -1, 0) {
                log::debug!("the kernel does not know inode {}: {error}", ino.0);
            }
        });
    }

    fn vfs(&self) -> &Vfs {
        self.desk.vfs()
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each is a gain, none a need: what the kernel does not offer is left out.
        for capability in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_READ,
            // Opening and cutting off are one thing, so that no second upload of an empty file comes in between.
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            // Else each write is preceded by a question for an attribute of the file (`security.capability`).
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            if config.add_capabilities(capability).is_err() {
                log::debug!("the kernel does not offer {capability:?}");
            }
        }
        if let Err(largest) = config.set_max_readahead(MAX_READAHEAD) {
            let _ = config.set_max_readahead(largest);
        }
        if let Err(largest) = config.set_max_write(MAX_WRITE) {
            let _ = config.set_max_write(largest);
        }
        if let Err(nearest) = config.set_max_background(MAX_BACKGROUND) {
            let _ = config.set_max_background(nearest);
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.lookup(Ino(parent.0), &name, now, patience),
            respond_looked,
            forget_looked,
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        self.vfs().forget(Ino(ino.0), lookups);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| Ok((ino, vfs.getattr(Ino(ino.0), now, patience)?)),
            respond_attr,
            keep,
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let modified = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        let changes = Changes { mode, uid, gid, size, modified };
        // FATTR_KILL_SUIDGID does not come through to us.
        let kills = size.is_some() && !is_root(request);
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| {
                if kills {
                    vfs.drop_privileges(Ino(ino.0), now, patience)?;
                }
                Ok((ino, vfs.setattr(Ino(ino.0), fh.map(|fh| Fh(fh.0)), changes, now, patience)?))
            },
            respond_attr,
            keep,
        );
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.readlink(Ino(ino.0), now, patience),
            respond_target,
            keep,
        );
    }

    fn mknod(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        // Neither devices nor pipes nor sockets.
        if !matches!(mode & MODE_KIND, MODE_FILE | 0) {
            return reply.error(fuser::Errno::EPERM);
        }
        let name = name.as_bytes().to_vec();
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| vfs.mknod(Ino(parent.0), &name, mode, now, patience),
            respond_entry,
            forget_entry,
        );
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.mkdir(Ino(parent.0), &name, mode, now, patience),
            respond_entry,
            forget_entry,
        );
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.unlink(Ino(parent.0), &name, now, patience),
            respond_empty,
            keep,
        );
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.rmdir(Ino(parent.0), &name, now, patience),
            respond_empty,
            keep,
        );
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, target) = (name.as_bytes().to_vec(), target.as_os_str().as_bytes().to_vec());
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.symlink(Ino(parent.0), &name, &target, now, patience),
            respond_entry,
            forget_entry,
        );
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(fuser::Errno::EINVAL);
        }
        let kept = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = (Ino(parent.0), Ino(new_parent.0));
        let (name, new_name) = (name.as_bytes().to_vec(), new_name.as_bytes().to_vec());
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.rename(from, &name, to, &new_name, kept, now, patience),
            respond_empty,
            keep,
        );
    }

    fn link(&self, _: &Request, _ino: INodeNo, _new_parent: INodeNo, _new_name: &OsStr, reply: ReplyEntry) {
        // FTP has none.
        reply.error(fuser::Errno::EPERM);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let writes = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let access = match (writes, flags.0 & Open::TRUNCATE != 0) {
            (_, true) => Access::Truncate,
            (true, false) => Access::Write,
            (false, false) => Access::Read,
        };
        // Nor does FUSE_OPEN_KILL_SUIDGID.
        let kills = access == Access::Truncate && !is_root(request);
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| {
                let opened = vfs.open(Ino(ino.0), access, now, patience)?;
                if opened.size_differs {
                    let _ = vfs.release(opened.fh, now, patience);
                    // The kernel looks it up again at that, and opens it once more (path_openat, LOOKUP_REVAL).
                    return Err(Error::Stale);
                }
                if kills && let Err(error) = vfs.drop_privileges(Ino(ino.0), now, patience) {
                    let _ = vfs.release(opened.fh, now, patience);
                    return Err(error);
                }
                Ok((opened, access))
            },
            respond_open,
            close_opened,
        );
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.desk.answer(
            Lane::Reads,
            reply,
            move |vfs, now, patience| vfs.read(Fh(fh.0), offset, size, now, patience),
            respond_bytes,
            keep,
        );
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let fh = Fh(fh.0);
        // The kernel gives at most `MAX_WRITE`.
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let kills = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID).then_some(Ino(ino.0));
        // Copied here into its place, as long as there is room: the buffer belongs to the dispatch loop.
        let written = attempt(|| write(self.vfs(), kills, fh, offset, data, Patience::CacheOnly));
        let respond = |reply: ReplyWrite, written: Result<u32, fuser::Errno>| match written {
            Ok(count) => reply.written(count),
            Err(errno) => reply.error(errno),
        };
        if written != Err(Error::WouldBlock) {
            return respond(reply, written.map(|()| count).map_err(|error| errno(&error)));
        }
        let (mut data, gives_up) = (data.to_vec(), self.vfs().patience().is_some());
        let ask = move |vfs: &Vfs| {
            // Who tries again needs it again.
            let bytes = if gives_up { Cow::Owned(mem::take(&mut data)) } else { Cow::Borrowed(&data[..]) };
            write(vfs, kills, fh, offset, bytes, Patience::Network).map(|()| count)
        };
        self.desk.delegate(Lane::Writes, reply, ask, respond, move |vfs, _| vfs.disown(fh));
    }

    fn flush(&self, _: &Request, _ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| vfs.flush(Fh(fh.0), now, patience),
            respond_empty,
            keep,
        );
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        match attempt(|| self.vfs().release(Fh(fh.0), Instant::now(), Patience::CacheOnly)) {
            Err(Error::WouldBlock) => {
                self.desk.see_to(
                    reply,
                    move |vfs| vfs.release(Fh(fh.0), Instant::now(), Patience::Network),
                    respond_empty,
                );
            }
            released => respond_empty(reply, released.map_err(|error| errno(&error))),
        }
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| vfs.fsync(Fh(fh.0), now, patience),
            respond_empty,
            keep,
        );
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.opendir(Ino(ino.0), now, patience),
            respond_directory,
            close_directory,
        );
    }

    fn readdir(&self, _: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let add = |entry: &DirectoryEntry<'_>| {
            let name = OsStr::from_bytes(entry.name);
            reply.add(INodeNo(entry.ino.0), entry.next_offset, file_type(entry.kind), name)
        };
        match attempt(|| self.vfs().readdir(Fh(fh.0), offset, Instant::now(), add)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readdirplus(&self, _: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let add = |line: &DirectoryEntry<'_>| {
            let name = OsStr::from_bytes(line.name);
            let (attr, remaining) = match &line.entry {
                Some(Entry { ino, attr, attr_remaining, name_remaining }) => {
                    (file_attr(*ino, attr), *attr_remaining.min(name_remaining))
                }
                None => (FileAttr { ino: INodeNo(line.ino.0), kind: file_type(line.kind), ..NOTHING }, Duration::ZERO),
            };
            reply.add(INodeNo(line.ino.0), line.next_offset, name, &remaining, &attr, GENERATION)
        };
        match attempt(|| self.vfs().readdirplus(Fh(fh.0), offset, Instant::now(), add)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn releasedir(&self, _: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        let closed = attempt(|| self.vfs().releasedir(Fh(fh.0)));
        respond_empty(reply, closed.map_err(|error| errno(&error)));
    }

    fn fsyncdir(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| vfs.fsyncdir(Ino(ino.0), now, patience),
            respond_empty,
            keep,
        );
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let space = self.vfs().statfs(Instant::now());
        let (blocks, free, size) = (space.blocks, space.blocks_free, space.block_bytes);
        reply.statfs(blocks, free, free, space.files, space.files_free, size, space.name_bytes_max, size);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.value(request, Ino(ino.0), name, size, reply);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        // Those that there are tell nothing of a file, and are nothing to copy along.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn removexattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // Asked only without default_permissions; then the server alone decides, when it is asked for the file.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let name = name.as_bytes().to_vec();
        let (exclusive, truncate) = (flags & Open::EXCLUSIVE != 0, flags & Open::TRUNCATE != 0);
        let creation = Creation { mode, exclusive, truncate };
        self.desk.answer(
            Lane::Names,
            reply,
            move |vfs, now, patience| vfs.create(Ino(parent.0), &name, creation, now, patience),
            respond_created,
            close_created,
        );
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn poll(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Files are always ready: the kernel knows that by itself after this.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.desk.answer(
            Lane::Writes,
            reply,
            move |vfs, now, patience| vfs.fallocate(Fh(fh.0), offset, length, mode, now, patience),
            respond_empty,
            keep,
        );
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The kernel copies by reading and writing.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn lseek(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _offset: i64, _whence: i32, reply: ReplyLseek) {
        // The kernel does without: everything is data.
        reply.error(fuser::Errno::ENOSYS);
    }
}
