//! What users do, on a directory: run in a process of its own, so that a file system that hangs can be left.

use crate::place::{self, BIG, PHOTOS, SRC};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

/// One kind of work.
#[derive(Debug)]
pub struct Workload {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it is, for the table.
    pub what: &'static str,
    /// What its figure is.
    pub figure: Figure,
    /// Whether it is done when nobody chooses.
    pub is_usual: bool,
    /// The same for lftp, where it can: `$OUT` is the scratch directory, `$SRC` the tree on the disk.
    pub lftp: Option<&'static str>,
    run: fn(&mut Work),
}

/// What a figure tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// How long all of it took.
    Total,
    /// How long one of many took, at the median.
    Median,
}

/// The work at hand.
#[derive(Debug)]
pub struct Work {
    /// The directory that is measured: the root of the tree.
    mount: PathBuf,
    /// The same tree on the disk.
    tree: PathBuf,
    /// An empty directory on the disk.
    scratch: PathBuf,
    started: Option<Instant>,
    seconds: Option<f64>,
    used: u64,
}

/// All of them, in the order of the table.
pub const WORKLOADS: &[Workload] = &[
    Workload::usual("first-byte", "first byte of a listed file of 4 MiB, warm", Figure::Median, None, first_byte),
    Workload::usual("first-byte-small", "the same of small ones", Figure::Median, None, first_byte_of_small),
    Workload::usual("random-4k", "random 4 KiB read in 1 GiB", Figure::Median, None, |work| random(work, 4 << 10)),
    Workload::more("random-64k", "random 64 KiB read in 1 GiB", Figure::Median, None, |work| random(work, 64 << 10)),
    Workload::usual("player", "a player: head, tail, 40 skips", Figure::Total, None, player),
    Workload::usual("thumbnails", "first 64 KiB of 200 files", Figure::Total, None, thumbnails),
    Workload::more("ls-1000", "`ls -l` of 1,000 entries", Figure::Total, Some("ls thousand"), |work| {
        list(work, "thousand")
    }),
    Workload::usual("ls-10000", "`ls -l` of 10,000 entries", Figure::Total, Some("ls many"), |work| list(work, "many")),
    Workload::usual("ls-again", "the same again", Figure::Total, None, list_again),
    Workload::more("ls-100000", "`ls -l` of 100,000 entries", Figure::Total, Some("ls hundred-thousand"), |work| {
        list(work, "hundred-thousand");
    }),
    Workload::usual("find", "`find` over 190 directories", Figure::Total, Some("find src; find dirs"), |work| {
        work.time("find \"$1/src\" \"$1/dirs\"");
    }),
    Workload::more("du", "`du` of the same", Figure::Total, Some("du -s src; du -s dirs"), |work| {
        work.time("du -s \"$1/src\" \"$1/dirs\"");
    }),
    Workload::more("stat", "`stat` of 1,000 files in 80 directories", Figure::Total, None, stat_storm),
    Workload::usual("tar", "`tar` of 2,876 files", Figure::Total, Some(MIRROR), |work| tar(work, false)),
    Workload::more("tar-again", "the same again", Figure::Total, None, |work| tar(work, true)),
    Workload::more("grep", "`grep -r` in 2,876 files", Figure::Total, Some(MIRROR), |work| {
        work.used = src_bytes();
        work.time("! grep -r 'nothing has this' \"$1/src\"");
    }),
    Workload::more("rsync-down", "`rsync -a` of 2,876 files, down", Figure::Total, Some(MIRROR), |work| {
        work.used = src_bytes();
        work.time("rsync -a \"$1/src\" \"$3\"");
    }),
    Workload::more(
        "rsync-up",
        "`rsync -a` of 288 files, up",
        Figure::Total,
        Some("mirror -R --parallel=8 $SRC/src/part-0 out/part-0"),
        |work| {
            work.time("rsync -a --no-owner --no-group \"$2/src/part-0\" \"$1/out\"");
        },
    ),
    Workload::more("git-status", "`git status` with 288 files", Figure::Total, None, |work| {
        work.time("git -C \"$1/work\" --no-optional-locks status");
    }),
    Workload::more("git-clone", "`git clone` from the mount", Figure::Total, None, |work| {
        work.time("git clone -q --no-local \"$1/work\" \"$3/clone\"");
    }),
    Workload::usual(
        "write-small",
        "100 files of 4 KiB, one writer",
        Figure::Total,
        Some("mput -O out $OUT/small-*"),
        |work| {
            write_small(work, 1);
        },
    ),
    Workload::more("write-small-8", "100 files of 4 KiB, 8 writers", Figure::Total, None, |work| write_small(work, 8)),
    Workload::usual("read", "1 GiB read in order", Figure::Total, Some("pget -n 4 big.bin -o $OUT/big.bin"), |work| {
        read(work, 1)
    }),
    Workload::more("read-4", "1 GiB read by 4 readers, a quarter each", Figure::Total, None, |work| read(work, 4)),
    Workload::usual("write", "1 GiB written", Figure::Total, Some("put -O out $SRC/big.bin"), |work| write(work, 1)),
    Workload::more("write-4", "1 GiB written by 4 writers, a file each", Figure::Total, None, |work| write(work, 4)),
];

