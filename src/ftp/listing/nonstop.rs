//! The form of HP NonStop (Tandem) in its own file system, Guardian.

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, Words, is_headline};
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `DATAFILE     101           16354  23-Nov-26 14:40:36  255, 5 "NUNU"`: name, code, end of file, time, owner, security.
pub(super) const FORM: Form = Form { name: "NonStop", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = words.as_slice();
    if is_headline(words, &[b"File", b"Code", b"EOF"]) {
        return Some(Line::Other);
    }
    let [(name, _), (code, _), (end, _), (date, _), (time, _), owner_and_security @ ..] = words else { return None };
    let (size, modified) = (number(end)?, clock.named(date, time)?);
    let code = code.strip_suffix(b"L").or_else(|| code.strip_suffix(b"P")).unwrap_or(code);
    let fits = number::<u32>(code).is_some()
        && is_file(name)
        && matches!(owner_and_security, [.., (security, _)] if security.starts_with(b"\"") && security.ends_with(b"\""));
    let metadata = Metadata { size: Some(size), modified: Some(modified), ..Metadata::of_kind(FileKind::File) };
    fits.then_some(Line::Entry(name, metadata))
}

/// One to eight letters and digits, a letter first.
fn is_file(name: &[u8]) -> bool {
    name.len() <= 8 && name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use crate::ftp::listing::line::shown;

    #[test]
    fn files_have_a_code_and_an_end() {
        for (line, expected) in [
            ("File         Code             EOF  Last Modification    Owner  RWEP", "other"),
            ("DATAFILE     101           16354  23-Nov-26 14:40:36  255, 5 \"NUNU\"", "file - 16354 14:40 DATAFILE"),
            ("OBJ         700L               0  23-Nov-2026 14:40:36 255,255 \"----\"", "file - 0 14:40 OBJ"),
            ("TOOLONGNAME  101           16354  23-Nov-26 14:40:36  255, 5 \"NUNU\"", "no"),
            ("DATAFILE     1x1           16354  23-Nov-26 14:40:36  255, 5 \"NUNU\"", "no"),
            ("DATAFILE     101           16354  23-Nov-26 14:40:36  255, 5", "no"),
        ] {
            assert_eq!(shown(&super::FORM, line), expected, "{line}");
        }
    }
}
