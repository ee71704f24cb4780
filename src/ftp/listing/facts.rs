//! The facts of `MLSD` and `MLST` (RFC 3659 section 7).

use crate::ftp::decimal::number;
use crate::ftp::listing::line::{Line, target};
use crate::ftp::time::time_val;
use crate::remote::{FileKind, Metadata};

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
    unique: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// The facts and the name, which begins after the first space that follows a fact's `;` and keeps its own spaces.
    fn read(line: &'a [u8]) -> Option<(Self, &'a [u8])> {
        // A link's target may hold spaces, so that the first space is not the end; but the last `;` may be missing.
        let end = line.windows(2).position(|pair| pair == b"; ").map(|semicolon| semicolon + 1);
        let end = end.or_else(|| line.iter().position(|&byte| byte == b' '))?;
        let (facts, name) = (line.get(..end)?, line.get(end + 1..)?);
        let mut read = Self::default();
        for fact in facts.split(|&byte| byte == b';') {
            let mut sides = fact.splitn(2, |&byte| byte == b'=');
            if let (Some(key), Some(value)) = (sides.next(), sides.next()) {
                read.take(&key.to_ascii_lowercase(), value);
            }
        }
        Some((read, name))
    }

    /// A value that makes no sense is a fact that was not told.
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match key {
            b"type" => self.kind = Some(kind(value)),
            b"size" => self.size = number(value),
            b"sizd" => self.size_of_directory = number(value),
            b"modify" => self.modify = Some(value),
            // FileZilla Server 1.9 writes `perms`.
            b"perm" | b"perms" => self.perm = Some(value),
            b"unique" => self.unique = Some(value),
            // pyftpdlib writes Python's `0o644`.
            b"unix.mode" => self.mode = mode(value.strip_prefix(b"0o").unwrap_or(value)),
            b"unix.uid" | b"unix.owner" => self.uid = number(value).or(self.uid),
            b"unix.gid" | b"unix.group" => self.gid = number(value).or(self.gid),
            _ => {}
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
            unique: self.unique.filter(|unique| !unique.is_empty()).map(Box::from),
            kind,
        }
    }
}

fn kind(value: &[u8]) -> Kind {
    match value.to_ascii_lowercase().as_slice() {
        b"file" => Kind::Is(FileKind::File),
        b"dir" => Kind::Is(FileKind::Directory),
        b"cdir" => Kind::Itself,
        b"pdir" => Kind::Parent,
        b"os.unix=symlink" | b"os.unix=slink" => Kind::Is(FileKind::Symlink(None)),
        other if other.starts_with(SLINK) => Kind::Is(FileKind::Symlink(value.get(SLINK.len()..).and_then(target))),
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
                    UNIX.groupname=lab;UNIX.mode=0644;UNIX.owner=1002;UNIX.ownername=lab; hello.txt";
        let expected = Metadata {
            size: Some(16),
            modified: time_val(b"20261123144036"),
            mode: Some(0o644),
            uid: Some(1002),
            gid: Some(1001),
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