/// How many small files are written.
const SMALL: usize = 100;
/// How long each is (bytes).
const SMALL_BYTES: usize = 4096;
/// lftp's way of getting all of them.
const MIRROR: &str = "mirror --parallel=8 src $OUT/src";

impl Workload {
    const fn usual(
        name: &'static str,
        what: &'static str,
        figure: Figure,
        lftp: Option<&'static str>,
        run: fn(&mut Work),
    ) -> Self {
        Self { name, what, figure, is_usual: true, lftp, run }
    }

    const fn more(
        name: &'static str,
        what: &'static str,
        figure: Figure,
        lftp: Option<&'static str>,
        run: fn(&mut Work),
    ) -> Self {
        Self { is_usual: false, ..Self::usual(name, what, figure, lftp, run) }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// Does it in this process, and tells the one who started us (see [`crate::run`]).
    pub fn work(&self, mount: &Path, tree: &Path, scratch: &Path) {
        let (mount, tree, scratch) = (mount.to_owned(), tree.to_owned(), scratch.to_owned());
        let mut work = Work { mount, tree, scratch, started: None, seconds: None, used: 0 };
        (self.run)(&mut work);
        let seconds = work.seconds.expect("every workload measures");
        println!("result {seconds} {}", work.used);
    }
}

impl Work {
    /// From here on it is measured: waits until the other process has read its counters.
    fn start(&mut self) {
        println!("start");
        let _ = std::io::stdin().read_line(&mut String::new());
        self.started = Some(Instant::now());
    }

    fn stop(&mut self) {
        self.seconds = Some(self.started.expect("it was started").elapsed().as_secs_f64());
    }

    /// A shell script with the mount, the tree and the scratch directory as `$1` to `$3`.
    fn time(&mut self, script: &str) {
        self.start();
        self.shell(script);
        self.stop();
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args([&self.mount, &self.tree, &self.scratch]);
        // The tree belongs to the account.
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("sh starts");
        assert!(status.success(), "{script}: {status}");
    }

