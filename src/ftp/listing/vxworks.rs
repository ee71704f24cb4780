//! The form of VxWorks, the system of many devices.

use crate::ftp::decimal::number;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words, is_headline};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `     57696    Nov-23-2026  14:40:36   name`, and `<DIR>` behind the name of a directory.
pub(super) const FORM: Form = Form { name: "VxWorks", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    if is_headline(words, &[b"size", b"date", b"time"]) || is_headline(words, &[b"--------", b"------"]) {
        return Some(Line::Other);
    }
    let [(size, _), (date, _), (time, rest), ..] = *words else { return None };
    let (size, modified) = (line::size(size)?, Some(clock.named(date, time)?));
    let month_first = date.first().is_some_and(u8::is_ascii_alphabetic) && number::<u32>(time).is_none();
    let text = rest.trim_ascii();
    let (name, metadata) = match text.strip_suffix(b"<DIR>") {
        Some(name) => (name.trim_ascii_end(), Metadata { modified, ..Metadata::of_kind(FileKind::Directory) }),
        None => (text, Metadata { size: Some(size), modified, ..Metadata::of_kind(FileKind::File) }),
    };
    (month_first && !name.is_empty()).then(|| Line::named(name, metadata))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_month_comes_first_and_dir_last() {
        for (line, expected) in [
            ("  size          date       time       name", "other"),
            ("--------       ------     ------    --------", "other"),
            ("   57696    Nov-23-2026  14:40:36   boot.bin", "file - 57696 14:40 boot.bin"),
            ("     512    Nov-23-2026  14:40:36   logs              <DIR>", "dir - - 14:40 logs"),
            ("     512    Nov-23-2026  14:40:36   .                 <DIR>", "itself"),
            ("     512    Nov-23-2026  14:40:36   <DIR>", "no"),
            ("     512    23-Nov-2026  14:40:36   x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
