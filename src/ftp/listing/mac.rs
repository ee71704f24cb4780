//! The form of the servers of classic Mac OS: MacWebStar, NetPresenz.

use crate::ftp::listing::dates;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::listing::permissions;
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `-------r--       326  1391972  1392298 Nov 23 14:40 name`: the sizes of the resource fork, of the data and of both; and
/// `drwxrwxr-x            folder        2 Nov 23 14:40 name`, with the count of its entries.
pub(super) const FORM: Form = Form { name: "MacWebStar", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let ((permissions, _), columns) = words.as_slice().split_first()?;
    let (kind, mode) = permissions::kind_and_mode(permissions)?;
    let (size, date) = match (kind?, columns) {
        (FileKind::File, [(resources, _), (data, _), (both, _), date @ ..]) => {
            let (resources, data, both) = (line::size(resources)?, line::size(data)?, line::size(both)?);
            // Links, owner and size in Unix form could be such a sum as well: hardly with another count of links than one.
            (Some(data).filter(|_| resources != 1 && resources.checked_add(data) == Some(both))?, date)
        }
        (FileKind::Directory, [(b"folder", _), (_count, _), date @ ..]) => {
            let (modified, rest) = dates::read(date, clock)?;
            let metadata = Metadata { modified, mode: Some(mode), ..Metadata::of_kind(FileKind::Directory) };
            return Some(Line::named(line::name(rest)?, metadata));
        }
        _ => return None,
    };
    let (modified, rest) = dates::read(date, clock)?;
    let metadata = Metadata { size: Some(size), modified, mode: Some(mode), ..Metadata::of_kind(FileKind::File) };
    Some(Line::named(line::name(rest)?, metadata))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_data_fork_has_the_size() {
        for (line, expected) in [
            (
                "-------r--      326  1391972  1392298 Nov 23 14:40 mega phone.sit",
                "file 4 1391972 14:40 mega phone.sit",
            ),
            ("drwxrwxr-x           folder        2 Nov 23 14:40 network", "dir 775 - 14:40 network"),
            ("-rw-r--r--        0       77       77 Nov 23  2025  lead", "file 644 77 another day  lead"),
            ("-rw-r--r-- 1 1001 1002 Nov 23 14:40 x", "no"),
            ("-rw-r--r-- 2 1001 1004 Nov 23 14:40 x", "no"),
            ("drwxrwxr-x 2 folder folder 2 Nov 23 14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
