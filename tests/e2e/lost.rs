//! Uploads that cannot succeed: the writer hears of it, the old file is still there whole, and no byte is lost.

use crate::bounded::timed;
use crate::cases::{Case, Fresh, give, on_every_empty_server};
use crate::ftpd::{Act, Behaviour, Content, Fault, Server, Step, Tree};
use crate::matrix::scripted;
use crate::support::mountpoint::Mount;
use crate::support::server::{Kind, Spec, Tls};
use crate::support::tree::big_content;
use crate::writer::{CREATE, Small, Writer, assert_kept, close, errno, names, store, store_backwards, store_counting};
use nix::errno::Errno;
use nix::libc::{O_TRUNC, O_WRONLY};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

on_every_empty_server! {
    a_file_changed_by_somebody_else_is_not_overwritten,
    the_last_writer_wins_where_that_is_wished,
    a_file_made_by_somebody_else_meanwhile_is_not_overwritten,
    sessions_killed_in_the_middle_leave_no_wrong_file,
    a_directory_deleted_under_an_open_file_loses_nothing,
    what_changes_on_the_server_is_seen_at_the_next_open,
    what_is_appended_comes_after_what_was_added_on_the_server,
}

/// Where a test says `timeout=5`.
const TIMEOUT: Duration = Duration::from_secs(5);

const MARGIN: Duration = Duration::from_secs(1);

const ALL: [Kind; 4] = [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib];

/// A file system of 8 MiB as the server's root.
#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    for kind in ALL {
        let fresh = Fresh::new();
        let small = Small::mount(&fresh.path);
        give(&small.0);
        let case = Case::over(Spec::new(kind, "/"), fresh);
        let old = big_content(0, 1 << 20);
        case.put("old", &old);
        let mount = case.mount_rw(&[]);
        // No two are alike: what is kept of one cannot be taken for what is kept of another. The last one meets a disk on which
        // there is no room for its beginning, of which pyftpdlib says nothing: it has to be here wholly.
        for (seed, (name, size)) in
            (1..).zip([("old", 12 << 20), ("new", 12 << 20), ("spooled", 12 << 20), ("full", 7 << 20)])
        {
            remove_all_but_old(&case);
            small.wait_for_room();
            if name == "full" {
                let mut filler = File::create(case.disk.join("filler")).unwrap();
                while filler.write_all(&[0; 4096]).is_ok() {}
            }
            let content = big_content(seed << 30, size);
            let (taken, result) = match name {
                "spooled" => (content.len(), store_backwards(&mount, name, &content)),
                _ => store_counting(&mount, name, &content),
            };
            println!("{kind:?} {name}: {result:?} after {taken} bytes");
            // pyftpdlib's session dies of it without a word; now and then it goes on without its data connection, and is silent.
            let told = match kind {
                Kind::Pyftpdlib if why_kept(&mount, name).contains("in time") => Errno::ETIMEDOUT,
                Kind::Pyftpdlib => Errno::EIO,
                _ => Errno::ENOSPC,
            };
            assert_eq!(errno(result), told, "{kind:?} {name}: {}", mount.log());
            assert!(fs::read(case.disk.join("old")).unwrap() == old, "{kind:?} {name}: the old file is not whole");
            assert_kept(&mount, &case.disk, name, &content, taken);
        }
        // What fits still goes.
        remove_all_but_old(&case);
        small.wait_for_room();
        store(&mount.path("fits"), b"small").unwrap();
        assert_eq!(fs::read(case.disk.join("fits")).unwrap(), b"small");
        assert!(fs::read(mount.path("old")).unwrap() == old, "{kind:?}");
        mount.end();
        assert_eq!(names(&case.disk), ["fits", "old"], "{kind:?}");
        drop(case.server);
    }
}

