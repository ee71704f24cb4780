//! What goes wrong, and when.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A point in a session where a [`Fault`] can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Before the greeting; what is said stands in its place.
    Greeting,
    /// Between the reply to AUTH and the handshake; what is said goes out in clear with that reply.
    Handshake,
    /// When this command has come; what is said answers it.
    Command(&'static str),
    /// When any command has come.
    AnyCommand,
    /// When this command for a change has been obeyed; what is said stands in place of the reply.
    Reply(&'static str),
    /// Before the data connection is accepted.
    DataAccept,
    /// Before the 150; what is said stands in its place.
    Preliminary,
    /// Before the handshake of the data connection.
    DataHandshake,
    /// When so many bytes of the transfer were sent.
    Byte(u64),
    /// When half of the bytes were sent.
    Half,
    /// When all bytes but one were sent.
    LastByte,
    /// When so many bytes of an upload were taken.
    Stored(u64),
    /// When all bytes were sent, before close_notify.
    CloseNotify,
    /// Before the 226; what is said stands in its place.
    FinalReply,
}

/// What happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing more, until the server is dropped.
    Stall,
    /// TCP's end without TLS's close_notify: of the data connection from `DataAccept` to `CloseNotify`, else of the control
    /// connection.
    HangUp,
    /// The same with RST.
    Reset,
    /// These lines instead of the server's own.
    Say(String),
    /// These lines instead of the server's own, but only after this time.
    SayLate(Duration, String),
    /// Nothing in place of what the server would say.
    Silence,
    /// These bytes in clear on the encrypted connection, which then ends.
    Clear(String),
    /// ChangeCipherSpec records of TLS 1.3, of which each means nothing, one every few milliseconds until the client has enough.
    EmptyRecords,
    /// These lines, then [`Act::HangUp`] of the control connection.
    SayAndHangUp(String),
    /// Bytes without a line break, for ever.
    Endless,
    /// The same one by one, each after this time; in a reply, of its first line.
    Drip(Duration),
    /// The beginning of a reply to STAT, and lines of files for ever.
    EndlessLines,
    /// close_notify and TCP's end, as if the transfer were complete.
    End,
    /// Another client puts these files there; a directory where the name ends with a slash. Then [`Act::HangUp`].
    PutAndHangUp(Vec<(&'static str, &'static str)>),
}

/// An act at a step, so many times.
#[derive(Debug, Clone)]
pub struct Fault {
    step: Step,
    act: Act,
    skip: usize,
    times: usize,
}

impl Fault {
    /// `act` each time that `step` is reached.
    pub fn new(step: Step, act: Act) -> Self {
        Self { step, act, skip: 0, times: usize::MAX }
    }

    /// Says `lines` (CRLF is added) in place of what the server would say at `step`.
    pub fn say(step: Step, lines: impl Into<String>) -> Self {
        Self::new(step, Act::Say(lines.into()))
    }

    /// Only the first time.
    #[must_use]
    pub fn once(self) -> Self {
        Self { times: 1, ..self }
    }

    /// Not the first `count` times.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self { skip: count, ..self }
    }
}

/// The faults still to come.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Fault>>,
    struck: AtomicUsize,
}

impl Faults {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self { planned: Mutex::new(faults), struck: AtomicUsize::new(0) }
    }

    pub fn add(&self, fault: Fault) {
        self.planned.lock().unwrap().push(fault);
    }

    pub fn clear(&self) {
        self.planned.lock().unwrap().clear();
    }

    /// Counts that `step` was reached and says what happens.
    pub fn at(&self, step: Step) -> Option<Act> {
        self.take(|fault| fault.step == step).map(|(_, act)| act)
    }

    /// The same for a command.
    pub fn at_command(&self, verb: &str) -> Option<Act> {
        let strikes = |fault: &Fault| match fault.step {
            Step::Command(planned) => planned == verb,
            step => step == Step::AnyCommand,
        };
        self.take(strikes).map(|(_, act)| act)
    }

    /// The same for its reply.
    pub fn at_reply(&self, verb: &str) -> Option<Act> {
        self.take(|fault| matches!(fault.step, Step::Reply(planned) if planned == verb)).map(|(_, act)| act)
    }

    /// The fault that strikes during an upload, and after how many bytes.
    pub fn while_storing(&self) -> Option<(u64, Act)> {
        let position = |step| if let Step::Stored(count) = step { Some(count) } else { None };
        let (step, act) = self.take(|fault| position(fault.step).is_some())?;
        Some((position(step)?, act))
    }

    /// How often any struck.
    pub fn struck(&self) -> usize {
        self.struck.load(SeqCst)
    }

    /// The fault that strikes during a transfer of `length` bytes, and after how many of them.
    pub fn during(&self, length: u64) -> Option<(u64, Act)> {
        let position = |step| match step {
            Step::Byte(count) if count <= length => Some(count),
            Step::Half => Some(length / 2),
            Step::LastByte => Some(length.saturating_sub(1)),
            _ => None,
        };
        let (step, act) = self.take(|fault| position(fault.step).is_some())?;
        Some((position(step)?, act))
    }

    fn take(&self, matches: impl Fn(&Fault) -> bool) -> Option<(Step, Act)> {
        let mut struck = None;
        for fault in self.planned.lock().unwrap().iter_mut().filter(|fault| matches(fault)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && struck.is_none() {
                fault.times -= 1;
                self.struck.fetch_add(1, SeqCst);
                struck = Some((fault.step, fault.act.clone()));
            }
        }
        struck
    }
}
