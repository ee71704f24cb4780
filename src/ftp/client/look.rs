//! Questions: what a directory holds, and what a path is.

use crate::ftp::client::Client;
use crate::ftp::client::ladder::{Descent, below, mdtm};
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::listing::{self, Listing};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::rungs::Rung;
use crate::ftp::server::Server;
use crate::ftp::session::{Session, size_of};
use crate::ftp::time::Zone;
use crate::path::{Name, RemotePath};
use crate::remote::{Entry, FileKind, Metadata};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// How the mounted directory is listed, and what that shows.
#[derive(Debug)]
pub struct Survey {
    /// The command.
    pub rung: Rung,
    /// What came, with the names that are shown here.
    pub listing: Listing,
}

impl Client {
    pub(super) fn list_directory(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        self.list_all(directory).map(|survey| survey.listing.entries)
    }

    /// Lists the mounted directory.
    ///
    /// # Errors
    ///
    /// As every listing.
    pub fn survey(&self) -> Result<Survey, Error> {
        self.list_all(&RemotePath::root())
    }

    fn list_all(&self, directory: &RemotePath) -> Result<Survey, Error> {
        let pathname = self.server.pathname(directory)?;
        let now = SystemTime::now();
        self.pool.with_session(|session| {
            let rungs = if self.server.status.is_first() { &Rung::STATUS_FIRST[..] } else { &Rung::ALL };
            let (rung, mut listing) = Descent::new(&self.server, session, &pathname, now).list(rungs)?;
            if rung == Rung::Facts {
                self.complete(session, directory, &mut listing, now)?;
            } else if rung != Rung::Names && self.learn_clock(session, &pathname, &listing)? {
                (_, listing) = Descent::new(&self.server, session, &pathname, now).list(&[rung])?;
            }
            if rung == Rung::ListAll {
                self.compare_status(session, directory, &listing, now);
            }
            Ok(Survey { rung, listing: self.shown(listing, directory) })
        })
    }

    /// Finds out whether `STAT` tells of a directory what `LIST -a` told. A failure is none of the listing's.
    fn compare_status(&self, session: &mut Session, directory: &RemotePath, listing: &Listing, now: SystemTime) {
        let server = &self.server;
        let offers_facts = session.features().mlsd && server.rungs.is_left(Rung::Facts);
        let may = server.order().is_kept() && !offers_facts;
        if !may || !server.status.is_to_compare(listing, directory.is_root()) {
            return;
        }
        let Ok(pathname) = server.pathname(directory) else { return };
        match session.list_in_one_reply(&pathname, now) {
            Ok(status) if server.status.compared(listing, status.as_ref()) => {
                log::debug!("STAT -a tells as much as LIST -a and takes no data connection: using it from now on");
            }
            Ok(_) => log::debug!("{directory}: STAT -a does not tell what LIST -a told"),
            Err(error) => {
                server.status.compared(listing, None);
                log::debug!("{directory} by STAT -a: {error}");
            }
        }
    }

    /// Finds out what the server's clock shows, as long as it is not known; whether the times of `listing` were read by a
    /// wrong one.
    fn learn_clock(&self, session: &mut Session, directory: &[u8], listing: &Listing) -> Result<bool, Error> {
        let clock = &self.server.clock;
        for entry in clock.doubts(&listing.entries, &listing.zone) {
            let pathname = below(directory, &entry.name);
            let said = mdtm(&session.exchange(&Command::Mdtm(&pathname))?);
            clock.learn(entry, &listing.zone, said);
        }
        let zone = clock.zone(SystemTime::now());
        // What is not known is read as UTC.
        Ok(listing.lines > 0 && zone != listing.zone && (&zone, &listing.zone) != (&Zone::UTC, &Zone::Unknown))
    }

