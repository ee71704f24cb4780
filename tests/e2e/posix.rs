//! What POSIX says of the calls of a file system, case by case after pjdfstest: each on a mount and in a local directory, which
//! shows that the expectation is right. `docs/posix.md` tells of the cases that are not here.

use crate::cases::{Case, Fresh, on_empty_servers};
use crate::support::server::Kind;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, open, posix_fallocate, readlink, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, mknod, stat, utimensat};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::unistd::{UnlinkatFlags, ftruncate, linkat, mkdir, mkfifo, read, symlinkat, truncate, unlinkat, write};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

on_empty_servers! {
    [
        a_path_that_leads_nowhere_is_said_to,
        calls_that_cannot_be_done_say_why,
        calls_that_can_be_done_do_what_they_should,
        what_ftp_does_not_have_is_refused
    ]
    vsftpd: Vsftpd V13,
    proftpd: Proftpd V13,
}

/// What a call on a path gives.
type Call = fn(&Path) -> nix::Result<()>;

/// The calls that take a path, each in its own words.
const CALLS: [(&str, Call); 13] = [
    ("open", |path| open_with(path, OFlag::O_RDONLY)),
    ("open O_CREAT", |path| open_with(path, OFlag::O_WRONLY | OFlag::O_CREAT)),
    ("mkdir", |path| mkdir(path, ALL)),
    ("rmdir", rmdir),
    ("unlink", unlink),
    ("rename from", |path| rename(path, &beside(path, "target"))),
    ("rename to", |path| rename(&beside(path, "spare"), path)),
    ("symlink", |path| symlinkat("file", AT_FDCWD, path)),
    ("truncate", |path| truncate(path, 3)),
    ("chmod", |path| chmod(path, 0o600)),
    ("utimensat", |path| set_times(path, 1_000_000_000)),
    ("stat", |path| stat(path).map(drop)),
    ("readlink", |path| readlink(path).map(drop)),
];

/// open/02, 03, 04, 12, mkdir/01, 02, 03, 04, 07, rename/01, 02, 03, 11, truncate/01, 02, 03, 07, and so on for each call.
fn a_path_that_leads_nowhere_is_said_to(case: &Case) {
    let local = Fresh::new();
    [&case.disk, &local.path].into_iter().for_each(|root| furnish(root));
    let mount = case.mount_rw(&[]);
    let paths = [
        ("file/x".to_owned(), Errno::ENOTDIR),
        ("missing/x".to_owned(), Errno::ENOENT),
        ("loop/x".to_owned(), Errno::ELOOP),
        ("n".repeat(256), Errno::ENAMETOOLONG),
        (format!("directory/{}", "n".repeat(256)), Errno::ENAMETOOLONG),
        ("directory/../".repeat(320) + "file", Errno::ENAMETOOLONG),
    ];
    for (path, errno) in &paths {
        for (name, call) in CALLS {
            for root in [&local.path, &mount.point] {
                assert_eq!(call(&root.join(path)), Err(*errno), "{name} of {path} in {}", root.display());
            }
        }
    }
    for (name, call) in CALLS {
        let errno = match name {
            "open O_CREAT" | "mkdir" | "rename to" | "symlink" => continue,
            _ => Errno::ENOENT,
        };
        for root in [&local.path, &mount.point] {
            assert_eq!(call(&root.join("missing")), Err(errno), "{name} in {}", root.display());
        }
    }
    mount.end();
}

