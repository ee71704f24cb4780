//! The form of the `DIRECTORY` command of VMS.

use crate::ftp::listing::line::{Form, Line, Word, Words};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata, Modified};

/// `LOGIN.COM;3      2/3      23-NOV-2026 14:40:36  [SMITH]  (RWED,RWED,RE,)`.
///
/// A long name stands in a line of its own before the rest. The name of a file keeps its version, without which it cannot
/// be deleted; that of a directory is what `CWD` takes, without `.DIR;1`. The size is in blocks of 512 bytes, which does
/// not say where the file ends: it is not taken.
pub(super) const FORM: Form = Form { name: "VMS", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let ((name, after), columns) = words.as_slice().split_first()?;
    if is_frame(name, after) {
        return Some(Line::Other);
    }
    let (name, kind) = name_and_kind(name)?;
    if columns.is_empty() {
        // Only from the beginning of a line: a continued line is indented.
        return (!line.starts_with(b" ")).then_some(Line::Begun);
    }
    if is_refusal(columns) {
        return Some(Line::Entry(name, Metadata::of_kind(kind)));
    }
    let (modified, after) = date(columns, clock)?;
    let mode = after.iter().find_map(|(word, _)| mode(word));
    Some(Line::Entry(name, Metadata { modified: Some(modified), mode, ..Metadata::of_kind(kind) }))
}

/// `Directory DISK$USER:[SMITH]` and `Total of 5 files, 12/15 blocks`.
fn is_frame(first: &[u8], after: &[u8]) -> bool {
    let after = after.trim_ascii();
    match first {
        b"Directory" => after.ends_with(b"]"),
        b"Total" => after.starts_with(b"of ") && after.windows(4).any(|part| part == b"file"),
        _ => false,
    }
}

/// `NAME.EXT;3`, as it is, and `NAME` of `NAME.DIR;1`.
fn name_and_kind(word: &[u8]) -> Option<(&[u8], FileKind)> {
    let semicolon = word.iter().rposition(|&byte| byte == b';')?;
    let (name, version) = word.split_at_checked(semicolon)?;
    let version = version.get(1..).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    if name.is_empty() || version.is_none() {
        return None;
    }
    let stem = name.split_at_checked(name.len().saturating_sub(EXTENSION.len()));
    match stem.filter(|(stem, extension)| !stem.is_empty() && extension.eq_ignore_ascii_case(EXTENSION)) {
        Some((stem, _)) => Some((stem, FileKind::Directory)),
        None => Some((word, FileKind::File)),
    }
}

/// `%RMS-E-PRV, insufficient privilege …`: the name is all that we may know.
fn is_refusal(columns: &[Word<'_>]) -> bool {
    matches!(columns, [(reason, _), ..] if reason.starts_with(b"%"))
        || matches!(columns, [(b"insufficient" | b"no" | b"No", _), (b"privilege", _), ..])
}

/// The date, before which a size may stand, and the columns after it.
fn date<'w, 'a>(columns: &'w [Word<'a>], clock: &ListClock) -> Option<(Modified, &'w [Word<'a>])> {
    (0..2).find_map(|index| {
        let [(date, _), (time, _), after @ ..] = columns.get(index..)? else { return None };
        Some((clock.named(date, time)?, after))
    })
}

/// `(RWED,RWED,RE,)`: what system, owner, group and world may; possibly as `(S:RWED,O:…)`.
fn mode(word: &[u8]) -> Option<u16> {
    let classes = word.strip_prefix(b"(")?.strip_suffix(b")")?;
    let mut classes = classes.split(|&byte| byte == b',').skip(1);
    let mut bits = || {
        let class = classes.next()?;
        let rights =
            class.iter().position(|&byte| byte == b':').and_then(|colon| class.get(colon + 1..)).unwrap_or(class);
        let has = |letter: &u8, bit: u16| if rights.contains(letter) { bit } else { 0 };
        rights
            .iter()
            .all(|letter| b"RWED".contains(letter) || class == b"W")
            .then(|| has(&b'R', 4) | has(&b'W', 2) | has(&b'E', 1))
    };
    Some(bits()? << 6 | bits()? << 3 | bits()?)
}

const EXTENSION: &[u8] = b".DIR";

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn files_have_versions_and_directories_an_extension() {
        for (line, expected) in [
            ("LOGIN.COM;3   2/3   23-NOV-2026 14:40:36  [SMITH]  (RWED,RWED,RE,)", "file 750 - 14:40 LOGIN.COM;3"),
            ("SUB.DIR;1   1   23-NOV-2026 14:40 [1,4] (RWE,RWE,RE,RE)", "dir 755 - 14:40 SUB"),
            ("a^.b.txt;12  4  3-JAN-2026 01:02:03.45", "file - - another day a^.b.txt;12"),
            ("X.Y;1 23-NOV-2026 14:40 [SMITH, USER] (S:RWED,O:RWED,G:RE,W:R)", "file 754 - 14:40 X.Y;1"),
            ("SECRET.DAT;1   %RMS-E-PRV, insufficient privilege", "file - - - SECRET.DAT;1"),
            ("SECRET.DIR;1   no privilege for attempted operation", "dir - - - SECRET"),
            ("A_RATHER_LONG_NAME_FOR_A_FILE.TXT;1", "begun"),
            ("  A_RATHER_LONG_NAME_FOR_A_FILE.TXT;1", "no"),
            ("Directory DISK$USER:[SMITH.WORK]", "other"),
            ("Total of 5 files, 12/15 blocks.", "other"),
            ("NAME.EXT  2  23-NOV-2026 14:40", "no"),
            ("NAME.EXT;x  2  23-NOV-2026 14:40", "no"),
            (";1  2  23-NOV-2026 14:40", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
