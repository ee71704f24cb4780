//! Names and paths on the server: bytes that cannot break a command or leave the root.

use std::borrow::Borrow;
use std::fmt;

/// One name in a directory: not empty, no `/`, NUL, CR or LF, and neither `.` nor `..`.
///
/// A name of this type is safe inside an FTP command (no line break) and inside a directory (no separator). Whatever else
/// it holds is the server's business: names are bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Why bytes are not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing at all.
    Empty,
    /// `.` or `..`, which name no entry of their own.
    Dots,
    /// A `/`, NUL, CR or LF.
    Forbidden(u8),
}

impl Name {
    /// Checks and takes `bytes`.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what stands in the way.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        match &*bytes {
            b"" => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dots),
            other => match other.iter().find(|byte| b"/\0\r\n".contains(byte)) {
                Some(&byte) => Err(NameError::Forbidden(byte)),
                None => Ok(Self(bytes)),
            },
        }
    }

    /// The bytes, as the server gave them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Control characters and bytes outside ASCII come out escaped: a name from the server must not drive a terminal.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&escaped(&self.0), f)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::Dots => f.write_str("the name is . or .."),
            Self::Forbidden(byte) => write!(f, "the name holds the byte 0x{byte:02x}"),
        }
    }
}

impl std::error::Error for NameError {}

/// An absolute path: `/`, or `/` and names parted by `/`. Relative to the directory that is mounted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Box<[u8]>);

impl RemotePath {
    /// `/`.
    pub fn root() -> Self {
        Self(Box::from(*b"/"))
    }

    /// Reads an absolute path; empty parts and `.` are left out, as in `//a/./b`.
    ///
    /// # Errors
    ///
    /// [`NameError`] where a part is `..` or holds a forbidden byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        bytes
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .try_fold(Self::root(), |path, part| Ok(path.join(&Name::new(part)?)))
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &Name) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.0.len());
        bytes.extend_from_slice(&self.0);
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(&name.0);
        Self(bytes.into())
    }

    /// The directory that holds this, and the name in it; `None` for `/`.
    pub fn split(&self) -> Option<(Self, Name)> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        let (parent, name) = (self.0.get(..slash)?, self.0.get(slash + 1..)?);
        let parent = if parent.is_empty() { Self::root() } else { Self(parent.into()) };
        Some((parent, Name(name.into())))
    }

    /// The directory that holds this; `None` for `/`.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| parent)
    }

    /// The names from the root to here.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
    }

    /// This path, where `old` stands for a directory on the way, seen under `new`; `None` where it does not lie under
    /// `old`.
    pub fn rebase(&self, old: &Self, new: &Self) -> Option<Self> {
        let rest = if old.is_root() { &self.0[..] } else { self.0.strip_prefix(&*old.0)? };
        match rest {
            b"" | b"/" => Some(new.clone()),
            [b'/', ..] if new.is_root() => Some(Self(rest.into())),
            [b'/', ..] => Some(Self([&*new.0, rest].concat().into())),
            _ => None,
        }
    }

    /// The bytes, beginning with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Escaped as [`Name`] is.
impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&escaped(&self.0), f)
    }
}

/// Text of the server for a log or a message: UTF-8 as it is, control characters and invalid bytes escaped.
pub fn escaped(bytes: &[u8]) -> impl fmt::Display + '_ {
    Escaped(bytes)
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    control if control.is_control() => write!(f, "{}", control.escape_default())?,
                    // Direction overrides reorder what a reader sees.
                    '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => write!(f, "{}", character.escape_unicode())?,
                    plain => f.write_char(plain)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_holds_no_separator_line_break_or_dots() {
        assert_eq!(Name::new(*b""), Err(NameError::Empty));
        assert_eq!(Name::new(*b".."), Err(NameError::Dots));
        assert_eq!(Name::new(*b"."), Err(NameError::Dots));
        for bad in [&b"a/b"[..], b"a\0b", b"a\rb", b"a\nb"] {
            assert!(matches!(Name::new(bad), Err(NameError::Forbidden(_))), "{bad:?}");
        }
        assert_eq!(Name::new(*b" ..").unwrap().as_bytes(), b" ..");
        assert_eq!(Name::new(*b"\xff").unwrap().as_bytes(), b"\xff");
    }

    #[test]
    fn a_path_is_read_joined_and_split() {
        assert_eq!(path("//a/./b/").as_bytes(), b"/a/b");
        assert_eq!(path("").as_bytes(), b"/");
        assert_eq!(RemotePath::parse(b"/a/../b"), Err(NameError::Dots));
        let (parent, name) = path("/a/b").split().unwrap();
        assert_eq!((parent.as_bytes(), name.as_bytes()), (&b"/a"[..], &b"b"[..]));
        assert_eq!(path("/a").parent(), Some(RemotePath::root()));
        assert_eq!(RemotePath::root().split(), None);
        assert_eq!(path("/a/b").names().collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn rebase_moves_what_lies_under_the_old_path_only() {
        assert_eq!(path("/a/b/c").rebase(&path("/a"), &path("/x/y")), Some(path("/x/y/b/c")));
        assert_eq!(path("/a").rebase(&path("/a"), &path("/x")), Some(path("/x")));
        assert_eq!(path("/ab").rebase(&path("/a"), &path("/x")), None);
        assert_eq!(path("/a/b").rebase(&path("/a"), &path("/")), Some(path("/b")));
        assert_eq!(path("/a").rebase(&path("/"), &path("/x")), Some(path("/x/a")));
    }

    #[test]
    fn what_the_server_says_cannot_drive_a_terminal() {
        assert_eq!(escaped(b"a\x1b[2Jb\n\xff \xc3\xa9").to_string(), "a\\u{1b}[2Jb\\n\\xff é");
    }
}
