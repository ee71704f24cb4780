//! The life of a mount: how it comes, how it goes, what it shows and what it refuses.

use crate::cases::Case;
use crate::support::mountpoint::{Mount, command, end_by_force, is_mounted, unmount};
use crate::support::run::{finish, shell, within};
use crate::support::server::{Kind, Mode, Tls, run_directory};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn case() -> Case {
    Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit)
}

#[test]
fn it_goes_to_the_background_once_the_mount_answers() {
    let case = case();
    let background = Background::mount(&case);
    assert_eq!(fs::read(background.point.join("hello.txt")).unwrap(), b"Hello over TLS\n");
    unmount(&background.point);
    background.wait_for_the_end();
}

#[test]
fn fusermount3_ends_it() {
    let case = case();
    let background = Background::mount(&case);
    finish(within(LIMIT, "fusermount3").arg("-u").arg(&background.point)).succeeded();
    background.wait_for_the_end();
}

#[test]
fn sigterm_and_sigint_end_it() {
    let case = case();
    for signal in ["TERM", "INT"] {
        let background = Background::mount(&case);
        fs::read(background.point.join("hello.txt")).unwrap();
        finish(Command::new("kill").args([&format!("-{signal}"), &background.pid.to_string()])).succeeded();
        background.wait_for_the_end();
    }
}

#[test]
fn sigterm_ends_it_while_a_program_stands_in_it() {
    let case = case();
    let background = Background::mount(&case);
    let mut inside = Command::new("sleep").arg("60").current_dir(&background.point).spawn().unwrap();
    finish(Command::new("kill").args(["-TERM", &background.pid.to_string()])).succeeded();
    background.wait_for_the_mount_to_go();
    inside.kill().unwrap();
    inside.wait().unwrap();
    background.wait_for_the_end();
}

#[test]
fn a_directory_of_the_server_is_mounted_as_the_root() {
    let case = case();
    let mount = Mount::of(&case.server, "links/real", &[]);
    assert_eq!(fs::read(mount.path("inside.txt")).unwrap(), b"inside\n");
    assert_eq!(fs::read_dir(&mount.point).unwrap().count(), 1);
}

/// `up` leads to a file that the server would give, and that is not part of what was mounted.
#[test]
fn a_link_out_of_the_mounted_directory_is_not_followed() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd] {
        let case = Case::start(kind, Tls::V13, Mode::Explicit);
        let mount = Mount::of(&case.server, "links", &[]);
        for _ in 0..2 {
            for name in ["up", "absolute", "escaping"] {
                let read = fs::read(mount.path(name));
                assert!(read.is_err(), "{kind:?}: {name} leads to {}", String::from_utf8_lossy(&read.unwrap()));
            }
            assert_eq!(fs::read(mount.path("relative")).unwrap(), b"target\n", "{kind:?}");
            // ProFTPD's MLSD leaves out what leads nowhere, its LIST does not.
            assert_eq!(fs::read_dir(&mount.point).unwrap().filter(Result::is_ok).count(), 11, "{kind:?}");
        }
    }
}

#[test]
fn nothing_can_be_written() {
    let case = case();
    let mount = case.mount(&[]);
    let script = r#"cd "$1"
        for attempt in 'echo x >hello.txt' 'echo x >new' 'mkdir new' 'rm hello.txt' 'rmdir links' 'mv hello.txt moved' \
            'ln -s a new' 'ln hello.txt new' 'touch hello.txt' 'truncate -s 0 hello.txt' 'chmod 600 hello.txt' \
            'chown 1 hello.txt' 'mkfifo new'; do
            if said=$(bash -c "$attempt" 2>&1); then echo "$attempt succeeded"
            elif [[ $said != *'Read-only file system'* ]]; then echo "$attempt: $said"; fi
        done"#;
    assert_eq!(shell(script, &[&mount.point]).succeeded(), "");
}

#[test]
fn the_password_shows_nowhere() {
    let case = case();
    let mount = case.mount(&["log_level=trace"]);
    fs::read(mount.path("hello.txt")).unwrap();
    let password = case.server.password.clone();
    let proc =
        |name: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{}/{name}", mount.pid())).unwrap()).into_owned();
    for (place, text) in [
        ("the log", mount.log()),
        ("cmdline", proc("cmdline")),
        ("environ", proc("environ")),
        ("mounts", fs::read_to_string("/proc/mounts").unwrap()),
    ] {
        assert!(!text.contains(&password), "the password shows in {place}");
    }
    assert!(mount.log().contains("PASS"), "the log does not go as far as the commands: {}", mount.log());
}

#[test]
fn the_source_is_the_url_without_password() {
    let case = case();
    let mount = case.mount(&[]);
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(mount.point.to_str().unwrap())).unwrap();
    assert!(line.starts_with(&case.server.url("")), "{line}");
    assert!(line.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{line}");
}

#[test]
fn a_password_in_the_environment_works_and_is_not_passed_on() {
    let case = case();
    let directory = run_directory();
    let point = directory.join("mnt");
    fs::create_dir(&point).unwrap();
    let mut program = within(LIMIT, crate::support::mountpoint::program());
    program
        .args(["-o", &format!("cafile={}", case.server.cafile.display())])
        .env("FTPSFS_PASSWORD", &case.server.password);
    finish(program.arg(case.server.url("")).arg(&point)).succeeded();
    let background = Background { pid: pid_of(&point), point };
    assert!(fs::read_dir(&background.point).unwrap().count() > 5);
    unmount(&background.point);
    background.wait_for_the_end();
}

/// A mount whose program went to the background.
struct Background {
    point: PathBuf,
    pid: u32,
}

impl Background {
    fn mount(case: &Case) -> Self {
        let directory = run_directory();
        let point = directory.join("mnt");
        fs::create_dir(&point).unwrap();
        // With a pipe for its output, as in `$(ftpsfs …)`: it must let go of it.
        let mut program = command(&case.server, &directory, &[]);
        let child = program.arg(case.server.url("")).arg(&point).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(started.elapsed() < LIMIT);
        // Before anything is asked of it: it is there when the command returns.
        assert!(is_mounted(&point));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
        Self { pid: pid_of(&point), point }
    }

    fn wait_for_the_mount_to_go(&self) {
        wait(|| !is_mounted(&self.point), "the mount stays");
    }

    fn wait_for_the_end(&self) {
        self.wait_for_the_mount_to_go();
        wait(|| !Path::new(&format!("/proc/{}", self.pid)).exists(), "the process stays");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if is_mounted(&self.point) {
            end_by_force(&self.point, self.pid);
        }
    }
}

/// The process that was told to mount on `point`.
fn pid_of(point: &Path) -> u32 {
    let wanted = point.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ours = processes.filter(|pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|&byte| byte == 0).any(|argument| argument == wanted)
    });
    ours.next().expect("the program runs")
}

fn wait(mut until: impl FnMut() -> bool, complaint: &str) {
    let deadline = Instant::now() + LIMIT;
    while !until() {
        assert!(Instant::now() < deadline, "{complaint}");
        thread::sleep(Duration::from_millis(10));
    }
}
