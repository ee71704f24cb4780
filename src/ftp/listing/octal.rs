//! The form that is all numbers: what stat(2) says, without names for any of it.

use crate::ftp::decimal::number;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Words};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata, Modified};
use std::time::{Duration, SystemTime};

/// `0100644   500  101   12345    1795444836       name`: mode with the kind of file, owner, group, size, seconds since 1970.
pub(super) const FORM: Form = Form { name: "octal", read };

fn read<'a>(line: &'a [u8], _: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let [(mode, _), (uid, _), (gid, _), (size, _), (seconds, rest), ..] = *words.as_slice() else { return None };
    let mode = std::str::from_utf8(mode).ok().filter(|mode| mode.len() >= 6 && !mode.starts_with('+'))?;
    let mode = u32::from_str_radix(mode, 8).ok()?;
    let (uid, gid, size, seconds) = (number(uid)?, number(gid)?, number(size)?, number::<u32>(seconds)?);
    let kind = match mode >> 12 {
        0o10 => FileKind::File,
        0o04 => FileKind::Directory,
        0o12 => FileKind::Symlink(None),
        0o01 | 0o02 | 0o06 | 0o14 => return Some(Line::Special),
        _ => return None,
    };
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.into()))?;
    // A column of its own, with more than one space before it.
    let name = line::name(rest)?.trim_ascii_start();
    let metadata = Metadata {
        size: Some(size),
        modified: Some(Modified { time, precision: Duration::from_secs(1) }),
        mode: u16::try_from(mode & 0o7777).ok(),
        uid: Some(uid),
        gid: Some(gid),
        ..Metadata::of_kind(kind)
    };
    (!name.is_empty()).then(|| Line::named(name, metadata))
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn the_kind_stands_above_the_permissions() {
        for (line, expected) in [
            ("0100644   500  101   12345    1795444836       my name", "file 644 12345 14:40 my name"),
            ("0040755   500  101    4096    1795444836       sub", "dir 755 4096 14:40 sub"),
            ("0120777   500  101       4    1795444836       link", "link 777 4 14:40 link"),
            ("0140755   500  101       0    1795444836       socket", "special"),
            ("0040755   500  101    4096    1795444836       .", "itself"),
            ("0170755   500  101    4096    1795444836       odd", "no"),
            ("0100844   500  101   12345    1795444836       x", "no"),
            ("0100644   500  101   12345    1795444836", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
