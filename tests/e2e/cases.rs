//! Which servers each test runs against.

use crate::support::mountpoint::Mount;
use crate::support::run::{PATIENCE, finish, within};
use crate::support::server::{Kind, Mode, Server, Spec, Tls, USER, run_directory};
use crate::support::tree;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A server, how it speaks TLS, and the tree that it serves.
#[derive(Debug)]
pub(crate) struct Case {
    /// The server.
    pub(crate) server: Server,
    /// What it serves, on the disk.
    pub(crate) disk: PathBuf,
    _turn: RwLockReadGuard<'static, ()>,
    _fresh: Option<Fresh>,
}

impl Case {
    /// Starts `kind` over the shared tree.
    pub(crate) fn start(kind: Kind, tls: Tls, mode: Mode) -> Self {
        Self::of(Spec { tls, mode, ..Spec::new(kind, tree_root()) })
    }

    /// Starts what `spec` says, whose root is replaced by the shared tree.
    pub(crate) fn of(spec: Spec) -> Self {
        let turn = TURNS.read();
        let disk = tree_root();
        Self { server: Server::start(Spec { root: disk.clone(), ..spec }), disk, _turn: turn, _fresh: None }
    }

    /// Starts `kind` over an empty directory, in which the account may write.
    pub(crate) fn empty(kind: Kind, tls: Tls) -> Self {
        Self::empty_of(Spec { tls, ..Spec::new(kind, "/") })
    }

    /// Starts what `spec` says, whose root is replaced by an empty directory.
    pub(crate) fn empty_of(spec: Spec) -> Self {
        Self::over(spec, Fresh::new())
    }

    /// Starts what `spec` says over `fresh`.
    pub(crate) fn over(spec: Spec, fresh: Fresh) -> Self {
        let turn = TURNS.read();
        let disk = fresh.path.clone();
        Self { server: Server::start(Spec { root: disk.clone(), ..spec }), disk, _turn: turn, _fresh: Some(fresh) }
    }

    /// Mounts the server for writing.
    pub(crate) fn mount_rw(&self, options: &[&str]) -> Mount {
        Mount::new(&self.server, &[&["rw"], options].concat())
    }

    /// A directory for a journal that outlives a mount, beside what is served.
    pub(crate) fn journal(&self) -> PathBuf {
        self.disk.with_file_name("journal")
    }

    /// Writes a file on the server's disk, for the account.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.disk.join(name);
        fs::write(&path, content).unwrap();
        give(&path);
        path
    }

    /// Mounts the server.
    pub(crate) fn mount(&self, options: &[&str]) -> Mount {
        Mount::new(&self.server, options)
    }

    /// Whether the server resumes TLS sessions at all.
    pub(crate) fn resumes(&self) -> bool {
        (self.server.spec.kind, self.server.spec.tls) != (Kind::PureFtpd, Tls::V13)
    }

    /// Whether the server keeps a log of commands.
    pub(crate) fn logs_commands(&self) -> bool {
        self.server.spec.kind != Kind::PureFtpd
    }
}

/// An empty directory of the account's, which goes with its value.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// Where it is.
    pub(crate) path: PathBuf,
    around: PathBuf,
}

impl Fresh {
    pub(crate) fn new() -> Self {
        crate::support::server::setup();
        let around = run_directory();
        let path = around.join("served");
        fs::create_dir(&path).unwrap();
        give(&path);
        Self { path, around }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.around);
        }
    }
}

/// Makes the account the owner of `path`.
pub(crate) fn give(path: &Path) {
    static ACCOUNT: OnceLock<(u32, u32)> = OnceLock::new();
    let (uid, gid) = *ACCOUNT.get_or_init(|| {
        let id = |which| finish(within(PATIENCE, "id").args([which, USER])).succeeded().trim().parse().unwrap();
        (id("-u"), id("-g"))
    });
    chown(path, Some(uid), Some(gid)).unwrap();
}

/// The tree, made first where it is not there.
pub(crate) fn tree_root() -> PathBuf {
    crate::support::server::setup();
    tree::root()
}

/// Waits until no other test runs, and keeps others from starting: for what measures time.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write()
}

/// Lets other tests run at the same time, but none that measures: for what starts its servers itself.
pub(crate) fn among_others() -> RwLockReadGuard<'static, ()> {
    TURNS.read()
}

/// The same path under two roots.
pub(crate) fn both<'a>(disk: &'a Path, mount: &'a Path, path: &str) -> (PathBuf, PathBuf) {
    (disk.join(path), mount.join(path))
}

static TURNS: RwLock<()> = RwLock::new(());

/// Makes a module for each server and mode, with a test for each function named.
macro_rules! on_every_server {
    ($($test:ident),* $(,)?) => {
        crate::cases::on_servers! {
            [$($test),*]
            vsftpd_tls12: Vsftpd V12 Explicit,
            vsftpd_tls13: Vsftpd V13 Explicit,
            vsftpd_tls12_implicit: Vsftpd V12 Implicit,
            vsftpd_tls13_implicit: Vsftpd V13 Implicit,
            proftpd_tls12: Proftpd V12 Explicit,
            proftpd_tls13: Proftpd V13 Explicit,
            proftpd_tls12_implicit: Proftpd V12 Implicit,
            proftpd_tls13_implicit: Proftpd V13 Implicit,
            pureftpd_tls12: PureFtpd V12 Explicit,
            pureftpd_tls13: PureFtpd V13 Explicit,
            pyftpdlib_tls12: Pyftpdlib V12 Explicit,
            pyftpdlib_tls13: Pyftpdlib V13 Explicit,
        }
    };
}

/// Makes a module for each server, in TLS 1.3 over an empty directory, with a test for each function named.
macro_rules! on_every_empty_server {
    ($($test:ident),* $(,)?) => {
        crate::cases::on_empty_servers! {
            [$($test),*]
            vsftpd: Vsftpd V13,
            proftpd: Proftpd V13,
            pureftpd: PureFtpd V13,
            pyftpdlib: Pyftpdlib V13,
        }
    };
}

/// As [`on_every_empty_server`], on those named.
macro_rules! on_empty_servers {
    ($tests:tt $($name:ident: $kind:ident $tls:ident),* $(,)?) => {
        $(crate::cases::on_empty_server!($name $kind $tls $tests);)*
    };
}

macro_rules! on_empty_server {
    ($name:ident $kind:ident $tls:ident [$($test:ident),*]) => {
        mod $name {
            use crate::cases::Case;
            use crate::support::server::{Kind, Tls};
            $(
                #[test]
                fn $test() {
                    super::$test(&Case::empty(Kind::$kind, Tls::$tls));
                }
            )*
        }
    };
}

/// As [`on_every_server`], on those named.
macro_rules! on_servers {
    ($tests:tt $($name:ident: $kind:ident $tls:ident $mode:ident),* $(,)?) => {
        $(crate::cases::on_server!($name $kind $tls $mode $tests);)*
    };
}

macro_rules! on_server {
    ($name:ident $kind:ident $tls:ident $mode:ident [$($test:ident),*]) => {
        mod $name {
            use crate::cases::Case;
            use crate::support::server::{Kind, Mode, Tls};
            $(
                #[test]
                fn $test() {
                    super::$test(&Case::start(Kind::$kind, Tls::$tls, Mode::$mode));
                }
            )*
        }
    };
}

pub(crate) use {on_empty_server, on_empty_servers, on_every_empty_server};
pub(crate) use {on_every_server, on_server, on_servers};
