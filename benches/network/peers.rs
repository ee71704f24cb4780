//! ftpsfs and what people use instead of it, on the same tree behind the same link.

use crate::support::link::{End, Link, SERVER_ADDRESS};
use crate::support::mountpoint::{Mount, end_by_force};
use crate::support::server::{HOME, Server, USER, run_directory};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ftpsfs,
    Rclone,
    Sshfs,
    Lftp,
    Curl,
    /// What FUSE itself costs: a file system in memory, of the sources only, without a link.
    Memory,
}

impl Peer {
    pub const OTHERS: [Self; 4] = [Self::Rclone, Self::Sshfs, Self::Lftp, Self::Curl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ftpsfs => "ftpsfs",
            Self::Rclone => "rclone",
            Self::Sshfs => "sshfs",
            Self::Lftp => "lftp",
            Self::Curl => "curl",
            Self::Memory => "memory",
        }
    }

    /// Whether it makes a file system.
    pub fn mounts(self) -> bool {
        matches!(self, Self::Ftpsfs | Self::Rclone | Self::Sshfs | Self::Memory)
    }
}

/// The tree as a file system.
#[derive(Debug)]
pub enum Mounted {
    Ours(Mount),
    Other { point: PathBuf, directory: PathBuf, process: Child },
}

impl Mounted {
    pub fn ours(server: &Server, options: &[String]) -> Self {
        let options: Vec<&str> =
            ["rw", "connections=8", "log_level=debug"].into_iter().chain(options.iter().map(String::as_str)).collect();
        Self::Ours(Mount::new(server, &options))
    }

    /// rclone does not resume TLS sessions for data connections: `server` may not demand it.
    pub fn rclone(server: &Server) -> Self {
        let program = format!("{HOME}/rclone/bin/rclone");
        let secret = Command::new(&program).args(["obscure", &server.password]).output().expect("rclone starts");
        let mut command = server.spec.client_command(&program);
        command.args(["mount", ":ftp:/"]);
        command.env("RCLONE_FTP_PASS", String::from_utf8_lossy(&secret.stdout).trim());
        command.args(["--ftp-host", server.spec.host(), "--ftp-port", &server.port.to_string(), "--ftp-user", USER]);
        command.args(["--ftp-explicit-tls", "--config", "/dev/null", "--ca-cert"]).arg(&server.cafile);
        Self::start(command, |command, point| {
            command.arg(point);
        })
    }

    pub fn sshfs(ssh: &Sshd, tree: &Path) -> Self {
        let mut command =
            ssh.link.as_ref().map_or_else(|| Command::new("sshfs"), |link| link.command(End::Client, "sshfs"));
        command.arg(format!("root@{}:{}", ssh.address, tree.display()));
        let options = "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,BatchMode=yes,LogLevel=ERROR";
        Self::start(command, |command, point| {
            command.arg(point).args(["-f", "-p", &ssh.port.to_string(), "-o", options]);
            command.args(["-o", &format!("IdentityFile={}", ssh.directory.join("user").display())]);
        })
    }

