//! The tree that the servers serve: made once a machine, the same bytes every time.

use crate::support::server::{HOME, USER, with_lock};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many files `many` holds.
pub const MANY: usize = 10_000;

/// How many files `src` holds, in [`SRC_DIRECTORIES`].
pub const SRC: usize = 3_000;

/// How many directories `src` holds, two levels deep.
pub const SRC_DIRECTORIES: usize = 80;

/// The length of `big.bin` in bytes.
pub const BIG: u64 = 1 << 30;

/// The length of `sparse.bin` in bytes.
pub const SPARSE: u64 = (4 << 30) + 12_345;

/// Names that programs and servers stumble over; each is a file in `odd` and a directory with a file in `odd/dirs`.
pub const ODD_NAMES: &[&str] = &[
    "with space",
    "two  spaces",
    " leading space",
    "grüße.txt",
    "日本語",
    "e\u{301} decomposed",
    "\u{e9} composed",
    "a -> b",
    "-leading-dash",
    "-d",
    "--help",
    "quo\"te",
    "two\"\"quotes",
    "apos'trophe",
    "a",
    "[ab]",
    "star*",
    "quest?ion",
    "{a,b}",
    "semi;colon",
    "size=1;type=dir; not a fact",
    "total 5",
    "-rw-r--r-- 1 u g 1 Jan 1 00:00 x",
    ".hidden",
    "...",
    "..two dots",
    "$(id)",
    "#hash",
    "%41",
    "~",
    "~root",
    "a&b|c",
    "NUL.",
    "a very long name: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 \
     0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789",
];

/// Names that not every server carries: in `raw`, see there which test expects what.
pub const RAW_NAMES: &[&[u8]] =
    &[b"back\\slash", b"trailing space ", b"latin-1 \xe9", b"tab\there", b"escape \x1b[2J", b"delete \x7f"];

/// The tree's root; made first where it is not there.
///
/// # Panics
///
/// If the disk does not take it.
pub fn root() -> PathBuf {
    let root = PathBuf::from(format!("{HOME}/tree-{VERSION}"));
    with_lock(|| {
        if !root.exists() {
            let part = PathBuf::from(format!("{HOME}/tree.part"));
            let _ = fs::remove_dir_all(&part);
            make(&part);
            fs::rename(&part, &root).expect("both lie in one directory");
        }
    });
    root
}

/// SHA-256 in hex of every regular file under `directory`, by path relative to it, found and read as programs do it:
/// `find` and `sha256sum`. Symbolic links are not followed.
///
/// # Panics
///
/// If either reports an error.
pub fn digests(directory: &Path) -> BTreeMap<OsString, String> {
    let script = "find . -type f -print0 | xargs --null --no-run-if-empty sha256sum --zero --binary --";
    let output = Command::new("bash").args(["-o", "pipefail", "-c", script]).current_dir(directory).output();
    let output = output.expect("bash starts");
    assert!(output.status.success(), "{}: {}", directory.display(), String::from_utf8_lossy(&output.stderr));
    let records = output.stdout.split(|&byte| byte == 0).filter(|record| !record.is_empty());
    records
        .map(|record| {
            // "<64 digits> *./path"
            let (digest, path) = record.split_at(64);
            let path = path.strip_prefix(b" *./").expect("sha256sum writes this form");
            (OsString::from_vec(path.to_vec()), String::from_utf8_lossy(digest).into_owned())
        })
        .collect()
}

/// What `big.bin` holds from `offset` (a multiple of eight).
pub fn big_content(offset: u64, length: usize) -> Vec<u8> {
    (offset / 8..).flat_map(|word| mixed(word).to_le_bytes()).take(length).collect()
}

/// The name of a file's own as the content of its first line, and more, so that no two files are alike.
fn content(path: &[u8], length: usize) -> Vec<u8> {
    let seed = path
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut bytes = [path, b"\n"].concat();
    bytes.extend((seed..).flat_map(|word| mixed(word).to_le_bytes()).take(length));
    bytes
}

