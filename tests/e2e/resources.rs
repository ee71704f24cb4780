//! What a mount takes of this machine: memory, descriptors, threads and disk, under more than anybody asks of it.

use crate::cases::{Case, Fresh, tree_root};
use crate::support::mountpoint::Mount;
use crate::support::server::{Kind, Mode, Spec, Tls};
use crate::support::tree::big_content;
use crate::writer::{CREATE, Small, Writer, close, names, store, store_backwards};
use nix::errno::Errno;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// With default settings: caches of 32 MiB, four connections.
const HWM_MAX_KIB: u64 = 128 * 1024;
/// Two for each connection, the kernel's, the log and what is common: spools come on top.
const DESCRIPTORS_MAX: usize = 40;
/// Workers go after ten seconds without work.
const REST: Duration = Duration::from_secs(25);
const CROWD: usize = 64;
/// Threads for uploads that have begun.
const UPLOADS_MAX: usize = 32;
/// The same and workers.
const WRITING_MAX: u64 = 48;

/// Waits until the threads are back to `before`.
fn wait_for_threads(mount: &Mount, before: u64) {
    let deadline = Instant::now() + REST;
    while mount.threads() > before {
        assert!(Instant::now() < deadline, "{} threads stay, {before} were there", mount.threads());
        thread::sleep(Duration::from_millis(100));
    }
}

