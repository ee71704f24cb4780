//! Uploads of every size, as the server's disk has them: whole when close says so, one data connection each, and none
//! ended in a way that a server may take for the loss of what it has not read yet.

use crate::cases::{Case, Fresh, alone};
use crate::support::mountpoint::{Mount, long_run};
use crate::support::run::{PATIENCE, finish, shell, within};
use crate::support::server::{Kind, Server, Spec, Tls, USER};
use crate::support::tree::big_content;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

crate::cases::on_empty_servers! {
    [every_upload_is_whole_when_close_returns]
    vsftpd_tls12: Vsftpd V12,
    vsftpd_tls13: Vsftpd V13,
    proftpd_tls12: Proftpd V12,
    proftpd_tls13: Proftpd V13,
    pureftpd_tls12: PureFtpd V12,
    pureftpd_tls13: PureFtpd V13,
    pyftpdlib_tls12: Pyftpdlib V12,
    pyftpdlib_tls13: Pyftpdlib V13,
}

fn every_upload_is_whole_when_close_returns(case: &Case) {
    let uploads = if long_run() { 500 } else { 60 };
    let resets = Resets::watch(case.server.port);
    let start = Instant::now();
    let mount = case.mount_rw(&[]);
    for number in 0..uploads {
        let size = size(number);
        let content = big_content(number * 8192, usize::try_from(size).unwrap());
        // Every fourth is of a name that is there.
        let name = format!("upload-{}", if number % 4 == 3 { number - 1 } else { number });
        let mut file = File::create(mount.path(&name)).unwrap();
        for chunk in content.chunks(1 + 70_001 * usize::try_from(number % 3).unwrap() + 4095) {
            file.write_all(chunk).unwrap();
        }
        nix::unistd::close(file).unwrap_or_else(|error| panic!("{name}, {size} bytes: {error}"));
        let stored = fs::read(case.disk.join(&name)).unwrap();
        assert!(stored == content, "{name}: {} of {size} bytes on the server's disk", stored.len());
    }
    // Nothing but what was uploaded: no temporary name was left.
    let names: Vec<String> =
        fs::read_dir(&case.disk).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len() as u64, uploads - uploads / 4, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("upload-")), "{names:?}");
    // Data connections that were opened ahead and are of no use end by a reset now and then, which harms nobody.
    let resets = resets.end();
    let summary = mount.end();
    assert_eq!(summary.refusals, 0, "{summary:?}");
    if case.resumes() {
        assert_eq!(summary.full, 0, "{summary:?}");
        assert!(summary.resumed >= uploads, "{summary:?}");
    }
    let (kind, tls) = (case.server.spec.kind, case.server.spec.tls);
    println!(
        "{kind:?} {tls:?}: {uploads} uploads in {:.0?}, {} resets; {summary:?}",
        start.elapsed(),
        resets.lines().count()
    );
    assert_eq!(resets, "", "data connections were reset");
}

/// From nothing to 8 MiB, around the sizes of TLS records and pages first.
fn size(number: u64) -> u64 {
    const FIRST: [u64; 16] =
        [0, 1, 2, 100, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 114_688, 131_073, 300_000, 1 << 20, 8 << 20];
    let Some(size) = FIRST.get(usize::try_from(number).unwrap()) else {
        // As many of each magnitude.
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        return random % (1 << (4 + number % 20));
    };
    *size
}

/// The kernel's TCP resets from our side on the passive ports of a server, as tcpdump(8) sees them.
struct Resets {
    tcpdump: Child,
    ports: (u16, u16),
    saw: std::path::PathBuf,
}