/// What fails, where pjdfstest has it, and what is said.
const REFUSALS: &[(&str, &str, Call, Errno)] = &[
    ("mkdir of a file", "mkdir/10", |at| mkdir(&at.join("file"), ALL), Errno::EEXIST),
    ("mkdir of a directory", "mkdir/10", |at| mkdir(&at.join("directory"), ALL), Errno::EEXIST),
    ("mkdir of a link", "mkdir/10", |at| mkdir(&at.join("link"), ALL), Errno::EEXIST),
    ("mkdir of a loop", "mkdir/10", |at| mkdir(&at.join("loop"), ALL), Errno::EEXIST),
    ("symlink over a file", "symlink/08", |at| symlinkat("x", AT_FDCWD, &at.join("file")), Errno::EEXIST),
    ("symlink over a directory", "symlink/08", |at| symlinkat("x", AT_FDCWD, &at.join("directory")), Errno::EEXIST),
    ("symlink over a link", "symlink/08", |at| symlinkat("x", AT_FDCWD, &at.join("link")), Errno::EEXIST),
    ("O_EXCL of a file", "open/22", |at| open_with(&at.join("file"), EXCLUSIVE), Errno::EEXIST),
    ("O_EXCL of a directory", "open/22", |at| open_with(&at.join("directory"), EXCLUSIVE), Errno::EEXIST),
    ("O_EXCL of a link", "open/22", |at| open_with(&at.join("link"), EXCLUSIVE), Errno::EEXIST),
    ("O_NOFOLLOW of a link", "open/16", |at| open_with(&at.join("link"), OFlag::O_NOFOLLOW), Errno::ELOOP),
    ("open of a loop", "open/12", |at| open_with(&at.join("loop"), OFlag::O_RDONLY), Errno::ELOOP),
    ("truncate of a loop", "truncate/07", |at| truncate(&at.join("loop"), 1), Errno::ELOOP),
    ("chmod of a loop", "chmod/06", |at| chmod(&at.join("loop"), 0o600), Errno::ELOOP),
    ("open of a directory to write", "open/13", |at| open_with(&at.join("directory"), OFlag::O_WRONLY), Errno::EISDIR),
    ("open of a directory both ways", "open/13", |at| open_with(&at.join("directory"), OFlag::O_RDWR), Errno::EISDIR),
    ("O_TRUNC of a directory", "open/13", |at| open_with(&at.join("directory"), OFlag::O_TRUNC), Errno::EISDIR),
    ("O_DIRECTORY of a file", "open", |at| open_with(&at.join("file"), OFlag::O_DIRECTORY), Errno::ENOTDIR),
    ("truncate of a directory", "truncate/09", |at| truncate(&at.join("directory"), 0), Errno::EISDIR),
    ("truncate to less than nothing", "truncate/13", |at| truncate(&at.join("file"), -1), Errno::EINVAL),
    ("ftruncate of what may be read", "ftruncate/13", |at| ftruncate(file(at, OFlag::O_RDONLY)?, 0), Errno::EINVAL),
    ("ftruncate to less than nothing", "ftruncate/13", |at| ftruncate(file(at, OFlag::O_RDWR)?, -1), Errno::EINVAL),
    ("rmdir of a file", "rmdir/03", |at| rmdir(&at.join("file")), Errno::ENOTDIR),
    ("rmdir of a link to a directory", "rmdir/03", |at| rmdir(&at.join("to_directory")), Errno::ENOTDIR),
    ("rmdir of what has entries", "rmdir/06", |at| rmdir(&at.join("full")), Errno::ENOTEMPTY),
    ("rmdir of dot", "rmdir/12", |at| rmdir(&at.join("directory/.")), Errno::EINVAL),
    ("rmdir of dot-dot", "rmdir/12", |at| rmdir(&at.join("full/below/..")), Errno::ENOTEMPTY),
    ("unlink of a directory", "unlink/08", |at| unlink(&at.join("directory")), Errno::EISDIR),
    ("rename of a directory over a file", "rename/13", |at| rename_in(at, "directory", "file"), Errno::ENOTDIR),
    ("rename of a directory over a link", "rename/13", |at| rename_in(at, "directory", "link"), Errno::ENOTDIR),
    ("rename of a file over a directory", "rename/14", |at| rename_in(at, "file", "directory"), Errno::EISDIR),
    ("rename of a link over a directory", "rename/14", |at| rename_in(at, "link", "directory"), Errno::EISDIR),
    ("rename over what has entries", "rename/20", |at| rename_in(at, "directory", "full"), Errno::ENOTEMPTY),
    ("rename below itself", "rename/18", |at| rename_in(at, "directory", "directory/below"), Errno::EINVAL),
    ("rename above itself", "rename", |at| rename_in(at, "full/below", "full"), Errno::ENOTEMPTY),
    ("rename of dot", "rename/19", |at| rename_in(at, "directory/.", "x"), Errno::EBUSY),
    ("rename over what may not be replaced", "rename", |at| rename_new(at, "file", "spare"), Errno::EEXIST),
    ("posix_fallocate of nothing", "posix_fallocate", |at| allocate(at, OFlag::O_RDWR, 0, 0), Errno::EINVAL),
    ("posix_fallocate from before", "posix_fallocate", |at| allocate(at, OFlag::O_RDWR, -1, 4), Errno::EINVAL),
    ("posix_fallocate of what may be read", "posix_fallocate", |at| allocate(at, OFlag::O_RDONLY, 0, 9), Errno::EBADF),
    ("readlink of a file", "readlink", |at| readlink(&at.join("file")).map(drop), Errno::EINVAL),
    ("read of what may be written", "open", |at| read(file(at, OFlag::O_WRONLY)?, &mut [0]).map(drop), Errno::EBADF),
    ("write of what may be read", "open", |at| write(file(at, OFlag::O_RDONLY)?, b"x").map(drop), Errno::EBADF),
    ("read of a directory", "open", |at| read(open(at, OFlag::O_RDONLY, ALL)?, &mut [0]).map(drop), Errno::EISDIR),
    ("utimensat of a time that is none", "utimensat", |at| nanoseconds(at, 1_000_000_000), Errno::EINVAL),
];

