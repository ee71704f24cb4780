//! How many commands everyday work costs, by the servers' own logs, and how many bytes that nobody asked for. What makes
//! ftpsfs faster lowers these figures; nothing may raise them unseen.

use crate::cases::{Case, give, on_empty_servers};
use crate::support::link::{Link, Quality};
use crate::support::mountpoint::Mount;
use crate::support::run::shell;
use crate::support::server::{Kind, Spec};
use crate::support::tree;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

on_empty_servers! {
    [work_costs_as_many_commands_as_it_is_known_to]
    vsftpd: Vsftpd V13,
    proftpd: Proftpd V13,
}

/// Work on a fresh mount, as a shell script in which `$1` is the mount.
struct Work {
    what: &'static str,
    /// What comes before and is not counted.
    before: &'static str,
    script: &'static str,
    vsftpd: &'static str,
    proftpd: &'static str,
}

const WORK: &[Work] = &[
    Work {
        what: "ls -l of a directory: one listing",
        before: "",
        script: "ls -l $1/flat",
        vsftpd: "CWD 1, MDTM 1, REST 2, STAT 1",
        proftpd: "MLSD 1",
    },
    Work { what: "the same again", before: "ls -l $1/flat", script: "ls -l $1/flat", vsftpd: "", proftpd: "" },
    Work {
        what: "one file of a listed directory",
        before: "ls -l $1/flat",
        script: "cat $1/flat/07",
        vsftpd: "RETR 1",
        proftpd: "RETR 1",
    },
    Work { what: "the same file again", before: "cat $1/flat/07", script: "cat $1/flat/07", vsftpd: "", proftpd: "" },
    Work {
        what: "all 100 files of a directory",
        before: "",
        script: "cat $1/flat/*",
        vsftpd: "CWD 1, MDTM 1, REST 2, RETR 100, STAT 1",
        proftpd: "MLSD 1, RETR 100",
    },
    Work {
        what: "one file by its name, where nothing was listed",
        before: "",
        script: "cat $1/deep/3/file",
        vsftpd: "CWD 2, MDTM 2, REST 4, RETR 1, SIZE 1, STAT 3",
        proftpd: "MLST 2, RETR 1, SIZE 2",
    },
    Work {
        what: "a name that is not there",
        before: "ls $1/flat",
        script: "! cat $1/flat/none",
        vsftpd: "",
        proftpd: "",
    },
    Work {
        what: "find over 11 directories",
        before: "",
        script: "find $1/deep",
        vsftpd: "CWD 11, MDTM 1, REST 22, STAT 11",
        proftpd: "MLSD 11",
    },
    Work {
        what: "tar of 11 directories with 10 files",
        before: "",
        script: "tar -C $1 -cf - deep | wc -c",
        vsftpd: "CWD 11, MDTM 1, REST 22, RETR 10, STAT 11",
        proftpd: "MLSD 11, RETR 10",
    },
    Work {
        what: "20 small files written, in a directory that was listed",
        before: "ls $1/out",
        script: "for number in $(seq 20); do cp /etc/passwd $1/out/cp-$number; done",
        vsftpd: "CWD 1, MDTM 23, REST 2, RNFR 20, RNTO 20, SIZE 61, STAT 22, STOR 20",
        proftpd: "MLST 41, RNFR 20, RNTO 20, SIZE 42, STOR 20",
    },
    Work {
        // The shell closes the descriptor that it opened before the program writes to its copy: that uploads an empty file.
        what: "20 small files written by redirection",
        before: "ls $1/out",
        script: "for number in $(seq 20); do echo $number > $1/out/$number; done",
        vsftpd: "CWD 1, MDTM 62, REST 2, RNFR 40, RNTO 40, SIZE 121, STAT 62, STOR 40",
        proftpd: "MLST 81, RNFR 40, RNTO 40, SIZE 102, STOR 40",
    },
    Work {
        what: "one small file written over",
        before: "ls $1/flat",
        script: "cp /etc/passwd $1/flat/42",
        vsftpd: "MDTM 4, RNFR 1, RNTO 1, SIZE 5, STAT 4, STOR 1",
        proftpd: "MLST 4, RNFR 1, RNTO 1, SIZE 5, STOR 1",
    },
    Work {
        what: "a directory made and removed",
        before: "ls $1/out",
        script: "mkdir $1/out/d; rmdir $1/out/d",
        vsftpd: "CWD 1, MDTM 1, MKD 1, REST 2, RMD 1, SIZE 1, STAT 1",
        proftpd: "MKD 1, MLST 1, RMD 1, SIZE 1",
    },
    Work {
        what: "a file renamed and removed",
        before: "ls $1/flat",
        script: "mv $1/flat/50 $1/flat/new; rm $1/flat/new",
        vsftpd: "CWD 1, DELE 1, MDTM 2, REST 2, RNFR 1, RNTO 1, SIZE 2, STAT 2",
        proftpd: "DELE 1, MLST 2, RNFR 1, RNTO 1, SIZE 2",
    },
];

