//! Closing without waiting for the server, and what becomes of it when everything ends.

use crate::cases::Case;
use crate::support::mountpoint::{Mount, program};
use crate::support::run::{PATIENCE, Ran, finish, within};
use crate::support::server::{Kind, Tls};
use crate::writer::{names, store};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const KINDS: [Kind; 4] = [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib];
/// What closing so many small files may take with no server to wait for; each try to connect takes longer.
const CLOSING_MAX: Duration = Duration::from_secs(4);
/// What a mount may take that waits for no server.
const BEGINNING_MAX: Duration = Duration::from_secs(4);
const FILES: usize = 20;

/// A server, and a journal that outlives each mount of it.
struct World {
    case: Case,
}

impl World {
    fn new(kind: Kind) -> Self {
        Self { case: Case::empty(kind, Tls::V13) }
    }

    fn mount(&self) -> Mount {
        self.mount_with(&[])
    }

    fn mount_with(&self, options: &[&str]) -> Mount {
        let journal = format!("journal_dir={}", self.case.journal().display());
        let mount = self.case.mount_rw(&[&["writeback", "timeout=5", &journal], options].concat());
        // It is in the tree a little earlier.
        let deadline = Instant::now() + PATIENCE;
        while !mount.log().contains("is mounted") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        mount
    }

    /// The records in the journal.
    fn records(&self) -> usize {
        let mut directory = self.case.journal();
        // One server, one directory.
        directory.push(fs::read_dir(&directory).unwrap().next().unwrap().unwrap().file_name());
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).count()
    }

    fn assert_stored(&self) {
        let stored: Vec<String> =
            names(&self.case.disk).into_iter().filter(|name| !name.starts_with(".ftpsfs-")).collect();
        assert_eq!(stored.len(), FILES, "{:?}: {stored:?}", self.case.server.spec.kind);
        for number in 0..FILES {
            assert!(fs::read(self.case.disk.join(name(number))).unwrap() == content(number), "{}", name(number));
        }
    }
}

fn name(number: usize) -> String {
    format!("file{number:02}")
}

/// Some empty, some larger than a piece of an upload.
fn content(number: usize) -> Vec<u8> {
    (0..number * number * 1000).map(|at| (at * 7 + number).to_le_bytes()[0]).collect()
}

fn store_all(mount: &Mount) {
    for number in 0..FILES {
        store(&mount.path(&name(number)), &content(number)).unwrap();
    }
}

/// The helper as umount(8) calls it.
fn umount(case: &Case, point: &Path) -> Ran {
    let helper = case.disk.with_file_name("umount.fuse.ftpsfs");
    if !helper.exists() {
        symlink(program(), &helper).unwrap();
    }
    finish(within(PATIENCE, helper).arg(point).args(["-t", "fuse.ftpsfs"]))
}

#[test]
fn what_was_closed_survives_a_killed_program_and_a_server_that_is_away() {
    for kind in KINDS {
        let mut world = World::new(kind);
        let mount = world.mount();
        world.case.server.stop();
        let begun = Instant::now();
        store_all(&mount);
        assert!(begun.elapsed() < CLOSING_MAX, "{kind:?}: closing took {:?}", begun.elapsed());
        for number in 0..FILES {
            assert!(fs::read(mount.path(&name(number))).unwrap() == content(number));
        }
        Command::new("kill").args(["-KILL", &mount.pid().to_string()]).status().unwrap();
        drop(mount);
        assert_eq!((names(&world.case.disk).len(), world.records()), (0, FILES), "{kind:?}");
        world.case.server.start_again();
        let mount = world.mount();
        assert!(fs::read(mount.path(&name(7))).unwrap() == content(7));
        File::open(&mount.point).unwrap().sync_all().unwrap();
        world.assert_stored();
        mount.end();
        assert_eq!(world.records(), 0);
    }
}

/// A machine that starts without a network: the mount waited for the server before it was one, for ever with `hard`.
#[test]
fn what_was_closed_is_uploaded_by_a_mount_that_begins_before_its_server() {
    let mut world = World::new(Kind::Vsftpd);
    let mount = world.mount();
    world.case.server.stop();
    store_all(&mount);
    Command::new("kill").args(["-KILL", &mount.pid().to_string()]).status().unwrap();
    drop(mount);
    let begun = Instant::now();
    let mount = world.mount_with(&["delay_connect", "hard"]);
    assert!(begun.elapsed() < BEGINNING_MAX, "{:?}", begun.elapsed());
    world.case.server.start_again();
    assert!(fs::read(mount.path(&name(7))).unwrap() == content(7));
    File::open(&mount.point).unwrap().sync_all().unwrap();
    world.assert_stored();
    mount.end();
    assert_eq!(world.records(), 0);
}

#[test]
fn umount_returns_when_all_is_on_the_server_or_says_what_is_not() {
    for kind in KINDS {
        let mut world = World::new(kind);
        let mount = world.mount();
        store_all(&mount);
        // Without that umount(8) does not look for the helper.
        let table = fs::read_to_string("/run/mount/utab").unwrap();
        assert!(table.contains(&format!(" TARGET={} ", mount.point.display())), "{table}");
        let ran = umount(&world.case, &mount.point);
        world.assert_stored();
        assert!(!ran.stderr.contains("could not"), "{}", ran.stderr);
        ran.succeeded();
        drop(mount);
        if kind != Kind::Vsftpd {
            // What follows takes time, and no server takes part in it.
            continue;
        }
        let mount = world.mount();
        world.case.server.stop();
        fs::write(mount.path("late"), b"not there yet").unwrap();
        let ran = umount(&world.case, &mount.point);
        assert!(ran.stderr.contains("1 file (0.1 MiB) could not be uploaded: kept in "), "{kind:?}: {}", ran.stderr);
        ran.succeeded();
        drop(mount);
        world.case.server.start_again();
        let mount = world.mount();
        mount.end();
        assert_eq!(fs::read(world.case.disk.join("late")).unwrap(), b"not there yet", "{kind:?}");
        assert_eq!(world.records(), 0);
    }
}
