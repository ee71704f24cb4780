//! What `sandbox::enter` forbids, tried from inside: by processes of their own, since there is no way back out.

use ftpsfs::sandbox::{self, Rights};
use ftpsfs::sys::{self, MountFlags};
use landlock::{ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::{prctl, ptrace};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};
use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::os::unix::process::{ExitStatusExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Tells a process of the tests what it is, and where it works.
const ROLE: &str = "FTPSFS_TEST_SANDBOX";
const PLACE: &str = "FTPSFS_TEST_SANDBOX_PLACE";

/// Whether this kernel has all of Landlock that is used.
fn has_landlock() -> bool {
    let wanted = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let wanted =
        wanted.handle_access(AccessFs::from_all(ABI::V6)).and_then(|rules| rules.handle_access(AccessNet::BindTcp));
    wanted.and_then(|rules| rules.scope(Scope::Signal)).and_then(Ruleset::create).is_ok()
}

#[test]
fn what_is_given_up_cannot_be_had_any_more() {
    if let Some(role) = env::var_os(ROLE) {
        return if role == "inside" { attempt_all() } else { die(role == "dies inside") };
    }
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = this_test(&scratch.0, "inside");
    let output = child.env("FTPSFS_TEST_SANDBOX_PORT", listener.local_addr().unwrap().port().to_string()).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let outcome = |attempt: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{attempt}: ")));
        line.unwrap_or_else(|| panic!("{attempt} was not tried: {told}")).to_owned()
    };
    for allowed in [
        "write where it may",
        "rename where it may",
        "remove where it may",
        "a thread writes where it may",
        "read the hosts",
        "connect",
        "open /dev/null",
    ] {
        assert_eq!(outcome(allowed), "ok", "{allowed}");
    }
    // Not of Landlock.
    for forbidden in [
        "mount",
        "unmount",
        "run a program",
        "run a set-user-ID program",
        "trace another",
        "change a mode",
        "change an owner",
        "make a set-user-ID file",
        "make a set-group-ID file",
        "listen without a name",
        "enter a namespace",
    ] {
        assert_eq!(outcome(forbidden), "EPERM", "{forbidden}");
    }
    // Whether this machine dumps cores or not.
    assert_eq!(outcome("dumped"), "Ok(false)");
    assert_eq!(outcome("new privileges"), "NoNewPrivs 1 CapEff 0000000000000000 CapPrm 0000000000000000");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(outcome("bounding set"), "0000000000000000");
    }
    if !has_landlock() {
        eprintln!(
            "NOT TRIED: this kernel has no Landlock, or an older one: files, sockets and signals are not restricted"
        );
        return;
    }
    assert_eq!(outcome("extent"), "Landlock: in force; seccomp: in force; capabilities: none");
    for (forbidden, errno) in [
        ("write elsewhere", "EACCES"),
        ("a thread writes elsewhere", "EACCES"),
        ("append elsewhere", "EACCES"),
        ("truncate elsewhere", "EACCES"),
        ("make a directory elsewhere", "EACCES"),
        ("remove elsewhere", "EACCES"),
        ("rename to elsewhere", "EACCES"),
        ("link to elsewhere", "EACCES"),
        ("write /etc", "EACCES"),
        ("read elsewhere", "EACCES"),
        ("list elsewhere", "EACCES"),
        ("read another's environment", "EACCES"),
        ("listen", "EACCES"),
        ("listen on all", "EACCES"),
        ("signal another", "EPERM"),
    ] {
        assert_eq!(outcome(forbidden), errno, "{forbidden}");
    }
}

/// A core holds the password.
#[test]
fn no_core_is_dumped_inside() {
    let scratch = Scratch::new();
    let dies = |role: &str| {
        let child = this_test(&scratch.0, role);
        let mut limited = Command::new("bash");
        limited
            .args(["-c", "ulimit -c unlimited && exec \"$@\"", "bash"])
            .arg(child.get_program())
            .args(child.get_args());
        limited.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&scratch.0);
        limited.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
    };
    let (outside, inside) = (dies("dies outside"), dies("dies inside"));
    assert_eq!((outside.signal(), inside.signal()), (Some(6), Some(6)));
    if !outside.core_dumped() {
        eprintln!("NOT TRIED: this machine dumps no core of anybody");
    }
    assert!(!inside.core_dumped());
}

fn die(inside: bool) -> ! {
    if inside {
        sandbox::enter(&Rights { readable: Vec::new(), writable: vec![env::current_dir().unwrap()] });
    }
    std::process::abort()
}

