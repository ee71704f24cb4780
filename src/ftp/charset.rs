//! Names in the server's character set, and the same names here, where they are UTF-8.
//!
//! Every name of the server has exactly one name here, and that leads back to exactly its bytes: what does not decode, or
//! would not encode to the same bytes, is shown byte for byte in the private characters that the Encoding Standard's
//! `x-user-defined` takes for bytes, U+F780 to U+F7FF.

#![deny(clippy::indexing_slicing)]

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};
use std::borrow::Cow;
use std::fmt;

/// What `charset=` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// Names are the server's bytes.
    #[default]
    Bytes,
    /// Names are in this character set on the server.
    Named(Charset),
    /// UTF-8 where the server says so, else what the first names that are not ASCII look like.
    Detected,
}

/// A character set in which ASCII is itself. UTF-8 stands for names that are left as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

impl Charset {
    /// Names are left as they are.
    pub const BYTES: Self = Self(UTF_8);

    /// The character set that a label of the Encoding Standard names, in which every ASCII byte is itself.
    pub fn named(label: &str) -> Option<Self> {
        // Not even of UTF-8 is a NUL or a slash to be made of other bytes: UTF-16 and ISO-2022 would.
        Encoding::for_label(label.as_bytes()).filter(|encoding| encoding.is_ascii_compatible()).map(Self)
    }

    /// What the names of a directory are in; `None` as long as all are ASCII. Names of which most are UTF-8 are that.
    pub fn detect<'a>(names: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        let (mut utf8, mut other) = (0, 0);
        for name in names.filter(|name| !name.is_ascii()).take(NAMES_LOOKED_AT_MAX) {
            if std::str::from_utf8(name).is_ok() {
                utf8 += 1;
            } else {
                other += 1;
                detector.feed(name, false);
                detector.feed(b"\n", false);
            }
        }
        match (utf8, other) {
            (0, 0) => None,
            _ if utf8 >= other => Some(Self::BYTES),
            _ => {
                detector.feed(b"", true);
                Some(Self(detector.guess(None, Utf8Detection::Deny)))
            }
        }
    }

    /// Whether names are left as they are.
    pub fn is_bytes(self) -> bool {
        self == Self::BYTES
    }

    /// The name here of a name (or a path, name by name) of the server.
    pub fn to_local(self, name: &[u8]) -> Cow<'_, [u8]> {
        if self.is_bytes() || name.is_ascii() {
            return name.into();
        }
        let whole = self.0.decode_without_bom_handling_and_without_replacement(name);
        let local = whole.unwrap_or_else(|| self.decode_with_escapes(name).into());
        // Some sets have two codes for a character: by its name here only one of them would be found.
        let local = if self.encode(&local).as_deref() == Some(name) { local } else { escaped(name).into() };
        local.into_owned().into_bytes().into()
    }

    /// The name on the server of a name (or a path, name by name) here; `None` where no name of the server is shown so.
    pub fn to_server(self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        if self.is_bytes() || name.is_ascii() {
            return Some(name.into());
        }
        let server = self.encode(std::str::from_utf8(name).ok()?)?;
        (*self.to_local(&server) == *name).then(|| server.into())
    }

    fn decode_with_escapes(self, name: &[u8]) -> String {
        let mut local = String::with_capacity(name.len() * 2);
        let mut rest = name;
        while !rest.is_empty() {
            let character = (1..=CHARACTER_BYTES_MAX).find_map(|length| {
                let (code, rest) = rest.split_at_checked(length)?;
                Some((self.0.decode_without_bom_handling_and_without_replacement(code)?, rest))
            });
            rest = match character {
                Some((text, after)) => {
                    local.push_str(&text);
                    after
                }
                None => {
                    let (byte, after) = rest.split_at(1);
                    local.push_str(&escaped(byte));
                    after
                }
            };
        }
        local
    }

    fn encode(self, local: &str) -> Option<Vec<u8>> {
        let mut server = Vec::with_capacity(local.len());
        for character in local.chars() {
            match byte_of(character) {
                Some(byte) => server.push(byte),
                None => {
                    let mut buffer = [0; 4];
                    let (code, _, unmappable) = self.0.encode(character.encode_utf8(&mut buffer));
                    if unmappable {
                        return None;
                    }
                    server.extend_from_slice(&code);
                }
            }
        }
        Some(server)
    }
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `name` with a private character for each byte that is not ASCII.
fn escaped(name: &[u8]) -> String {
    name.iter()
        .map(|&byte| {
            if byte.is_ascii() {
                char::from(byte)
            } else {
                char::from_u32(ESCAPES + u32::from(byte)).unwrap_or('\u{fffd}')
            }
        })
        .collect()
}

