//! The server as the file system sees it: [`Remote`] over a pool of sessions, with what is safe to repeat repeated once a
//! connection turned out to be dead.

mod change;
mod entrance;
mod kind;
mod ladder;
mod look;
mod naming;
mod odd;
mod uncertain;
mod way;

use crate::ftp::command::Command;
use crate::ftp::control::{Control, Witness};
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::pool::Pool;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::ftp::session::Session;
use crate::ftp::settings::Settings;
use crate::ftp::transfer::Transfer;
use crate::ftp::upload::Outgoing;
use crate::path::RemotePath;
use crate::remote::condition::Condition;
use crate::remote::{
    self, Alteration, Download, Entry, Metadata, Named, Naming, Reach, Remote, Seen, Start, Upload, Whereabouts,
};
use entrance::Entrance;
use kind::translate;

pub use look::Survey;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A server, logged in to.
#[derive(Debug)]
pub struct Client {
    server: Arc<Server>,
    pool: Arc<Pool>,
    entrance: Entrance,
}

impl Client {
    /// Connects, logs in, and sees that the directory to be mounted is one.
    ///
    /// # Errors
    ///
    /// Whatever the first session met, in a line that names the step.
    pub fn connect(settings: Settings) -> Result<Self, Error> {
        let client = Self::witnessed(Arc::new(Server::new(settings)?), &mut Witness::default())?;
        client.enter_root()?;
        Ok(client)
    }

    /// Knows how to connect, and does when it is asked for something.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where the settings' trust cannot be used.
    pub fn delayed(settings: Settings) -> Result<Self, Error> {
        let server = Arc::new(Server::new(settings)?);
        let pool = Pool::new(Arc::clone(&server));
        Ok(Self { server, pool, entrance: Entrance::default() })
    }

    fn told<T>(&self, answer: Result<T, Error>) -> Result<T, remote::Error> {
        answer.map_err(|error| given_up(&self.pool, error))
    }

    fn pass(&self) -> Result<(), remote::Error> {
        self.entrance.pass(|| self.enter_root())
    }

    /// Connects and logs in; `witness` keeps what every step told, in spite of a failure.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn witnessed(server: Arc<Server>, witness: &mut Witness) -> Result<Self, Error> {
        let pool = Pool::new(Arc::clone(&server));
        pool.adopt(Session::witnessed(&server, witness)?);
        Ok(Self { server, pool, entrance: Entrance::passed() })
    }

    /// Sees that the directory to be mounted is one.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMount`], or the connection's failures.
    pub fn enter_root(&self) -> Result<(), Error> {
        let pathname = || self.server.pathname(&RemotePath::root());
        self.pool.with_session(|session| session.change_directory(&pathname()?)).map_err(|error| match error {
            Error::Refused { reply, .. } if reply.code.outcome() == Outcome::PermanentNegative => {
                let pathname = pathname().unwrap_or_default();
                Error::NoSuchMount { pathname: crate::path::escaped(&pathname).to_string(), reply }
            }
            other => other,
        })
    }

    /// Sends a command that needs no data connection and waits for its reply.
    ///
    /// # Errors
    ///
    /// The connection's failures; a negative reply is not one.
    pub fn ask(&self, command: &Command<'_>) -> Result<Reply, Error> {
        self.pool.with_session(|session| session.exchange(command))
    }

    /// Whether nothing came from the server after `moment`.
    pub fn is_silent_since(&self, moment: Instant) -> bool {
        !self.server.counters.heard.is_since(moment)
    }

    /// Whether the server is there, as far as can be found out within `limit`.
    pub fn answers(&self, limit: Duration) -> bool {
        !self.server.breaker.is_open() && Control::answers(&self.server.settings, &self.server.tls, limit)
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.server.counters
    }

    /// The line for the log at unmount.
    pub fn summary(&self) -> String {
        self.server.counters.to_string()
    }

    /// Says goodbye on all idle connections.
    pub fn close(&self) {
        self.pool.close();
    }

    fn retrieve(&self, path: &RemotePath, offset: u64, size: Option<u64>) -> Result<Transfer, Error> {
        let pathname = self.server.pathname(path)?;
        self.pool.with_lease(|mut lease| match lease.retrieve(&pathname, offset) {
            Ok(data) => {
                let expected = size.map(|size| size.saturating_sub(offset));
                let resumed = data.resumed();
                let mut transfer = Transfer::new(lease, data, &self.pool, &self.server, expected);
                if !resumed {
                    transfer.read_ahead()?;
                }
                Ok(transfer)
            }
            Err(error) => {
                lease.give_back_unless_broken(&error);
                Err(error)
            }
        })
    }
}

