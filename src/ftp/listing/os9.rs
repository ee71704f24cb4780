//! The form of `dir -e` of OS-9.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, Words, is_headline};
use crate::ftp::time::{DateOrder, ListClock};
use crate::remote::{FileKind, Metadata};

/// ` 1.5   26/11/23 1440   d-ewrewr      1C2       8544 name`: group and user, time, attributes, sector, bytes.
pub(super) const FORM: Form = Form { name: "OS-9", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    if is_frame(words) {
        return Some(Line::Other);
    }
    let [(owner, _), (date, _), (time, _), (attributes, _), (sector, _), (bytes, rest), ..] = *words else {
        return None;
    };
    let dot = owner.iter().position(|&byte| byte == b'.')?;
    let (gid, uid) = (number(owner.get(..dot)?)?, number(owner.get(dot + 1..)?)?);
    let modified = Some(clock.numeric(DateOrder::YearFirst, date, time)?);
    let (kind, mode) = kind_and_mode(attributes)?;
    let name = rest.trim_ascii_start();
    if !sector.iter().all(u8::is_ascii_hexdigit) || name.is_empty() {
        return None;
    }
    let size = Some(number(bytes)?).filter(|_| kind == FileKind::File);
    let ids = Metadata { uid: Some(uid), gid: Some(gid), ..Metadata::of_kind(kind) };
    Some(Line::named(name, Metadata { size, modified, mode: Some(mode), ..ids }))
}

/// The lines above the entries: `Directory of . 14:40:36`, the headline, and a rule.
fn is_frame(words: &[(&[u8], &[u8])]) -> bool {
    is_headline(words, &[b"Directory", b"of"])
        || is_headline(words, &[b"Owner", b"Last", b"modified"])
        || words.len() > 2 && words.iter().all(|(word, _)| word.iter().all(|&byte| byte == b'-'))
}

/// `dsewrewr`: directory, shared; what everybody may; what the owner may.
fn kind_and_mode(attributes: &[u8]) -> Option<(FileKind, u16)> {
    let [directory, shared, rights @ ..] = attributes else { return None };
    let rights: &[u8; 6] = rights.try_into().ok()?;
    let known = matches!(directory, b'd' | b'-') && matches!(shared, b's' | b'-');
    let bits = rights.iter().zip(RIGHTS).try_fold(0, |mode, (&letter, (expected, bits))| match letter {
        b'-' => Some(mode),
        letter if letter == expected => Some(mode | bits),
        _ => None,
    })?;
    let kind = if *directory == b'd' { FileKind::Directory } else { FileKind::File };
    known.then_some((kind, bits))
}

const RIGHTS: [(u8, u16); 6] =
    [(b'e', 0o011), (b'w', 0o022), (b'r', 0o044), (b'e', 0o100), (b'w', 0o200), (b'r', 0o400)];

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn owner_time_and_attributes_come_first() {
        for (line, expected) in [
            ("                           Directory of . 14:40:36", "other"),
            (" Owner    Last modified  Attributes Sector Bytecount Name", "other"),
            ("------- ------------- ---------- ------ --------- ----------", "other"),
            ("    1.5  26/11/23 1440   d-ewrewr    1C2      8544 SYS", "dir 777 - 14:40 SYS"),
            ("    0.0  26/11/23 1440   ------wr     2A       530 startup file", "file 600 530 14:40 startup file"),
            ("    1.5  26/11/23 1440   --e-r-wr     2A       530 prog", "file 655 530 14:40 prog"),
            ("    1.5  26/13/23 1440   d-ewrewr    1C2      8544 SYS", "no"),
            ("    1.5  26/11/23 1440   d-rwerwe    1C2      8544 SYS", "no"),
            ("    1.5  26/11/23 1440   d-ewrewr    1C2      8544", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
