//! A [`Remote`] that is measured: how long its answers took, what is transferred, and whether the server answers at all.

use crate::path::RemotePath;
use crate::remote::condition::Condition;
use crate::remote::{
    Alteration, Download, Entry, Error, ErrorKind, Metadata, Named, Naming, Reach, Remote, Renaming, Seen, Start,
    Upload, Whereabouts,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub mod histogram;
mod transfers;

use histogram::Histogram;
use transfers::Transfers;
pub use transfers::{Direction, Underway};

/// What is asked of a server, as far as it is told apart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A listing.
    List,
    /// What there is under a name.
    Stat,
    /// From the question for a download to its beginning.
    Download,
    /// From the question for an upload to its beginning.
    Upload,
    /// From the last byte of an upload to the server's word that it is whole.
    Confirm,
    /// A directory or a link is made.
    Create,
    /// Something is removed.
    Remove,
    /// Something gets another name.
    Rename,
    /// Times and permission bits.
    Change,
    /// The free space.
    Space,
}

/// A measured [`Remote`].
#[derive(Debug)]
pub struct Metered {
    remote: Arc<dyn Remote>,
    meter: Arc<Meter>,
}

/// What was measured since the beginning.
#[derive(Debug, Default)]
pub struct Meter {
    /// None of the locks is held while the server is asked.
    times: Mutex<BTreeMap<Operation, Histogram>>,
    waiting: Mutex<Waiting>,
    health: Mutex<Health>,
    transfers: Arc<Transfers>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    since: BTreeMap<u64, Instant>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u64,
    /// The last failure, if nothing was answered since; and when the first one was.
    away: Option<(Instant, String)>,
}

/// How the server does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pulse {
    /// Requests that wait for its answer now.
    pub waiting: usize,
    /// How long the oldest of them does.
    pub longest: Option<Duration>,
    /// How many requests it did not answer, or could not be trusted with.
    pub failures: u64,
    /// Since when it answers nothing, and what was met last.
    pub away: Option<(Duration, String)>,
}

impl Metered {
    /// Measures `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> Self {
        Self { remote, meter: Arc::default() }
    }

    /// What is measured.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    fn ask<T>(&self, operation: Operation, ask: impl FnOnce(&dyn Remote) -> Result<T, Error>) -> Result<T, Error> {
        self.meter.measure(operation, || ask(&*self.remote))
    }
}

impl Meter {
    /// How long each kind of request took. Requests that failed count as well.
    pub fn times(&self) -> BTreeMap<Operation, Histogram> {
        self.times.lock().clone()
    }

    /// What is transferred now, the oldest first.
    pub fn underway(&self, now: Instant) -> Vec<Underway> {
        self.transfers.underway(now)
    }

    /// How the server does.
    pub fn pulse(&self, now: Instant) -> Pulse {
        let (waiting, longest) = {
            let waiting = self.waiting.lock();
            let oldest = waiting.since.first_key_value().map(|(_, since)| now.saturating_duration_since(*since));
            (waiting.since.len(), oldest)
        };
        let health = self.health.lock();
        let away = health.away.as_ref().map(|(since, text)| (now.saturating_duration_since(*since), text.clone()));
        Pulse { waiting, longest, failures: health.failures, away }
    }

    fn measure<T>(&self, operation: Operation, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let began = Instant::now();
        let turn = Turn::begin(self, began);
        let result = work();
        drop(turn);
        let now = Instant::now();
        self.times.lock().entry(operation).or_default().add(now.saturating_duration_since(began));
        self.heard(&result, now);
        result
    }

    /// What the server said, or that it said nothing. A refusal is an answer.
    fn heard<T>(&self, result: &Result<T, Error>, now: Instant) {
        let mut health = self.health.lock();
        match result {
            Err(error) if is_failure(error.kind) => {
                health.failures += 1;
                let since = health.away.take().map_or(now, |(since, _)| since);
                health.away = Some((since, error.to_string()));
            }
            // It was not asked, as it is known to be away.
            Err(error) if error.kind == ErrorKind::Away => {
                health.away.get_or_insert_with(|| (now, error.to_string()));
            }
            // Of these the server need not know.
            Err(Error { kind: ErrorKind::Preempted | ErrorKind::Busy, .. }) => {}
            _ => health.away = None,
        }
    }
}