/// What the log says of the file, a moment after it was closed.
fn why_kept(mount: &Mount, name: &str) -> String {
    let begins = format!("ftpsfs: /{name} could not be written");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(line) = mount.log().lines().rfind(|line| line.starts_with(&begins)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "the log does not tell of {name}: {}", mount.log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// What is left of uploads on a server that is full.
fn remove_all_but_old(case: &Case) {
    for name in names(&case.disk).iter().filter(|name| *name != "old") {
        println!("{:?}: {name} is left on the full server", case.server.spec.kind);
        fs::remove_file(case.disk.join(name)).unwrap();
    }
}

/// What a server does that has no room and does not say so: it dies of it each time, or stands still.
#[test]
fn an_upload_that_breaks_each_time_at_the_same_byte_is_an_error_of_one_kind() {
    for (act, told) in [(Act::HangUp, Errno::EIO), (Act::Reset, Errno::EIO), (Act::Stall, Errno::ETIMEDOUT)] {
        let server = Server::start(Behaviour::default(), Tree::new().file("/old", "old"));
        let mount = scripted::mount(&server, &["timeout=5"]);
        server.fault(Fault::new(Step::Stored(1 << 20), act.clone()).once());
        server.fault(Fault::new(Step::Stored(0), act.clone()));
        let content = big_content(0, 3 << 20);
        let ((taken, result), took) = timed(|| store_counting(&mount, "old", &content));
        println!("{act:?}: {result:?} after {taken} bytes and {took:?}");
        assert_eq!(errno(result), told, "{act:?}: {}", mount.log());
        // A write and a close.
        assert!(took < 2 * (TIMEOUT + MARGIN), "{act:?}: {took:?}");
        server.no_more_faults();
        let old = || matches!(&server.tree().get(b"/old").unwrap().content, Content::Bytes(bytes) if bytes.as_ref() == b"old");
        assert!(old(), "{act:?}: the old file is not whole");
    }
}

/// An account that may store 4 MiB, by the servers' own accounts of what it has.
#[test]
fn a_quota_is_told_and_loses_nothing() {
    for kind in [Kind::Proftpd, Kind::PureFtpd] {
        let case = Case::empty_of(Spec { quota_mib: Some(4), ..Spec::new(kind, "/") });
        let mount = case.mount_rw(&[]);
        let old = big_content(0, 1 << 20);
        store(&mount.path("old"), &old).unwrap();
        // Of more than 8 MiB the beginning would be on the server only, and ProFTPD removes what goes past a quota.
        let files = [("old", 7 << 20), ("new", 7 << 20), ("short", 3500 << 10), ("spooled", 12 << 20)];
        for (seed, (name, size)) in (1..).zip(files) {
            let content = big_content(seed << 30, size);
            let (taken, result) = match name {
                "spooled" => (content.len(), store_backwards(&mount, name, &content)),
                _ => store_counting(&mount, name, &content),
            };
            println!("{kind:?} {name}: {result:?} after {taken} bytes");
            assert_eq!(errno(result), Errno::EDQUOT, "{kind:?} {name}: {}", mount.log());
            assert!(fs::read(case.disk.join("old")).unwrap() == old, "{kind:?} {name}: the old file is not whole");
            assert_kept(&mount, &case.disk, name, &content, taken);
        }
        store(&mount.path("fits"), b"small").unwrap();
        assert!(fs::read(mount.path("old")).unwrap() == old, "{kind:?}");
        mount.end();
        let left: Vec<String> = names(&case.disk).into_iter().filter(|name| name != ".ftpquota").collect();
        assert_eq!(left, ["fits", "old"], "{kind:?}");
    }
}

fn a_file_changed_by_somebody_else_is_not_overwritten(case: &Case) {
    case.put("shared", b"as it was when opened");
    let mount = case.mount_rw(&[]);
    let mut writer = Writer::open(&mount, &mount.path("shared"), b"OURS", O_WRONLY | O_TRUNC).unwrap();
    writer.write(0..4).unwrap();
    let theirs = b"changed by somebody else, and longer than before";
    case.put("shared", theirs);
    assert_eq!(errno(writer.close()), Errno::ESTALE);
    assert_eq!(fs::read(case.disk.join("shared")).unwrap(), theirs);
    let beside: Vec<String> = names(&case.disk).into_iter().filter(|name| name != "shared").collect();
    let [conflict] = beside.as_slice() else { panic!("{beside:?}") };
    assert!(conflict.starts_with("shared.conflict-"), "{conflict}");
    assert_eq!(fs::read(case.disk.join(conflict)).unwrap(), b"OURS");
    assert!(names(&mount.point).contains(conflict), "{:?}", names(&mount.point));
    await_content(&mount, "shared", theirs);
    fs::remove_file(mount.path(conflict)).unwrap();

    // What was not written came from a version that is gone: where it is not in memory, nothing whole can be stored beside it.
    let mut writer = Writer::open(&mount, &mount.path("shared"), b"OURS", O_WRONLY).unwrap();
    writer.write(0..4).unwrap();
    case.put("shared", b"changed once more");
    assert_eq!(errno(writer.close()), Errno::ESTALE);
    assert_eq!(fs::read(case.disk.join("shared")).unwrap(), b"changed once more");
    match names(&case.disk).iter().find(|name| name.starts_with("shared.conflict-")) {
        Some(conflict) => {
            let stored = fs::read(case.disk.join(conflict)).unwrap();
            assert_eq!(stored, [b"OURS", &theirs[4..]].concat());
            fs::remove_file(case.disk.join(conflict)).unwrap();
        }
        None => assert_kept(&mount, &case.disk, "shared", b"OURS", 4),
    }
    await_content(&mount, "shared", b"changed once more");

    store(&mount.path("shared"), b"opened anew").unwrap();
    assert_eq!(fs::read(case.disk.join("shared")).unwrap(), b"opened anew");
    mount.end();
    assert_eq!(names(&case.disk), ["shared"]);
}

/// Whoever opens the file anew sees what is there, once nobody has it open: the kernel tells of that a moment after close.
fn await_content(mount: &Mount, name: &str, content: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read(mount.path(name)).ok().as_deref() != Some(content) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fs::read(mount.path(name)).unwrap(), content, "{}", mount.log());
}

fn the_last_writer_wins_where_that_is_wished(case: &Case) {
    case.put("shared", b"as it was when opened");
    let mount = case.mount_rw(&["conflict=overwrite"]);
    let mut writer = Writer::open(&mount, &mount.path("shared"), b"ours", O_WRONLY | O_TRUNC).unwrap();
    writer.write(0..4).unwrap();
    case.put("shared", b"changed by somebody else, and longer than before");
    writer.close().unwrap();
    assert_eq!(fs::read(case.disk.join("shared")).unwrap(), b"ours");
    assert_eq!(fs::read(mount.path("shared")).unwrap(), b"ours");
    mount.end();
    assert_eq!(names(&case.disk), ["shared"]);
}

fn a_file_made_by_somebody_else_meanwhile_is_not_overwritten(case: &Case) {
    let mount = case.mount_rw(&[]);
    let mut writer = Writer::open(&mount, &mount.path("new"), b"ours", CREATE).unwrap();
    writer.write(0..4).unwrap();
    case.put("new", b"theirs");
    assert_eq!(errno(writer.close()), Errno::ESTALE);
    assert_eq!(fs::read(case.disk.join("new")).unwrap(), b"theirs");
    let [conflict, new] = <[String; 2]>::try_from(names(&case.disk)).unwrap_or_else(|all| panic!("{all:?}"));
    let (conflict, _) = if new == "new" { (conflict, new) } else { (new, conflict) };
    assert_eq!(fs::read(case.disk.join(&conflict)).unwrap(), b"ours");
    mount.end();
}

/// The upload goes on, whenever the sessions die; never is there another content, old or new.
fn sessions_killed_in_the_middle_leave_no_wrong_file(case: &Case) {
    let old = big_content(0, 500_000);
    case.put("file", &old);
    let mount = case.mount_rw(&[]);
    let mut failed = Vec::new();
    for round in 0..6_u64 {
        let before = fs::read(case.disk.join("file")).unwrap();
        let content = big_content((round + 1) << 30, 6 << 20);
        let mut writer = Writer::open(&mount, &mount.path("file"), &content, CREATE).unwrap();
        let (mut taken, mut result) = (0, Ok(()));
        for number in 0..6 {
            if number == round {
                case.server.kill_sessions();
            }
            let end = taken + (1 << 20);
            result = result.and_then(|()| writer.write(taken..end));
            taken = if result.is_ok() { end } else { taken };
        }
        let closed = writer.close();
        let result = result.and(closed);
        let stored = fs::read(case.disk.join("file")).unwrap();
        match result {
            Ok(()) => assert!(stored == content, "round {round}: close said that it is there: {} bytes", stored.len()),
            Err(error) => {
                println!("{:?} round {round}: {error}", case.server.spec.kind);
                failed.push(round);
                assert!(stored == before, "round {round}: {error}, and the old file is not whole");
                assert_kept(&mount, &case.disk, "file", &content, taken);
            }
        }
        let mut seen = Vec::new();
        File::open(mount.path("file")).unwrap().read_to_end(&mut seen).unwrap();
    }
    assert!(failed.is_empty(), "{:?}: rounds {failed:?}; {}", case.server.spec.kind, mount.log());
    store(&mount.path("after"), b"works again").unwrap();
    assert_eq!(fs::read(case.disk.join("after")).unwrap(), b"works again");
    mount.end();
}

/// Connections that the server ends while nothing is under way are replaced without a word.
#[test]
fn ended_connections_are_replaced() {
    for kind in ALL {
        let case = Case::empty(kind, Tls::V13);
        let mount = case.mount_rw(&["timeout=5"]);
        store(&mount.path("before"), b"before").unwrap();
        case.server.kill_sessions();
        store(&mount.path("after"), b"after").unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(fs::read(case.disk.join("after")).unwrap(), b"after");
        // Opened before, written after.
        let mut file = File::create(mount.path("across")).unwrap();
        case.server.kill_sessions();
        file.write_all(b"across").unwrap();
        close(file).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(fs::read(case.disk.join("across")).unwrap(), b"across");
        mount.end();
        assert_eq!(names(&case.disk), ["across", "after", "before"]);
    }
}

/// The server is killed in the middle of an upload, and comes back a second later on the same port: the upload goes on
/// where it was.
#[test]
fn an_upload_goes_on_when_the_server_is_started_again() {
    for (kind, options) in ALL.into_iter().flat_map(|kind| [(kind, ""), (kind, "upload=direct")]) {
        let mut case = Case::empty(kind, Tls::V13);
        case.put("file", &big_content(0, 500_000));
        let mount = case.mount_rw(&["timeout=5", options]);
        let content = big_content(4096, 24 << 20);
        let mut writer = Writer::open(&mount, &mount.path("file"), &content, CREATE).unwrap();
        writer.write(0..10 << 20).unwrap();
        case.server.stop();
        let server = &mut case.server;
        let result = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(1));
                server.start_again();
            });
            let written = writer.write(10 << 20..24 << 20);
            let closed = writer.close();
            written.and(closed)
        });
        result.unwrap_or_else(|error| panic!("{kind:?} {options}: {error}; {}", mount.log()));
        let stored = fs::read(case.disk.join("file")).unwrap();
        assert!(stored == content, "{kind:?} {options}: {} bytes are there", stored.len());
        println!("{kind:?} {options}: {} times again", mount.log().matches("again from byte").count());
        store(&mount.path("after"), b"after").unwrap();
        mount.end();
        assert_eq!(names(&case.disk), ["after", "file"], "{kind:?} {options}");
    }
}

