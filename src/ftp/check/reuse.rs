//! Which TLS sessions the server takes on a data connection.

use crate::ftp::check::data::{Line, Offer};
use crate::ftp::check::facts::{End, Handshake, Reuse, Trial, Version};
use crate::ftp::command::Command;
use crate::ftp::control::{Control, Witness};
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::settings::Settings;
use crate::ftp::tls::{Sessions, Tls};
use std::sync::Arc;

/// Tries `version` alone. Control connections are opened one after the other: some servers allow one.
pub(super) fn try_version(settings: &Settings, version: Version, directory: Option<&[u8]>) -> Reuse {
    let mut reuse = Reuse {
        version,
        unknown: false,
        tickets: 0,
        handshake: None,
        not_tried: None,
        own: Vec::new(),
        without: None,
        others: None,
    };
    if let Err(error) = fill(&mut reuse, settings, directory) {
        reuse.unknown = match &error {
            Error::Insecure { why, .. } => why.contains("no version of TLS"),
            // Some just hang up on a ClientHello that they cannot answer.
            Error::Tls { .. } => reuse.handshake.is_none(),
            _ => false,
        };
        reuse.not_tried = Some(error.to_string());
    }
    reuse
}

fn fill(reuse: &mut Reuse, settings: &Settings, directory: Option<&[u8]>) -> Result<(), Error> {
    let tls = Tls::new(&Settings { versions: reuse.version.alone(), ..settings.clone() })?;
    let counters = Arc::new(Counters::default());
    let mut witness = Witness::default();
    let seen = Control::witnessed(settings, &tls, &counters, &mut witness);
    reuse.handshake = Handshake::of(&witness);
    let mut first = match seen {
        Err(Error::Busy { .. } | Error::Tls { .. }) => Line::open(settings, &tls, &counters)?,
        other => Line::over(other?, &tls, settings, &counters)?,
    };
    let sessions = try_own(&mut first, reuse, directory)?;
    // A server that refuses hangs up at times: each of the others has a control connection of its own.
    let mut second = line_in(settings, &tls, &counters, directory)?;
    reuse.without = Some(second.list(&Offer::Nothing)?);
    second.control.quit();
    if sessions.can_resume() {
        let mut third = line_in(settings, &tls, &counters, directory)?;
        reuse.others = Some(third.list(&Offer::Others(sessions))?);
        third.control.quit();
    }
    Ok(())
}

/// Twice in a row: a single ticket serves once. Gives the sessions of a control connection that is gone.
fn try_own(line: &mut Line<'_>, reuse: &mut Reuse, directory: Option<&[u8]>) -> Result<Arc<Sessions>, Error> {
    enter(line, directory)?;
    for _ in 0..OWN_TRIALS {
        let trial = line.list(&Offer::Own);
        let is_good = matches!(&trial, Ok(trial) if trial.is_accepted());
        match trial {
            Ok(trial) => reuse.own.push(trial),
            Err(_) if !reuse.own.is_empty() => break,
            Err(error) => return Err(error),
        }
        if !is_good {
            break;
        }
    }
    reuse.tickets = line.control.tickets_received();
    line.control.ready_to_resume();
    Ok(Arc::clone(line.control.sessions()))
}

fn line_in<'a>(
    settings: &'a Settings,
    tls: &'a Tls,
    counters: &Arc<Counters>,
    directory: Option<&[u8]>,
) -> Result<Line<'a>, Error> {
    let mut line = Line::open(settings, tls, counters)?;
    enter(&mut line, directory)?;
    Ok(line)
}

fn enter(line: &mut Line<'_>, directory: Option<&[u8]>) -> Result<(), Error> {
    if let Some(directory) = directory {
        // Where the login lands there may be something to list as well.
        let _ = line.control.exchange(&Command::Cwd(directory))?;
    }
    Ok(())
}

impl Trial {
    /// Whether all came.
    pub fn is_accepted(&self) -> bool {
        self.end == End::Accepted
    }

    /// Whether the server refused the session.
    pub fn refusal(&self) -> Option<&str> {
        match &self.end {
            End::Refused(words) => Some(words),
            _ => None,
        }
    }
}

impl Reuse {
    /// Whether a data connection without a session was refused.
    pub fn is_required(&self) -> bool {
        self.without.as_ref().is_some_and(|trial| trial.refusal().is_some())
    }

    /// Whether the control connection's own session was resumed, every time.
    pub fn is_honoured(&self) -> bool {
        !self.own.is_empty() && self.own.iter().all(|trial| trial.resumed == Some(true) && trial.is_accepted())
    }
}

const OWN_TRIALS: usize = 2;