fn is_failure(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Insecure | ErrorKind::LoginRefused)
}

/// One request that waits. It does not any more when this is dropped, by a panic too.
struct Turn<'a> {
    meter: &'a Meter,
    number: u64,
}

impl<'a> Turn<'a> {
    fn begin(meter: &'a Meter, now: Instant) -> Self {
        let mut waiting = meter.waiting.lock();
        waiting.last += 1;
        let number = waiting.last;
        waiting.since.insert(number, now);
        Self { meter, number }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.meter.waiting.lock().since.remove(&self.number);
    }
}

impl Remote for Metered {
    fn list(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        self.ask(Operation::List, |remote| remote.list(directory))
    }

    fn stat(&self, path: &RemotePath) -> Result<Metadata, Error> {
        self.ask(Operation::Stat, |remote| remote.stat(path))
    }

    fn stat_lists(&self) -> bool {
        self.remote.stat_lists()
    }

    fn ignores_case(&self) -> bool {
        self.remote.ignores_case()
    }

    fn is_away(&self) -> bool {
        self.remote.is_away()
    }

    fn spare(&self) -> usize {
        self.remote.spare()
    }

    fn prepare(&self) {
        self.remote.prepare();
    }

    fn on_spare(&self, told: Box<dyn Fn(Instant) + Send + Sync>) {
        self.remote.on_spare(told);
    }

    fn condition(&self) -> Condition {
        self.remote.condition()
    }

    fn read_from(&self, path: &RemotePath, offset: u64, size: Option<u64>) -> Result<Box<dyn Download>, Error> {
        let download = self.ask(Operation::Download, |remote| remote.read_from(path, offset, size))?;
        let entry = self.meter.transfers.begin(path, Direction::Down, offset, size, Instant::now());
        Ok(Box::new(MeteredDownload { download, entry, meter: self.meter() }))
    }

    fn write_to(&self, path: &RemotePath, start: Start) -> Result<Box<dyn Upload>, Error> {
        let upload = self.ask(Operation::Upload, |remote| remote.write_to(path, start))?;
        let begin = match start {
            Start::Beginning => 0,
            Start::End(position) => position,
        };
        let entry = self.meter.transfers.begin(path, Direction::Up, begin, None, Instant::now());
        Ok(Box::new(MeteredUpload { upload, entry, meter: self.meter() }))
    }

    fn create_directory(&self, path: &RemotePath) -> Result<(), Error> {
        self.ask(Operation::Create, |remote| remote.create_directory(path))
    }

    fn remove_directory(&self, path: &RemotePath) -> Result<(), Error> {
        self.ask(Operation::Remove, |remote| remote.remove_directory(path))
    }

    fn remove_file(&self, path: &RemotePath) -> Result<(), Error> {
        self.ask(Operation::Remove, |remote| remote.remove_file(path))
    }

    fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        self.ask(Operation::Rename, |remote| remote.rename(from, to))
    }

    fn remove_seen_file(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        self.ask(Operation::Remove, |remote| remote.remove_seen_file(path, seen))
    }

    fn remove_seen_directory(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        self.ask(Operation::Remove, |remote| remote.remove_seen_directory(path, seen))
    }

    fn rename_seen(&self, from: &RemotePath, to: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        self.ask(Operation::Rename, |remote| remote.rename_seen(from, to, seen))
    }

    fn set_modified(&self, path: &RemotePath, time: SystemTime) -> Result<(), Error> {
        self.ask(Operation::Change, |remote| remote.set_modified(path, time))
    }

    fn set_mode(&self, path: &RemotePath, mode: u16) -> Result<(), Error> {
        self.ask(Operation::Change, |remote| remote.set_mode(path, mode))
    }

    fn alter(&self, path: &RemotePath, alteration: Alteration) -> Result<Option<Metadata>, Error> {
        self.ask(Operation::Change, |remote| remote.alter(path, alteration))
    }

    fn create_symlink(&self, path: &RemotePath, target: &[u8]) -> Result<(), Error> {
        self.ask(Operation::Create, |remote| remote.create_symlink(path, target))
    }

    fn free_space(&self) -> Result<u64, Error> {
        self.ask(Operation::Space, |remote| remote.free_space())
    }
}

