//! What statfs(2) shows, and how often the server is asked for it.

use crate::memory::Memory;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::Space;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const ASSUMED_BYTES: u64 = 1 << 50;

fn mount(memory: &Memory) -> Vfs {
    Vfs::new(Arc::new(memory.clone()), Settings::default())
}

fn free(vfs: &Vfs, now: Instant) -> u64 {
    let Space { blocks_free, block_bytes, .. } = vfs.statfs(now);
    blocks_free * u64::from(block_bytes)
}

/// Asks at one moment until the answer has come in the background.
fn await_free(vfs: &Vfs, now: Instant, bytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while free(vfs, now) != bytes {
        assert!(Instant::now() < deadline, "{} bytes are shown", free(vfs, now));
        thread::yield_now();
    }
}

#[test]
fn statfs_waits_for_nobody_and_shows_what_was_told_last() {
    let memory = Memory::new();
    memory.free(Some(40960)).close_gate();
    let (vfs, start) = (mount(&memory), Instant::now());
    for second in 0..120 {
        assert_eq!(free(&vfs, start + Duration::from_secs(second)), ASSUMED_BYTES);
    }
    memory.await_blocked(1);
    memory.open_gate();
    await_free(&vfs, start, 40960);
    assert_eq!(memory.counts().spaces, 1);
    // What is less than a block is no room for anything.
    memory.free(Some(8191));
    assert_eq!(free(&vfs, start + Duration::from_secs(29)), 40960);
    await_free(&vfs, start + Duration::from_secs(30), 4096);
    assert_eq!(memory.counts().spaces, 2);
    memory.fail_next(ErrorKind::Lost);
    let later = start + Duration::from_secs(60);
    assert_eq!(free(&vfs, later), 4096);
    memory.await_counts("asked", |counts| counts.spaces == 3);
    memory.free(Some(0));
    await_free(&vfs, later + Duration::from_secs(30), 0);
    assert_eq!(memory.counts().spaces, 4);
}

#[test]
fn a_server_that_does_not_tell_is_asked_once() {
    let memory = Memory::new();
    let (vfs, start) = (mount(&memory), Instant::now());
    assert_eq!(free(&vfs, start), ASSUMED_BYTES);
    memory.await_counts("asked", |counts| counts.spaces == 1);
    for second in 0..120 {
        assert_eq!(free(&vfs, start + Duration::from_secs(second)), ASSUMED_BYTES);
    }
    drop(vfs);
    assert_eq!(memory.counts().spaces, 1);
}
