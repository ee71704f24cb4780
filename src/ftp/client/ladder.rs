//! The ladder: a directory is listed by the best way that this server is known to master, and where that fails by the
//! next. What was learnt is kept for the mount (`ftp::rungs`) and logged once.

use crate::ftp::client::kind::refusal;
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::listing::Listing;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::rungs::Rung;
use crate::ftp::server::Server;
use crate::ftp::session::{Session, size_of};
use crate::ftp::time;
use crate::path::{Name, escaped};
use crate::remote::{Entry, ErrorKind, FileKind, Metadata};
use std::time::SystemTime;

/// A directory that is being listed.
#[derive(Debug)]
pub(super) struct Descent<'a> {
    server: &'a Server,
    session: &'a mut Session,
    pathname: &'a [u8],
    now: SystemTime,
    /// The session is in the directory.
    is_inside: bool,
    /// What failed, the best rung first.
    failed: Vec<(Rung, Error)>,
    /// `LIST -a` was accepted and said nothing, not even that there is a directory.
    was_mute: bool,
}

impl<'a> Descent<'a> {
    pub(super) fn new(server: &'a Server, session: &'a mut Session, pathname: &'a [u8], now: SystemTime) -> Self {
        Self { server, session, pathname, now, is_inside: false, failed: Vec::new(), was_mute: false }
    }

    /// Lists by the first of `rungs` that is left and does it.
    ///
    /// # Errors
    ///
    /// What the best of them met; at once, where another would meet the same: the directory is missing or closed, or the
    /// connection failed.
    pub(super) fn list(mut self, rungs: &[Rung]) -> Result<(Rung, Listing), Error> {
        for &rung in rungs {
            if !self.server.rungs.is_left(rung) || !rung.is_offered(self.session.features()) {
                continue;
            }
            match self.list_by(rung) {
                Ok(Some(listing)) => {
                    self.remember(rung, &listing);
                    return Ok((rung, listing));
                }
                Ok(None) => {}
                Err(error) if leads_on(rung, &error) => {
                    let level = match error {
                        Error::ListingNotUnderstood { .. } => log::Level::Warn,
                        _ => log::Level::Debug,
                    };
                    log::log!(level, "{} by {rung}: {error}", escaped(self.pathname));
                    self.failed.push((rung, error));
                }
                Err(error) => return Err(error),
            }
        }
        let pathname = escaped(self.pathname).to_string();
        Err(self.failed.into_iter().next().map_or(Error::Unreadable { pathname }, |(_, error)| error))
    }

    /// `None` where the answer says nothing that can be relied on.
    fn list_by(&mut self, rung: Rung) -> Result<Option<Listing>, Error> {
        let in_one_reply = rung == Rung::Status && !self.is_inside && self.server.status.is_first();
        if rung != Rung::Facts && !in_one_reply {
            self.enter()?;
        }
        let listing = match rung {
            Rung::Status if in_one_reply => match self.session.list_in_one_reply(self.pathname, self.now)? {
                Some(listing) => listing,
                None => return Ok(None),
            },
            Rung::Facts => self.session.list(&Command::Mlsd(self.pathname), self.now)?,
            Rung::ListAll => self.session.list(&Command::ListAll, self.now)?,
            Rung::List => empty_if_said(self.session.list(&Command::List(b""), self.now))?,
            Rung::Status => self.status()?,
            Rung::Names => self.names()?,
        };
        if listing.is_gibberish() || listing.hides_all() && self.has_met_gibberish() {
            let (lines, sample) = (listing.not_understood, listing.sample.unwrap_or_default());
            self.server.counters.lines_not_understood.add(lines as u64);
            return Err(Error::ListingNotUnderstood { lines, sample });
        }
        if rung != Rung::Facts && listing.is_mute() { self.judge_mute(rung, listing) } else { Ok(Some(listing)) }
    }

    /// From inside, as an argument would be globbed or taken for an option by some servers (a directory called `-d` or
    /// `[ab]`), and as vsftpd and Pure-FTPd list a missing directory as an empty one.
    fn enter(&mut self) -> Result<(), Error> {
        if !self.is_inside {
            self.session.change_directory(self.pathname)?;
            self.is_inside = true;
        }
        Ok(())
    }

    /// An answer without a line: the directory is empty, or it may not be read (vsftpd, ProFTPD and Pure-FTPd say `226` to
    /// that as well), or the server took `-a` for a name.
    fn judge_mute(&mut self, rung: Rung, listing: Listing) -> Result<Option<Listing>, Error> {
        let unreadable = || Error::Unreadable { pathname: escaped(self.pathname).to_string() };
        match rung {
            Rung::ListAll if self.server.shows_dot.is_set() => Err(unreadable()),
            Rung::ListAll => {
                self.was_mute = true;
                Ok(None)
            }
            // The lines that came in another way and were not understood were of something.
            _ if self.has_met_gibberish() => Ok(None),
            Rung::Status => Ok(None),
            // ls(1) shows a directory that may be read with `-a`.
            _ if self.was_mute && self.is_unix()? => Err(unreadable()),
            _ => Ok(Some(listing)),
        }
    }

    fn has_met_gibberish(&self) -> bool {
        self.failed.iter().any(|(_, error)| matches!(error, Error::ListingNotUnderstood { .. }))
    }

    fn is_unix(&mut self) -> Result<bool, Error> {
        let text = self.session.exchange(&Command::Syst)?.text().to_lowercase();
        Ok(text.starts_with("unix") && !text.contains("emulated"))
    }