    fn open(&self, name: &str) -> File {
        File::open(self.mount.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// What fits into the first flight of a server: of a larger file the kernel asks for 16 KiB, which does not.
fn first_byte_of_small(work: &mut Work) {
    work.shell("ls -l \"$1/many\"");
    let name = |number: usize| format!("many/file-{:06}.txt", number * 733 % 10_000);
    work.open(&name(0)).read_exact(&mut [0]).expect("it can be read");
    each(work, 20, |work, number| {
        work.open(&name(number + 1)).read_exact(&mut [0]).expect("it can be read");
        work.used += 1;
    });
}

fn first_byte(work: &mut Work) {
    work.shell("ls -l \"$1/photos\"");
    work.open(&place::photo(0)).read_exact(&mut [0]).expect("it can be read");
    let mut files = (1..PHOTOS).map(|number| place::photo(number * 73 % PHOTOS));
    each(work, 20, |work, _| {
        let name = files.next().expect("there are enough");
        work.open(&name).read_exact(&mut [0]).expect("it can be read");
        work.used += 1;
    });
}

fn random(work: &mut Work, length: usize) {
    let file = work.open("big.bin");
    let (mut block, mut place) = (vec![0; length], 12_345_u64);
    each(work, 50, |work, _| {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (place >> 20) % (BIG / length as u64) * length as u64;
        file.read_exact_at(&mut block, offset).expect("it can be read");
        work.used += length as u64;
    });
}

fn player(work: &mut Work) {
    let file = work.open("big.bin");
    let mut block = vec![0; 256 << 10];
    work.start();
    let (head, tail) = ([0, 1, 2, 3], [BIG - (512 << 10), BIG - (256 << 10)]);
    let begins = head.map(|number| number * (256 << 10)).into_iter().chain(tail);
    for offset in begins.chain((1..=40).map(|skip| skip * (23 << 20))) {
        file.read_exact_at(&mut block, offset).expect("it can be read");
        work.used += block.len() as u64;
    }
    work.stop();
}

fn thumbnails(work: &mut Work) {
    work.start();
    let mut block = vec![0; 64 << 10];
    for number in 0..PHOTOS {
        work.open(&place::photo(number)).read_exact(&mut block).expect("it can be read");
        work.used += block.len() as u64;
    }
    work.stop();
}

fn list(work: &mut Work, name: &str) {
    work.time(&format!("ls -l \"$1/{name}\""));
}

fn list_again(work: &mut Work) {
    work.shell("ls -l \"$1/many\"");
    list(work, "many");
}

fn stat_storm(work: &mut Work) {
    work.start();
    for number in 0..1000 {
        let name = place::src_file(number * 911 % SRC);
        fs::metadata(work.mount.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    work.stop();
}

fn tar(work: &mut Work, again: bool) {
    // GNU tar reads nothing where it sees that it writes to /dev/null.
    let script = "tar -C \"$1\" -cf - src | wc -c";
    if again {
        work.shell(script);
    }
    work.used = src_bytes();
    work.time(script);
}

fn write_small(work: &mut Work, writers: usize) {
    let (out, bytes) = (work.mount.join("out"), place::noise(1, SMALL_BYTES));
    work.start();
    thread::scope(|scope| {
        for writer in 0..writers {
            let (out, bytes) = (&out, &bytes);
            scope.spawn(move || {
                for number in (writer..SMALL).step_by(writers) {
                    put(&out.join(format!("small-{number:03}")), |file| file.write_all(bytes));
                }
            });
        }
    });
    work.stop();
}

fn read(work: &mut Work, readers: u64) {
    work.start();
    thread::scope(|scope| {
        for reader in 0..readers {
            let file = work.open("big.bin");
            let end = (reader + 1) * BIG / readers;
            scope.spawn(move || {
                let (mut block, mut offset) = (vec![0; 128 << 10], reader * BIG / readers);
                while offset < end {
                    let length = file.read_at(&mut block, offset).expect("it can be read") as u64;
                    assert_ne!(length, 0, "the file ends at {offset}");
                    offset += length;
                }
            });
        }
    });
    work.used = BIG;
    work.stop();
}

fn write(work: &mut Work, writers: u64) {
    let out = work.mount.join("out");
    let block = place::noise(2, 1 << 20);
    work.start();
    thread::scope(|scope| {
        for writer in 0..writers {
            let (out, block) = (&out, &block);
            scope.spawn(move || {
                put(&out.join(format!("big-{writer}")), |file| {
                    (0..BIG / writers / block.len() as u64).try_for_each(|_| file.write_all(block))
                });
            });
        }
    });
    work.stop();
}

/// Writes a file and closes it, as careful programs do: an error of close counts.
fn put(path: &Path, write: impl Fn(&mut File) -> std::io::Result<()>) {
    let mut file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    write(&mut file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    nix::unistd::close(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Does something `count` times; the median is what it takes.
fn each(work: &mut Work, count: usize, mut action: impl FnMut(&mut Work, usize)) {
    work.start();
    let mut times: Vec<f64> = (0..count)
        .map(|number| {
            let start = Instant::now();
            action(work, number);
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    work.seconds = Some(times[count / 2]);
}

/// What lftp sends when we write the same files.
pub fn make_small(scratch: &Path) {
    for number in 0..SMALL {
        fs::write(scratch.join(format!("small-{number:03}")), place::noise(1, SMALL_BYTES)).expect("it is our own");
    }
}

fn src_bytes() -> u64 {
    (0..SRC).map(|number| place::src_length(number) as u64).sum()
}