impl Resets {
    fn watch(port: u16) -> Self {
        let ports = (port + 1, port + 99);
        let directory = crate::support::server::run_directory();
        let (saw, said) = (directory.join("resets"), directory.join("said"));
        let filter = format!("tcp[tcpflags] & tcp-rst != 0 and dst portrange {}-{}", ports.0, ports.1);
        let mut tcpdump = Command::new("tcpdump");
        tcpdump.args(["-i", "lo", "-n", "-l", "--immediate-mode", &filter]).stdin(Stdio::null());
        tcpdump.stdout(File::create(&saw).unwrap()).stderr(File::create(&said).unwrap());
        let watch = Self { tcpdump: tcpdump.spawn().unwrap(), ports, saw };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(&said).unwrap().contains("listening on") {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(&said).unwrap());
            thread::sleep(Duration::from_millis(10));
        }
        watch
    }

    fn end(mut self) -> String {
        // One more reset of our own, which tells that the others have been seen: a connection to a port where nobody listens.
        let free =
            (self.ports.0..=self.ports.1).rev().find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
        let listener = free.unwrap();
        let last = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(last).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(b"unread").unwrap();
        while stream.peek(&mut [0; 6]).unwrap() < 6 {}
        let mine = format!("> 127.0.0.1.{}:", last.port());
        drop(stream);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let saw = fs::read_to_string(&self.saw).unwrap();
            if saw.contains(&mine) {
                let _ = self.tcpdump.kill();
                let _ = self.tcpdump.wait();
                return saw.lines().filter(|line| !line.contains(&mine)).map(|line| format!("{line}\n")).collect();
            }
            assert!(Instant::now() < deadline, "tcpdump does not see resets: {saw}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Resets {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// ProFTPD, with mod_digest, is the one that tells checksums; the others' sizes have to do.
#[test]
fn checksums_are_compared_where_that_is_wished() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::empty_of(Spec::new(kind, "/"));
        let mount = case.mount_rw(&["verify=hash"]);
        let content = big_content(0, 3 << 20);
        for (name, content) in [("large", &content[..]), ("small", b"small"), ("empty", b"")] {
            let mut file = File::create(mount.path(name)).unwrap();
            file.write_all(content).unwrap();
            nix::unistd::close(file).unwrap_or_else(|error| panic!("{kind:?} {name}: {error}"));
            assert!(fs::read(case.disk.join(name)).unwrap() == content, "{kind:?} {name}");
        }
        mount.end();
        if case.logs_commands() {
            assert_eq!(case.server.count(&["HASH"]), if kind == Kind::Proftpd { 3 } else { 0 }, "{kind:?}");
        }
    }
}

/// Ten programs write at the same time, and the server has three places.
#[test]
fn ten_writers_share_three_places() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::empty_of(Spec { clients_max: Some(3), ..Spec::new(kind, "/") });
        let mount = case.mount_rw(&["connections=8"]);
        thread::scope(|scope| {
            for writer in 0..10_u64 {
                let mount = &mount;
                scope.spawn(move || {
                    for round in 0..5 {
                        let content = big_content((writer * 8 + round) * 8, 300_000);
                        let mut file = File::create(mount.path(&format!("{writer}-{round}"))).unwrap();
                        for chunk in content.chunks(10_000) {
                            file.write_all(chunk).unwrap();
                        }
                        nix::unistd::close(file).unwrap_or_else(|error| panic!("{kind:?}: {writer}-{round}: {error}"));
                    }
                });
            }
        });
        for (writer, round) in (0..10_u64).flat_map(|writer| (0..5).map(move |round| (writer, round))) {
            let stored = fs::read(case.disk.join(format!("{writer}-{round}"))).unwrap();
            assert!(stored == big_content((writer * 8 + round) * 8, 300_000), "{kind:?}: {writer}-{round}");
        }
        mount.end();
    }
}

/// Ten files that are all open for writing at the same time, a byte now and then: no writer may keep a connection that
/// another needs.
#[test]
fn ten_slow_writers_share_one_place() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let mount = case.mount_rw(&["connections=1"]);
    let files: Vec<File> = (0..10).map(|number| File::create(mount.path(&number.to_string())).unwrap()).collect();
    let content = big_content(0, 200_000);
    for offset in (0..content.len()).step_by(50_000) {
        for file in &files {
            file.write_all_at(&content[offset..offset + 50_000], offset as u64).unwrap();
        }
    }
    for file in files {
        nix::unistd::close(file).unwrap();
    }
    for number in 0..10 {
        assert!(fs::read(case.disk.join(number.to_string())).unwrap() == content, "{number}");
    }
    mount.end();
}

