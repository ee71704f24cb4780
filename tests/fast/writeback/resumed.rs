//! What an earlier mount left, in a mount that begins without its server.

use super::*;

/// A server that has `/old`, and a machine that stopped with another content of it and a new file in its journal.
fn stopped() -> (Memory, Disk) {
    let memory = Memory::new();
    memory.directory("/d").file("/old", "before");
    let mount = Mount::new(&memory);
    let (old, new) = (mount.open("old", Access::Truncate), mount.open("new", Access::Write));
    memory.away(true);
    for (fh, content) in [(old, "after"), (new, "new")] {
        mount.write(fh, 0, content.as_bytes());
        mount.close(fh).unwrap();
    }
    (memory.fork(), mount.disk.copy())
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::yield_now();
    }
}

/// What could not be taken up while the machine started, before it had a network, waited for the next mount: what was closed was
/// not to be seen all day, and what was then written to the file became a conflict.
#[test]
fn what_waits_is_uploaded_by_a_mount_that_begins_without_its_server() {
    for resume in [Vfs::resume as fn(&Vfs, Instant), Vfs::resume_later] {
        let (server, disk) = stopped();
        server.away(true);
        let mount = Mount::resumed(&server, disk, Settings::default(), resume);
        assert_eq!((mount.vfs.backlog().files, mount.vfs.backlog().bytes), (2, 8));
        assert!(mount.vfs.lookup(Ino::ROOT, b"old", mount.now, NETWORK).is_err());
        server.away(false);
        wait_for("uploaded", || mount.vfs.backlog().files == 0);
        mount.drained();
        assert_eq!(server.content("/old").unwrap(), b"after");
        assert_eq!(server.content("/new").unwrap(), b"new");
    }
}

#[test]
fn one_broken_connection_does_not_put_what_waits_off_to_the_next_mount() {
    for number in 1..6 {
        let (server, disk) = stopped();
        server.on_call({
            let (server, mut calls) = (server.clone(), 0);
            move || {
                calls += 1;
                if calls == number {
                    server.fail_next(ErrorKind::Lost);
                }
            }
        });
        let mount = Mount::resumed(&server, disk, Settings::default(), Vfs::resume);
        mount
            .vfs
            .fsyncdir(Ino::ROOT, mount.now, NETWORK)
            .or_else(|_| mount.vfs.fsyncdir(Ino::ROOT, mount.now, NETWORK))
            .unwrap();
        assert_eq!(server.content("/old").unwrap(), b"after");
        assert_eq!(server.content("/new").unwrap(), b"new");
    }
}

#[test]
fn who_asks_for_what_waits_has_it_taken_up_first() {
    for (what, ask) in [
        ("read", (|mount: &Mount| assert_eq!(mount.get("old"), b"after")) as fn(&Mount)),
        ("written", |mount| {
            let fh = mount.open("old", Access::Write);
            mount.write(fh, 5, b"wards");
            mount.close(fh).unwrap();
        }),
        ("created", |mount| {
            let error = mount.vfs.create(Ino::ROOT, b"new", Creation { exclusive: true, ..NEW }, mount.now, NETWORK);
            assert_eq!(error.unwrap_err(), Error::Exists);
        }),
        ("removed", |mount| mount.unlink("new")),
        ("renamed", |mount| mount.rename("new", "old")),
    ] {
        let (server, disk) = stopped();
        // Those in the background come first, and fail.
        server.away(true);
        let mount = Mount::resumed(&server, disk, Settings::default(), Vfs::resume);
        server.away(false);
        ask(&mount);
        mount.drained();
        let expected: &[(&str, &[u8])] = match what {
            "written" => &[("/new", b"new"), ("/old", b"afterwards")],
            "removed" => &[("/old", b"after")],
            "renamed" => &[("/old", b"new")],
            _ => &[("/new", b"new"), ("/old", b"after")],
        };
        let files = settled(&server).into_iter().filter_map(|(path, content)| Some((path, content?)));
        let expected = expected.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec()));
        assert_eq!(files.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{what}");
    }
}
