//! The facts of `MLSD` and `MLST` (RFC 3659 section 7).

use crate::accounts::Account;
use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Form, Line, target};
use crate::ftp::time::time_val;
use crate::remote::{FileKind, Metadata};

/// The facts of `MLSD` in answer to `LIST`, as some servers send them.
pub(super) const FORM: Form = Form { name: "facts", read: |line, _| read(line) };

/// Reads a line of `MLSD`, without its end: `type=file;size=16; name`.
pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
    let (mut facts, name) = Facts::read(line)?;
    Some(match facts.kind.take()? {
        Kind::Is(kind) => Line::Entry(name, facts.metadata(kind)),
        Kind::Itself => Line::Itself(facts.metadata(FileKind::Directory)),
        Kind::Parent => Line::Other,
        Kind::Special => Line::Special,
    })
}

/// Reads the inner line of a reply to `MLST`, ` type=file;size=16; /dir/name`: what it tells, and the name, which some
/// servers give as the full path and others as it was asked for.
///
/// `None` also where it is a device or the like.
pub fn read_mlst(line: &[u8]) -> Option<(Metadata, &[u8])> {
    let line = line.strip_prefix(b"250-").unwrap_or(line);
    let (mut facts, name) = Facts::read(line.strip_prefix(b" ").unwrap_or(line))?;
    let kind = match facts.kind.take()? {
        Kind::Is(kind) => kind,
        Kind::Itself | Kind::Parent => FileKind::Directory,
        Kind::Special => return None,
    };
    Some((facts.metadata(kind), name))
}

enum Kind {
    Is(FileKind),
    /// `cdir`.
    Itself,
    /// `pdir`.
    Parent,
    Special,
}

#[derive(Default)]
struct Facts<'a> {
    kind: Option<Kind>,
    size: Option<u64>,
    /// `sizd`, which Pure-FTPd gives for directories.
    size_of_directory: Option<u64>,
    modify: Option<&'a [u8]>,
    perm: Option<&'a [u8]>,
    mode: Option<u16>,
    uid: Option<u32>,
    gid: Option<u32>,
    owner: Option<&'a [u8]>,
    group: Option<&'a [u8]>,
    unique: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// The facts and the name, which begins after the space that follows the last fact's `;` and keeps its own spaces.
    /// Some servers leave out that `;`, and some that space.
    fn read(line: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut read = Self::default();
        let mut rest = line;
        loop {
            if let Some(name) = rest.strip_prefix(b" ") {
                return Some((read, name));
            }
            let equals = rest.iter().position(|byte| matches!(byte, b'=' | b';' | b' ')).unwrap_or(rest.len());
            let (key, from_equals) = rest.split_at_checked(equals)?;
            let Some(from_value) = from_equals.strip_prefix(b"=") else {
                // No fact: the name, with nothing before it.
                return Some((read, rest)).filter(|_| !rest.is_empty() && rest.len() < line.len());
            };
            let key = Key::of(key);
            let end = from_value
                .iter()
                .position(|&byte| byte == b';' || byte == b' ' && !key.may_hold_spaces())
                .or_else(|| from_value.iter().position(|&byte| byte == b' '))?;
            let (value, after) = from_value.split_at_checked(end)?;
            read.take(key, value);
            rest = after;
            while let Some(after) = rest.strip_prefix(b";") {
                rest = after;
            }
        }
    }

    /// A value that makes no sense is a fact that was not told.
    fn take(&mut self, key: Key, value: &'a [u8]) {
        match key {
            Key::Type => self.kind = Some(kind(value)),
            Key::Size => self.size = number(value),
            Key::SizeOfDirectory => self.size_of_directory = number(value),
            Key::Modify => self.modify = Some(value),
            Key::Perm => self.perm = Some(value),
            Key::Unique => self.unique = Some(value),
            // pyftpdlib writes Python's `0o644`.
            Key::Mode => self.mode = mode(value.strip_prefix(b"0o").unwrap_or(value)),
            // Some servers tell the name where others tell the number.
            Key::Uid => match number(value) {
                Some(uid) => self.uid = Some(uid),
                None => self.owner = self.owner.or(Some(value)),
            },
            Key::Gid => match number(value) {
                Some(gid) => self.gid = Some(gid),
                None => self.group = self.group.or(Some(value)),
            },
            Key::Owner => self.owner = Some(value),
            Key::Group => self.group = Some(value),
            Key::Other => {}
        }
    }

    fn metadata(&self, kind: FileKind) -> Metadata {
        let size_of_directory = if kind == FileKind::Directory { self.size_of_directory } else { None };
        Metadata {
            size: self.size.or(size_of_directory),
            modified: self.modify.and_then(time_val),
            mode: self.mode.or_else(|| mode_of_perm(&kind, self.perm?)),
            uid: self.uid,
            gid: self.gid,
            owner: self.owner.and_then(Account::named),
            group: self.group.and_then(Account::named),
            unique: self.unique.filter(|unique| !unique.is_empty()).map(Box::from),
            kind,
        }
    }
}

