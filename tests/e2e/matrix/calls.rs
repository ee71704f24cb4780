//! A program that makes system calls in a mount and says how long each took.

use nix::errno::Errno;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The program; it ends with its value, unless it hangs in a call.
#[derive(Debug)]
pub(crate) struct Program {
    process: Child,
    said: Receiver<String>,
}

/// What became of a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// How it ended; `None` is well.
    pub(crate) errno: Option<Errno>,
    /// The longest call and its name.
    pub(crate) longest: (Duration, String),
    /// What `stat` told of the size, `names` of the count.
    pub(crate) number: Option<usize>,
    /// How many bytes `write` was told that are taken.
    pub(crate) taken: usize,
}

impl Program {
    pub(crate) fn start() -> Self {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", CALLS]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = python.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, said }
    }

    /// Begins `task`.
    pub(crate) fn begin(&mut self, task: &str, arguments: &[&Path]) {
        let words = [OsStr::new(task)].into_iter().chain(arguments.iter().map(|path| path.as_os_str()));
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        writeln!(self.process.stdin.as_mut().unwrap(), "{}", words.join("\t")).unwrap();
    }

    /// Waits until the task's first call of `name` came back, as long as a task may take; whether the task goes on.
    pub(crate) fn has_called(&self, name: &str, done: &mut Done, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while let Ok(line) = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            match done.hear(&line) {
                Heard::Call(called) if called == name => return true,
                Heard::End => return false,
                _ => {}
            }
        }
        panic!("no {name} within {limit:?}: {done:?}");
    }

    /// Whether the task goes on, as far as it has said by now.
    pub(crate) fn goes_on(&self, done: &mut Done) -> bool {
        self.said.try_iter().all(|line| done.hear(&line) != Heard::End)
    }

    /// Waits for the task's end; `None` if it does not come in time: then a call hangs.
    pub(crate) fn end(&self, mut done: Done, limit: Duration) -> Option<Done> {
        let deadline = Instant::now() + limit;
        loop {
            let line = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            if done.hear(&line) == Heard::End {
                return Some(done);
            }
        }
    }

    /// Does `task` from its beginning to its end.
    pub(crate) fn run(&mut self, task: &str, arguments: &[&Path], limit: Duration) -> Option<Done> {
        self.begin(task, arguments);
        self.end(Done::default(), limit)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        // A process that hangs in the file system ends with the mount, and this value lives longer than that one.
        let _ = self.process.wait();
    }
}

/// What a line tells.
#[derive(Debug, PartialEq)]
enum Heard {
    Call(String),
    End,
    Else,
}

impl Done {
    fn hear(&mut self, line: &str) -> Heard {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["call", name, seconds, _] => {
                let took = Duration::from_secs_f64(seconds.parse().unwrap());
                if took > self.longest.0 {
                    self.longest = (took, name.to_owned());
                }
                Heard::Call(name.to_owned())
            }
            ["done", number] => {
                let number: i32 = number.parse().unwrap();
                self.errno = (number != 0).then(|| Errno::from_raw(number));
                Heard::End
            }
            ["size" | "names", number] => {
                self.number = number.parse().ok();
                Heard::Else
            }
            ["taken", number] => {
                self.taken = number.parse().unwrap();
                Heard::Else
            }
            _ => panic!("{line:?} is nothing that the program says"),
        }
    }
}

const CALLS: &str = include_str!("calls.py");
