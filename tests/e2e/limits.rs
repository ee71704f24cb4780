//! Real servers with room for few connections or little patience, networks that change, and accounts whose password does.

use crate::cases::Case;
use crate::support::link::{CLIENT_ADDRESS, End, Link, Quality, SERVER_ADDRESS};
use crate::support::server::{Kind, Spec, Tls};
use crate::support::tree::big_content;
use crate::writer::{names, store};
use nix::errno::Errno;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What keeps clients out, in each server's own way.
const LIMITS: [(Kind, &str); 7] = [
    (Kind::Vsftpd, "max_per_ip"),
    (Kind::Vsftpd, "max_clients"),
    (Kind::Proftpd, "MaxClientsPerHost"),
    (Kind::Proftpd, "MaxClientsPerUser"),
    (Kind::Proftpd, "MaxConnectionsPerHost"),
    (Kind::PureFtpd, "-C"),
    (Kind::Pyftpdlib, "max_cons_per_ip"),
];

const WORKERS: usize = 16;
/// By each of two, while their directory gets another name as often.
const STORED: usize = 40;

fn limited(kind: Kind, how: &'static str, room: u32) -> Spec {
    let line: Option<&'static str> = match (how, room) {
        ("max_clients", 1) => Some("max_clients=1"),
        ("max_clients", 2) => Some("max_clients=2"),
        ("max_clients", _) => Some("max_clients=3"),
        ("MaxClientsPerUser", 1) => Some("MaxClientsPerUser 1"),
        ("MaxClientsPerUser", 2) => Some("MaxClientsPerUser 2"),
        ("MaxClientsPerUser", _) => Some("MaxClientsPerUser 3"),
        ("MaxConnectionsPerHost", 1) => Some("MaxConnectionsPerHost 1"),
        ("MaxConnectionsPerHost", 2) => Some("MaxConnectionsPerHost 2"),
        ("MaxConnectionsPerHost", _) => Some("MaxConnectionsPerHost 3"),
        _ => None,
    };
    let clients_max = if line.is_none() { Some(room) } else { None };
    Spec { clients_max, lines: line.into_iter().collect(), ..Spec::new(kind, "/") }
}

/// How often clients connected or tried to log in, where the server tells.
fn connects(case: &Case) -> Option<usize> {
    let log = case.server.log();
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    match case.server.spec.kind {
        Kind::Vsftpd => Some(count("CONNECT: Client")),
        Kind::Proftpd => Some(count("COMMAND USER ")),
        Kind::Pyftpdlib => Some(count("session opened")),
        Kind::PureFtpd => None,
    }
}

/// Sixteen readers and writers, and a limit of our own that is above the server's.
#[test]
fn sixteen_readers_and_writers_share_what_a_server_has_room_for() {
    for (kind, how) in LIMITS {
        for room in [1, 2, 3] {
            let case = Case::empty_of(limited(kind, how, room));
            for number in 0..WORKERS {
                case.put(&format!("read-{number}"), &big_content(4096 * number as u64, 400_000 + number));
            }
            let mount = case.mount_rw(&["connections=16", "mount_timeout=20"]);
            let began = Instant::now();
            thread::scope(|scope| {
                for number in 0..WORKERS {
                    let mount = &mount;
                    scope.spawn(move || {
                        let content = big_content(4096 * number as u64, 400_000 + number);
                        let story = format!("{kind:?} {how} {room}, {number}");
                        let read = fs::read(mount.path(&format!("read-{number}")));
                        assert!(read.unwrap_or_else(|error| panic!("{story}: {error}")) == content, "{story}");
                        let stored = store(&mount.path(&format!("written-{number}")), &content);
                        stored.unwrap_or_else(|error| panic!("{story}: {error}"));
                        let told = fs::metadata(mount.path(&format!("written-{number}")));
                        assert_eq!(told.unwrap().len(), content.len() as u64, "{story}");
                    });
                }
            });
            let took = began.elapsed();
            for number in 0..WORKERS {
                let written = fs::read(case.disk.join(format!("written-{number}"))).unwrap();
                assert!(written == big_content(4096 * number as u64, 400_000 + number), "{kind:?} {how} {room}");
            }
            let connects = connects(&case);
            let summary = mount.end();
            println!("{kind:?} {how} {room}: {took:.1?}, {connects:?} connects, {} logins", summary.logins);
            assert!(took < Duration::from_secs(30), "{kind:?} {how} {room}: {took:?}");
            // Three at once find out, and others try again, less and less often; a session may have to be replaced.
            let most = room as usize + 8 + usize::try_from(took.as_secs()).unwrap();
            // pyftpdlib ends the session of a download that gives way, now and then.
            let most = if kind == Kind::Pyftpdlib { most + WORKERS } else { most };
            let logins = usize::try_from(summary.logins).unwrap();
            assert!(
                connects.unwrap_or(logins) <= most,
                "{kind:?} {how} {room}: {connects:?} connects, {logins} logins"
            );
        }
    }
}

