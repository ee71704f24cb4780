//! The kernel's requests: decoded, asked of [`Vfs`], answered, logged. Decides nothing.
//!
//! A request is first tried in the dispatch loop with what is known. Only if it needs the network it goes to a worker
//! thread, so that answers that are known are never stuck behind a server that is slow.

use crate::status::Status;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Access, DirectoryEntry, Entry, Fh, Looked, Opened, Patience, Vfs};
use crate::vfs::inodes::Ino;
use crate::vfs::writing::{Changes, Creation};
use crate::workers::Workers;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, Notifier, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod extended;
mod replies;

use extended::forget;
use replies::{
    GENERATION, NOTHING, errno, file_attr, file_type, respond_attr, respond_empty, respond_entry, respond_open,
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
    vfs: Arc<Vfs>,
    workers: Workers,
    status: Arc<Status>,
}

impl Adapter {
    /// Requests are answered by `vfs`, questions about the mount itself by `status`.
    pub fn new(vfs: Arc<Vfs>, status: Status) -> Self {
        Self { vfs, workers: Workers::default(), status: Arc::new(status) }
    }

    /// Those who answer requests, to wait for them at the end.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
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

    /// Asks for what is known, else lets a worker ask the server; then replies.
    fn answer<T: 'static, R: Send + 'static>(
        &self,
        reply: R,
        ask: impl Fn(&Vfs, Instant, Patience) -> Result<T, Error> + Send + 'static,
        respond: fn(R, Result<T, fuser::Errno>),
    ) {
        match attempt(|| ask(&self.vfs, Instant::now(), Patience::CacheOnly)) {
            Err(Error::WouldBlock) => {
                let vfs = Arc::clone(&self.vfs);
                self.workers.spawn(move || {
                    let result = attempt(|| ask(&vfs, Instant::now(), Patience::Network));
                    respond(reply, result.map_err(|error| errno(&error)));
                });
            }
            result => respond(reply, result.map_err(|error| errno(&error))),
        }
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.lookup(Ino(parent.0), &name, now, patience),
            |reply, looked| match looked {
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
            },
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        self.vfs.forget(Ino(ino.0), lookups);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(reply, move |vfs, now, patience| Ok((ino, vfs.getattr(Ino(ino.0), now, patience)?)), respond_attr);
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
        self.answer(
            reply,
            move |vfs, now, patience| {
                if kills {
                    vfs.drop_privileges(Ino(ino.0), now, patience)?;
                }
                Ok((ino, vfs.setattr(Ino(ino.0), fh.map(|fh| Fh(fh.0)), changes, now, patience)?))
            },
            respond_attr,
        );
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(
            reply,
            move |vfs, now, patience| vfs.readlink(Ino(ino.0), now, patience),
            |reply, target| match target {
                Ok(target) => reply.data(&target),
                Err(errno) => reply.error(errno),
            },
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.mknod(Ino(parent.0), &name, mode, now, patience),
            respond_entry,
        );
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.answer(
            reply,
            move |vfs, now, patience| vfs.mkdir(Ino(parent.0), &name, mode, now, patience),
            respond_entry,
        );
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |vfs, now, patience| vfs.unlink(Ino(parent.0), &name, now, patience), respond_empty);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |vfs, now, patience| vfs.rmdir(Ino(parent.0), &name, now, patience), respond_empty);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, target) = (name.as_bytes().to_vec(), target.as_os_str().as_bytes().to_vec());
        self.answer(
            reply,
            move |vfs, now, patience| vfs.symlink(Ino(parent.0), &name, &target, now, patience),
            respond_entry,
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.rename(from, &name, to, &new_name, kept, now, patience),
            respond_empty,
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
        self.answer(
            reply,
            move |vfs, now, patience| {
                let opened = vfs.open(Ino(ino.0), access, now, patience)?;
                if kills && let Err(error) = vfs.drop_privileges(Ino(ino.0), now, patience) {
                    let _ = vfs.release(opened.fh, now, patience);
                    return Err(error);
                }
                Ok((opened, access))
            },
            respond_open,
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.read(Fh(fh.0), offset, size, now, patience),
            |reply, bytes| match bytes {
                Ok(bytes) => bytes.with(|bytes| reply.data(bytes)),
                Err(errno) => reply.error(errno),
            },
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
        let written = attempt(|| write(&self.vfs, kills, fh, offset, data, Patience::CacheOnly));
        let respond = move |reply: ReplyWrite, written: Result<(), Error>| match written {
            Ok(()) => reply.written(count),
            Err(error) => reply.error(errno(&error)),
        };
        if written != Err(Error::WouldBlock) {
            return respond(reply, written);
        }
        let (vfs, data) = (Arc::clone(&self.vfs), data.to_vec());
        self.workers.spawn(move || {
            respond(reply, attempt(|| write(&vfs, kills, fh, offset, data, Patience::Network)));
        });
    }

    fn flush(&self, _: &Request, _ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        self.answer(reply, move |vfs, now, patience| vfs.flush(Fh(fh.0), now, patience), respond_empty);
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
        self.answer(reply, move |vfs, now, patience| vfs.release(Fh(fh.0), now, patience), respond_empty);
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.answer(reply, move |vfs, now, patience| vfs.fsync(Fh(fh.0), now, patience), respond_empty);
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.answer(
            reply,
            move |vfs, now, patience| vfs.opendir(Ino(ino.0), now, patience),
            |reply, opened| match opened {
                Ok(Opened { fh, keep_cache }) => {
                    let keep = if keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
                    reply.opened(FileHandle(fh.0), keep | FopenFlags::FOPEN_CACHE_DIR);
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn readdir(&self, _: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let add = |entry: &DirectoryEntry<'_>| {
            let name = OsStr::from_bytes(entry.name);
            reply.add(INodeNo(entry.ino.0), entry.next_offset, file_type(entry.kind), name)
        };
        match attempt(|| self.vfs.readdir(Fh(fh.0), offset, Instant::now(), add)) {
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
        match attempt(|| self.vfs.readdirplus(Fh(fh.0), offset, Instant::now(), add)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn releasedir(&self, _: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        let closed = attempt(|| self.vfs.releasedir(Fh(fh.0)));
        respond_empty(reply, closed.map_err(|error| errno(&error)));
    }

    fn fsyncdir(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.answer(reply, move |vfs, now, patience| vfs.fsyncdir(Ino(ino.0), now, patience), respond_empty);
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let space = self.vfs.statfs(Instant::now());
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.create(Ino(parent.0), &name, creation, now, patience),
            |reply, created| match created {
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
            },
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
        self.answer(
            reply,
            move |vfs, now, patience| vfs.fallocate(Fh(fh.0), offset, length, mode, now, patience),
            respond_empty,
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

/// Writes; what is in `kills` loses its privileges first.
fn write<'a>(
    vfs: &Vfs,
    kills: Option<Ino>,
    fh: Fh,
    offset: u64,
    data: impl Into<Cow<'a, [u8]>>,
    patience: Patience,
) -> Result<(), Error> {
    let now = Instant::now();
    if let Some(ino) = kills {
        vfs.drop_privileges(ino, now, patience)?;
    }
    vfs.write(fh, offset, data, now, patience)
}

/// Whom the kernel leaves the bits that [`Vfs::drop_privileges`] takes away.
fn is_root(request: &Request) -> bool {
    request.uid() == 0
}

/// A panic is one failed request; the mount lives.
fn attempt<T>(ask: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        log::error!("a request panicked: this is a bug");
        Err(Error::Panicked)
    })
}

/// Flags of open(2), as Linux numbers them on all processors that Rust's standard library knows as Linux but a few old
/// ones.
struct Open;

impl Open {
    const EXCLUSIVE: i32 = 0o200;
    const TRUNCATE: i32 = 0o1000;
}

/// The bits of a mode that tell the kind of a file (inode(7)), and their value for a regular one.
const MODE_KIND: u32 = 0o170_000;
const MODE_FILE: u32 = 0o100_000;
