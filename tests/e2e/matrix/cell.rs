//! One cell: a program in the middle of something, a fault, and what became of it.

use super::calls::{Done, Program};
use crate::status::document;
use crate::support::mountpoint::{Mount, end_by_force};
use crate::support::tree::big_content;
use crate::writer::kept;
use nix::errno::Errno;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// What a program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Nothing; then it asks for a file's attributes.
    Stat,
    /// A listing.
    List,
    /// A sequential read.
    Read,
    /// An upload over an old file.
    Upload,
    /// A rename and a deletion.
    Change,
}

pub(crate) const OPERATIONS: [Operation; 5] =
    [Operation::Stat, Operation::List, Operation::Read, Operation::Upload, Operation::Change];

/// What a fault must be to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// An error in time, or none.
    InTime,
    /// An error in time: what the program is doing cannot be done without what fails.
    Told,
    /// Nothing but time.
    Unnoticed,
}

/// Where cells happen: a mount of a server whose content can be seen.
pub(crate) trait Place {
    /// The mount's `timeout=`.
    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    /// The mount.
    fn mount(&self) -> &Mount;

    /// What the file holds on the server.
    fn content(&self, path: &str) -> Option<Vec<u8>>;

    /// The names in a directory on the server.
    fn names(&self, path: &str) -> Vec<String>;

    /// How long the files are.
    fn bytes(&self) -> usize;

    /// How many names `list` has.
    fn listed(&self) -> usize;

    /// How many bytes have come from the server, where a listing is long enough to be in the middle of it.
    fn fetched(&self) -> u64;
}

/// Something that happens to a place, and its end.
pub(crate) struct Fault<'a, P> {
    /// As the table names it.
    pub(crate) name: String,
    pub(crate) expected: Expected,
    /// Whether it strikes before the operation begins, whatever that is.
    pub(crate) comes_first: bool,
    pub(crate) strike: &'a dyn Fn(&mut P),
    /// Comes when it has lasted so long, which the operation must outlast, or else when the operation has ended.
    pub(crate) lasts: Option<Duration>,
    pub(crate) mend: &'a dyn Fn(&mut P),
    /// How often it struck, where that is known.
    pub(crate) struck: &'a dyn Fn(&P) -> Option<usize>,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Cell {
    place: String,
    fault: String,
    operation: Operation,
    outcome: Option<Done>,
    /// How long after the fault's end the next operation worked.
    back: Duration,
    /// What is wrong.
    pub(crate) complaints: Vec<String>,
}

/// The files of one cell, in a directory of their own. `number` makes their content.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) number: u64,
}

impl Room {
    pub(crate) fn new(name: &str, number: usize) -> Self {
        Self { name: format!("{name}-{number}"), number: number as u64 }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// What each file holds at first.
    pub(crate) fn files(&self, bytes: usize) -> Vec<(String, Vec<u8>)> {
        let content = |seed: usize, bytes: usize| big_content((self.number * 8 + seed as u64) << 24, bytes);
        ["stat", "read", "upload", "old", "gone"]
            .into_iter()
            .zip(0..)
            .map(|(name, seed)| (self.path(name), content(seed, if name == "read" { bytes } else { 1000 + seed })))
            .collect()
    }

    fn file(&self, name: &str, bytes: usize) -> Vec<u8> {
        self.files(bytes).into_iter().find(|(path, _)| *path == self.path(name)).unwrap().1
    }

    /// What `upload` is to hold afterwards.
    fn upload(&self, bytes: usize) -> Vec<u8> {
        big_content((self.number * 8 + 7) << 24, bytes)
    }
}

/// What a mount has when nothing happens in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    threads: u64,
    descriptors: usize,
}

/// Works in `room` once without any fault, and waits until the mount rests.
pub(crate) fn warm_up<P: Place>(place: &P, program: &mut Program, room: &Room) -> Rest {
    let mut complaints = Vec::new();
    after(place, program, room, &mut complaints);
    assert!(complaints.is_empty(), "without any fault: {complaints:?}\n{}", place.mount().log());
    eventually(|| nothing_lent(place.mount())).unwrap_or_else(|why| panic!("without any fault: {why}"));
    let (mount, connections) = (place.mount(), document(&place.mount().point).server.connections);
    // Of two connections the other one may come later, and each may have a data connection that was opened early or has been
    // used up; there is no more than that.
    let (more, cold) = (connections.limit - connections.idle, connections.idle);
    Rest { threads: mount.threads(), descriptors: mount.descriptors() + 2 * more + cold }
}

