//! What a mount does not do, says so, and goes on.

use crate::cases::{Case, on_every_empty_server};
use crate::support::run::shell;
use crate::support::server::Kind;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc::O_CREAT;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

on_every_empty_server! {
    names_that_no_command_carries_are_invalid,
    names_that_are_too_long_are_said_to_be,
    odd_names_can_be_written,
    what_the_server_forbids_to_write_is_forbidden,
    links_and_exchanges_are_refused,
    renames_keep_what_they_must,
    calls_on_the_wrong_kind_fail_as_they_do_locally,
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}

fn names_that_no_command_carries_are_invalid(case: &Case) {
    let mount = case.mount_rw(&[]);
    fs::write(mount.path("good"), b"good").unwrap();
    let said = case.server.log().len();
    for name in ["line\nbreak", "carriage\rreturn", "\r\nDELE good", "end\n"] {
        let path = mount.path(name);
        assert_eq!(errno(File::create(&path)), Errno::EINVAL, "{name:?}");
        assert_eq!(errno(fs::create_dir(&path)), Errno::EINVAL, "{name:?}");
        assert_eq!(errno(fs::rename(mount.path("good"), &path)), Errno::EINVAL, "{name:?}");
        assert!(fs::read(&path).is_err());
    }
    assert_eq!(names(&case.disk), ["good"]);
    assert!(!case.server.log()[said..].contains("break"), "a part of the name was sent");
    assert_eq!(fs::read(mount.path("good")).unwrap(), b"good");
    mount.end();
}

fn names_that_are_too_long_are_said_to_be(case: &Case) {
    let mount = case.mount_rw(&[]);
    let (longest, longer) = ("n".repeat(255), "n".repeat(256));
    assert_eq!(errno(File::create(mount.path(&longer))), Errno::ENAMETOOLONG);
    assert_eq!(errno(fs::create_dir(mount.path(&longer))), Errno::ENAMETOOLONG);
    fs::write(mount.path(&longest), b"long").unwrap();
    assert_eq!(fs::read(case.disk.join(&longest)).unwrap(), b"long");
    // A path as long as the kernel lets one go: it works, or it is said to be too long for the server.
    let script = r#"cd "$1"; export LC_ALL=C
        for step in $(seq 60); do
            name=$(printf 'd%.0s' $(seq 200))
            said=$(mkdir $name 2>&1) || break
            cd $name; said=$(echo content | dd of=file status=none 2>&1) || break
            [ "$(cat file)" = content ]
        done
        case $said in *'File name too long'* | '') ;; *) echo "$step: $said"; exit 1;; esac
        echo "$step""#;
    let ran = shell(script, &[&mount.point]);
    assert!(ran.status == 0, "{ran:?}");
    let steps: u32 = ran.stdout.trim().parse().unwrap();
    // All but vsftpd know where they are as text, which has the limit of a path.
    let expected = if case.server.spec.kind == Kind::Vsftpd { 60..=60 } else { 19..=21 };
    assert!(expected.contains(&steps), "{steps}");
    assert_eq!(fs::read(mount.path(&longest)).unwrap(), b"long");
    mount.end();
}

fn odd_names_can_be_written(case: &Case) {
    let mount = case.mount_rw(&[]);
    for name in crate::support::tree::ODD_NAMES {
        fs::write(mount.path(name), name).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!(fs::read(case.disk.join(name)).unwrap(), name.as_bytes(), "{name:?}");
        fs::remove_file(mount.path(name)).unwrap();
        let made = fs::create_dir(mount.path(name));
        // "Invalid directory name", says ProFTPD.
        if case.server.spec.kind == Kind::Proftpd && name.contains('*') {
            assert_eq!(errno(made), Errno::EACCES);
            continue;
        }
        made.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        fs::rename(mount.path(name), mount.path("renamed")).unwrap();
        fs::remove_dir(mount.path("renamed")).unwrap();
        wait_for_nothing(&case.disk);
    }
    // Names that some servers store under another name, or not at all: stored as they are, or refused.
    for name in [&b"trailing space "[..], b"tab\there", b"latin-1 \xe9", b"iac \xff", b"delete \x7f"] {
        let path = mount.point.join(OsStr::from_bytes(name));
        match close_of(&path, b"content") {
            Ok(()) => {
                assert_eq!(names(&case.disk), [OsStr::from_bytes(name)], "{:?}", name.escape_ascii().to_string());
                fs::remove_file(&path).unwrap();
            }
            Err(error) => {
                assert!(case.server.spec.kind != Kind::Vsftpd, "{:?}: {error}", name.escape_ascii().to_string());
                println!("{:?}: {}: {error}", case.server.spec.kind, name.escape_ascii());
            }
        }
        wait_for_nothing(&case.disk);
    }
    mount.end();
}

