//! Which servers each test runs against.

use crate::support::mountpoint::Mount;
use crate::support::server::{Kind, Mode, Server, Spec, Tls};
use crate::support::tree;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::path::{Path, PathBuf};

/// A server, how it speaks TLS, and the tree that it serves.
#[derive(Debug)]
pub(crate) struct Case {
    /// The server.
    pub(crate) server: Server,
    /// What it serves, on the disk.
    pub(crate) disk: PathBuf,
    _turn: RwLockReadGuard<'static, ()>,
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
        Self { server: Server::start(Spec { root: disk.clone(), ..spec }), disk, _turn: turn }
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

/// The tree, made first where it is not there.
pub(crate) fn tree_root() -> PathBuf {
    crate::support::server::setup();
    tree::root()
}

/// Waits until no other test runs, and keeps others from starting: for what measures time.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write()
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

pub(crate) use {on_every_server, on_server, on_servers};
