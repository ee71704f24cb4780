//! What the server's clock shows, found out by comparing what `LIST` and `MDTM` say of the same file.
//!
//! `MDTM` tells universal time (RFC 3659 section 3), `LIST` whatever the server's administrator chose: vsftpd and ProFTPD
//! universal time unless told otherwise, Pure-FTPd and most others the time of their place. One comparison tells the
//! difference, a second confirms it; where the place puts its clocks on and back, a file of each half of the year does.

use crate::ftp::time::{AHEAD_MAX, Zone, month_and_day};
use crate::remote::{Entry, FileKind, Modified};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

/// The server's clock, as far as it is known.
#[derive(Debug)]
pub struct Clock {
    /// `server_tz=`
    told: Option<Zone>,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    winter: Option<Difference>,
    summer: Option<Difference>,
    /// In weeks in which some places have changed and others have not.
    between: Option<Difference>,
    /// How many files were asked about.
    asked: u32,
    /// `MDTM` tells the time of the place as well: vsftpd with `use_localtime`.
    mdtm_is_local: bool,
}

/// How far the server's clock is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Difference {
    seconds: i32,
    /// What `LIST` showed of the first file; a second one confirms it.
    shown: SystemTime,
    is_confirmed: bool,
}

/// A part of the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Season {
    Winter,
    Summer,
    Between,
}

impl Clock {
    /// A clock of which nothing is known but what the user told.
    pub fn new(told: Option<Zone>) -> Self {
        Self { told, learnt: Mutex::default() }
    }

    /// The zone in which to read a listing now.
    pub fn zone(&self, now: SystemTime) -> Zone {
        match &self.told {
            Some(_) => self.zone_of_mdtm(now).or_else(|| self.told.clone()).unwrap_or_default(),
            None => self.learnt.lock().zone(),
        }
    }

    /// The zone of `MDTM`, where it is not UTC. vsftpd, the only server known to do so, then shifts every time by as much as
    /// its place is ahead of UTC today, be it summer or winter.
    fn zone_of_mdtm(&self, now: SystemTime) -> Option<Zone> {
        let told = self.told.as_ref().filter(|_| self.learnt.lock().mdtm_is_local)?;
        Some(Zone::Ahead(told.ahead_at(now)))
    }

    /// Whether it was told or found out.
    pub fn is_known(&self) -> bool {
        self.told.is_some() || self.learnt.lock().zone() != Zone::Unknown
    }

    /// The files of a listing whose `MDTM` would tell more of the clock; few, and none once it is known.
    pub fn doubts<'a>(&self, entries: &'a [Entry], zone: &Zone) -> Vec<&'a Entry> {
        let learnt = self.learnt.lock();
        if learnt.asked >= ASKED_MAX {
            return Vec::new();
        }
        let mut doubts: Vec<_> = entries
            .iter()
            .filter_map(|entry| {
                let shown = shown(entry, zone)?;
                let season = Season::of(shown);
                (!learnt.knows(season, shown, self.told.is_some())).then_some((season, shown, entry))
            })
            .collect();
        let is_of_a_half = |season: Season| season != Season::Between;
        if doubts.iter().any(|(season, ..)| is_of_a_half(*season)) {
            doubts.retain(|(season, ..)| is_of_a_half(*season));
        }
        // The youngest of each season: the rules of its place are most likely those of today.
        doubts.sort_by_key(|(season, shown, _)| (*season as u8, Reverse(*shown)));
        doubts.dedup_by_key(|(season, shown, _)| (*season as u8, *shown));
        let seasons = [Season::Winter, Season::Summer, Season::Between].into_iter();
        let of = |wanted| doubts.iter().filter(move |(season, ..)| *season == wanted).take(FILES_A_SEASON);
        seasons.flat_map(of).map(|(_, _, entry)| *entry).collect()
    }

    /// Learns from what `MDTM` `said` of a file that was `listed` in `zone`; `None` where it said nothing.
    pub fn learn(&self, listed: &Entry, zone: &Zone, said: Option<Modified>) {
        let mut learnt = self.learnt.lock();
        learnt.asked += 1;
        let difference = said.and_then(|said| difference(shown(listed, zone)?, listed.metadata.modified?, said));
        let Some((shown, seconds)) = shown(listed, zone).zip(difference) else { return };
        match &self.told {
            Some(told) => learnt.compare_with(told, said, seconds),
            None => learnt.add(shown, seconds),
        }
    }

    /// What `MDTM` said, in universal time.
    pub fn said_by_mdtm(&self, said: Modified, now: SystemTime) -> Modified {
        let zone = self.zone_of_mdtm(now);
        let time = zone.and_then(|zone| zone.moment_shown(said.time)).unwrap_or(said.time);
        Modified { time, ..said }
    }

    /// What to say to `MDTM` for a file to get `time`.
    pub fn to_say_to_mdtm(&self, time: SystemTime, now: SystemTime) -> SystemTime {
        self.zone_of_mdtm(now).and_then(|zone| zone.shown_at(time)).unwrap_or(time)
    }
}

