//! The form of VanDyke's VShell.

use crate::ftp::decimal::number;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `     206876  Nov 23, 2026 14:40 name`; the name of a directory ends with a slash.
pub(super) const FORM: Form = Form { name: "VShell", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let [(size, _), (month, _), (day, _), (year, _), (time, rest), ..] = *words.as_slice() else { return None };
    let day = day.strip_suffix(b",")?;
    let date = [day, b"-", month, b"-", year].concat();
    let (size, modified) = (number(size)?, Some(clock.named(&date, time)?));
    let name = line::name(rest)?;
    match name.strip_suffix(b"/").or_else(|| name.strip_suffix(b"\\")) {
        Some(b"") => None,
        Some(name) => Some(Line::named(name, Metadata { modified, ..Metadata::of_kind(FileKind::Directory) })),
        None => Some(Line::Entry(name, Metadata { size: Some(size), modified, ..Metadata::of_kind(FileKind::File) })),
    }
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn directories_end_with_a_slash() {
        for (line, expected) in [
            ("     206876  Nov 23, 2026 14:40 my file", "file - 206876 14:40 my file"),
            ("          0  Nov 23, 2026 14:40 sub/", "dir - - 14:40 sub"),
            ("          0  Nov 23, 2026 14:40 ./", "itself"),
            ("          0  Nov 23, 2026 14:40 /", "no"),
            ("     206876  Nov 23 2026 14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