/// Two long downloads have both connections; what others want to know must not wait for their ends.
#[test]
fn questions_do_not_wait_behind_downloads() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        for room in [1, 2] {
            let case = Case::of(Spec { clients_max: Some(room), ..Spec::new(kind, "/") });
            let mount = case.mount(&["connections=4", "attr_timeout=0", "dir_timeout=0", "mount_timeout=20"]);
            let (is_over, read, mut times) =
                (AtomicBool::new(false), [(); 2].map(|()| AtomicUsize::new(0)), Vec::new());
            let blocks = || [0, 1].map(|reader: usize| read[reader].load(Ordering::Relaxed));
            let mut before = [0; 2];
            thread::scope(|scope| {
                for (reader, read) in (0_u64..).zip(&read) {
                    let (mount, is_over) = (&mount, &is_over);
                    scope.spawn(move || {
                        let file = File::open(mount.path("big.bin")).unwrap();
                        let mut block = vec![0; 1 << 20];
                        let mut offset = reader * (512 << 20);
                        while !is_over.load(Ordering::Relaxed) {
                            file.read_exact_at(&mut block, offset).unwrap();
                            assert!(block == big_content(offset, block.len()), "{kind:?} {room} at {offset}");
                            offset += block.len() as u64;
                            read.fetch_add(1, Ordering::Relaxed);
                            if offset % (512 << 20) == 0 {
                                offset -= 512 << 20;
                            }
                        }
                    });
                }
                // Both are under way.
                let began = Instant::now();
                while blocks().contains(&0) {
                    assert!(began.elapsed() < Duration::from_secs(60), "{kind:?} {room}: nothing is read");
                    thread::sleep(Duration::from_millis(5));
                }
                let began = Instant::now();
                before = blocks();
                for number in (0..10_000).step_by(7) {
                    let asked = Instant::now();
                    fs::metadata(mount.path(&format!("many/file-{number:05}.txt"))).unwrap();
                    fs::read_dir(mount.path("links/real")).unwrap().for_each(drop);
                    times.push(asked.elapsed());
                    if began.elapsed() > Duration::from_secs(4) {
                        break;
                    }
                }
                is_over.store(true, Ordering::Relaxed);
            });
            times.sort_unstable();
            let (count, median, slowest) = (times.len(), times[times.len() / 2], times[times.len() - 1]);
            let after = blocks();
            let got = [0, 1].map(|reader| after[reader] - before[reader]);
            println!(
                "{kind:?} {room}: {count} questions, half of them within {median:?}, the slowest took {slowest:?}; {got:?} MiB read"
            );
            // vsftpd lists ten thousand names for each.
            let count_min = if kind == Kind::Vsftpd { 4 } else { 12 };
            assert!(count >= count_min, "{kind:?} {room}: {count} questions; {}", mount.log());
            assert!(
                median < Duration::from_millis(500),
                "{kind:?} {room}: half of the questions took more than {median:?}"
            );
            // Those of one program come one after the other, and the first of them waits for a share of the download that runs.
            assert!(slowest < Duration::from_secs(2), "{kind:?} {room}: {slowest:?}");
            // Nor do downloads wait for who asks on and on.
            assert!(got.iter().all(|got| *got >= 8), "{kind:?} {room}: {got:?} MiB read beside the questions");
            mount.end();
        }
    }
}