/// The server stays away: the writer hears of it in time, nothing is lost, and once it is back everything works.
#[test]
fn a_server_that_stays_away_is_given_up() {
    let mut case = Case::empty(Kind::Vsftpd, Tls::V13);
    let old = big_content(0, 500_000);
    case.put("file", &old);
    let mount = case.mount_rw(&["timeout=5"]);
    let content = big_content(4096, 12 << 20);
    let mut writer = Writer::open(&mount, &mount.path("file"), &content, CREATE).unwrap();
    writer.write(0..6 << 20).unwrap();
    case.server.stop();
    let (written, took) = timed(|| writer.write(6 << 20..12 << 20));
    let taken = if written.is_ok() { content.len() } else { 6 << 20 };
    if let Err(error) = &written {
        assert_eq!(error.raw_os_error(), Some(Errno::ETIMEDOUT as i32), "{error}; {}", mount.log());
    }
    assert!(took < TIMEOUT + MARGIN, "write took {took:?}");
    let (closed, took) = timed(|| writer.close());
    println!("write: {written:?}; close: {closed:?} after {took:?}");
    // Nobody answers at its port: it was looked for as long as there was time.
    assert_eq!(errno(closed), Errno::EHOSTDOWN, "{}", mount.log());
    assert!(took < TIMEOUT + MARGIN, "close took {took:?}");
    assert!(fs::read(case.disk.join("file")).unwrap() == old);
    assert_kept(&mount, &case.disk, "file", &content, taken);
    case.server.start_again();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read(mount.path("file")).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    store(&mount.path("after"), b"after").unwrap();
    assert!(fs::read(mount.path("file")).unwrap() == old);
    mount.end();
}

