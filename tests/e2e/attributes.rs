//! Changes of what is said of a file: done on the server, or refused as `docs/semantics.md` promises.

use crate::cases::{Case, on_every_empty_server};
use crate::support::run::{Ran, shell};
use crate::support::server::Kind;
use crate::writer::{errno, store};
use nix::errno::Errno;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

on_every_empty_server! {
    modes_and_times_reach_the_server,
    owners_stay,
    links_are_made_where_the_server_can,
    what_no_server_has_is_not_supported,
    room_is_made_and_shown,
}

fn modes_and_times_reach_the_server(case: &Case) {
    let disk = case.put("file", b"content");
    let mount = case.mount_rw(&[]);
    let path = mount.path("file");
    for mode in [0o600, 0o444, 0o755, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let [there, here] = [&disk, &path].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o7777);
        assert_eq!((there, here), (mode, mode));
    }
    // To the second, on each of them.
    for time in [981_173_106, 1_709_210_096, 1] {
        let set = UNIX_EPOCH + Duration::from_millis(time * 1000 + 500);
        File::options().write(true).open(&path).unwrap().set_modified(set).unwrap();
        let [there, here] = [&disk, &path].map(|path| fs::metadata(path).unwrap().mtime());
        assert_eq!((there, here), (time.cast_signed(), time.cast_signed()));
    }
    assert_eq!(fs::read(&path).unwrap(), b"content");
    // A directory's is set where that can be, and else left.
    fs::create_dir(mount.path("directory")).unwrap();
    File::open(mount.path("directory")).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(981_173_106)).unwrap();
    fs::set_permissions(mount.path("directory"), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::metadata(case.disk.join("directory")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(errno(fs::set_permissions(mount.path("none"), Permissions::from_mode(0o700))), Errno::ENOENT);
    mount.end();
}

fn owners_stay(case: &Case) {
    let disk = case.put("file", b"content");
    let owner = fs::metadata(&disk).unwrap().uid();
    let mount = case.mount_rw(&["uid=7,gid=8"]);
    chown(mount.path("file"), Some(7), Some(8)).unwrap();
    assert_eq!(errno(chown(mount.path("file"), Some(9), None)), Errno::EPERM);
    assert_eq!(errno(chown(mount.path("file"), None, Some(9))), Errno::EPERM);
    mount.end();
    let mount = case.mount_rw(&["uid=7,gid=8,ignore_perms"]);
    chown(mount.path("file"), Some(9), Some(9)).unwrap();
    let shown = fs::metadata(mount.path("file")).unwrap();
    assert_eq!((shown.uid(), shown.gid()), (7, 8));
    assert_eq!(fs::metadata(&disk).unwrap().uid(), owner);
    mount.end();
}

fn links_are_made_where_the_server_can(case: &Case) {
    let mount = case.mount_rw(&[]);
    fs::create_dir(mount.path("d")).unwrap();
    store(&mount.path("d/target"), b"content").unwrap();
    let link = mount.path("d/link");
    if case.server.spec.kind != Kind::Proftpd {
        assert_eq!(errno(symlink("target", &link)), Errno::EPERM);
        assert!(fs::symlink_metadata(&link).is_err());
        mount.end();
        return;
    }
    symlink("target", &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&link).unwrap(), b"content");
    assert!(fs::symlink_metadata(case.disk.join("d/link")).unwrap().is_symlink());
    assert_eq!(errno(symlink("target", &link)), Errno::EEXIST);
    fs::remove_file(&link).unwrap();
    assert_eq!(fs::read(case.disk.join("d/target")).unwrap(), b"content");
    assert!(fs::symlink_metadata(case.disk.join("d/link")).is_err());
    mount.end();
}

fn what_no_server_has_is_not_supported(case: &Case) {
    let mount = case.mount_rw(&[]);
    store(&mount.path("file"), b"content").unwrap();
    let said = python(
        &mount.point,
        "say(os.setxattr, 'file', 'user.name', b'value')
say(os.getxattr, 'file', 'user.name')
say(os.mknod, 'fifo', 0o010600)
say(os.mknod, 'device', 0o020600, os.makedev(1, 3))
say(os.link, 'file', 'hard')
say(os.mknod, 'made', 0o100644)",
    );
    assert_eq!(said.stdout, "ENOTSUP\nENOTSUP\nEPERM\nEPERM\nEPERM\n0\n", "{said:?}");
    assert_eq!(fs::read(case.disk.join("made")).unwrap(), b"");
    assert_eq!(fs::read_dir(&case.disk).unwrap().count(), 2);
    mount.end();
}

fn room_is_made_and_shown(case: &Case) {
    let mount = case.mount_rw(&[]);
    store(&mount.path("file"), b"content").unwrap();
    let said = shell(
        r#"exec 2>&1; set -x; cd "$1"; fallocate -l 100000 file; fallocate -l 10 file
        for flag in --keep-size --punch-hole --zero-range; do ! fallocate -l 5 $flag file || exit 1; done
        [ "$(stat -c %s "$2/file")" = 100000 ]; [ "$(head -c 7 "$2/file")" = content ]
        [ "$(stat -f -c '%S %l' .)" = '4096 255' ]; [ "$(stat -f -c %a .)" -gt 1000000 ]"#,
        &[&mount.point, &case.disk],
    );
    assert!(said.status == 0, "{said:?}");
    mount.end();
}

/// Runs python in `directory`, where `say` calls and prints the name of the error, or 0.
fn python(directory: &Path, script: &str) -> Ran {
    let before = "import errno, os, sys
os.chdir(sys.argv[1])
def say(call, *arguments):
    try:
        call(*arguments)
        print(0)
    except OSError as error:
        print(errno.errorcode[error.errno])
";
    let file = directory.with_file_name("script.py");
    fs::write(&file, [before, script].concat()).unwrap();
    shell(r#"/usr/bin/python3 "$1" "$2""#, &[&file, directory])
}