/// What is done ahead and in the background, once in a while: connections, and the port of the next transfer.
const BESIDE: &[&str] = &["AUTH", "EPSV", "OPTS", "OPTS_UTF8", "PASS", "PBSZ", "PROT", "TYPE", "USER"];

fn work_costs_as_many_commands_as_it_is_known_to(case: &Case) {
    lay_out(case);
    let mut wrong = String::new();
    for Work { what, before, script, vsftpd, proftpd } in WORK {
        let mount = case.mount_rw(&[]);
        // The directory of the mount itself, and the zone that the server lists in.
        run(&mount, "ls -l $1");
        run(&mount, before);
        let earlier = settled(case);
        run(&mount, script);
        let counted = difference(&earlier, &settled(case));
        mount.end();
        let expected = if case.server.spec.kind == Kind::Vsftpd { vsftpd } else { proftpd };
        if counted != *expected {
            wrong += &format!("{what}: \"{counted}\", not \"{expected}\"\n");
        }
    }
    assert!(wrong.is_empty(), "{:?}\n{wrong}", case.server.spec.kind);
}

/// `flat` with 100 files, `deep` with ten directories and a file in each, and `out`.
fn lay_out(case: &Case) {
    for directory in ["flat", "deep", "out"] {
        fs::create_dir(case.disk.join(directory)).unwrap();
        give(&case.disk.join(directory));
    }
    (0..100).for_each(|number| drop(case.put(&format!("flat/{number:02}"), b"content\n")));
    for number in 0..10 {
        let directory = case.disk.join(format!("deep/{number}"));
        fs::create_dir(&directory).unwrap();
        give(&directory);
        case.put(&format!("deep/{number}/file"), b"content\n");
    }
}

fn run(mount: &Mount, script: &str) {
    shell(script, &[&mount.point]).succeeded();
}

/// Programs that do not go on where a guess would have them, on a link of 5 ms: what the wire carries to the client, headers
/// and handshakes included: at most a fifth more than what is used, and 8 MiB (docs/semantics.md), and less where less is known to
/// be enough.
#[test]
fn little_is_fetched_that_nobody_asked_for() {
    let link = Arc::new(Link::new(Quality::delayed(Duration::from_millis(5))));
    let case = Case::of(Spec::new(Kind::Vsftpd, "/").behind(&link));
    let patterns: [Pattern; 4] = [
        ("ls of one directory", |mount| fs::read_dir(mount.path("src")).unwrap().count(), 64 << 10),
        ("one file in each directory", one_file_in_each_directory, 2 << 20),
        ("the first 4 KiB of a large file, by ten programs", |mount| read_at(mount, &[0; 10]), 1 << 20),
        ("4 KiB at 20 places of a large file", |mount| read_at(mount, &places()), MUCH),
    ];
    for (what, pattern, most) in patterns {
        let mount = case.mount(&[]);
        let before = link.bytes_to_client();
        let used = pattern(&mount);
        mount.end();
        let fetched = link.bytes_to_client() - before;
        println!("{what}: {used} used, {fetched} fetched");
        assert!(fetched <= most.min(used as u64 * 6 / 5 + MUCH), "{what}: {used} used, but {fetched} fetched");
    }
}

