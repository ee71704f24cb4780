//! mount(8), umount(8) and findmnt(8) with lines of fstab(5), as root and as an ordinary user; each in a mount namespace and
//! with processes of its own, which end with it.

use crate::cases::Case;
use crate::support::mountpoint::{program, unmount, write_credentials};
use crate::support::run::{Ran, finish, within};
use crate::support::server::{Kind, Mode, Server, Tls, USER, run_directory};
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Puts the program where mount(8) looks for it, and hides what it writes of mounts from the machine.
const PRELUDE: &str = r#"
    program=$1 place=$2 source=$3 options=$4 user=$5 mnt=$2/mnt
    mkdir -p "$place/mnt" "$place/sbin" "$place/bin"
    mount -t tmpfs tmpfs "$place/sbin"; mkdir "$place/sbin/links" "$place/sbin/bin"
    cp "$program" "$place/sbin/bin/ftpsfs"; chmod 755 "$place/sbin/bin/ftpsfs" "$place/sbin"
    for name in mount.ftpsfs mount.fuse.ftpsfs umount.fuse.ftpsfs; do
        ln -s /usr/bin/ftpsfs "$place/sbin/links/$name"
    done
    mount -t overlay -o "lowerdir=$place/sbin/links:/usr/sbin" overlay /usr/sbin
    mount -t overlay -o "lowerdir=$place/sbin/bin:/usr/bin" overlay /usr/bin
    # As udev makes it, for everybody.
    mknod -m 666 "$place/sbin/fuse" c 10 229; mount --bind "$place/sbin/fuse" /dev/fuse
    mkdir -p /run/mount /run/ftpsfs
    mount -t tmpfs tmpfs /run/mount; mount -t tmpfs tmpfs /run/ftpsfs
    fstab() { printf '%s\n' "$@" >"$place/fstab"; mount --bind "$place/fstab" /etc/fstab; }
    fails() { local wanted=$1 status=0; shift; said=$("$@" 2>&1) || status=$?
        [ "$status" = "$wanted" ] || { echo "status $status, not $wanted: $* ($said)"; exit 99; }; }
    says() { [[ $said == *"$1"* ]] || { echo "no '$1' in: $said"; exit 98; }; }
    as_user() { setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all "$@"; }
    # By every name that it is started by, as far as the kernel keeps it.
    ours='ftpsfs|ftpsfs-keeper|mount\.f.*'
    gone() { for try in {1..100}; do pgrep -x "$ours" >"$place/left" || return 0; sleep 0.05; done; echo "it stays"; exit 97; }
    reads() { [ "$("$@" cat "$mnt/hello.txt")" = "Hello over TLS" ]; }
    users="ro,credentials=$place/users-credentials,cafile=$place/ca.pem"
"#;

/// Runs a script of bash with `$source`, `$options` and `$mnt` for `server`.
pub(crate) fn run(server: &Server, script: &str) -> Ran {
    let place = place(server);
    let options = format!("ro,credentials={0}/credentials,cafile={0}/ca.pem", place.display());
    let mut command = within(LIMIT, "unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["bash", "-e", "-o", "pipefail", "-c", &format!("{PRELUDE}{script}"), "bash"]);
    command.arg(program()).arg(&place).args([&server.url(""), &options, USER]);
    command.env_remove("FTPSFS_PASSWORD");
    finish(&mut command)
}

/// A directory of the user's, with what it takes to log in.
fn place(server: &Server) -> PathBuf {
    let place = run_directory();
    fs::create_dir(place.join("mnt")).unwrap();
    let credentials = write_credentials(&place, &server.password);
    fs::copy(&server.cafile, place.join("ca.pem")).unwrap();
    let owner = |what: &str| finish(within(LIMIT, "id").args([what, USER])).succeeded().trim().parse().unwrap();
    let users = place.join("users-credentials");
    fs::copy(&credentials, &users).unwrap();
    for path in [&place.join("mnt"), &users] {
        chown(path, Some(owner("-u")), Some(owner("-g"))).unwrap();
    }
    place
}

fn case() -> Case {
    Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit)
}