fn what_the_server_forbids_to_write_is_forbidden(case: &Case) {
    // Belongs to root on the server, so that the account can read and not write.
    let (directory, file) = (case.disk.join("locked"), case.disk.join("locked/file"));
    fs::create_dir(&directory).unwrap();
    fs::write(&file, b"old").unwrap();
    let mount = case.mount_rw(&[]);
    assert_eq!(errno(close_of(&mount.path("locked/new"), b"new")), Errno::EACCES);
    assert_eq!(errno(close_of(&mount.path("locked/file"), b"new")), Errno::EACCES);
    // What could not be written stays readable until it is released, which comes a moment after close.
    eventually(|| fs::metadata(mount.path("locked/new")).is_err());
    eventually(|| fs::read(mount.path("locked/file")).is_ok_and(|content| content == b"old"));
    assert_eq!(errno(fs::create_dir(mount.path("locked/new"))), Errno::EACCES);
    assert_eq!(errno(fs::remove_file(mount.path("locked/file"))), Errno::EACCES);
    assert_eq!(errno(fs::rename(mount.path("locked/file"), mount.path("moved"))), Errno::EACCES);
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(names(&directory), ["file"]);
    assert_eq!(fs::read(mount.path("locked/file")).unwrap(), b"old");
    close_of(&mount.path("after"), b"works").unwrap();
    assert_eq!(names(&case.disk), ["after", "locked"]);
    mount.end();
}

fn links_and_exchanges_are_refused(case: &Case) {
    let mount = case.mount_rw(&[]);
    let (one, other) = (mount.path("one"), mount.path("other"));
    fs::write(&one, b"1").unwrap();
    fs::write(&other, b"2").unwrap();
    assert_eq!(errno(fs::hard_link(&one, mount.path("hard"))), Errno::EPERM);
    if let Err(error) = symlink("one", mount.path("soft")) {
        assert_eq!(errno::<()>(Err(error)), Errno::EPERM);
    }
    assert_eq!(errno(rename_with(&one, &other, RenameFlags::RENAME_EXCHANGE)), Errno::EINVAL);
    assert_eq!(errno(rename_with(&one, &other, RenameFlags::RENAME_NOREPLACE)), Errno::EEXIST);
    rename_with(&one, &mount.path("free"), RenameFlags::RENAME_NOREPLACE).unwrap();
    assert_eq!(fs::read(mount.path("free")).unwrap(), b"1");
    assert_eq!(fs::read(&other).unwrap(), b"2");
    mount.end();
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags).map_err(io::Error::from)
}