/// 500 open files, 64 readers of files of their own and 64 who read one at random, all at once.
#[test]
fn many_readers_and_open_files_stay_within_the_budget() {
    let case = Case::over(Spec::new(Kind::Vsftpd, "/"), Fresh::new());
    for number in 0..500 {
        case.put(&format!("open-{number}"), format!("{number}").repeat(1000).as_bytes());
    }
    let large = |number: usize| big_content((number as u64) << 24, 4 << 20);
    for number in 0..CROWD {
        case.put(&format!("large-{number}"), &large(number));
    }
    let mount = case.mount(&[]);
    fs::read(mount.path("open-0")).unwrap();
    let (threads, descriptors) = (mount.threads(), mount.descriptors());
    let open: Vec<File> = (0..500).map(|number| File::open(mount.path(&format!("open-{number}"))).unwrap()).collect();
    for (number, mut file) in open.iter().enumerate() {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{number}").repeat(1000));
    }
    let held = mount.descriptors();
    let ready = Barrier::new(2 * CROWD);
    let most = thread::scope(|scope| {
        let readers: Vec<_> = (0..CROWD)
            .flat_map(|number| {
                let (mount, ready) = (&mount, &ready);
                let whole = scope.spawn(move || {
                    ready.wait();
                    assert!(fs::read(mount.path(&format!("large-{number}"))).unwrap() == large(number), "{number}");
                });
                let random = scope.spawn(move || {
                    let file = File::open(mount.path("large-7")).unwrap();
                    ready.wait();
                    for step in 0..20_u64 {
                        let offset = (step * 7919 + number as u64 * 104_729) * 4096 % (4 << 20);
                        let mut page = [0; 4096];
                        file.read_exact_at(&mut page, offset).unwrap();
                        assert!(page[..] == big_content((7 << 24) + offset, 4096), "{number} at {offset}");
                    }
                });
                [whole, random]
            })
            .collect();
        let mut most = 0;
        while readers.iter().any(|reader| !reader.is_finished()) {
            most = most.max(mount.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let hwm = mount.vm_hwm_kib();
    println!(
        "500 open files, {} readers: VmHWM {hwm} KiB, {descriptors}, {held} and at most {most} descriptors",
        2 * CROWD
    );
    assert!(hwm < HWM_MAX_KIB, "{hwm} KiB");
    assert!(held <= descriptors + 8, "{held} descriptors with 500 open files, {descriptors} before");
    assert!(most <= DESCRIPTORS_MAX, "{most} descriptors");
    drop(open);
    wait_for_threads(&mount, threads);
    assert!(mount.descriptors() <= descriptors + 8, "{} descriptors stay of {descriptors}", mount.descriptors());
    mount.end();
}

/// Each new file kept what is smaller than a megabyte until it was closed, and what is larger had a thread of its own.
#[test]
fn many_files_that_stay_open_for_writing_stay_within_the_budget() {
    for (files, len) in [(300, 512 * 1024), (100, 2 << 20)] {
        let case = Case::empty(Kind::Vsftpd, Tls::V13);
        let mount = case.mount_rw(&[]);
        store(&mount.path("first"), b"first").unwrap();
        let threads = mount.threads();
        let content = |number: usize| big_content((number as u64) << 24, 2 * len);
        // New files, and then what is added to them.
        for half in 0..2 {
            let write = |number: usize| {
                let path = mount.path(&format!("file-{number}"));
                let mut file = File::options().create(true).append(true).open(path).unwrap();
                let content = &content(number)[half * len..][..len];
                content.chunks(64 * 1024).for_each(|chunk| file.write_all(chunk).unwrap());
                file
            };
            let mut open: Vec<File> = (0..files).map(write).collect();
            let (most, names) = (mount.threads(), mount.thread_names());
            println!("{files} open files of {len} bytes: VmHWM {} KiB, threads {names:?}", mount.vm_hwm_kib());
            assert!(most <= threads + WRITING_MAX, "{most} threads, {threads} before: {names:?}");
            assert!(names.get("ftpsfs-write").is_none_or(|uploads| *uploads <= UPLOADS_MAX), "{names:?}");
            // Four at once, as closing one waits for its upload.
            while !open.is_empty() {
                let some = open.split_off(open.len().saturating_sub(4));
                thread::scope(|scope| some.into_iter().for_each(|file| drop(scope.spawn(|| close(file).unwrap()))));
            }
        }
        let hwm = mount.vm_hwm_kib();
        assert!(hwm < HWM_MAX_KIB, "{hwm} KiB");
        for number in 0..files {
            let name = format!("file-{number}");
            assert!(fs::read(case.disk.join(&name)).unwrap() == content(number), "{name}");
        }
        wait_for_threads(&mount, threads);
        mount.end();
    }
}

/// 64 who write in order and 64 who write from the end.
#[test]
fn many_writers_stay_within_the_budget() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let mount = case.mount_rw(&[]);
    store(&mount.path("first"), b"first").unwrap();
    let (threads, descriptors) = (mount.threads(), mount.descriptors());
    let content = |number: usize| big_content((number as u64) << 24, 1 << 20);
    let most = thread::scope(|scope| {
        let mut writers = Vec::new();
        for number in 0..CROWD {
            let mount = &mount;
            writers.push(scope.spawn(move || {
                store(&mount.path(&format!("order-{number}")), &content(number)).unwrap();
            }));
            writers.push(scope.spawn(move || {
                let file = File::create(mount.path(&format!("end-{number}"))).unwrap();
                let content = content(number);
                for start in (0..content.len()).step_by(256 * 1024).rev() {
                    file.write_all_at(&content[start..start + 256 * 1024], start as u64).unwrap();
                }
                close(file).unwrap();
            }));
        }
        let mut most = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            most = most.max(mount.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let hwm = mount.vm_hwm_kib();
    println!("{} writers: VmHWM {hwm} KiB, {descriptors} and at most {most} descriptors", 2 * CROWD);
    assert!(hwm < HWM_MAX_KIB, "{hwm} KiB");
    // A spool each for those who write out of order.
    assert!(most <= DESCRIPTORS_MAX + 2 * CROWD, "{most} descriptors");
    for number in 0..CROWD {
        for name in ["order", "end"] {
            let name = format!("{name}-{number}");
            assert!(fs::read(case.disk.join(&name)).unwrap() == content(number), "{name}");
        }
    }
    wait_for_threads(&mount, threads);
    assert!(mount.descriptors() <= descriptors + 8, "{} descriptors stay of {descriptors}", mount.descriptors());
    mount.end();
}

/// A disk of ours with 8 MiB: who writes hears of it, what was there before is whole, and the mount goes on.
#[test]
fn a_full_spool_is_told_and_the_mount_lives() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let around = Fresh::new();
    let small = Small::mount(&around.path);
    let old = big_content(0, 1 << 20);
    case.put("old", &old);
    case.put("kept", &old);
    let mount = case.mount_rw(&[&format!("spool_dir={}", small.0.display())]);
    let (content, half) = (big_content(1 << 30, 12 << 20), 6 << 20);
    for name in ["old", "new"] {
        let error = store_backwards(&mount, name, &content).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{name}: {error}");
        // The half that was taken is there; of the other no more than what was taken before there was no room.
        let stored = fs::read(case.disk.join(name)).unwrap();
        assert!(stored[half..] == content[half..], "{name}: {} bytes", stored.len());
        let taken = stored.iter().zip(&content).take_while(|(one, other)| one == other).count();
        assert!(taken >= half || stored[taken..half].iter().all(|&byte| byte == 0), "{name}");
    }
    // What fits still goes, in order and not, and what is written in order needs no room.
    store_backwards(&mount, "fits", &old).unwrap();
    store(&mount.path("large"), &big_content(7, 16 << 20)).unwrap();
    assert!(fs::read(case.disk.join("fits")).unwrap() == old);
    assert!(fs::read(case.disk.join("large")).unwrap() == big_content(7, 16 << 20));
    assert!(fs::read(mount.path("kept")).unwrap() == old);
    mount.end();
    assert!(names(&small.0).is_empty(), "{:?}", names(&small.0));
}

/// With `writeback`, what close has acknowledged arrives, whatever did not fit after it. The server stands still, so that nothing
/// leaves the journal meanwhile.
#[test]
fn a_full_journal_is_told_and_loses_nothing_acknowledged() {
    // vsftpd's sessions never go on after that.
    let case = Case::empty(Kind::Proftpd, Tls::V13);
    let around = Fresh::new();
    let small = Small::mount(&around.path);
    let journal = format!("journal_dir={}", small.0.display());
    let mount = case.mount_rw(&["writeback", &journal]);
    // What is there is known from here on.
    assert!(names(&mount.point).is_empty());
    case.server.suspend();
    let content = |number: u64, bytes: usize| big_content(number << 30, bytes);
    for number in 0..2 {
        store(&mount.path(&format!("f{number}")), &content(number, 3 << 20)).unwrap();
    }
    let refused = [("f2", 2, 3 << 20), ("large", 3, 12 << 20)].map(|(name, number, bytes)| {
        let mut writer = Writer::open(&mount, &mount.path(name), &content(number, bytes), CREATE).unwrap();
        let error = writer.write(0..bytes).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{name}: {error}; {}", mount.log());
        writer
    });
    let there = names(&case.disk);
    assert!(there.iter().all(|name| !name.starts_with('f')), "something left the journal: {there:?}");
    // Closing waits for the server.
    case.server.resume();
    for writer in refused {
        println!("closed: {:?}", writer.close());
    }
    store(&mount.path("after"), b"works").unwrap();
    mount.end();
    for number in 0..2 {
        assert!(fs::read(case.disk.join(format!("f{number}"))).unwrap() == content(number, 3 << 20), "f{number}");
    }
    assert_eq!(fs::read(case.disk.join("after")).unwrap(), b"works");
}

#[test]
fn a_full_cache_disk_costs_nothing_but_the_cache() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let around = Fresh::new();
    let small = Small::mount(&around.path);
    fs::write(small.0.join("full"), vec![0; 7 << 20]).unwrap();
    let mount = case.mount(&[&format!("cache_dir={}/cache", small.0.display()), "cache_size=4M"]);
    for _ in 0..2 {
        same(&mount.path("big.bin"), &tree_root().join("big.bin"), 40 << 20).unwrap();
    }
    assert_eq!(fs::read(mount.path("hello.txt")).unwrap(), b"Hello over TLS\n");
    mount.end();
}

/// Compares the first `bytes` bytes.
fn same(one: &Path, other: &Path, bytes: u64) -> io::Result<()> {
    let (mut one, mut other) = (File::open(one)?.take(bytes), File::open(other)?.take(bytes));
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut here)?;
        other.read_exact(&mut there[..count])?;
        assert!(here[..count] == there[..count]);
        if count == 0 {
            return io::stdout().flush();
        }
    }
}
