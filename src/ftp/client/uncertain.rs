//! Whether a change was done whose reply never came. It must not be done twice: by then another client may have put something
//! else at the same name. So what is there now is compared with what was there before.

use crate::ftp::client::Client;
use crate::ftp::client::kind::translate;
use crate::ftp::error::Error;
use crate::path::RemotePath;
use crate::remote::{ErrorKind, FileKind, Metadata, Seen};
use std::time::{Duration, SystemTime};

/// What became of a change.
pub(super) enum Verdict {
    Done,
    /// It may be asked for again.
    NotDone,
    /// Neither can be seen: why.
    Uncertain(&'static str),
    /// Another client did it.
    Taken,
}

impl Client {
    /// What became of removing `path`, where `seen` was.
    pub(super) fn was_removed(&self, path: &RemotePath, seen: Seen<'_>) -> Result<Verdict, Error> {
        Ok(match self.there(path)? {
            None => Verdict::Done,
            Some(now) => match is_same(seen, &now) {
                Some(true) => Verdict::NotDone,
                Some(false) => Verdict::Uncertain("something else has the name now"),
                None => Verdict::Uncertain("it cannot be told whether what has the name is still the same"),
            },
        })
    }

    /// What became of renaming `from`, where `seen` was, to `to`.
    pub(super) fn was_moved(&self, from: &RemotePath, to: &RemotePath, seen: Seen<'_>) -> Result<Verdict, Error> {
        let (old, new) = (self.there(from)?, self.there(to)?);
        let Some(old) = old else {
            // Else somebody took it away meanwhile, and asking again harms nothing.
            return Ok(if new.is_some() { Verdict::Done } else { Verdict::NotDone });
        };
        let Some(new) = new else { return Ok(Verdict::NotDone) };
        Ok(match (is_same(seen, &old), is_same(seen, &new)) {
            (Some(true), _) if matches!(seen, Seen::Ours) => Verdict::NotDone,
            (Some(true), Some(false)) => Verdict::NotDone,
            (Some(false), Some(true)) => Verdict::Done,
            _ => Verdict::Uncertain("it cannot be told which of the two names has what was to be renamed"),
        })
    }

    /// What became of making the directory `path` at `began`. An empty one that is new is taken for ours.
    pub(super) fn was_made(&self, path: &RemotePath, began: SystemTime) -> Result<Verdict, Error> {
        let Some(now) = self.there(path)? else { return Ok(Verdict::NotDone) };
        let made = now.modified.map(|modified| modified.time + modified.precision + CLOCK_ERROR_MAX);
        let is_new = made.is_none_or(|made| made > began);
        Ok(match now.kind {
            FileKind::Directory if is_new && self.count_entries(path)? == 0 => Verdict::Done,
            _ => Verdict::Taken,
        })
    }

    /// What became of making the symbolic link `path` to `target`.
    pub(super) fn was_linked(&self, path: &RemotePath, target: &[u8]) -> Result<Verdict, Error> {
        Ok(match self.there(path)? {
            None => Verdict::NotDone,
            Some(Metadata { kind: FileKind::Symlink(Some(told)), .. }) if *told != *target => Verdict::Taken,
            Some(Metadata { kind: FileKind::Symlink(_), .. }) => Verdict::Done,
            Some(_) => Verdict::Taken,
        })
    }

    /// What is at `path` now; `None` where there is nothing.
    fn there(&self, path: &RemotePath) -> Result<Option<Metadata>, Error> {
        match self.stat_path(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.closes_connection() => Err(error),
            Err(error) => {
                let told = translate(error);
                match told.kind {
                    ErrorKind::NotFound | ErrorKind::Unavailable => Ok(None),
                    _ => {
                        log::debug!("{path}: looking whether it was done: {told}");
                        Err(Error::Uncertain { verb: "looking", found: "the server does not tell what is there" })
                    }
                }
            }
        }
    }
}

/// Whether `now` is what was `seen`; `None` where too little is known of it.
fn is_same(seen: Seen<'_>, now: &Metadata) -> Option<bool> {
    let before = match seen {
        Seen::Ours => return Some(true),
        Seen::Nothing => return None,
        Seen::As(before) => before,
    };
    if before.kind != now.kind {
        return Some(false);
    }
    if let (Some(before), Some(now)) = (&before.unique, &now.unique) {
        return Some(before == now);
    }
    let told = |metadata: &Metadata| metadata.modified.is_some_and(|modified| modified.precision <= MINUTE);
    match &now.kind {
        FileKind::Symlink(target) => target.is_some().then_some(true),
        // Its time changes with what is in it: another one tells nothing.
        FileKind::Directory => {
            let exact = |metadata: &Metadata| metadata.modified.filter(|modified| modified.precision < MINUTE);
            exact(before).zip(exact(now)).is_some_and(|(before, now)| before.agrees(&now)).then_some(true)
        }
        FileKind::File if !before.same_version(now) => Some(false),
        FileKind::File => (before.size.is_some() && now.size.is_some() && told(before) && told(now)).then_some(true),
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// By so much the server's clock, or what we take for its zone, may be wrong.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Modified;

    fn file(size: u64, seconds: u64, precision: u64) -> Metadata {
        let modified = Modified {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            precision: Duration::from_secs(precision),
        };
        Metadata { size: Some(size), modified: Some(modified), ..Metadata::of_kind(FileKind::File) }
    }

    fn unique(metadata: Metadata, unique: &str) -> Metadata {
        Metadata { unique: Some(unique.as_bytes().into()), ..metadata }
    }

    #[test]
    fn what_is_there_is_the_same_only_where_enough_is_told() {
        let directory = Metadata { size: None, ..file(0, 600, 1) };
        let directory = Metadata { kind: FileKind::Directory, ..directory };
        let later = Metadata { modified: file(0, 700, 1).modified, ..directory.clone() };
        let link =
            |target: Option<&str>| Metadata::of_kind(FileKind::Symlink(target.map(|target| target.as_bytes().into())));
        let bare = Metadata::of_kind(FileKind::File);
        for (before, now, same) in [
            (file(5, 600, 1), file(5, 600, 1), Some(true)),
            (file(5, 600, 60), file(5, 642, 1), Some(true)),
            (file(5, 0, 86_400), file(5, 642, 1), None),
            (file(5, 600, 1), file(6, 600, 1), Some(false)),
            (file(5, 600, 1), file(5, 601, 1), Some(false)),
            (bare.clone(), file(5, 600, 1), None),
            (unique(bare.clone(), "a"), unique(file(5, 600, 1), "a"), Some(true)),
            (unique(file(5, 600, 1), "a"), unique(file(5, 600, 1), "b"), Some(false)),
            (bare, directory.clone(), Some(false)),
            (directory.clone(), directory.clone(), Some(true)),
            (directory.clone(), later.clone(), None),
            (unique(directory.clone(), "a"), unique(later, "a"), Some(true)),
            (link(Some("x")), link(Some("x")), Some(true)),
            (link(Some("x")), link(Some("y")), Some(false)),
            (link(None), link(None), None),
        ] {
            assert_eq!(is_same(Seen::As(&before), &now), same, "{before:?} {now:?}");
        }
        assert_eq!(is_same(Seen::Nothing, &directory), None);
        assert_eq!(is_same(Seen::Ours, &directory), Some(true));
    }
}
