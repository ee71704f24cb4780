//! Which version of a file's content a block belongs to, as it is written on the disk.

use crate::remote::{FileKind, Metadata, Modified};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime};

/// What a stamp takes on the disk.
pub(super) const STAMP_BYTES: usize = 48;
/// How much older than its precision a time of last change has to be, and by how much the server's clock may be slow.
const SETTLED: Duration = Duration::from_secs(60);
/// A time that is told less exactly tells no version: what replaces a file may be of the same minute or day.
pub(crate) const PRECISION_MAX: Duration = Duration::from_secs(1);
const UNIQUE_BYTES: usize = 16;

/// Size, time of last change and the server's identifier. Two that are not equal are of different versions: what may be the
/// same, as [`Metadata::same_version`] has it, is not enough for what is stored once and believed for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// In bytes.
    pub(crate) size: u64,
    modified: Modified,
    unique: Option<[u8; UNIQUE_BYTES]>,
}

impl Stamp {
    /// The stamp of what the server told at most `age` before `wall`; `None` where that does not tell a version for sure: a
    /// file that may still change without showing another time.
    pub(crate) fn new(metadata: &Metadata, wall: SystemTime, age: Duration) -> Option<Self> {
        let (size, modified) = (metadata.size?, metadata.modified?);
        let since = wall.duration_since(modified.time).ok()?;
        let settled = modified.precision.checked_add(SETTLED)?.checked_add(age)?;
        if metadata.kind != FileKind::File || modified.precision > PRECISION_MAX || since < settled {
            return None;
        }
        Some(Self { size, modified, unique: metadata.unique.as_deref().map(shortened) })
    }

    /// Whether the server may have told `metadata` of this version: listings may tell only minutes and days.
    pub(crate) fn may_be(&self, metadata: &Metadata) -> bool {
        metadata.size == Some(self.size)
            && metadata.modified.is_some_and(|modified| modified.agrees(&self.modified))
            && (metadata.unique.is_none() || metadata.unique.as_deref().map(shortened) == self.unique)
    }

    /// As it is written; `None` for a time before 1970 or so precise that it does not fit.
    pub(super) fn to_bytes(&self) -> Option<[u8; STAMP_BYTES]> {
        let since = self.modified.time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let precision = u64::try_from(self.modified.precision.as_nanos()).ok()?;
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&since.as_secs().to_le_bytes());
        bytes[16..20].copy_from_slice(&since.subsec_nanos().to_le_bytes());
        bytes[20..28].copy_from_slice(&precision.to_le_bytes());
        if let Some(unique) = &self.unique {
            bytes[28] = 1;
            bytes[32..].copy_from_slice(unique);
        }
        Some(bytes)
    }

    /// What [`Stamp::to_bytes`] wrote, or what became of it.
    pub(super) fn from_bytes(bytes: &[u8; STAMP_BYTES]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let nanos = u32::from_le_bytes(bytes[16..20].try_into().ok()?);
        let since = Duration::from_secs(number(8)?).checked_add(Duration::from_nanos(nanos.into()))?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
        let unique = if bytes[28] == 1 { Some(bytes[32..].try_into().ok()?) } else { None };
        Some(Self {
            size: number(0)?,
            modified: Modified { time, precision: Duration::from_nanos(number(20)?) },
            unique,
        })
    }
}

fn shortened(unique: &[u8]) -> [u8; UNIQUE_BYTES] {
    let mut short = [0; UNIQUE_BYTES];
    short.copy_from_slice(&Sha256::digest(unique)[..UNIQUE_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(modified: u64, precision: u64) -> Metadata {
        let modified = Some(Modified { time: at(modified), precision: Duration::from_secs(precision) });
        Metadata { size: Some(5), modified, ..Metadata::of_kind(FileKind::File) }
    }

    #[test]
    fn a_version_is_sure_once_no_later_change_can_have_its_time() {
        let age = Duration::from_secs(30);
        for (precision, wall, sure) in [
            (1, 1000, false),
            (1, 1090, false),
            (1, 1091, true),
            (60, 1_000_000, false),
            (86400, 1_000_000, false),
            // A clock that is ahead of ours.
            (1, 900, false),
        ] {
            let stamp = Stamp::new(&told(1000, precision), at(wall), age);
            assert_eq!(stamp.is_some(), sure, "precision {precision} at {wall}");
        }
        let late = at(1_000_000);
        assert_eq!(Stamp::new(&Metadata { size: None, ..told(1000, 1) }, late, age), None);
        assert_eq!(Stamp::new(&Metadata { modified: None, ..told(1000, 1) }, late, age), None);
        assert_eq!(Stamp::new(&Metadata { kind: FileKind::Directory, ..told(1000, 1) }, late, age), None);
    }

    #[test]
    fn what_a_listing_tells_in_minutes_may_be_of_a_version() {
        let unique = |unique: &'static [u8]| Some(unique.into());
        let stamp = |metadata: &Metadata| Stamp::new(metadata, at(1_000_000), Duration::ZERO).unwrap();
        let exact = stamp(&told(659, 1));
        for (metadata, may_be) in [
            (told(659, 1), true),
            (told(600, 60), true),
            (told(660, 60), false),
            (told(540, 60), false),
            (Metadata { size: Some(6), ..told(600, 60) }, false),
            (Metadata { size: None, ..told(600, 60) }, false),
            (Metadata { modified: None, ..told(600, 60) }, false),
            (Metadata { unique: unique(b"a"), ..told(600, 60) }, false),
        ] {
            assert_eq!(exact.may_be(&metadata), may_be, "{metadata:?}");
        }
        let named = stamp(&Metadata { unique: unique(b"a"), ..told(659, 1) });
        assert!(named.may_be(&told(600, 60)) && named.may_be(&Metadata { unique: unique(b"a"), ..told(600, 60) }));
        assert!(!named.may_be(&Metadata { unique: unique(b"b"), ..told(600, 60) }));
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let unique = Metadata { unique: Some(b"801U2a".as_slice().into()), ..told(1000, 1) };
        let other_unique = Metadata { unique: Some(b"801U2b".as_slice().into()), ..told(1000, 1) };
        let larger = Metadata { size: Some(6), ..told(1000, 1) };
        let stamps = [told(1000, 1), told(1001, 1), unique, other_unique, larger];
        let stamps = stamps.map(|metadata| Stamp::new(&metadata, at(1_000_000), Duration::ZERO).unwrap());
        for (number, stamp) in stamps.iter().enumerate() {
            assert_eq!(Stamp::from_bytes(&stamp.to_bytes().unwrap()).as_ref(), Some(stamp));
            assert_eq!(stamps.iter().position(|other| other == stamp), Some(number));
        }
    }
}
