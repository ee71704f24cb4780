//! `ftpsfs status` and `ftpsfs refresh`: to whom they tell what, while what goes on, and whether they answer when the server
//! does not.

use crate::cases::{Case, Fresh, alone};
use crate::fstab;
use crate::support::link::{Link, Quality};
use crate::support::mountpoint::{Mount, program};
use crate::support::run::{Ran, finish, shell, within};
use crate::support::server::{Kind, Mode, Spec, Tls};
use crate::support::tree::big_content;
use ftpsfs::status::{Document, Transfer};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// Somebody who mounted nothing.
const OTHER: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

fn asked(arguments: &[&str], path: &Path) -> Ran {
    finish(within(LIMIT, program()).args(arguments).arg(path))
}

/// What `ftpsfs status` tells of a mount.
pub(crate) fn document(point: &Path) -> Document {
    let text = asked(&["status", "--json"], point).succeeded();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// As [`document`], and how long that took. Told by a shell: a program that is started from here closes first what all the tests of
/// this process have open, and waits as long as their servers stand still.
fn document_in_time(point: &Path) -> (Document, Duration) {
    let script = r#"began=$EPOCHREALTIME; "$1" status --json "$2"; ended=$EPOCHREALTIME
        echo $((${ended/./} - ${began/./})) >&2"#;
    let ran = shell(script, &[program(), point]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let took = Duration::from_micros(ran.stderr.trim().parse().unwrap());
    (serde_json::from_str(&ran.stdout).unwrap(), took)
}

fn refreshed(path: &Path) {
    assert_eq!(asked(&["refresh"], path).succeeded(), "");
}

#[test]
fn it_tells_root_of_a_mount_and_others_nothing() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let mount = case.mount(&["allow_other"]);
    fs::read(mount.path("hello.txt")).unwrap();
    let text = asked(&["status"], &mount.point).succeeded();
    let point = mount.point.to_str().unwrap();
    for words in [point, "answers, explicit TLS: TLS 1.3", "ftpsfs-test at localhost", "at most 4", "list  "] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains(&case.server.password) && !text.contains('\x1b') && text.lines().all(|l| l.len() <= 80));
    let script = r#""$0" status --json "$1" | python3 -m json.tool | grep -q '"version": 1,'; "$0" status --json | python3 -m json.tool"#;
    let all = finish(within(LIMIT, "bash").args(["-ec", script]).arg(program()).arg(&mount.point)).succeeded();
    assert!(all.contains(point), "{all}");
    let told = document(&mount.point);
    assert_eq!((told.pid, told.read_only, told.server.port), (mount.pid(), true, case.server.port));
    assert_eq!((told.server.counts.data_full, told.failures, told.away), (0, 0, None));
    let hidden = "import os, sys\ntry: print(os.listxattr(sys.argv[1]))\nexcept OSError as error: print(error.errno)";
    assert_eq!(finish(within(LIMIT, "python3").args(["-c", hidden]).arg(&mount.point)).succeeded(), "95\n");

    let other = |arguments: &[&str]| finish(within(LIMIT, "setpriv").args(OTHER).arg(program()).args(arguments));
    for arguments in [&["status", point][..], &["status", "--json", point], &["refresh", point]] {
        let ran = other(arguments);
        let line = format!("ftpsfs: {point}: only root and the user who mounted it may ask\n");
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr), (32, "", line));
    }
    assert!(!other(&["status"]).succeeded().contains(point));
    let peek = "import os, sys\ntry: print(os.getxattr(sys.argv[1], 'system.ftpsfs.status'))\nexcept OSError as error: print(error.errno)";
    let peeked = finish(within(LIMIT, "setpriv").args(OTHER).args(["/usr/bin/python3", "-c", peek]).arg(&mount.point));
    assert_eq!(peeked.succeeded(), "13\n");
}

#[test]
fn it_tells_the_user_who_mounted_and_root_as_well() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let script = r#"
        cd /
        as_user mount.ftpsfs "$source" "$mnt" -o "$users"; reads as_user
        as_user ftpsfs status "$mnt" | grep -q 'answers, explicit'
        as_user ftpsfs status | grep -q "$mnt"
        as_user ftpsfs refresh "$mnt/hello.txt"; as_user ftpsfs refresh "$mnt"; reads as_user
        ftpsfs status "$mnt" | grep -q 'answers, explicit'; ftpsfs status | grep -q "$mnt"
        ftpsfs refresh "$mnt"; ftpsfs refresh "$mnt/hello.txt"; reads as_user
        # Wherever one stands, and by whatever name.
        ln -s "$mnt" "$place/link"
        as_user ftpsfs status "$place/link" | grep -q 'answers, explicit'; as_user ftpsfs status "$place/link/" >"$place/shown"
        as_user sh -ec 'cd "$1"; ftpsfs status . >"$2"; ftpsfs status "$1/." >"$2"' sh "$mnt" /dev/null
        fails 32 setpriv --reuid=65534 --regid=65534 --clear-groups ftpsfs status "$mnt"; says "only root and the user"
        kill -KILL $(pgrep -x "$ours"); sleep 0.5
        fails 32 ftpsfs status "$mnt"; says "the process of the mount is gone"
        as_user fusermount3 -u "$mnt"
        fails 32 ftpsfs status "$mnt"; says "$mnt is not an ftpsfs mount"
    "#;
    fstab::run(&case.server, script).succeeded();
}

