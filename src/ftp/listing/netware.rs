//! The form of Novell NetWare's server.

use crate::ftp::listing::dates;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::listing::unix;
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `d [RWCEAFMS] admin            512 Nov 23 14:40 login`, or `d[RWCEAFMS] …`: the rights are those of the account.
pub(super) const FORM: Form = Form { name: "NetWare", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    if unix::is_total(line) {
        return Some(Line::Other);
    }
    let (letter, rest) = line.split_first()?;
    let kind = match letter {
        b'd' => FileKind::Directory,
        b'-' => FileKind::File,
        _ => return None,
    };
    let words = Words::of(rest);
    let [(rights, _), (_owner, _), (size, _), date @ ..] = words.as_slice() else { return None };
    let rights = rights.strip_prefix(b"[")?.strip_suffix(b"]")?;
    if !rights.iter().all(|right| b"SRWCEAFM- ".contains(right)) {
        return None;
    }
    let size = line::size(size)?;
    let (modified, rest) = dates::read(date, clock)?;
    // The name stands in a column of its own.
    let name = rest.trim_ascii_start();
    let size = (kind == FileKind::File).then_some(size);
    (!name.is_empty()).then(|| Line::named(name, Metadata { size, modified, ..Metadata::of_kind(kind) }))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn rights_stand_in_brackets() {
        for (line, expected) in [
            ("d [RWCEAFMS] admin        512 Nov 23 14:40 login", "dir - - 14:40 login"),
            ("- [R----F--] guest     214059 Nov 23 14:40    cx.exe", "file - 214059 14:40 cx.exe"),
            ("-[RWCEAFMS] admin   9 Nov 23  2025 my file", "file - 9 another day my file"),
            ("d [RWCEAFMS] admin 512 Nov 23 14:40 ", "no"),
            ("d [XYZ] admin 512 Nov 23 14:40 login", "no"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
