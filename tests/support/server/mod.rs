//! Real FTPS servers on loopback: vsftpd, ProFTPD, Pure-FTPd and pyftpdlib, as `tests/setup` installs them.

pub mod recipes;

use crate::support::certs::{Ca, Identity, Validity};
use crate::support::link::{End, Link, SERVER_ADDRESS};
use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Where `tests/setup` puts what is no package of the machine.
pub const HOME: &str = "/var/cache/ftpsfs-test";

/// The account that every server logs in; no file that it should not read belongs to it.
pub const USER: &str = "ftpsfs-test";

/// A server program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// vsftpd: no `MLSD`; refuses unresumed data connections with `522` and hangs up.
    Vsftpd,
    /// ProFTPD with mod_tls: refuses them with `425`.
    Proftpd,
    /// Pure-FTPd: no resumption in TLS 1.3, demands none.
    PureFtpd,
    /// pyftpdlib over pyOpenSSL: demands none.
    Pyftpdlib,
}

/// The one TLS version that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tls {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// When the control connection's handshake happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// After `AUTH TLS`.
    Explicit,
    /// At once. vsftpd and ProFTPD only.
    Implicit,
}

/// What a server does not let its account do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// Writing files of our temporary names, or at least of names that begin with a dot.
    TemporaryNames,
    /// Renaming.
    Renaming,
    /// Encrypting: the server knows no TLS.
    Tls,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program.
    pub kind: Kind,
    /// Its TLS version.
    pub tls: Tls,
    /// Explicit or implicit TLS.
    pub mode: Mode,
    /// Whether a data connection must resume its control connection's session (vsftpd and ProFTPD only).
    pub reuse_required: bool,
    /// How long a TLS session may be resumed (ProFTPD only); `None` is the server's own default.
    pub session_lifetime: Option<Duration>,
    /// How many control connections one address may have.
    pub clients_max: Option<u32>,
    /// What the account may not do.
    pub forbidden: Option<Forbidden>,
    /// What the account may store, in MiB (ProFTPD and Pure-FTPd only).
    pub quota_mib: Option<u32>,
    /// Its time zone, as POSIX writes it in TZ: the machine need not have the names of places.
    pub zone: Option<&'static str>,
    /// Lines for the end of its configuration (vsftpd and ProFTPD only).
    pub lines: Vec<&'static str>,
    /// How many names a listing may have (Pure-FTPd only).
    pub listed_max: u32,
    /// The directory that is served.
    pub root: PathBuf,
    /// What the certificate is issued for.
    pub names: Vec<&'static str>,
    /// The certificate, where it is not one of an authority for those names.
    pub identity: Option<Identity>,
    /// The authority (PEM) whose certificates clients must have (vsftpd and ProFTPD only).
    pub clients: Option<String>,
    /// Whether its TLS 1.2 knows the extended master secret (vsftpd and Pure-FTPd only).
    pub extended_master_secret: bool,
    /// When the certificate is valid.
    pub validity: Validity,
    /// The link at whose far end it runs; `None` is this machine's own loopback.
    pub link: Option<Arc<Link>>,
}

impl Spec {
    /// `kind` in TLS 1.3, explicit, with session reuse required where it can be, serving `root`.
    pub fn new(kind: Kind, root: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            tls: Tls::V13,
            mode: Mode::Explicit,
            reuse_required: true,
            session_lifetime: None,
            clients_max: None,
            forbidden: None,
            quota_mib: None,
            zone: None,
            lines: Vec::new(),
            // Pure-FTPd's own is 10,000.
            listed_max: 20_000,
            root: root.into(),
            names: vec!["localhost", "127.0.0.1"],
            identity: None,
            clients: None,
            extended_master_secret: true,
            validity: Validity::Valid,
            link: None,
        }
    }

    /// The same behind `link`.
    pub fn behind(self, link: &Arc<Link>) -> Self {
        Self { link: Some(Arc::clone(link)), ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> &'static str {
        if self.link.is_some() { SERVER_ADDRESS } else { "127.0.0.1" }
    }

    /// The name that clients know it by, which its certificate bears.
    pub fn host(&self) -> &'static str {
        if self.link.is_some() { SERVER_ADDRESS } else { "localhost" }
    }

    /// `program`, to be run where clients are.
    pub fn client_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match &self.link {
            Some(link) => link.command(End::Client, program),
            None => Command::new(program),
        }
    }
}

