//! Looks at a server as a mount would meet it, and tries on purpose what a mount avoids. It finds facts; what they mean is
//! said by whoever asks.
//!
//! Control connections are opened one after the other, but for [`facts::Connections`], and nothing is changed on the server,
//! but for [`facts::Upload`]; both only where that is wished. Every step is bounded by the time limit of the settings.

pub mod facts;

mod data;

mod connections;
mod passive;
mod reuse;
mod software;
mod upload;

use crate::ftp::client::Client;
use crate::ftp::command::Command;
use crate::ftp::control::{Control, Witness};
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::rungs::Rung;
use crate::ftp::server::Server;
use crate::ftp::settings::{Settings, TlsMode, Trust};
use crate::ftp::tls::Tls;
use crate::path::{RemotePath, escaped};
use data::Line;
use facts::{Address, Facts, Handshake, Listed, Shown, Stage, Upload, Version};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What a check does that it does not without being told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// To store a scratch file, and delete it again.
    pub write: bool,
    /// To open so many connections that the server refuses one, within reason.
    pub limits: bool,
}

/// Finds out all that can be found out. `tell` hears of each step when it begins.
pub fn examine(settings: &Settings, wishes: Wishes, tell: &mut dyn FnMut(Stage)) -> Facts {
    let mut examination = Examination { settings, facts: Facts::default(), tell };
    examination.run(wishes);
    examination.facts
}

struct Examination<'a> {
    settings: &'a Settings,
    facts: Facts,
    tell: &'a mut dyn FnMut(Stage),
}

