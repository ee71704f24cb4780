//! Names that ftpsfs gives: to uploads that are not whole yet, to open files that were unlinked, to versions in
//! conflict and to what is being replaced.

use crate::path::Name;
use crate::remote::Modified;
use parking_lot::Mutex;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

const PREFIX: &[u8] = b".ftpsfs-";
const SUFFIX: &[u8] = b".part";
/// Longer names than this (bytes) are refused by the file systems behind most servers.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// What of the host's name goes into a name (bytes).
const HOST_BYTES_MAX: usize = 63;
/// Why what has such a name has it.
const REPLACED: &str = "replaced";
/// A temporary of this host is given up after this long: no upload of ours runs so long without an end.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Gives names for one host.
#[derive(Debug)]
pub(crate) struct Namer {
    host: String,
    /// Tells this mount's names from those of others on this host: the upper half of the random number.
    mount: u32,
    /// The second of the last name beside another, and how many there were in it.
    beside: Mutex<(String, u32)>,
}

/// A name that was found to be a temporary one, of whatever host.
#[derive(Debug, PartialEq, Eq)]
struct Temporary<'a> {
    host: &'a [u8],
    made: SystemTime,
    random: u64,
}

impl Namer {
    /// Names with as much of `host` as a name can carry.
    pub(crate) fn new(host: &str) -> Self {
        let plain = |character: &char| character.is_ascii_alphanumeric() || "-_.".contains(*character);
        let host: String = host.chars().filter(plain).take(HOST_BYTES_MAX).collect();
        Self {
            host: if host.is_empty() { "localhost".into() } else { host },
            mount: upper(random()),
            beside: Mutex::default(),
        }
    }

    /// A temporary name that was not given before: `.ftpsfs-<host>-<seconds>-<random>.part`, both numbers hexadecimal.
    pub(crate) fn temporary(&self, now: SystemTime) -> Name {
        let random = u64::from(self.mount) << 32 | random() & u64::from(u32::MAX);
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        known_good(format!(".ftpsfs-{}-{seconds:x}-{random:016x}.part", self.host).into_bytes())
    }

    /// Where our version goes when the server's `name` is not to be overwritten: `<name>.conflict-<host>-<YYYYmmddTHHMMSSZ>`.
    pub(crate) fn conflict(&self, name: &Name, now: SystemTime) -> Name {
        self.beside(name.as_bytes(), "conflict", now)
    }

    /// Where the server's `name` goes until something else has that name: `<name>.replaced-<host>-<YYYYmmddTHHMMSSZ>`, and what
    /// is no longer than other names of ours, where the server does not take that.
    pub(crate) fn replaced(&self, name: &Name, now: SystemTime) -> [Name; 2] {
        [name.as_bytes(), b"file"].map(|name| self.beside(name, REPLACED, now))
    }

    /// With a number behind it from the second in one second on: one version must not replace another.
    fn beside(&self, name: &[u8], why: &str, now: SystemTime) -> Name {
        let second = utc(now);
        let count = {
            let mut beside = self.beside.lock();
            let count = if beside.0 == second { beside.1 + 1 } else { 1 };
            *beside = (second.clone(), count);
            count
        };
        let number = if count > 1 { format!("-{count}") } else { String::new() };
        let suffix = format!(".{why}-{}-{second}{number}", self.host);
        let room = NAME_BYTES_MAX.saturating_sub(suffix.len());
        known_good([shortened(name, room), suffix.as_bytes()].concat())
    }

    /// Whether `name` is a temporary of this host that was left behind. This mount's own never is, nor one that was
    /// `modified` not long ago: a program may write for days. A file that was removed and is kept open for longer than that by
    /// another mount of this host goes: it has no name that anybody could miss.
    pub(crate) fn is_left_behind(&self, name: &[u8], modified: Option<Modified>, now: SystemTime) -> bool {
        let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > STALE_AFTER);
        recognised(name).is_some_and(|temporary| {
            temporary.host == self.host.as_bytes()
                && upper(temporary.random) != self.mount
                && is_old(temporary.made)
                && modified.is_none_or(|modified| is_old(modified.time))
        })
    }
}

/// Whether `name` is a temporary name of any host: none is ever shown.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    recognised(name).is_some()
}

/// Whether a server is about to delete what it has under `name`: Pure-FTPd that knows of quotas renames first what `DELE` names, to
/// `.pureftpd-rename.<process>.<number, in hexadecimal>`.
pub(crate) fn is_being_deleted(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".pureftpd-rename.") else { return false };
    let mut parts = rest.split(|byte| *byte == b'.');
    let mut is_next_of = |is_digit: fn(&u8) -> bool| {
        parts.next().is_some_and(|number| !number.is_empty() && number.iter().all(is_digit))
    };
    is_next_of(u8::is_ascii_digit) && is_next_of(u8::is_ascii_hexdigit) && parts.next().is_none()
}

