//! What steps aside for something that is to get its name: it is never out of sight as long as it is all that there is.

use super::{Mount, NETWORK};
use crate::memory::{Call, Memory};
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Access, DirectoryEntry};
use ftpsfs::vfs::inodes::Ino;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The server goes away as soon as nothing is at `/cfg`.
fn goes_away_without_it(memory: &Memory) {
    memory.on_call({
        let memory = memory.clone();
        move || {
            if memory.content("/cfg").is_none() {
                memory.away(true);
            }
        }
    });
}

fn is_back(memory: &Memory) {
    memory.on_call(|| {});
    memory.away(false);
}

/// Where what was at `/cfg` is by now.
fn aside(memory: &Memory) -> Option<String> {
    memory.tree().into_iter().find(|(_, content)| content.as_deref() == Some(b"old")).map(|(path, _)| path)
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never {what}");
        thread::yield_now();
    }
}

fn names(mount: &Mount) -> Vec<String> {
    // Each time nothing is believed any more.
    static HOURS: AtomicU32 = AtomicU32::new(1);
    let later = mount.now + Duration::from_secs(3600) * HOURS.fetch_add(1, Ordering::Relaxed);
    let opened = mount.vfs.opendir(Ino::ROOT, later, NETWORK).unwrap();
    let mut names = Vec::new();
    let add = |entry: &DirectoryEntry<'_>| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        false
    };
    mount.vfs.readdir(opened.fh, 0, later, add).unwrap();
    mount.vfs.releasedir(opened.fh).unwrap();
    names.retain(|name| !name.starts_with('.') || name.len() > 2);
    names
}

/// It had a temporary name then: nobody saw it, and the next mount of this host swept it a day later.
#[test]
fn what_was_to_be_replaced_is_in_sight_and_comes_back_when_the_connection_breaks() {
    // An open file that another is renamed over; and a server that does not replace.
    for is_open in [true, false] {
        let memory = Memory::new();
        memory.file("/cfg", "old").file("/new", "new");
        if !is_open {
            memory.lacks(Call::Replace);
        }
        let mount = Mount::new(&memory);
        let fh = is_open.then(|| mount.open("cfg", Access::Read));
        goes_away_without_it(&memory);
        mount.rename("new", "cfg").unwrap_err();
        let place = aside(&memory).unwrap();
        assert!(place.starts_with("/cfg.replaced-box-"), "{place}");
        let next = memory.fork();
        assert_eq!(names(&Mount::new(&next)), [&place[1..], "new"]);
        is_back(&memory);
        wait_for("back", || memory.content("/cfg").is_some());
        let tree = [("/cfg", "old"), ("/new", "new")];
        let tree = tree.map(|(path, content)| (path.to_owned(), Some(content.as_bytes().to_vec())));
        assert_eq!(memory.tree(), BTreeMap::from(tree));
        if let Some(fh) = fh {
            assert_eq!(mount.read(fh), b"old");
            mount.release(fh);
        }
        mount.rename("new", "cfg").unwrap();
        assert_eq!(mount.settled().into_values().collect::<Vec<_>>(), [Some(b"new".to_vec())]);
    }
}

#[test]
fn what_has_the_name_meanwhile_is_not_overwritten_by_what_comes_back() {
    for by_rename in [true, false] {
        let memory = Memory::new();
        memory.file("/cfg", "old").file("/new", "new");
        let mount = Mount::new(&memory);
        let fh = mount.open("cfg", Access::Read);
        goes_away_without_it(&memory);
        mount.rename("new", "cfg").unwrap_err();
        is_back(&memory);
        if by_rename {
            mount.rename("new", "cfg").unwrap();
        } else {
            memory.file("/cfg", "theirs");
        }
        let wanted = memory.content("/cfg");
        mount.release(fh);
        // Longer than it waits before it comes back.
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            assert_eq!(memory.content("/cfg"), wanted);
            thread::yield_now();
        }
        assert!(aside(&memory).is_some_and(|path| path.starts_with("/cfg.replaced-box-")));
    }
}

/// The renaming was done, and its reply was lost: what is there is not what stepped aside.
#[test]
fn what_was_renamed_after_all_is_not_overwritten_by_what_comes_back() {
    let memory = Memory::new();
    memory.file("/cfg", "old").file("/new", "new");
    let mount = Mount::new(&memory);
    let fh = mount.open("cfg", Access::Read);
    memory.on_call({
        let (memory, mut calls) = (memory.clone(), 0);
        move || {
            calls += usize::from(memory.content("/new").is_none());
            // Asking what became of it fails.
            memory.away(calls == 1);
            if memory.content("/cfg").is_none() {
                memory.fail_next_late(ErrorKind::Lost);
            }
        }
    });
    let renamed = mount.rename("new", "cfg");
    memory.on_call(|| {});
    assert!(renamed.is_err());
    assert_eq!(memory.content("/cfg").unwrap(), b"new");
    mount.release(fh);
}

/// Nor for the moment after that, until the server has removed it.
#[test]
fn what_was_replaced_and_is_open_is_not_shown_here_and_goes_when_it_is_closed() {
    for is_open in [true, false] {
        let memory = Memory::new();
        memory.file("/cfg", "old");
        if !is_open {
            memory.lacks(Call::Replace);
        }
        let mount = Mount::new(&memory);
        for number in 0..200 {
            mount.put("new", format!("{number}")).unwrap();
            let before = memory.content("/cfg").unwrap();
            let fh = is_open.then(|| mount.open("cfg", Access::Read));
            mount.rename("new", "cfg").unwrap();
            assert_eq!(names(&mount), ["cfg"]);
            if let Some(fh) = fh {
                assert_eq!(mount.read(fh), before);
                mount.release(fh);
            }
            assert_eq!(names(&mount), ["cfg"]);
        }
        assert_eq!(mount.settled().into_values().collect::<Vec<_>>(), [Some(b"199".to_vec())]);
    }
}