#[test]
fn what_is_no_mount_is_said_in_one_line() {
    for (arguments, path, words) in [
        (&["status"][..], "/tmp", "/tmp is not an ftpsfs mount"),
        (&["status", "--json"], "/nowhere", "/nowhere is not an ftpsfs mount"),
        (&["status", "--watch"], "/proc", "/proc is not an ftpsfs mount"),
        (&["refresh"], "/tmp", "/tmp is not in an ftpsfs mount"),
        (&["refresh"], "/tmp/nowhere/at/all", "/tmp/nowhere/at/all: there is no such file"),
    ] {
        let ran = asked(arguments, Path::new(path));
        assert_eq!((ran.status, ran.stdout.as_str()), (32, ""), "{ran:?}");
        assert_eq!(ran.stderr, format!("ftpsfs: {words}\n"));
    }
}

/// At 16 Mbit a second, 8 MB take four seconds.
#[test]
fn transfers_are_told_with_their_names_how_far_they_are_and_how_fast() {
    let _alone = alone();
    let link = Arc::new(Link::new(Quality { rate: Some(16_000_000), ..Quality::delayed(Duration::from_millis(10)) }));
    let fresh = Fresh::new();
    let content = big_content(7, 8_000_000);
    fs::write(fresh.path.join("down.bin"), &content).unwrap();
    let server = crate::support::server::Server::start(
        Spec { root: fresh.path.clone(), ..Spec::new(Kind::Vsftpd, "/") }.behind(&link),
    );
    crate::cases::give(&fresh.path.join("down.bin"));
    let mount = Mount::new(&server, &["rw"]);
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(mount.path("down.bin")).unwrap());
        let down = wait_for(&mount, |transfer| transfer.direction == "down" && transfer.done_bytes > 2_000_000);
        assert_eq!((down.name.as_str(), down.size_bytes), ("/down.bin", Some(8_000_000)));
        assert!((500_000.0..4_000_000.0).contains(&down.bytes_per_second), "{down:?}");
        assert!(down.seconds_left.is_some_and(|left| (0.1..12.0).contains(&left)), "{down:?}");
        let text = asked(&["status"], &mount.point).succeeded();
        assert!(text.contains("  down") && text.contains("/down.bin") && text.contains("[##"), "{text}");
        assert!(reader.join().unwrap() == content);

        // In a process of its own: who starts another one from here closes the file once, and so asks for its upload.
        let source = format!("if={}", fresh.path.join("down.bin").display());
        let target = format!("of={}", mount.path("up.bin").display());
        let writer = scope
            .spawn(move || finish(within(LIMIT, "dd").args([&source, &target, "bs=1M", "conv=fsync"])).succeeded());
        let up = wait_for(&mount, |transfer| transfer.direction == "up" && transfer.done_bytes > 1_000_000);
        // Not the temporary name under which the server has it now.
        assert_eq!(up.name, "/up.bin");
        let told = document(&mount.point);
        assert_eq!(told.files.writing.files, 1, "{told:?}");
        // The end of what is written is known once the writer waits for it.
        let up = wait_for(&mount, |transfer| transfer.size_bytes.is_some());
        assert_eq!((up.name.as_str(), up.size_bytes), ("/up.bin", Some(8_000_000)));
        writer.join().unwrap();
    });
    let told = document(&mount.point);
    assert_eq!((told.transfers.len(), told.files.writing.files), (0, 0), "{told:?}");
    assert!(told.files.counts.bytes >= 8_000_000);
}

