//! Transfers under way: how far each has come, and how fast it goes.

use crate::path::RemotePath;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A rate is that of the last two to four seconds: of one such span and what came since.
const SPAN: Duration = Duration::from_secs(2);

/// Whither a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the server.
    Down,
    /// To the server.
    Up,
}

/// A transfer at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Underway {
    /// The file on the server: an upload's has a temporary name mostly.
    pub path: RemotePath,
    /// Whither it goes.
    pub direction: Direction,
    /// Where in the file it began (bytes).
    pub start: u64,
    /// How far it has come in the file (bytes).
    pub position: u64,
    /// The file's size (bytes), if it is known.
    pub size: Option<u64>,
    /// Bytes a second, of late.
    pub rate: f64,
    /// Since when it runs.
    pub age: Duration,
    /// Since when nothing came.
    pub quiet: Duration,
}

/// Those that run.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    last: u64,
    all: BTreeMap<u64, Arc<Progress>>,
}

/// One of them. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    transfers: Arc<Transfers>,
    number: u64,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Progress {
    path: RemotePath,
    direction: Direction,
    start: u64,
    size: Option<u64>,
    began: Instant,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    position: u64,
    moved: Instant,
    /// When the span before this one began, and this one, and where in the file.
    spans: [(Instant, u64); 2],
}

impl Transfers {
    pub(super) fn begin(
        self: &Arc<Self>,
        path: &RemotePath,
        direction: Direction,
        start: u64,
        size: Option<u64>,
        now: Instant,
    ) -> Entry {
        let pace = Mutex::new(Pace { position: start, moved: now, spans: [(now, start); 2] });
        let progress = Arc::new(Progress { path: path.clone(), direction, start, size, began: now, pace });
        let mut running = self.running.lock();
        running.last += 1;
        let number = running.last;
        running.all.insert(number, Arc::clone(&progress));
        Entry { transfers: Arc::clone(self), number, progress }
    }

    /// All of them, the oldest first.
    pub(super) fn underway(&self, now: Instant) -> Vec<Underway> {
        self.running.lock().all.values().map(|progress| progress.underway(now)).collect()
    }
}

impl Entry {
    pub(super) fn moved(&self, bytes: u64, now: Instant) {
        self.progress.pace.lock().moved(bytes, now);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.transfers.running.lock().all.remove(&self.number);
    }
}

impl Progress {
    fn underway(&self, now: Instant) -> Underway {
        let pace = self.pace.lock();
        Underway {
            path: self.path.clone(),
            direction: self.direction,
            start: self.start,
            position: pace.position,
            size: self.size,
            rate: pace.rate(now),
            age: now.saturating_duration_since(self.began),
            quiet: now.saturating_duration_since(pace.moved),
        }
    }
}

impl Pace {
    fn moved(&mut self, bytes: u64, now: Instant) {
        if now.saturating_duration_since(self.spans[1].0) >= SPAN {
            self.spans = [self.spans[1], (now, self.position)];
        }
        self.position += bytes;
        self.moved = now;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    fn rate(&self, now: Instant) -> f64 {
        let (since, from) = self.spans[0];
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds > 0.0 { (self.position - from) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds_and_falls_when_nothing_comes() {
        let (transfers, start) = (Arc::new(Transfers::default()), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let path = RemotePath::parse(b"/f").unwrap();
        let entry = transfers.begin(&path, Direction::Down, 1000, Some(9000), start);
        // 100 bytes a second for ten seconds, then 1000.
        (1..=100).for_each(|tenth| entry.moved(10, at(tenth * 100)));
        let rate = |millis| transfers.underway(at(millis))[0].rate;
        assert!((95.0..=105.0).contains(&rate(10_000)), "{}", rate(10_000));
        (101..=150).for_each(|tenth| entry.moved(100, at(tenth * 100)));
        assert!((950.0..=1050.0).contains(&rate(15_000)), "{}", rate(15_000));
        assert!(rate(60_000) < 100.0);
        let underway = &transfers.underway(at(16_000))[0];
        assert_eq!((underway.start, underway.position, underway.quiet), (1000, 7000, Duration::from_secs(1)));
        drop(entry);
        assert_eq!(transfers.underway(at(16_000)), []);
    }
}
