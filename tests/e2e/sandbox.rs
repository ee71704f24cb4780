//! What the processes around a mount still may, seen from outside, as root and as an ordinary user.

use crate::cases::Case;
use crate::fstab;
use crate::support::mountpoint::{Mount, program, write_credentials};
use crate::support::run::shell;
use crate::support::server::{Kind, Mode, Tls, run_directory};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

fn case() -> Case {
    Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit)
}

const NONE: &str = "0000000000000000";
/// Of one that has given up everything: no new privileges, no capabilities, and a filter of system calls.
const NOTHING: [&str; 7] = ["1", NONE, NONE, NONE, NONE, NONE, "2"];

/// What `/proc/…/status` tells of a process or thread; nothing of one that has ended.
fn rights(status: &Path) -> Option<[String; 7]> {
    let status = fs::read_to_string(status).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let fields = ["NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp"];
    Some(fields.map(|name| field(name).unwrap().trim().to_owned()))
}

/// The process that unmounts for `mount`.
fn keeper(mount: &Mount) -> u32 {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.starts_with("Name:\tftpsfs-keeper\n") && status.contains(&format!("\nPPid:\t{}\n", mount.pid()))
    };
    pids.into_iter().find(is_ours).expect("it has one")
}

#[test]
fn no_thread_of_the_mount_has_any_right_that_it_does_not_need() {
    /// CAP_DAC_OVERRIDE and CAP_SYS_ADMIN.
    const MOUNTING: &str = "0000000000200002";
    let case = case();
    let mount = case.mount(&["log_level=debug"]);
    fs::read(mount.path("hello.txt")).unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", mount.pid())).unwrap().map(Result::unwrap);
    let all: Vec<_> = threads.filter_map(|thread| rights(&thread.path().join("status"))).collect();
    assert!(all.len() > 3, "{all:?}");
    assert!(all.iter().all(|rights| *rights == NOTHING), "{all:?}");
    let its = Path::new("/proc").join(keeper(&mount).to_string());
    let expected = ["1", NONE, MOUNTING, MOUNTING, MOUNTING, NONE, "0"].map(str::to_owned);
    assert_eq!(rights(&its.join("status")), Some(expected));
    assert!(
        mount.log().contains("sandbox: Landlock: in force; seccomp: in force; capabilities: none"),
        "{}",
        mount.log()
    );
    mount.end();
    assert!(!its.exists(), "it stays");
}

/// A check talks to servers that nobody knows yet.
#[test]
fn a_check_gives_up_as_much() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftps://joe@127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let mut check = Command::new(program());
    check.args(["check", &url]).env("FTPSFS_PASSWORD", "none").stdout(Stdio::null()).stderr(Stdio::null());
    let mut check = check.spawn().unwrap();
    // It waits for a greeting.
    let (stream, _) = listener.accept().unwrap();
    let rights = rights(Path::new(&format!("/proc/{}/status", check.id())));
    check.kill().unwrap();
    check.wait().unwrap();
    drop(stream);
    assert_eq!(rights, Some(NOTHING.map(str::to_owned)));
}

/// root may write there; without its capabilities it is a user as any other.
#[test]
fn a_directory_of_somebody_else_is_written_with_the_one_capability_that_it_takes() {
    let case = case();
    let directory = run_directory();
    let theirs = directory.join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&theirs, Some(12345), Some(12345)).unwrap();
    let known = theirs.join("known");
    let mount = case.mount(&["log_level=debug"]);
    assert!(mount.log().contains("capabilities: none"), "{}", mount.log());
    drop(mount);
    let options = format!("credentials={}", write_credentials(&directory, &case.server.password).display());
    let options = format!("ro,{options},tofu,known_servers={},log_level=debug", known.display());
    fs::create_dir(directory.join("mnt")).unwrap();
    let script = r#"ftpsfs=$1; shift; "$ftpsfs" "$@"; cat "$4/hello.txt"; umount "$4""#;
    let (url, point) = (case.server.url(""), directory.join("mnt"));
    let arguments = [program().as_os_str(), "-o".as_ref(), options.as_ref(), url.as_ref(), point.as_os_str()];
    let ran = shell(script, &arguments);
    assert!(ran.stderr.contains("capabilities: CAP_DAC_OVERRIDE\n"), "{ran:?}");
    assert!(ran.succeeded().contains("Hello over TLS"));
    assert!(known.exists());
}

