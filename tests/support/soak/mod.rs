//! A mount in everyday use across a link on which something fails every few seconds, until its time is over. Then what the
//! server's disk holds is compared with what was acknowledged.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers of a test")]

mod ledger;
mod programs;
mod stillness;
mod tally;
mod trouble;
mod watch;

use crate::support::link::{Link, Quality};
use crate::support::mountpoint::{Mount, end_by_force, is_mounted};
use crate::support::random::Random;
use crate::support::run::{finish, within};
use crate::support::server::{Kind, Server, Spec, USER, run_directory};
use programs::{DONE_ONCE, Program};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
pub use stillness::Still;
pub use tally::Tally;
use trouble::{KINDS, Troubles};
use watch::Watch;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The server.
    pub kind: Kind,
    /// How long something fails.
    pub duration: Duration,
    /// Decides what fails when, and what is written.
    pub seed: u64,
    /// `timeout=` of the mount.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    /// The plan.
    pub plan: Plan,
    /// Each kind of trouble and how often it came.
    pub troubles: Vec<(&'static str, usize)>,
    /// What the programs did and saw.
    pub tally: Tally,
    /// The longest system call, of programs as far as [`Watch`] sees it.
    pub longest: (Duration, String),
    /// The one that waited longest while nothing moved.
    pub still: Option<Still>,
    /// Content that is neither what was acknowledged nor what was being written when an error was told.
    pub wrong: Vec<String>,
    /// What was acknowledged and is not there.
    pub lost: Vec<String>,
    /// Programs that had to be ended by force, and those that did not do their work once everything worked again.
    pub hung: Vec<String>,
    /// How long umount(8) took with the link cut in the middle of a read, and how long the program lived after it began.
    pub umount: (Duration, Duration),
    /// How long the reader, killed before, was still in its call: until then umount is refused.
    pub reader: Duration,
    /// The most memory that the program used.
    pub vm_hwm_kib: u64,
    /// Its log of the time in which that one waited, and the end of it.
    pub log: String,
}

/// Runs `plan`.
///
/// # Panics
///
/// If the place for it cannot be made.
pub fn run(plan: Plan) -> Figures {
    let mut stage = Stage::set(plan);
    let watch = Watch::start();
    let tally = Arc::new(Tally::default());
    let programs = programs::all(&stage.mount.point, &stage.local, plan.seed);
    let until = Instant::now() + plan.duration;
    let (running, ends): (Vec<_>, Vec<_>) = programs.into_iter().map(|program| start(program, &tally, until)).unzip();
    let mut troubles = Troubles::new(Random::new(plan.seed), plan.timeout);
    troubles.make(&mut stage.server, &stage.link, until);
    // From here on everything works.
    let deadline = Instant::now() + END_MAX;
    let mut hung = Vec::new();
    let mut ledgers = Vec::new();
    for (name, end) in running.into_iter().zip(ends) {
        match end.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(ledger) => ledgers.push(ledger),
            Err(_) => hung.push(format!("{name} did not do its work within {END_MAX:?} in which nothing failed")),
        }
    }
    let mut waits = watch.end();
    let vm_hwm_kib = stage.mount.vm_hwm_kib();
    let (mut wrong, mut lost) = (Vec::new(), Vec::new());
    for ledger in ledgers {
        ledger.compare(&stage.disk, &mut wrong, &mut lost);
        wrong.extend(Program::check_commits(&stage.disk, &ledger, &tally));
    }
    wrong.extend(tally.wrong());
    let (reader, umount) = match hung.is_empty() {
        true => stage.umount_with_a_dead_link(),
        false => (Duration::MAX, (Duration::MAX, Duration::MAX)),
    };
    hung.extend(tally.hung());
    let tally = Arc::into_inner(tally).unwrap_or_default();
    let of_programs = waits.iter().map(|wait| (wait.took(), wait.name.clone()));
    let longest = of_programs.chain([tally.longest()]).max().unwrap_or_default();
    waits.extend(tally.waits());
    let still = stillness::longest(&waits, troubles.still());
    let log = stage.log_of(still.as_ref());
    let troubles = troubles.counts();
    Figures { plan, troubles, tally, longest, still, wrong, lost, hung, umount, reader, vm_hwm_kib, log }
}

