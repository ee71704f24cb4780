//! The form of the servers of OS/2.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// `     1123      A      11-23-126  14:40  CONFIG.SYS` and `        0         DIR 11-23-26   14:40  TOOLS`. The year may
/// count from 1900.
pub(super) const FORM: Form = Form { name: "OS/2", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let ((size, _), columns) = words.as_slice().split_first()?;
    let size = number::<u64>(size)?;
    let attributes = columns.iter().take_while(|(word, _)| is_attribute(word)).count();
    let (attributes, date) = columns.split_at_checked(attributes)?;
    let [(date, _), (time, rest), ..] = *date else { return None };
    let modified = Some(clock.numeric(DateOrder::MonthFirst, date, time)?);
    let name = rest.trim_ascii_start();
    let is_directory = attributes.iter().any(|(word, _)| word.eq_ignore_ascii_case(b"DIR"));
    let metadata = match is_directory {
        true => Metadata { modified, ..Metadata::of_kind(FileKind::Directory) },
        false => Metadata { size: Some(size), modified, ..Metadata::of_kind(FileKind::File) },
    };
    (!name.is_empty()).then(|| Line::named(name, metadata))
}

/// Archive, hidden, read-only and system, in any mixture.
fn is_attribute(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"DIR") || word.iter().all(|letter| b"AHRS-".contains(letter))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn attributes_stand_before_the_date() {
        for (line, expected) in [
            ("     1123      A      11-23-126  14:40  CONFIG.SYS", "file - 1123 14:40 CONFIG.SYS"),
            ("        0         DIR 11-23-26   14:40  TOOLS", "dir - - 14:40 TOOLS"),
            ("        0    A R  DIR 11-23-26   14:40  WP ROOT. SF", "dir - - 14:40 WP ROOT. SF"),
            ("       77             11-23-26   14:40  plain", "file - 77 14:40 plain"),
            ("        0         DIR 11-23-26   14:40  .", "itself"),
            ("        0         DIR 11-23-26   14:40  ..", "other"),
            ("        0         DIR 11-23-26   14:40", "no"),
            ("       77    X        11-23-26   14:40  plain", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