/// Lets `fault` strike in the middle of `operation` in `room`; `next` is for what comes afterwards.
pub(crate) fn cell<P: Place>(
    place: &mut P,
    program: &mut Program,
    name: &str,
    operation: Operation,
    fault: &Fault<'_, P>,
    [room, next]: [&Room; 2],
    rest: Rest,
) -> Cell {
    let mut cell = Cell {
        place: name.to_owned(),
        fault: fault.name.clone(),
        operation,
        outcome: None,
        back: Duration::ZERO,
        complaints: Vec::new(),
    };
    let struck = (fault.struck)(place).unwrap_or_default();
    let work =
        Work { operation, room, kept: place.mount().beside("read").join(&room.name), source: source(place, room) };
    let (mut done, begins_later) = work.begin(place, program, fault.comes_first);
    let begun = Instant::now();
    (fault.strike)(place);
    if begins_later {
        work.start(place.mount(), program);
    }
    let mut goes_on = true;
    if let Some(lasts) = fault.lasts {
        thread::sleep(lasts.saturating_sub(begun.elapsed()));
        goes_on = program.goes_on(&mut done);
        if !goes_on {
            cell.complaints.push("it ended before the fault did".to_owned());
        }
        (fault.mend)(place);
    }
    let ended = if goes_on { program.end(done, HUNG) } else { Some(done) };
    // The end of an answer is not what a program waits for.
    let strikes = || match (fault.struck)(place) {
        Some(times) if times == struck => Err("the fault did not strike".to_owned()),
        _ => Ok(()),
    };
    cell.complaints.extend(eventually(strikes).err());
    if fault.lasts.is_none() {
        (fault.mend)(place);
    }
    let Some(done) = ended else {
        cell.complaints.push(format!("a call hangs for more than {HUNG:?}: {}", last_lines(&place.mount().log())));
        end_by_force(&place.mount().point, place.mount().pid());
        return cell;
    };
    cell.judge(fault.expected, &done, place.timeout());
    cell.outcome = Some(done.clone());
    if let Err(why) = work.check(place, &done) {
        cell.complaints.push(why);
    }
    cell.back = after(place, program, next, &mut cell.complaints);
    cell.complaints.extend(eventually(|| nothing_lent(place.mount())).err());
    // Threads without work go after ten seconds, for which only the end of a row waits.
    cell.complaints.extend(at_rest(place.mount(), Rest { threads: u64::MAX, ..rest }, DESCRIPTORS_MAX));
    if !cell.complaints.is_empty() {
        cell.complaints.push(format!("the log ends: {}", last_lines(&place.mount().log())));
    }
    cell
}

/// Every place of the pool is given back, nobody waits for one, and there are no more connections than there may be.
fn nothing_lent(mount: &Mount) -> Result<(), String> {
    let connections = document(&mount.point).server.connections;
    if (connections.lent, connections.waiting) == (0, 0) && connections.idle <= connections.configured {
        return Ok(());
    }
    Err(format!("nobody asks for anything: {connections:?}"))
}