/// What comes of one place is in the way of what is looked at next: at 20 Mbit/s, 6 MiB would be for 2.5 s. The kernel took as much
/// as that once it had seen how fast the beginning was read.
#[test]
fn who_skips_through_a_film_leaves_little_behind() {
    const SKIPS: u64 = 20;
    let link = Arc::new(Link::new(Quality::delayed(Duration::from_millis(20))));
    let case = Case::of(Spec::new(Kind::Vsftpd, "/").behind(&link));
    let mount = case.mount(&[]);
    let film = File::open(mount.path("big.bin")).unwrap();
    let mut block = vec![0; 256 << 10];
    let before = link.bytes_to_client();
    for offset in (1..=SKIPS).map(|skip| skip * (23 << 20) + 4328) {
        film.read_exact_at(&mut block, offset).unwrap();
        assert!(block == tree::big_content(offset, block.len()), "at {offset}");
    }
    drop(film);
    mount.end();
    let each = (link.bytes_to_client() - before) / SKIPS;
    println!("{each} bytes fetched for each look of {}", block.len());
    assert!(each < 5 << 18, "{each}");
}

/// As a file manager does for its thumbnails: what is not wanted any more is broken off while it comes, and the connection is used
/// for the next. Nothing is read ahead of who does not go on: half as much again came, which is seconds on a slow link.
#[test]
fn downloads_that_are_broken_off_cost_no_login_and_leave_little_behind() {
    const PICTURES: u64 = 60;
    let link = Arc::new(Link::new(Quality::delayed(Duration::from_millis(20))));
    let case = Case::empty_of(Spec::new(Kind::Vsftpd, "/").behind(&link));
    let content = tree::big_content(0, 3 << 20);
    (0..PICTURES).for_each(|number| drop(case.put(&format!("picture-{number}"), &content)));
    let mount = case.mount(&[]);
    let mut beginning = vec![0; 64 << 10];
    let before = link.bytes_to_client();
    for number in 0..PICTURES {
        File::open(mount.path(&format!("picture-{number}"))).unwrap().read_exact_at(&mut beginning, 0).unwrap();
        assert!(beginning == content[..64 << 10]);
    }
    let summary = mount.end();
    let each = (link.bytes_to_client() - before) / PICTURES;
    println!("{summary:?}; {each} bytes fetched for each look of {}", beginning.len());
    assert!(summary.logins <= 8, "{summary:?}");
    assert!(each < 430_000, "{each}");
}

/// What may be fetched in vain in any case.
const MUCH: u64 = 8 << 20;

/// What it is, the work, which tells how much it used, and the most bytes that it may fetch.
type Pattern = (&'static str, fn(&Mount) -> usize, u64);

fn one_file_in_each_directory(mount: &Mount) -> usize {
    let number = |place: usize| format!("src/part-{}/module-{place:02}/file-{:04}.rs", place / 8, place + 80);
    (0..tree::SRC_DIRECTORIES).map(|place| fs::read(mount.path(&number(place))).unwrap().len()).sum()
}

/// Each with a file of its own, as a program does that is started for each.
fn read_at(mount: &Mount, offsets: &[u64]) -> usize {
    let mut block = [0; 4096];
    for offset in offsets {
        File::open(mount.path("big.bin")).unwrap().read_exact_at(&mut block, *offset).unwrap();
        assert!(block[..] == tree::big_content(*offset, block.len())[..]);
    }
    offsets.len() * block.len()
}

/// Far from each other, in no order.
fn places() -> [u64; 20] {
    std::array::from_fn(|number| (number as u64 * 7 % 20) * (50 << 20) + (1 << 20))
}

/// What the server has logged when nothing more comes: transfers end behind their readers' backs.
fn settled(case: &Case) -> BTreeMap<String, usize> {
    let mut commands = case.server.commands();
    loop {
        thread::sleep(Duration::from_millis(300));
        let later = case.server.commands();
        if later == commands {
            return later;
        }
        commands = later;
    }
}

fn difference(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> String {
    let more = after.iter().map(|(verb, count)| (verb, count - before.get(verb).copied().unwrap_or_default()));
    let more: Vec<String> = more
        .filter(|(verb, count)| *count > 0 && !BESIDE.contains(&verb.as_str()))
        .map(|(verb, count)| format!("{verb} {count}"))
        .collect();
    more.join(", ")
}