/// Splitmix64: eight bytes that look random, for each position its own.
fn mixed(position: u64) -> u64 {
    let mut word = position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn make(root: &Path) {
    directory(root);
    odd(&root.join("odd"));
    raw(&root.join("raw"));
    many(&root.join("many"));
    src(&root.join("src"));
    links(root);
    big(&root.join("big.bin"));
    sparse(&root.join("sparse.bin"));
    file(&root.join("hello.txt"), b"Hello over TLS\n");
    file(&root.join("empty"), b"");
    times(&root.join("times"));
    let status = Command::new("chown").args(["-R", "-h", &format!("{USER}:{USER}")]).arg(root).status();
    assert!(status.expect("chown starts").success());
    locked(&root.join("locked"));
}

fn odd(odd: &Path) {
    let dirs = odd.join("dirs");
    directory(odd);
    directory(&dirs);
    for name in ODD_NAMES {
        file(&odd.join(name), &content(name.as_bytes(), 100));
        directory(&dirs.join(name));
        file(&dirs.join(name).join(name), &content(name.as_bytes(), 200));
    }
}

fn raw(raw: &Path) {
    directory(raw);
    for name in RAW_NAMES {
        file(&raw.join(OsStr::from_bytes(name)), &content(name, 50));
    }
}

fn many(many: &Path) {
    directory(many);
    for number in 0..MANY {
        file(&many.join(format!("file-{number:05}.txt")), format!("{number}\n").as_bytes());
    }
}

/// Sizes as sources have them: most small, some empty, a few of some hundred kilobytes.
fn src(src: &Path) {
    directory(src);
    for number in 0..SRC_DIRECTORIES {
        let (upper, lower) = (src.join(format!("part-{}", number / 8)), format!("module-{number:02}"));
        fs::create_dir_all(upper.join(lower)).expect("the disk takes it");
    }
    for number in 0..SRC {
        let place = number % SRC_DIRECTORIES;
        let name = format!("part-{}/module-{place:02}/file-{number:04}.rs", place / 8);
        let length = match number {
            _ if number % 300 == 7 => 400_000,
            _ if number % 50 == 3 => 65_536,
            _ => number * 7 % 6_000,
        };
        let bytes = if number % 97 == 0 { Vec::new() } else { content(name.as_bytes(), length) };
        file(&src.join(name), &bytes);
    }
}

fn links(root: &Path) {
    let links = root.join("links");
    directory(&links);
    directory(&links.join("real"));
    file(&links.join("real/inside.txt"), b"inside\n");
    file(&links.join("target.txt"), b"target\n");
    let made = [
        ("relative", "target.txt"),
        ("to-dir", "real"),
        ("up", "../hello.txt"),
        ("absolute", "/hello.txt"),
        ("dangling", "nowhere"),
        ("escaping", "../../../../../../etc/passwd"),
        ("absolute-escaping", "/etc/passwd"),
        ("loop", "loop"),
        ("name with -> arrow", "target.txt"),
    ];
    for (name, target) in made {
        symlink(target, links.join(name)).expect("the disk takes it");
    }
}

fn big(path: &Path) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).expect("the disk takes it"));
    for word in 0..BIG / 8 {
        out.write_all(&mixed(word).to_le_bytes()).expect("the disk takes it");
    }
    out.flush().expect("the disk takes it");
}

/// Data at the start, across 4 GiB, and at the end; holes between.
fn sparse(path: &Path) {
    let out = File::create(path).expect("the disk takes it");
    out.set_len(SPARSE).expect("the disk takes it");
    for offset in [0, (4 << 30) - 50, SPARSE - 100] {
        out.write_all_at(&content(b"sparse", 93), offset).expect("the disk takes it");
    }
}

/// Times that `LIST` tells in both of its forms, and that `MLSD` tells to the second.
fn times(times: &Path) {
    directory(times);
    for (name, time) in TIMES {
        let path = times.join(name);
        file(&path, name.as_bytes());
        let status = Command::new("touch").args(["--date", &format!("@{time}")]).arg(&path).status();
        assert!(status.expect("touch starts").success());
    }
}

/// Files in `times` and when they were changed, in seconds since 1970.
pub const TIMES: &[(&str, i64)] = &[("moon", 1), ("millennium", 946_684_799), ("leap-day", 1_709_210_096)];

/// What belongs to root and nobody may read, next to what everybody may.
fn locked(locked: &Path) {
    directory(locked);
    directory(&locked.join("closed"));
    file(&locked.join("closed/inside.txt"), b"nobody reads this\n");
    file(&locked.join("secret.txt"), b"nobody reads this\n");
    file(&locked.join("open.txt"), b"open\n");
    for name in ["closed", "secret.txt"] {
        fs::set_permissions(locked.join(name), fs::Permissions::from_mode(0o000)).expect("the file is ours");
    }
}

fn directory(path: &Path) {
    fs::create_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn file(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Raised whenever this file makes another tree.
const VERSION: u32 = 2;
