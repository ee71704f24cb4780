//! Several downloads of one file side by side, where each brings only so much.

use crate::memory::Memory;
use crate::reading::{MIB, content, open, read};
use ftpsfs::errno::Errno;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Fh, Patience};
use ftpsfs::vfs::{Settings, Vfs};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A cache whose segments have 1 MiB.
const CACHE: usize = 8 * MIB;
const READ: usize = 128 * 1024;
/// Each download brings about 3 MB/s, and a segment takes 320 ms.
const PACE: Duration = Duration::from_millis(20);

fn slow_server(len: usize) -> (Memory, Vec<u8>, Vfs) {
    let (memory, bytes) = (Memory::new(), content(len));
    memory.file("/f", bytes.clone()).pace(64 * 1024, PACE).spare(4);
    let settings = Settings { cache_bytes_max: CACHE, ..Settings::default() };
    let vfs = Vfs::new(Arc::new(memory.clone()), settings);
    (memory, bytes, vfs)
}

fn read_in_order(vfs: &Vfs, fh: Fh, bytes: &[u8], range: Range<usize>) {
    let now = Instant::now();
    for offset in range.step_by(READ) {
        let expected = &bytes[offset..(offset + READ).min(bytes.len())];
        assert!(read(vfs, fh, offset, READ, now).unwrap() == expected, "at {offset}");
    }
}

#[test]
fn a_long_file_comes_by_several_downloads_and_hardly_a_byte_twice() {
    let (memory, bytes, vfs) = slow_server(16 * MIB + 12_345);
    let fh = open(&vfs, "f", Instant::now()).fh;
    read_in_order(&vfs, fh, &bytes, 0..bytes.len());
    let counts = memory.counts();
    assert!(counts.open_downloads_max >= 3, "{counts:?}");
    assert!(counts.bytes <= bytes.len() + MIB / 2, "{counts:?}");
    memory.await_counts("closed them all", |counts| counts.open_downloads == 0);
}

#[test]
fn no_connection_is_taken_that_others_may_need() {
    let (memory, bytes, vfs) = slow_server(8 * MIB);
    memory.spare(1);
    let fh = open(&vfs, "f", Instant::now()).fh;
    read_in_order(&vfs, fh, &bytes, 0..bytes.len());
    assert_eq!((memory.counts().reads, memory.counts().bytes), (1, bytes.len()));
}

#[test]
fn whoever_reads_elsewhere_or_no_more_gives_the_downloads_back() {
    let (memory, bytes, vfs) = slow_server(24 * MIB);
    let fh = open(&vfs, "f", Instant::now()).fh;
    read_in_order(&vfs, fh, &bytes, 0..7 * MIB);
    assert!(memory.counts().open_downloads_max >= 2);
    // There he goes on in order, by one download at first.
    read_in_order(&vfs, fh, &bytes, 18 * MIB..22 * MIB);
    memory.await_counts("closed the segments of before", |counts| counts.open_downloads <= 3);
    // And back.
    read_in_order(&vfs, fh, &bytes, 5 * MIB..9 * MIB);
    vfs.release(fh, Instant::now(), Patience::Network).unwrap();
    memory.await_counts("closed them all", |counts| counts.open_downloads == 0);
}

#[test]
fn a_segment_that_breaks_off_goes_on_or_is_fetched_by_another_download() {
    let (memory, bytes, vfs) = slow_server(16 * MIB);
    let fh = open(&vfs, "f", Instant::now()).fh;
    read_in_order(&vfs, fh, &bytes, 0..5 * MIB);
    assert!(memory.counts().open_downloads_max >= 2);
    // One of the next ones is given up.
    for _ in 0..6 {
        memory.break_next(100_000, ErrorKind::Lost);
    }
    read_in_order(&vfs, fh, &bytes, 5 * MIB..12 * MIB);
    read_in_order(&vfs, fh, &bytes, 12 * MIB..bytes.len());
}

