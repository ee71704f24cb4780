//! Questions: what a directory holds, and what a path is.

use crate::ftp::client::Client;
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::listing::{self, Listing};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::session::{Session, size_of};
use crate::ftp::time;
use crate::path::{Name, RemotePath};
use crate::remote::{Entry, FileKind, Metadata};
use std::collections::HashMap;
use std::time::SystemTime;

impl Client {
    pub(super) fn list_directory(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        let pathname = self.server.pathname(directory);
        let now = SystemTime::now();
        self.pool.with_session(|session| {
            if session.features().mlsd && !self.server.mlsd_refused.is_set() {
                match session.list(&Command::Mlsd(&pathname), now) {
                    Err(Error::Refused { verb: "MLSD", reply }) if is_unknown_command(&reply) => {
                        if self.server.mlsd_refused.set() {
                            log::info!("the server offers MLSD but refuses it ({reply}): using LIST from now on");
                        }
                    }
                    listing => {
                        let mut entries = self.entries(listing?, directory)?;
                        self.name_targets(session, &pathname, directory, &mut entries, now);
                        return Ok(entries);
                    }
                }
            }
            let listing = self.list_all(session, &pathname, now)?;
            self.entries(listing, directory)
        })
    }

    /// `LIST` from inside the directory: an argument would be globbed or taken for an option by some servers, and a
    /// missing directory reported as an empty one.
    fn list_all(&self, session: &mut Session, pathname: &[u8], now: SystemTime) -> Result<Listing, Error> {
        session.change_directory(pathname)?;
        if self.server.list_all_refused.is_set() {
            return session.list(&Command::List(b""), now);
        }
        match session.list(&Command::ListAll, now) {
            // Only a permanent refusal speaks of `-a`: a 426 means that the transfer broke.
            Err(Error::Refused { verb: "LIST", reply }) if reply.code.outcome() == Outcome::PermanentNegative => {
                let listing = session.list(&Command::List(b""), now)?;
                if self.server.list_all_refused.set() {
                    log::info!("the server refuses LIST -a ({reply}): using LIST from now on");
                }
                Ok(listing)
            }
            // `-a` shows the directory itself, if it may be read at all (vsftpd says 226 to an unreadable one).
            Ok(listing) if listing.entries.is_empty() && !listing.saw_dot => {
                Err(Error::Unreadable { pathname: crate::path::escaped(pathname).to_string() })
            }
            other => other,
        }
    }

    /// `MLSD` tells of symbolic links but not of their targets on ProFTPD and Pure-FTPd; `LIST` does. A directory with
    /// links is therefore listed a second time. What stays unknown is what the server makes of it: file or directory.
    fn name_targets(
        &self,
        session: &mut Session,
        pathname: &[u8],
        directory: &RemotePath,
        entries: &mut [Entry],
        now: SystemTime,
    ) {
        if !entries.iter().any(is_link_without_target) {
            return;
        }
        match self.list_all(session, pathname, now) {
            Ok(listing) => add_targets(entries, listing),
            Err(error) => log::debug!("{directory}: the targets of symbolic links stay unknown: {error}"),
        }
        for entry in entries.iter_mut().filter(|entry| is_link_without_target(entry)).take(LINKS_FOLLOWED_MAX) {
            let path = self.server.pathname(&directory.join(&entry.name));
            if let Ok(Some(metadata)) = stat_by_facts(session, &path) {
                entry.metadata = metadata;
            }
        }
    }

    fn entries(&self, listing: Listing, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        if listing.refused_names > 0 {
            log::warn!("{directory}: {} names that cannot be names are left out", listing.refused_names);
        }
        if listing.not_understood > 0 {
            let sample = listing.sample.unwrap_or_default();
            self.server.counters.lines_not_understood.add(listing.not_understood as u64);
            if listing.entries.is_empty() && !listing.saw_dot && listing.itself.is_none() {
                return Err(Error::ListingNotUnderstood { lines: listing.not_understood, sample });
            }
            log::warn!("{directory}: {} lines not understood, such as: {sample}", listing.not_understood);
        }
        Ok(listing.entries)
    }

    pub(super) fn stat_path(&self, path: &RemotePath) -> Result<Metadata, Error> {
        let pathname = self.server.pathname(path);
        let answer = self.pool.with_session(|session| match session.features().mlst {
            Some(_) => stat_by_facts(session, &pathname),
            None => stat_by_size(session, &pathname, SystemTime::now()),
        })?;
        match (answer, path.split()) {
            (Some(metadata), _) => Ok(metadata),
            (None, None) => {
                self.pool.with_session(|session| session.change_directory(&pathname))?;
                Ok(Metadata::of_kind(FileKind::Directory))
            }
            (None, Some((parent, name))) => self.stat_in_listing(&parent, &name),
        }
    }

    pub(super) fn stat_in_listing(&self, parent: &RemotePath, name: &Name) -> Result<Metadata, Error> {
        let entries = self.list_directory(parent)?;
        let entry = entries.into_iter().find(|entry| entry.name == *name);
        entry.map(|entry| entry.metadata).ok_or_else(|| Error::NotListed { name: name.to_string() })
    }

