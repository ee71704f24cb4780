//! Shows ftpsfs at work (`make demo`): an FTPS server inside this process, which refuses every data connection that does
//! not resume the TLS session of its control connection, is mounted with the built `ftpsfs` and read with `ls`, `cat` and
//! `sha256sum`. Exits with an error if any step fails.

#[path = "../tests/support/ftpd/mod.rs"]
mod ftpd;

use ftpd::{Behaviour, Dialect, PASSWORD, Server, Tickets, Tree};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("The demo failed: {why}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, String>;

/// How long a mount or an unmount may take.
const LIMIT: Duration = Duration::from_secs(20);

fn demo() -> Outcome<()> {
    let program = program()?;
    let stage = Stage::set().map_err(|error| format!("preparing a temporary directory: {error}"))?;

    let tree = Tree::from_disk(&stage.path("source")).map_err(|error| format!("reading the source: {error}"))?;
    let server = Server::start(Behaviour::requiring_reuse(Dialect::Vsftpd, Tickets::counted(2, 1)), tree);
    let url = format!("ftps://demo@localhost:{}/", server.port());
    fs::write(stage.path("ca.pem"), server.ca_pem()).map_err(|error| format!("writing ca.pem: {error}"))?;
    println!("An FTPS server listens on port {} and requires TLS session reuse (TLS 1.3).", server.port());

    let mut mount = Mount::new(&program, &url, &stage)?;
    println!("\nMounted {url} on {}:", mount.point.display());
    show(Command::new("ls").arg("-l").arg(&mount.point))?;

    println!("\nA file, read through the mount:");
    show(Command::new("cat").arg(mount.point.join("hello.txt")))?;

    println!("\nIts larger neighbours, compared with the server's own files:");
    for name in ["large.bin", "a directory/one.bin", "a directory/two.bin"] {
        compare(&stage.path("source").join(name), &mount.point.join(name), name)?;
    }

    let log = mount.unmount()?;
    let summary = log.lines().find_map(|line| line.find("data connections:").map(|at| &line[at..]));
    let counted = server.data_handshakes();
    let full = counted.full + counted.full_with_retry;
    println!("\nUnmounted.");
    println!(
        "The server saw {} data connections resume the session of their control connection, {full} not.",
        counted.resumed
    );
    println!("The mount counted: {}", summary.ok_or_else(|| format!("no summary in its log:\n{log}"))?);
    if counted.resumed == 0 || full > 0 {
        return Err("every data connection should have resumed".to_owned());
    }
    println!("\nEverything worked.");
    Ok(())
}

/// The built binary beside this example; another one can be named on the command line.
fn program() -> Outcome<PathBuf> {
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("ftpsfs"));
    let program = named.or_else(beside).ok_or("this program does not know where it is")?;
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("{} is missing; `cargo build --release` makes it", program.display())),
    }
}

/// A temporary directory with files to serve, which goes with this value.
struct Stage(PathBuf);

impl Stage {
    fn set() -> io::Result<Self> {
        let stage = Self(std::env::temp_dir().join(format!("ftpsfs-demo-{}", std::process::id())));
        fs::create_dir_all(stage.path("source/a directory"))?;
        fs::create_dir_all(stage.path("mnt"))?;
        fs::write(stage.path("source/hello.txt"), "Hello from a server that requires TLS session reuse.\n")?;
        for (name, size, seed) in
            [("large.bin", 32 << 20, 1), ("a directory/one.bin", 100_000, 2), ("a directory/two.bin", 3_000_000, 3)]
        {
            fs::write(stage.path("source").join(name), noise(size, seed))?;
        }
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes without a pattern (xorshift).
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A running `ftpsfs` in the foreground; unmounted at the latest when this value goes.
struct Mount {
    process: Child,
    point: PathBuf,
    log: PathBuf,
    ended: bool,
}

impl Mount {
    fn new(program: &Path, url: &str, stage: &Stage) -> Outcome<Self> {
        let (point, log) = (stage.path("mnt"), stage.path("log"));
        let starting = |error: io::Error| format!("starting {}: {error}", program.display());
        let outside = device(&point);
        let process = Command::new(program)
            .arg("-f")
            .arg("-o")
            .arg(format!("cafile={}", stage.path("ca.pem").display()))
            .arg(url)
            .arg(&point)
            .env("FTPSFS_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stderr(File::create(&log).map_err(starting)?)
            .spawn()
            .map_err(starting)?;
        let mut mount = Self { process, point, log, ended: false };
        let limit = Instant::now() + LIMIT;
        while device(&mount.point) == outside {
            if mount.has_ended() || Instant::now() > limit {
                return Err(format!("ftpsfs did not mount:\n{}", mount.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(mount)
    }

    /// Unmounts, waits for the end of `ftpsfs`, and returns what it had to say.
    fn unmount(&mut self) -> Outcome<String> {
        let unmounted = Command::new("fusermount3").arg("-u").arg(&self.point).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            show(Command::new("umount").arg(&self.point))?;
        }
        let limit = Instant::now() + LIMIT;
        while !self.has_ended() {
            if Instant::now() > limit {
                return Err("ftpsfs is still running after the unmount".to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let status = self.process.wait().map_err(|error| error.to_string())?;
        match status.success() {
            true => Ok(self.said()),
            false => Err(format!("ftpsfs ended with {status}:\n{}", self.said())),
        }
    }

    fn has_ended(&mut self) -> bool {
        self.ended |= matches!(self.process.try_wait(), Ok(Some(_)));
        self.ended
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.point).status();
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Which file system a path is on; `None` where it cannot be asked.
fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.dev())
}

fn show(command: &mut Command) -> Outcome<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn compare(source: &Path, mounted: &Path, name: &str) -> Outcome<()> {
    let (expected, found) = (sha256(source)?, sha256(mounted)?);
    if expected != found {
        return Err(format!("{name} differs: SHA-256 {expected} on the server, {found} through the mount"));
    }
    println!("    {name}: SHA-256 {found}, the same");
    Ok(())
}

fn sha256(path: &Path) -> Outcome<String> {
    let output = Command::new("sha256sum").stdin(File::open(path).map_err(|error| error.to_string())?).output();
    let output = output.map_err(|error| format!("sha256sum: {error}"))?;
    let sum = String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned();
    match output.status.success() && sum.len() == 64 {
        true => Ok(sum),
        false => Err(format!("sha256sum of {}: {}", path.display(), String::from_utf8_lossy(&output.stderr))),
    }
}
