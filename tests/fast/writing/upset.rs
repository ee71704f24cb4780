//! What becomes of content when something goes wrong on its way.

use super::*;
use ftpsfs::deadline::Deadline;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the connection broke, an append went on where the server's file ended, and closed well: behind the first bytes of
/// another file, if that had just been put there and was a little longer.
#[test]
fn an_append_that_broke_off_does_not_go_on_in_another_file() {
    let memory = Memory::new();
    memory.file("/f", content(50));
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    memory.break_next_upload(3, ErrorKind::Lost);
    mount.write(fh, 50, content(2 * MIB)).unwrap();
    // Three bytes have come, and whether more are to come is waited for.
    while memory.content("/f").unwrap().len() < 53 {
        thread::yield_now();
    }
    let theirs = vec![b'x'; 53];
    memory.file("/f", theirs.clone());
    assert_eq!(mount.close(fh).unwrap_err().errno(), Errno::EIO);
    assert!(memory.content("/f").unwrap() == theirs);
    assert!(!mount.recovered().is_empty());
}

/// The same of a file that is written in place from a spool.
#[test]
fn an_upload_in_place_that_broke_off_does_not_go_on_in_another_file() {
    let memory = Memory::new();
    memory.file("/f", content(3 * MIB));
    let mount = Mount::with(&memory, Settings { upload: UploadWay::Direct, ..Settings::default() });
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 1, "E").unwrap();
    memory.break_next_upload(MIB, ErrorKind::Lost);
    let theirs = vec![b'x'; MIB];
    let closed = thread::scope(|scope| {
        let closed = scope.spawn(|| mount.close(fh));
        while memory.content("/f").unwrap().len() != MIB {
            thread::yield_now();
        }
        memory.file("/f", theirs.clone());
        closed.join().unwrap()
    });
    assert_eq!(closed.unwrap_err().errno(), Errno::EIO);
    assert!(memory.content("/f").unwrap() == theirs);
    assert_eq!(mount.recovered().iter().map(Vec::len).max(), Some(3 * MIB));
}

#[test]
fn an_upload_goes_on_where_the_connection_broke() {
    for kind in [ErrorKind::Lost, ErrorKind::TimedOut] {
        let memory = Memory::new();
        memory.break_next_upload(5 * MIB, kind).break_next_upload(MIB, kind);
        let mount = Mount::new(&memory);
        let bytes = content(9 * MIB);
        let fh = mount.new_file("f");
        for (number, chunk) in bytes.chunks(100_000).enumerate() {
            mount.write(fh, number * 100_000, chunk).unwrap();
        }
        mount.close(fh).unwrap();
        assert!(mount.settled()["/f"].as_ref().unwrap() == &bytes);
        assert_eq!(memory.take_calls(), [Call::Write, Call::Append, Call::Append, Call::Rename]);
    }
}

/// A server that is started again refuses connections for a moment: three refusals used to end an upload.
#[test]
fn an_upload_waits_for_a_server_that_is_away_for_a_moment() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let fh = mount.new_file("f");
    mount.write(fh, 0, "content").unwrap();
    for _ in 0..6 {
        memory.fail_next(ErrorKind::Lost);
    }
    mount.close(fh).unwrap();
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"content");
}

#[test]
fn a_connection_lost_over_the_confirmation_is_settled_by_the_size() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let mount = Mount::new(&memory);
    memory.fail_next_late(ErrorKind::Lost);
    mount.put("f", "new content").unwrap();
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"new content");
    assert_eq!(memory.take_calls(), [Call::Write, Call::Rename]);
}

#[test]
fn a_full_server_is_told_by_close_and_leaves_the_old_file_and_our_bytes() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let mount = Mount::new(&memory);
    memory.room(Some(10));
    let fh = mount.open("f", Access::Truncate);
    mount.write(fh, 0, "more than ten bytes").unwrap();
    assert_eq!(mount.flush(fh).unwrap_err().errno(), Errno::ENOSPC);
    assert_eq!(mount.read(fh), b"more than ten bytes");
    mount.release(fh);
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"old");
    assert_eq!(mount.recovered(), [b"more than ten bytes"]);
    assert_eq!(mount.size("f"), 3);
}

#[test]
fn a_flush_that_failed_may_be_tried_again() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.room(Some(3));
    let fh = mount.new_file("f");
    mount.write(fh, 0, "hello").unwrap();
    assert_eq!(mount.flush(fh).unwrap_err().errno(), Errno::ENOSPC);
    memory.heal();
    mount.flush(fh).unwrap();
    mount.close(fh).unwrap();
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"hello");
    assert!(mount.recovered().is_empty());
}

#[test]
fn a_stream_that_fails_for_good_tells_everybody_and_keeps_its_end() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.room(Some(15 * MIB));
    let fh = mount.new_file("f");
    let written = (0..40).find_map(|number| mount.write(fh, number * MIB, content(MIB)).err());
    assert_eq!(written.unwrap().errno(), Errno::ENOSPC);
    assert_eq!(mount.flush(fh).unwrap_err().errno(), Errno::ENOSPC);
    mount.release(fh);
    assert_eq!(mount.recovered().len(), 1);
    assert_eq!(mount.lookup("f"), None);
    // What the server has is named in the log and stays.
    let tree = memory.tree();
    assert!(tree.len() == 1 && tree.keys().all(|path| path.contains(".ftpsfs-")), "{:?}", tree.keys());
}