/// Whether `name` may be one of [`Namer::replaced`].
pub(crate) fn may_be_replaced(name: &[u8]) -> bool {
    let mark = [b".", REPLACED.as_bytes(), b"-"].concat();
    name.windows(mark.len()).any(|part| part == mark)
}

/// `now` as `YYYYmmddTHHMMSSZ`.
pub(crate) fn utc(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let (year, month, day) = (now.year(), u8::from(now.month()), now.day());
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second())
}

fn recognised(name: &[u8]) -> Option<Temporary<'_>> {
    let middle = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    // The host's name may hold hyphens itself.
    let mut parts = middle.rsplitn(3, |&byte| byte == b'-');
    let (random, seconds, host) = (hexadecimal(parts.next()?)?, hexadecimal(parts.next()?)?, parts.next()?);
    let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(Temporary { host, made, random })
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn upper(number: u64) -> u32 {
    u32::try_from(number >> 32).unwrap_or_default()
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// At most `room` bytes of `name`, with no character cut in two where it is UTF-8.
fn shortened(name: &[u8], room: usize) -> &[u8] {
    let mut end = name.len().min(room);
    if let Ok(text) = std::str::from_utf8(name) {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
    }
    &name[..end]
}

fn known_good(bytes: Vec<u8>) -> Name {
    Name::new(bytes).expect("made of a name, letters, digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn temporary_names_are_recognised_and_never_the_same() {
        let namer = Namer::new("web-1/ä");
        let (one, other) = (namer.temporary(at(0x5000_0000)), namer.temporary(at(0x5000_0000)));
        assert_ne!(one, other);
        assert!(one.as_bytes().starts_with(b".ftpsfs-web-1-50000000-"), "{one}");
        assert!(is_temporary(one.as_bytes()));
        for other in [".ftpsfs-x.part", ".ftpsfs-h-zz-1.part", "ftpsfs-h-1-1.part", ".ftpsfs-h-1-1.par", "a"] {
            assert!(!is_temporary(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_a_server_is_about_to_delete_is_recognised() {
        for name in [".pureftpd-rename.78.25609253", ".pureftpd-rename.1.aF"] {
            assert!(is_being_deleted(name.as_bytes()), "{name}");
        }
        // The last is an upload of somebody else's.
        for name in [
            ".pureftpd-rename.1",
            ".pureftpd-rename..2",
            ".pureftpd-rename.1.2.3",
            ".pureftpd-rename.a.2",
            ".pureftpd-rename.1.",
            "pureftpd-rename.1.2",
            ".pureftpd-upload.5f1c.15.1a2b.9c",
        ] {
            assert!(!is_being_deleted(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_old_ones_of_this_host_are_left_behind() {
        let (ours, theirs) = (Namer::new("a"), Namer::new("b"));
        let other_mount = Namer::new("a");
        let name = ours.temporary(at(1_000_000));
        let now = at(1_000_001 + 86_400);
        assert!(!other_mount.is_left_behind(name.as_bytes(), None, at(1_000_000 + 86_400)));
        assert!(other_mount.is_left_behind(name.as_bytes(), None, now));
        let recent = Some(Modified { time: at(1_000_002), precision: Duration::from_secs(1) });
        assert!(!other_mount.is_left_behind(name.as_bytes(), recent, now));
        assert!(!ours.is_left_behind(name.as_bytes(), None, now));
        assert!(!theirs.is_left_behind(name.as_bytes(), None, at(9_000_000)));
    }

    #[test]
    fn what_is_replaced_is_shown_and_never_swept() {
        let (namer, name) = (Namer::new("h"), Name::new(b"a.txt".as_slice()).unwrap());
        let [long, short] = namer.replaced(&name, at(1_700_000_000));
        assert_eq!(long.as_bytes(), b"a.txt.replaced-h-20231114T221320Z");
        assert_eq!(short.as_bytes(), b"file.replaced-h-20231114T221320Z-2");
        for name in [long.as_bytes(), short.as_bytes()] {
            assert!(may_be_replaced(name) && !is_temporary(name));
            assert!(!Namer::new("h").is_left_behind(name, None, at(1_900_000_000)));
        }
        assert!(!may_be_replaced(b"a.replaced"));
    }

    #[test]
    fn a_conflict_name_tells_host_and_time_and_is_not_too_long() {
        let name = |text: &str| Name::new(text.as_bytes()).unwrap();
        let namer = Namer::new("h");
        let conflict = namer.conflict(&name("a.txt"), at(1_700_000_000));
        assert_eq!(conflict.as_bytes(), b"a.txt.conflict-h-20231114T221320Z");
        assert_ne!(namer.conflict(&name("a.txt"), at(1_700_000_000)), conflict, "one version must not replace another");
        let long = namer.conflict(&name(&"ä".repeat(127)), at(1_700_000_000));
        assert!(long.as_bytes().len() <= NAME_BYTES_MAX && std::str::from_utf8(long.as_bytes()).is_ok());
    }
}
