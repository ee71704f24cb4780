//! EPLF, the "easily parsed LIST format" of publicfile and its like.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata, Modified};
use std::time::{Duration, SystemTime};

/// `+i8388621.48594,m1795444836,r,s280,` then a tab and the name. The time is in seconds of UTC since 1970, so the server's
/// clock does not matter.
pub(super) const FORM: Form = Form { name: "EPLF", read };

fn read<'a>(line: &'a [u8], _: &ListClock) -> Option<Line<'a>> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let (facts, name) = (line.get(..tab)?, line.get(tab + 1..)?);
    let (mut can_enter, mut can_read) = (false, false);
    let mut metadata = Metadata::of_kind(FileKind::File);
    for fact in facts.split(|&byte| byte == b',') {
        match fact {
            b"/" => can_enter = true,
            b"r" => can_read = true,
            [b's', size @ ..] => metadata.size = number(size),
            [b'm', seconds @ ..] => metadata.modified = number(seconds).and_then(seconds_of_utc),
            [b'i', id @ ..] if !id.is_empty() => metadata.unique = Some(id.into()),
            [b'u', b'p', mode @ ..] => metadata.mode = octal(mode),
            _ => {}
        }
    }
    if can_enter {
        metadata.kind = FileKind::Directory;
    } else if !can_read {
        return Some(Line::Special);
    }
    (!name.is_empty()).then(|| Line::named(name, metadata))
}

fn seconds_of_utc(seconds: u64) -> Option<Modified> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // Beyond the year 9999 nothing else here can tell a time.
    (seconds < SECONDS_MAX).then_some(Modified { time, precision: Duration::from_secs(1) })
}

fn octal(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

const SECONDS_MAX: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn facts_come_before_a_tab() {
        for (line, expected) in [
            ("+i8388621.48594,m1795444836,r,s280,\tdjb.html", "file - 280 14:40 djb.html"),
            ("+i8388621.50690,m1795444836,/,\t a dir", "dir - - 14:40  a dir"),
            ("+r,up644,s3,\ta,b\tc", "file 644 3 - a,b\tc"),
            ("+m1795444836,\tsocket", "special"),
            ("+r,sx,m99999999999999999999,up9,\tx", "file - - - x"),
            ("+r,s280 x", "no"),
            ("+r,\t", "no"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 x", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
