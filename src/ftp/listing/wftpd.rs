//! The form of WFTPD of early Windows.

use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// `README.TXT      1703   11-23-26  Mon.  14:40`: the name first, and the day of the week.
pub(super) const FORM: Form = Form { name: "WFTPD", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let [(name, _), (size, _), (date, _), (weekday, _), (time, after)] = *words.as_slice() else { return None };
    let modified = Some(clock.numeric(DateOrder::MonthFirst, date, time)?);
    let fits = weekday.ends_with(b".") && after.trim_ascii().is_empty();
    let size = Some(line::size(size)?);
    fits.then(|| Line::Entry(name, Metadata { size, modified, ..Metadata::of_kind(FileKind::File) }))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_day_of_the_week_ends_with_a_dot() {
        for (line, expected) in [
            ("README.TXT      1703   11-23-26  Mon.  14:40", "file - 1703 14:40 README.TXT"),
            ("README.TXT      1703   11-23-26  Mon  14:40", "no"),
            ("README.TXT      1703   11-23-26  Mon.  14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