fn wait_for(mount: &Mount, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let told = document(&mount.point);
        if let Some(transfer) = told.transfers.iter().find(|transfer| wanted(transfer)) {
            return transfer.clone();
        }
        assert!(Instant::now() < deadline, "{told:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_answers_at_once_while_the_server_does_not() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    case.put("there", b"there");
    case.put("big", &big_content(3, 40_000_000));
    // Nothing is believed for long: whoever asks the mount for anything but its status waits.
    let mount = case.mount_rw(&["timeout=5", "attr_timeout=0", "dir_timeout=0", "allow_other"]);
    let mut reader = File::open(mount.path("big")).unwrap();
    reader.read_exact(&mut [0; 100_000]).unwrap();
    case.server.suspend();
    let waiting: Vec<_> = (0..6)
        .map(|number| {
            let path = mount.path(&format!("asked-{number}"));
            thread::spawn(move || fs::metadata(path).is_ok())
        })
        .collect();
    let read_on = thread::spawn(move || reader.read_to_end(&mut Vec::new()).is_ok());
    thread::sleep(Duration::from_secs(2));
    let (told, took) = document_in_time(&mount.point);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(told.waiting.requests >= 1 && told.waiting.longest_seconds >= 1.0, "{told:?}");
    for waiter in waiting {
        waiter.join().unwrap();
    }
    read_on.join().unwrap();
    let (told, took) = document_in_time(&mount.point);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(told.away.is_some() && told.failures >= 1, "{told:?}");
    assert!(asked(&["status"], &mount.point).succeeded().contains("AWAY for "));
    case.server.resume();
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read(mount.path("there")).is_err() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(document(&mount.point).away, None);
}

/// Of two files that are the same by their size and time, no cache can tell which it has.
fn put_unseen(case: &Case, name: &str, content: &[u8]) {
    let path = case.put(name, content);
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn refresh_shows_at_once_what_changed_on_the_server() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    fs::create_dir(case.disk.join("d")).unwrap();
    crate::cases::give(&case.disk.join("d"));
    let caches = tempdir(&case);
    let cache = format!("cache_dir={}", caches.display());
    for options in [&["attr_timeout=3600", "dir_timeout=3600"][..], &["attr_timeout=3600", "dir_timeout=3600", &cache]]
    {
        put_unseen(&case, "d/same", b"old");
        put_unseen(&case, "d/longer", b"old");
        let _ = fs::remove_file(case.disk.join("d/new"));
        // Read-only: what is forgotten is nothing that is written.
        let mount = case.mount(options);
        let (same, new) = (mount.path("d/same"), mount.path("d/new"));
        let names = || {
            let names = fs::read_dir(mount.path("d")).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        let read = |path: &Path| String::from_utf8(fs::read(path).unwrap()).unwrap();
        for _ in 0..2 {
            assert_eq!((read(&same).as_str(), new.exists(), names().len()), ("old", false, 2));
        }
        put_unseen(&case, "d/same", b"NEW");
        put_unseen(&case, "d/longer", b"longer");
        put_unseen(&case, "d/new", b"new");
        assert_eq!((read(&same).as_str(), new.exists(), names().len()), ("old", false, 2), "nothing is cached");
        // The name that is not there takes its directory along.
        match options.len() {
            2 => refreshed(&mount.point),
            _ => refreshed(&new),
        }
        assert_eq!(names(), ["longer", "new", "same"], "{options:?}");
        assert_eq!(
            (read(&same), read(&new), read(&mount.path("d/longer"))),
            ("NEW".into(), "new".into(), "longer".into())
        );
        // One file alone.
        put_unseen(&case, "d/same", b"3rd");
        put_unseen(&case, "d/new", b"3rd");
        refreshed(&same);
        assert_eq!((read(&same), read(&new)), ("3rd".into(), "new".into()), "{options:?}");
    }
}

fn tempdir(case: &Case) -> std::path::PathBuf {
    let path = case.disk.with_file_name("caches");
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn refresh_leaves_what_is_being_written_and_who_reads_alone() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let content = big_content(5, 3_000_000);
    case.put("read", &content);
    let mount = case.mount_rw(&["dir_timeout=3600", "attr_timeout=3600"]);
    let mut writer = File::create(mount.path("written")).unwrap();
    writer.write_all(&content[..1_500_000]).unwrap();
    let mut reader = File::open(mount.path("read")).unwrap();
    let mut begun = vec![0; 500_000];
    reader.read_exact(&mut begun).unwrap();
    refreshed(&mount.point);
    refreshed(&mount.path("written"));
    assert_eq!(fs::metadata(mount.path("written")).unwrap().len(), 1_500_000);
    writer.write_all(&content[1_500_000..]).unwrap();
    drop(writer);
    reader.read_to_end(&mut begun).unwrap();
    assert!(begun == content && fs::read(case.disk.join("written")).unwrap() == content);
    assert!(fs::read(mount.path("written")).unwrap() == content);
}

/// The kernel asked for an attribute of a file before each write to it, until it heard that there are none at all. Since there is
/// one it hears instead that whoever changes a file takes away what let it run as somebody else; so we must. What most servers do
/// then does not show it: they take away these bits by themselves.
#[test]
fn whoever_changes_a_file_takes_its_privileges_from_it() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let mount = case.mount_rw(&["allow_other", "umask=0", "attr_timeout=0", "dir_timeout=0"]);
    let change = r#"
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | (os.O_TRUNC if sys.argv[2] == "cut" else 0))
if sys.argv[2] == "written": os.write(file, b"x")
if sys.argv[2] == "truncated": os.ftruncate(file, 3)
print(oct(os.fstat(file).st_mode & 0o7777))
"#;
    for how in ["written", "cut", "truncated"] {
        for (who, left) in
            [(&["setpriv", OTHER[0], OTHER[1], OTHER[2], OTHER[3]][..], "0o777\n"), (&["env"], "0o6777\n")]
        {
            let path = case.put(how, b"0123456789");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
            assert_eq!(fs::metadata(mount.path(how)).unwrap().permissions().mode() & 0o7777, 0o6777, "it is not shown");
            let mut command = within(LIMIT, who[0]);
            command.args(&who[1..]).args(["/usr/bin/python3", "-c", change]).arg(mount.path(how)).arg(how);
            assert_eq!(finish(&mut command).succeeded(), left, "{how} by {}", who[0]);
            assert_ne!(fs::read(&path).unwrap(), b"0123456789", "{how} by {}", who[0]);
        }
    }
}