    pub fn memory(tree: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("we are a program"));
        command.arg("--serve").args([tree, Path::new("src")]);
        Self::start(command, |command, point| {
            command.arg(point);
        })
    }

    fn start(mut command: Command, finish: impl FnOnce(&mut Command, &Path)) -> Self {
        let directory = run_directory();
        let point = directory.join("mnt");
        fs::create_dir(&point).expect("the directory is ours");
        let log = fs::File::create(directory.join("log")).expect("the directory is ours");
        finish(&mut command, &point);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("nsenter starts");
        let mounted = Self::Other { point: point.clone(), directory: directory.clone(), process };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_mounted(&point) {
            let said = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "it does not mount: {}", said());
            thread::sleep(Duration::from_millis(20));
        }
        mounted
    }

    pub fn point(&self) -> &Path {
        match self {
            Self::Ours(mount) => &mount.point,
            Self::Other { point, .. } => point,
        }
    }

    pub fn log(&self) -> String {
        match self {
            Self::Ours(mount) => mount.log(),
            Self::Other { directory, .. } => fs::read_to_string(directory.join("log")).unwrap_or_default(),
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Ours(mount) => mount.pid(),
            Self::Other { process, .. } => process.id(),
        }
    }

    /// Ends what hangs in it.
    pub fn abort(&self) {
        end_by_force(self.point(), self.pid());
    }

    /// Of the process and of those that it started and that live (ssh).
    pub fn cpu_seconds(&self) -> f64 {
        family(self.pid()).iter().map(|pid| cpu_seconds(*pid)).sum()
    }

    pub fn vm_hwm_kib(&self) -> u64 {
        family(self.pid()).iter().map(|pid| vm_hwm_kib(*pid)).sum()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Self::Other { point, directory, process } = self else { return };
        let _ = Command::new("umount").arg(&*point).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                end_by_force(point, process.id());
                let _ = process.wait();
            }
            thread::sleep(Duration::from_millis(20));
        }
        if !is_mounted(point) {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// An SSH server for sshfs, with keys of its own.
#[derive(Debug)]
pub struct Sshd {
    port: u16,
    address: &'static str,
    directory: PathBuf,
    link: Option<Arc<Link>>,
    process: Child,
}

impl Sshd {
    pub fn start(link: Option<&Arc<Link>>, libraries: &str) -> Self {
        let directory = run_directory();
        for name in ["host", "user"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.join(name))
                .status();
            assert!(status.expect("ssh-keygen starts").success());
        }
        fs::create_dir_all("/run/sshd").expect("root may write /run");
        let free = || TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = free().expect("a port is free").port();
        let address = if link.is_some() { SERVER_ADDRESS } else { "127.0.0.1" };
        let here = directory.display();
        let config = format!(
            "ListenAddress {address}\nPort {port}\nHostKey {here}/host\nAuthorizedKeysFile {here}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n\
             Subsystem sftp internal-sftp\n"
        );
        fs::write(directory.join("config"), config).expect("the directory is ours");
        let program = format!("{HOME}/ssh/usr/sbin/sshd");
        let mut command = link.map_or_else(|| Command::new(&program), |link| link.command(End::Server, &program));
        command.arg("-D").arg("-f").arg(directory.join("config")).arg("-E").arg(directory.join("log"));
        let process = command.env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null()).spawn().expect("sshd starts");
        thread::sleep(Duration::from_millis(500));
        Self { port, address, directory, link: link.cloned(), process }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What lftp is told first.
pub fn lftp(server: &Server, work: &str) -> Command {
    let mut command = server.spec.client_command("lftp");
    let settings = format!(
        "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:ca-file {}; set net:max-retries 2; set cmd:fail-exit yes",
        server.cafile.display()
    );
    command.env("LFTP_PASSWORD", &server.password).env("LFTP_HOME", "/nonexistent").stdout(Stdio::null());
    command.args([
        "-e",
        &format!("{settings}; open --env-password -u {USER} ftp://{}:{}; {work}; bye", server.spec.host(), server.port),
    ]);
    command
}

/// `curl` for one file; `work` is its last arguments before the URL of `name`.
pub fn curl(server: &Server, work: &[&str], name: &str) -> Command {
    let mut command = server.spec.client_command("curl");
    command.args(["--silent", "--show-error", "--ssl-reqd", "--config"]).arg(server.cafile.with_file_name("curl"));
    let account = format!("user = \"{USER}:{}\"\n", server.password);
    fs::write(server.cafile.with_file_name("curl"), account).expect("the directory is ours");
    command.arg("--cacert").arg(&server.cafile).args(work);
    command.arg(format!("ftp://{}:{}/{name}", server.spec.host(), server.port));
    command
}

fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    mounts.lines().any(|line| line.split(' ').nth(4) == point.to_str())
}

fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|number| number.parse::<u32>().ok()));
        next += 1;
    }
    family
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    // utime and stime (proc(5)), in hundredths everywhere that Linux runs this.
    (ticks(11) + ticks(12)) / 100.0
}

fn vm_hwm_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