impl Learnt {
    fn zone(&self) -> Zone {
        let seconds = |difference: Option<Difference>| difference.map(|difference| difference.seconds);
        match (seconds(self.winter), seconds(self.summer), seconds(self.between)) {
            (Some(winter), Some(summer), _) => Zone::of_halves(winter, summer),
            (Some(seconds), None, _) | (None, Some(seconds), _) | (None, None, Some(seconds)) => Zone::Ahead(seconds),
            // It does not get better.
            _ if self.asked >= ASKED_MAX => Zone::UTC,
            _ => Zone::Unknown,
        }
    }

    /// Whether another file that was `shown` so would tell nothing new.
    fn knows(&self, season: Season, shown: SystemTime, is_told: bool) -> bool {
        let of = |season| match season {
            Season::Winter => self.winter,
            Season::Summer => self.summer,
            Season::Between => self.between,
        };
        let known = |season| of(season).is_some_and(|difference| difference.is_confirmed || difference.shown == shown);
        let any = || [Season::Winter, Season::Summer, Season::Between].into_iter().any(known);
        known(season) || (is_told || season == Season::Between) && any()
    }

    fn add(&mut self, shown: SystemTime, seconds: i32) {
        let place = match Season::of(shown) {
            Season::Winter => &mut self.winter,
            Season::Summer => &mut self.summer,
            Season::Between => &mut self.between,
        };
        *place = match *place {
            None => Some(Difference { seconds, shown, is_confirmed: false }),
            Some(before) if before.seconds == seconds => Some(Difference { is_confirmed: true, ..before }),
            // One of the two files changed while it was asked about, or lies about its time.
            Some(before) if before.is_confirmed => Some(before),
            Some(_) => None,
        };
        if place.is_some_and(|difference| difference.is_confirmed) {
            log::debug!("the server's clock is {seconds} s ahead of UTC in listings");
        }
    }

    fn compare_with(&mut self, told: &Zone, said: Option<Modified>, seconds: i32) {
        let Some(said) = said else { return };
        // One comparison is enough, whatever the season.
        let known = Difference { seconds, shown: said.time, is_confirmed: true };
        (self.winter, self.summer, self.between) = (Some(known), Some(known), Some(known));
        let expected = told.ahead_at(said.time);
        if seconds == 0 && expected != 0 {
            self.mdtm_is_local = true;
            log::info!("MDTM tells the same time as LIST: both are read in the zone of server_tz=");
        } else if seconds != expected {
            log::warn!("server_tz= is {expected} s ahead of UTC, but listings seem to be {seconds} s ahead");
        }
    }
}

impl Season {
    /// From the Arctic to New Zealand clocks are changed in March and April, and from September to November.
    fn of(shown: SystemTime) -> Self {
        match month_and_day(shown) {
            Some((11, 10..) | (12 | 1 | 2, _) | (3, ..=5)) => Self::Winter,
            Some((4, 10..) | (5..=8, _)) => Self::Summer,
            _ => Self::Between,
        }
    }
}

