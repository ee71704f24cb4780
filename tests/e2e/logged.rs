//! Where the log goes, with which levels, and how often it tells one thing.

use crate::cases::Case;
use crate::fstab;
use crate::support::server::{Kind, Mode, Tls};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn case() -> Case {
    Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit)
}

#[test]
fn the_journal_gets_the_level_of_each_line_and_a_terminal_does_not() {
    let case = case();
    let script = r#"
        log() { exec 3>"$place/log"
            env "$@" ftpsfs -f -o "$options,log_level=debug" "$source" "$mnt" 2>&3 & served=$!
            for try in {1..100}; do mountpoint -q "$mnt" && break; sleep 0.1; done; reads; umount "$mnt"; wait "$served"; }
        exec 3>"$place/log"; stream=$(stat -L -c %d:%i /proc/self/fd/3)
        log "JOURNAL_STREAM=$stream"
        grep -q '^<6>ftps://.* is mounted$' "$place/log"; grep -q '^<7>' "$place/log"
        ! grep -v '^<[0-7]>' "$place/log"
        # Somebody else's stream.
        log JOURNAL_STREAM=1:2
        grep -q '^ftpsfs: ftps://.* is mounted$' "$place/log"; ! grep -v '^ftpsfs: ' "$place/log"
    "#;
    fstab::run(&case.server, script).succeeded();
}

#[test]
fn in_the_background_syslog_gets_a_datagram_for_each_line() {
    let case = case();
    let script = r#"
        mkdir "$place/dev"; mount -t tmpfs tmpfs "$place/dev"
        mknod -m 666 "$place/dev/null" c 1 3; mknod -m 666 "$place/dev/urandom" c 1 9; mknod -m 666 "$place/dev/fuse" c 10 229
        listen() { : >"$1"
            python3 -c 'import socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); log.bind(sys.argv[1])
print("bound", flush=True)
while True: print(repr(log.recv(65536)), flush=True)' "$place/dev/log" >"$1" & listener=$!
            for try in {1..100}; do grep -q bound "$1" && break; sleep 0.1; done; }
        listen "$place/said"
        mount --bind "$place/dev" /dev
        mount.ftpsfs "$source" "$mnt" -o "$options,log_level=debug"; reads
        # Who listens is started again: what was said from then on was lost. The sandbox lets the process find it.
        kill "$listener"; wait "$listener" || true; rm "$place/dev/log"; listen "$place/later"
        umount "$mnt"; gone
        # What was sent last may not be written down yet.
        for try in {1..100}; do grep -q "is unmounted; " "$place/later" && break; sleep 0.1; done
        kill "$listener"; wait "$listener" || true; umount /dev
        grep -q "^b'<30>ftpsfs\[[0-9]*\]: ftps://.* is unmounted; " "$place/later"
        # LOG_DAEMON with LOG_INFO and LOG_DEBUG.
        grep -q "^b'<30>ftpsfs\[[0-9]*\]: ftps://.* is mounted'$" "$place/said"
        grep -q "^b'<31>ftpsfs\[[0-9]*\]: " "$place/said"
        ! grep -v "^b['\"]<2[4-9]>\|^b['\"]<3[01]>\|^bound" "$place/said"
        ! grep -qF "$(sed -n s/^password=//p "$place/credentials")" "$place/said"
    "#;
    fstab::run(&case.server, script).succeeded();
}

/// A program that looked into a directory again and again, and might not, wrote a line each time.
#[test]
fn what_is_refused_again_is_told_once() {
    let case = Case::empty(Kind::Proftpd, Tls::V13);
    for name in ["locked", "other"] {
        let path = case.disk.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mount = case.mount(&["attr_timeout=0", "dir_timeout=0"]);
    for _ in 0..20 {
        assert!(fs::read_dir(mount.path("locked")).is_err());
    }
    assert!(fs::read_dir(mount.path("other")).is_err());
    let log = mount.log();
    let told = |name: &str| log.lines().filter(|line| line.contains(&format!("list /{name}: "))).count();
    assert_eq!((told("locked"), told("other")), (1, 1), "{log}");
}
