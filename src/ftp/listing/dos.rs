//! The form of the DOS `DIR` command, which Microsoft's server (IIS) writes by default.

use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Word, Words, target};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata, Modified};

/// `11-23-26  02:40PM       <DIR>          name` and `11-23-26  02:40PM                   16 name`.
pub(super) const MONTH_FIRST: Form = Form { name: "DOS", read: |line, clock| read(line, clock, DateOrder::MonthFirst) };

/// `23.11.26  14:40 …`: only a day after the 12th tells it from the other order.
pub(super) const DAY_FIRST: Form =
    Form { name: "DOS, day first", read: |line, clock| read(line, clock, DateOrder::DayFirst) };

fn read<'a>(line: &'a [u8], clock: &ListClock, order: DateOrder) -> Option<Line<'a>> {
    let words = Words::of(line);
    let (modified, rest) = date(words.as_slice(), clock, order)?;
    let ((tag_or_size, rest), _) = rest.split_first()?;
    let modified = Some(modified);
    let Some(kind) = kind(tag_or_size) else {
        let metadata = Metadata { size: Some(line::size(tag_or_size)?), modified, ..Metadata::of_kind(FileKind::File) };
        return Some(Line::named(line::name(rest)?, metadata));
    };
    let name = after_tag(tag_or_size, rest);
    let (name, kind) = if tag_or_size.eq_ignore_ascii_case(b"<DIR>") { (name, kind) } else { split_target(name, kind) };
    (!name.is_empty()).then(|| Line::named(name, Metadata { modified, ..Metadata::of_kind(kind) }))
}

/// The date and the words after it. `02:40 PM` may be two words.
fn date<'w, 'a>(words: &'w [Word<'a>], clock: &ListClock, order: DateOrder) -> Option<(Modified, &'w [Word<'a>])> {
    let [(date, _), (time, _), rest @ ..] = words else { return None };
    match rest {
        [(half, _), rest @ ..] if HALVES.iter().any(|known| half.eq_ignore_ascii_case(known)) => {
            Some((clock.numeric(order, date, &[*time, *half].concat())?, rest))
        }
        rest => Some((clock.numeric(order, date, time)?, rest)),
    }
}

/// A junction or a link to a directory is a directory to whoever comes by FTP: the server follows it.
fn kind(tag: &[u8]) -> Option<FileKind> {
    if !tag.starts_with(b"<") {
        return None;
    }
    match tag.to_ascii_uppercase().as_slice() {
        b"<DIR>" | b"<JUNCTION>" | b"<SYMLINKD>" => Some(FileKind::Directory),
        b"<SYMLINK>" => Some(FileKind::Symlink(None)),
        _ => None,
    }
}

/// The name, which stands at a fixed column after the tag and may begin with spaces of its own.
fn after_tag<'a>(tag: &[u8], rest: &'a [u8]) -> &'a [u8] {
    let width = TAG_COLUMN_WIDTH.saturating_sub(tag.len());
    match rest.split_at_checked(width) {
        Some((padding, name)) if padding.iter().all(|&byte| byte == b' ') => name,
        _ => rest.trim_ascii_start(),
    }
}

/// Parts `name [target]`. The target of a link is a path of the server's disk, with backslashes: no use here, so only
/// one inside of the directory is kept.
fn split_target(text: &[u8], kind: FileKind) -> (&[u8], FileKind) {
    let bracket = text.windows(2).rposition(|pair| pair == b" [").filter(|_| text.ends_with(b"]"));
    let Some((name, rest)) = bracket.and_then(|start| text.split_at_checked(start)) else { return (text, kind) };
    let inside = rest.get(2..rest.len() - 1).filter(|inside| !inside.iter().any(|byte| b"\\:".contains(byte)));
    match kind {
        FileKind::Symlink(_) => (name, FileKind::Symlink(inside.and_then(target))),
        other => (name, other),
    }
}

/// `<DIR>` and ten spaces.
const TAG_COLUMN_WIDTH: usize = 15;

const HALVES: [&[u8]; 2] = [b"AM", b"PM"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn shown(line: &str) -> String {
        let clock = ListClock { now: SystemTime::UNIX_EPOCH, zone: crate::ftp::time::Zone::UTC };
        match read(line.as_bytes(), &clock, DateOrder::MonthFirst) {
            Some(Line::Entry(name, metadata)) => {
                let target = match &metadata.kind {
                    FileKind::Symlink(Some(target)) => format!(" -> {}", String::from_utf8_lossy(target)),
                    _ => String::new(),
                };
                let kind = format!("{:?}", metadata.kind);
                let kind = kind.split('(').next().unwrap_or_default();
                format!("{kind} {:?} {:?}{target}", metadata.size, String::from_utf8_lossy(name))
            }
            Some(Line::Itself(_)) => "itself".into(),
            Some(other) => format!("{other:?}"),
            None => "-".into(),
        }
    }

    #[test]
    fn lines_of_dir_are_read() {
        for (line, expected) in [
            ("11-23-26  02:40PM                   16 hello.txt", "File Some(16) \"hello.txt\""),
            ("11-23-2026  14:40                   16  lead", "File Some(16) \" lead\""),
            ("11-23-26  02:40 PM                1,016 x", "File Some(1016) \"x\""),
            ("2026-11-23  14:40       <DIR>          iso", "Directory None \"iso\""),
            ("11-23-26  02:40PM       <DIR>          my dir", "Directory None \"my dir\""),
            ("11-23-26  02:40PM       <DIR>           lead", "Directory None \" lead\""),
            ("11-23-26  02:40PM       <DIR> short", "Directory None \"short\""),
            ("11-23-26  02:40PM       <JUNCTION>     j [C:\\x]", "Directory None \"j\""),
            ("11-23-26  02:40PM       <SYMLINKD>     d [x]", "Directory None \"d\""),
            ("11-23-26  02:40PM       <SYMLINK>      s [x y]", "Symlink None \"s\" -> x y"),
            ("11-23-26  02:40PM       <SYMLINK>      s [C:\\x]", "Symlink None \"s\""),
            ("11-23-26  02:40PM       <DIR>          .", "itself"),
            ("11-23-26  02:40PM       <DIR>          ..", "Other"),
            ("11-23-26  02:40PM       <DIR>          ", "-"),
            ("11-23-26  02:40PM       <FOO>          x", "-"),
            ("11-23-26  02:40PM   16", "-"),
            ("23-11-26  02:40PM   16 x", "-"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 x", "-"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
