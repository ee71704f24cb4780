//! What the standard library does not offer of Linux: every unsafe call, behind safe signatures.
#![allow(unsafe_code)]

// Its numbers are known for these.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls;
mod descriptors;
mod line;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub use calls::refuse_calls;
pub use descriptors::{allow_many_descriptors, fit_receive_buffer, unsent};
pub use line::Line;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io::{self, Read as _};
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

/// The two sides of [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// Here is the parent; the child has this process id.
    Parent(i32),
    /// Here is the child.
    Child,
}

/// Splits the process in two.
///
/// # Errors
///
/// The system's, and one of our own where the process already has a second thread: the child would have lost it, with
/// whatever locks it held.
pub fn fork() -> io::Result<Fork> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("cannot fork: there are other threads"));
    }
    // SAFETY: this is the only thread, so the child is a whole copy in which everything may be called.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// The number of the user `name` on this machine.
pub fn user_number(name: &[u8]) -> Option<u32> {
    let name = CString::new(name).ok()?;
    account_number(|buffer| {
        let mut entry = mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live memory, and `buffer` is as long as is said.
        let error = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: where it is not null it points to `entry`, which was filled.
        (error, unsafe { found.as_ref() }.map(|entry| entry.pw_uid))
    })
}

/// The number of the group `name` on this machine.
pub fn group_number(name: &[u8]) -> Option<u32> {
    let name = CString::new(name).ok()?;
    account_number(|buffer| {
        let mut entry = mem::MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live memory, and `buffer` is as long as is said.
        let error = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: where it is not null it points to `entry`, which was filled.
        (error, unsafe { found.as_ref() }.map(|entry| entry.gr_gid))
    })
}

/// Asks with more and more room, as a group may have many members.
fn account_number(mut ask: impl FnMut(&mut [u8]) -> (i32, Option<u32>)) -> Option<u32> {
    let mut room = 1024;
    loop {
        match ask(&mut vec![0; room]) {
            (libc::ERANGE, _) if room < ACCOUNT_BYTES_MAX => room *= 4,
            (_, number) => return number,
        }
    }
}

/// The longest entry of an account that is read (bytes).
const ACCOUNT_BYTES_MAX: usize = 1 << 20;

/// Locks `file` for whoever opened it, until that is closed (flock(2)); `false` where somebody else has locked it.
///
/// # Errors
///
/// The system's.
pub fn lock(file: &fs::File) -> io::Result<bool> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        },
    }
}