fn renames_keep_what_they_must(case: &Case) {
    let mount = case.mount_rw(&[]);
    fs::create_dir_all(mount.path("a/b")).unwrap();
    fs::write(mount.path("a/b/file"), b"content").unwrap();
    // Known under its old path, then found under the new one.
    assert_eq!(fs::read_dir(mount.path("a/b")).unwrap().count(), 1);
    let open = OpenOptions::new().read(true).write(true).open(mount.path("a/b/file")).unwrap();
    fs::rename(mount.path("a"), mount.path("z")).unwrap();
    assert_eq!(fs::read(mount.path("z/b/file")).unwrap(), b"content");
    assert_eq!(errno(fs::metadata(mount.path("a/b/file"))), Errno::ENOENT);
    std::os::unix::fs::FileExt::write_all_at(&open, b"CON", 0).unwrap();
    nix::unistd::close(open).unwrap();
    assert_eq!(fs::read(case.disk.join("z/b/file")).unwrap(), b"CONtent");
    assert_eq!(errno(fs::rename(mount.path("missing"), mount.path("b"))), Errno::ENOENT);
    assert_eq!(errno(fs::rename(mount.path("z"), mount.path("z/b/in"))), Errno::EINVAL);
    fs::create_dir(mount.path("full")).unwrap();
    fs::write(mount.path("full/kept"), b"kept").unwrap();
    let onto_full = errno(fs::rename(mount.path("z"), mount.path("full")));
    // vsftpd tells no reason.
    assert!(onto_full == Errno::ENOTEMPTY || case.server.spec.kind == Kind::Vsftpd && onto_full == Errno::EACCES);
    assert_eq!(errno(fs::rename(mount.path("full/kept"), mount.path("z"))), Errno::EISDIR);
    assert_eq!(errno(fs::rename(mount.path("z"), mount.path("full/kept"))), Errno::ENOTDIR);
    assert_eq!(fs::read(mount.path("full/kept")).unwrap(), b"kept");
    fs::create_dir(mount.path("hollow")).unwrap();
    fs::rename(mount.path("z"), mount.path("hollow")).unwrap();
    assert_eq!(fs::read(case.disk.join("hollow/b/file")).unwrap(), b"CONtent");
    assert_eq!(names(&case.disk), ["full", "hollow"]);
    mount.end();
}

fn calls_on_the_wrong_kind_fail_as_they_do_locally(case: &Case) {
    let mount = case.mount_rw(&[]);
    fs::create_dir(mount.path("directory")).unwrap();
    fs::write(mount.path("directory/file"), b"x").unwrap();
    assert_eq!(errno(fs::remove_dir(mount.path("directory"))), Errno::ENOTEMPTY);
    assert_eq!(errno(fs::remove_file(mount.path("directory"))), Errno::EISDIR);
    assert_eq!(errno(fs::remove_dir(mount.path("directory/file"))), Errno::ENOTDIR);
    assert_eq!(errno(fs::create_dir(mount.path("directory"))), Errno::EEXIST);
    assert_eq!(errno(fs::create_dir(mount.path("directory/file"))), Errno::EEXIST);
    assert_eq!(errno(fs::create_dir(mount.path("none/below"))), Errno::ENOENT);
    assert_eq!(errno(File::create(mount.path("none/below"))), Errno::ENOENT);
    assert_eq!(errno(File::create(mount.path("directory"))), Errno::EISDIR);
    assert_eq!(errno(File::create(mount.path("directory/file/below"))), Errno::ENOTDIR);
    assert_eq!(errno(fs::remove_file(mount.path("none"))), Errno::ENOENT);
    let fifo = nix::unistd::mkfifo(&mount.path("fifo"), nix::sys::stat::Mode::S_IRUSR).map_err(io::Error::from);
    assert!([Errno::EPERM, Errno::ENOTSUP].contains(&errno(fifo)));
    // What the kernel lets root do the server decides.
    fs::set_permissions(mount.path("directory/file"), Permissions::from_mode(0o400)).unwrap();
    let mode = fs::metadata(case.disk.join("directory/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o400);
    let made = OpenOptions::new().write(true).custom_flags(O_CREAT).mode(0o600).open(mount.path("private")).unwrap();
    nix::unistd::close(made).unwrap();
    let shown = fs::metadata(mount.path("private")).unwrap().permissions().mode() & 0o777;
    let stored = fs::metadata(case.disk.join("private")).unwrap().permissions().mode() & 0o777;
    assert_eq!(shown, stored, "{shown:o} is shown and {stored:o} stored");
    mount.end();
}

/// Writes `content` to `path` and tells what went wrong, at the latest at close.
fn close_of(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::Write::write_all(&mut file, content)?;
    nix::unistd::close(file).map_err(io::Error::from)
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// What was removed while it was still open for a moment goes from the server a moment later.
fn wait_for_nothing(directory: &Path) {
    eventually(|| names(directory).is_empty());
}

fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come true");
        thread::sleep(Duration::from_millis(10));
    }
}