impl Examination<'_> {
    fn run(&mut self, wishes: Wishes) {
        self.facts.believed_by = believed_by(&self.settings.trust);
        self.begin(Stage::Connect);
        let Some((server, client)) = self.connect() else { return };
        self.begin(Stage::Look);
        self.look(&server, &client);
        self.begin(Stage::List);
        self.list(&server, &client);
        client.close();
        let directory = server.pathname(&RemotePath::root()).ok();
        if self.facts.failures.iter().any(|(_, error)| error.is_of_data_port()) {
            // Each trial would wait for the same port.
            log::debug!("no data connection comes through");
        } else {
            self.reuse(directory.as_deref());
        }
        self.begin(Stage::Passive);
        self.passive();
        if let Some(directory) = directory.filter(|_| wishes.write) {
            self.begin(Stage::Upload);
            self.upload(&directory);
        }
        if wishes.limits {
            self.begin(Stage::Connections);
            self.facts.connections = Some(connections::count(self.settings));
        }
    }

    fn begin(&mut self, stage: Stage) {
        log::debug!("{stage:?}");
        (self.tell)(stage);
    }

    fn fail(&mut self, stage: Stage, error: Error) {
        log::debug!("{stage:?} failed: {error}");
        self.facts.failures.push((stage, error));
    }

    /// Everything up to the login, as the mount does it.
    fn connect(&mut self) -> Option<(Arc<Server>, Client)> {
        let server = match Server::new(self.settings.clone()) {
            Ok(server) => Arc::new(server),
            Err(error) => {
                self.fail(Stage::Connect, error);
                return None;
            }
        };
        let mut witness = Witness::default();
        let connected = Client::witnessed(Arc::clone(&server), &mut witness);
        self.take(&witness);
        match connected {
            Ok(client) => {
                self.facts.verified = Some(true);
                Some((server, client))
            }
            Err(error) => {
                let handshake_ended = witness.handshake.is_some();
                let is_untrusted = matches!(error, Error::Untrusted { .. });
                self.facts.verified = (is_untrusted || handshake_ended).then_some(handshake_ended);
                self.try_other_mode(&error);
                self.fail(Stage::Connect, error);
                None
            }
        }
    }

    fn take(&mut self, witness: &Witness) {
        let facts = &mut self.facts;
        facts.looked_up = witness.dialled.looked_up;
        facts.addresses = witness.dialled.attempts.iter().map(Address::of).collect();
        facts.greeting = witness.greeting.as_ref().map(ToString::to_string);
        facts.software = witness.greeting.as_ref().and_then(|greeting| software::told_by(&greeting.text()));
        facts.auth = witness.auth.as_ref().map(ToString::to_string);
        facts.tls = Handshake::of(witness);
        let now = SystemTime::now();
        facts.certificates = witness.heard.chain.iter().map(|certificate| Shown::of(certificate, now)).collect();
        facts.login = witness.login.as_ref().map(ToString::to_string);
    }

    /// A port that does not understand us may understand the other mode of TLS. No more than a handshake: what the account is
    /// goes nowhere it was not meant for.
    fn try_other_mode(&mut self, error: &Error) {
        let is_mute = match error {
            Error::Deadline { .. } | Error::Closed { .. } | Error::Misbehaved { .. } => true,
            Error::Io { .. } => self.facts.addresses.iter().any(|address| address.connected.is_some()),
            _ => false,
        };
        let came_here = self.facts.addresses.iter().any(|address| address.connected.is_some());
        if self.settings.tls == TlsMode::Explicit && self.facts.greeting.is_none() && is_mute && came_here {
            self.begin(Stage::OtherMode);
            self.facts.other_mode = Some(speaks_tls_at_once(self.settings));
        }
    }

    /// What costs no data connection.
    fn look(&mut self, server: &Server, client: &Client) {
        if let Err(error) = client.enter_root() {
            self.fail(Stage::Look, error);
        }
        self.facts.directory = server.pathname(&RemotePath::root()).ok().map(|pathname| escaped(&pathname).to_string());
        let mut ask = |command: &Command<'_>| match client.ask(command) {
            Ok(reply) => Some(reply),
            Err(error) => {
                self.facts.failures.push((Stage::Look, error));
                None
            }
        };
        let system = ask(&Command::Syst);
        let features = ask(&Command::Feat);
        let times = (0..ROUND_TRIPS).filter_map(|_| {
            let began = Instant::now();
            ask(&Command::Noop).map(|_| began.elapsed())
        });
        self.facts.round_trip = times.min();
        self.facts.software = self.facts.software.or_else(|| software::told_by(&system.as_ref()?.text()));
        self.facts.system = system.map(|reply| reply.to_string());
        let lines = features.filter(|reply| reply.code.number() == 211).map(|reply| reply.lines).unwrap_or_default();
        let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
        self.facts.features = inner.iter().map(|line| escaped(line.trim_ascii()).to_string()).collect();
    }

    fn list(&mut self, server: &Server, client: &Client) {
        match client.survey() {
            Ok(survey) => {
                let listing = survey.listing;
                let now = SystemTime::now();
                self.facts.listing = Some(Listed {
                    command: survey.rung.to_string(),
                    form: listing.form.filter(|_| survey.rung != Rung::Facts),
                    entries: listing.entries.len(),
                    not_understood: listing.not_understood,
                    sample: listing.sample,
                    left_out: listing.refused_names + listing.duplicates,
                    facts_leave_out: server.facts_leave_out.is_set(),
                    ahead_of_utc_s: server.clock.is_known().then(|| server.clock.zone(now).ahead_at(now)),
                });
            }
            Err(error) => self.fail(Stage::List, error),
        }
    }

    /// The version that a mount speaks first.
    fn reuse(&mut self, directory: Option<&[u8]>) {
        let mut versions = [Version::Tls13, Version::Tls12];
        if self.facts.tls.as_ref().is_some_and(|tls| !tls.is_tls13) {
            versions.reverse();
        }
        let settings = self.impatient();
        for version in versions {
            self.begin(Stage::Reuse(version));
            self.facts.reuse.push(reuse::try_version(&settings, version, directory));
        }
    }

    fn passive(&mut self) {
        match self.with_line(passive::try_both) {
            Ok(passive) => self.facts.passive = Some(passive),
            Err(error) => self.fail(Stage::Passive, error),
        }
    }

    fn upload(&mut self, directory: &[u8]) {
        let mut upload = Upload::default();
        let done = self.with_line(|line| upload::try_scratch_file(line, directory, &mut upload));
        if let Err(error) = done {
            upload.failure.get_or_insert_with(|| error.to_string());
        }
        self.facts.upload = Some(upload);
    }

    /// What is tried besides has less time than what a mount needs.
    fn impatient(&self) -> Settings {
        Settings { timeout: self.settings.timeout.min(TRIAL_TIMEOUT_MAX), ..self.settings.clone() }
    }

    fn with_line<T>(&self, work: impl FnOnce(&mut Line<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let settings = self.impatient();
        let tls = Tls::new(&settings)?;
        let mut line = Line::open(&settings, &tls, &Arc::new(Counters::default()))?;
        let done = work(&mut line)?;
        line.control.quit();
        Ok(done)
    }
}

fn believed_by(trust: &Trust) -> &'static str {
    match trust {
        Trust::WebPki => "Mozilla's roots",
        Trust::System => "the system's roots",
        Trust::Pem(_) => "the authorities given",
        Trust::Pinned { roots: None, .. } => "its pin",
        Trust::Pinned { roots: Some(_), .. } => "its pin and its authority",
        Trust::FirstUse(_) => "the key seen first",
        Trust::Anything => "nothing",
    }
}

fn speaks_tls_at_once(settings: &Settings) -> bool {
    let timeout = settings.timeout.min(OTHER_MODE_MAX);
    let settings = Settings { tls: TlsMode::Implicit, timeout, ..settings.clone() };
    Tls::new(&settings).is_ok_and(|tls| Control::shakes_hands(&settings, &tls))
}

/// Nothing that is tried on purpose is waited for any longer.
const TRIAL_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How often the round trip is measured.
const ROUND_TRIPS: usize = 3;
/// The other mode of TLS is not waited for any longer.
const OTHER_MODE_MAX: Duration = Duration::from_secs(5);
