//! Several commands in one round trip, where the server is known to answer in order; else one after the other.

use crate::ftp::command::Command;
use crate::ftp::data::DataConnection;
use crate::ftp::error::{Error, Expect};
use crate::ftp::order::Order;
use crate::ftp::reply::Reply;
use crate::ftp::session::reach::{IAC, LINE_BYTES_SAFE};
use crate::ftp::session::{Session, TOGETHER_BYTES_MAX, Taken};
use std::time::Duration;

/// How an upload ended, and what the server answered to what was asked along with its end.
#[derive(Debug)]
pub struct Ended {
    /// As [`Session::finish_upload`] says it.
    pub verdict: Result<Taken, Error>,
    /// One for each command; none where the connection was lost after the verdict.
    pub replies: Vec<Reply>,
}

impl Session {
    /// Whether `commands` can be sent as they are: short lines, and nothing in them that a server may read in two ways.
    pub fn are_plain(commands: &[Command<'_>]) -> bool {
        let has_iac = |command: &Command<'_>| command.pathname().is_some_and(|pathname| pathname.contains(&IAC));
        commands.iter().all(|command| command.line_bytes() <= LINE_BYTES_SAFE && !has_iac(command))
    }

    /// Sends `commands`, which are plain and need no data connection, and waits for the reply to each.
    ///
    /// # Errors
    ///
    /// The connection's failures; a negative reply is not one.
    pub fn flight(&mut self, commands: &[Command<'_>]) -> Result<Vec<Reply>, Error> {
        self.settle()?;
        if !self.server.order().is_kept() || !fit_together(commands) {
            return commands.iter().map(|command| self.once(command)).collect();
        }
        self.control.send(commands)?;
        commands.iter().map(|command| self.reply_to(command)).collect()
    }

    /// As [`Session::finish_upload`], and asks `commands`, which must be harmless whatever became of the upload. Where the
    /// server answers them after the transfer, they do not wait for its last reply.
    ///
    /// # Errors
    ///
    /// The connection's failures, and what the server says where nothing was asked.
    pub fn finish_upload_and_ask(
        &mut self,
        data: DataConnection,
        sent: u64,
        commands: &[Command<'_>],
    ) -> Result<Ended, Error> {
        if self.server.order() != Order::KeptInTransfers || !fit_together(commands) {
            let taken = self.finish_upload(data, sent)?;
            return Ok(Ended { verdict: Ok(taken), replies: self.unless_lost(|session| session.flight(commands)) });
        }
        self.control.send(commands)?;
        let verdict = self.finish_upload(data, sent);
        match verdict {
            // Refusals of a command that came too early, not of what was uploaded.
            Err(Error::Refused { verb, reply }) if matches!(reply.code.number(), 500 | 503) => {
                return Err(self.out_of_order(verb, &reply));
            }
            // What comes now can be the reply to any of them.
            Err(error) if error.closes_connection() => {
                self.control.give_up();
                return Err(error);
            }
            _ => {}
        }
        let replies = self.unless_lost(|session| commands.iter().map(|command| session.reply_to(command)).collect());
        Ok(Ended { verdict, replies })
    }

    /// How long a round trip takes, where it pays to ask another session about an upload that was ended on this one: vsftpd has
    /// all of a file that came in one flight a moment before it says so, which it does a round trip later, when it has seen that
    /// we got its `close_notify`.
    pub fn is_told_late(&self, sent: u64) -> Option<Duration> {
        let trip = self.transfer.as_ref().map(|running| running.trip)?;
        let fits = (1..=FLIGHT_BYTES_MAX).contains(&sent) && trip >= TRIP_MIN;
        (fits && self.server.order() == Order::KeptInTransfers).then_some(trip)
    }

    /// What `heard` gives; nothing where that fails, and then the session is of no more use.
    fn unless_lost(&mut self, heard: impl FnOnce(&mut Self) -> Result<Vec<Reply>, Error>) -> Vec<Reply> {
        heard(self).unwrap_or_else(|error| {
            log::debug!("after the end of an upload: {error}");
            self.control.give_up();
            Vec::new()
        })
    }

    /// The reply to a command that was sent.
    pub(super) fn reply_to(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let reply = self.control.reply(command.verb())?;
        self.unless_leaving(command.verb(), reply)
    }

    /// Renames (`RNFR`, `RNTO`, RFC 959 section 4.1.3): in one round trip where the server keeps the order, and refuses
    /// `RNTO` after a refused `RNFR`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the verb that was.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        self.settle()?;
        let (from, to) = self.reach_both(from, to)?;
        let commands = [Command::Rnfr(&from), Command::Rnto(&to)];
        let [first, second] = if self.server.order().is_kept() && fit_together(&commands) {
            self.control.send(&commands)?;
            // The server's goodbye answers both.
            let first = self.reply_to(&commands[0])?;
            [first, self.reply_to(&commands[1])?]
        } else {
            let first = self.once(&commands[0])?.intermediate("RNFR")?;
            [first, self.once(&commands[1])?]
        };
        first.intermediate("RNFR")?;
        second.completion("RNTO").map(drop)
    }
}

/// What leaves at once on a new connection, whose window is 10 segments (RFC 6928), with something to spare.
const FLIGHT_BYTES_MAX: u64 = 12 * 1024;
/// Below that another session costs more than it saves.
const TRIP_MIN: Duration = Duration::from_millis(5);

fn fit_together(commands: &[Command<'_>]) -> bool {
    commands.iter().map(Command::line_bytes).sum::<usize>() <= TOGETHER_BYTES_MAX
}
