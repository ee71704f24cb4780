//! The tree that is served: made once a machine, the same bytes every time.

use crate::support::server::{HOME, USER, with_lock};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many files `src` holds, in [`SRC_DIRECTORIES`].
pub const SRC: usize = 2_876;
/// How many directories `src` holds below itself, two levels deep.
pub const SRC_DIRECTORIES: usize = 80;
/// How many directories `dirs` holds.
pub const DIRS: usize = 100;
/// How many files `photos` holds.
pub const PHOTOS: usize = 200;
/// The length of each (bytes).
pub const PHOTO_BYTES: u64 = 4 << 20;
/// The length of `big.bin` (bytes).
pub const BIG: u64 = 1 << 30;

/// The tree, made first where it is not there, and in this machine's memory: no disk is measured.
pub fn root() -> PathBuf {
    let root = PathBuf::from(format!("{HOME}/bench-{VERSION}"));
    with_lock(|| {
        if !root.exists() {
            let part = root.with_extension("part");
            let _ = fs::remove_dir_all(&part);
            make(&part);
            fs::rename(&part, &root).expect("the disk takes it");
        }
    });
    let warm = "find \"$1\" -size +0 >/dev/null; tar -C \"$1\" -cf - src work big.bin photos | cat >/dev/null";
    let status = Command::new("sh").args(["-c", warm, "sh"]).arg(&root).status();
    assert!(status.expect("sh starts").success());
    root
}

/// Where `src`'s file of this number lies, seen from the root.
pub fn src_file(number: usize) -> String {
    let place = number % SRC_DIRECTORIES;
    format!("src/part-{}/module-{place:02}/file-{number:04}.rs", place / 8)
}

/// Where a photo lies.
pub fn photo(number: usize) -> String {
    format!("photos/picture-{number:03}.jpg")
}

/// An empty directory of the account's below the tree, for what is written.
pub fn fresh_out(root: &Path) -> PathBuf {
    let out = root.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).expect("the disk takes it");
    give(&out);
    out
}

fn make(root: &Path) {
    fs::create_dir_all(root).expect("the disk takes it");
    for number in 0..SRC {
        let path = root.join(src_file(number));
        fs::create_dir_all(path.parent().expect("it lies in src")).expect("the disk takes it");
        write(&path, &noise(number, src_length(number)));
    }
    for number in 0..DIRS {
        let directory = root.join(format!("dirs/directory-{number:03}"));
        fs::create_dir_all(&directory).expect("the disk takes it");
        (0..5).for_each(|file| write(&directory.join(format!("file-{file}")), b"5\n"));
    }
    for (name, count) in [("thousand", 1_000), ("many", 10_000), ("hundred-thousand", 100_000)] {
        fs::create_dir(root.join(name)).expect("the disk takes it");
        (0..count).for_each(|number| write(&root.join(format!("{name}/file-{number:06}.txt")), b"many\n"));
    }
    fs::create_dir(root.join("photos")).expect("the disk takes it");
    for number in 0..PHOTOS {
        // Only their beginning is read.
        let file = File::create(root.join(photo(number))).expect("the disk takes it");
        file.set_len(PHOTO_BYTES).expect("the disk takes it");
        file.write_all_at(&noise(number, 256 << 10), 0).expect("the disk takes it");
    }
    repository(root);
    let mut big = BufWriter::with_capacity(1 << 20, File::create(root.join("big.bin")).expect("the disk takes it"));
    (0..1024).for_each(|block| big.write_all(&noise(block, 1 << 20)).expect("the disk takes it"));
    big.flush().expect("the disk takes it");
    give(root);
}

/// The length of `src`'s file of this number (bytes). 27 MB together, as sources are: most small, a few of some hundred kilobytes.
pub fn src_length(number: usize) -> usize {
    match number {
        _ if number % 150 == 7 => 400_000,
        _ if number % 30 == 3 => 65_536,
        _ => number * 7 % 10_000,
    }
}

/// A working tree of 300 files with its repository.
fn repository(root: &Path) {
    let script = r#"mkdir "$1/work" && cd "$1/work" && git init -q . && cp -r "$1/src/part-0" . &&
        git add . && git -c user.name=bench -c user.email=bench@localhost commit -qm all"#;
    let status = Command::new("sh").args(["-ec", script, "sh"]).arg(root).status();
    assert!(status.expect("sh starts").success());
}

fn give(path: &Path) {
    let status = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(path).status();
    assert!(status.expect("chown starts").success());
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Bytes without a pattern (splitmix64).
pub fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 * 0x1_0000_0001;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Raised whenever this file makes another tree.
const VERSION: u32 = 1;