/// Runs `program` again and again on a thread of its own, and at the end, when nothing fails any more, until it went well; its
/// name, and where its ledger comes at the end.
fn start(
    mut program: Program,
    tally: &Arc<Tally>,
    until: Instant,
) -> (String, std::sync::mpsc::Receiver<ledger::Ledger>) {
    let (sender, end) = std::sync::mpsc::channel();
    let (name, tally) = (program.name.clone(), Arc::clone(tally));
    thread::spawn(move || {
        while Instant::now() < until || !program.well {
            program.round(&tally);
        }
        let _ = sender.send(program.ledger);
    });
    (name, end)
}

/// A server with an empty disk at the far end of a link, mounted.
struct Stage {
    mount: Mount,
    server: Server,
    link: Arc<Link>,
    disk: PathBuf,
    local: PathBuf,
}

impl Stage {
    fn set(plan: Plan) -> Self {
        let around = run_directory();
        let (disk, local) = (around.join("served"), around.join("local"));
        for directory in [&disk, &local] {
            fs::create_dir(directory).expect("the directory is ours");
        }
        let quality = Quality { rate: Some(100_000_000), ..Quality::delayed(Duration::from_millis(10)) };
        let link = Arc::new(Link::new(quality));
        let server = Server::start(Spec::new(plan.kind, &disk).behind(&link));
        fs::write(disk.join("big"), crate::support::tree::big_content(0, programs::BIG_BYTES))
            .expect("the disk takes it");
        let owned = Command::new("chown").args(["-R", USER]).arg(&disk).status();
        assert!(owned.expect("chown starts").success());
        let timeout = format!("timeout={}", plan.timeout.as_secs());
        let log = format!("log={}", around.join(LOG).display());
        let mount = Mount::new(&server, &["rw", &timeout, "ignore_perms", "log_level=debug", &log]);
        Self { mount, server, link, disk, local }
    }

    /// What the program logged, with times: while that call waited, and at last.
    fn log_of(&self, still: Option<&Still>) -> String {
        let log = self.disk.with_file_name(LOG);
        let log = String::from_utf8_lossy(&fs::read(log).expect("the program made it")).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        let waited = still.into_iter().flat_map(|still| still.lines_of(&log));
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        waited.chain(["…"]).chain(last.iter().copied()).collect::<Vec<_>>().join("\n")
    }