#[test]
fn a_line_of_fstab_is_mounted_found_and_unmounted() {
    let case = case();
    for kind in ["ftpsfs", "fuse.ftpsfs"] {
        let script = r#"
            # Without SELinux mount(8) leaves its labels out, and so does what it calls.
            label='context="system_u:object_r:nfs_t:s0:c1,c2"'
            fstab "$source $mnt KIND $options,_netdev,nofail,noatime,comment=foo,x-systemd.automount,$label 0 0"
            mount -a; reads
            [ "$(findmnt -no SOURCE,FSTYPE "$mnt")" = "$source fuse.ftpsfs" ]
            [[ $(findmnt -no OPTIONS "$mnt") == ro,nosuid,nodev,noatime,user_id=0,group_id=0,default_permissions,* ]]
            # Once is enough.
            mount -a; [ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ]
            umount "$mnt"; fails 1 findmnt "$mnt"; gone
            mount -f "$mnt"; fails 1 findmnt "$mnt"
            mount "$mnt"; umount -a -t fuse.ftpsfs
            mount -T "$place/fstab" --source "$source"; umount "$source"; gone
        "#;
        run(&case.server, &script.replace("KIND", kind)).succeeded();
    }
}

#[test]
fn an_ordinary_user_mounts_and_unmounts_what_fstab_allows() {
    let script = r#"
        fstab "$source $mnt ftpsfs $users,noauto,user 0 0"
        as_user mount "$mnt"; reads as_user
        [[ $(findmnt -no SOURCE,OPTIONS "$mnt") == "$source ro,nosuid,nodev,noexec,relatime,user_id="* ]]
        # root has no business there, so that the user has to stand in the way.
        (cd /; as_user bash -c 'cd "$1"; echo there; exec sleep 30' bash "$mnt") >"$place/stands" & stands=$!
        until [ -s "$place/stands" ]; do sleep 0.05; done
        fails 32 as_user umount "$mnt"; says "is in use"; pkill -x sleep -P "$stands" || kill "$stands"; wait "$stands" || true
        # A mount of root's may have a journal, which is not the user's business.
        chmod 700 /run/ftpsfs; fails 0 as_user umount "$mnt"; [ -z "$said" ]; fails 1 findmnt "$mnt"; gone
        # Without fstab(5), somewhere that is not the user's, and for others.
        as_user mount.ftpsfs "$source" "$mnt" -o "$users,noatime,relatime,nodiratime"; reads as_user; as_user fusermount3 -u "$mnt"
        mkdir "$place/roots"
        fails 1 as_user mount.ftpsfs "$source" "$place/roots" -o "$users"; says "no write access"
        fails 1 as_user mount.ftpsfs "$source" "$mnt" -o "$users,allow_other"; says user_allow_other; gone
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn mount_fuse_calls_the_program_where_our_link_is_missing() {
    let script = r#"
        umount /usr/sbin
        mount -t fuse.ftpsfs -o "$options" "$source" "$mnt"; reads
        [ "$(findmnt -no SOURCE,FSTYPE "$mnt")" = "$source fuse.ftpsfs" ]; umount "$mnt"; gone
    "#;
    run(&case().server, script).succeeded();
}

/// libmount does not know a line with a password again: the kernel shows none. Each `mount -a` mounted once more.
#[test]
fn a_line_with_a_password_is_mounted_once() {
    let script = r#"
        pw=$(sed -n s/^password=//p "$place/credentials")
        fstab "${source/@/:$pw@} $mnt ftpsfs ro,cafile=$place/ca.pem 0 0"
        mount -a; reads; fails 32 mount "$mnt"; says "$source is mounted on $mnt already"
        mount -f "$mnt"
        [ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ]
        # Another source may be mounted over it.
        mount.ftpsfs "$source/" "$mnt" -o "$options"; umount "$mnt"; umount "$mnt"; gone
        mount "$mnt"; reads; umount "$mnt"; gone
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_mount_is_not_changed_and_links_are_not_followed_where_that_is_wished() {
    let script = r#"
        fstab "$source $mnt ftpsfs $options,nosymfollow 0 0"
        mount "$mnt"; [[ ,$(findmnt -no OPTIONS "$mnt"), == *,nosymfollow,* ]]
        fails 1 mount -o remount,rw "$mnt"; says "umount it and mount it again"
        fails 1 mount.ftpsfs "$source" "$mnt" -s -o remount; says "umount it and mount it again"
        umount "$mnt"; gone
        as_user mount.ftpsfs "$source" "$mnt" -o "$users,nosymfollow" 2>"$place/said"; as_user umount "$mnt" || as_user fusermount3 -u "$mnt"
        grep -q "does not pass nosymfollow on" "$place/said"; gone
    "#;
    run(&case().server, script).succeeded();
}

/// `mount -f` asks nothing, and refused a key that it would have asked a passphrase for.
#[test]
fn a_fake_mount_takes_a_key_whose_passphrase_it_does_not_know() {
    let script = r#"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=joe -days 2 -nodes \
            -keyout "$place/clear.pem" -out "$place/cert.pem" 2>"$place/openssl"
        openssl pkcs8 -topk8 -v2 aes-256-cbc -in "$place/clear.pem" -passout pass:word -out "$place/key.pem"
        key="$options,cert=$place/cert.pem,key=$place/key.pem"
        fails 0 mount.ftpsfs "$source" "$mnt" -f -o "$key"
        # One that is given is tried.
        echo passphrase=wrong >>"$place/credentials"; fails 1 mount.ftpsfs "$source" "$mnt" -f -o "$key"; says "does not open it"
        sed -i 's/^passphrase=.*/passphrase=word/' "$place/credentials"; fails 0 mount.ftpsfs "$source" "$mnt" -f -o "$key"
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn every_failure_has_its_status() {
    let script = r#"
        fails 1 mount.ftpsfs "$source" "$mnt" -o "$options,alow_other"; says 'did you mean "allow_other"?'
        fails 1 mount.ftpsfs "$source"; says MOUNTPOINT
        fails 1 mount.ftpsfs "$source" "$mnt" -f -o "$options,cafile=/nowhere"; says /nowhere
        fails 1 mount.ftpsfs "$source" "$mnt" -o "$options,log=$mnt/log"; says "below the mount point"
        fails 2 mount.ftpsfs "$source" "$mnt" -o "$options" -N /nowhere; says "mount namespace /nowhere"
        fails 32 mount.ftpsfs "$source" "$mnt/nowhere" -f -o "$options"; says "no such directory"
        fails 32 mount.ftpsfs "${source}nowhere" "$mnt" -o "$options"; says 550
        fails 0 mount.ftpsfs "$source" "$mnt" -s -o "$options,frobnicate"; says 'unknown option "frobnicate"'; umount "$mnt"
        # Fake: neither asked nor connected.
        fails 0 mount.ftpsfs ftps://joe@127.0.0.1:1/ "$mnt" -f; fails 1 findmnt "$mnt"; gone
        sed -i 's/^password=.*/password=wrong/' "$place/credentials"
        fails 33 mount.ftpsfs "$source" "$mnt" -o "$options"; says "530 Login incorrect"
        # Somebody who listens and says nothing.
        python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(30)' >"$place/port" &
        until [ -s "$place/port" ]; do sleep 0.05; done
        status=0; mount.ftpsfs "ftps://anonymous@127.0.0.1:$(cat "$place/port")/" "$mnt" 2>/dev/null & front=$!
        until [ "$(pgrep -c -x mount.ftpsfs)" = 2 ]; do sleep 0.05; done
        sleep 0.3; kill -TERM "$(pgrep -P "$front")"; wait "$front" || status=$?; [ "$status" = 8 ]
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn nothing_of_the_environment_is_needed() {
    let script = r#"
        env -i /usr/sbin/mount.ftpsfs "$source" "$mnt" -o "$options"; reads; env -i /usr/bin/umount "$mnt"
        for empty in "PATH=" "HOME="; do
            as_user env -i "$empty" /usr/sbin/mount.ftpsfs "$source" "$mnt" -o "$users"; reads as_user
            as_user env -i "$empty" /usr/bin/umount "$mnt"
        done
        cd /; short=${source#ftps://}; short=${short%/}; port=${short##*:}
        mount.ftpsfs "${short%:*}:" "$mnt" -o "$options,port=$port"; reads
        [ "$(findmnt -no SOURCE "$mnt")" = "${short%:*}:" ]; umount "$mnt"; gone
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_mount_that_has_died_is_taken_away_first() {
    let script = r#"
        die() { kill -KILL $(pgrep -x "$ours"); gone; fails 1 "$@" cat "$mnt/hello.txt"; says "not connected"; }
        fstab "$source $mnt ftpsfs $options 0 0"
        mount "$mnt"; die env; mount "$mnt" 2>/dev/null; reads
        [ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ]; umount "$mnt"
        as_user mount.ftpsfs "$source" "$mnt" -o "$users"; die as_user
        as_user mount.ftpsfs "$source" "$mnt" -o "$users" 2>/dev/null; reads as_user
        [ "$(grep -c " $mnt " /proc/self/mountinfo)" = 1 ]; umount "$mnt"
        # What is not ours is somebody else's.
        mount -t tmpfs tmpfs "$mnt"; mount.ftpsfs "$source" "$mnt" -o "$options"; umount "$mnt"; findmnt -t tmpfs "$mnt" >"$place/found"
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_delayed_connection_is_made_by_the_first_who_looks() {
    let script = r#"
        mount.ftpsfs "$source" "$mnt" -o "$options,delay_connect,attr_timeout=0,log=$place/log,log_level=debug"
        [ "$(findmnt -no FSTYPE "$mnt")" = fuse.ftpsfs ]
        fails 1 grep "control connection" "$place/log"; reads; grep -q "control connection" "$place/log"; umount "$mnt"; gone
        # A refused login is not tried again and again, and told once.
        sed -i 's/^password=.*/password=wrong/' "$place/credentials"
        mount.ftpsfs "$source" "$mnt" -o "$options,delay_connect,log=$place/log2"
        for try in 1 2 3; do fails 2 ls "$mnt"; says "Permission denied"; done
        umount "$mnt"; gone
        [ "$(grep -c "does not take the password (530 Login incorrect.)" "$place/log2")" = 1 ]; grep -q "; 0 logins, 4 commands" "$place/log2"
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn systemd_makes_sound_units_of_the_line() {
    let script = r#"
        mkdir "$place/units"
        line="$source $mnt ftpsfs $options,_netdev,nofail,x-systemd.automount,x-systemd.mount-timeout=60,mount_timeout=45 0 0"
        printf '%s\n' "$line" 'h:dir\040x /srv/b\040c fuse.ftpsfs ro,_netdev,noauto 0 0' >"$place/fstab"
        SYSTEMD_LOG_TARGET=console SYSTEMD_FSTAB=$place/fstab /usr/lib/systemd/system-generators/systemd-fstab-generator \
            "$place/units" "$place/units" "$place/units"
        [ "$(ls "$place/units/remote-fs.target.wants" | grep -c 'automount$')" = 1 ]
        SYSTEMD_UNIT_PATH=$place/units: systemd-analyze verify --man=no --recursive-errors=no "$place"/units/*.*mount
        # As systemd calls mount(8).
        options=$(sed -n 's/^Options=//p' "$place"/units/*-mnt.mount)
        mount "$source" "$mnt" -t ftpsfs -o "$options"; reads; umount "$mnt"; gone
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_password_comes_from_many_places_and_shows_nowhere() {
    let script = r#"
        base="ro,cafile=$place/ca.pem,log_level=trace,log=$place/log"; pw=$(sed -n s/^password=//p "$place/credentials")
        seen=$place/seen
        look() { reads; for process in $(pgrep -x "$ours"); do
                cat "/proc/$process/cmdline" "/proc/$process/environ" >>"$seen"; done
            cat /proc/mounts >>"$seen"; umount "$mnt"; gone; }
        try() { "$@" >>"$seen" 2>&1; look; }
        printf 'machine localhost login %s password %s\n' "$user" "$pw" >"$place/netrc"; chmod 600 "$place/netrc"
        mkdir "$place/home" "$place/systemd"; cp "$place/netrc" "$place/home/.netrc"
        printf '%s\n' "$pw" >"$place/systemd/ftpsfs.password"
        try mount.ftpsfs "$source" "$mnt" -o "$options,log_level=trace,log=$place/log"
        try mount.ftpsfs "$source" "$mnt" -o "$base,password_command=sed -n s/^password=//p $place/credentials"
        try env NETRC="$place/netrc" mount.ftpsfs "$source" "$mnt" -o "$base"
        try env HOME="$place/home" mount.ftpsfs "${source/"$user@"/}" "$mnt" -o "$base"
        try env CREDENTIALS_DIRECTORY="$place/systemd" mount.ftpsfs "$source" "$mnt" -o "$base"
        try env FTPSFS_PASSWORD="$pw" mount.ftpsfs "$source" "$mnt" -o "$base"
        for program in ftpsfs mount.ftpsfs; do try $program "${source/@/:$pw@}" "$mnt" -o "$base"; done
        [ "$(grep -c "a password in the URL" "$seen")" = 2 ]; grep -q "PASS …" "$place/log"
        fails 1 grep -a -e "$pw" "$seen" "$place/log"
        # The earlier place wins, and a place that is open or says nothing is refused.
        try env FTPSFS_PASSWORD=wrong mount.ftpsfs "$source" "$mnt" -o "$options"
        try env NETRC=/nowhere CREDENTIALS_DIRECTORY=/nowhere FTPSFS_PASSWORD="$pw" mount.ftpsfs "$source" "$mnt" -o "$base"
        fails 33 env FTPSFS_PASSWORD=wrong NETRC="$place/netrc" CREDENTIALS_DIRECTORY="$place/systemd" \
            mount.ftpsfs "$source" "$mnt" -o "ro,cafile=$place/ca.pem"; says 530
        fails 33 env FTPSFS_PASSWORD="$pw" mount.ftpsfs "$source" "$mnt" -o "ro,cafile=$place/ca.pem,password_command=echo wrong"
        # What it asks may be away when the machine starts: the units try again after a 2, and not after a 1.
        fails 2 mount.ftpsfs "$source" "$mnt" -o "$base,password_command=exit 3"; says "exit status: 3"
        fails 2 env FTPSFS_PASSWORD="$pw" mount.ftpsfs "$source" "$mnt" -o "$base,log=/nowhere/log"; says "/nowhere/log"
        fails 2 mount.ftpsfs "$source" "$mnt" -o "$base,password_command=true"; says "printed nothing"
        chmod 644 "$place/netrc"; fails 1 env NETRC="$place/netrc" mount.ftpsfs "$source" "$mnt" -o "$base"; says "mode is 0644"
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_password_is_asked_for_on_the_terminal_and_not_shown() {
    let script = r#"
        export pw=$(sed -n s/^password=//p "$place/credentials")
        python3 - mount.ftpsfs "$source" "$mnt" -o "ro,cafile=$place/ca.pem" <<'PYTHON'
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    password = os.environ.pop("pw")
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"Password of" not in said or not said.endswith(b": "):
    said += os.read(terminal, 1000)
os.write(terminal, os.environ["pw"].encode() + b"\n")
try:
    while piece := os.read(terminal, 1000):
        said += piece
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0 and os.environ["pw"].encode() not in said, (status, said)
assert b" on localhost: " in said, said
PYTHON
        reads; umount "$mnt"; gone
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_log_is_opened_again_systemd_hears_of_the_mount_and_a_namespace_is_entered() {
    let script = r#"
        mount.ftpsfs "$source" "$mnt" -o "$options,log=$place/log"; mv "$place/log" "$place/log.1"
        kill -HUP "$(pgrep -x mount.ftpsfs)"
        for try in {1..600}; do [ ! -s "$place/log" ] || break; sleep 0.05; done
        [ -s "$place/log" ] || { echo "the log is not opened again"; exit 96; }
        reads; umount "$mnt"; gone
        grep -q "info: .* is mounted" "$place/log.1"; grep -q "is unmounted" "$place/log"
        [ "$(stat -c %a "$place/log")" = 600 ]

        python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.settimeout(20)
for state in range(2): print(s.recv(1000).decode().split("\n")[0], flush=True)' "$place/notify" >"$place/told" &
        until [ -S "$place/notify" ]; do sleep 0.05; done
        NOTIFY_SOCKET=$place/notify ftpsfs -f "$source" "$mnt" -o "$options" 2>"$place/stderr" &
        until grep -qx READY=1 "$place/told"; do sleep 0.05; done
        reads; kill -TERM "$(pgrep -x ftpsfs)"; gone; wait; grep -qx STOPPING=1 "$place/told"

        unshare --mount sleep 40 & other=$!
        until [ "$(readlink "/proc/$other/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.05; done
        mount.ftpsfs "$source" "$mnt" -N "$other" -o "$options"; fails 1 findmnt "$mnt"
        nsenter -t "$other" -m cat "$mnt/hello.txt" >"$place/read"
        umount.fuse.ftpsfs "$mnt" -N "$other"; fails 1 nsenter -t "$other" -m findmnt "$mnt"; gone; kill "$other"
        fails 2 umount.fuse.ftpsfs "$mnt" -N /nowhere; says "mount namespace /nowhere"
    "#;
    run(&case().server, script).succeeded();
}

/// What `ftpsfs check` prints is pasted as it stands, into whichever shell. The line lacked the user who stood in ~/.netrc, let
/// nobody but root in, and `read -p` is of bash alone.
#[test]
fn what_check_prints_is_pasted_into_any_shell_and_mounts() {
    let script = r#"
        export pw=$(sed -n s/^password=//p "$place/credentials") HOME=$place/home
        mkdir "$place/home" "$place/etc"; mount -t tmpfs tmpfs "$place/etc"; mkdir "$place/etc/upper" "$place/etc/work"
        mount -t overlay -o "lowerdir=/etc,upperdir=$place/etc/upper,workdir=$place/etc/work" overlay /etc
        mount -t tmpfs tmpfs /mnt
        printf 'machine localhost login %s password %s\n' "$user" "$pw" >"$HOME/.netrc"; chmod 600 "$HOME/.netrc"
        cat >"$place/paste.py" <<'PYTHON'
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    password = os.environ.pop("pw")
    os.execvp(sys.argv[1], [sys.argv[1], "-c", sys.argv[2]])
said = b""
while b"Password: " not in said:
    said += os.read(terminal, 1000)
os.write(terminal, os.environ["pw"].encode() + b"\n")
try:
    while piece := os.read(terminal, 1000):
        said += piece
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0 and os.environ["pw"].encode() not in said, (status, said)
PYTHON
        for shell in dash bash zsh; do
            ftpsfs check -o "cafile=$place/ca.pem" "${source/"$user@"/}" >"$place/checked"
            first=$(sed -n 's:^ *first  *::p' "$place/checked")
            sed -n 's:^ */etc/fstab  *::p' "$place/checked" >/etc/fstab
            python3 "$place/paste.py" "$shell" "$first"
            file=$(sed 's/.*credentials=//; s/,.*//' /etc/fstab); point=/mnt/${file##*/}
            [ "$(stat -c %a "$file")" = 600 ]; [ "$(cat "$file")" = "password=$pw" ]
            mount -a; [ "$(as_user cat "$point/hello.txt")" = "Hello over TLS" ]; umount "$point"; gone
            # What is there is not asked for again, and stays.
            echo mine >"$file"; "$shell" -c "$first"; [ "$(cat "$file")" = mine ]; rm "$file"
        done
        # By hand, as it says.
        FTPSFS_PASSWORD=$pw sh -c "$(sed -n 's:^ *by hand  *::p' "$place/checked")"
        [ "$(cat "$point/hello.txt")" = "Hello over TLS" ]; umount "$point"; gone
        as_user env HOME="$place/mnt" FTPSFS_PASSWORD="$pw" ftpsfs check -o "cafile=$place/ca.pem" "$source" >"$place/checked"
        as_user env HOME="$place/mnt" FTPSFS_PASSWORD="$pw" sh -c "$(sed -n 's:^ *by hand  *::p' "$place/checked")"
        point=$place/mnt/${point#/mnt/}; as_user cat "$point/hello.txt" >"$place/read"; as_user fusermount3 -u "$point"; gone
        grep -q ",uid=$(id -u "$user"),gid=" "$place/checked"
    "#;
    run(&case().server, script).succeeded();
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut case = case();
    case.server.stop();
    let place = place(&case.server);
    let options = format!("ro,credentials={0}/credentials,cafile={0}/ca.pem,mount_timeout=30", place.display());
    let mut command = within(LIMIT, program());
    command.args(["-o", &options, &case.server.url("")]).arg(place.join("mnt"));
    let waiting = std::thread::spawn(move || finish(&mut command));
    // Long enough for the first try to fail.
    std::thread::sleep(Duration::from_millis(700));
    case.server.start_again();
    let ran = waiting.join().unwrap();
    assert_eq!((ran.status, ran.stderr.matches("trying again for 30 s").count()), (0, 1), "{ran:?}");
    assert!(ran.stderr.contains("Connection refused"), "{ran:?}");
    assert_eq!(fs::read(place.join("mnt/hello.txt")).unwrap(), b"Hello over TLS\n");
    unmount(&place.join("mnt"));
}
