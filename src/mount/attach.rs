//! Between the mount point and the kernel: how a mount gets into the tree, and out of it.

use crate::config::MountSettings;
use crate::failure::Failure;
use crate::fuse::Adapter;
use crate::path::escaped;
use crate::sys::{self, Line, MountFlags};
use fuser::{Session, SessionACL};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

const DEVICE: &str = "/dev/fuse";
/// The name after `fuse.` in the type that mount(8) shows.
const SUBTYPE: &str = "ftpsfs";
/// Threads that read the kernel's requests; none of them waits for the server (measured: more gain nothing).
const DISPATCHERS: usize = 2;
/// The kernel asks for this much at once, if it may: 256 pages.
const READ_BYTES_MAX: usize = 1 << 20;
/// Started by mount(8) there may be no PATH.
const FUSERMOUNT: &[&str] = &["fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3"];
/// There where SELinux is.
const SELINUX: &str = "/sys/fs/selinux/enforce";
const APPARMOR: &str = "/etc/apparmor.d/fusermount3";

/// Puts a mount into the tree. What comes back is the kernel's end of it.
pub(super) fn attach(mountpoint: &Path, settings: &MountSettings) -> Result<OwnedFd, Failure> {
    let device = File::options().read(true).write(true).open(DEVICE).map_err(|error| {
        Failure::mount(match error.kind() {
            ErrorKind::NotFound => format!("there is no {DEVICE}: load the kernel module fuse (modprobe fuse)"),
            _ => format!("cannot open {DEVICE}: {error}"),
        })
    })?;
    if sys::is_root() {
        attach_as_root(device.into(), mountpoint, settings)
    } else {
        attach_as_user(mountpoint, settings)
    }
}

/// Answers the kernel, whose end `device` is.
pub(super) fn serve(filesystem: Adapter, device: OwnedFd, settings: &MountSettings) -> io::Result<Session<Adapter>> {
    let mut options = fuser::Config::default();
    options.acl = if settings.allow_other { SessionACL::All } else { SessionACL::Owner };
    options.n_threads = Some(DISPATCHERS);
    options.clone_fd = true;
    Session::from_fd(filesystem, device, options.acl, options)
}

/// By mount(2): the source is shown as it was typed, commas and all, which `mount -a` needs to know it again.
fn attach_as_root(device: OwnedFd, mountpoint: &Path, settings: &MountSettings) -> Result<OwnedFd, Failure> {
    let (user, group) = sys::user_and_group();
    let mut data = format!(
        "fd={},rootmode=40000,user_id={user},group_id={group},default_permissions,max_read={READ_BYTES_MAX}",
        device.as_raw_fd()
    );
    if settings.allow_other {
        data.push_str(",allow_other");
    }
    if Path::new(SELINUX).exists() {
        data.push_str(&labels(&settings.contexts));
    }
    sys::mount(&settings.source, mountpoint, &format!("fuse.{SUBTYPE}"), settings.flags, &data)
        .map_err(|error| refused(error.kind() == ErrorKind::PermissionDenied, mountpoint, &error.to_string()))?;
    Ok(device)
}

/// The labels as the kernel wants them. Without SELinux it knows no such option, and mount(8) leaves them out as well.
fn labels(contexts: &[(String, String)]) -> String {
    contexts.iter().map(|(name, label)| format!(",{name}=\"{label}\"")).collect()
}

/// By fusermount3, which is allowed to mount for a user.
fn attach_as_user(mountpoint: &Path, settings: &MountSettings) -> Result<OwnedFd, Failure> {
    if let Some((name, _)) = settings.contexts.first()
        && Path::new(SELINUX).exists()
    {
        log::warn!("fusermount3 does not pass {name}= on: only root can");
    }
    match mount_as_user(mountpoint, &options_of_user(settings)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(said)) => {
            let is_forbidden = ["ermission denied", "not permitted", "only allowed", "no write access", "not owned"]
                .iter()
                .any(|words| said.contains(words));
            Err(refused(is_forbidden, mountpoint, &said))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::mount("fusermount3 is missing, with which a user mounts: install fuse3"))
        }
        Err(error) => Err(refused(false, mountpoint, &error.to_string())),
    }
}

