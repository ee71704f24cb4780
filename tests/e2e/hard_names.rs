//! Names that servers and programs stumble over, made on the server's disk and through the mount: what each server can do
//! with each of them is the table in `docs/servers.md`, which must be what is found here.

use crate::cases::{Case, give};
use crate::support::server::{Kind, Tls};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const SERVERS: [(&str, Kind); 4] = [
    ("vsftpd", Kind::Vsftpd),
    ("ProFTPD", Kind::Proftpd),
    ("Pure-FTPd", Kind::PureFtpd),
    ("pyftpdlib", Kind::Pyftpdlib),
];

/// What the table calls them, and their bytes.
const NAMES: &[(&str, &[u8])] = &[
    ("`a -> b`, `a;b`, `type=dir; x`", b"a -> b"),
    ("", b"a;b"),
    ("", b"type=dir; x"),
    ("UTF-8: `grüße`, `日本語`, é composed and decomposed, U+202E", "grüße".as_bytes()),
    ("", "日本語".as_bytes()),
    ("", "\u{e9}".as_bytes()),
    ("", "e\u{301}".as_bytes()),
    ("", "a\u{202e}b".as_bytes()),
    ("invalid UTF-8: `E9`, `80`, `C3 28`", b"latin-1 \xe9"),
    ("", b"\x80"),
    ("", b"\xc3("),
    ("0xFF: alone, before a letter, twice", b"\xff"),
    ("", b"a\xffb"),
    ("", b"\xff\xff"),
    ("0xFF before telnet's verbs: `FF FB x`, `FF F4`, `FF FD`", b"a\xff\xfbc"),
    ("", b"a\xff\xf4"),
    ("", b"\xff\xfd"),
    ("leading space", b" x"),
    ("trailing space", b"x "),
    ("one space", b" "),
    ("quotes: `\"q\"`, `q\"\"`, `'`", b"\"q\""),
    ("", b"q\"\""),
    ("", b"it's"),
    ("backslash: `a\\b`, `b\\`", b"a\\b"),
    ("", b"b\\"),
    ("`*`, `a*`", b"*"),
    ("", b"a*"),
    ("`[ab]`, `a?`, `{a,b}`", b"[ab]"),
    ("", b"a?"),
    ("", b"{a,b}"),
    ("`-a`, `-rf x`, `--`", b"-a"),
    ("", b"-rf x"),
    ("", b"--"),
    ("`~`, `~root`", b"~"),
    ("", b"~root"),
    ("`...`, `.hidden`, `%41`, `#`, `$(id)`, `a:b`", b"..."),
    ("", b".hidden"),
    ("", b"%41"),
    ("", b"#"),
    ("", b"$(id)"),
    ("", b"a:b"),
    ("`total 5`", b"total 5"),
    ("control characters: tab, escape, `01`", b"a\tb"),
    ("", b"\x1b[2J"),
    ("", b"a\x01"),
    ("`7F`", b"a\x7f"),
    ("CR", b"a\rb"),
    ("LF", b"a\nb"),
    ("255 bytes, ASCII and UTF-8", &[b'n'; 255]),
    ("", LONG_UTF8.as_flattened()),
];

/// 85 characters of three bytes.
const LONG_UTF8: [[u8; 3]; 85] = [*b"\xe6\x97\xa5"; 85];

#[test]
fn each_server_does_with_each_name_what_the_documents_say() {
    let found: Vec<Vec<String>> = thread::scope(|scope| {
        let tried = SERVERS.map(|(_, kind)| scope.spawn(move || try_all(kind)));
        tried.into_iter().map(|tried| tried.join().unwrap()).collect()
    });
    let mut table = String::from("| name | vsftpd | ProFTPD | Pure-FTPd | pyftpdlib |\n|---|---|---|---|---|\n");
    for group in groups() {
        let cells: Vec<String> = found.iter().map(|server| cell(&server[group.clone()])).collect();
        table += &format!("| {} | {} |\n", NAMES[group.start].0, cells.join(" | "));
    }
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/servers.md")).unwrap();
    assert!(document.contains(&table), "docs/servers.md should say:\n{table}");
}

/// Pure-FTPd and pyftpdlib take these for the other of their pair in whatever is asked: what was meant for the one was done
/// to the other, and reported as done.
#[test]
fn what_is_done_to_a_name_that_the_server_changes_is_not_done_to_another() {
    const PAIRS: [(&[u8], &str); 3] = [(b"a\tb", "a_b"), (b"c\xffd", "c\u{fffd}d"), (b"e ", "e_")];
    for (_, kind) in SERVERS {
        let case = Case::empty(kind, Tls::V13);
        let mount = case.mount_rw(&["dir_timeout=0", "attr_timeout=0"]);
        for (name, other) in PAIRS {
            case.put(other, b"other");
            let path = mount.point.join(OsStr::from_bytes(name));
            assert_eq!(fs::read(&path).unwrap_err().kind(), io::ErrorKind::NotFound, "{kind:?} {other}");
            assert!(fs::remove_file(&path).is_err() && fs::read_dir(&path).is_err());
            assert!(fs::rename(&path, mount.path("renamed")).is_err());
            let written = write(&path);
            let made = fs::create_dir(mount.path("d")).and_then(|()| fs::rename(mount.path("d"), &path));
            let is_changed = match kind {
                Kind::PureFtpd => name != b"c\xffd",
                Kind::Pyftpdlib => name == b"c\xffd",
                Kind::Vsftpd | Kind::Proftpd => false,
            };
            assert_eq!(written.is_err(), is_changed, "{kind:?} {other}");
            assert!(made.is_err());
            assert_eq!(fs::read(case.disk.join(other)).unwrap(), b"other", "{kind:?} {other}");
        }
        mount.end();
    }
}

