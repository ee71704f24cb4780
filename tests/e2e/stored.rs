//! Content that was read and outlives the mount on this machine's disk (`cache_dir`).

use crate::cases::{Case, on_every_empty_server};
use crate::support::mountpoint::{Mount, command};
use crate::support::run::PATIENCE;
use crate::support::server::{Kind, Tls};
use crate::support::tree::big_content;
use crate::writer::{Small, store};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

on_every_empty_server! {
    what_was_read_is_read_from_the_disk_after_a_remount,
    what_changed_meanwhile_is_read_from_the_server,
    a_program_that_is_killed_in_the_middle_leaves_nothing_wrong,
    two_mounts_share_a_directory_and_two_accounts_see_nothing_of_each_other,
    content_that_is_written_here_is_never_an_older_one,
    a_disk_that_is_full_fails_no_read,
}

/// Less than what may wait to be stored: nothing is left out.
const SIZE: usize = (7 << 20) + 12_345;

/// A place for the cache, beside what is served.
fn cache_dir(case: &Case) -> PathBuf {
    case.disk.with_file_name("cache")
}

fn mount(case: &Case, more: &[&str]) -> Mount {
    let option = format!("cache_dir={}", cache_dir(case).display());
    case.mount_rw(&[&[option.as_str()], more].concat())
}

/// A file on the server that was last changed long ago.
fn put_old(case: &Case, name: &str, content: &[u8], seconds: u64) {
    let path = case.put(name, content);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + seconds)).unwrap();
}

/// How many downloads the server was asked for, where it tells.
fn downloads(case: &Case) -> Option<usize> {
    case.logs_commands().then(|| case.server.count(&["RETR"]))
}

/// All segments of the cache.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let inner = list(directory).iter().flat_map(|path| list(path)).collect::<Vec<_>>();
    inner.iter().flat_map(|path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())).collect()
}