/// What `LIST` showed of a file, as if its clock were one of UTC; `None` where it showed no time of day.
fn shown(entry: &Entry, zone: &Zone) -> Option<SystemTime> {
    let modified = entry.metadata.modified.filter(|modified| modified.precision <= MINUTE)?;
    zone.shown_at(modified.time).filter(|_| entry.metadata.kind == FileKind::File)
}

/// How far a clock that showed `shown` of a file, rounded down as `listed` is, is ahead of one that `said` its time: a
/// multiple of a quarter of an hour, or `None` if there is none that would fit.
fn difference(shown: SystemTime, listed: Modified, said: Modified) -> Option<i32> {
    let least = match shown.duration_since(said.time) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
        Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
    };
    let seconds = -(-least).div_euclid(QUARTER) * QUARTER;
    let rounded = u64::try_from(seconds - least).ok()?;
    let fits = Duration::from_secs(rounded) < listed.precision.max(Duration::from_secs(1));
    i32::try_from(seconds).ok().filter(|seconds| fits && seconds.abs() <= AHEAD_MAX)
}

const MINUTE: Duration = Duration::from_secs(60);

/// All zones of the present are a multiple of this (seconds) from UTC.
const QUARTER: i64 = 15 * 60;

/// As many files of one listing are asked about for each part of the year: one tells, the other confirms.
const FILES_A_SEASON: usize = 2;

