//! Times of servers that stand somewhere in the world, as the mount shows them and as the server's disk has them.

use crate::cases::{Case, give};
use crate::support::run::shell;
use crate::support::server::{Kind, Spec};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// New York and Kolkata, by their rules.
const ZONES: [&str; 2] = ["EST5EDT,M3.2.0,M11.1.0", "IST-5:30"];

/// ProFTPD without MLSD in `FEAT`: the client lists by LIST.
const BY_LIST: &str = "FactsAdvertise off";

/// How exactly a server tells times.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// `MLSD`: to the second.
    Facts,
    /// `LIST`: to the minute, and to the day of what is older than half a year.
    List,
}

#[test]
fn vsftpd_tells_universal_time_wherever_it_stands() {
    for zone in ZONES {
        check(Kind::Vsftpd, zone, &[], &[], Form::List);
    }
}

/// Its MDTM tells local time as well then, so that nothing gives the zone away: the option does. It takes today's distance
/// from UTC for every time, be it of the summer or of the winter.
#[test]
fn vsftpd_in_local_time_needs_the_option() {
    for (zone, option) in [(ZONES[0], "server_tz=America/New_York"), (ZONES[1], "server_tz=+05:30")] {
        check(Kind::Vsftpd, zone, &["use_localtime=YES"], &[option], Form::List);
    }
}

#[test]
fn proftpd_tells_universal_time_by_mlsd_and_by_list() {
    for zone in ZONES {
        check(Kind::Proftpd, zone, &[], &[], Form::Facts);
        check(Kind::Proftpd, zone, &[BY_LIST], &[], Form::List);
    }
}

#[test]
fn proftpd_lists_in_local_time_where_it_is_told_to() {
    for (zone, option) in [(ZONES[0], "server_tz=America/New_York"), (ZONES[1], "server_tz=Asia/Kolkata")] {
        check(Kind::Proftpd, zone, &[BY_LIST, "TimesGMT off"], &[option], Form::List);
        check(Kind::Proftpd, zone, &[BY_LIST, "TimesGMT off"], &[], Form::List);
    }
}

#[test]
fn pure_ftpd_tells_universal_time_by_mlsd() {
    for zone in ZONES {
        check(Kind::PureFtpd, zone, &[], &[], Form::Facts);
    }
}

fn check(kind: Kind, zone: &'static str, lines: &[&'static str], options: &[&str], form: Form) {
    let case = Case::empty_of(Spec { zone: Some(zone), lines: lines.to_vec(), ..Spec::new(kind, "/") });
    let days = [0, 1, 3, 17, 60, 110, 140, 250, 400, 3000];
    let aged =
        days.map(|days| (format!("{days} days"), SystemTime::now() - Duration::from_secs(days * 86_400 + 4_321)));
    for (name, time) in &aged {
        let file = fs::File::create(case.disk.join(name)).unwrap();
        file.set_modified(*time).unwrap();
        give(&case.disk.join(name));
    }
    let mount = case.mount_rw(options);
    let what = format!("{kind:?} {zone} {lines:?} {options:?}");
    let (on_disk, mounted) = (ls(&case.disk), ls(&mount.point));
    assert_eq!(on_disk.len(), days.len());
    for ((name, time), days) in aged.iter().zip(days) {
        let (disk, shown) = (&on_disk[name], &mounted[name]);
        let same = match form {
            Form::Facts => disk == shown,
            // Without the seconds.
            Form::List if days < 180 => disk[..16] == shown[..16],
            Form::List => within_the_day(*time, fs::metadata(mount.path(name)).unwrap().mtime()),
        };
        assert!(same, "{what}: {name} is {shown} and not {disk}\n{}", mount.log());
    }
    // Nor does ProFTPD tell of MFMT then.
    if !lines.contains(&BY_LIST) {
        what_is_set_is_shown(&case, mount.path("1 days").as_path(), &what);
    }
}

/// The day begins where the server stands, and the file was changed in it.
fn within_the_day(time: SystemTime, shown: i64) -> bool {
    let time = i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    (0..86_400).contains(&(time - shown))
}

fn what_is_set_is_shown(case: &Case, file: &Path, what: &str) {
    for date in ["2026-07-04 12:34:56", "2026-01-04 23:59:59", "2020-02-29 00:00:01"] {
        let shown = shell(r#"touch -d "$2 UTC" "$1"; TZ=UTC0 stat -c %y "$1""#, &[file.to_str().unwrap(), date]);
        assert_eq!(&shown.succeeded()[..19], date, "{what}");
        let on_disk = fs::metadata(case.disk.join(file.file_name().unwrap())).unwrap().modified().unwrap();
        assert_eq!(on_disk, fs::metadata(file).unwrap().modified().unwrap(), "{what}");
    }
}

/// `2026-11-23 14:40:36` by name, in UTC.
fn ls(directory: &Path) -> BTreeMap<String, String> {
    let text = shell(r#"TZ=UTC0 ls -l --time-style=full-iso "$1""#, &[directory]).succeeded();
    let lines = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.map(|words| (words[8..].join(" "), format!("{} {}", words[5], &words[6][..8]))).collect()
}
