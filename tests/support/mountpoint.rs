//! A mount in the foreground, which ends with its value, whatever state it is in.

use crate::support::run::{finish, within};
use crate::support::server::{Mode, Server, USER, run_directory};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The program under test, as cargo built it.
///
/// # Panics
///
/// Outside of an integration test.
pub fn program() -> &'static Path {
    // An example may include this file as well, so that `env!` will not do.
    match option_env!("CARGO_BIN_EXE_ftpsfs") {
        Some(program) => Path::new(program),
        None => panic!("cargo tells only integration tests where the program is"),
    }
}

/// A mounted server.
#[derive(Debug)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    directory: PathBuf,
    process: Child,
    watchdog: Option<mpsc::Sender<()>>,
}

/// Ends the mount at `point` by umount(8). A program that another test starts holds our open files for a moment, between fork
/// and exec: what is busy for no longer than that is well.
///
/// # Panics
///
/// If unmounting fails.
pub fn unmount(point: &Path) {
    let deadline = Instant::now() + BUSY_MAX;
    let mut ran = finish(within(END_MAX, "umount").arg(point));
    while ran.stderr.contains("busy") && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        ran = finish(within(END_MAX, "umount").arg(point));
    }
    ran.succeeded();
}

/// What the program counted, from the line that it logs at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Data connections that resumed a TLS session.
    pub resumed: u64,
    /// Data connections that did not, with and without a HelloRetryRequest.
    pub full: u64,
    /// Control connections logged in.
    pub logins: u64,
    /// Commands sent.
    pub commands: u64,
    /// Listings asked for.
    pub listings: u64,
    /// Data connections that the server refused for their TLS session.
    pub refusals: u64,
}

impl Mount {
    /// Mounts `server`'s root with `options` (as after `-o`) besides those that it needs.
    ///
    /// # Panics
    ///
    /// If it does not mount within [`MOUNT_MAX`], with its log.
    pub fn new(server: &Server, options: &[&str]) -> Self {
        Self::of(server, "", options)
    }

    /// Mounts the directory `path` (without its leading slash) of `server`.
    ///
    /// # Panics
    ///
    /// As [`Mount::new`].
    pub fn of(server: &Server, path: &str, options: &[&str]) -> Self {
        let directory = run_directory();
        let command = command(server, &directory, options);
        Self::run(command, &server.url(path), directory)
    }

    /// Mounts `url` by `command`, which has all options; everything that belongs to the mount lies in `directory`.
    ///
    /// # Panics
    ///
    /// As [`Mount::new`].
    pub fn run(mut command: Command, url: &str, directory: PathBuf) -> Self {
        let point = directory.join("mnt");
        fs::create_dir(&point).expect("the directory is ours");
        let log = File::create(directory.join("log")).expect("the directory is ours");
        command.arg("-f").arg(url).arg(&point);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut mount = Self { point, directory, process: process.expect("the program starts"), watchdog: None };
        mount.wait_until_mounted();
        mount.assert_that_no_password_shows();
        mount.watchdog = Some(mount.watch());
        mount
    }