#[test]
fn what_prometheus_reads_is_as_it_wants_it() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let (one, other) = (case.mount(&[]), case.mount(&[]));
    for mount in [&one, &other] {
        fs::read(mount.path("hello.txt")).unwrap();
    }
    let text = finish(within(LIMIT, program()).args(["status", "--prometheus"])).succeeded();
    assert_exposition(&text);
    for mount in [&one, &other] {
        let label = format!("mountpoint=\"{}\"", mount.point.display());
        for metric in ["ftpsfs_up", "ftpsfs_connections_limit", "ftpsfs_logins_total"] {
            assert!(text.lines().any(|line| line.starts_with(metric) && line.contains(&label)), "{metric}: {text}");
        }
        let count = format!("ftpsfs_request_duration_seconds_count{{{label},");
        assert!(text.lines().any(|line| line.starts_with(&count) && line.contains("operation=\"list\"")), "{text}");
    }
    assert_exposition(&asked(&["status", "--prometheus"], &one.point).succeeded());
}

/// The rules of the text format, version 0.0.4: a metric's lines stand together, `HELP` and `TYPE` first and once; names and labels
/// are well formed, no sample comes twice; the classes of a histogram grow and end in `+Inf`, which is the count.
fn assert_exposition(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut metric, mut kind, mut seen, mut samples) = ("", "", HashSet::new(), HashMap::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            metric = help.split(' ').next().unwrap();
            assert!(seen.insert(metric), "{metric} comes twice");
            assert!(metric.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{metric}");
            kind = "";
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (of, told) = told.split_once(' ').unwrap();
            assert!(of == metric && kind.is_empty() && ["gauge", "counter", "histogram"].contains(&told), "{line}");
            assert_eq!(told == "counter", metric.ends_with("_total"), "{line}");
            kind = told;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.strip_suffix('}').unwrap().split_once('{').unwrap();
            let rest = name.strip_prefix(metric).unwrap_or_else(|| panic!("{line} below {metric}"));
            let parts: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(parts.contains(&rest), "{line}");
            for label in labels.split("\",") {
                let (name, value) = label.split_once("=\"").unwrap();
                assert!(
                    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !value.contains('\n'),
                    "{line}"
                );
            }
            let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(value >= 0.0 && samples.insert(sample, value).is_none(), "{line}");
        }
    }
    for (sample, value) in &samples {
        if let Some((before, _)) = sample.split_once(",le=\"+Inf\"") {
            assert_eq!(samples[format!("{}}}", before.replace("_bucket{", "_count{")).as_str()], *value, "{sample}");
        }
    }
    let mut last: HashMap<&str, f64> = HashMap::new();
    for line in text.lines().filter(|line| line.contains("_bucket{")) {
        let (sample, count) = line.rsplit_once(' ').unwrap();
        let count: f64 = count.parse().unwrap();
        let before = last.insert(sample.split(",le=").next().unwrap(), count);
        assert!(before.is_none_or(|before| before <= count), "{line}");
    }
}

/// A person who sends it to a file or a pipe gets no colours, and `--watch` ends with whoever reads.
#[test]
fn watched_through_a_pipe_it_is_plain_text() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let mount = case.mount(&[]);
    let script = r#"TERM=xterm timeout 30 "$1" status --watch "$2" | head -n 30"#;
    let text = shell(script, &[program().as_os_str(), mount.point.as_os_str()]);
    let shown = text.stdout.matches("answers, explicit TLS").count();
    assert!(shown >= 2 && !text.stdout.contains('\x1b'), "{text:?}");
}