/// The facts that we know.
#[derive(Clone, Copy)]
enum Key {
    Type,
    Size,
    SizeOfDirectory,
    Modify,
    Perm,
    Unique,
    Mode,
    Uid,
    Gid,
    Owner,
    Group,
    Other,
}

impl Key {
    /// Case does not matter (RFC 3659 section 7.2).
    fn of(name: &[u8]) -> Self {
        // A million times a second: without memory of its own.
        let mut lower = [0; KEY_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"type" => Self::Type,
            b"size" => Self::Size,
            b"sizd" => Self::SizeOfDirectory,
            b"modify" => Self::Modify,
            // FileZilla Server 1.9 writes `perms`.
            b"perm" | b"perms" => Self::Perm,
            b"unique" => Self::Unique,
            b"unix.mode" => Self::Mode,
            b"unix.uid" | b"unix.owner" => Self::Uid,
            b"unix.gid" | b"unix.group" => Self::Gid,
            b"unix.ownername" => Self::Owner,
            b"unix.groupname" => Self::Group,
            _ => Self::Other,
        }
    }

    /// A link's target may hold spaces, and so may what we do not know: the name of an owner.
    fn may_hold_spaces(self) -> bool {
        matches!(self, Self::Type | Self::Unique | Self::Uid | Self::Gid | Self::Owner | Self::Group | Self::Other)
    }
}

fn kind(value: &[u8]) -> Kind {
    let is = |other: &[u8]| value.eq_ignore_ascii_case(other);
    match value.split_at_checked(SLINK.len()) {
        _ if is(b"file") => Kind::Is(FileKind::File),
        _ if is(b"dir") => Kind::Is(FileKind::Directory),
        _ if is(b"cdir") => Kind::Itself,
        _ if is(b"pdir") => Kind::Parent,
        _ if is(b"os.unix=symlink") || is(b"os.unix=slink") => Kind::Is(FileKind::Symlink(None)),
        Some((slink, path)) if slink.eq_ignore_ascii_case(SLINK) => Kind::Is(FileKind::Symlink(target(path))),
        _ => Kind::Special,
    }
}

fn mode(octal: &[u8]) -> Option<u16> {
    let octal = std::str::from_utf8(octal).ok().filter(|octal| !octal.starts_with('+'))?;
    // Some servers put the type of the file above the permissions.
    let mode = u32::from_str_radix(octal, 8).ok()?;
    u16::try_from(mode & 0o7777).ok()
}

/// The mode that `perm` (RFC 3659 section 7.5.5) amounts to, for us who are logged in and for everybody; `None` where
/// it grants nothing of what a mode can say. A file is readable by `r`, writable by `w` or `a`; a directory can be read
/// and entered by `e` or `l`, and changed by `c`, `m` or `p`. Capital letters are not these: pyftpdlib's `M` is chmod.
fn mode_of_perm(kind: &FileKind, perm: &[u8]) -> Option<u16> {
    let (read, write): (&[u8], &[u8]) = match kind {
        FileKind::File => (b"r", b"wa"),
        FileKind::Directory => (b"el", b"cmp"),
        FileKind::Symlink(_) => return None,
    };
    let grants = |letters: &[u8], bits| if perm.iter().any(|letter| letters.contains(letter)) { bits } else { 0 };
    let read_bits = if *kind == FileKind::Directory { 0o555 } else { 0o444 };
    let mode = grants(read, read_bits) | grants(write, 0o222);
    (mode != 0).then_some(mode)
}

/// The longest name of a [`Key`] that we know has fewer (bytes).
const KEY_BYTES_MAX: usize = 16;

