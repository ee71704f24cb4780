//! The end of an upload that gets another name: what must be known before it is renamed is asked along with its end, and what
//! the file is then along with the renaming.

use crate::ftp::client::change::Times;
use crate::ftp::client::kind::translate;
use crate::ftp::client::odd::is_doubtful;
use crate::ftp::client::way::Way;
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::pool::Lease;
use crate::ftp::reply::Outcome;
use crate::ftp::server::Server;
use crate::ftp::session::Session;
use crate::ftp::upload::{Answers, End, Outgoing};
use crate::path::escaped;
use crate::remote::{self, Metadata, Named, Naming};
use std::fmt;
use std::sync::Arc;

/// Ends `outgoing` and makes ready to rename it; `None` where that is to be done step by step.
pub(super) fn finish_for(outgoing: Outgoing, naming: &Naming) -> Result<Option<Named>, Error> {
    let server = Arc::clone(outgoing.server());
    let Some(way) = Way::of(&server) else { return outgoing.finish().map(|()| None) };
    let from = outgoing.pathname();
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
    let Some(Answers { lease, replies, end }) = outgoing.finish_and_ask(&commands)? else { return Ok(None) };
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
    let renaming = Box::new(Renaming { lease, server, way, to, end });
    Ok(Some(Named { found, mode_refused, has_time, renaming }))
}

/// A session that expects `RNTO`.
struct Renaming {
    lease: Lease,
    server: Arc<Server>,
    way: Way,
    to: Vec<u8>,
    /// Of the upload, where that was not waited for.
    end: Option<End>,
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
        drop(self.end);
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