/// A file that is about to get its name holds a connection, and so does a directory: neither may wait for the other with the only
/// one.
#[test]
fn a_directory_is_renamed_while_files_are_stored_in_it_over_one_connection() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::empty(kind, Tls::V13);
        let mount = case.mount_rw(&["connections=1"]);
        let [one, other] = ["one", "other"].map(|name| mount.path(name));
        fs::create_dir(&one).unwrap();
        let slowest = |work: &dyn Fn(usize) -> io::Result<()>| {
            let timed = |number| {
                let began = Instant::now();
                // It has the other name by now.
                while let Err(error) = work(number) {
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{kind:?}: {error}; {}", mount.log());
                }
                began.elapsed()
            };
            (0..STORED).map(timed).max().unwrap()
        };
        let store_in = |prefix: &str, number: usize| {
            let name = format!("{prefix}{number}");
            store(&one.join(&name), name.as_bytes()).or_else(|_| store(&other.join(&name), name.as_bytes()))
        };
        let longest = thread::scope(|scope| {
            let work: [Box<dyn Fn(usize) -> io::Result<()> + Send>; 3] = [
                Box::new(|number| store_in("a", number)),
                Box::new(|number| store_in("b", number)),
                Box::new(|_| fs::rename(&one, &other).or_else(|_| fs::rename(&other, &one))),
            ];
            let threads = work.map(|work| scope.spawn(move || slowest(&*work)));
            threads.map(|thread| thread.join().unwrap())
        });
        println!("{kind:?}: the slowest of {STORED}: {longest:.1?}");
        assert!(
            longest.iter().all(|longest| *longest < Duration::from_secs(5)),
            "{kind:?}: {longest:?}; {}",
            mount.log()
        );
        mount.end();
        let stored = if case.disk.join("one").exists() { "one" } else { "other" };
        assert_eq!(names(&case.disk.join(stored)).len(), 2 * STORED, "{kind:?}");
    }
}

/// An upload that had given its connection to others went on at the path of its beginning, which was another file's by then.
#[test]
fn what_was_put_aside_goes_on_where_its_file_is_by_then() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::empty(kind, Tls::V13);
        let mount = case.mount_rw(&["connections=1"]);
        let [old, new] = ["old", "new"].map(|name| mount.path(name));
        fs::create_dir(&old).unwrap();
        store(&old.join("f"), b"first ").unwrap();
        let content = big_content(0, 4 << 20);
        let (one, other) = content.split_at(2 << 20);
        let mut file = File::options().append(true).open(old.join("f")).unwrap();
        file.write_all(one).unwrap();
        // What is written to all the time is not put aside so soon.
        thread::sleep(Duration::from_secs(1));
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        store(&old.join("f"), b"another").unwrap();
        file.write_all(other).unwrap();
        file.sync_all().unwrap();
        drop(file);
        mount.end();
        assert_eq!(fs::read(case.disk.join("old/f")).unwrap(), b"another", "{kind:?}");
        assert!(fs::read(case.disk.join("new/f")).unwrap() == [&b"first "[..], &content].concat(), "{kind:?}");
    }
}

/// vsftpd ends the session of a download that stands still. It does so once; from then on the connection is given back before.
#[test]
fn a_paused_reader_gives_its_connection_back_in_time() {
    let spec = Spec { lines: vec!["data_connection_timeout=5"], ..Spec::new(Kind::Vsftpd, "/") };
    let case = Case::of(spec);
    let mount = case.mount(&["connections=2", "log_level=debug"]);
    let file = File::open(mount.path("big.bin")).unwrap();
    let mut block = vec![0; 1 << 20];
    let mut logins = Vec::new();
    for round in 0..3_u64 {
        // Long enough that the server's buffers are full; then more than all buffers hold.
        for step in 0..24_u64 {
            let offset = (round * 200 + step) << 20;
            file.read_exact_at(&mut block, offset).unwrap();
            assert!(block == big_content(offset, block.len()), "at {offset}");
        }
        logins.push(case.server.count(&["USER"]));
        // It looks once in 5 s whether anything went since it looked last.
        thread::sleep(Duration::from_secs(11));
        for step in 24..120_u64 {
            let offset = (round * 200 + step) << 20;
            file.read_exact_at(&mut block, offset).unwrap();
            assert!(block == big_content(offset, block.len()), "at {offset}");
        }
    }
    drop(file);
    let log = mount.log();
    let told = log.matches("give their connection back sooner").count();
    let given = log.matches("a paused download gives its connection back").count();
    println!(
        "logins before each pause: {logins:?}, and {} at the end; {given} gave back",
        case.server.count(&["USER"])
    );
    assert_eq!(told, 1, "{log}");
    assert!(given >= 2, "{given}; {log}");
    assert_eq!(case.server.count(&["USER"]), logins[1], "a later pause cost a session: {logins:?}; {log}");
    mount.end();
}