fn calls_that_cannot_be_done_say_why(case: &Case) {
    let local = Fresh::new();
    [&case.disk, &local.path].into_iter().for_each(|root| furnish(root));
    let mount = case.mount_rw(&[]);
    for (what, test, call, errno) in REFUSALS {
        for root in [&local.path, &mount.point] {
            assert_eq!(call(root), Err(*errno), "{what} ({test}) in {}", root.display());
        }
    }
    mount.end();
    // None of it has done anything.
    assert_eq!(shown(&case.disk), shown(&local.path));
}

/// What succeeds, where pjdfstest has it.
const SUCCESSES: &[(&str, &str, Call)] = &[
    ("mkdir", "mkdir/00", |at| mkdir(&at.join("new"), Mode::from_bits_truncate(0o755))),
    ("mkdir of a name that is as long as can be", "mkdir/02", |at| mkdir(&at.join("n".repeat(255)), ALL)),
    ("rmdir", "rmdir/00", |at| rmdir(&at.join("directory"))),
    ("O_CREAT", "open/00", |at| open_with(&at.join("made"), OFlag::O_WRONLY | OFlag::O_CREAT)),
    ("O_CREAT of what is there", "open/00", |at| open_with(&at.join("file"), OFlag::O_WRONLY | OFlag::O_CREAT)),
    ("O_EXCL", "open/22", |at| open_with(&at.join("other"), EXCLUSIVE)),
    ("O_TRUNC", "open/00", |at| open_with(&at.join("file"), OFlag::O_WRONLY | OFlag::O_TRUNC)),
    ("truncate to less", "truncate/00", |at| truncate(&at.join("file"), 3)),
    ("truncate to more", "truncate/00", |at| truncate(&at.join("file"), 1234)),
    ("truncate by a link", "truncate/00", |at| truncate(&at.join("link"), 2)),
    ("ftruncate to more", "ftruncate/00", |at| ftruncate(file(at, OFlag::O_RDWR)?, 567)),
    ("ftruncate to less", "ftruncate/00", |at| ftruncate(file(at, OFlag::O_WRONLY)?, 2)),
    ("posix_fallocate", "posix_fallocate/00", |at| allocate(at, OFlag::O_RDWR, 0, 100)),
    ("posix_fallocate behind the end", "posix_fallocate/00", |at| allocate(at, OFlag::O_RDWR, 200, 56)),
    ("posix_fallocate of what is there", "posix_fallocate/00", |at| allocate(at, OFlag::O_RDWR, 0, 3)),
    ("chmod of a file", "chmod/00", |at| chmod(&at.join("file"), 0o640)),
    ("chmod to less", "chmod/00", |at| chmod(&at.join("file"), 0o400)),
    ("chmod of a directory", "chmod/00", |at| chmod(&at.join("full"), 0o711)),
    ("chmod by a link", "chmod/00", |at| chmod(&at.join("link"), 0o604)),
    ("utimensat", "utimensat/00", |at| set_times(&at.join("file"), 1_234_567_890)),
    ("utimensat of the same", "utimensat/01", |at| set_omitted(&at.join("file"))),
    ("utimensat to 1970", "utimensat", |at| set_times(&at.join("spare"), 0)),
    ("rename of a file", "rename/00", |at| rename_in(at, "made", "moved")),
    ("rename over a file", "rename/00", |at| rename_in(at, "moved", "spare")),
    ("rename to itself", "rename/00", |at| rename_in(at, "spare", "spare")),
    ("rename of a directory", "rename/00", |at| rename_in(at, "full", "fuller")),
    ("rename over an empty directory", "rename/00", |at| {
        mkdir(&at.join("e"), ALL).and_then(|()| rename_in(at, "fuller", "e"))
    }),
    ("rename of what is below", "rename/00", |at| rename_in(at, "e/below", "below")),
    ("rename of a link", "rename/00", |at| rename_in(at, "link", "other link")),
    ("unlink of a link", "unlink/00", |at| unlink(&at.join("other link"))),
    ("unlink", "unlink/00", |at| unlink(&at.join("spare"))),
    ("unlink of what is open", "unlink/14", unlink_open),
];