/// The same test in a process of its own, as `role`.
fn this_test(place: &Path, role: &str) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "sandbox::what_is_given_up_cannot_be_had_any_more", "--nocapture", "--test-threads=1"]);
    child.env(ROLE, role).env(PLACE, place);
    child
}

fn attempt_all() {
    let place = PathBuf::from(env::var_os(PLACE).unwrap());
    let port: u16 = env::var("FTPSFS_TEST_SANDBOX_PORT").unwrap().parse().unwrap();
    let (mine, other, elsewhere) = (place.join("mine"), place.join("other"), place.join("elsewhere"));
    // Opened before, as the log and the kernel's device are.
    let status = File::open("/proc/thread-self/status").unwrap();
    let extent = sandbox::enter(&Rights { readable: Vec::new(), writable: vec![mine.clone(), other.clone()] });
    println!("\nextent: {extent}");
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    let text = io::read_to_string(status).unwrap();
    let fields = ["NoNewPrivs", "CapEff", "CapPrm"].map(|name| format!("{name} {}", field(&text, name)));
    println!("new privileges: {}", fields.join(" "));
    println!("bounding set: {}", field(&text, "CapBnd"));
    println!("dumped: {:?}", prctl::get_dumpable());

    tell("write where it may", fs::write(mine.join("a"), "a"));
    tell("rename where it may", fs::rename(mine.join("a"), other.join("b")));
    tell("remove where it may", fs::remove_file(other.join("b")));
    tell("read the hosts", fs::read("/etc/hosts"));
    tell("connect", TcpStream::connect(("127.0.0.1", port)));
    tell("open /dev/null", File::options().read(true).write(true).open("/dev/null"));
    fs::write(mine.join("c"), "c").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| tell("a thread writes where it may", fs::write(mine.join("d"), "d")));
        scope.spawn(|| tell("a thread writes elsewhere", fs::write(elsewhere.join("d"), "d")));
    });

    tell("mount", sys::mount("tmpfs", &mine, "tmpfs", MountFlags::default(), ""));
    tell("unmount", sys::unmount(Path::new("/proc"), true, false));
    tell("write elsewhere", fs::write(elsewhere.join("new"), "x"));
    tell("append elsewhere", File::options().append(true).open(elsewhere.join("old")));
    tell("truncate elsewhere", nix::unistd::truncate(&elsewhere.join("old"), 0).map_err(io::Error::from));
    tell("make a directory elsewhere", fs::create_dir(elsewhere.join("new")));
    tell("remove elsewhere", fs::remove_file(elsewhere.join("old")));
    tell("rename to elsewhere", fs::rename(mine.join("c"), elsewhere.join("c")));
    tell("link to elsewhere", fs::hard_link(mine.join("c"), elsewhere.join("c")));
    tell("write /etc", File::create("/etc/ftpsfs-test"));
    tell("read elsewhere", fs::read(elsewhere.join("old")));
    tell("list elsewhere", fs::read_dir(&elsewhere));
    tell("read another's environment", fs::read(format!("/proc/{}/environ", parent_id())));
    tell("listen", TcpListener::bind("127.0.0.1:0"));
    tell("listen on all", TcpListener::bind("[::]:0"));
    tell("run a program", Command::new("/bin/true").status());
    tell("run a set-user-ID program", Command::new("/bin/su").arg("--help").stdout(Stdio::null()).status());
    let ours = mine.join("c");
    tell("change a mode", fs::set_permissions(&ours, fs::Permissions::from_mode(0o4755)));
    tell("change an owner", chown(&ours, None, Some(nix::unistd::getgid().as_raw())));
    for (name, mode) in [("user", 0o4755), ("group", 0o2755)] {
        let mut options = File::options();
        options.write(true).create(true).mode(mode);
        tell(&format!("make a set-{name}-ID file"), options.open(mine.join(name)));
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    tell("listen without a name", socket.listen(1));
    tell("enter a namespace", unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from));
    let parent = Pid::from_raw(parent_id().cast_signed());
    tell("trace another", ptrace::attach(parent).map_err(io::Error::from));
    tell("signal another", kill(parent, None::<Signal>).map_err(io::Error::from));
}

/// Prints what became of an attempt.
fn tell<T>(attempt: &str, outcome: io::Result<T>) {
    let outcome = match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}", nix::Error::from_raw(error.raw_os_error().unwrap_or_default())),
    };
    println!("{attempt}: {outcome}");
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("ftpsfs-sandbox-{}-{:?}", std::process::id(), thread::current().id()));
        for name in ["mine", "other", "elsewhere"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        fs::write(path.join("elsewhere/old"), "old").unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
