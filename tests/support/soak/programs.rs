//! Who uses the mount: readers and writers of single files, and the programs of every day.

use super::ledger::{Content, Ledger};
use super::tally::Tally;
use super::{digest, digest_of, write_random};
use crate::support::random::Random;
use crate::support::run::{Ran, finish, within};
use crate::support::tree::big_content;
use nix::libc::O_DIRECT;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// One of them; it does the same again and again.
pub(super) struct Program {
    pub(super) name: String,
    /// What it was told, with paths as seen from the mount.
    pub(super) ledger: Ledger,
    mount: PathBuf,
    local: PathBuf,
    random: Random,
    /// How many commits failed.
    failed: usize,
    /// Whether rsync, tar or git went well from beginning to end the last time.
    pub(super) well: bool,
    work: Work,
}

/// What a program does once.
type Work = fn(&mut Program, &Tally);

/// All of them, each with a directory of its own.
pub(super) fn all(mount: &Path, local: &Path, seed: u64) -> Vec<Program> {
    let works: [(&str, Work); 7] = [
        ("writer-1", Program::write),
        ("writer-2", Program::write),
        ("reader-1", Program::read),
        ("reader-2", Program::read),
        ("rsync", Program::rsync),
        ("git", Program::git),
        ("tar", Program::tar),
    ];
    works
        .into_iter()
        .zip(1..)
        .map(|((name, work), number)| {
            fs::create_dir_all(mount.join(name)).expect("nothing fails yet");
            let local = local.join(name);
            fs::create_dir_all(&local).expect("the directory is ours");
            let random = Random::new(seed ^ (number << 32));
            Program {
                name: name.to_owned(),
                ledger: Ledger::default(),
                mount: mount.to_owned(),
                local,
                random,
                failed: 0,
                well: false,
                work,
            }
        })
        .collect()
}

impl Program {
    /// Does its work once more.
    pub(super) fn round(&mut self, tally: &Tally) {
        self.well = true;
        (self.work)(self, tally);
    }

    /// Writes one file, reads one, renames or deletes one.
    fn write(&mut self, tally: &Tally) {
        let name = self.any_file();
        match self.random.below(10) {
            0..6 => self.write_file(&name, tally),
            6..8 => self.read_back(&name, tally),
            8 => {
                let other = self.any_file();
                self.rename(&name, &other, tally);
            }
            _ => self.delete(&name, tally),
        }
    }

    fn any_file(&mut self) -> String {
        format!("{}/file-{:02}", self.name, self.random.below(24))
    }

    fn write_file(&mut self, name: &str, tally: &Tally) {
        let exponent = self.random.below(22);
        let bytes = 1 + self.random.below(1 << exponent) as usize;
        let content = self.random.bytes(bytes);
        let digest = Some(digest_of(&content));
        let (in_order, synced) = (self.random.below(5) > 0, self.random.below(3) == 0);
        match store(&self.mount.join(name), &content, in_order, synced, tally) {
            Ok(()) => self.ledger.acknowledged(name, digest),
            Err(error) => {
                // A file that is new is there from its opening on; of an old one the content stays until the new one is whole.
                if self.ledger.possible(name).contains(&None) {
                    self.ledger.unsure(name, Some(digest_of(b"")));
                }
                self.ledger.unsure(name, digest);
                rest_after(&error);
            }
        }
    }

    fn read_back(&mut self, name: &str, tally: &Tally) {
        let found = match read_whole(&self.mount.join(name), tally) {
            Ok(content) => content.map(|content| digest_of(&content)),
            Err(error) => return rest_after(&error),
        };
        let possible = self.ledger.possible(name);
        if !possible.contains(&found) {
            tally.note_wrong(format!("{name} was read as {found:x?} and not one of {possible:x?}"));
        }
    }

    fn rename(&mut self, name: &str, other: &str, tally: &Tally) {
        // Of a file of which it is not known what it holds, only more of that would come.
        let (known, [content]) = (self.ledger.possible(name), [self.certain(name)]);
        if name == other || known.len() != 1 || content.is_none() || self.ledger.possible(other).len() != 1 {
            return;
        }
        match tally.call("rename", || fs::rename(self.mount.join(name), self.mount.join(other))) {
            Ok(()) => {
                self.ledger.acknowledged(other, content);
                self.ledger.acknowledged(name, None);
            }
            Err(error) => {
                self.ledger.unsure(other, content);
                self.ledger.unsure(name, None);
                rest_after(&error);
            }
        }
    }

    fn certain(&self, name: &str) -> Content {
        self.ledger.possible(name).into_iter().next().flatten()
    }

    fn delete(&mut self, name: &str, tally: &Tally) {
        if self.ledger.possible(name).contains(&None) {
            return;
        }
        match tally.call("unlink", || fs::remove_file(self.mount.join(name))) {
            Ok(()) => self.ledger.acknowledged(name, None),
            Err(error) => {
                self.ledger.unsure(name, None);
                rest_after(&error);
            }
        }
    }