/// The other process was the same one until it split off, and has forgotten what it knew.
#[test]
fn the_password_is_in_the_memory_of_one_process_only() {
    let case = case();
    let mount = case.mount(&[]);
    let holds = |pid: u32| {
        let script = r#"exec /usr/bin/python3 -c 'import sys
found, memory = 0, open("/proc/" + sys.argv[1] + "/mem", "rb", 0)
for line in open("/proc/" + sys.argv[1] + "/maps"):
    place, mode = line.split()[:2]
    if mode.startswith("rw"):
        start, end = (int(part, 16) for part in place.split("-"))
        memory.seek(start)
        try: found += memory.read(end - start).count(sys.argv[2].encode())
        except OSError: pass
print(found)' "$1" "$2""#;
        shell(script, &[pid.to_string(), case.server.password.clone()]).succeeded().trim().parse::<usize>().unwrap()
    };
    assert!(holds(mount.pid()) > 0, "the search finds nothing where something is");
    assert_eq!(holds(keeper(&mount)), 0);
    mount.end();
}

/// gcore, gdb and /proc are what another program of the same user has; a program that does not hide shows that they work.
#[test]
fn another_program_of_the_user_sees_nothing_of_the_memory() {
    let script = r#"
        as_user mount.ftpsfs "$source" "$mnt" -o "$users"; reads as_user
        (exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all sleep 300) & plain=$!
        until [ "$(cat /proc/$plain/comm)" = sleep ]; do sleep 0.05; done
        tries() { local status=0; as_user "$@" >"$place/said" 2>&1 || status=$?; echo "$status"; }
        attach='import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0) != 0)'
        for pid in $(pgrep -x "$ours") ; do
            for what in environ mem maps fd/0 map_files auxv; do
                [ "$(tries cat /proc/$plain/maps)" = 0 ]; [ "$(tries head -c1 /proc/$pid/$what)" != 0 ] || { echo "$what of $pid"; exit 1; }
            done
            [ "$(tries /usr/bin/python3 -c "$attach" "$pid")" = 1 ] || { echo "$pid can be traced"; exit 1; }
            [ "$(tries gdb -p "$pid" -batch -ex 'dump memory /dev/null 0 1')" != 0 ] || grep -qi 'not permitted' "$place/said"
        done
        [ "$(pgrep -c -x "$ours")" = 2 ]
        [ "$(tries /usr/bin/python3 -c "$attach" "$plain")" = 0 ] || { cat "$place/said"; exit 1; }
        kill -KILL "$plain"; umount "$mnt"; gone
    "#;
    fstab::run(&case().server, script).succeeded();
}

/// The daemon may be killed, the other process then has nothing to do; and without it the mount lives on.
#[test]
fn neither_process_outlives_its_use() {
    let case = case();
    let mount = case.mount(&[]);
    let (ours, its) = (mount.pid(), keeper(&mount));
    // Somebody has to take note of its end, which is not our business.
    let script = r#"kill -KILL "$1"; for try in {1..100}; do
        [[ $(ps -o stat= -p "$2") == [^Z]* ]] || exit 0; sleep 0.05; done; exit 1"#;
    shell(script, &[ours.to_string(), its.to_string()]).succeeded();
    drop(mount);
    let mount = case.mount(&[]);
    shell("kill -KILL \"$1\"", &[keeper(&mount).to_string()]).succeeded();
    assert_eq!(fs::read(mount.path("hello.txt")).unwrap(), b"Hello over TLS\n");
    mount.end();
}

/// resolv.conf is not changed by its writers but replaced: by another file, perhaps long after the mount.
#[test]
fn names_are_resolved_as_the_machine_is_told_to_after_the_mount() {
    let script = r#"
        mkdir "$place/etc"; cp -a /etc/. "$place/etc/"; mount --bind "$place/etc" /etc
        printf 'hosts: files dns\n' >/etc/nsswitch.conf; printf '127.0.0.1 nobody\n' >/etc/hosts
        rm -f /etc/resolv.conf; printf 'options timeout:1 attempts:1\nnameserver 127.0.0.98\n' >/etc/resolv.conf
        /usr/bin/python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.99", 53)); print("ready", flush=True)
while True:
    q, who = s.recvfrom(512); end = 12
    while q[end]: end += q[end] + 1
    question, a = q[12:end + 5], q[end + 1:end + 3] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if a else b""
    s.sendto(q[:2] + b"\x85\x80\0\1" + (b"\0\1" if a else b"\0\0") + b"\0\0\0\0" + question + answer, who)' >"$place/dns" &
        until [ -s "$place/dns" ]; do sleep 0.05; done
        mount.ftpsfs "$source" "$mnt" -o "$options,delay_connect,timeout=5,log=$place/log,attr_timeout=0,dir_timeout=0"
        fails 1 cat "$mnt/hello.txt"
        printf 'nameserver 127.0.0.99\n' >/etc/resolv.conf.new; mv /etc/resolv.conf.new /etc/resolv.conf
        for try in {1..60}; do reads && break; sleep 0.5; done
        reads; umount "$mnt"; gone
    "#;
    fstab::run(&case().server, script).succeeded();
}