fn what_was_read_is_read_from_the_disk_after_a_remount(case: &Case) {
    let content = big_content(0, SIZE);
    put_old(case, "film", &content, 0);
    put_old(case, "small", b"a few bytes", 0);
    let first = mount(case, &[]);
    assert!(fs::read(first.path("film")).unwrap() == content);
    assert_eq!(fs::read(first.path("small")).unwrap(), b"a few bytes");
    first.end();
    for directory in [cache_dir(case), cache_dir(case).join("ftpsfs-blocks-1")] {
        assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert!(segments(&cache_dir(case)).iter().all(|path| fs::metadata(path).unwrap().mode() & 0o777 == 0o600));
    let before = downloads(case);
    let second = mount(case, &["ro"]);
    assert!(fs::read(second.path("film")).unwrap() == content);
    assert_eq!(fs::read(second.path("small")).unwrap(), b"a few bytes");
    let film = File::open(second.path("film")).unwrap();
    let mut bytes = [0; 5000];
    film.read_exact_at(&mut bytes, 5_000_001).unwrap();
    assert!(bytes == content[5_000_001..5_005_001]);
    drop(film);
    second.end();
    assert_eq!(downloads(case), before, "{:?}", case.server.spec.kind);
}

fn what_changed_meanwhile_is_read_from_the_server(case: &Case) {
    let old = big_content(0, 300_000);
    put_old(case, "f", &old, 0);
    let mounted = mount(case, &[]);
    assert!(fs::read(mounted.path("f")).unwrap() == old);
    mounted.end();
    for (seconds, start) in [(86_400, 1 << 20), (2 * 86_400, 2 << 20)] {
        let new = big_content(start, 300_000);
        put_old(case, "f", &new, seconds);
        for _ in 0..2 {
            let mounted = mount(case, &[]);
            assert!(fs::read(mounted.path("f")).unwrap() == new, "{:?}", case.server.spec.kind);
            mounted.end();
        }
    }
}

fn a_program_that_is_killed_in_the_middle_leaves_nothing_wrong(case: &Case) {
    let content = big_content(0, SIZE);
    put_old(case, "film", &content, 0);
    for read in [200_000, 3_000_000, 6_000_000] {
        let mounted = mount(case, &[]);
        let mut part = vec![0; read];
        File::open(mounted.path("film")).unwrap().read_exact(&mut part).unwrap();
        assert!(part == content[..read]);
        Command::new("kill").args(["-KILL", &mounted.pid().to_string()]).status().unwrap();
        drop(mounted);
    }
    // What the kernel does not do is what a machine that stops does.
    for (number, segment) in segments(&cache_dir(case)).iter().enumerate() {
        let file = File::options().write(true).open(segment).unwrap();
        match number % 3 {
            0 => file.set_len(100_000 + number as u64).unwrap(),
            1 => file.write_all_at(&[0; 4096], 40_960).unwrap(),
            _ => {}
        }
    }
    for _ in 0..2 {
        let mounted = mount(case, &[]);
        assert!(fs::read(mounted.path("film")).unwrap() == content, "{:?}", case.server.spec.kind);
        mounted.end();
    }
}

fn two_mounts_share_a_directory_and_two_accounts_see_nothing_of_each_other(case: &Case) {
    let content = big_content(0, SIZE);
    put_old(case, "film", &content, 0);
    let (one, other) = (mount(case, &[]), mount(case, &[]));
    thread::scope(|scope| {
        for mounted in [&one, &other] {
            let content = &content;
            scope.spawn(move || assert!(fs::read(mounted.path("film")).unwrap() == *content));
        }
    });
    one.end();
    assert!(fs::read(other.path("film")).unwrap() == content);
    other.end();
    let before = downloads(case);
    let mounted = mount(case, &[]);
    assert!(fs::read(mounted.path("film")).unwrap() == content);
    mounted.end();
    assert_eq!(downloads(case), before);
    // Another server, with another file of the same name, size and time.
    let twin = Case::empty(case.server.spec.kind, Tls::V13);
    let theirs = big_content(1 << 24, SIZE);
    put_old(&twin, "film", &theirs, 0);
    let mounted = Mount::new(&twin.server, &["rw", &format!("cache_dir={}", cache_dir(case).display())]);
    assert!(fs::read(mounted.path("film")).unwrap() == theirs);
    mounted.end();
}

/// As `cp -p`, `touch -r` and `mv` do it: another content of the same size and time gets the name.
fn content_that_is_written_here_is_never_an_older_one(case: &Case) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let content = |number: u64| big_content(number << 20, 200_000);
    let date = |path: &Path| File::options().write(true).open(path).and_then(|file| file.set_modified(time)).unwrap();
    let mut mounted = mount(case, &[]);
    for number in 0..6 {
        let path = mounted.path("f");
        match number % 3 {
            0 => store(&path, &content(number)).unwrap(),
            1 => {
                store(&mounted.path("g"), &content(number)).unwrap();
                date(&mounted.path("g"));
                fs::rename(mounted.path("g"), &path).unwrap();
            }
            _ => {
                fs::create_dir_all(mounted.path("d")).unwrap();
                store(&mounted.path("d/f"), &content(number)).unwrap();
                date(&mounted.path("d/f"));
                assert!(fs::read(mounted.path("d/f")).unwrap() == content(number));
                fs::rename(mounted.path("d/f"), &path).unwrap();
            }
        }
        date(&path);
        assert!(fs::read(&path).unwrap() == content(number), "{:?} {number}", case.server.spec.kind);
        if number % 2 == 1 {
            mounted.end();
            mounted = mount(case, &[]);
            assert!(fs::read(mounted.path("f")).unwrap() == content(number), "{:?} {number}", case.server.spec.kind);
        }
    }
    mounted.end();
}

/// A file system of 8 MiB for the cache, which believes that it may have 4 GiB.
fn a_disk_that_is_full_fails_no_read(case: &Case) {
    fs::create_dir(cache_dir(case)).unwrap();
    let small = Small::mount(&cache_dir(case));
    fs::write(cache_dir(case).join("ballast"), vec![1; 5 << 20]).unwrap();
    let content = big_content(0, 3 * SIZE);
    put_old(case, "film", &content, 0);
    for _ in 0..2 {
        let mounted = mount(case, &[]);
        assert!(fs::read(mounted.path("film")).unwrap() == content, "{:?}", case.server.spec.kind);
        let deadline = Instant::now() + PATIENCE;
        while !mounted.log().contains("No space left on device") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(fs::read(mounted.path("film")).unwrap() == content, "{:?}", case.server.spec.kind);
        let log = mounted.log();
        mounted.end();
        assert_eq!(log.matches("the disk cache").count(), 1, "{log}");
    }
    drop(small);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let case = Case::empty(Kind::Proftpd, Tls::V13);
    fs::create_dir(cache_dir(&case)).unwrap();
    fs::set_permissions(cache_dir(&case), fs::Permissions::from_mode(0o777)).unwrap();
    let point = case.disk.with_file_name("mnt");
    fs::create_dir(&point).unwrap();
    let option = format!("cache_dir={}", cache_dir(&case).display());
    let mut refused = command(&case.server, &point, &["rw", &option]);
    let output = refused.arg("-f").arg(case.server.url("")).arg(&point).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("others than its owner may use it (mode 777)"), "{said}");
}