#[derive(Debug)]
struct MeteredDownload {
    download: Box<dyn Download>,
    entry: transfers::Entry,
    meter: Arc<Meter>,
}

impl Download for MeteredDownload {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = self.download.read(buffer);
        let now = Instant::now();
        if let Ok(count) = read {
            self.entry.moved(count as u64, now);
        }
        self.meter.heard(&read, now);
        read
    }

    fn expect(&mut self, reach: Reach) {
        self.download.expect(reach);
    }
}

#[derive(Debug)]
struct MeteredUpload {
    upload: Box<dyn Upload>,
    entry: transfers::Entry,
    meter: Arc<Meter>,
}

impl Upload for MeteredUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.upload.write(bytes);
        let now = Instant::now();
        match &written {
            Ok(()) => self.entry.moved(bytes.len() as u64, now),
            // That it is on its way says nothing of the server.
            Err(_) => self.meter.heard(&written, now),
        }
        written
    }

    fn follow(&mut self, whereabouts: Box<dyn Whereabouts>) {
        self.upload.follow(whereabouts);
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { upload, entry, meter } = *self;
        let finished = meter.measure(Operation::Confirm, || upload.finish());
        drop(entry);
        finished
    }

    fn finish_for(self: Box<Self>, naming: &Naming) -> Result<Option<Named>, Error> {
        let Self { upload, entry, meter } = *self;
        let named = meter.measure(Operation::Confirm, || upload.finish_for(naming));
        drop(entry);
        let measured = |named: Named| Named { renaming: Box::new(MeteredRenaming(named.renaming, meter)), ..named };
        named.map(|named| named.map(measured))
    }
}

#[derive(Debug)]
struct MeteredRenaming(Box<dyn Renaming>, Arc<Meter>);

impl Renaming for MeteredRenaming {
    fn rename(self: Box<Self>) -> Result<Option<Metadata>, Error> {
        let Self(renaming, meter) = *self;
        meter.measure(Operation::Rename, || renaming.rename())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_server_is_away_from_the_first_silence_to_the_next_answer() {
        let (meter, began) = (Meter::default(), Instant::now());
        let mut seconds = 0;
        let mut hear = |kind: Option<ErrorKind>| {
            seconds += 1;
            let result = kind.map_or(Ok(()), |kind| Err(Error::new(kind, format!("{kind:?}"))));
            meter.heard(&result, began + Duration::from_secs(seconds));
            let pulse = meter.pulse(began + Duration::from_secs(seconds));
            (pulse.failures, pulse.away.map(|(since, _)| since.as_secs()))
        };
        assert_eq!(hear(None), (0, None));
        assert_eq!(hear(Some(ErrorKind::TimedOut)), (1, Some(0)));
        // Who is told so at once did not ask.
        assert_eq!(hear(Some(ErrorKind::Away)), (1, Some(1)));
        assert_eq!(hear(Some(ErrorKind::Busy)), (1, Some(2)));
        assert_eq!(hear(Some(ErrorKind::Lost)), (2, Some(3)));
        // A refusal is an answer.
        assert_eq!(hear(Some(ErrorKind::NotFound)), (2, None));
        assert_eq!(hear(Some(ErrorKind::Away)), (2, Some(0)));
        assert_eq!(hear(None), (2, None));
    }

    /// A method that the trait answers itself would be answered so here as well, whatever the server can.
    #[test]
    fn everything_that_can_be_asked_is_passed_on() {
        let methods = |source: &'static str, head: &str| {
            let body = source.split_once(head).unwrap().1.split_once("\n}\n").unwrap().0;
            let named = body.split("\n    fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            named.collect::<BTreeSet<&str>>()
        };
        let (remote, meter) = (include_str!("remote.rs"), include_str!("meter.rs"));
        for (name, own) in [
            ("Remote", "Metered"),
            ("Download", "MeteredDownload"),
            ("Upload", "MeteredUpload"),
            ("Renaming", "MeteredRenaming"),
        ] {
            let wanted = methods(remote, &format!("pub trait {name}: "));
            assert!(!wanted.is_empty());
            assert_eq!(methods(meter, &format!("\nimpl {name} for {own} {{")), wanted, "{name}");
        }
    }
}
