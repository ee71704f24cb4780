//! The form of small servers of early Windows: SuperTCP and its like.

use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// `DESIGN.DOC          11264           11-23-26        14:40` and `TOOLS   <DIR>   11-23-26   14:40`: the name first, of DOS
/// and without spaces.
pub(super) const FORM: Form = Form { name: "SuperTCP", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let [(name, _), (tag_or_size, _), (date, _), (time, after)] = *words.as_slice() else { return None };
    let modified = Some(clock.numeric(DateOrder::MonthFirst, date, time)?).filter(|_| after.trim_ascii().is_empty());
    modified?;
    let metadata = match tag_or_size.eq_ignore_ascii_case(b"<DIR>") {
        true => Metadata { modified, ..Metadata::of_kind(FileKind::Directory) },
        false => Metadata { size: Some(line::size(tag_or_size)?), modified, ..Metadata::of_kind(FileKind::File) },
    };
    Some(Line::named(name, metadata))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_name_comes_first() {
        for (line, expected) in [
            ("DESIGN.DOC          11264           11-23-26        14:40", "file - 11264 14:40 DESIGN.DOC"),
            ("TOOLS               <DIR>           11-23-26        14:40", "dir - - 14:40 TOOLS"),
            (".                   <DIR>           11-23-26        14:40", "itself"),
            ("..                  <DIR>           11-23-26        14:40", "other"),
            ("DESIGN.DOC          11264           11-23-26        14:40 x", "no"),
            ("DESIGN.DOC          x               11-23-26        14:40", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