/// A running server; dropping it ends it and removes its files, though not what it served.
#[derive(Debug)]
pub struct Server {
    /// What it was started with.
    pub spec: Spec,
    /// The port of its control connections, at [`Spec::address`].
    pub port: u16,
    /// The password of [`USER`].
    pub password: String,
    /// The certificate of its authority, PEM.
    pub cafile: PathBuf,
    directory: PathBuf,
    process: Child,
    lifeline: Option<ChildStdin>,
    _ports: Ports,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not within [`START_MAX`], with what it said.
    pub fn start(spec: Spec) -> Self {
        setup();
        let password = fs::read_to_string(format!("{HOME}/password")).expect("tests/setup wrote it");
        let directory = run_directory();
        let ports = Ports::reserve();
        let cafile = write_certificates(&spec, &directory);
        let recipe = recipes::Recipe { spec: &spec, directory: &directory, port: ports.first, password: &password };
        let (process, lifeline) = run(&recipe);
        let mut server =
            Self { port: ports.first, password, cafile, directory, process, lifeline, spec, _ports: ports };
        server.wait_until_it_answers();
        server
    }

    /// Ends the server with all of its sessions, by force, as the end of its machine would.
    pub fn stop(&mut self) {
        drop(self.lifeline.take());
        let deadline = Instant::now() + STOP_MAX;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the server again after [`Server::stop`], as it was, and waits until it answers.
    ///
    /// # Panics
    ///
    /// As [`Server::start`].
    pub fn start_again(&mut self) {
        let Self { spec, directory, port, password, .. } = self;
        let recipe = recipes::Recipe { spec, directory, port: *port, password };
        (self.process, self.lifeline) = run(&recipe);
        self.wait_until_it_answers();
    }

    /// Stops every process of the server where it stands (SIGSTOP): connections stay, and nobody answers.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn suspend(&self) {
        // Twice: a process may just have been forked.
        for _ in 0..2 {
            self.signal("-STOP", &self.processes());
        }
    }

    /// Ends [`Server::suspend`] (SIGCONT).
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn resume(&self) {
        self.signal("-CONT", &self.processes());
    }

    /// The server and its sessions, without the shells that guard them.
    fn processes(&self) -> Vec<u32> {
        let [shell] = children(self.process.id())[..] else { panic!("unshare has one child") };
        let name = |process: &u32| fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        let mut found: Vec<u32> = children(shell).into_iter().filter(|child| name(child).trim() != "sh").collect();
        let mut next = 0;
        while let Some(process) = found.get(next).copied() {
            found.extend(children(process));
            next += 1;
        }
        found
    }

    fn signal(&self, signal: &str, processes: &[u32]) {
        let numbers = processes.iter().map(u32::to_string);
        let _ = Command::new("kill").arg(signal).args(numbers).stderr(Stdio::null()).status();
    }

    /// Starts the server again with another certificate.
    ///
    /// # Panics
    ///
    /// As [`Server::start`].
    pub fn show(&mut self, identity: &Identity) {
        self.stop();
        self.spec.identity = Some(identity.clone());
        write_certificates(&self.spec, &self.directory);
        self.start_again();
    }

