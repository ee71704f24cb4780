//! Changes: what is done once, whatever the network does in between.

use crate::ftp::client::Client;
use crate::ftp::client::kind::refusal;
use crate::ftp::client::odd::is_doubtful;
use crate::ftp::client::uncertain::Verdict;
use crate::ftp::client::way::Way;
use crate::ftp::command::{Command, PATH_BYTES_MAX, Unsendable};
use crate::ftp::error::{Error, Expect};
use crate::ftp::pool::Lease;
use crate::ftp::reply::Reply;
use crate::ftp::server::{Server, TimeWay};
use crate::ftp::session::{Care, Session};
use crate::ftp::time::to_time_val;
use crate::path::RemotePath;
use crate::remote::{Alteration, ErrorKind, Metadata, Seen};
use std::time::SystemTime;

impl Client {
    /// `MKD`.
    pub(super) fn make_directory(&self, path: &RemotePath) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        self.check_new_name(&pathname)?;
        self.check_spelling(path, None)?;
        let began = SystemTime::now();
        self.change("MKD", |session| complete(session, &Command::Mkd(&pathname)), || self.was_made(path, began))
            .map_err(|error| match error {
                // ProFTPD says `550 …: Invalid argument` to what its system does not take.
                Error::Refused { reply, .. }
                    if pathname.len() >= PATH_BYTES_MAX && refusal(&reply) == ErrorKind::Unavailable =>
                {
                    Error::Unsendable { why: Unsendable::TooLong }
                }
                other => other,
            })
    }

    /// `RMD`. A refusal without a reason is looked into: hidden files are the usual one.
    pub(super) fn delete_directory(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        let removed =
            self.change("RMD", |session| complete(session, &Command::Rmd(&pathname)), || self.was_removed(path, seen));
        match removed {
            Err(Error::Refused { verb, reply })
                if matches!(refusal(&reply), ErrorKind::Unavailable | ErrorKind::Refused) =>
            {
                match self.count_entries(path) {
                    Ok(entries @ 1..) => Err(Error::NotEmpty { entries }),
                    _ => Err(Error::Refused { verb, reply }),
                }
            }
            other => other,
        }
    }

    /// `DELE`.
    pub(super) fn delete_file(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        self.change("DELE", |session| complete(session, &Command::Dele(&pathname)), || self.was_removed(path, seen))
    }

    /// `RNFR` and `RNTO`.
    pub(super) fn move_to(&self, from: &RemotePath, to: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let (old, new) = (self.server.pathname(from)?, self.server.pathname(to)?);
        self.check_new_name(&new)?;
        self.check_spelling(to, Some(from))?;
        self.change("RNTO", |session| session.rename(&old, &new), || self.was_moved(from, to, seen))
    }

    /// `MFMT`, or `MDTM` with two arguments, or `SITE UTIME`: the first that works, then always that.
    pub(super) fn touch(&self, path: &RemotePath, time: SystemTime) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        let unsupported = || Error::Unsupported { what: "set a file's time" };
        let times = Times::new(&self.server, time).ok_or_else(unsupported)?;
        self.pool.with_session(|session| {
            let mut refused = None;
            for way in self.time_ways(session) {
                match complete(session, &times.command(way, &pathname)) {
                    Ok(()) => {
                        *self.server.time_way.lock() = Some(way);
                        return Ok(());
                    }
                    Err(Error::Refused { verb, reply }) => refused = Some((verb, reply)),
                    Err(error) => return Err(error),
                }
            }
            Err(refused.map_or_else(unsupported, |(verb, reply)| self.refused_time(verb, reply)))
        })
    }

    /// What it means that a time could not be set: without `MFMT` a 550 may only mean that the server looked for a file of that
    /// long name.
    fn refused_time(&self, verb: &'static str, reply: Reply) -> Error {
        match self.server.features().is_some_and(|features| features.mfmt) {
            true => Error::Refused { verb, reply },
            false => Error::Unsupported { what: "set a file's time" },
        }
    }

    /// `SITE CHMOD`.
    pub(super) fn change_mode(&self, path: &RemotePath, mode: u16) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        self.pool.with_session(|session| complete(session, &Command::SiteChmod(mode, &pathname)))
    }

    /// One of the last two, of a file, and what it is then in the same flight.
    pub(super) fn alter_file(&self, path: &RemotePath, alteration: Alteration) -> Result<Option<Metadata>, Error> {
        let pathname = self.server.pathname(path)?;
        let step_by_step = || match alteration {
            Alteration::Modified(time) => self.touch(path, time).map(|()| None),
            Alteration::Mode(mode) => self.change_mode(path, mode).map(|()| None),
        };
        let known_way = *self.server.time_way.lock();
        let times = match alteration {
            Alteration::Modified(time) => Times::new(&self.server, time).zip(known_way),
            Alteration::Mode(_) => None,
        };
        let command = match (&times, alteration) {
            (Some((times, way)), _) => times.command(*way, &pathname),
            (None, Alteration::Mode(mode)) => Command::SiteChmod(mode, &pathname),
            (None, Alteration::Modified(_)) => return step_by_step(),
        };
        let Some(way) = Way::of(&self.server).filter(|way| way.can_tell(&pathname)) else { return step_by_step() };
        let commands = [vec![command], way.questions(&pathname)].concat();
        if is_doubtful(&self.server, &pathname) || !Session::are_plain(&commands) {
            return step_by_step();
        }
        let replies = self.pool.with_session(|session| session.flight(&commands))?;
        let (done, told) = replies.split_first().expect("a reply to each command, of which there are some");
        match done.clone().completion(command.verb()) {
            Ok(_) => Ok(way.told(&self.server, &pathname, told)),
            Err(Error::Refused { verb, reply }) if times.is_some() => Err(self.refused_time(verb, reply)),
            Err(error) => Err(error),
        }
    }

    /// `SITE SYMLINK`, where `FEAT` lists it.
    pub(super) fn make_symlink(&self, path: &RemotePath, target: &[u8]) -> Result<(), Error> {
        let pathname = self.server.pathname(path)?;
        self.check_new_name(&pathname)?;
        self.check_spelling(path, None)?;
        let shown = target;
        let target = &*self.server.to_server(target)?;
        let sendable = !target.contains(&b' ') && !pathname.contains(&b' ');
        let link = |session: &mut Session| {
            if !session.features().site_symlink || !sendable {
                return Err(Error::Unsupported { what: "create this symbolic link" });
            }
            // The server resolves a relative target from where the session is.
            if let Some(parent) = path.parent() {
                session.change_directory(&self.server.pathname(&parent)?)?;
            }
            complete(session, &Command::SiteSymlink(target, &pathname))
        };
        self.change("SITE", link, || self.was_linked(path, shown))
    }

    /// Does `work` once. Where the connection broke after `verb` had left and before its reply came, `look` tells whether the
    /// server did it; only if not, it is asked again.
    fn change(
        &self,
        verb: &'static str,
        mut work: impl FnMut(&mut Session) -> Result<(), Error>,
        look: impl Fn() -> Result<Verdict, Error>,
    ) -> Result<(), Error> {
        let (mut attempts, mut is_in_question) = (ATTEMPTS_MAX, false);
        loop {
            attempts -= 1;
            let mut lease: Lease = self.pool.take_for(Care::Change)?;
            let error = match work(&mut lease) {
                Ok(()) => {
                    lease.give_back();
                    return Ok(());
                }
                Err(error) => error,
            };
            let is_lost = error.another_connection_may_help();
            // With a 421 the server says that it did nothing.
            let may_be_done = is_lost && lease.has_sent(verb) && !matches!(error, Error::Refused { .. });
            lease.give_back_unless_broken(&error);
            if is_lost {
                self.server.counters.retried.up();
                self.pool.forget_idle();
            }
            // A command that was in question may have been done only now, so that its repetition is refused.
            is_in_question |= may_be_done;
            if is_in_question && (is_lost || matches!(error, Error::Refused { .. })) {
                log::debug!("looking whether {verb} was done: {error}");
                match look()? {
                    Verdict::Done => return Ok(()),
                    Verdict::Taken => return Err(Error::Taken { verb }),
                    Verdict::Uncertain(found) if is_lost => return Err(Error::Uncertain { verb, found }),
                    Verdict::NotDone | Verdict::Uncertain(_) => {}
                }
            }
            if !is_lost || attempts == 0 {
                return Err(error);
            }
        }
    }

    fn time_ways(&self, session: &Session) -> Vec<TimeWay> {
        if let Some(way) = *self.server.time_way.lock() {
            return vec![way];
        }
        let features = session.features();
        let offered = [
            (TimeWay::Mfmt, features.mfmt),
            (TimeWay::SiteUtime, features.site_utime),
            (TimeWay::Mdtm, features.mdtm && !features.mfmt),
        ];
        offered.into_iter().filter(|(_, offered)| *offered).map(|(way, _)| way).collect()
    }
}

/// A time in the words of the commands that set it.
pub(super) struct Times {
    universal: String,
    local: String,
}

impl Times {
    /// `None` where no command can say it.
    pub(super) fn new(server: &Server, time: SystemTime) -> Option<Self> {
        let local = to_time_val(server.clock.to_say_to_mdtm(time, SystemTime::now()))?;
        Some(Self { universal: to_time_val(time)?, local })
    }

    pub(super) fn command<'a>(&'a self, way: TimeWay, pathname: &'a [u8]) -> Command<'a> {
        match way {
            TimeWay::Mfmt => Command::Mfmt(&self.universal, pathname),
            TimeWay::Mdtm => Command::MdtmSet(&self.local, pathname),
            TimeWay::SiteUtime => Command::SiteUtime(&self.universal, pathname),
        }
    }
}

fn complete(session: &mut Session, command: &Command<'_>) -> Result<(), Error> {
    session.exchange(command)?.completion(command.verb()).map(drop)
}

/// As many as a request that may simply be repeated gets.
const ATTEMPTS_MAX: usize = 3;
