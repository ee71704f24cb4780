//! Files that are written in place: because `upload=direct` says so, because the server allows nothing else, or because
//! they are added to.

use crate::cases::{Case, Fresh, give, on_every_empty_server};
use crate::support::exerciser::{Exerciser, Place, seed};
use crate::support::server::{Forbidden, Kind, Spec};
use crate::support::tree::big_content;
use crate::writer::{CREATE, Small, Writer, assert_kept, close, errno, names, store, store_counting};
use nix::errno::Errno;
use nix::libc::{O_APPEND, O_TRUNC, O_WRONLY};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

on_every_empty_server! {
    files_are_written_in_place,
    random_operations_in_place_are_as_in_memory,
    a_file_changed_by_somebody_else_is_not_overwritten_in_place,
    sessions_killed_while_a_file_is_written_in_place_lose_nothing,
    a_file_that_is_being_read_is_added_to_at_once,
}

/// The number of the file on the server's disk: another one was renamed over it if it changes.
fn number(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn files_are_written_in_place(case: &Case) {
    let disk = case.put("file", b"old content, which is long");
    fs::set_permissions(&disk, Permissions::from_mode(0o640)).unwrap();
    let before = number(&disk);
    let mount = case.mount_rw(&["upload=direct"]);
    let path = mount.path("file");
    store(&path, b"new").unwrap();
    assert_eq!(fs::read(&disk).unwrap(), b"new");
    // Somewhere in it, then at its end, then longer and shorter.
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"E", 1).unwrap();
    close(file).unwrap();
    assert_eq!(fs::read(&disk).unwrap(), b"nEw");
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b" and more").unwrap();
    close(file).unwrap();
    assert_eq!(fs::read(&disk).unwrap(), b"nEw and more");
    for (size, content) in [(14, &b"nEw and more\0\0"[..]), (3, b"nEw"), (0, b"")] {
        nix::unistd::truncate(&path, size).unwrap();
        assert_eq!(fs::read(&disk).unwrap(), content);
    }
    let large = big_content(0, 12 << 20);
    store(&path, &large).unwrap();
    assert!(fs::read(&disk).unwrap() == large);
    assert_eq!(number(&disk), before, "another file took its name");
    assert_eq!(fs::metadata(&disk).unwrap().permissions().mode() & 0o777, 0o640);
    store(&mount.path("created"), &large).unwrap();
    assert!(fs::read(case.disk.join("created")).unwrap() == large);
    mount.end();
    assert_eq!(names(&case.disk), ["created", "file"]);
}

fn random_operations_in_place_are_as_in_memory(case: &Case) {
    let mut exerciser = Exerciser::new(seed());
    let mount = case.mount_rw(&["upload=direct"]);
    exerciser.run(Place { directory: &mount.point, disk: &case.disk }, 1000);
    mount.end();
    exerciser.compare_all(&case.disk).unwrap();
}

fn a_file_changed_by_somebody_else_is_not_overwritten_in_place(case: &Case) {
    for size in [4, 3 << 20] {
        case.put("shared", b"as it was when opened");
        let mount = case.mount_rw(&["upload=direct"]);
        let ours = big_content(0, size);
        let mut writer = Writer::open(&mount, &mount.path("shared"), &ours, O_WRONLY | O_TRUNC).unwrap();
        case.put("shared", b"changed by somebody else, and longer than before");
        // A long one hears of it when it begins, a short one when it ends.
        let written = writer.write(0..size);
        let closed = writer.close();
        assert_eq!(errno(written.and(closed)), Errno::ESTALE);
        assert_eq!(fs::read(case.disk.join("shared")).unwrap(), b"changed by somebody else, and longer than before");
        if size == 4 {
            assert_kept(&mount, &case.disk, "shared", &ours, size);
        }
        mount.end();
        names(&case.disk).iter().for_each(|name| fs::remove_file(case.disk.join(name)).unwrap());
    }
}