    /// What the server wrote of commands and transfers so far, in its own form. Pure-FTPd notes transfers only.
    pub fn log(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How often clients gave one of `commands`, by the server's own log.
    ///
    /// # Panics
    ///
    /// For Pure-FTPd, which keeps no log of commands without syslog.
    pub fn count(&self, commands: &[&str]) -> usize {
        assert_ne!(self.spec.kind, Kind::PureFtpd, "Pure-FTPd logs no commands");
        let log = self.log();
        log.lines()
            .filter_map(|line| recipes::command_in(self.spec.kind, line))
            .filter(|c| commands.contains(c))
            .count()
    }

    /// How often clients gave each command, by the server's own log; nothing for Pure-FTPd.
    pub fn commands(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for command in self.log().lines().filter_map(|line| recipes::command_in(self.spec.kind, line)) {
            *counts.entry(command.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Waits until the server has seen the end of every session: until then it counts against the limits. pyftpdlib's processes
    /// of sessions stay.
    ///
    /// # Panics
    ///
    /// If somebody stays for [`STOP_MAX`].
    pub fn wait_until_nobody_is_there(&self) {
        let deadline = Instant::now() + STOP_MAX;
        let sessions = || {
            let shells = children(self.process.id());
            shells.into_iter().flat_map(children).flat_map(children).count()
        };
        while self.spec.kind != Kind::Pyftpdlib && sessions() > 0 {
            assert!(Instant::now() < deadline, "somebody stays logged in");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends every session as an administrator or a restart would: the connections break, the server lives on.
    ///
    /// # Panics
    ///
    /// If there was none.
    pub fn hang_up(&self) {
        let [shell] = children(self.process.id())[..] else { panic!("unshare has one child") };
        // The shell has a child that waits for our end, and the server, which has a child or two for each session.
        let sessions: Vec<u32> = children(shell).into_iter().flat_map(children).collect();
        assert!(!sessions.is_empty(), "nobody is logged in");
        for session in sessions.into_iter().flat_map(|session| [vec![session], children(session)].concat()) {
            let _ = Command::new("kill").args(["-KILL", &session.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// The URL of `path` (without its leading slash) on this server, the account included.
    pub fn url(&self, path: &str) -> String {
        format!("ftps://{USER}@{}:{}/{path}", self.spec.host(), self.port)
    }

    /// Kills every process of the server that serves a client; the one that listens lives.
    ///
    /// # Panics
    ///
    /// Without /proc.
    pub fn kill_sessions(&self) {
        self.signal_sessions("KILL");
    }

    /// Sends a signal to every process of the server that serves a client.
    ///
    /// # Panics
    ///
    /// Without /proc.
    pub fn signal_sessions(&self, signal: &str) {
        let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
            .expect("/proc is there")
            .filter_map(|entry| {
                let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
                // "<pid> (<name>) <state> <parent> …", and the name may hold anything.
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                Some((pid, stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?))
            })
            .collect();
        let children = |of: u32| parents.iter().filter(move |(_, parent)| *parent == of).map(|(pid, _)| *pid);
        let is_shell =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sh");
        // unshare → sh → the server and one more sh.
        let first = children(self.process.id()).flat_map(children).filter(|pid| !is_shell(pid));
        let mut sessions: Vec<u32> = first.flat_map(children).collect();
        let mut next = 0;
        while let Some(session) = sessions.get(next).copied() {
            sessions.extend(children(session));
            next += 1;
        }
        for session in sessions {
            let _ =
                Command::new("kill").args([format!("-{signal}"), session.to_string()]).stderr(Stdio::null()).status();
        }
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + START_MAX;
        while !self.answers() {
            let ended = self.process.try_wait().expect("our own child can be waited for");
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self.directory.join("output")).unwrap_or_default();
                panic!("{:?} does not answer ({ended:?}): {said}{}", self.spec.kind, self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let connect = || TcpStream::connect((self.spec.address(), self.port)).is_ok();
        self.spec.link.as_ref().map_or_else(connect, |link| link.at(End::Server, connect))
    }
}

fn run(recipe: &recipes::Recipe<'_>) -> (Child, Option<ChildStdin>) {
    let mut command = recipe.command();
    command.envs(recipe.spec.zone.map(|zone| ("TZ", zone)));
    let mut process = in_a_namespace(&command, recipe).spawn().expect("sh starts");
    let lifeline = process.stdin.take();
    (process, lifeline)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if !thread::panicking() {
            assert_eq!(places_that_show(&self.password), Vec::<PathBuf>::new(), "the password shows");
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The logs of this process's tests, by now, and the list of mounts, as far as they hold `password`.
fn places_that_show(password: &str) -> Vec<PathBuf> {
    let ours = format!("{}-", std::process::id());
    let is_ours = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(ours.as_bytes());
    let directories = fs::read_dir(format!("{HOME}/run")).into_iter().flatten().flatten().filter(is_ours);
    // Not what is deeper: a mount may be there.
    let files = directories.flat_map(|directory| fs::read_dir(directory.path()).into_iter().flatten().flatten());
    let logs = files.filter(|file| file.file_name().to_string_lossy().contains("log")).map(|file| file.path());
    let shows = |place: &PathBuf| fs::read(place).is_ok_and(|text| contains(&text, password.as_bytes()));
    logs.chain([PathBuf::from("/proc/self/mountinfo")]).filter(shows).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The processes that `process` started and that live (proc(5)).
fn children(process: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Runs `tests/setup`, once a process.
///
/// # Panics
///
/// If it fails: what the tests need and do not find is a failure.
pub fn setup() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        with_lock(|| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/setup");
            let status = Command::new(script).status().expect("tests/setup can be run");
            assert!(status.success(), "tests/setup failed: see its message above");
        });
    });
}

/// Does `work` while no other test process does any: several may prepare the machine at the same time.
///
/// # Panics
///
/// If the lock cannot be taken: only root may.
pub fn with_lock(work: impl FnOnce()) {
    // The lock belongs to the open file, which flock(1) shares with us, and ends with it.
    let file = fs::File::create("/run/lock/ftpsfs-test").expect("root may write /run/lock");
    let shared = file.try_clone().expect("a descriptor can be cloned");
    let status = Command::new("flock").args(["--exclusive", "0"]).stdin(Stdio::from(shared)).status();
    assert!(status.expect("flock starts").success());
    work();
    drop(file);
}

/// The server in a process namespace of its own: it ends, with all of its sessions, when we close our end of its standard
/// input or die. (A process group is not enough: vsftpd's sessions leave it.)
fn in_a_namespace(server: &Command, recipe: &recipes::Recipe<'_>) -> Command {
    let script = r#"exec 3<&0; "$@" </dev/null & server=$!; (read -r _ <&3; kill -KILL "$server") & wait "$server""#;
    let output = fs::File::create(recipe.directory.join("output")).expect("the directory is ours");
    let mut command = match &recipe.spec.link {
        // nsenter becomes unshare, so that the number of the process is the same.
        Some(link) => link.command(End::Server, "unshare"),
        None => Command::new("unshare"),
    };
    command.args(["--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, "sh"]);
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        command.env(name, value.expect("recipes set variables and remove none"));
    }
    command.stdin(Stdio::piped());
    command.stdout(output.try_clone().expect("a file can be cloned")).stderr(output);
    command
}

/// A fresh directory, which `tests/setup` removes once this process is gone.
pub fn run_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(format!("{HOME}/run/{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("root may write there");
    directory
}

/// Writes `cert.pem`, `key.pem`, `both.pem` and `ca.pem`; returns the path of the last.
fn write_certificates(spec: &Spec, directory: &Path) -> PathBuf {
    let ca = Ca::new("ftpsfs test authority");
    let address = spec.link.as_ref().map(|_| spec.address());
    let names: Vec<&str> = spec.names.iter().copied().chain(address).collect();
    let identity = spec.identity.clone().unwrap_or_else(|| ca.issue(&names, spec.validity));
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    };
    write("cert.pem", &identity.cert_pem);
    write("clients.pem", spec.clients.as_deref().unwrap_or_default());
    // ProFTPD refuses a key that others may read.
    for (name, text) in [("key.pem", identity.key_pem.clone()), ("both.pem", identity.key_pem + &identity.cert_pem)] {
        let path = write(name, &text);
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the file is ours");
    }
    write("ca.pem", &ca.pem())
}

/// A block of ports below the ephemeral ones: the first for control connections, the others for passive ones.
///
/// A UDP socket on the first keeps other servers of this and other test processes away, and vanishes with us.
#[derive(Debug)]
struct Ports {
    first: u16,
    _reservation: UdpSocket,
}

impl Ports {
    const BLOCK: u16 = 100;

    fn reserve() -> Self {
        // Starting at a place of our own saves collisions; the reservation is what counts.
        let start = u16::try_from(std::process::id() % 120).expect("below 120");
        (0..120)
            .map(|step| 20_000 + (start + step) % 120 * Self::BLOCK)
            .find_map(|first| {
                let reservation = UdpSocket::bind(("127.0.0.1", first)).ok()?;
                // Somebody else's service may listen there.
                std::net::TcpListener::bind(("127.0.0.1", first)).ok()?;
                Some(Self { first, _reservation: reservation })
            })
            .expect("a block of ports is free")
    }
}

/// How long a server may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(20);

/// How long it may take to end before it is killed.
const STOP_MAX: Duration = Duration::from_secs(5);
