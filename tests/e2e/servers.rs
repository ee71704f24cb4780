//! What every server's tree looks like through the mount: the same as on its disk.

use crate::cases::{Case, both, on_every_server};
use crate::support::run::shell;
use crate::support::server::Kind;
use crate::support::tree::{self, ODD_NAMES, RAW_NAMES, digests};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

on_every_server! {
    every_byte_is_as_on_the_disk,
    programs_copy_and_search,
    odd_names_are_names_like_others,
    ten_thousand_files_cost_one_listing,
    symbolic_links_lead_where_they_may,
    what_the_server_forbids_is_forbidden_and_nothing_else,
    a_file_over_four_gibibytes_is_read_at_its_end,
    reads_anywhere_are_right,
    times_are_right,
}

fn every_byte_is_as_on_the_disk(case: &Case) {
    let mount = case.mount(&[]);
    for part in ["src/part-0", "src/part-1", "odd", "times"] {
        let (disk, mounted) = both(&case.disk, &mount.point, part);
        assert_eq!(digests(&mounted), digests(&disk), "{part}");
    }
    for file in ["hello.txt", "empty"] {
        assert_eq!(fs::read(mount.path(file)).unwrap(), fs::read(case.disk.join(file)).unwrap());
    }
    assert_eq!(mount.end().refusals, 0);
}

fn programs_copy_and_search(case: &Case) {
    let mount = case.mount(&[]);
    let target = mount.point.with_file_name("copies");
    let (disk, mounted) = both(&case.disk, &mount.point, "src/part-2");
    shell(
        r#"mkdir "$3"; cd "$3"
        cp -r "$2" cp; diff -r "$1" cp
        mkdir tar; tar -C "$2" -cf - . | tar -C tar -xf -; diff -r "$1" tar
        rsync -rt "$2/" rsync; diff -r "$1" rsync; [ -z "$(rsync -rtni "$2/" rsync)" ]
        diff -r "$1" "$2"
        cat "$1"/*/*.rs | cmp - <(cat "$2"/*/*.rs)
        diff <(cd "$1"; find . -type f -size +10k | sort) <(cd "$2"; find . -type f -size +10k | sort)
        diff <(cd "$1"; grep -r -c part-2 . | sort) <(cd "$2"; grep -r -c part-2 . | sort)
        [ "$(cd "$1"; du -sb --apparent-size -- */*.rs)" = "$(cd "$2"; du -sb --apparent-size -- */*.rs)" ]"#,
        &[disk.as_path(), &mounted, &target],
    )
    .succeeded();
}

fn odd_names_are_names_like_others(case: &Case) {
    let mount = case.mount(&[]);
    let (disk, mounted) = both(&case.disk, &mount.point, "odd");
    assert_eq!(names(&mounted), names(&disk));
    for name in ODD_NAMES {
        let inside = Path::new("dirs").join(name).join(name);
        assert_eq!(fs::read(mounted.join(&inside)).unwrap(), fs::read(disk.join(&inside)).unwrap(), "{inside:?}");
    }
    // What no listing tells apart, the server must still not be asked for by a pattern.
    assert_eq!(fs::metadata(mounted.join("[a]")).unwrap_err().kind(), io::ErrorKind::NotFound);

    let (disk, mounted) = both(&case.disk, &mount.point, "raw");
    let seen = names(&mounted);
    for name in RAW_NAMES.iter().map(|name| OsStr::from_bytes(name)).filter(|name| carries(case, name)) {
        assert!(seen.contains(name), "{name:?} is not in {seen:?}");
        assert_eq!(fs::read(mounted.join(name)).unwrap(), fs::read(disk.join(name)).unwrap(), "{name:?}");
    }
}

fn carries(case: &Case, name: &OsStr) -> bool {
    match case.server.spec.kind {
        // Sends names that are not UTF-8 as question marks, and finds them under no name.
        Kind::Pyftpdlib => name.to_str().is_some(),
        // Answers RETR of a backslash with `553 Prohibited file name`, and lists no names with control characters.
        Kind::PureFtpd => !name.as_bytes().iter().any(|byte| *byte == b'\\' || byte.is_ascii_control()),
        Kind::Vsftpd | Kind::Proftpd => true,
    }
}