fn calls_that_can_be_done_do_what_they_should(case: &Case) {
    let local = Fresh::new();
    [&case.disk, &local.path].into_iter().for_each(|root| furnish(root));
    let mount = case.mount_rw(&[]);
    for (what, test, call) in SUCCESSES {
        for root in [&local.path, &mount.point] {
            assert_eq!(call(root), Ok(()), "{what} ({test}) in {}", root.display());
        }
        assert_eq!(shown(&mount.point), shown(&local.path), "after {what} ({test})");
    }
    mount.end();
    assert_eq!(shown(&case.disk), shown(&local.path), "on the server");
}

/// What there is not, as `docs/posix.md` lists it.
const ABSENT: &[(&str, Call, Errno)] = &[
    ("link(2)", |at| linkat(AT_FDCWD, &at.join("file"), AT_FDCWD, &at.join("new"), AtFlags::empty()), Errno::EPERM),
    ("mkfifo(2)", |at| mkfifo(&at.join("new"), ALL), Errno::EPERM),
    ("mknod(2) of a character device", |at| mknod(&at.join("new"), SFlag::S_IFCHR, ALL, 0x0103), Errno::EPERM),
    ("mknod(2) of a block device", |at| mknod(&at.join("new"), SFlag::S_IFBLK, ALL, 0x0700), Errno::EPERM),
    ("mknod(2) of a socket", |at| mknod(&at.join("new"), SFlag::S_IFSOCK, ALL, 0), Errno::EPERM),
    ("chown(2) to another", |at| own(&at.join("file"), 4321), Errno::EPERM),
    ("O_TMPFILE", |at| open_with(at, OFlag::O_TMPFILE | OFlag::O_RDWR), Errno::EOPNOTSUPP),
    ("RENAME_EXCHANGE", |at| rename_with(at, RenameFlags::RENAME_EXCHANGE), Errno::EINVAL),
    ("RENAME_WHITEOUT", |at| rename_with(at, RenameFlags::RENAME_WHITEOUT), Errno::EINVAL),
];

fn what_ftp_does_not_have_is_refused(case: &Case) {
    furnish(&case.disk);
    let (mount, before) = (case.mount_rw(&[]), shown(&case.disk));
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/posix.md")).unwrap();
    for (what, call, errno) in ABSENT {
        assert_eq!(call(&mount.point), Err(*errno), "{what}");
        let line = format!("| {what} | {errno:?} |");
        assert!(documented.contains(&line), "docs/posix.md has no line that begins with {line}");
    }
    let linked = symlinkat("file", AT_FDCWD, &mount.point.join("new"));
    match case.server.spec.kind {
        // Has SITE SYMLINK.
        Kind::Proftpd => unlink(&mount.point.join("new")).unwrap(),
        _ => assert_eq!(linked, Err(Errno::EPERM)),
    }
    mount.end();
    assert_eq!(shown(&case.disk), before);
}