fn options_of_user(settings: &MountSettings) -> String {
    // fusermount3 parts its options at commas that no backslash precedes.
    let source = settings.source.replace('\\', r"\\").replace(',', r"\,");
    // It knows no other words about times of access, and refuses those it does not know.
    let MountFlags { noexec, read_only, noatime, nosymfollow: _, relatime: _, strictatime: _, nodiratime: _ } =
        settings.flags;
    let words =
        [(noexec, ",noexec"), (read_only, ",ro"), (noatime, ",noatime"), (settings.allow_other, ",allow_other")];
    let words: String = words.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| *word).collect();
    format!("nosuid,nodev,default_permissions,max_read={READ_BYTES_MAX},subtype={SUBTYPE},fsname={source}{words}")
}

/// The kernel's end, or what fusermount3 complained of.
fn mount_as_user(mountpoint: &Path, options: &str) -> io::Result<Result<OwnedFd, String>> {
    let (ours, theirs) = Line::stream_pair()?;
    let mut child = FUSERMOUNT
        .iter()
        .map(|program| {
            let mut command = Command::new(program);
            command.args(["-o", options, "--"]).arg(mountpoint).stdin(Stdio::null()).stderr(Stdio::piped());
            // It sends the descriptor to its standard output.
            command.env("_FUSE_COMMFD", "1").stdout(theirs.try_clone()?);
            command.spawn()
        })
        .find(|spawned| !spawned.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound))
        .unwrap_or_else(|| Err(ErrorKind::NotFound.into()))?;
    drop(theirs);
    let device = ours.receive()?.1;
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut said)?;
    }
    child.wait()?;
    Ok(device.ok_or_else(|| escaped(said.trim_ascii()).to_string()))
}

/// Who may not mount there has called for something wrong, as mount(8) counts it.
fn refused(is_forbidden: bool, mountpoint: &Path, said: &str) -> Failure {
    let said = format!("cannot mount on {}: {said}", mountpoint.display());
    match is_forbidden {
        true if Path::new(APPARMOR).exists() && !sys::is_root() => Failure::usage(format!(
            "{said} (AppArmor's profile fusermount3 allows few places: see {APPARMOR} and dmesg)"
        )),
        true => Failure::usage(said),
        false => Failure::mount(said),
    }
}

/// Takes the mount out of the tree at once; it ends when its last user leaves.
pub(super) fn detach(mountpoint: &Path) -> io::Result<()> {
    if sys::is_root() { sys::unmount(mountpoint, true, false) } else { unmount_as_user(mountpoint, true) }
}

/// By fusermount3, which is allowed to unmount for the user who mounted.
///
/// # Errors
///
/// What it says; [`ErrorKind::ResourceBusy`] while somebody uses the mount.
pub(crate) fn unmount_as_user(mountpoint: &Path, lazy: bool) -> io::Result<()> {
    let ran = FUSERMOUNT.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(mountpoint).stdin(Stdio::null());
        command.output().ok()
    });
    let ran = ran.ok_or_else(|| io::Error::other("fusermount3 is missing"))?;
    let said = escaped(ran.stderr.trim_ascii()).to_string();
    match ran.status.success() {
        true => Ok(()),
        false if said.contains("busy") => Err(ErrorKind::ResourceBusy.into()),
        false => Err(io::Error::other(format!("fusermount3: {said}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_quotes_as_they_may_hold_commas() {
        let contexts = [("context", "u:r:t:s0:c1,c2"), ("rootcontext", "u:r:t:s0")];
        let contexts = contexts.map(|(name, label)| (name.to_owned(), label.to_owned()));
        assert_eq!(labels(&contexts), r#",context="u:r:t:s0:c1,c2",rootcontext="u:r:t:s0""#);
        assert_eq!(labels(&[]), "");
    }
}
