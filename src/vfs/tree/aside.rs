//! What steps aside for something that is to get its name. Until that has the name it is all that there is of it: everybody
//! sees it under the name that it then has, and nobody sweeps it.

use crate::deadline::{self, Deadline};
use crate::path::{Name, RemotePath};
use crate::remote::{self, ErrorKind, Remote};
use crate::vfs::error::Error;
use crate::vfs::names;
use crate::vfs::tree::{Standing, Tree};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Between two tries to give something its name back: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(15);

/// How much of what stepped aside is remembered.
const HIDDEN_MAX: usize = 1024;

/// What stepped aside for nothing and gets its name back once the server answers again.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// By that name. Never held while the server is asked.
    underway: Mutex<HashMap<RemotePath, Return>>,
    changed: Condvar,
    /// What stepped aside lately, unless it is to come back: this mount does not show it, nor a listing from before it was removed.
    hidden: Mutex<VecDeque<RemotePath>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Waits,
    /// The server is being asked.
    Runs,
}

impl Tree {
    /// Renames `from` to `to` on a server that does not replace: what is there steps aside first, and comes back if the
    /// rest fails.
    pub(crate) fn replace(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        let failed = |what: &RemotePath, error: &remote::Error| Error::logged("rename", what, error, true);
        let aside = self.step_aside(to).map_err(|error| failed(to, &error))?;
        let aside = to.parent().unwrap_or_else(RemotePath::root).join(&aside);
        if let Err(error) = self.remote.rename(from, to) {
            let error = failed(from, &error);
            self.put_back(&aside, to);
            return Err(error);
        }
        self.discard_path(aside);
        Ok(())
    }

    /// Renames the file at `path` to a name that tells why; gives that.
    ///
    /// # Errors
    ///
    /// The server's. Where the connection broke, it comes back if it went.
    pub(crate) fn step_aside(&self, path: &RemotePath) -> Result<Name, remote::Error> {
        let (parent, name) =
            path.split().ok_or_else(|| remote::Error::new(ErrorKind::IsADirectory, "it is the root"))?;
        let mut tries = self.namer.replaced(&name, SystemTime::now()).into_iter();
        loop {
            let Some(aside) = tries.next() else {
                return Err(remote::Error::new(ErrorKind::InvalidName, "no name to step aside to"));
            };
            let place = parent.join(&aside);
            self.returns.hide(place.clone());
            let renamed = self.remote.rename(path, &place);
            if renamed.is_err() {
                self.returns.show(&place);
            }
            match renamed {
                Ok(()) => return Ok(aside),
                Err(error) if is_of_the_network(&error) => {
                    self.put_back(&place, path);
                    return Err(error);
                }
                Err(error) if error.kind == ErrorKind::NotFound || tries.len() == 0 => return Err(error),
                Err(error) => log::debug!("{path} cannot be renamed to {place}: {error}"),
            }
        }
    }

    /// What stepped aside as `aside` comes back as `path`, unless something else is there: now, or in the background once
    /// the server answers again.
    pub(crate) fn put_back(&self, aside: &RemotePath, path: &RemotePath) {
        self.returns.show(aside);
        match put_back(&*self.remote, aside, path) {
            Ok(()) => {}
            Err(error) if is_of_the_network(&error) => {
                log::error!("{path} is now {aside}, until the server answers again: {error}");
                self.put_back_later(aside.clone(), path.clone());
            }
            Err(error) => log::error!("{path} is now {aside}: it could not be renamed back: {error}"),
        }
    }

    fn put_back_later(&self, aside: RemotePath, path: RemotePath) {
        let (returns, remote) = (Arc::clone(&self.returns), Arc::clone(&self.remote));
        let deadline = Deadline::background(&self.ending);
        returns.underway.lock().insert(path.clone(), Return::Waits);
        self.workers.spawn(move || {
            let _entered = deadline.enter();
            let mut pause = PAUSE_FIRST;
            while deadline::sleep(pause) {
                let Some(_runs) = Running::begin(&returns, &path) else {
                    log::error!("{path} has another content by now: what it was is {aside}");
                    return;
                };
                match put_back(&*remote, &aside, &path) {
                    Err(error) if is_of_the_network(&error) => {
                        log::debug!("{path} is still {aside}: {error}");
                        pause = (pause * 2).min(PAUSE_LAST);
                    }
                    Ok(()) => return returns.end(&path),
                    Err(error) => {
                        log::error!("{path} is now {aside}: it could not be renamed back: {error}");
                        return returns.end(&path);
                    }
                }
            }
            log::error!("{path} is still {aside}");
        });
    }

    /// Something is about to get the name `path`: what stepped aside from there does not come back any more.
    ///
    /// # Errors
    ///
    /// It is coming back, and that takes too long.
    pub(crate) fn claim(&self, path: &RemotePath) -> Result<(), Error> {
        let mut underway = self.returns.underway.lock();
        while underway.get(path) == Some(&Return::Runs) {
            if !deadline::wait(&self.returns.changed, &mut underway) {
                return Err(Error::timed_out());
            }
        }
        underway.remove(path);
        Ok(())
    }

    /// Whether `name` in `directory` is what stepped aside for what has its name by now or is about to have it, and is still open
    /// here or being removed.
    pub(crate) fn is_aside(&self, directory: &RemotePath, name: &Name) -> bool {
        if !names::may_be_replaced(name.as_bytes()) {
            return false;
        }
        if self.returns.hidden.lock().contains(&directory.join(name)) {
            return true;
        }
        // The directory may have got another name.
        let state = self.state.lock();
        state.local.values().any(|local| match &local.standing {
            Standing::Nameless(Some((parent, kept))) => {
                kept == name && state.inodes.path(*parent).as_ref() == Some(directory)
            }
            _ => false,
        })
    }
}

impl Returns {
    fn hide(&self, aside: RemotePath) {
        let mut hidden = self.hidden.lock();
        hidden.push_back(aside);
        if hidden.len() > HIDDEN_MAX {
            hidden.pop_front();
        }
    }

    /// What stepped aside as `aside` comes back, or cannot be removed.
    pub(super) fn show(&self, aside: &RemotePath) {
        self.hidden.lock().retain(|hidden| hidden != aside);
    }

    fn end(&self, path: &RemotePath) {
        self.underway.lock().remove(path);
        self.changed.notify_all();
    }
}

/// The server is asked to give something its name back, for as long as this lives.
struct Running<'a> {
    returns: &'a Returns,
    path: &'a RemotePath,
}

impl<'a> Running<'a> {
    /// `None` where the name was claimed meanwhile.
    fn begin(returns: &'a Returns, path: &'a RemotePath) -> Option<Self> {
        *returns.underway.lock().get_mut(path)? = Return::Runs;
        Some(Self { returns, path })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.returns.underway.lock().get_mut(self.path) {
            *state = Return::Waits;
        }
        self.returns.changed.notify_all();
    }
}

fn put_back(remote: &dyn Remote, aside: &RemotePath, path: &RemotePath) -> Result<(), remote::Error> {
    match remote.stat(path) {
        // It was done, or nothing had been; or what was to get the name has it.
        Ok(_) => {
            if remote.stat(aside).is_ok() {
                log::error!("{path} has another content by now: what it was is {aside}");
            }
            Ok(())
        }
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => remote.rename(aside, path),
        Err(error) => Err(error),
    }
}

fn is_of_the_network(error: &remote::Error) -> bool {
    use ErrorKind as E;
    matches!(error.kind, E::Lost | E::TimedOut | E::Busy | E::Away)
}
