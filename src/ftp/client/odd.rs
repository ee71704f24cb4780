//! Names that some servers do not keep. Pure-FTPd writes `_` for control characters and for a space at the end, pyftpdlib
//! U+FFFD for bytes that are not UTF-8. Both say that all went well, over whatever had that other name, and answer to both
//! names from then on.
//!
//! So nothing is made under such a name before the server has shown that it keeps its like, and what it says of one is
//! believed if a listing shows it.

use crate::ftp::client::Client;
use crate::ftp::client::ladder::Descent;
use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::reply::Outcome;
use crate::ftp::rungs::Rung;
use crate::ftp::server::{Oddity, Server};
use crate::ftp::session::Session;
use crate::path::RemotePath;
use crate::remote::Entry;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::SystemTime;

impl Client {
    /// Whether the server may speak of another file when it is asked about `pathname`.
    pub(super) fn is_doubtful(&self, pathname: &[u8]) -> bool {
        is_doubtful(&self.server, pathname)
    }

    /// Sees to it that something may be made under `pathname`, or under its temporary name to get this one.
    ///
    /// # Errors
    ///
    /// [`Error::NotKept`] where the server would give it another name.
    pub(super) fn check_new_name(&self, pathname: &[u8]) -> Result<(), Error> {
        let name = name_of(pathname);
        for oddity in Oddity::ALL.into_iter().filter(|oddity| oddity.is_of(name)) {
            let known = self.server.keeps.lock().get(&oddity).copied();
            let keeps = match known {
                Some(keeps) => keeps,
                None => self.try_out(oddity, pathname)?,
            };
            if !keeps {
                return Err(Error::NotKept { name: crate::path::escaped(name).to_string() });
            }
        }
        Ok(())
    }

    /// Sees to it that something may be made at `path` on a server that does not tell upper from lower case: what it has in
    /// another spelling would be replaced. `from` is what gets the name, and may be that itself.
    ///
    /// # Errors
    ///
    /// [`Error::OtherSpelling`].
    pub(super) fn check_spelling(&self, path: &RemotePath, from: Option<&RemotePath>) -> Result<(), Error> {
        let Some((directory, name)) = path.split().filter(|_| self.server.ignores_case()) else { return Ok(()) };
        let pathname = self.server.pathname(path)?;
        let is_there = self.pool.with_session(|session| {
            let is_file = session.size(&pathname)?.is_ok();
            Ok(is_file || session.exchange(&Command::Cwd(&pathname))?.completion("CWD").is_ok())
        })?;
        if !is_there {
            return Ok(());
        }
        let entries = self.list_directory(&directory)?;
        let is_renamed = |entry: &Entry| from.is_some_and(|from| *from == directory.join(&entry.name));
        match entries.iter().any(|entry| entry.name == name || is_renamed(entry)) {
            true => Ok(()),
            false => Err(Error::OtherSpelling { name: name.to_string() }),
        }
    }

    /// Makes a directory of such a name, in a temporary one beside `pathname`, and looks what it is called. Where none may be
    /// made, nothing is learnt.
    fn try_out(&self, oddity: Oddity, pathname: &[u8]) -> Result<bool, Error> {
        let directory = &pathname[..pathname.len() - name_of(pathname).len()];
        self.pool.with_session(|session| {
            // Each time another: one that a lost connection left behind would be in its own way.
            let around = [directory, temporary().as_bytes()].concat();
            if !is_made(session, &around)? {
                return Ok(true);
            }
            let kept = self.is_kept(session, &around, oddity.sample());
            let removed = session.exchange(&Command::Rmd(&around))?;
            log::debug!("{oddity:?} in names: kept {kept:?}; {removed}");
            match kept? {
                Some(kept) => {
                    if !kept {
                        log::info!("the server changes names that hold {oddity}: none is made there");
                    }
                    self.server.keeps.lock().insert(oddity, kept);
                    Ok(kept)
                }
                None => Ok(true),
            }
        })
    }

    /// `None` where no directory of that name could be made.
    fn is_kept(&self, session: &mut Session, around: &[u8], sample: &[u8]) -> Result<Option<bool>, Error> {
        let pathname = [around, b"/", sample].concat();
        if !is_made(session, &pathname)? {
            return Ok(None);
        }
        let (_, listing) = Descent::new(&self.server, session, around, SystemTime::now()).list(&Rung::ALL)?;
        // By the name that it got, or by the one that it was given: pyftpdlib lists `?` and finds it by neither.
        for name in listing.entries.iter().map(|entry| entry.name.as_bytes()).chain([sample]) {
            session.exchange(&Command::Rmd(&[around, b"/", name].concat()))?;
        }
        Ok(Some(listing.entries.iter().any(|entry| entry.name.as_bytes() == sample)))
    }
}

/// Makes a directory; false where the server lets none be made. What passes is an error.
fn is_made(session: &mut Session, pathname: &[u8]) -> Result<bool, Error> {
    let reply = session.exchange(&Command::Mkd(pathname))?;
    match reply.code.outcome() {
        Outcome::PermanentNegative => Ok(false),
        _ => reply.completion("MKD").map(|_| true),
    }
}

/// As [`Client::is_doubtful`].
pub(super) fn is_doubtful(server: &Server, pathname: &[u8]) -> bool {
    let name = name_of(pathname);
    let mut odd = Oddity::ALL.iter().filter(|oddity| oddity.is_of(name));
    odd.any(|oddity| server.keeps.lock().get(oddity) != Some(&true))
}

fn name_of(pathname: &[u8]) -> &[u8] {
    pathname.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// A name that no listing shows, should it be left behind.
fn temporary() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!(".ftpsfs-names-{now:x}-{:016x}.part", RandomState::new().build_hasher().finish())
}
