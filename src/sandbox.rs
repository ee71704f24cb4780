//! What the process that talks to the server gives up before it hears the first byte from it: whatever takes it over can
//! reach little. Threads that start later are inside as well, those of before would not be.

use crate::sys;
use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What of Landlock is used where the kernel has it; an older kernel enforces what it knows. Later ones would also keep us
/// from the sockets of resolvers and syslog.
const NEWEST: ABI = ABI::V6;

/// What may still be read, besides what the caller names: who resolves names (glibc opens its configuration and modules
/// when it needs them, and the files change while we run, so that their directories count), and what libraries look up.
const READABLE: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
    "/var/lib/sss",
    "/proc/self",
    "/proc/sys",
    "/sys/devices/system/cpu",
    "/dev/urandom",
];
/// The kernel's requests come from the first, once for each thread.
const DEVICES: &[&str] = &["/dev/fuse", "/dev/null"];
/// May be links to anywhere.
const RESOLVER: &str = "/etc/resolv.conf";

/// What is still needed of the file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Files, and directories with all that is below them, that are read.
    pub readable: Vec<PathBuf>,
    /// Directories below which everything may be read and changed.
    pub writable: Vec<PathBuf>,
}

/// How far it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// What the kernel enforces of the rules for files and sockets, or why it does not.
    pub landlock: Result<&'static str, String>,
    /// Why the kernel does not refuse the system calls that are not needed, if it does not.
    pub calls: Result<(), String>,
    /// The capabilities that are left.
    pub capabilities: Vec<String>,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capabilities = if self.capabilities.is_empty() { "none".into() } else { self.capabilities.join(", ") };
        let landlock = match &self.landlock {
            Ok(enforced) => enforced,
            Err(error) => &*format!("not in force ({error})"),
        };
        let calls = match &self.calls {
            Ok(()) => "in force",
            Err(error) => &*format!("not in force ({error})"),
        };
        write!(f, "Landlock: {landlock}; seccomp: {calls}; capabilities: {capabilities}")
    }
}

/// Gives up everything but `rights`, connections to others, and the answers to the kernel: no program is started any more, no
/// file opened elsewhere, no mode or owner changed, no port of ours bound, no other process traced or signalled, nothing mounted. To be called while
/// there is one thread.
///
/// What this kernel does not offer is left out: the rest still holds.
pub fn enter(rights: &Rights) -> Extent {
    sys::forbid_dumps();
    sys::forbid_new_privileges();
    let landlock = restrict(rights).map_err(|error| error.to_string());
    let capabilities = give_up_capabilities(&rights.writable);
    Extent { landlock, calls: sys::refuse_calls(), capabilities }
}

fn restrict(rights: &Rights) -> Result<&'static str, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let special =
        AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo | AccessFs::MakeSym;
    let writing = all & !(BitFlags::from(AccessFs::Execute) | AccessFs::IoctlDev | special);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut scope = BitFlags::from(Scope::Signal);
    if !service_manager_is_abstract() {
        scope |= Scope::AbstractUnixSocket;
    }
    let resolver = fs::canonicalize(RESOLVER).ok().and_then(|file| Some(file.parent()?.to_owned()));
    let readable = READABLE.iter().map(PathBuf::from).chain(resolver).chain(rights.readable.iter().cloned());
    let status = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp)?
        .scope(scope)?
        .create()?
        .add_rules(path_beneath_rules(readable, reading))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(&rights.writable, writing))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "in force",
        RulesetStatus::PartiallyEnforced => "in force as far as this kernel knows it",
        RulesetStatus::NotEnforced => "this kernel has none",
    })
}

/// Where the service manager listens on a name that is no file, it must hear that we end.
fn service_manager_is_abstract() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| OsStr::as_encoded_bytes(&name).starts_with(b"@"))
}

/// Gives up all capabilities, those that programs could get again included, but the one that root needs in a directory of
/// somebody else. What is left is told.
fn give_up_capabilities(writable: &[PathBuf]) -> Vec<String> {
    // Tried without them: whether the way there can be gone is part of the question.
    let _ = caps::clear(None, CapSet::Effective);
    let all_are_ours = writable.iter().all(|directory| is_ours(directory));
    if let Ok(permitted) = caps::read(None, CapSet::Permitted) {
        let _ = caps::set(None, CapSet::Effective, &permitted);
    }
    keep_capabilities(if all_are_ours { &[] } else { &[Capability::CAP_DAC_OVERRIDE] });
    let left = caps::read(None, CapSet::Permitted).unwrap_or_default();
    left.iter().map(ToString::to_string).collect()
}

fn is_ours(directory: &Path) -> bool {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.uid() == sys::effective_user() => metadata.mode() & 0o300 == 0o300,
        Ok(metadata) => metadata.mode() & 0o003 == 0o003,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Gives up what mounting does not need, for the process that does nothing else.
pub fn keep_mounting() {
    sys::forbid_dumps();
    if sys::is_root() {
        sys::forbid_new_privileges();
        // The second leads to a mount point below a directory of somebody else.
        keep_capabilities(&[Capability::CAP_SYS_ADMIN, Capability::CAP_DAC_OVERRIDE]);
    }
}

/// Gives up all capabilities but `kept`.
fn keep_capabilities(kept: &[Capability]) {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let Ok(permitted) = caps::read(None, CapSet::Permitted) else { return };
    // A user has none, and may not change what is bound: no_new_privs sees to the programs there.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::runtime::thread_all_supported().difference(&kept) {
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
    }
    let left: CapsHashSet = permitted.intersection(&kept).copied().collect();
    let _ = caps::clear(None, CapSet::Inheritable);
    let _ = caps::set(None, CapSet::Effective, &left);
    let _ = caps::set(None, CapSet::Permitted, &left);
}