impl Remote for Client {
    fn list(&self, directory: &RemotePath) -> Result<Vec<Entry>, remote::Error> {
        self.pass()?;
        self.told(self.list_directory(directory))
    }

    fn stat(&self, path: &RemotePath) -> Result<Metadata, remote::Error> {
        self.pass()?;
        self.told(self.stat_path(path))
    }

    fn stat_lists(&self) -> bool {
        self.server.features().is_some_and(|features| features.mlst.is_none())
    }

    fn ignores_case(&self) -> bool {
        self.server.ignores_case()
    }

    fn is_away(&self) -> bool {
        self.server.breaker.is_open()
    }

    fn spare(&self) -> usize {
        self.pool.spare()
    }

    fn prepare(&self) {
        self.pool.prepare();
    }

    fn on_spare(&self, told: Box<dyn Fn(Instant) + Send + Sync>) {
        self.pool.on_spare(told);
    }

    fn condition(&self) -> Condition {
        Condition { connections: self.pool.connections(), ..self.server.condition() }
    }

    fn read_from(&self, path: &RemotePath, offset: u64, size: Option<u64>) -> Result<Box<dyn Download>, remote::Error> {
        self.pass()?;
        let transfer = self.told(self.retrieve(path, offset, size))?;
        Ok(Box::new(transfer))
    }

    fn write_to(&self, path: &RemotePath, start: Start) -> Result<Box<dyn Upload>, remote::Error> {
        self.pass()?;
        let pathname = self.server.pathname(path).map_err(translate)?;
        if start == Start::Beginning {
            self.told(self.check_new_name(&pathname))?;
            self.told(self.check_spelling(path, None))?;
        }
        let outgoing = self.told(Outgoing::start(&self.pool, &self.server, pathname, start))?;
        Ok(Box::new(outgoing))
    }

    fn create_directory(&self, path: &RemotePath) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.make_directory(path))
    }

    fn remove_directory(&self, path: &RemotePath) -> Result<(), remote::Error> {
        self.remove_seen_directory(path, Seen::Nothing)
    }

    fn remove_file(&self, path: &RemotePath) -> Result<(), remote::Error> {
        self.remove_seen_file(path, Seen::Nothing)
    }

    fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), remote::Error> {
        self.rename_seen(from, to, Seen::Nothing)
    }

    fn remove_seen_file(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.delete_file(path, seen))
    }

    fn remove_seen_directory(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.delete_directory(path, seen))
    }

    fn rename_seen(&self, from: &RemotePath, to: &RemotePath, seen: Seen<'_>) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.move_to(from, to, seen))
    }

    fn set_modified(&self, path: &RemotePath, time: SystemTime) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.touch(path, time))
    }

    fn set_mode(&self, path: &RemotePath, mode: u16) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.change_mode(path, mode))
    }

    fn alter(&self, path: &RemotePath, alteration: Alteration) -> Result<Option<Metadata>, remote::Error> {
        self.pass()?;
        self.told(self.alter_file(path, alteration))
    }

    fn create_symlink(&self, path: &RemotePath, target: &[u8]) -> Result<(), remote::Error> {
        self.pass()?;
        self.told(self.make_symlink(path, target))
    }

    fn free_space(&self) -> Result<u64, remote::Error> {
        self.pass()?;
        self.told(self.available())
    }
}

impl Upload for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), remote::Error> {
        Self::write(self, bytes).map_err(|error| given_up(self.pool(), error))
    }

    fn follow(&mut self, whereabouts: Box<dyn Whereabouts>) {
        Self::follow(self, whereabouts);
    }

    fn finish(self: Box<Self>) -> Result<(), remote::Error> {
        let pool = Arc::clone(self.pool());
        Self::finish(*self).map_err(|error| given_up(&pool, error))
    }

    fn finish_for(self: Box<Self>, naming: &Naming) -> Result<Option<Named>, remote::Error> {
        let pool = Arc::clone(self.pool());
        naming::finish_for(*self, naming).map_err(|error| given_up(&pool, error))
    }
}

impl Download for Transfer {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, remote::Error> {
        Self::read(self, buffer).map_err(|error| given_up(self.pool(), error))
    }

    fn expect(&mut self, reach: Reach) {
        Self::expect(self, reach);
    }
}

/// What a request met, for those who know nothing of FTP; if that was silence, the server may be away.
fn given_up(pool: &Arc<Pool>, error: Error) -> remote::Error {
    pool.doubt(&error);
    translate(error)
}