/// A download goes on with the file that it was opened of, and the next one was opened of the file that has its name since.
#[test]
fn a_file_that_is_replaced_meanwhile_is_never_read_in_two_versions() {
    for (spare, spare_then) in [(1, 1), (4, 4), (4, 0)] {
        let (memory, bytes, vfs) = slow_server(16 * MIB);
        memory.spare(spare);
        let fh = open(&vfs, "f", Instant::now()).fh;
        read_in_order(&vfs, fh, &bytes, 0..6 * MIB);
        memory.spare(spare_then);
        memory.file("/f", bytes.iter().map(|byte| !byte).collect::<Vec<u8>>());
        let now = Instant::now();
        for offset in (6 * MIB..16 * MIB).step_by(READ) {
            match read(&vfs, fh, offset, READ, now) {
                Ok(got) => assert!(got == bytes[offset..offset + READ], "at {offset}"),
                Err(error) => {
                    assert_eq!((error.errno(), spare), (Errno::ESTALE, 4), "at {offset}");
                    break;
                }
            }
        }
    }
}

/// As it happens where files are copied at once: what is fetched for one must be there until its reader comes.
#[test]
fn long_files_that_are_read_at_once_are_not_fetched_over_and_over() {
    let (memory, bytes, vfs) = slow_server(20 * MIB);
    memory.file("/g", bytes.clone()).file("/h", bytes.clone()).spare(8);
    thread::scope(|scope| {
        for name in ["f", "g", "h"] {
            let (vfs, bytes) = (&vfs, &bytes);
            scope.spawn(move || read_in_order(vfs, open(vfs, name, Instant::now()).fh, bytes, 0..bytes.len()));
        }
    });
    let fetched = memory.counts().bytes;
    assert!(fetched <= 3 * bytes.len() * 11 / 10, "{fetched} of {}", 3 * bytes.len());
}

/// Where segments are longer than what a look waits for: what is opened for it must not go through the rest of the segment once
/// more as soon as the reader comes by.
#[test]
fn a_look_far_into_a_segment_is_of_one_block() {
    let memory = Memory::new();
    let bytes = content(64 * MIB);
    memory.file("/f", bytes.clone()).pace(256 * 1024, PACE).spare(8);
    let vfs = Vfs::new(Arc::new(memory.clone()), Settings::default());
    let now = Instant::now();
    let (fh, other) = (open(&vfs, "f", now).fh, open(&vfs, "f", now).fh);
    let mut looks = 0;
    for place in (0..bytes.len()).step_by(MIB) {
        read_in_order(&vfs, fh, &bytes, place..place + MIB);
        let ahead = place + 7 * MIB;
        if memory.counts().open_downloads_max >= 3 && ahead < bytes.len() {
            assert!(read(&vfs, other, ahead, 4096, now).unwrap() == bytes[ahead..ahead + 4096]);
            looks += 1;
        }
    }
    let fetched = memory.counts().bytes;
    assert!(looks > 20, "{looks}");
    assert!(fetched <= bytes.len() + MIB / 2, "{fetched} with {looks} looks");
}

/// Somebody else reads here and there in the same file: what he opens is not taken for one who goes on in order.
#[test]
fn random_reads_beside_a_reader_in_order_cost_little_more() {
    let (memory, bytes, vfs) = slow_server(20 * MIB);
    memory.spare(8);
    let now = Instant::now();
    let fh = open(&vfs, "f", now).fh;
    let (is_over, mut random_reads) = (AtomicBool::new(false), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            read_in_order(&vfs, fh, &bytes, 0..bytes.len());
            is_over.store(true, Ordering::Relaxed);
        });
        let other = open(&vfs, "f", now).fh;
        while !is_over.load(Ordering::Relaxed) {
            let offset = random_reads * 7919 % 5000 * 4096;
            assert!(read(&vfs, other, offset, 4096, now).unwrap() == bytes[offset..offset + 4096]);
            random_reads += 1;
            thread::sleep(PACE);
        }
    });
    let fetched = memory.counts().bytes;
    // The rest of its block, if somebody comes there; and twice a skip, where a machine that is slow has the two meet.
    let most = bytes.len() + random_reads * READ + 2 * MIB;
    assert!(fetched <= most, "{fetched} with {random_reads} random reads, {most} at most");
}
