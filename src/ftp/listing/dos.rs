//! The form of the DOS `DIR` command, which Microsoft's server (IIS) writes by default.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, words};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `11-23-26  02:40PM       <DIR>          name` and `11-23-26  02:40PM                   16 name`.
pub(super) const FORM: Form = Form { name: "DOS", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = words(line);
    let [(date, _), (time, _), (tag_or_size, rest), ..] = words.as_slice() else { return None };
    let modified = Some(clock.dos(date, time)?);
    let Some(kind) = kind(tag_or_size) else {
        let metadata = Metadata { size: Some(number(tag_or_size)?), modified, ..Metadata::of_kind(FileKind::File) };
        return Some(Line::named(rest.strip_prefix(b" ")?, metadata));
    };
    let name = after_tag(tag_or_size, rest);
    let name = if tag_or_size.eq_ignore_ascii_case(b"<DIR>") { name } else { without_target(name) };
    (!name.is_empty()).then(|| Line::named(name, Metadata { modified, ..Metadata::of_kind(kind) }))
}

/// A junction or a link to a directory is a directory to whoever comes by FTP: the server follows it.
fn kind(tag: &[u8]) -> Option<FileKind> {
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

/// `name` of `name [target]`.
fn without_target(name: &[u8]) -> &[u8] {
    let target = name.windows(2).rposition(|pair| pair == b" [").filter(|_| name.ends_with(b"]"));
    target.and_then(|start| name.get(..start)).unwrap_or(name)
}

/// `<DIR>` and ten spaces.
const TAG_COLUMN_WIDTH: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn shown(line: &str) -> String {
        let clock = ListClock { now: SystemTime::UNIX_EPOCH, utc_offset: 0 };
        match read(line.as_bytes(), &clock) {
            Some(Line::Entry(name, metadata)) => {
                format!("{:?} {:?} {:?}", metadata.kind, metadata.size, String::from_utf8_lossy(name))
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
            ("11-23-26  02:40PM       <DIR>          my dir", "Directory None \"my dir\""),
            ("11-23-26  02:40PM       <DIR>           lead", "Directory None \" lead\""),
            ("11-23-26  02:40PM       <DIR> short", "Directory None \"short\""),
            ("11-23-26  02:40PM       <JUNCTION>     j [C:\\x]", "Directory None \"j\""),
            ("11-23-26  02:40PM       <SYMLINKD>     d [x]", "Directory None \"d\""),
            ("11-23-26  02:40PM       <SYMLINK>      s [x]", "Symlink(None) None \"s\""),
            ("11-23-26  02:40PM       <DIR>          .", "itself"),
            ("11-23-26  02:40PM       <DIR>          ..", "Other"),
            ("11-23-26  02:40PM       <DIR>          ", "-"),
            ("11-23-26  02:40PM       <FOO>          x", "-"),
            ("11-23-26  02:40PM   16", "-"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 x", "-"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
