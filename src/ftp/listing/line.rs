//! What one line of a listing can say.

use crate::ftp::decimal::number;
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// What a line says, in whatever form it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A name in the directory, not yet checked.
    Entry(&'a [u8], Metadata),
    /// A name in the directory of which the line has the parts before and after a dot.
    Joined(&'a [u8], &'a [u8], Metadata),
    /// The directory itself.
    Itself(Metadata),
    /// A device, a socket and the like: it is there, and of no use over FTP.
    Special,
    /// Nothing of an entry: the directory above, a total, a headline.
    Other,
    /// The beginning of an entry that the next line ends.
    Begun,
}

/// A form of `LIST`. RFC 959 leaves it to the server, so it is known by what most lines are.
pub(super) struct Form {
    /// For the log.
    pub(super) name: &'static str,
    /// Reads one line, without its end; `None` where it is not of this form.
    pub(super) read: for<'a> fn(&'a [u8], &ListClock) -> Option<Line<'a>>,
}

impl<'a> Line<'a> {
    /// A line of `NLST`: a name, and no more.
    pub(super) fn bare(line: &'a [u8]) -> Self {
        let name = line.strip_prefix(b"./").unwrap_or(line);
        match name {
            b"." => Self::Itself(Metadata::of_kind(FileKind::Directory)),
            b".." => Self::Other,
            name => Self::Entry(name, Metadata::of_kind(FileKind::File)),
        }
    }

    /// A line of a form that lists `.` and `..` as directories among the others.
    pub(super) fn named(name: &'a [u8], metadata: Metadata) -> Self {
        match (name, &metadata.kind) {
            (b".", FileKind::Directory) => Self::Itself(metadata),
            (b"..", FileKind::Directory) => Self::Other,
            _ => Self::Entry(name, metadata),
        }
    }
}

/// A word, with the rest of the line from its end on.
pub(super) type Word<'a> = (&'a [u8], &'a [u8]);

/// The first words of a line, parted by spaces.
pub(super) struct Words<'a> {
    words: [Word<'a>; WORDS_MAX],
    count: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        let mut words = [(&b""[..], &b""[..]); WORDS_MAX];
        let mut count = 0;
        let mut rest = line;
        // A name may have any number of words; the columns before it are few.
        for place in &mut words {
            let Some(start) = rest.iter().position(|&byte| byte != b' ') else { break };
            let (_, from_word) = rest.split_at(start);
            let end = from_word.iter().position(|&byte| byte == b' ').unwrap_or(from_word.len());
            let (word, after) = from_word.split_at(end);
            *place = (word, after);
            count += 1;
            rest = after;
        }
        Self { words, count }
    }

    pub(super) fn as_slice(&self) -> &[Word<'a>] {
        self.words.get(..self.count).unwrap_or_default()
    }
}

/// A size in bytes, with or without marks between groups of three digits: `1234567`, `1,234,567`, `1.234.567`.
pub(super) fn size(text: &[u8]) -> Option<u64> {
    let Some(&mark) = text.iter().find(|byte| !byte.is_ascii_digit()) else { return number(text) };
    let mut groups = text.split(|&byte| byte == mark);
    let first = groups.next().filter(|first| (1..=3).contains(&first.len()))?;
    let grouped = matches!(mark, b',' | b'.') && groups.all(|group| group.len() == 3);
    let digits = || text.iter().copied().filter(|&byte| byte != mark);
    (grouped && !first.is_empty()).then(|| number(&digits().collect::<Vec<_>>())).flatten()
}

/// The rest of a line after the one space that parts it from the columns: a name may begin with others, but is not empty.
pub(super) fn name(rest: &[u8]) -> Option<&[u8]> {
    rest.strip_prefix(b" ").filter(|name| !name.is_empty())
}

/// Whether the words of a line begin with these: the headline over columns.
pub(super) fn is_headline(words: &[Word<'_>], headline: &[&[u8]]) -> bool {
    let mut pairs = words.iter().zip(headline);
    words.len() >= headline.len() && pairs.all(|((word, _), head)| word.eq_ignore_ascii_case(head))
}

/// The target of a symbolic link; `None` where it was not told, or could be the target of none.
pub(super) fn target(bytes: &[u8]) -> Option<Box<[u8]>> {
    (!bytes.is_empty() && !bytes.contains(&0)).then(|| bytes.into())
}

/// So many words are looked at to find the columns before the name.
const WORDS_MAX: usize = 16;

/// What a line is read as, for the tests of the forms: `File Some(16) "name"`, with times to be seen in the corpus.
#[cfg(test)]
pub(super) fn shown(form: &Form, line: &str) -> String {
    // 2026-11-23 14:50.
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_445_400);
    let (name, metadata) = match (form.read)(line.as_bytes(), &ListClock { now, zone: crate::ftp::time::Zone::UTC }) {
        Some(Line::Entry(name, metadata)) => (name.to_vec(), metadata),
        Some(Line::Joined(name, extension, metadata)) => ([name, extension].join(&b"."[..]), metadata),
        Some(other) => return format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase(),
        None => return "no".into(),
    };
    let Metadata { kind, size, mode, modified, .. } = metadata;
    let kind = match kind {
        FileKind::File => "file",
        FileKind::Directory => "dir",
        FileKind::Symlink(_) => "link",
    };
    let size = size.map_or_else(|| "-".into(), |size| size.to_string());
    let mode = mode.map_or_else(|| "-".into(), |mode| format!("{mode:o}"));
    let seconds = modified.and_then(|modified| modified.time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    // So that the tables of the tests are short: all of their times are of one day.
    let time = seconds.map_or_else(
        || "-".into(),
        |time| match time.as_secs().checked_sub(1_795_392_000) {
            Some(second @ ..86_400) => format!("{}:{:02}", second / 3600, second / 60 % 60),
            _ => "another day".into(),
        },
    );
    format!("{kind} {mode} {size} {time} {}", String::from_utf8_lossy(&name))
}