    /// The path of `name` in the mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// A directory that lives as long as the mount, beside it.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).expect("the directory is ours");
        path
    }

    /// What the program kept of uploads that failed: where the bytes are, and the text beside them.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn recovered(&self) -> Vec<(PathBuf, String)> {
        let Ok(entries) = fs::read_dir(self.directory.join("recovery")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("the directory can be read").path());
        let texts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        texts.map(|text| (text.with_extension(""), fs::read_to_string(text).expect("the text can be read"))).collect()
    }

    /// What the program logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process has not ended.
    pub fn lives(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// The most memory that the process ever used, in KiB (`VmHWM`, proc(5)).
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn vm_hwm_kib(&self) -> u64 {
        self.status_field("VmHWM:")
    }

    /// How many threads the process has.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn threads(&self) -> u64 {
        self.status_field("Threads:")
    }

    /// How many threads of each name the process has.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn thread_names(&self) -> BTreeMap<String, usize> {
        let mut names = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process lives") {
            // One that ends in between has no name any more.
            let name = thread.and_then(|thread| fs::read_to_string(thread.path().join("comm"))).unwrap_or_default();
            *names.entry(name.trim_end().to_owned()).or_default() += 1;
        }
        names
    }

    /// How many files and sockets the process has open.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process lives").count()
    }

    /// Unmounts, and tells what the program counted.
    ///
    /// # Panics
    ///
    /// If unmounting fails, if the program then does not end well in time, or if it does not say what it counted.
    pub fn end(mut self) -> Summary {
        unmount(&self.point);
        let status = self.wait_for_the_end().unwrap_or_else(|| panic!("it does not end: {}", self.log()));
        assert!(status.success(), "{status}: {}", self.log());
        summary(&self.log()).unwrap_or_else(|| panic!("no summary: {}", self.log()))
    }

    /// Ends the mount, by a signal or by umount(8), and tells how long that took until the program had ended.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn end_at_once(&mut self, signal: bool) -> Duration {
        let begun = Instant::now();
        if signal {
            let _ = Command::new("kill").arg(self.pid().to_string()).status();
        } else {
            unmount(&self.point);
        }
        assert!(self.wait_for_the_end().is_some(), "it does not end: {}", self.log());
        begun.elapsed()
    }

    /// Neither what everybody of the machine can see of the process, nor its environment, nor what it logged so far.
    fn assert_that_no_password_shows(&self) {
        let credentials = fs::read_to_string(self.directory.join("credentials")).expect("we wrote it");
        let password = credentials.lines().find_map(|line| line.strip_prefix("password=")).expect("we wrote it");
        let process = format!("/proc/{}", self.pid());
        for place in [&format!("{process}/cmdline"), &format!("{process}/environ"), "/proc/self/mountinfo"] {
            let shown = fs::read(place).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&shown).contains(password), "the password is in {place}");
        }
        assert!(!self.log().contains(password), "the password is in the log");
    }

    fn wait_until_mounted(&mut self) {
        let deadline = Instant::now() + MOUNT_MAX;
        while !is_mounted(&self.point) {
            let ended = self.process.try_wait().expect("our own child can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "it does not mount ({ended:?}): {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A thread of the test that waits in the file system cannot help itself.
    fn watch(&self) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel();
        let (point, pid) = (self.point.clone(), self.pid());
        thread::spawn(move || {
            if receiver.recv_timeout(life_max()) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{} lives too long and is ended by force", point.display());
                end_by_force(&point, pid);
            }
        });
        sender
    }

    fn wait_for_the_end(&mut self) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("proc(5) promises the field");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.watchdog = None;
        if is_mounted(&self.point) {
            let _ = within(END_MAX, "umount").arg(&self.point).stderr(Stdio::null()).status();
        }
        if self.wait_for_the_end().is_none() {
            end_by_force(&self.point, self.pid());
            let _ = self.process.wait();
        }
        if !thread::panicking() {
            self.assert_that_no_password_shows();
        }
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.point.display(), last_lines(&self.log()));
        } else if !is_mounted(&self.point) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// `ftpsfs` with the options that `server` needs and `options`; its password lies in `directory`.
///
/// # Panics
///
/// If the file with the password cannot be written.
pub fn command(server: &Server, directory: &Path, options: &[&str]) -> Command {
    let credentials = write_credentials(directory, &server.password);
    let mut all = vec![format!("credentials={}", credentials.display()), format!("cafile={}", server.cafile.display())];
    if options.contains(&"rw") {
        all.push(format!("recovery_dir={}", directory.join("recovery").display()));
    } else {
        // The tree that most tests share must stay as it is.
        all.push("ro".to_owned());
    }
    if server.spec.mode == Mode::Implicit {
        all.push("tls=implicit".to_owned());
    }
    all.extend(options.iter().map(|&option| option.to_owned()));
    let mut command = server.spec.client_command(program());
    command.args(["-o", &all.join(",")]).env_remove("FTPSFS_PASSWORD");
    command
}

/// Writes a credentials file into `directory`, for its owner only.
///
/// # Panics
///
/// If it cannot be written.
pub fn write_credentials(directory: &Path, password: &str) -> PathBuf {
    let path = directory.join("credentials");
    fs::write(&path, format!("username={USER}\npassword={password}\n")).expect("the directory is ours");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the file is ours");
    path
}

/// Whether a file system of ours is mounted on `point`.
///
/// # Panics
///
/// Without /proc.
pub fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let point = point.to_str().expect("paths of tests are ASCII");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(point) && line.contains(" - fuse.ftpsfs "))
}

/// Aborts what waits in the mount, and ends the process.
pub fn end_by_force(point: &Path, pid: u32) {
    let _ = within(END_MAX, "umount").args(["-f", "-l"]).arg(point).stderr(Stdio::null()).status();
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Reads `… data connections: 12 resumed, 0 full, 0 full with retry; 3 logins, …`.
fn summary(log: &str) -> Option<Summary> {
    let line = log.lines().rev().find_map(|line| Some(line.split_once("data connections: ")?.1))?;
    let count = |what: &str| {
        let mut parts = line.split([',', ';']).map(str::trim);
        parts.find_map(|part| part.split_once(' ').filter(|(_, name)| *name == what)?.0.parse::<u64>().ok())
    };
    Some(Summary {
        resumed: count("resumed")?,
        full: count("full")? + count("full with retry")?,
        logins: count("logins")?,
        commands: count("commands")?,
        listings: count("listings")?,
        refusals: count("session refusals")?,
    })
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// How long mounting may take.
const MOUNT_MAX: Duration = Duration::from_secs(30);

/// How long somebody who starts a program may hold what is open here.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// How long the end of a mount may take.
const END_MAX: Duration = Duration::from_secs(20);

/// How long a test may use a mount.
fn life_max() -> Duration {
    if long_run() { Duration::from_secs(4 * 3600) } else { Duration::from_secs(420) }
}

/// Whether `FTPSFS_TEST_LONG` asks for the runs that take minutes for each server.
pub fn long_run() -> bool {
    std::env::var_os("FTPSFS_TEST_LONG").is_some()
}
