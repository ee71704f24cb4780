//! What one line of a listing can say.

use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// What a line says, in whatever form it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A name in the directory, not yet checked.
    Entry(&'a [u8], Metadata),
    /// The directory itself.
    Itself(Metadata),
    /// A device, a socket and the like: it is there, and of no use over FTP.
    Special,
    /// Nothing of an entry: the directory above, a total.
    Other,
}

/// A form of `LIST`. RFC 959 leaves it to the server, so it is known by what most lines are.
pub(super) struct Form {
    /// For the log.
    pub(super) name: &'static str,
    /// Reads one line, without its end; `None` where it is not of this form.
    pub(super) read: for<'a> fn(&'a [u8], &ListClock) -> Option<Line<'a>>,
}

impl<'a> Line<'a> {
    /// A line of a form that lists `.` and `..` as directories among the others.
    pub(super) fn named(name: &'a [u8], metadata: Metadata) -> Self {
        match (name, &metadata.kind) {
            (b".", FileKind::Directory) => Self::Itself(metadata),
            (b"..", FileKind::Directory) => Self::Other,
            _ => Self::Entry(name, metadata),
        }
    }
}

/// The words of a line, parted by spaces, each with the rest of the line from its end on.
pub(super) fn words(line: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut words = Vec::new();
    let mut rest = line;
    // A name may have any number of words; the columns before it are few.
    while words.len() < WORDS_MAX {
        let Some(start) = rest.iter().position(|&byte| byte != b' ') else { break };
        let (_, from_word) = rest.split_at(start);
        let end = from_word.iter().position(|&byte| byte == b' ').unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(end);
        words.push((word, after));
        rest = after;
    }
    words
}

/// The target of a symbolic link; `None` where it was not told, or could be the target of none.
pub(super) fn target(bytes: &[u8]) -> Option<Box<[u8]>> {
    (!bytes.is_empty() && !bytes.contains(&0)).then(|| bytes.into())
}

/// So many words are looked at to find the columns before the name.
const WORDS_MAX: usize = 16;