#[test]
fn a_large_upload_to_vsftpd_is_as_fast_as_curls() {
    a_large_upload_is_as_fast_as_curls(Kind::Vsftpd, Tls::V13);
}

#[test]
fn a_large_upload_to_proftpd_is_as_fast_as_curls() {
    a_large_upload_is_as_fast_as_curls(Kind::Proftpd, Tls::V13);
}

#[test]
fn a_large_upload_to_pureftpd_is_as_fast_as_curls() {
    a_large_upload_is_as_fast_as_curls(Kind::PureFtpd, Tls::V13);
}

/// In TLS 1.2: in 1.3 most of curl's uploads to it break off.
#[test]
fn a_large_upload_to_pyftpdlib_is_as_fast_as_curls() {
    a_large_upload_is_as_fast_as_curls(Kind::Pyftpdlib, Tls::V12);
}

/// By turns with curl and through a fresh mount; the best of each counts, for a machine is never quiet.
fn a_large_upload_is_as_fast_as_curls(kind: Kind, tls: Tls) {
    let fresh = Fresh::new();
    let _alone = alone();
    let server = Server::start(Spec { tls, ..Spec::new(kind, &fresh.path) });
    let source = fresh.path.with_file_name("source");
    fs::write(&source, big_content(0, LARGE)).unwrap();
    let (mut curl, mut mounted) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS_MAX {
        let mut whole = false;
        let time = timed(|| whole = curl_up(&server, &source));
        curl = if whole { curl.min(time) } else { curl };
        fs::remove_file(fresh.path.join("by-curl")).unwrap();
        let mount = Mount::new(&server, &["rw"]);
        mounted = mounted.min(timed(|| {
            // As curl it writes to a new name: dd stores an empty file first (it closes the descriptor that it opened), and
            // a file system takes its time for a rename over a file that is there (ext4: 0.1 s, auto_da_alloc).
            shell(r#"cp "$1" "$2""#, &[source.as_path(), &mount.path("mounted")]).succeeded();
        }));
        let hwm = mount.vm_hwm_kib();
        assert!(hwm < 100 * 1024, "the process used {hwm} KiB");
        println!("{kind:?}: VmHWM {hwm} KiB");
        mount.end();
        finish(within(PATIENCE, "cmp").arg(&source).arg(fresh.path.join("mounted"))).succeeded();
        fs::remove_file(fresh.path.join("mounted")).unwrap();
        if curl < Duration::MAX && mounted <= curl {
            break;
        }
    }
    assert!(curl < Duration::MAX, "curl stored nothing whole");
    let rate = |time: Duration| f64::from(u32::try_from(LARGE >> 20).unwrap()) / time.as_secs_f64();
    println!("{kind:?}: curl {:.0} MiB/s, mount {:.0} MiB/s", rate(curl), rate(mounted));
    let enough = SHARE_OF_CURL * rate(curl);
    assert!(rate(mounted) >= enough, "{kind:?}: mount {:.0}, curl {:.0} MiB/s", rate(mounted), rate(curl));
}

/// Whether curl stored all of it: some of its uploads in TLS 1.3 break off, since it closes before it has read the server's
/// tickets, and then tell no rate.
fn curl_up(server: &Server, source: &Path) -> bool {
    let mut curl = within(PATIENCE, "curl");
    curl.args(["--silent", "--show-error", "--ssl-reqd", "--cacert"]).arg(&server.cafile);
    curl.arg("--upload-file").arg(source).args(["--user", &format!("{USER}:{}", server.password)]);
    let ran = finish(curl.arg(format!("ftp://localhost:{}/by-curl", server.port)));
    assert!(ran.status == 0 || ran.status == 18, "{ran:?}");
    ran.status == 0
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Such an upload takes a third of a second: what else the machine does hits now one and now the other.
const ROUNDS_MAX: u32 = 12;

/// In bytes.
const LARGE: usize = 256 << 20;

/// What is promised is promised of a release build; a debug build shows only that nothing is absurdly slow.
const SHARE_OF_CURL: f64 = if cfg!(debug_assertions) { 0.4 } else { 0.8 };