/// What the mount has too much of, if it does not come to rest within `limit`.
pub(crate) fn at_rest(mount: &Mount, rest: Rest, limit: Duration) -> Option<String> {
    let deadline = Instant::now() + limit;
    loop {
        let (threads, descriptors) = (mount.threads(), mount.descriptors());
        if threads <= rest.threads && descriptors <= rest.descriptors {
            return None;
        }
        if Instant::now() > deadline {
            let connections = document(&mount.point).server.connections;
            return Some(format!(
                "after {limit:?} {threads} threads and {descriptors} descriptors instead of {rest:?}: {connections:?}"
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A cell that says what is wrong of a whole row.
pub(crate) fn whole_row(place: &str, fault: &str, complaint: String) -> Cell {
    Cell {
        place: place.to_owned(),
        fault: fault.to_owned(),
        operation: Operation::Stat,
        outcome: None,
        back: Duration::ZERO,
        complaints: vec![complaint],
    }
}

struct Work<'a> {
    operation: Operation,
    room: &'a Room,
    /// Where what is read goes.
    kept: PathBuf,
    /// What is uploaded.
    source: PathBuf,
}

impl Work<'_> {
    /// Brings the program into the middle of the operation, or up to it where it is too short for that, or `comes_first`;
    /// whether it still has to be started.
    fn begin<P: Place>(&self, place: &P, program: &mut Program, comes_first: bool) -> (Done, bool) {
        let mount = place.mount();
        let mut done = Done::default();
        // So that no answer is needed for the way there.
        for name in match self.operation {
            Operation::Stat => vec![""],
            Operation::List => vec!["list"],
            Operation::Read => vec!["read"],
            Operation::Upload => vec!["upload"],
            Operation::Change => vec!["old", "gone"],
        } {
            let known = program.run("stat", &[&mount.path(&self.room.path(name))], HUNG).expect("nothing is wrong yet");
            assert_eq!(known.errno, None, "before any fault: {}", mount.log());
        }
        if comes_first || matches!(self.operation, Operation::Stat | Operation::Change) {
            return (done, true);
        }
        let fetched = place.fetched();
        self.start(mount, program);
        match self.operation {
            Operation::Read => drop(program.has_called("read", &mut done, HUNG)),
            Operation::Upload => drop(program.has_called("write", &mut done, HUNG)),
            // On its way.
            _ => {
                let deadline = Instant::now() + HUNG;
                while place.fetched() < fetched + OPENED {
                    assert!(Instant::now() < deadline, "no listing comes: {}", mount.log());
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        (done, false)
    }

    fn start(&self, mount: &Mount, program: &mut Program) {
        let path = |name: &str| mount.path(&self.room.path(name));
        match self.operation {
            Operation::Stat => program.begin("stat", &[&path("stat")]),
            Operation::List => program.begin("names", &[&path("list")]),
            Operation::Read => program.begin("read", &[&path("read"), &self.kept]),
            Operation::Upload => program.begin("write", &[&path("upload"), &self.source]),
            Operation::Change => program.begin("change", &[&path("old"), &path("new"), &path("gone")]),
        }
    }

    /// Whether everything is as it must be after `done`.
    fn check<P: Place>(&self, place: &P, done: &Done) -> Result<(), String> {
        let (room, bytes) = (self.room, place.bytes());
        let well = done.errno.is_none();
        match self.operation {
            Operation::Stat => same("the size", done.number, well.then(|| room.file("stat", bytes).len())),
            Operation::List => same("the names", done.number, well.then(|| place.listed())),
            Operation::Read => {
                let read = fs::read(&self.kept).unwrap_or_default();
                let content = room.file("read", bytes);
                let right = if well { read == content } else { content.starts_with(&read) };
                right.then_some(()).ok_or_else(|| format!("{} bytes were read and are not right", read.len()))
            }
            Operation::Upload => self.check_upload(place, done),
            Operation::Change => eventually(|| self.check_change(place, well)),
        }
    }

    fn check_upload<P: Place>(&self, place: &P, done: &Done) -> Result<(), String> {
        let (room, bytes) = (self.room, place.bytes());
        let (path, new) = (room.path("upload"), room.upload(bytes));
        let there = place.content(&path);
        if done.errno.is_none() {
            return if there.as_ref() == Some(&new) { Ok(()) } else { Err(wrong(&path, there)) };
        }
        if there.as_ref().is_none_or(|there| *there != new && *there != room.file("upload", bytes)) {
            return Err(format!("neither the old file nor the new one: {}", wrong(&path, there)));
        }
        if done.taken == 0 {
            return Ok(());
        }
        eventually(|| {
            let beside = place.names(&room.name);
            let beside: Vec<_> = beside.iter().filter_map(|name| place.content(&room.path(name))).collect();
            kept(place.mount(), &beside, "upload", &new, done.taken)
        })
    }

    /// Each file is there once, with its bytes, and the mount shows what is there.
    fn check_change<P: Place>(&self, place: &P, well: bool) -> Result<(), String> {
        let room = self.room;
        let on_server = |name: &str| place.content(&room.path(name));
        let (old, new, gone) = (on_server("old"), on_server("new"), on_server("gone"));
        let shown = |name: &str| fs::symlink_metadata(place.mount().path(&room.path(name))).is_ok();
        let contents = [room.file("old", place.bytes()), room.file("gone", place.bytes())];
        renamed_and_removed([&old, &new, &gone].map(Option::as_deref), contents, well)?;
        for (name, there) in [("old", old), ("new", new), ("gone", gone)] {
            if shown(name) != there.is_some() {
                return Err(format!("{name} is shown: {}, is there: {}", shown(name), there.is_some()));
            }
        }
        Ok(())
    }
}

/// Whether what was renamed is there once, under the old name or the new one, and what was to be removed not at all or as it
/// was; and that all of it was done, where the program was told so.
fn renamed_and_removed(found: [Option<&[u8]>; 3], contents: [Vec<u8>; 2], well: bool) -> Result<(), String> {
    let ([old, new, gone], [renamed, removed]) = (found, contents);
    let lengths = || format!("{:?} bytes", found.map(|bytes| bytes.map(<[u8]>::len)));
    if !matches!((old, new), (Some(there), None) | (None, Some(there)) if there == renamed) {
        return Err(format!("the file that was renamed is not there once with its bytes: {}", lengths()));
    }
    if gone.is_some_and(|there| there != removed) {
        return Err(format!("the file that was to be removed holds something else: {}", lengths()));
    }
    if well && (old.is_some() || gone.is_some()) {
        return Err(format!("what was acknowledged was not done: {}", lengths()));
    }
    Ok(())
}

/// Does one of everything in `room`, which must work; how long after the start the first did.
fn after<P: Place>(place: &P, program: &mut Program, room: &Room, complaints: &mut Vec<String>) -> Duration {
    let begun = Instant::now();
    let bytes = place.bytes();
    let path = |name: &str| place.mount().path(&room.path(name));
    let mut looks = program.run("stat", &[&path("stat")], HUNG);
    while looks.as_ref().is_some_and(|done| done.errno.is_some()) && begun.elapsed() < BACK_MAX {
        thread::sleep(Duration::from_millis(100));
        looks = program.run("stat", &[&path("stat")], HUNG);
    }
    let back = begun.elapsed();
    let kept = place.mount().beside("read").join(&room.name);
    let source = source(place, room);
    let tasks: [(&str, Vec<PathBuf>); 4] = [
        ("names", vec![path("list")]),
        ("read", vec![path("read"), kept.clone()]),
        ("write", vec![path("upload"), source]),
        ("change", vec![path("old"), path("new"), path("gone")]),
    ];
    let mut went_well = |what: &str, done: &Option<Done>| {
        let well = done.as_ref().is_some_and(|done| done.errno.is_none());
        if !well {
            complaints.push(format!("afterwards {what}: {done:?}"));
        }
        well
    };
    if !went_well("stat", &looks) {
        return back;
    }
    let mut listed = None;
    for (task, paths) in tasks {
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let done = program.run(task, &paths, HUNG);
        if !went_well(task, &done) {
            return back;
        }
        listed = listed.or_else(|| done.and_then(|done| done.number));
    }
    if listed != Some(place.listed()) {
        complaints.push(format!("afterwards {listed:?} names were listed"));
    }
    if fs::read(kept).ok() != Some(room.file("read", bytes)) {
        complaints.push("afterwards other bytes were read".to_owned());
    }
    if place.content(&room.path("upload")) != Some(room.upload(bytes)) {
        complaints.push("afterwards other bytes were written".to_owned());
    }
    if place.content(&room.path("new")) != Some(room.file("old", bytes)) || place.content(&room.path("gone")).is_some()
    {
        complaints.push("afterwards something was not renamed or deleted".to_owned());
    }
    back
}

fn source<P: Place>(place: &P, room: &Room) -> PathBuf {
    let path = place.mount().beside("source").join(&room.name);
    fs::write(&path, room.upload(place.bytes())).unwrap();
    path
}

impl Cell {
    /// Whether nothing can follow.
    pub(crate) fn hung(&self) -> bool {
        self.outcome.is_none()
    }

    fn judge(&mut self, expected: Expected, done: &Done, timeout: Duration) {
        let (longest, name) = &done.longest;
        if *longest > timeout + MARGIN {
            self.complaints.push(format!("{name} took {longest:.1?}"));
        }
        match done.errno {
            None if expected == Expected::Told => self.complaints.push("the program was told nothing".to_owned()),
            Some(errno) if expected == Expected::Unnoticed => {
                self.complaints.push(format!("the program saw {errno:?}"))
            }
            Some(errno) if !TRUE_ERRORS.contains(&errno) => self.complaints.push(format!("{errno:?} is no true error")),
            _ => {}
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, fault, operation, back, .. } = self;
        let outcome = match &self.outcome {
            None => "hung".to_owned(),
            Some(Done { errno: None, .. }) => "well".to_owned(),
            Some(Done { errno: Some(errno), .. }) => format!("{errno:?}"),
        };
        let (longest, name) = self.outcome.as_ref().map_or_else(Default::default, |done| done.longest.clone());
        let verdict = if self.complaints.is_empty() { "ok".to_owned() } else { self.complaints.join("; ") };
        let operation = format!("{operation:?}");
        let (longest, back) = (longest.as_secs_f64(), back.as_secs_f64());
        write!(
            f,
            "{place:<22} {fault:<28} {operation:<7} {outcome:<12} {longest:5.2} s {name:<7} back {back:5.2} s  {verdict}"
        )
    }
}

fn same(what: &str, found: Option<usize>, expected: Option<usize>) -> Result<(), String> {
    if expected.is_none() || found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}")) }
}

fn wrong(path: &str, there: Option<Vec<u8>>) -> String {
    format!("{path} has {:?} bytes on the server, not those", there.map(|bytes| bytes.len()))
}

/// A server that was stopped goes on with what it had been told, and the mount learns of it when it looks again.
fn eventually(check: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

/// The usual `timeout=` of the mounts.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// As `-o`; what is known of files is looked at again soon, so that it is seen what the mount believes.
pub(crate) const OPTIONS: [&str; 4] = ["timeout=2", "attr_timeout=1", "dir_timeout=1", "prefetch=off"];

/// How much longer than the time limit a call may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);

/// What comes before the first byte of a listing, as bytes from the server: replies and a handshake.
const OPENED: u64 = 16 << 10;

/// A call that takes longer hangs.
const HUNG: Duration = Duration::from_secs(30);

/// How long after a fault everything must work again.
const BACK_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to do what it was told before.
const SETTLE_MAX: Duration = Duration::from_secs(6);

/// How long connections that are of no use may stay open.
const DESCRIPTORS_MAX: Duration = Duration::from_secs(6);

/// How long threads without work may stay.
pub(crate) const THREADS_MAX: Duration = Duration::from_secs(20);

/// What a program may be told of a server that cannot be reached.
pub(crate) const TRUE_ERRORS: [Errno; 3] = [Errno::ETIMEDOUT, Errno::EIO, Errno::EHOSTDOWN];

/// The renamed file could hold anything under its new name.
#[test]
fn a_cell_of_changes_is_right_in_three_ways_only() {
    let right = |old: &str, new: &str, gone: &str, well: bool| {
        let there = [old, new, gone].map(|content| (!content.is_empty()).then_some(content.as_bytes()));
        renamed_and_removed(there, [b"old".to_vec(), b"gone".to_vec()], well).is_ok()
    };
    // old, new, gone; whether that may be found after an error, and where both were acknowledged.
    for (old, new, gone, after_an_error, when_done) in [
        ("old", "", "gone", true, false),
        ("", "old", "gone", true, false),
        ("", "old", "", true, true),
        ("old", "", "", true, false),
        ("", "olb", "", false, false),
        ("olb", "", "gone", false, false),
        ("", "old", "gonf", false, false),
        ("old", "old", "gone", false, false),
        ("old", "olb", "gone", false, false),
        ("", "", "gone", false, false),
        ("", "", "", false, false),
    ] {
        assert_eq!(right(old, new, gone, false), after_an_error, "{old:?} {new:?} {gone:?} after an error");
        assert_eq!(right(old, new, gone, true), when_done, "{old:?} {new:?} {gone:?} when done");
    }
}
