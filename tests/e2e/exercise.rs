//! Random operations through a mount, compared with a model after each, and with the server's disk after each close.
//!
//! `FTPSFS_TEST_SEED` repeats a run; `FTPSFS_TEST_LONG` makes it fifty times as long.

use crate::cases::{Case, on_every_empty_server};
use crate::support::exerciser::{Exerciser, Place, here, seed};
use crate::support::mountpoint::long_run;
use crate::support::run::{PATIENCE, finish, within};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

on_every_empty_server! {
    random_operations_are_as_in_memory,
    random_operations_outlive_mounts,
    random_operations_are_read_right_from_the_disk,
    random_operations_reach_the_server_from_the_journal,
}

fn operations() -> usize {
    if long_run() { 100_000 } else { 2_000 }
}

fn random_operations_are_as_in_memory(case: &Case) {
    let mut exerciser = Exerciser::new(seed());
    let start = Instant::now();
    let mount = case.mount_rw(&[]);
    exerciser.run(Place { directory: &mount.point, disk: &case.disk }, operations());
    let summary = mount.end();
    exerciser.compare_all(&case.disk).unwrap();
    let kind = case.server.spec.kind;
    println!("{kind:?}: {} operations in {:.0?}; {summary:?}", operations(), start.elapsed());
}

fn random_operations_outlive_mounts(case: &Case) {
    let mut exerciser = Exerciser::new(seed());
    let start = Instant::now();
    for _ in 0..10 {
        let mount = case.mount_rw(&[]);
        exerciser.compare_all(&mount.point).unwrap();
        exerciser.run(Place { directory: &mount.point, disk: &case.disk }, operations() / 10);
        mount.end();
        exerciser.compare_all(&case.disk).unwrap();
    }
    println!("{:?}: {} operations on ten mounts in {:.0?}", case.server.spec.kind, operations(), start.elapsed());
}

/// All files have one time between two mounts, so that what was stored is believed and only we know what changed.
fn random_operations_are_read_right_from_the_disk(case: &Case) {
    let mut exerciser = Exerciser::new(seed());
    let start = Instant::now();
    let cache_dir = format!("cache_dir={}", case.disk.with_file_name("cache").display());
    for _ in 0..6 {
        let mount = case.mount_rw(&["cache_size=1M", &cache_dir]);
        exerciser.compare_all(&mount.point).unwrap();
        exerciser.run(Place { directory: &mount.point, disk: &case.disk }, operations() / 10);
        mount.end();
        for entry in fs::read_dir(&case.disk).unwrap() {
            let file = File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000)).unwrap();
        }
    }
    println!("{:?}: {} operations with a cache in {:.0?}", case.server.spec.kind, operations(), start.elapsed());
}

fn random_operations_reach_the_server_from_the_journal(case: &Case) {
    let mut exerciser = Exerciser::new(seed());
    let start = Instant::now();
    for _ in 0..4 {
        let mount = case.mount_rw(&["writeback", &format!("journal_dir={}", case.journal().display())]);
        exerciser.compare_all(&mount.point).unwrap();
        exerciser.run(here(&mount.point), operations() / 4);
        mount.end();
        exerciser.compare_all(&case.disk).unwrap();
    }
    println!("{:?}: {} operations with a journal in {:.0?}", case.server.spec.kind, operations(), start.elapsed());
}

/// The model is right: the kernel's own file system agrees with it.
#[test]
fn the_model_agrees_with_a_local_file_system() {
    let made = finish(within(PATIENCE, "mktemp").args(["-d", "/dev/shm/ftpsfs-test-XXXXXX"])).succeeded();
    let local = Path::new(made.trim());
    Exerciser::new(seed()).run(here(local), 20_000);
    fs::remove_dir_all(local).unwrap();
}