/// After as many questions in a mount no more are asked: the server has no `MDTM`, or its times do not fit.
const ASKED_MAX: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::time_val;
    use crate::path::Name;
    use crate::remote::Metadata;

    fn at(text: &str) -> Modified {
        time_val(text.as_bytes()).unwrap()
    }

    const NOW: &str = "20261123150000";

    /// A server's listing of files of these times, as it is read in `zone`.
    fn listed(times: &[&str], place: &Zone, zone: &Zone) -> Vec<Entry> {
        let entry = |text: &&str| {
            let shown = place.shown_at(at(text).time).unwrap();
            let minute = shown
                - Duration::from_secs(at(text).time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() % 60);
            let modified = Modified { time: zone.moment_shown(minute).unwrap(), precision: MINUTE };
            let metadata = Metadata { modified: Some(modified), ..Metadata::of_kind(FileKind::File) };
            Entry { name: Name::new(text.as_bytes()).unwrap(), metadata }
        };
        times.iter().map(entry).collect()
    }

    /// Lists files of these times as a client does that asks what it doubts; how many it asked about.
    fn list(clock: &Clock, times: &[&str], place: &Zone) -> usize {
        let zone = clock.zone(at(NOW).time);
        let entries = listed(times, place, &zone);
        let doubts = clock.doubts(&entries, &zone);
        for entry in &doubts {
            clock.learn(entry, &zone, Some(at(&entry.name.to_string())));
        }
        doubts.len()
    }

    #[test]
    fn two_files_tell_the_offset_and_nobody_is_asked_again() {
        for place in ["UTC", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Kiritimati", "-12"] {
            let (clock, place) = (Clock::new(None), Zone::parse(place).unwrap());
            assert_eq!(clock.zone(at(NOW).time), Zone::Unknown);
            let times = ["20261123144036", "20261122090000", "20261121235959", "20261120000001"];
            assert_eq!(list(&clock, &times, &place), 2);
            assert_eq!(clock.zone(at(NOW).time), Zone::Ahead(place.ahead_at(at(times[0]).time)), "{place:?}");
            assert_eq!(list(&clock, &times, &place), 0);
        }
    }

    #[test]
    fn one_file_tells_the_offset_and_the_next_confirms_it() {
        let (clock, place) = (Clock::new(None), Zone::parse("Asia/Kolkata").unwrap());
        assert_eq!(list(&clock, &["20261123144036"], &place), 1);
        assert_eq!(clock.zone(at(NOW).time), Zone::Ahead(19_800));
        assert_eq!(list(&clock, &["20261123144036"], &place), 0, "the same file tells nothing new");
        assert_eq!(list(&clock, &["20261122144036"], &place), 1);
        assert_eq!(list(&clock, &["20261121144036"], &place), 0);
    }

    #[test]
    fn a_file_of_each_half_of_the_year_tells_the_rules() {
        for name in ["America/New_York", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata"] {
            let (clock, place) = (Clock::new(None), Zone::parse(name).unwrap());
            // One half at a time, as directories come.
            assert_eq!(list(&clock, &["20261123144036", "20261122090000", "20261015090000"], &place), 2);
            assert_eq!(list(&clock, &["20260704120000", "20260801120000", "20261123144036"], &place), 2);
            for day in 0..365 {
                let time = at("20260101120000").time + Duration::from_secs(day * 86_400);
                assert_eq!(clock.zone(at(NOW).time).ahead_at(time), place.ahead_at(time), "{name}, day {day}");
            }
        }
    }

    #[test]
    fn weeks_in_which_places_differ_count_only_where_there_is_nothing_else() {
        let (clock, place) = (Clock::new(None), Zone::parse("America/New_York").unwrap());
        assert_eq!(list(&clock, &["20261015090000", "20261014090000"], &place), 2);
        assert_eq!(clock.zone(at(NOW).time), Zone::Ahead(-4 * 3600));
        assert_eq!(list(&clock, &["20261123090000", "20261122090000", "20261013090000"], &place), 2);
        assert_eq!(clock.zone(at(NOW).time), Zone::Ahead(-5 * 3600));
    }

    #[test]
    fn a_difference_is_a_quarter_of_an_hour_or_none() {
        let minute = |text| Modified { precision: MINUTE, ..at(text) };
        for (shown, said, expected) in [
            ("20261123144000", "20261123144036", Some(0)),
            ("20261123201000", "20261123144036", Some(19_800)),
            ("20261123094000", "20261123144036", Some(-18_000)),
            ("20261123094000", "20261123144000", Some(-18_000)),
            // The file was written to in between.
            ("20261123144000", "20261123144136", None),
            ("20261123144100", "20261123144036", None),
            ("20261123144000", "20261125144036", None),
            ("20251123144000", "20261123144036", None),
        ] {
            assert_eq!(difference(at(shown).time, minute(shown), at(said)), expected, "{shown} {said}");
        }
    }

    #[test]
    fn a_server_whose_times_do_not_fit_is_not_asked_for_ever() {
        let clock = Clock::new(None);
        let mut asked = 0;
        for day in 10..29 {
            let entries =
                listed(&[&format!("202611{day}144036"), &format!("202611{day}134036")], &Zone::UTC, &Zone::UTC);
            for entry in clock.doubts(&entries, &Zone::UTC) {
                clock.learn(entry, &Zone::UTC, None);
                asked += 1;
            }
        }
        assert_eq!((asked, clock.zone(at(NOW).time)), (ASKED_MAX, Zone::UTC));
    }

    /// vsftpd with `use_localtime`: both commands tell the time of the place.
    #[test]
    fn a_local_mdtm_is_noticed_where_the_zone_is_told() {
        let place = Zone::parse("America/New_York").unwrap();
        let clock = Clock::new(Some(place.clone()));
        let entries = listed(&["20261123144036"], &place, &place);
        let local = Modified { time: place.shown_at(at("20261123144036").time).unwrap(), ..at("20261123144036") };
        assert_eq!(clock.doubts(&entries, &place).len(), 1);
        clock.learn(&entries[0], &place, Some(local));
        assert_eq!(clock.said_by_mdtm(local, at(NOW).time), at("20261123144036"));
        // Summer or not.
        assert_eq!(clock.to_say_to_mdtm(at("20260704120000").time, at(NOW).time), at("20260704070000").time);
        assert_eq!(clock.zone(at("20260704120000").time), Zone::Ahead(-4 * 3600));
        assert!(clock.doubts(&entries, &place).is_empty());

        let other = Clock::new(Some(place.clone()));
        other.learn(&entries[0], &place, Some(at("20261123144036")));
        assert_eq!(other.said_by_mdtm(local, at(NOW).time), local);
    }
}