    /// How many entries a directory has that `RMD` would not remove: where it looks empty it is listed in other ways, which
    /// may show hidden names.
    pub(super) fn count_entries(&self, directory: &RemotePath) -> Result<usize, Error> {
        let shown = self.list_directory(directory)?.len();
        if shown > 0 {
            return Ok(shown);
        }
        let pathname = self.server.pathname(directory)?;
        let now = SystemTime::now();
        self.pool.with_session(|session| {
            let others = [Rung::ListAll, Rung::Status];
            let (rung, listing) = Descent::new(&self.server, session, &pathname, now).list(&others)?;
            if !listing.entries.is_empty() {
                self.learn_hidden(session.features().mlsd, rung);
            }
            Ok(listing.entries.len())
        })
    }

    /// `rung` shows names that the way used so far does not.
    fn learn_hidden(&self, offers_facts: bool, rung: Rung) {
        let rungs = &self.server.rungs;
        if offers_facts && rungs.is_left(Rung::Facts) {
            if self.server.facts_leave_out.set() {
                log::info!("MLSD leaves names out that {rung} shows: asking for both from now on");
            }
        } else if rung == Rung::Status && rungs.failed(Rung::List, true) {
            log::info!("LIST leaves names out that {rung} shows: using {rung} from now on");
        }
    }

    /// `MLSD` is completed by `LIST` where it may lack something: the targets of symbolic links (ProFTPD and Pure-FTPd do not
    /// tell them), or names, as servers were seen to leave out. Whether this one does is found out on the mounted directory.
    fn complete(
        &self,
        session: &mut Session,
        directory: &RemotePath,
        listing: &mut Listing,
        now: SystemTime,
    ) -> Result<(), Error> {
        let few = listing.entries.len() <= COMPARED_MAX;
        let compares = directory.is_root() && few && !self.server.facts_compared.is_set();
        if !compares && !self.server.facts_leave_out.is_set() && !listing.entries.iter().any(is_link_without_target) {
            return Ok(());
        }
        let pathname = self.server.pathname(directory)?;
        // ProFTPD takes the option for a name where there is one like it, and lists that directory.
        let is_option_a_name = listing.entries.iter().any(|entry| entry.name.as_bytes() == b"-a");
        let rungs = if is_option_a_name { &[Rung::List][..] } else { &[Rung::ListAll, Rung::List] };
        match Descent::new(&self.server, session, &pathname, now).list(rungs) {
            Ok((rung, mut other)) => {
                if is_any_missing(&listing.entries, &other.entries) && self.learn_clock(session, &pathname, &other)? {
                    (_, other) = Descent::new(&self.server, session, &pathname, now).list(&[rung])?;
                }
                add_targets(&mut listing.entries, &other);
                self.add_missing(session, &pathname, listing, (rung, other.entries), now)?;
            }
            Err(error) if error.closes_connection() => return Err(error),
            Err(error) => log::debug!("{directory}: LIST adds nothing to MLSD: {error}"),
        }
        follow_links(session, &pathname, &mut listing.entries);
        Ok(())
    }

    /// Adds the entries of `other`, which `rung` gave, that `listing` lacks, if a second `MLSD` lacks them as well and `rung` shows
    /// them still: what was created or removed between two of them proves nothing.
    fn add_missing(
        &self,
        session: &mut Session,
        pathname: &[u8],
        listing: &mut Listing,
        (rung, other): (Rung, Vec<Entry>),
        now: SystemTime,
    ) -> Result<(), Error> {
        let mut missing = missing(&listing.entries, other);
        if missing.is_empty() {
            if !listing.entries.is_empty() {
                self.server.facts_compared.set();
            }
            return Ok(());
        }
        let again = session.list(&Command::Mlsd(pathname), now)?;
        missing = self::missing(&again.entries, missing);
        if !missing.is_empty() && !self.server.facts_leave_out.is_set() {
            match Descent::new(&self.server, session, pathname, now).list(&[rung]) {
                Ok((_, still)) => missing.retain(|entry| still.entries.iter().any(|there| there.name == entry.name)),
                Err(error) if error.closes_connection() => return Err(error),
                Err(_) => missing.clear(),
            }
        }
        if let Some(first) = missing.first() {
            self.server.facts_compared.set();
            if self.server.facts_leave_out.set() {
                log::info!(
                    "MLSD leaves names out that LIST shows, such as {}: asking for both from now on",
                    first.name
                );
            }
        }
        listing.entries.append(&mut missing);
        Ok(())
    }

