//! Names and owners that the server writes in another way than this machine.

use crate::cases::{Case, on_every_empty_server};
use crate::support::server::{Kind, Tls};
use crate::writer::store;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;

on_every_empty_server! {
    owners_are_the_servers_with_idmap,
}

/// A server of the time before UTF-8: its names are in windows-1251. pyftpdlib has no such names.
#[test]
fn names_of_another_character_set_are_utf_8_here_and_as_they_were_there() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd] {
        let case = Case::empty(kind, Tls::V13);
        let on_disk = |name: &[u8]| -> PathBuf { case.disk.join(OsStr::from_bytes(name)) };
        fs::write(on_disk(b"\xef\xf0\xe8\xe2\xe5\xf2.txt"), "hello").unwrap();
        crate::cases::give(&on_disk(b"\xef\xf0\xe8\xe2\xe5\xf2.txt"));
        let mount = case.mount_rw(&["charset=windows-1251"]);
        let names: Vec<_> = fs::read_dir(&mount.point).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["привет.txt"], "{kind:?}");
        assert_eq!(fs::read(mount.path("привет.txt")).unwrap(), b"hello");
        store(&mount.path("мир"), b"peace").unwrap();
        assert_eq!(fs::read(on_disk(b"\xec\xe8\xf0")).unwrap(), b"peace", "{kind:?}");
        fs::rename(mount.path("привет.txt"), mount.path("пока")).unwrap();
        assert_eq!(fs::read(on_disk(b"\xef\xee\xea\xe0")).unwrap(), b"hello", "{kind:?}");
        fs::remove_file(mount.path("мир")).unwrap();
        mount.end();
        let left: Vec<_> = fs::read_dir(&case.disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [OsStr::from_bytes(b"\xef\xee\xea\xe0")], "{kind:?}");
    }
}

fn owners_are_the_servers_with_idmap(case: &Case) {
    let path = case.put("file", b"content");
    chown(&path, Some(1234), Some(2345)).unwrap();
    let owner = |options: &[&str]| {
        let mount = case.mount(options);
        let metadata = fs::metadata(mount.path("file")).unwrap();
        let owner = (metadata.uid(), metadata.gid());
        mount.end();
        owner
    };
    assert_eq!(owner(&["uid=7", "gid=8"]), (7, 8));
    assert_eq!(owner(&["idmap=numeric", "uid=7", "gid=8"]), (1234, 2345));
}