#[test]
fn a_file_that_changed_meanwhile_is_not_overwritten_unless_asked_for() {
    for conflict in [Conflict::Refuse, Conflict::Overwrite] {
        for at in [0, 2] {
            let memory = Memory::new();
            memory.file("/f", "theirs");
            let mount = Mount::with(&memory, Settings { conflict, ..Settings::default() });
            let fh = mount.open("f", if at == 0 { Access::Truncate } else { Access::Write });
            mount.write(fh, at, "ours").unwrap();
            mount.read(fh);
            memory.file("/f", "theirs anew");
            let closed = mount.flush(fh);
            let tree = mount.settled();
            let aside: Vec<_> = tree.keys().filter(|path| path.starts_with("/f.conflict-box-")).collect();
            if conflict == Conflict::Overwrite && at == 0 {
                closed.unwrap();
                assert_eq!((tree["/f"].as_ref().unwrap().as_slice(), aside.len()), (&b"ours"[..], 0));
            } else if conflict == Conflict::Refuse {
                assert_eq!(closed.unwrap_err().errno(), Errno::ESTALE);
                assert_eq!(tree["/f"].as_ref().unwrap(), b"theirs anew");
                let ours: &[u8] = if at == 0 { b"ours" } else { b"thours" };
                assert_eq!(tree[aside[0]].as_ref().unwrap(), ours);
                assert_eq!(mount.read(fh), ours);
                assert!(mount.flush(fh).is_err());
                assert_eq!(mount.settled().len(), 2);
            }
            mount.release(fh);
            let fh = mount.open("f", Access::Read);
            assert_eq!(mount.read(fh), *memory.content("/f").unwrap());
        }
    }
}

#[test]
fn a_new_file_that_somebody_else_created_meanwhile_is_stored_beside_it() {
    for (exclusive, errno) in [(true, Errno::EEXIST), (false, Errno::ESTALE)] {
        let memory = Memory::new();
        let mount = Mount::new(&memory);
        let (_, fh) = mount.create("f", Creation { exclusive, ..NEW }).unwrap();
        mount.write(fh, 0, "ours").unwrap();
        memory.file("/f", "theirs");
        assert_eq!(mount.flush(fh).unwrap_err().errno(), errno);
        mount.release(fh);
        assert_eq!(memory.content("/f").unwrap(), b"theirs");
        assert_eq!(mount.settled().len(), 2);
        assert!(mount.recovered().is_empty());
    }
}

#[test]
fn a_rename_whose_answer_was_lost_is_found_out() {
    let memory = Memory::new();
    memory.file("/f", "f");
    let mount = Mount::new(&memory);
    memory.fail_next_late(ErrorKind::Lost);
    mount.rename("f", "g").unwrap();
    assert_eq!(memory.tree().into_keys().collect::<Vec<_>>(), ["/g"]);
    assert_eq!(mount.lookup("f"), None);
    assert!(mount.lookup("g").is_some());
}

#[test]
fn a_full_spool_is_told_by_write() {
    let memory = Memory::new();
    memory.file("/f", "0123456789");
    let settings = Settings { spool_dir: "/dev/null/nowhere".into(), ..Settings::default() };
    let mount = Mount::with(&memory, settings);
    let fh = mount.open("f", Access::Write);
    assert!(matches!(mount.write(fh, 2, "x").unwrap_err(), Error::Spool { .. }));
    mount.close(fh).unwrap();
    assert_eq!(memory.content("/f").unwrap(), b"0123456789");
}

/// Who writes holds the right to the content for longer than who closes may wait for it, and then fails; neither had said why
/// nothing got to the server, so that the content went without a trace.
#[test]
fn what_was_written_is_kept_where_nobody_knows_why_it_did_not_get_there() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let (ino, fh) = mount.create("f", NEW).unwrap();
    memory.close_gate();
    let within =
        |milliseconds| Deadline::new(None, Some(Duration::from_millis(milliseconds)), mount.vfs.ending()).enter();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = within(1500);
            let failed = (0..8).find(|number| mount.write(fh, number * MIB, content(MIB)).is_err());
            assert_eq!(failed, Some(4));
        });
        // Until the fifth of them waits.
        let changes = |mode| Changes { mode: Some(mode), ..Changes::default() };
        while mount.size("f") < 4 * MIB as u64 || {
            let _entered = within(20);
            [0o600, 0o640].iter().all(|mode| mount.vfs.setattr(ino, None, changes(*mode), mount.now, NETWORK).is_ok())
        } {}
        let _entered = within(200);
        mount.release(fh);
    });
    memory.open_gate();
    let kept = mount.recovered();
    assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [4 * MIB]);
    assert!(kept[0].chunks(MIB).all(|chunk| chunk == content(MIB)));
}

/// A panic ends one request: the file was open for ever after one that closed it.
#[test]
fn a_panic_of_who_closes_a_file_loses_nothing_and_leaves_it_closed() {
    let memory = Memory::new();
    memory.file("/f", "0123456789");
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 2, "XY").unwrap();
    assert_eq!(mount.read(fh), b"01XY456789");
    memory.panic_next();
    let _ = catch_unwind(AssertUnwindSafe(|| mount.release(fh)));
    assert_eq!(mount.recovered(), [b"01XY456789"]);
    memory.take_calls();
    mount.unlink("f").unwrap();
    // One that is open is renamed away.
    assert_eq!(memory.take_calls(), [Call::RemoveFile]);
}
