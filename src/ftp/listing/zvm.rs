//! The form of the minidisks of VM/CMS and z/VM.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// `PROFILE  EXEC     V         73         14          1 2026-11-23 14:40:36 SMITH`: name and type, which are joined by a dot
/// in commands; format, length and count of records, blocks.
pub(super) const FORM: Form = Form { name: "z/VM", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let [(name, _), (kind, _), (format, _), numbers @ ..] = words.as_slice() else { return None };
    let [(length, _), (records, _), (blocks, _), (date, _), (time, _), owner @ ..] = numbers else { return None };
    let (length, records, _) = (number::<u64>(length)?, number::<u64>(records)?, number::<u64>(blocks)?);
    let size = match *format {
        // The records of a file of fixed format follow one another without anything between.
        b"F" => length.checked_mul(records),
        b"V" => None,
        _ => return None,
    };
    let modified = Some(clock.numeric(DateOrder::MonthFirst, date, time)?);
    let fits = owner.len() <= 1 && name.len() <= 8 && kind.len() <= 8;
    fits.then(|| Line::Joined(name, kind, Metadata { size, modified, ..Metadata::of_kind(FileKind::File) }))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn name_and_type_are_joined_by_a_dot() {
        for (line, expected) in [
            (
                "PROFILE  EXEC     V         73         14          1 2026-11-23 14:40:36 SMITH",
                "file - - 14:40 PROFILE.EXEC",
            ),
            ("TAPE     DATA     F         80         10          1 11/23/26 14:40:36", "file - 800 14:40 TAPE.DATA"),
            ("TAPE     DATA     X         80         10          1 11/23/26 14:40:36", "no"),
            ("TAPE     DATA     F         80         10          1 11/23/26 14:40:36 A B", "no"),
            ("LONGERNAME DATA   F         80         10          1 11/23/26 14:40:36", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