/// The old content is gone from the first byte on; what is there is a beginning of the new one, and the rest is kept.
fn sessions_killed_while_a_file_is_written_in_place_lose_nothing(case: &Case) {
    let mount = case.mount_rw(&["upload=direct"]);
    for round in 0..3_usize {
        store(&mount.path("file"), &big_content(0, 500_000)).unwrap();
        let content = big_content(4096 * (round as u64 + 1), 6 << 20);
        let mut writer = Writer::open(&mount, &mount.path("file"), &content, CREATE).unwrap();
        let (mut taken, mut result) = (0, Ok(()));
        while taken < content.len() && result.is_ok() {
            if taken == (1 + 2 * round) << 20 {
                case.server.kill_sessions();
            }
            result = writer.write(taken..taken + (1 << 20));
            taken += if result.is_ok() { 1 << 20 } else { 0 };
        }
        let closed = writer.close();
        let stored = fs::read(case.disk.join("file")).unwrap();
        if let Err(error) = result.and(closed) {
            println!("{:?} round {round}: {error}", case.server.spec.kind);
            assert!(content.starts_with(&stored), "what is there is neither old nor new");
            assert_kept(&mount, &case.disk, "file", &content, taken);
        } else {
            assert!(stored == content, "round {round}: close said that it is there, and {} bytes are", stored.len());
        }
    }
    store(&mount.path("file"), b"works again").unwrap();
    mount.end();
    assert_eq!(fs::read(case.disk.join("file")).unwrap(), b"works again");
    assert_eq!(names(&case.disk), ["file"]);
}

/// vsftpd locks a file that is downloaded: what was added to it waited 20 seconds for a reader that had stopped reading.
fn a_file_that_is_being_read_is_added_to_at_once(case: &Case) {
    let old = big_content(0, 24 << 20);
    let disk = case.put("file", &old);
    let mount = case.mount_rw(&[]);
    let reader = File::open(mount.path("file")).unwrap();
    let mut beginning = [0; 4096];
    reader.read_exact_at(&mut beginning, 0).unwrap();
    let mut writer = Writer::open(&mount, &mount.path("file"), b"added", O_WRONLY | O_APPEND).unwrap();
    let start = Instant::now();
    writer.write(0..5).unwrap();
    writer.close().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    assert!(fs::read(disk).unwrap() == [&old[..], b"added"].concat());
    drop(reader);
    mount.end();
}

#[test]
fn a_full_disk_is_told_and_what_was_written_in_place_is_kept() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let fresh = Fresh::new();
        let small = Small::mount(&fresh.path);
        give(&small.0);
        let case = Case::over(Spec::new(kind, "/"), fresh);
        case.put("other", &big_content(0, 1 << 20));
        let mount = case.mount_rw(&["upload=direct"]);
        let content = big_content(1 << 30, 12 << 20);
        let (taken, result) = store_counting(&mount, "file", &content);
        let number = errno(result);
        assert!([Errno::ENOSPC, Errno::EIO].contains(&number), "{kind:?}: {number}");
        let stored = fs::read(case.disk.join("file")).unwrap();
        assert!(content.starts_with(&stored), "{kind:?}");
        assert_kept(&mount, &case.disk, "file", &content, taken);
        assert!(fs::read(case.disk.join("other")).unwrap() == big_content(0, 1 << 20), "{kind:?}");
        fs::remove_file(case.disk.join("file")).unwrap();
        small.wait_for_room();
        store(&mount.path("fits"), b"small").unwrap();
        mount.end();
        assert_eq!(names(&case.disk), ["fits", "other"], "{kind:?}");
        drop(case.server);
    }
}

/// A server that forbids our temporary names or renaming: all the same every file gets there, and the log says once how.
#[test]
fn where_nothing_else_is_allowed_files_are_written_in_place() {
    for (kind, forbidden) in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib]
        .into_iter()
        .flat_map(|kind| [(kind, Forbidden::TemporaryNames), (kind, Forbidden::Renaming)])
    {
        let case = Case::empty_of(Spec { forbidden: Some(forbidden), ..Spec::new(kind, "/") });
        let old = case.put("old", b"old content");
        let before = number(&old);
        let mount = case.mount_rw(&[]);
        let large = big_content(0, 12 << 20);
        for (name, content) in [("old", &b"new content"[..]), ("old", &large), ("small", b"small"), ("large", &large)] {
            store(&mount.path(name), content).unwrap_or_else(|error| panic!("{kind:?} {forbidden:?} {name}: {error}"));
            assert!(fs::read(case.disk.join(name)).unwrap() == content, "{kind:?} {forbidden:?} {name}");
        }
        let file = OpenOptions::new().read(true).write(true).open(mount.path("old")).unwrap();
        file.write_all_at(b"changed", 1 << 20).unwrap();
        close(file).unwrap();
        assert_eq!(&fs::read(&old).unwrap()[1 << 20..][..7], b"changed");
        assert_eq!(number(&old), before);
        let warnings = mount.log().matches("from now on files are written in place").count();
        assert_eq!(warnings, 1, "{kind:?} {forbidden:?}: {}", mount.log());
        mount.end();
        assert_eq!(names(&case.disk), ["large", "old", "small"], "{kind:?} {forbidden:?}");
    }
}