fn ten_thousand_files_cost_one_listing(case: &Case) {
    const LISTINGS: &[&str] = &["LIST", "MLSD", "STAT", "NLST"];
    const QUESTIONS: &[&str] = &["LIST", "MLSD", "STAT", "NLST", "MLST", "SIZE", "MDTM", "RETR"];
    let mount = case.mount(&[]);
    // The way to the directory costs listings of its own.
    fs::metadata(mount.path("many")).unwrap();
    let count = |commands: &[&str]| if case.logs_commands() { case.server.count(commands) } else { 0 };
    let (listings, questions) = (count(LISTINGS), count(QUESTIONS));
    let first = shell(r#"ls -l "$1""#, &[mount.path("many")]).succeeded();
    assert_eq!(first.lines().count(), tree::MANY + 1);
    assert!(first.contains("file-00000.txt") && first.contains("file-09999.txt"));
    if case.logs_commands() {
        assert_eq!(count(LISTINGS) - listings, 1, "{}", case.server.log());
        assert_eq!(count(QUESTIONS) - questions, 1);
    }
    let second = shell(r#"ls -l "$1""#, &[mount.path("many")]).succeeded();
    assert_eq!(second, first);
    assert_eq!(fs::metadata(mount.path("many/missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    if case.logs_commands() {
        assert_eq!(count(QUESTIONS) - questions, 1, "the second ls and the missing name must cost nothing");
    }
    // By the program's own count as well, for the server that keeps no log: at most `/`, by MLSD and by LIST, and `many`.
    assert!(mount.end().listings <= 3);
}

fn symbolic_links_lead_where_they_may(case: &Case) {
    let mount = case.mount(&[]);
    let links = mount.path("links");
    for name in ["relative", "up", "name with -> arrow"] {
        let expected = fs::read(case.disk.join("links").join(name)).unwrap();
        assert_eq!(fs::read(links.join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(fs::read(links.join("to-dir/inside.txt")).unwrap(), b"inside\n");
    for name in ["escaping", "absolute-escaping", "dangling", "loop"] {
        let read = fs::read(links.join(name));
        assert!(read.is_err(), "{name} leads to {}", String::from_utf8_lossy(&read.unwrap()));
    }
    if case.server.spec.kind == Kind::Vsftpd {
        for name in ["relative", "to-dir", "up", "dangling", "loop"] {
            let expected = fs::read_link(case.disk.join("links").join(name)).unwrap();
            assert_eq!(fs::read_link(links.join(name)).unwrap(), expected, "{name}");
        }
    }
}

fn what_the_server_forbids_is_forbidden_and_nothing_else(case: &Case) {
    let mount = case.mount(&[]);
    let locked = mount.path("locked");
    for _ in 0..2 {
        let read = fs::read(locked.join("secret.txt"));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let listed = fs::read_dir(locked.join("closed")).and_then(|mut entries| entries.next().transpose());
        assert_eq!(listed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read(locked.join("open.txt")).unwrap(), b"open\n");
    }
    let missing = fs::read(locked.join("missing.txt"));
    assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
}

fn a_file_over_four_gibibytes_is_read_at_its_end(case: &Case) {
    let mount = case.mount(&[]);
    let (disk, mounted) = both(&case.disk, &mount.point, "sparse.bin");
    let (disk, mounted) = (File::open(disk).unwrap(), File::open(mounted).unwrap());
    assert_eq!(mounted.metadata().unwrap().len(), tree::SPARSE);
    for offset in [tree::SPARSE - 300, (4 << 30) - 200, 0, (4 << 30) + 1, tree::SPARSE - 1] {
        assert_eq!(read_at(&mounted, offset, 300), read_at(&disk, offset, 300), "at {offset}");
    }
    assert_eq!(read_at(&mounted, tree::SPARSE, 300), b"");
}

fn reads_anywhere_are_right(case: &Case) {
    let mount = case.mount(&[]);
    let file = File::open(mount.path("big.bin")).unwrap();
    let mut position = 0x1234_5678_u64;
    for _ in 0..40 {
        position = position.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (position >> 24) % (tree::BIG - 8192) / 8 * 8;
        assert_eq!(read_at(&file, offset, 4096), tree::big_content(offset, 4096), "at {offset}");
    }
    // Backwards, and across the end.
    for offset in (0..5).map(|step| tree::BIG - 1000 - step * 3_000_000).map(|offset| offset / 8 * 8) {
        let expected = tree::big_content(offset, usize::try_from(tree::BIG - offset).unwrap().min(10_000));
        assert_eq!(read_at(&file, offset, 10_000), expected, "at {offset}");
    }
}

fn times_are_right(case: &Case) {
    let mount = case.mount(&[]);
    // LIST gives a day only.
    let coarse = if case.server.spec.kind == Kind::Vsftpd { 86_400 } else { 1 };
    for (name, time) in tree::TIMES {
        let metadata = fs::metadata(mount.path("times").join(name)).unwrap();
        assert_eq!(metadata.mtime() / coarse, time / coarse, "{name}");
        assert_eq!(metadata.len(), name.len() as u64);
    }
    let disk = fs::metadata(case.disk.join("hello.txt")).unwrap().modified().unwrap();
    let mounted = fs::metadata(mount.path("hello.txt")).unwrap().modified().unwrap();
    assert!(mounted <= disk && disk.duration_since(mounted).unwrap() <= Duration::from_secs(60), "{mounted:?}");
    assert!(mounted > UNIX_EPOCH);
}

fn names(directory: &Path) -> BTreeSet<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn read_at(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64).unwrap() {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    bytes
}