    /// Somebody reads, the link goes dead, the reader is killed, and umount(8) is asked.
    fn umount_with_a_dead_link(&mut self) -> (Duration, (Duration, Duration)) {
        let mut reader = Command::new("cat");
        reader.arg(self.mount.path("big")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut reader = reader.spawn().expect("cat starts");
        thread::sleep(Duration::from_millis(300));
        self.link.cut();
        thread::sleep(Duration::from_millis(300));
        let killed = Instant::now();
        let _ = reader.kill();
        while matches!(reader.try_wait(), Ok(None)) && killed.elapsed() < UMOUNT_MAX {
            thread::sleep(Duration::from_millis(10));
        }
        let gone = killed.elapsed();
        let begun = Instant::now();
        // A program that another one starts holds our open files for a moment, between fork and exec.
        while !finish(within(UMOUNT_MAX, "umount").arg(&self.mount.point)).stderr.is_empty() {
            if begun.elapsed() > UMOUNT_MAX {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let took = if is_mounted(&self.mount.point) { Duration::MAX } else { begun.elapsed() };
        if took == Duration::MAX {
            end_by_force(&self.mount.point, self.mount.pid());
        }
        let _ = reader.wait();
        while self.mount.lives() && begun.elapsed() < UMOUNT_MAX {
            thread::sleep(Duration::from_millis(10));
        }
        let lived = if self.mount.lives() { Duration::MAX } else { begun.elapsed() };
        self.link.mend();
        (gone, (took, lived))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !thread::panicking()
            && let Some(around) = self.disk.parent()
        {
            let _ = fs::remove_dir_all(around);
        }
    }
}

impl Figures {
    /// What breaks a promise; nothing, if all is well.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = [&self.wrong[..], &self.lost, &self.hung].concat();
        let (umount, lived) = self.umount;
        for (what, took, promised) in [
            // Until then the mount is in use, which a time that begins later does not show.
            ("a killed reader was gone", self.reader, self.plan.timeout + MARGIN),
            ("umount under a dead link was done", umount, UMOUNT_PROMISED),
            ("the program had ended under a dead link", lived, UMOUNT_PROMISED),
        ] {
            if took > promised {
                broken.push(format!("{what} after {took:.1?} and not within {promised:?}"));
            }
        }
        if self.vm_hwm_kib > VM_HWM_MAX_KIB {
            broken.push(format!("VmHWM {} KiB", self.vm_hwm_kib));
        }
        // Who looks sees somebody wait: all programs are at work when the first fault comes, which lasts longer.
        match &self.still {
            Some(still) if still.share > self.plan.timeout + MARGIN => {
                broken.push(format!("a call waited too long while nothing moved: {still}"));
            }
            Some(still) if still.share >= self.plan.timeout / 2 => {}
            still => broken.push(format!("nobody waited for long while nothing moved: {still:?}")),
        }
        // The time begins anew with every byte that moves, and one fault follows the other. What is promised then is ten times
        // the time limit for reading and listing, and nothing for what stores; but a file here is small and moves in a fraction
        // of a second, so that hardly any call sees more than two faults.
        if self.longest.0 > 3 * self.plan.timeout {
            broken.push(format!("{} took {:.1?}", self.longest.1, self.longest.0));
        }
        broken.extend(self.tally.never(&DONE_ONCE).iter().map(|what| format!("{what} was never done well")));
        // Less than that is not long enough for each.
        let kinds = if self.plan.duration < LONG { &[][..] } else { &KINDS };
        let came = |kind: &str| self.troubles.iter().any(|(name, _)| *name == kind);
        broken.extend(kinds.iter().filter(|kind| !came(kind)).map(|kind| format!("there were no {kind}")));
        broken
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { kind, duration, seed, timeout } = self.plan;
        let injected: usize = self.troubles.iter().map(|(_, count)| count).sum();
        let kinds: Vec<String> = self.troubles.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "{kind:?}, seed {seed}, timeout={}, {} s", timeout.as_secs(), duration.as_secs())?;
        writeln!(f, "faults injected                {injected} ({})", kinds.join(", "))?;
        writeln!(f, "operations done                {}", self.tally)?;
        writeln!(f, "longest call                   {:.1} s ({})", self.longest.0.as_secs_f64(), self.longest.1)?;
        let still = self.still.as_ref().map_or_else(|| "nobody waited".to_owned(), ToString::to_string);
        writeln!(f, "longest while nothing moved    {still}")?;
        writeln!(f, "hashes wrong                   {}", self.wrong.len())?;
        writeln!(f, "acknowledged writes lost       {}", self.lost.len())?;
        writeln!(f, "hung processes                 {}", self.hung.len())?;
        let (umount, lived) = (self.umount.0.as_secs_f64(), self.umount.1.as_secs_f64());
        writeln!(f, "umount under a dead link       {umount:.2} s; the program ended after {lived:.2} s")?;
        writeln!(f, "a killed reader was gone after {:.2} s", self.reader.as_secs_f64())?;
        writeln!(f, "VmHWM                          {:.0} MiB", self.vm_hwm_kib as f64 / 1024.0)
    }
}

/// What the file holds: its length and a checksum.
fn digest(path: &Path) -> std::io::Result<u64> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(digest_of(&content))
}

/// FNV-1a, of eight bytes at a time: nobody forges anything here.
fn digest_of(content: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let words = content.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    step(words.fold(0xcbf2_9ce4_8422_2325, step), content.len() as u64)
}

/// Writes what is the same for the same seed.
fn write_random(path: &Path, bytes: usize, random: &mut Random) -> std::io::Result<()> {
    File::create(path)?.write_all(&random.bytes(bytes))
}

/// The program's log with times, beside what the server serves.
const LOG: &str = "timed-log";

/// So many of its lines are shown in any case.
const LAST_LINES: usize = 100;

/// From here on a run has seen everything that can fail.
const LONG: Duration = Duration::from_secs(600);

/// How long programs may go on once everything works again.
const END_MAX: Duration = Duration::from_secs(180);

/// How long umount is waited for.
const UMOUNT_MAX: Duration = Duration::from_secs(60);

/// How long it may take, and the end of the program after it began (docs/semantics.md).
const UMOUNT_PROMISED: Duration = Duration::from_secs(2);

/// How much longer than `timeout=` a call may take (docs/semantics.md).
const MARGIN: Duration = Duration::from_secs(1);

/// The memory of the mount: `cache_size=` is 32 MiB, what is read ahead and what waits to be stored has limits of its own.
const VM_HWM_MAX_KIB: u64 = 128 << 10;