    fn shown(&self, listing: Listing, directory: &RemotePath) -> Listing {
        if listing.refused_names > 0 {
            log::warn!("{directory}: {} names that cannot be names are left out", listing.refused_names);
        }
        if listing.duplicates > 0 {
            log::warn!("{directory}: {} names came twice and are shown once", listing.duplicates);
        }
        if listing.special > 0 {
            log::debug!("{directory}: {} devices, sockets and the like are left out", listing.special);
        }
        if listing.not_understood > 0 {
            let sample = listing.sample.as_deref().unwrap_or_default();
            self.server.counters.lines_not_understood.add(listing.not_understood as u64);
            log::warn!("{directory}: {} lines not understood, such as: {sample}", listing.not_understood);
        }
        self.server.localised(listing)
    }

    pub(super) fn stat_path(&self, path: &RemotePath) -> Result<Metadata, Error> {
        // What the server's character set cannot write is not there.
        let Ok(pathname) = self.server.pathname(path) else { return Err(Error::NotListed { name: path.to_string() }) };
        if self.is_doubtful(&pathname)
            && let Some((parent, name)) = path.split()
        {
            return self.stat_in_listing(&parent, &name);
        }
        let (told, bare) = self.pool.with_session(|session| match session.features().mlst {
            Some(_) => Ok((stat_by_facts(session, &pathname)?, None)),
            None => stat_by_size(&self.server, session, &pathname),
        })?;
        let told = match (told, path.split()) {
            (Some(metadata), _) => metadata,
            (None, None) => {
                self.pool.with_session(|session| session.change_directory(&pathname))?;
                Metadata::of_kind(FileKind::Directory)
            }
            (None, Some((parent, name))) => self.stat_in_listing(&parent, &name)?,
        };
        Ok(with_bare(told, bare))
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
        let pathname = self.server.pathname(&RemotePath::root())?;
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

/// `MLST` and `SIZE` in one write; `None` for a symbolic link.
fn stat_by_facts(session: &mut Session, pathname: &[u8]) -> Result<Option<Metadata>, Error> {
    let (first, second) = session.exchange_both(&Command::Mlst(pathname), &Command::Size(pathname))?;
    // libunftp's answers may come in either order.
    if second.code.number() == 250 { told_by_facts(second, &first) } else { told_by_facts(first, &second) }
}

/// What `MLST` and `SIZE` told; `None` for a symbolic link. ProFTPD's `MLST` tells of a link as if it were the file it points
/// to, but with the link's own size, while `SIZE` follows it: two sizes give the link away.
pub(super) fn told_by_facts(facts: Reply, size: &Reply) -> Result<Option<Metadata>, Error> {
    let facts = facts.completion("MLST")?;
    let metadata = facts.lines.iter().skip(1).find_map(|line| listing::read_mlst(line));
    let Some((metadata, _)) = metadata else {
        return Err(Error::Misbehaved { step: "MLST".to_owned(), what: format!("no facts in {facts}") });
    };
    let is_link = match metadata.kind {
        FileKind::File => metadata.size != size_of(size),
        FileKind::Directory => false,
        FileKind::Symlink(_) => true,
    };
    Ok((!is_link).then_some(metadata))
}

/// `SIZE` and `MDTM` in one write, then `STAT`: what it shows, and what the first two told of a file; `None` where they do not
/// tell, as of directories.
///
/// The first two follow symbolic links, even out of what is mounted: only a line of `ls` shows what the name itself is.
fn stat_by_size(
    server: &Server,
    session: &mut Session,
    pathname: &[u8],
) -> Result<(Option<Metadata>, Option<Metadata>), Error> {
    let (size, modified) = session.exchange_both(&Command::Size(pathname), &Command::Mdtm(pathname))?;
    let Some(bare) = bare(server, &size, &modified) else { return Ok((None, None)) };
    if is_pattern(pathname) {
        return Ok((None, Some(bare)));
    }
    let status = session.exchange(&Command::Stat(pathname))?;
    Ok((told_by_status(server, pathname, &status), Some(bare)))
}

/// What `SIZE` and `MDTM` told of a file.
pub(super) fn bare(server: &Server, size: &Reply, modified: &Reply) -> Option<Metadata> {
    let size = size_of(size)?;
    let now = SystemTime::now();
    let modified = mdtm(modified).map(|said| server.clock.said_by_mdtm(said, now));
    Some(Metadata { size: Some(size), modified, ..Metadata::of_kind(FileKind::File) })
}

/// Of a file `bare` tells the exact size and time, and `told` the rest.
pub(super) fn with_bare(told: Metadata, bare: Option<Metadata>) -> Metadata {
    match bare {
        Some(bare) if told.kind == FileKind::File => {
            Metadata { size: bare.size, modified: bare.modified.or(told.modified), ..told }
        }
        _ => told,
    }
}

/// Whether `STAT` may take `pathname` for a pattern, which could match ten thousand names, and a reply has no room for them.
pub(super) fn is_pattern(pathname: &[u8]) -> bool {
    pathname.iter().any(|byte| b"*?[{".contains(byte))
}

/// What `STAT` of `pathname` told (RFC 959 section 4.1.3); `None` where the server does not show it.
pub(super) fn told_by_status(server: &Server, pathname: &[u8], reply: &Reply) -> Option<Metadata> {
    if reply.code.outcome() != Outcome::Completion {
        return None;
    }
    let now = SystemTime::now();
    let mut lines = listing::Parser::list(now, server.clock.zone(now));
    for line in reply.lines.iter().skip(1) {
        let _ = lines.feed(&[line.as_slice(), b"\r\n"].concat());
    }
    let name = pathname.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut listing = lines.finish();
    listing.entries.retain(|entry| entry.name.as_bytes() == name);
    server.localised(listing).entries.pop().map(|entry| entry.metadata)
}

/// Of a link whose target stays unknown it is told what the server makes of it: file or directory.
fn follow_links(session: &mut Session, directory: &[u8], entries: &mut [Entry]) {
    for entry in entries.iter_mut().filter(|entry| is_link_without_target(entry)).take(LINKS_FOLLOWED_MAX) {
        let pathname = below(directory, &entry.name);
        if let Ok(Some(metadata)) = stat_by_facts(session, &pathname) {
            entry.metadata = metadata;
        }
    }
}

fn is_link_without_target(entry: &Entry) -> bool {
    entry.metadata.kind == FileKind::Symlink(None)
}

fn add_targets(entries: &mut [Entry], other: &Listing) {
    let is_link = |entry: &&Entry| matches!(entry.metadata.kind, FileKind::Symlink(Some(_)));
    let targets: HashMap<&Name, &FileKind> =
        other.entries.iter().filter(is_link).map(|entry| (&entry.name, &entry.metadata.kind)).collect();
    for entry in entries.iter_mut().filter(|entry| is_link_without_target(entry)) {
        if let Some(&target) = targets.get(&entry.name) {
            entry.metadata.kind = target.clone();
        }
    }
}

/// What of `other` is not among `entries`. Names that differ in the spaces around them count as the same: not every form of
/// `LIST` tells where a name begins.
fn missing(entries: &[Entry], other: Vec<Entry>) -> Vec<Entry> {
    let known = trimmed(entries);
    other.into_iter().filter(|entry| !known.contains(entry.name.as_bytes().trim_ascii())).collect()
}

fn is_any_missing(entries: &[Entry], other: &[Entry]) -> bool {
    !trimmed(other).is_subset(&trimmed(entries))
}

fn trimmed(entries: &[Entry]) -> HashSet<&[u8]> {
    entries.iter().map(|entry| entry.name.as_bytes().trim_ascii()).collect()
}

/// RFC 959 section 4.2.2: `500`, `502` and `504` speak of the command, not of its argument.
fn is_unknown_command(reply: &Reply) -> bool {
    matches!(reply.code.number(), 500 | 502 | 504)
}

/// Links whose targets no listing names are looked at one by one; no directory may make that many round trips.
const LINKS_FOLLOWED_MAX: usize = 64;

/// The mounted directory is listed in two ways and compared if it has no more entries: else that would take too long.
const COMPARED_MAX: usize = 2_000;
