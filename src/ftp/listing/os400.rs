//! The forms of OS/400 (IBM i) with `LISTFMT 0`: the date as the server's job has it.

use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Word, Words};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata, Modified};

/// `QPGMR            28672 11/23/26 14:40:36 *STMF      name`. Owner, size and date may be left out.
pub(super) const FORM: Form = Form { name: "OS/400", read: |line, clock| read(line, clock, DateOrder::MonthFirst) };

/// `23.11.26`.
pub(super) const DAY_FIRST: Form =
    Form { name: "OS/400, day first", read: |line, clock| read(line, clock, DateOrder::DayFirst) };

/// `26-11-23`: with hyphens, as jobs with this order have them.
pub(super) const YEAR_FIRST: Form =
    Form { name: "OS/400, year first", read: |line, clock| read(line, clock, DateOrder::YearFirst) };

fn read<'a>(line: &'a [u8], clock: &ListClock, order: DateOrder) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    let place = words.iter().take(5).position(|(word, _)| is_type(word))?;
    let (columns, kind_and_name) = words.split_at_checked(place)?;
    let &(object, rest) = kind_and_name.first()?;
    let (size, modified) = size_and_date(columns, clock, order)?;
    // The type has a column of its own, and so has the name.
    let name = rest.trim_ascii_start();
    let (name, is_path) = name.strip_suffix(b"/").map_or((name, false), |name| (name, true));
    let kind = match object {
        _ if is_path => FileKind::Directory,
        b"*DIR" | b"*DDIR" | b"*LIB" | b"*FLR" => FileKind::Directory,
        b"*SYMLNK" => FileKind::Symlink(None),
        b"*SOCKET" | b"*BLKSF" | b"*CHRSF" | b"*FIFO" => return Some(Line::Special),
        _ => FileKind::File,
    };
    // Of anything but a stream file this is the size of the object, not of what a transfer gives.
    let size = size.filter(|_| object == b"*STMF");
    (!name.is_empty()).then(|| Line::named(name, Metadata { size, modified, ..Metadata::of_kind(kind) }))
}

/// `*FILE`, `*DIR`, `*MEM` and others.
fn is_type(word: &[u8]) -> bool {
    word.strip_prefix(b"*").is_some_and(|word| word.len() >= 2 && word.iter().all(u8::is_ascii_uppercase))
}

fn size_and_date(columns: &[Word<'_>], clock: &ListClock, order: DateOrder) -> Option<(Option<u64>, Option<Modified>)> {
    match columns {
        [] | [_] => Some((None, None)),
        [_, (size, _), (date, _), (time, _)] | [(size, _), (date, _), (time, _)] => {
            let fits = order != DateOrder::YearFirst || date.contains(&b'-');
            fits.then_some((Some(line::size(size)?), Some(clock.numeric(order, date, time)?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_type_begins_with_a_star() {
        for (line, expected) in [
            ("QSYS        77824 11/23/26 14:40:36 *DIR       home/", "dir - - 14:40 home"),
            ("QPGMR       28672 11/23/26 14:40:36 *STMF      my notes.txt", "file - 28672 14:40 my notes.txt"),
            ("QPGMR     5263360 11/23/26 14:40:36 *FILE      SAVF", "file - - 14:40 SAVF"),
            ("QPGMR     5263360 11/23/26 14:40:36 *FILE      QCLSRC.FILE/", "dir - - 14:40 QCLSRC.FILE"),
            ("QPGMR                                *MEM       A.MBR", "file - - - A.MBR"),
            ("            28672 11/23/26 14:40:36 *STMF      anonymous", "file - 28672 14:40 anonymous"),
            ("QTCP         8192 11/23/26 14:40:36 *SYMLNK    link", "link - - 14:40 link"),
            ("QTCP         8192 11/23/26 14:40:36 *SOCKET    socket", "special"),
            ("QPGMR       28672 23/11/26 14:40:36 *STMF      x", "no"),
            ("QPGMR       28672 11/23/26 14:40:36 *STMF      ", "no"),
            ("QPGMR       28672 11/23/26 14:40:36 STMF x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