    /// Reads somewhere in a file that nobody changes.
    fn read(&mut self, tally: &Tally) {
        // Past the kernel's pages, which would soon hold all of it, half of the time.
        let flags = if self.random.below(2) == 0 { O_DIRECT } else { 0 };
        let open = || File::options().read(true).custom_flags(flags).open(self.mount.join("big"));
        let file = match tally.call("open", open) {
            Ok(file) => file,
            Err(error) => return rest_after(&error),
        };
        // What it holds is made of words of eight bytes.
        let mut offset = 8 * self.random.below(BIG_BYTES as u64 / 8);
        let mut block = vec![0; 8 * (1 + self.random.below(32 << 10) as usize)];
        for _ in 0..1 + self.random.below(30) {
            match tally.call("pread", || file.read_at(&mut block, offset)) {
                Ok(0) => break,
                Ok(count) if block[..count] == big_content(offset, count) => offset += count as u64,
                Ok(count) => return tally.note_wrong(format!("big: {count} bytes at {offset}")),
                Err(error) => return rest_after(&error),
            }
        }
        // What the kernel has costs nothing but this machine's time, which others need.
        thread::sleep(READER_PAUSE);
    }

    fn rsync(&mut self, tally: &Tally) {
        let source = self.local.join("tree");
        self.change_tree(&source, 40);
        let target = self.mount.join("rsync/tree");
        let ran = run(tally, "rsync -a --delete --no-perms --no-owner --no-group \"$1/\" \"$2\"", &[&source, &target]);
        self.settle("rsync", "rsync/tree", &source, &ran, tally);
    }

    fn tar(&mut self, tally: &Tally) {
        let source = self.local.join("tree");
        self.change_tree(&source, 30);
        let target = self.mount.join("tar/tree");
        let script =
            "mkdir -p \"$2\"; tar -C \"$1\" -cf - . | tar -C \"$2\" --no-same-permissions --no-same-owner -xf -";
        let ran = run(tally, script, &[&source, &target]);
        self.settle("tar", "tar/tree", &source, &ran, tally);
    }

    /// Commits. After an error it begins anew elsewhere: what git does with what it was refused is git's affair, what it was
    /// told is there has to stay.
    fn git(&mut self, tally: &Tally) {
        let place = self.mount.join("git").join(format!("repository-{:03}", self.failed));
        let script = r#"
            export HOME="$2" GIT_CONFIG_NOSYSTEM=1
            git config --global user.name Tester; git config --global user.email tester@example.org
            git config --global gc.auto 0; git config --global init.defaultBranch main
            git config --global --replace-all safe.directory '*'
            [ -e "$1/.git/refs/heads/main" ] || git init -q "$1"
            cd "$1"
            n=0; while [ $n -lt 12 ]; do echo "$RANDOM $n" > "file-$n.txt"; n=$((n + 1)); done
            git add -A; git commit -q -m "round" --allow-empty
            git rev-parse HEAD
        "#;
        let ran = run(tally, script, &[&place, &self.local]);
        tally.count("git commit", (ran.status != 0).then(|| format!("git: {}", last_line(&ran))));
        if ran.status != 0 {
            (self.failed, self.well) = (self.failed + 1, false);
            return thread::sleep(PAUSE);
        }
        let repository = format!("git/repository-{:03}", self.failed);
        self.ledger.committed(&repository, ran.stdout.trim());
        let ran =
            run(tally, "export HOME=\"$2\"; git -C \"$1\" fsck --full --no-dangling 2>&1", &[&place, &self.local]);
        self.well = ran.status == 0;
        tally.count("git fsck", (ran.status != 0).then(|| format!("git fsck: {}", last_line(&ran))));
    }

    /// What git itself says of the commits that it was told are there, and of all that it stored in those repositories: whether
    /// it complained before of what it saw or of what it could not see is told apart here.
    pub(super) fn check_commits(disk: &Path, ledger: &Ledger, tally: &Tally) -> Vec<String> {
        let script = r#"
            cd "$1"
            git -c safe.directory='*' fsck --full --no-dangling 2>&1
            git -c safe.directory='*' archive "$2" 2>&1 >/dev/null
        "#;
        let check = |(repository, commit): (&String, &String)| {
            let ran = run(tally, script, &[&disk.join(repository), Path::new(commit)]);
            (ran.status != 0).then(|| format!("commit {commit} of {repository}: {}", ran.stdout))
        };
        ledger.commits().filter_map(check).collect()
    }

    /// Some files of `tree` anew.
    fn change_tree(&mut self, tree: &Path, files: u64) {
        for number in 0..files {
            let directory = tree.join(format!("part-{}", number % 5));
            fs::create_dir_all(&directory).expect("the disk takes it");
            let path = directory.join(format!("file-{number:02}"));
            if !path.exists() || self.random.below(4) == 0 {
                let bytes = 1 + self.random.below(200_000) as usize;
                write_random(&path, bytes, &mut self.random).expect("the disk takes it");
            }
        }
    }