/// Opens the directory at `path`: not what a symbolic link there leads to.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::NotADirectory`] for a link.
pub fn open_directory(path: &Path) -> io::Result<fs::File> {
    fs::File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Opens `path` as `options` say: not what a symbolic link there leads to.
///
/// # Errors
///
/// The system's.
pub fn open_itself(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Waits until the child `pid` has ended.
pub fn wait_for(pid: i32) {
    let mut status = 0;
    // SAFETY: `status` is a live integer; a pid that is no child of ours is refused by the kernel.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Leaves the terminal's session and process group. Does nothing in a process that leads its group already.
pub fn leave_session() {
    // SAFETY: takes no memory.
    unsafe { libc::setsid() };
}

/// Points standard input, output and error at `/dev/null`: whoever waits for their end must not wait for us.
///
/// # Errors
///
/// The system's.
pub fn silence_standard_streams() -> io::Result<()> {
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: `null` is open, and the standard streams are nobody's to own.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes every descriptor but the standard streams, which the one who started us left open. To be called before this
/// process opens anything.
pub fn close_inherited_descriptors() {
    // SAFETY: `main` calls this first, so that no object of ours owns a descriptor above 2 yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}

/// Tells systemd how we are (sd_notify(3)), where it wants to know. There is nobody to tell where that fails.
pub fn notify_service_manager(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        path => SocketAddr::from_pathname(Path::new(OsStr::from_bytes(path))),
    };
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
}

/// Keeps core dumps and other processes of the user away from our memory, where a password lies.
pub fn forbid_dumps() {
    // SAFETY: takes no memory.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Neither this thread nor what it starts gets more rights by execve(2), whatever bits the file has. There is no way back.
pub fn forbid_new_privileges() {
    // SAFETY: takes no memory.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
}

/// Names this process as ps(1) shows it; the kernel keeps 15 bytes.
pub fn name_process(name: &CStr) {
    // SAFETY: the name ends with NUL and outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Where this processor's system calls are not known, none is refused.
///
/// # Errors
///
/// That it is so.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub fn refuse_calls() -> Result<(), String> {
    Err("not known for this processor".to_owned())
}

/// The real user and group.
pub fn user_and_group() -> (u32, u32) {
    // SAFETY: these cannot fail and take no memory.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// Who files belong to that this process makes.
pub fn effective_user() -> u32 {
    // SAFETY: cannot fail and takes no memory.
    unsafe { libc::geteuid() }
}

/// Whether this process may do what root may.
pub fn is_root() -> bool {
    effective_user() == 0
}

/// The time since the machine was started, the time that it slept included: what [`std::time::Instant`] leaves out, and what
/// a connection gets old by.
pub fn since_boot() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of ours, which the call fills.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    debug_assert_eq!(told, 0, "Linux has had this clock since 2.6.39");
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// The permission bits that the user takes away from new files.
pub fn umask() -> u16 {
    // SAFETY: takes no memory. The mask is put back at once; called before there are threads.
    let mask = unsafe {
        let mask = libc::umask(0o077);
        libc::umask(mask);
        mask
    };
    u16::try_from(mask & 0o777).unwrap_or(0o022)
}

/// The major and minor number of a device number.
pub fn major_and_minor(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// The device number of a major and a minor number.
pub fn device_number(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// How a file system is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountFlags {
    /// Programs on it are not run.
    pub noexec: bool,
    /// Nothing on it can be changed.
    pub read_only: bool,
    /// `noatime`
    pub noatime: bool,
    /// `relatime`
    pub relatime: bool,
    /// `strictatime`
    pub strictatime: bool,
    /// `nodiratime`
    pub nodiratime: bool,
    /// `nosymfollow`; Linux before 5.10 does not know it and follows.
    pub nosymfollow: bool,
}

/// Mounts without devices and set-user-id programs (mount(2)).
///
/// # Errors
///
/// The system's.
pub fn mount(source: &str, target: &Path, kind: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    let (source, target) = (CString::new(source)?, CString::new(target.as_os_str().as_bytes())?);
    let (kind, data) = (CString::new(kind)?, CString::new(data)?);
    let flags = [
        (flags.noexec, libc::MS_NOEXEC),
        (flags.read_only, libc::MS_RDONLY),
        (flags.noatime, libc::MS_NOATIME),
        (flags.relatime, libc::MS_RELATIME),
        (flags.strictatime, libc::MS_STRICTATIME),
        (flags.nodiratime, libc::MS_NODIRATIME),
        (flags.nosymfollow, libc::MS_NOSYMFOLLOW),
    ];
    let wanted = flags.iter().filter(|(wanted, _)| *wanted);
    let flags = wanted.fold(libc::MS_NOSUID | libc::MS_NODEV, |flags, (_, flag)| flags | flag);
    // SAFETY: all four strings end with NUL and outlive the call.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unmounts `target` (umount2(2)): out of sight at once if `lazy`, with requests that hang given up if `force`.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::ResourceBusy`] while somebody uses it.
pub fn unmount(target: &Path, lazy: bool, force: bool) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    let flags = [(lazy, libc::MNT_DETACH), (force, libc::MNT_FORCE)];
    let flags = flags.iter().filter(|(on, _)| *on).fold(libc::UMOUNT_NOFOLLOW, |flags, (_, flag)| flags | flag);
    // SAFETY: the path ends with NUL and outlives the call.
    let result = unsafe { libc::umount2(target.as_ptr(), flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks the file system that `path` lies on whether it lives (statfs(2)); opens nothing.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::NotConnected`] from a FUSE mount whose process has died.
pub fn ask_file_system(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: plain integers, filled in by the call.
    let mut answer: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: the path ends with NUL, and both outlive the call.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut answer) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The value of the extended attribute `name` of `path`, of `bytes_max` at most; of a link itself (lgetxattr(2)).
///
/// # Errors
///
/// The system's.
pub fn attribute(path: &Path, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name)?);
    let mut value = vec![0_u8; bytes_max];
    // SAFETY: both texts end in NUL, and `value` is as long as is said.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    Ok(value)
}

/// Makes this thread, and no other, one of another user's with nothing of root's; only root can, and there is no way back.
///
/// # Errors
///
/// The system's.
pub fn become_in_this_thread(user: u32, group: u32) -> io::Result<()> {
    // SAFETY: plain integers. Not by the C library, which would take all threads along.
    let become_that = |call, number: u32| match unsafe { libc::syscall(call, number, number, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    become_that(libc::SYS_setresgid, group)?;
    become_that(libc::SYS_setresuid, user)
}

/// How many columns and lines a terminal has; `None` where `stream` is none or does not know.
pub fn terminal_size(stream: &impl AsFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the request writes a `winsize`.
    let told = unsafe { libc::ioctl(stream.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) } == 0;
    (told && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// The signals that ask a program to end.
const TERMINATION: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
/// The signals that come from the keyboard or from outside while a password is typed.
const WHILE_TYPING: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP];

/// Holds back the signals that ask a program to end, for this thread and those that it starts.
pub fn block_termination() {
    mask(libc::SIG_BLOCK, TERMINATION);
}

/// Waits for one of the signals of [`block_termination`]; whether it was SIGHUP.
pub fn wait_for_termination() -> bool {
    let set = signals(TERMINATION);
    let mut signal = 0;
    // SAFETY: both point at live values.
    while unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {}
    signal == libc::SIGHUP
}

/// Goes over to another mount namespace (setns(2)); the working directory is its root then. To be called before there are
/// threads.
///
/// # Errors
///
/// The system's.
pub fn enter_mount_namespace(namespace: &fs::File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn signals(numbers: &[i32]) -> libc::sigset_t {
    // SAFETY: a signal set is plain bits, and sigemptyset gives them their meaning; the numbers are valid.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in numbers {
            libc::sigaddset(&raw mut set, *number);
        }
        set
    }
}

fn mask(how: i32, numbers: &[i32]) {
    let set = signals(numbers);
    // SAFETY: `set` is live, and no old mask is asked for.
    unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
}

fn is_pending(numbers: &[i32]) -> bool {
    let mut pending = signals(&[]);
    // SAFETY: `pending` is live, and the numbers are valid.
    unsafe {
        libc::sigpending(&raw mut pending);
        numbers.iter().any(|number| libc::sigismember(&raw const pending, *number) == 1)
    }
}

/// A terminal that does not show what is typed, until this is dropped. A signal waits for that, so that no shell is left
/// without echo.
#[derive(Debug)]
pub struct Quiet<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Box<Termios>>,
}

struct Termios(libc::termios);

impl std::fmt::Debug for Termios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Termios")
    }
}

impl<'a> Quiet<'a> {
    /// Takes the echo away.
    ///
    /// # Errors
    ///
    /// The system's, where it is not a terminal.
    pub fn new(terminal: &'a impl AsFd) -> io::Result<Self> {
        mask(libc::SIG_BLOCK, WHILE_TYPING);
        let mut quiet = Self { terminal: terminal.as_fd(), before: None };
        // SAFETY: plain integers, filled in by the call; the descriptor is open.
        let mut termios: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: as above.
        if unsafe { libc::tcgetattr(quiet.terminal.as_raw_fd(), &raw mut termios) } == -1 {
            return Err(io::Error::last_os_error());
        }
        quiet.before = Some(Box::new(Termios(termios)));
        termios.c_lflag &= !libc::ECHO;
        set_termios(quiet.terminal, &termios)?;
        Ok(quiet)
    }

    /// Waits until a line can be read; `false` when a signal wants to end us instead.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self) -> io::Result<bool> {
        while !is_pending(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT]) {
            if is_readable(self.terminal, Duration::from_millis(50))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = set_termios(self.terminal, &before.0);
        }
        mask(libc::SIG_UNBLOCK, WHILE_TYPING);
    }
}

fn set_termios(terminal: BorrowedFd<'_>, termios: &libc::termios) -> io::Result<()> {
    // SAFETY: `termios` came from tcgetattr, and the descriptor is open.
    let result = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, ptr::from_ref(termios)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_readable(descriptor: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one live entry, and the count says one.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// Reads to the end of `source`, at most `bytes_max` bytes and until `deadline`.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::TimedOut`].
pub fn read_until(
    source: &(impl AsFd + AsRawFd),
    into: &mut Vec<u8>,
    bytes_max: u64,
    deadline: Instant,
) -> io::Result<()> {
    let mut source_file = fs::File::from(source.as_fd().try_clone_to_owned()?).take(bytes_max);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !is_readable(source.as_fd(), left)? {
            continue;
        }
        let mut buffer = [0; 512];
        let count = source_file.read(&mut buffer)?;
        into.extend_from_slice(&buffer[..count]);
        buffer.fill(0);
        if count == 0 {
            return Ok(());
        }
    }
}

/// Takes a variable out of our environment and out of `/proc/self/environ`. To be called before there are threads.
pub fn take_variable(name: &str) -> Option<Vec<u8>> {
    let value = std::env::var_os(name)?;
    // SAFETY: `main` calls this before it starts a thread, so that nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
    let prefix = [name.as_bytes(), b"="].concat();
    let is_ours = |entry: &[u8]| entry.starts_with(&prefix).then_some(prefix.len()..entry.len());
    let _ = overwrite(Area::Environment, is_ours);
    Some(value.as_bytes().to_vec())
}

/// Overwrites the bytes `hidden` of each of our arguments that equals `whole`, so that ps(1) does not show them.
///
/// # Errors
///
/// The system's, where `/proc` is not there.
pub fn hide_in_arguments(whole: &[u8], hidden: &Range<usize>) -> io::Result<()> {
    overwrite(Area::Arguments, |argument| (argument == whole).then(|| hidden.clone()))
}

/// Where the kernel put the strings that execve(2) was given: fields of `/proc/self/stat`, as proc(5) counts them.
#[derive(Clone, Copy)]
enum Area {
    Arguments = 48,
    Environment = 50,
}

/// Overwrites with `x` what `hidden` chooses in each string of `area`.
fn overwrite(area: Area, hidden: impl Fn(&[u8]) -> Option<Range<usize>>) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, the program's name, may hold spaces; it ends at the last parenthesis.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let (Some(start), Some(end)) = (number(area as usize), number(area as usize + 1)) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    };
    // The kernel checks each address and writes for us: no pointer of ours is made.
    let memory = fs::File::options().read(true).write(true).open("/proc/self/mem")?;
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
    memory.read_exact_at(&mut bytes, start)?;
    let mut offset = start;
    for string in bytes.split(|&byte| byte == 0) {
        if let Some(range) = hidden(string) {
            memory.write_all_at(&vec![b'x'; range.len()], offset + range.start as u64)?;
        }
        offset += string.len() as u64 + 1;
    }
    bytes.fill(0);
    Ok(())
}