fn a_directory_deleted_under_an_open_file_loses_nothing(case: &Case) {
    let mount = case.mount_rw(&[]);
    fs::create_dir(mount.path("gone")).unwrap();
    let content = b"what is written and goes on";
    let mut writer = Writer::open(&mount, &mount.path("gone/file"), content, CREATE).unwrap();
    writer.write(0..15).unwrap();
    fs::remove_dir_all(case.disk.join("gone")).unwrap();
    writer.write(15..content.len()).unwrap();
    writer.close().unwrap_err();
    assert_kept(&mount, &case.disk, "file", content, content.len());
    store(&mount.path("after"), b"works").unwrap();
    mount.end();
    assert_eq!(names(&case.disk), ["after"]);
}

/// Close to open: what one mount has closed another sees that opens the file afterwards, if only it looks again.
/// The kernel knows the file as it was, and takes from that where its end is.
fn what_is_appended_comes_after_what_was_added_on_the_server(case: &Case) {
    let disk = case.put("log", b"one\n");
    let mount = case.mount_rw(&["attr_timeout=600", "dir_timeout=600"]);
    let path = mount.path("log");
    assert_eq!(fs::metadata(&path).unwrap().len(), 4);
    let mut expected = b"one\n".to_vec();
    for round in 0..3 {
        let theirs = format!("theirs {round}\n");
        expected.extend_from_slice(theirs.as_bytes());
        OpenOptions::new().append(true).open(&disk).unwrap().write_all(theirs.as_bytes()).unwrap();
        let ours = format!("ours {round}\n");
        expected.extend_from_slice(ours.as_bytes());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(ours.as_bytes()).unwrap();
        close(file).unwrap();
        assert_eq!(String::from_utf8_lossy(&fs::read(&disk).unwrap()), String::from_utf8_lossy(&expected));
        assert_eq!(fs::read(&path).unwrap(), expected);
    }
    // Read and written by one: all of it is seen.
    OpenOptions::new().append(true).open(&disk).unwrap().write_all(b"last\n").unwrap();
    expected.extend_from_slice(b"last\n");
    let mut both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut seen = Vec::new();
    both.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, expected);
    drop(both);
    mount.end();
}

fn what_changes_on_the_server_is_seen_at_the_next_open(case: &Case) {
    let one = case.mount_rw(&["attr_timeout=0", "dir_timeout=0"]);
    let other = case.mount_rw(&["attr_timeout=0", "dir_timeout=0"]);
    for round in 0..5 {
        let content = format!("round {round}{}", "!".repeat(round));
        store(&one.path("file"), content.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(other.path("file")).unwrap(), content);
        let answer = format!("{content}, answered");
        store(&other.path("file"), answer.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(one.path("file")).unwrap(), answer);
    }
    one.end();
    let deadline = Instant::now() + Duration::from_secs(5);
    while names(&case.disk) != ["file"] && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    other.end();
    assert_eq!(names(&case.disk), ["file"]);
}