    /// `AVBL` of the mounted directory, where `FEAT` lists it.
    pub(super) fn available(&self) -> Result<u64, Error> {
        let unsupported = || Error::Unsupported { what: "tell its free space" };
        if !self.server.features().is_some_and(|features| features.avbl) {
            return Err(unsupported());
        }
        let pathname = self.server.pathname(&RemotePath::root());
        let reply = self.pool.with_session(|session| session.exchange(&Command::Avbl(&pathname)))?;
        match size_of(&reply) {
            Some(bytes) => Ok(bytes),
            None if is_unknown_command(&reply) => Err(unsupported()),
            None => {
                let reply = reply.completion("AVBL")?;
                Err(Error::Misbehaved { step: "AVBL".to_owned(), what: format!("no number in {reply}") })
            }
        }
    }
}

/// `MLST` and `SIZE` in one write; `None` for a symbolic link. ProFTPD's `MLST` tells of a link as if it were the file it
/// points to, but with the link's own size, while `SIZE` follows it: two sizes give the link away.
fn stat_by_facts(session: &mut Session, pathname: &[u8]) -> Result<Option<Metadata>, Error> {
    let (first, second) = session.exchange_both(&Command::Mlst(pathname), &Command::Size(pathname))?;
    // libunftp's answers may come in either order.
    let (facts, size) = if second.code.number() == 250 { (second, first) } else { (first, second) };
    let facts = facts.completion("MLST")?;
    let metadata = facts.lines.iter().skip(1).find_map(|line| listing::read_mlst(line));
    let Some((metadata, _)) = metadata else {
        return Err(Error::Misbehaved { step: "MLST".to_owned(), what: format!("no facts in {facts}") });
    };
    let is_link = match metadata.kind {
        FileKind::File => metadata.size != size_of(&size),
        FileKind::Directory => false,
        FileKind::Symlink(_) => true,
    };
    Ok((!is_link).then_some(metadata))
}

/// `SIZE` and `MDTM` in one write, then `STAT`; `None` where they do not tell, as of directories.
///
/// The first two follow symbolic links, even out of what is mounted: only a line of `ls` shows what the name itself is.
fn stat_by_size(session: &mut Session, pathname: &[u8], now: SystemTime) -> Result<Option<Metadata>, Error> {
    let (size, modified) = session.exchange_both(&Command::Size(pathname), &Command::Mdtm(pathname))?;
    let Some(size) = size_of(&size) else { return Ok(None) };
    let modified = (modified.code.number() == 213).then(|| modified.lines.first().cloned()).flatten();
    let modified = modified.and_then(|line| time::time_val(line.trim_ascii()));
    let Some(shown) = stat_by_status(session, pathname, now)? else { return Ok(None) };
    Ok(Some(match shown.kind {
        FileKind::File => Metadata { size: Some(size), modified: modified.or(shown.modified), ..shown },
        _ => shown,
    }))
}

/// `STAT` of a name (RFC 959 section 4.1.3); `None` where the server does not show it.
fn stat_by_status(session: &mut Session, pathname: &[u8], now: SystemTime) -> Result<Option<Metadata>, Error> {
    // A pattern could match ten thousand names, and a reply has no room for them.
    if pathname.iter().any(|byte| b"*?[{".contains(byte)) {
        return Ok(None);
    }
    let reply = session.exchange(&Command::Stat(pathname))?;
    if reply.code.outcome() != Outcome::Completion {
        return Ok(None);
    }
    let mut lines = listing::Parser::list(now, 0);
    for line in reply.lines.iter().skip(1) {
        let _ = lines.feed(&[line.as_slice(), b"\r\n"].concat());
    }
    let name = pathname.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let entries = lines.finish().entries;
    Ok(entries.into_iter().find(|entry| entry.name.as_bytes() == name).map(|entry| entry.metadata))
}

fn is_link_without_target(entry: &Entry) -> bool {
    entry.metadata.kind == FileKind::Symlink(None)
}

fn add_targets(entries: &mut [Entry], listing: Listing) {
    let targets: HashMap<Name, FileKind> = listing
        .entries
        .into_iter()
        .filter(|entry| matches!(entry.metadata.kind, FileKind::Symlink(Some(_))))
        .map(|entry| (entry.name, entry.metadata.kind))
        .collect();
    for entry in entries.iter_mut().filter(|entry| is_link_without_target(entry)) {
        if let Some(target) = targets.get(&entry.name) {
            entry.metadata.kind = target.clone();
        }
    }
}

/// RFC 959 section 4.2.2: `500`, `502` and `504` speak of the command, not of the file. (`501` does as well, but
/// pyftpdlib says it of a missing directory.)
fn is_unknown_command(reply: &Reply) -> bool {
    matches!(reply.code.number(), 500 | 502 | 504)
}

/// Links whose targets no listing names are looked at one by one; no directory may make that many round trips.
const LINKS_FOLLOWED_MAX: usize = 64;
