//! What an entry costs in large directories and a directory in large trees: `cargo bench --bench scale`.
//!
//! A real mount of a scripted server on this machine, which makes its listings up as they are read. `ls` reads names and
//! `find` goes through directories; their cost is time, and memory at its highest. Fails where an entry of the largest
//! directory, or a directory of the largest tree, costs more than twice what it does in a tenth of the size.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for developers")]
#![allow(unreachable_pub, dead_code, clippy::cast_possible_truncation, reason = "figures for people")]

#[path = "../tests/support/ftpd/mod.rs"]
mod ftpd;

use ftpd::{Behaviour, PASSWORD, Server, Tree};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let crowds = [1_000, 10_000, 100_000, 1_000_000];
    let tree = crowds.iter().fold(Tree::new(), |tree, count| tree.crowd(format!("/{count}"), *count));
    let server = Server::start(Behaviour::default(), tree);
    let entries = crowds.map(|count| {
        let mount = Mount::new(&server);
        let root = mount.point.join(count.to_string());
        mount.measure("entries of a directory", count, || fs::read_dir(&root).unwrap().count() as u64)
    });
    let directories = [10, 100, 1_000, 10_000].map(|count| {
        let server = Server::start(Behaviour::default(), forest(count));
        let mount = Mount::new(&server);
        mount.measure("directories of a tree", count, || walk(&mount.point) - 1)
    });
    if !(is_flat(&entries) && is_flat(&directories)) {
        std::process::exit(1);
    }
}

/// Directories in tens, in tens, in tens.
fn forest(count: u64) -> Tree {
    let path = |number: u64| number.to_string().chars().fold(String::new(), |path, digit| format!("{path}/d{digit}"));
    (1..=count).fold(Tree::new(), |tree, number| tree.directory(path(number)))
}

/// How many directories there are, with this one.
fn walk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    1 + entries.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| walk(&entry.path())).sum::<u64>()
}

/// The last is the largest, and the one before it a tenth of that.
fn is_flat(costs: &[Duration; 4]) -> bool {
    costs[3] <= costs[2] * 2
}

struct Mount {
    point: PathBuf,
    directory: PathBuf,
    process: Child,
}

impl Mount {
    fn new(server: &Server) -> Self {
        let directory = std::env::temp_dir().join(format!("ftpsfs-scale-{}", std::process::id()));
        let point = directory.join("mnt");
        fs::create_dir_all(&point).unwrap();
        let (ca, credentials) = (directory.join("ca.pem"), directory.join("credentials"));
        fs::write(&ca, ftpd::tls::ca().pem()).unwrap();
        fs::write(&credentials, format!("username=tester\npassword={PASSWORD}\n")).unwrap();
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
        let options = format!("cafile={},credentials={}", ca.display(), credentials.display());
        let process = Command::new(env!("CARGO_BIN_EXE_ftpsfs"))
            .args(["-f", "-o", &options, &format!("ftps://localhost:{}/", server.port())])
            .arg(&point)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mount = Self { point, directory, process };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_mounted(&mount.point) {
            assert!(Instant::now() < deadline, "it does not mount");
            std::thread::sleep(Duration::from_millis(10));
        }
        mount
    }

    /// Does `work` and says what each of its `count` pieces cost.
    fn measure(&self, what: &str, count: u64, work: impl Fn() -> u64) -> Duration {
        let began = Instant::now();
        assert_eq!(work(), count, "{what}");
        let took = began.elapsed();
        let cost = took / u32::try_from(count).unwrap();
        println!(
            "{count:>9} {what}: {:>8.3} s, {:>7.2} us each, VmHWM {} KiB",
            took.as_secs_f64(),
            cost.as_secs_f64() * 1e6,
            self.high_water()
        );
        cost
    }

    fn high_water(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.point).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == point.to_str())
}