const SLINK: &[u8] = b"os.unix=slink:";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> (String, Metadata) {
        match read(line.as_bytes()) {
            Some(Line::Entry(name, metadata)) => (String::from_utf8_lossy(name).into_owned(), metadata),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn facts_come_in_any_order_and_case() {
        let line = "modify=20261123144036;PERM=adfrw;size=16;Type=FILE;unique=FE00UE0002;UNIX.group=1001;\
                    UNIX.groupname=lab;UNIX.mode=0644;UNIX.owner=1002;UNIX.ownername=joe; hello.txt";
        let expected = Metadata {
            size: Some(16),
            modified: time_val(b"20261123144036"),
            mode: Some(0o644),
            uid: Some(1002),
            gid: Some(1001),
            owner: Account::named(b"joe"),
            group: Account::named(b"lab"),
            unique: Some(Box::from(*b"FE00UE0002")),
            ..Metadata::of_kind(FileKind::File)
        };
        assert_eq!(entry(line), ("hello.txt".into(), expected));
    }

    #[test]
    fn a_name_is_everything_after_the_facts() {
        for (line, name) in [
            ("type=file;size=1;  two spaces ", " two spaces "),
            ("type=file; a; b=c; d", "a; b=c; d"),
            ("type=file;size=1 no semicolon", "no semicolon"),
            ("type=OS.unix=slink:/a b;size=3; link", "link"),
            ("type=OS.unix=slink:/a; b;size=3; link", "b;size=3; link"),
            ("type=file;size=1;no space", "no space"),
            ("type=file;size=1;nothing", "nothing"),
            ("type=file;UNIX.ownername=Domain Users;size=1; owner", "owner"),
            ("type=file;UNIX.ownername=lab;size=1 a; b", "a; b"),
            ("type=file;; odd", "odd"),
        ] {
            assert_eq!(entry(line).0, name, "{line}");
        }
    }

    #[test]
    fn types_of_every_server_are_told_apart() {
        let link = |target: Option<&[u8]>| FileKind::Symlink(target.map(Box::from));
        for (value, expected) in [
            ("dir", FileKind::Directory),
            ("OS.unix=symlink", link(None)),
            ("OS.unix=slink:", link(None)),
            ("os.UNIX=SLINK:/Target Dir", link(Some(b"/Target Dir"))),
        ] {
            assert_eq!(entry(&format!("type={value}; x")).1.kind, expected, "{value}");
        }
        assert_eq!(read(b"type=OS.unix=chr-13/29; null"), Some(Line::Special));
        assert_eq!(read(b"type=pdir;size=3; .."), Some(Line::Other));
        assert_eq!(read(b"type=cdir; /pub"), Some(Line::Itself(Metadata::of_kind(FileKind::Directory))));
    }

    #[test]
    fn what_does_not_tell_a_type_is_not_understood() {
        for line in [" name", "size=3; name", "-rw-r--r-- 1 a b 3 Nov 23 14:40 x", "type=file;", "", "type=file"] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn perm_stands_in_for_a_mode_that_was_not_told() {
        for (facts, mode) in [
            ("type=file;perms=awrfd", Some(0o666)),
            ("type=file;perm=r", Some(0o444)),
            ("type=file;perm=df", None),
            ("type=dir;perm=el", Some(0o555)),
            ("type=dir;perm=elradfwMT", Some(0o555)),
            ("type=dir;perm=flcdmpe", Some(0o777)),
            ("type=dir;perm=el;unix.mode=0700", Some(0o700)),
            ("type=file;perm=r;unix.mode=9", Some(0o444)),
            ("type=file;perm=radfwMT;unix.mode=0o644", Some(0o644)),
            ("type=file;unix.mode=100644", Some(0o644)),
            ("type=OS.unix=symlink;perm=r", None),
        ] {
            assert_eq!(entry(&format!("{facts}; x")).1.mode, mode, "{facts}");
        }
    }

    #[test]
    fn a_directory_has_the_size_that_is_told_for_directories() {
        assert_eq!(entry("type=dir;sizd=4096; x").1.size, Some(4096));
        assert_eq!(entry("type=file;sizd=4096; x").1.size, None);
        assert_eq!(entry("type=file;size=-1; x").1.size, None);
    }

    #[test]
    fn the_line_of_mlst_begins_with_a_space_and_may_name_a_path() {
        let (metadata, name) = read_mlst(b" type=cdir;modify=20261123144036; /pub/my dir").unwrap();
        assert_eq!((metadata.kind, name), (FileKind::Directory, &b"/pub/my dir"[..]));
        assert_eq!(read_mlst(b"type=file;size=16;  a").unwrap().1, b" a");
        assert_eq!(read_mlst(b"  name"), None);
        assert_eq!(read_mlst(b""), None);
    }
}
