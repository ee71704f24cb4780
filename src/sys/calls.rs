//! System calls that a process which only reads, writes and connects never makes, refused by the kernel (seccomp(2)): what
//! neither capabilities nor Landlock see to. Root may change the modes of root's files without any, and a port is bound by
//! listen(2) as well.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::io;

/// Refused whatever their arguments are.
const NEVER: &[i64] = &[
    // Modes and owners, which could make a program of root's of any file, and what goes around the rule for opening.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
    libc::SYS_openat2,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    // Programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Servers.
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The parts of the kernel in which most holes were found, and the machine as a whole.
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// The same number everywhere; not in every version of libc.
const SYS_FCHMODAT2: i64 = 452;

/// Refuses them with EPERM, in this thread and in all that it starts.
///
/// # Errors
///
/// Why the kernel does not, or that this processor's calls are not known.
pub fn refuse_calls() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|error| error.to_string())?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // Before Linux 5.16 a filter would slow down the processor in the whole thread, against programs that are not trusted and
    // run in the same memory: there are none here.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the instructions are laid out as the kernel wants them, their count is right, and they outlive the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().to_string()),
    }
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = NEVER.iter().map(|&call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_openat, opening(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening(1)?);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// A new file whose mode has one of the bits, its flags being the argument `flags` and its mode the next one.
fn opening(flags: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let has =
        |argument, bits| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), bits);
    let mut rules = Vec::new();
    for creates in
        [u64::from(libc::O_CREAT.unsigned_abs()), u64::from((libc::O_TMPFILE & !libc::O_DIRECTORY).unsigned_abs())]
    {
        // Set-user-ID and set-group-ID.
        for bit in [0o4000, 0o2000] {
            rules.push(SeccompRule::new(vec![has(flags, creates)?, has(flags + 1, bit)?])?);
        }
    }
    Ok(rules)
}
