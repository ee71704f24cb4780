//! The form of the data sets of MVS and z/OS.

use crate::ftp::listing::line::{Form, Line, Word, Words, is_headline};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// `WRKVOL 3390   2026/11/23  1   15  FB      80 27920  PO  SOURCE.COBOL`.
///
/// A partitioned data set is a directory of its members. The space used is in tracks, and the date is that of the last
/// use: neither size nor time of change is told.
pub(super) const FORM: Form = Form { name: "MVS", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    if is_headline(words, &[b"Volume", b"Unit"]) {
        return Some(Line::Other);
    }
    let (&(name, after), columns) = words.split_last()?;
    if !after.trim_ascii().is_empty() || !is_data_set(name) {
        return None;
    }
    let kind = kind(columns, clock)?;
    Some(kind.map_or(Line::Special, |kind| Line::Entry(name, Metadata::of_kind(kind))))
}

/// Of the columns before the name; no kind for a generation data group, which is neither file nor directory.
fn kind(columns: &[Word<'_>], clock: &ListClock) -> Option<Option<FileKind>> {
    let word = |index: usize| columns.get(index).map(|&(word, _)| word);
    let (last, is_first) =
        (columns.last()?.0, |first: &[u8]| word(0).is_some_and(|word| word.eq_ignore_ascii_case(first)));
    match columns.len() {
        1 if is_first(b"Migrated") => return Some(Some(FileKind::File)),
        1 if is_first(b"GDG") => return Some(None),
        2 if is_first(b"Pseudo") && last.eq_ignore_ascii_case(b"Directory") => return Some(Some(FileKind::Directory)),
        2 if last.eq_ignore_ascii_case(b"Tape") => return Some(Some(FileKind::File)),
        3 if last == b"VSAM" => return Some(Some(FileKind::File)),
        4 if is_headline(columns.get(1..)?, &[b"Error", b"determining", b"attributes"]) => {
            return Some(Some(FileKind::File));
        }
        5 if is_headline(columns.get(1..)?, &[b"Not", b"Direct", b"Access", b"Device"]) => {
            return Some(Some(FileKind::File));
        }
        // Wide numbers run into one another.
        7..=9 => {}
        _ => return None,
    }
    let date = word(2)?;
    if date != b"**NONE**" && clock.numeric(DateOrder::YearFirst, date, b"00:00").is_none() {
        return None;
    }
    match last {
        b"PO" | b"PO-E" => Some(Some(FileKind::Directory)),
        b"PS" | b"PS-E" | b"PS-L" | b"PSU" | b"DA" | b"DAU" | b"IS" | b"VS" | b"VSAM" | b"U" | b"POU" | b"**" => {
            Some(Some(FileKind::File))
        }
        _ => None,
    }
}

/// `USER.SOURCE`, or with quotes around it where it is not relative.
fn is_data_set(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'")).unwrap_or(name);
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b".$#@-{()+".contains(byte);
    !name.is_empty() && name.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn data_sets_are_files_or_directories_of_members() {
        for (line, expected) in [
            ("Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname", "other"),
            ("WRKVOL 3390   2026/11/23  1   15  FB      80 27920  PO  SOURCE.COBOL", "dir - - - SOURCE.COBOL"),
            ("WRKVOL 3390   2026/11/23  1    1  VB     255 27998  PS  LOG", "file - - - LOG"),
            ("WRKVOL 3390   **NONE**    1   15  U        0  6144  PO-E 'SYS1.LOAD'", "dir - - - 'SYS1.LOAD'"),
            ("WRKVOL 3390   2026/11/23 16????? FB      80 27920  PS  MANY", "file - - - MANY"),
            ("WRKVOL 3390                                        VSAM CLUSTER.KEYS", "file - - - CLUSTER.KEYS"),
            ("Migrated                                                OLD.DATA", "file - - - OLD.DATA"),
            ("T00042 Tape                                             BACKUP.G0001V00", "file - - - BACKUP.G0001V00"),
            ("ARCIVE Not Direct Access Device                         OLDER.DATA", "file - - - OLDER.DATA"),
            ("WRKVOL Error determining attributes                     BROKEN", "file - - - BROKEN"),
            ("Pseudo Directory                                        PREFIX", "dir - - - PREFIX"),
            ("GDG                                                     DAILY", "special"),
            ("WRKVOL 3390   2026/11/23  1   15  FB      80 27920  XX  ODD", "no"),
            ("WRKVOL 3390   2026/13/23  1   15  FB      80 27920  PS  ODD", "no"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