/// The machine was carried to another network: what was connected is dead without a word.
#[test]
fn another_address_of_our_own_is_no_trouble() {
    let link = Arc::new(Link::new(Quality::delayed(Duration::from_millis(2))));
    for kind in [Kind::Vsftpd, Kind::Proftpd] {
        let case = Case::of(Spec::new(kind, "/").behind(&link));
        let mount = case.mount(&["attr_timeout=0", "dir_timeout=0"]);
        assert!(fs::read_dir(mount.path("links/real")).unwrap().count() > 0);
        let file = File::open(mount.path("big.bin")).unwrap();
        let mut block = vec![0; 1 << 20];
        let mut old = CLIENT_ADDRESS;
        for (round, new) in ["10.77.0.3", CLIENT_ADDRESS].into_iter().enumerate() {
            file.read_exact_at(&mut block, (round as u64) << 25).unwrap();
            // Less than what makes a connection doubtful by its age.
            thread::sleep(Duration::from_millis(1500));
            ip(&link, End::Client, &format!("address del {old} peer {SERVER_ADDRESS} dev wire"));
            ip(&link, End::Client, &format!("address add {new} peer {SERVER_ADDRESS} dev wire"));
            ip(&link, End::Client, &format!("route replace {SERVER_ADDRESS} dev wire src {new}"));
            ip(&link, End::Server, &format!("route replace {new} dev wire"));
            let began = Instant::now();
            assert!(fs::read_dir(mount.path("links/real")).unwrap().count() > 0);
            let took = began.elapsed();
            println!("{kind:?}: {took:?} after the address changed");
            assert!(took < Duration::from_secs(3), "{kind:?}: {took:?}");
            old = new;
        }
        drop(file);
        mount.end();
    }
}

fn ip(link: &Link, end: End, arguments: &str) {
    let status = link.command(end, "ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Connections that a router forgot say nothing, and nobody says it for them: a change asks first whether they live.
#[test]
fn a_connection_that_is_silent_after_a_pause_costs_a_moment() {
    let case = Case::empty_of(Spec::new(Kind::Vsftpd, "/"));
    case.put("a", b"a");
    case.put("b", b"b");
    let mount = case.mount_rw(&["timeout=20"]);
    fs::remove_file(mount.path("a")).unwrap();
    thread::sleep(Duration::from_secs(6));
    case.server.signal_sessions("STOP");
    let began = Instant::now();
    fs::remove_file(mount.path("b")).unwrap();
    let took = began.elapsed();
    println!("{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(fs::read_dir(&case.disk).unwrap().count(), 0);
    case.server.signal_sessions("CONT");
    mount.end();
}

/// Somebody changed the password: no program's look may be another failed login.
#[test]
fn a_changed_password_locks_nobody_out() {
    for kind in [Kind::Proftpd, Kind::Pyftpdlib] {
        let mut case = Case::empty_of(Spec::new(kind, "/"));
        case.put("file", b"content");
        let right = case.server.password.clone();
        let mount = case.mount_rw(&["attr_timeout=0", "dir_timeout=0"]);
        assert_eq!(fs::read(mount.path("file")).unwrap(), b"content");
        case.server.stop();
        "another password".clone_into(&mut case.server.password);
        case.server.start_again();
        let before = case.server.count(&["PASS"]);
        for _ in 0..3 {
            thread::scope(|scope| {
                for number in 0..8 {
                    let mount = &mount;
                    scope.spawn(move || {
                        let told = errno(fs::metadata(mount.path(&format!("new-{number}"))));
                        assert_eq!(told, Errno::EACCES, "{kind:?}");
                    });
                }
            });
        }
        assert_eq!(errno(fs::write(mount.path("written"), b"x")), Errno::EACCES);
        let tried = case.server.count(&["PASS"]) - before;
        assert!((1..=2).contains(&tried), "{kind:?}: {tried} logins were tried");
        let log = mount.log();
        assert_eq!(log.matches("set the right password, and mount again").count(), 1, "{log}");
        assert!(!log.contains(&right), "the password shows");
        mount.end();
        let mount = case.mount_rw(&[]);
        assert_eq!(fs::read(mount.path("file")).unwrap(), b"content");
        mount.end();
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}