/// The byte that an ASCII or a private character stands for.
fn byte_of(character: char) -> Option<u8> {
    match character {
        '\0'..='\x7f' => u8::try_from(character).ok(),
        '\u{f780}'..='\u{f7ff}' => u8::try_from(u32::from(character) - ESCAPES).ok(),
        _ => None,
    }
}

/// Byte 0x80 is U+F780, as in `x-user-defined`.
const ESCAPES: u32 = 0xf700;
/// The longest code of a character (GB 18030).
const CHARACTER_BYTES_MAX: usize = 4;
/// So many names tell what the others are in.
const NAMES_LOOKED_AT_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn charset(label: &str) -> Charset {
        Charset::named(label).unwrap()
    }

    fn local(label: &str, name: &[u8]) -> String {
        String::from_utf8(charset(label).to_local(name).into_owned()).unwrap()
    }

    #[test]
    fn names_are_translated_both_ways() {
        for (label, server, here) in [
            ("latin1", &b"gr\xfc\xdfe"[..], "grüße"),
            ("windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
            ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
            ("ibm866", b"\x8f\xe0\xa8\xa2\xa5\xe2", "Привет"),
            ("shift_jis", b"\x93\xfa\x96{\x8c\xea.txt", "日本語.txt"),
            ("euc-kr", b"\xc7\xd1\xb1\xdb", "한글"),
            ("gb18030", b"\xd6\xd0\x81\x30\x84\x36", "中¥"),
            ("big5", b"\xa4\xa4", "中"),
            ("utf-8", b"gr\xc3\xbc", "grü"),
        ] {
            assert_eq!(local(label, server), here, "{label}");
            assert_eq!(charset(label).to_server(here.as_bytes()).as_deref(), Some(server), "{label}");
        }
    }

    #[test]
    fn what_does_not_decode_is_shown_byte_for_byte_and_leads_back() {
        assert_eq!(local("shift_jis", b"\x93\xfa\xfda\x93"), "日\u{f7fd}a\u{f793}");
        assert_eq!(
            charset("shift_jis").to_server("日\u{f7fd}a\u{f793}".as_bytes()).unwrap(),
            &b"\x93\xfa\xfda\x93"[..]
        );
        // NEC's and IBM's code of one character.
        assert_eq!(
            (local("shift_jis", b"\x81\xca"), local("shift_jis", b"\xee\xf9")),
            ("￢".into(), "\u{f7ee}\u{f7f9}".into())
        );
        assert_eq!(local("windows-1252", b"\x81"), "\u{81}");
    }

    #[test]
    fn a_name_that_the_server_cannot_have_is_none() {
        for (label, here) in [
            ("latin1", "日".as_bytes()),
            ("latin1", b"\xe9"),
            // É has a code, so that this is not what its byte is shown as.
            ("latin1", "\u{f7c9}".as_bytes()),
            ("shift_jis", "\u{f781}\u{f7ca}".as_bytes()),
        ] {
            assert_eq!(charset(label).to_server(here), None, "{label} {here:?}");
        }
        assert_eq!(Charset::BYTES.to_server(b"\xe9").as_deref(), Some(&b"\xe9"[..]));
    }

    #[test]
    fn sets_in_which_ascii_is_not_itself_are_not_taken() {
        for label in ["utf-16", "utf-16be", "iso-2022-jp", "replacement", "no such"] {
            assert_eq!(Charset::named(label), None, "{label}");
        }
    }

    #[test]
    fn the_first_names_that_are_not_ascii_decide() {
        let detect = |names: &[&[u8]]| Charset::detect(names.iter().copied()).map(|charset| charset.to_string());
        assert_eq!(detect(&[b"plain", b""]), None);
        assert_eq!(detect(&["grüße".as_bytes(), b"plain", b"\xe9"]).as_deref(), Some("UTF-8"));
        assert_eq!(detect(&[b"gr\xfc\xdfe", b"caf\xe9"]).as_deref(), Some("windows-1252"));
        let russian: &[&[u8]] = &[b"\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0", b"\xc4\xee\xea\xf3\xec\xe5\xed\xf2\xfb"];
        assert_eq!(detect(russian).as_deref(), Some("windows-1251"));
        assert_eq!(detect(&[b"\x93\xfa\x96{\x8c\xea\x82\xcc\x83t\x83@\x83C\x83\x8b"]).as_deref(), Some("Shift_JIS"));
    }
}