    /// A copy of `source` was made at `target`, or something of it.
    fn settle(&mut self, what: &'static str, target: &str, source: &Path, ran: &Ran, tally: &Tally) {
        tally.count(what, (ran.status != 0).then(|| format!("{what}: {}", last_line(ran))));
        for (path, content) in files(source) {
            let path = format!("{target}/{path}");
            match (ran.status, what) {
                (0, _) => self.ledger.acknowledged(&path, Some(content)),
                // It writes beside the file and renames.
                (_, "rsync") => self.ledger.unsure(&path, Some(content)),
                // It removes the file and writes a new one, which an error may cut off.
                _ => self.ledger.forget(&path),
            }
        }
        if ran.status != 0 {
            self.well = false;
            return thread::sleep(PAUSE);
        }
        let ran = run(tally, "diff -rq \"$1\" \"$2\"", &[source, &self.mount.join(target)]);
        if ran.status == 1 {
            tally.note_wrong(format!("{target} reads back as something else: {}", ran.stdout));
        }
        self.well = ran.status == 0;
        tally.count("diff -r", (ran.status != 0).then(|| format!("diff -r: {}", last_line(&ran))));
    }
}

/// What the file holds; `None` where there is none.
fn read_whole(path: &Path, tally: &Tally) -> io::Result<Option<Vec<u8>>> {
    let open = || match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    };
    let Some(mut file) = tally.call("open", open)? else { return Ok(None) };
    let (mut content, mut block) = (Vec::new(), vec![0; BLOCK]);
    loop {
        match tally.call("read", || file.read(&mut block))? {
            0 => return Ok(Some(content)),
            count => content.extend_from_slice(&block[..count]),
        }
    }
}

/// Writes, lets it be `synced` before the end or not, and closes; nobody else's opinion counts but that of fsync and close.
fn store(path: &Path, content: &[u8], in_order: bool, synced: bool, tally: &Tally) -> io::Result<()> {
    let file = tally.call("create", || File::create(path))?;
    let written = write(&file, content, in_order, tally);
    let stored = written.is_ok() && synced && tally.call("fsync", || file.sync_all()).is_ok();
    let closed = tally.call("close", || nix::unistd::close(file).map_err(io::Error::from));
    if stored { Ok(()) } else { written.and(closed) }
}

/// Block by block, the last one first where that is not `in_order`; each call is one block, or what was left of it.
fn write(file: &File, content: &[u8], in_order: bool, tally: &Tally) -> io::Result<()> {
    let (mut blocks, name): (Vec<_>, _) =
        (content.chunks(BLOCK).zip((0..).step_by(BLOCK)).collect(), if in_order { "write" } else { "pwrite" });
    if !in_order {
        blocks.reverse();
    }
    for (mut block, mut at) in blocks {
        while !block.is_empty() {
            let count = tally.call(name, || file.write_at(block, at))?;
            (block, at) = (&block[count..], at + count as u64);
        }
    }
    Ok(())
}

/// The files below `directory`, by their paths from there.
fn files(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("the directory is ours").flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("it lies there").to_str().expect("names are ASCII");
                found.push((name.to_owned(), digest(&path).expect("the file is ours")));
            }
        }
    }
    found
}

/// Runs a script, and notes it as hung where it had to be ended by force.
fn run(tally: &Tally, script: &str, arguments: &[&Path]) -> Ran {
    let mut command = within(PROGRAM_MAX, "bash");
    command.args(["-o", "pipefail", "-e", "-c", script, "bash"]).args(arguments);
    let ran = finish(&mut command);
    // What timeout(1) says of a program that it ended, by SIGTERM and by SIGKILL.
    if [124, 137].contains(&ran.status) {
        tally.note_hung(format!("after {PROGRAM_MAX:?} {arguments:?} was ended by force: {}", script.trim()));
    }
    ran
}

fn last_line(ran: &Ran) -> String {
    let line = ran.stderr.lines().chain(ran.stdout.lines()).next_back().unwrap_or_default();
    let reason = line.rsplit(": ").next().unwrap_or_default();
    format!("status {} {reason}", ran.status)
}

/// Whoever is told that nothing works does not ask a thousand times a second.
fn rest_after(_: &io::Error) {
    thread::sleep(PAUSE);
}

/// What has to have been done well at least once: else nothing of it was tried.
pub(super) const DONE_ONCE: [&str; 10] =
    ["write", "fsync", "pread", "rename", "unlink", "rsync", "diff -r", "tar", "git commit", "git fsck"];

/// The length of the file that is only read.
pub(super) const BIG_BYTES: usize = 64 << 20;

const BLOCK: usize = 100_000;

const READER_PAUSE: Duration = Duration::from_millis(20);

const PAUSE: Duration = Duration::from_millis(200);

/// Longer than any number of time limits that one program may run into.
const PROGRAM_MAX: Duration = Duration::from_secs(170);
