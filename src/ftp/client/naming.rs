//! The end of an upload that gets another name: what must be known before it is renamed is asked along with its end, and what
//! the file is then along with the renaming.

use crate::ftp::client::change::Times;
use crate::ftp::client::kind::{refusal, translate};
use crate::ftp::client::look::{bare, is_pattern, told_by_facts, told_by_status, with_bare};
use crate::ftp::client::odd::is_doubtful;
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::pool::Lease;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::ftp::session::Session;
use crate::ftp::upload::Outgoing;
use crate::path::escaped;
use crate::remote::{self, ErrorKind, Metadata, Named, Naming};
use std::fmt;
use std::sync::Arc;

/// Ends `outgoing` and makes ready to rename it; `None` where that is to be done step by step.
pub(super) fn finish_for(outgoing: Outgoing, naming: &Naming) -> Result<Option<Named>, Error> {
    let server = Arc::clone(outgoing.server());
    let Some(way) = Way::of(&server) else { return outgoing.finish().map(|()| None) };
    let from = outgoing.pathname().to_vec();
    let to = match server.pathname(&naming.path) {
        Ok(to) if !is_doubtful(&server, &to) && way.can_tell(&to) => to,
        _ => return outgoing.finish().map(|()| None),
    };
    let times = naming.modified.and_then(|time| Times::new(&server, time)).zip(*server.time_way.lock());
    let mode = naming.mode.map(|mode| Command::SiteChmod(mode, &from));
    let time = times.as_ref().map(|(times, way)| times.command(*way, &from));
    let questions = if naming.is_new { way.is_there(&to) } else { way.questions(&to) };
    // Nothing may come between this one and what follows it.
    let commands =
        [mode.into_iter().collect(), time.into_iter().collect(), questions, vec![Command::Rnfr(&from)]].concat();
    if !Session::are_plain(&way.renaming(&to)) {
        return outgoing.finish().map(|()| None);
    }
    let Some((lease, replies)) = outgoing.finish_and_ask(&commands)? else { return Ok(None) };
    let mut answers = replies.iter();
    let mode_refused = mode.and_then(|command| answers.next()?.clone().completion(command.verb()).err());
    let has_time = time.is_some() && answers.next().is_some_and(|reply| reply.code.outcome() == Outcome::Completion);
    let found = way.found(&server, &to, naming.is_new, answers.as_slice());
    let ready = replies.last().is_some_and(|reply| reply.code.outcome() == Outcome::Intermediate);
    let (Some(found), true) = (found, ready) else {
        lease.give_back_unless_asked_for_more(&replies);
        return Ok(None);
    };
    let mode_refused = mode_refused.map(|error| {
        log::debug!("{}: its permission bits cannot be set: {error}", escaped(&from));
        translate(error).kind
    });
    let renaming = Box::new(Renaming { lease, server, way, to });
    Ok(Some(Named { found, mode_refused, has_time, renaming }))
}

/// How the server tells what a name is, in one flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `MLST` and `SIZE`.
    Facts,
    /// `SIZE`, `MDTM` and `STAT`.
    Status,
}

impl Way {
    /// `None` where only a listing tells.
    fn of(server: &Server) -> Option<Self> {
        let features = server.features()?;
        if server.ignores_case() {
            return None;
        }
        Some(if features.mlst.is_some() { Self::Facts } else { Self::Status })
    }

    fn can_tell(self, pathname: &[u8]) -> bool {
        self == Self::Facts || !is_pattern(pathname)
    }

    /// All that can be asked about a file.
    fn questions<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        match self {
            Self::Facts => vec![Command::Mlst(pathname), Command::Size(pathname)],
            Self::Status => vec![Command::Size(pathname), Command::Mdtm(pathname), Command::Stat(pathname)],
        }
    }

    /// What is answered by a refusal where nothing is there. `SIZE` refuses a directory as well: so will `RNTO`.
    fn is_there<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        match self {
            Self::Facts => vec![Command::Mlst(pathname)],
            Self::Status => vec![Command::Size(pathname)],
        }
    }

    fn renaming<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        [vec![Command::Rnto(pathname)], self.questions(pathname)].concat()
    }

    /// What the answers tell of the name that is to be taken; `None` where they do not tell all that matters.
    #[expect(clippy::option_option, reason = "not told, nothing there, or something")]
    fn found(self, server: &Server, pathname: &[u8], is_new: bool, answers: &[Reply]) -> Option<Option<Metadata>> {
        let first = answers.first()?;
        if is_absence(first) && (is_new || self == Self::Facts) {
            return Some(None);
        }
        // Against expectation something is there: that is worth a closer look.
        if is_new { None } else { self.told(server, pathname, answers).map(Some) }
    }

    /// What the answers to all questions tell of a file.
    fn told(self, server: &Server, pathname: &[u8], answers: &[Reply]) -> Option<Metadata> {
        match (self, answers) {
            (Self::Facts, [facts, size, ..]) => told_by_facts(facts.clone(), size).ok().flatten(),
            (Self::Status, [size, modified, status, ..]) => {
                let bare = bare(server, size, modified)?;
                Some(with_bare(told_by_status(server, pathname, status)?, Some(bare)))
            }
            _ => None,
        }
    }
}

/// Whether a question about a name was refused as it is where nothing is there.
fn is_absence(reply: &Reply) -> bool {
    let is_refused = matches!(reply.code.outcome(), Outcome::TransientNegative | Outcome::PermanentNegative);
    is_refused && matches!(refusal(reply), ErrorKind::NotFound | ErrorKind::Unavailable)
}

/// A session that expects `RNTO`.
struct Renaming {
    lease: Lease,
    server: Arc<Server>,
    way: Way,
    to: Vec<u8>,
}

impl remote::Renaming for Renaming {
    fn rename(mut self: Box<Self>) -> Result<Option<Metadata>, remote::Error> {
        let replies = match self.lease.flight(&self.way.renaming(&self.to)) {
            Ok(replies) => replies,
            Err(error) => {
                self.lease.give_back_unless_broken(&error);
                return Err(translate(error));
            }
        };
        self.lease.give_back();
        let (renamed, told) = replies.split_first().expect("a reply to each command, of which there are some");
        renamed.clone().completion("RNTO").map_err(translate)?;
        Ok(self.way.told(&self.server, &self.to, told))
    }
}

impl fmt::Debug for Renaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renaming({})", escaped(&self.to))
    }
}