/// The names of one line of the table.
fn groups() -> Vec<std::ops::Range<usize>> {
    let starts: Vec<usize> = (0..NAMES.len()).filter(|&index| !NAMES[index].0.is_empty()).collect();
    let ends = starts.iter().skip(1).copied().chain([NAMES.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// What is said once of all names of a line, or of each.
fn cell(each: &[String]) -> String {
    if each.iter().all(|one| *one == each[0]) { each[0].clone() } else { each.join(" / ") }
}

fn try_all(kind: Kind) -> Vec<String> {
    let case = Case::empty(kind, Tls::V13);
    for (index, (_, name)) in NAMES.iter().enumerate() {
        for side in ["disk", "mount"] {
            let directory = case.disk.join(format!("{side}-{index}"));
            fs::create_dir(&directory).unwrap();
            give(&directory);
        }
        let file = case.disk.join(format!("disk-{index}")).join(OsStr::from_bytes(name));
        fs::write(&file, name).unwrap();
        give(&file);
    }
    let mount = case.mount_rw(&["dir_timeout=0", "attr_timeout=0"]);
    let told = NAMES.iter().enumerate().map(|(index, (_, name))| {
        let name = OsStr::from_bytes(name);
        let place = |side: &str| {
            let directory = format!("{side}-{index}");
            Place { disk: case.disk.join(&directory), mounted: mount.path(&directory) }
        };
        let (disk, made) = (place("disk").listed(name), place("mount").made(name));
        match (disk, made) {
            (Ok(()), Ok(())) => "yes".to_owned(),
            (Err(disk), Ok(())) => disk.to_owned(),
            (Ok(()), Err(made)) => made.to_owned(),
            (Err(disk), Err(made)) => format!("{disk}, {made}"),
        }
    });
    let told: Vec<String> = told.collect();
    mount.end();
    told
}

/// One directory, on both sides.
struct Place {
    disk: PathBuf,
    mounted: PathBuf,
}

impl Place {
    /// A file that is there on the disk is shown, read, renamed there and back, and removed.
    fn listed(&self, name: &OsStr) -> Result<(), &'static str> {
        let path = self.mounted.join(name);
        if names(&self.mounted) != [name] {
            return Err("not shown");
        }
        let kind = fs::read_dir(&self.mounted).unwrap().next().unwrap().unwrap().file_type().unwrap();
        if !kind.is_file() || fs::read(&path).ok().as_deref() != Some(name.as_bytes()) {
            return Err("not read");
        }
        if fs::rename(&path, self.mounted.join("renamed")).is_err() || names(&self.disk) != ["renamed"] {
            return Err("not renamed");
        }
        if fs::rename(self.mounted.join("renamed"), &path).is_err() || names(&self.disk) != [name] {
            return Err("no target of renaming");
        }
        if fs::remove_file(&path).is_err() || !self.is_empty_soon() {
            return Err("not removed");
        }
        Ok(())
    }

    /// A file and a directory are made, and gone again.
    fn made(&self, name: &OsStr) -> Result<(), &'static str> {
        let path = self.mounted.join(name);
        if write(&path).is_err() {
            // Nothing may be left of it under any name.
            assert!(self.is_empty_soon(), "{name:?} left {:?}", names(&self.disk));
            return Err("not made");
        }
        assert_eq!(names(&self.disk), [name], "what was written has another name");
        assert_eq!(fs::read(self.disk.join(name)).unwrap(), b"made");
        assert_eq!(fs::read(&path).unwrap(), b"made");
        fs::remove_file(&path).unwrap();
        assert!(self.is_empty_soon());
        if fs::create_dir(&path).is_err() {
            assert!(self.is_empty_soon());
            return Err("no directory made");
        }
        assert_eq!(names(&self.disk), [name], "a directory has another name");
        let inside = path.join(name);
        if write(&inside).is_err() || names(&path) != [name] || fs::remove_file(&inside).is_err() {
            return Err("nothing made in a directory");
        }
        if fs::remove_dir(&path).is_err() || !self.is_empty_soon() {
            return Err("directory not removed");
        }
        Ok(())
    }

    /// Temporary names are removed in the background.
    fn is_empty_soon(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !names(&self.disk).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        names(&self.disk).is_empty()
    }
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(b"made")?;
    nix::unistd::close(file).map_err(io::Error::from)
}

fn names(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default()
}