    /// `STAT`, which would take a pathname like any other command: the directory is entered all the same, for its odd names.
    fn status(&mut self) -> Result<Listing, Error> {
        match self.session.list_by_status(b"-a .", self.now) {
            Err(Error::Refused { .. }) => self.session.list_by_status(b".", self.now),
            Ok(listing) if listing.is_mute() => self.session.list_by_status(b".", self.now),
            told => told,
        }
    }

    fn names(&mut self) -> Result<Listing, Error> {
        let mut listing = match self.session.list(&Command::Nlst(b"-a"), self.now) {
            Ok(listing) if !listing.is_mute() => listing,
            Err(error) if !leads_on(Rung::Names, &error) => return Err(error),
            _ => empty_if_said(self.session.list(&Command::Nlst(b""), self.now))?,
        };
        if listing.entries.len() > NAMES_MAX {
            return Err(Error::TooManyNames { names: listing.entries.len() });
        }
        for entry in &mut listing.entries {
            self.ask(entry)?;
        }
        Ok(listing)
    }

    /// What has a size is a file, and what can be entered a directory. Anything else stays a file of unknown size, which is
    /// shown and cannot be opened.
    fn ask(&mut self, Entry { name, metadata }: &mut Entry) -> Result<(), Error> {
        let pathname = below(self.pathname, name);
        let (size, modified) = self.session.exchange_both(&Command::Size(&pathname), &Command::Mdtm(&pathname))?;
        if let Some(size) = size_of(&size) {
            let modified = mdtm(&modified).map(|said| self.server.clock.said_by_mdtm(said, self.now));
            *metadata = Metadata { size: Some(size), modified, ..metadata.clone() };
        } else if self.session.exchange(&Command::Cwd(&pathname))?.completion("CWD").is_ok() {
            metadata.kind = FileKind::Directory;
        }
        Ok(())
    }

    /// Learns from a listing that `rung` gave after others had failed.
    fn remember(&self, rung: Rung, listing: &Listing) {
        if listing.is_mute() {
            return;
        }
        self.server.rungs.worked(rung);
        if rung == Rung::ListAll && listing.saw_dot {
            self.server.shows_dot.set();
        }
        let took_option_for_name = self.was_mute && rung == Rung::List;
        if took_option_for_name && self.server.rungs.failed(Rung::ListAll, true) {
            log::info!("LIST -a shows nothing of what LIST shows: using LIST from now on");
        }
        for (better, error) in &self.failed {
            let is_refused = matches!(error, Error::Refused { reply, .. } if refuses_rung(*better, reply));
            let is_cut = matches!(error, Error::ListingCut { .. });
            if !is_cut && self.server.rungs.failed(*better, is_refused) {
                log::info!("{better} does not work here ({error}): using {rung} from now on");
            }
        }
    }
}

/// The server's pathname of a name that it listed in `directory`.
pub(super) fn below(directory: &[u8], name: &Name) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name.as_bytes()].concat()
}

/// The time in a `213` to `MDTM` (RFC 3659 section 3).
pub(super) fn mdtm(reply: &Reply) -> Option<crate::remote::Modified> {
    let line = reply.lines.first().filter(|_| reply.code.number() == 213)?;
    time::time_val(line.trim_ascii())
}

/// Whether another way may list the directory.
fn leads_on(rung: Rung, error: &Error) -> bool {
    match error {
        // It speaks of the directory.
        Error::Refused { verb: "CWD", .. } => false,
        Error::Refused { reply, .. } if rung == Rung::Facts => {
            matches!(refusal(reply), ErrorKind::Unavailable | ErrorKind::Unsupported | ErrorKind::Refused)
        }
        // The directory was entered, so that the reply speaks of the command or of its option.
        Error::Refused { reply, .. } => refusal(reply) != ErrorKind::Lost,
        Error::ListingNotUnderstood { .. } => true,
        // A way that tells more of each name is not cut later than one that tells less.
        Error::ListingCut { .. } => rung == Rung::Facts,
        _ => false,
    }
}

/// Whether `rung` need never be tried again. RFC 959 section 4.2.2: `500`, `502` and `504` speak of the command, not of the
/// file. (`501` does as well, but pyftpdlib says it of a missing directory.) Of `LIST -a` every permanent refusal does, once
/// `LIST` was accepted: pyftpdlib and FileZilla Server look for a file called `-a`.
fn refuses_rung(rung: Rung, reply: &Reply) -> bool {
    match rung {
        Rung::ListAll => reply.code.outcome() == Outcome::PermanentNegative,
        _ => matches!(reply.code.number(), 500 | 502 | 504),
    }
}

/// Some servers refuse to list a directory without entries, in words like `550 No files found.`
fn empty_if_said(listing: Result<Listing, Error>) -> Result<Listing, Error> {
    match listing {
        Err(Error::Refused { reply, .. }) if says_empty(&reply) => Ok(Listing::default()),
        other => other,
    }
}

fn says_empty(reply: &Reply) -> bool {
    let text = reply.text().to_lowercase();
    let phrases = ["no files found", "no file found", "no data sets found", "no members found", "directory is empty"];
    matches!(reply.code.number(), 450 | 550) && phrases.iter().any(|phrase| text.contains(phrase))
}

/// So many names are asked about one by one to list a directory, and no more: each costs a round trip or two.
const NAMES_MAX: usize = 1_000;