/// What every case finds.
fn furnish(root: &Path) {
    for (name, content) in [("file", "content"), ("spare", "spare")] {
        fs::write(root.join(name), content).unwrap();
    }
    for name in ["directory", "full", "full/below"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    for (name, target) in [("link", "file"), ("to_directory", "directory"), ("loop", "loop")] {
        std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    }
    for name in ["file", "spare", "directory", "full", "full/below"] {
        crate::cases::give(&root.join(name));
    }
}

/// Every name below `root` with its kind, permission bits, and size, time or target, as far as they do not depend on the clock.
fn shown(root: &Path) -> Vec<String> {
    let mut shown = Vec::new();
    show(root, &mut shown);
    shown.sort();
    shown.iter().map(|line| line.replace(root.to_str().unwrap(), "")).collect()
}

fn show(directory: &Path, shown: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let what = match metadata.file_type() {
            kind if kind.is_symlink() => format!("leads to {}", fs::read_link(&path).unwrap().display()),
            kind if kind.is_dir() => {
                show(&path, shown);
                format!("is a directory, {:o}", metadata.mode() & 0o777)
            }
            _ => {
                let set = [0, 1_234_567_890].contains(&metadata.mtime()).then(|| metadata.mtime());
                let mode = metadata.mode() & 0o777;
                format!("holds {:?}, {mode:o}, {set:?}", String::from_utf8(fs::read(&path).unwrap()).unwrap())
            }
        };
        shown.push(format!("{} {what}", path.display()));
    }
}

fn beside(path: &Path, name: &str) -> PathBuf {
    let root = path.ancestors().find(|above| above.join("loop").is_symlink());
    root.unwrap().join(name)
}

fn open_with(path: &Path, flags: OFlag) -> nix::Result<()> {
    open(path, flags, Mode::from_bits_truncate(0o644)).map(drop)
}

fn file(at: &Path, flags: OFlag) -> nix::Result<std::os::fd::OwnedFd> {
    open(&at.join("file"), flags, Mode::empty())
}

fn rmdir(path: &Path) -> nix::Result<()> {
    unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir)
}

fn unlink(path: &Path) -> nix::Result<()> {
    unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir)
}

fn rename(from: &Path, to: &Path) -> nix::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::empty())
}

fn rename_in(at: &Path, from: &str, to: &str) -> nix::Result<()> {
    rename(&at.join(from), &at.join(to))
}

fn rename_new(at: &Path, from: &str, to: &str) -> nix::Result<()> {
    renameat2(AT_FDCWD, &at.join(from), AT_FDCWD, &at.join(to), RenameFlags::RENAME_NOREPLACE)
}

fn rename_with(at: &Path, flags: RenameFlags) -> nix::Result<()> {
    renameat2(AT_FDCWD, &at.join("file"), AT_FDCWD, &at.join("spare"), flags)
}

fn chmod(path: &Path, mode: u32) -> nix::Result<()> {
    fchmodat(AT_FDCWD, path, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)
}

fn own(path: &Path, uid: u32) -> nix::Result<()> {
    chown(path, Some(uid), None).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap()))
}

fn allocate(at: &Path, flags: OFlag, offset: i64, length: i64) -> nix::Result<()> {
    posix_fallocate(file(at, flags)?, offset, length)
}

fn set_times(path: &Path, seconds: i64) -> nix::Result<()> {
    let time = TimeSpec::seconds(seconds);
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::FollowSymlink)
}

fn set_omitted(path: &Path) -> nix::Result<()> {
    utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &TimeSpec::UTIME_OMIT, UtimensatFlags::FollowSymlink)
}

fn nanoseconds(at: &Path, nanoseconds: i64) -> nix::Result<()> {
    let time = TimeSpec::new(0, nanoseconds);
    utimensat(AT_FDCWD, &at.join("file"), &time, &time, UtimensatFlags::FollowSymlink)
}

/// Who has it open reads it on.
fn unlink_open(at: &Path) -> nix::Result<()> {
    let path = at.join("gone");
    fs::write(&path, b"still here").unwrap();
    let held = open(&path, OFlag::O_RDONLY, Mode::empty())?;
    unlink(&path)?;
    let mut bytes = [0; 20];
    let count = read(&held, &mut bytes)?;
    assert_eq!(&bytes[..count], b"still here");
    Ok(())
}

const ALL: Mode = Mode::from_bits_truncate(0o777);
const EXCLUSIVE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL);
