//! The form of the members of a partitioned data set of MVS and z/OS.

use crate::ftp::listing::line::{Form, Line, Word, Words, is_headline};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata, Modified};

/// `REPORT    01.04 2026/10/01 2026/11/23 14:40   120   110     0 SMITH`, with the statistics that an editor keeps; the name
/// alone where there are none; or the attributes of a program, `REPORT   0000A8 000103  00 FO  RN RU  31  ANY`.
///
/// The size is in lines: how many bytes that are is not told.
pub(super) const FORM: Form = Form { name: "MVS members", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    if is_headline(words, &[b"Name", b"VV.MM"]) || is_headline(words, &[b"Name", b"Size", b"TTR"]) {
        return Some(Line::Other);
    }
    let (&(name, _), columns) = words.split_first()?;
    if !is_member(name) {
        return None;
    }
    let modified = statistics(columns, clock);
    let known = modified.is_some() || columns.is_empty() || is_program(columns);
    known.then(|| Line::Entry(name, Metadata { modified, ..Metadata::of_kind(FileKind::File) }))
}

/// Version, created, changed, and counts of lines.
fn statistics(columns: &[Word<'_>], clock: &ListClock) -> Option<Modified> {
    let [(version, _), (created, _), (changed, _), (time, _), (lines, _), ..] = columns else { return None };
    let is_version = matches!(version, [a, b, b'.', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()));
    clock.numeric(DateOrder::YearFirst, created, b"00:00")?;
    let modified = clock.numeric(DateOrder::YearFirst, changed, time)?;
    (is_version && lines.iter().all(u8::is_ascii_digit)).then_some(modified)
}

/// Size and place in hexadecimal, and at the end the addressing modes.
fn is_program(columns: &[Word<'_>]) -> bool {
    let hexadecimal = |word: &[u8]| word.len() >= 6 && word.iter().all(u8::is_ascii_hexdigit);
    let mode = |word: &[u8]| matches!(word, b"24" | b"31" | b"64" | b"ANY");
    match columns {
        [(size, _), (place, _), .., (amode, _), (rmode, _)] => {
            hexadecimal(size) && hexadecimal(place) && mode(amode) && mode(rmode)
        }
        _ => false,
    }
}

/// One to eight of capital letters, digits and the three national characters, no digit first.
fn is_member(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"$#@{".contains(byte);
    name.len() <= 8 && name.iter().all(fits) && name.first().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn members_have_statistics_or_a_name_alone() {
        for (line, expected) in [
            (" Name     VV.MM   Created       Changed      Size  Init   Mod   Id", "other"),
            (" REPORT    01.04 2026/10/01 2026/11/23 14:40   120   110     0 SMITH", "file - - 14:40 REPORT"),
            ("$ODD#1", "file - - - $ODD#1"),
            (" Name      Size     TTR   Alias-of AC --------- Attributes --------- Amode Rmode", "other"),
            ("REPORT   0000A8 000103          00 FO             RN RU            31    ANY", "file - - - REPORT"),
            ("REPORT    01.04 2026/10/01 2026/13/23 14:40   120   110     0 SMITH", "no"),
            ("TOOLONGNAME", "no"),
            ("lower", "no"),
            ("1DIGIT", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
