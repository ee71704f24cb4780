//! What was typed, each option read but not yet seen together with the others.

use crate::ftp::certificate::Pin;
use crate::ftp::charset::Wish as Charset;
use crate::ftp::settings::{TlsMode, Verify, Versions};
use crate::ftp::time::Zone;
use crate::options::AccessTimes;
use crate::values::Roots;
use crate::vfs::settings::{Conflict, IdMap, Prefetch, Settings as VfsSettings, UploadWay};
use log::LevelFilter;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The options as they were typed, each read but not yet seen together.
#[derive(Debug, Clone)]
pub struct Options {
    /// `user=`
    pub user: Option<String>,
    /// `port=`
    pub port: Option<u16>,
    /// `password_command=`
    pub password_command: Option<String>,
    /// `capath=`
    pub capath: Option<PathBuf>,
    /// `roots=`
    pub roots: Option<Roots>,
    /// `pin=`
    pub pins: Vec<Pin>,
    /// `tofu`
    pub tofu: bool,
    /// `known_servers=`
    pub known_servers: Option<PathBuf>,
    /// `insecure-no-verify`
    pub insecure_no_verify: bool,
    /// `cert=`
    pub cert: Option<PathBuf>,
    /// `key=`
    pub key: Option<PathBuf>,
    /// `tls_min=`
    pub versions: Versions,
    /// `credentials=`
    pub credentials: Option<PathBuf>,
    /// `cafile=`
    pub cafile: Option<PathBuf>,
    /// `tls=`
    pub tls: Option<TlsMode>,
    /// `charset=`
    pub charset: Charset,
    /// `ignore_case`
    pub ignore_case: bool,
    /// `connections=`
    pub connections: NonZeroUsize,
    /// `timeout=`
    pub timeout: Duration,
    /// `hard` was the last wish.
    pub hard: bool,
    /// `stale_ok=`
    pub stale_ok: bool,
    /// `cache_size=`
    pub cache_bytes_max: usize,
    /// `cache_dir=`
    pub cache_dir: Option<PathBuf>,
    /// `cache_dir_size=`
    pub cache_dir_bytes_max: u64,
    /// `attr_timeout=`
    pub attr_timeout: Duration,
    /// `dir_timeout=`
    pub dir_timeout: Duration,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
    /// `prefetch=`
    pub prefetch: Prefetch,
    /// `idmap=`
    pub idmap: IdMap,
    /// `file_mode=`
    pub file_mode: Option<u16>,
    /// `dir_mode=`
    pub dir_mode: Option<u16>,
    /// `umask=`
    pub umask: Option<u16>,
    /// `allow_other`
    pub allow_other: bool,
    /// `ro` was the last wish.
    pub read_only: bool,
    /// `upload=`
    pub upload: UploadWay,
    /// `verify=`
    pub verify: Verify,
    /// `writeback`
    pub writeback: bool,
    /// `conflict=`
    pub conflict: Conflict,
    /// `server_tz=`
    pub server_tz: Option<Zone>,
    /// `ignore_perms`
    pub ignore_perms: bool,
    /// `spool_dir=`
    pub spool_dir: Option<PathBuf>,
    /// `recovery_dir=`
    pub recovery_dir: Option<PathBuf>,
    /// `journal_dir=`
    pub journal_dir: Option<PathBuf>,
    /// `noatime`, `relatime`, `strictatime`
    pub access_times: AccessTimes,
    /// `nodiratime`
    pub no_directory_times: bool,
    /// `nosymfollow`
    pub nosymfollow: bool,
    /// `context=` and the like, by name; of each the last.
    pub contexts: Vec<(String, String)>,
    /// `delay_connect`
    pub delay_connect: bool,
    /// `mount_timeout=`
    pub mount_timeout: Duration,
    /// `log=`
    pub log: Option<PathBuf>,
    /// mount(8)'s `-s`: an option that is not known is left out.
    pub sloppy: bool,
    /// What was left out, in words.
    pub left_out: Vec<String>,
    /// `noexec`
    pub noexec: bool,
    /// `log_level=`
    pub level: LevelFilter,
    /// `debug`
    pub debug: bool,
}

impl Default for Options {
    fn default() -> Self {
        let vfs = VfsSettings::default();
        Self {
            user: None,
            port: None,
            password_command: None,
            capath: None,
            roots: None,
            pins: Vec::new(),
            tofu: false,
            known_servers: None,
            insecure_no_verify: false,
            cert: None,
            key: None,
            versions: Versions::default(),
            credentials: None,
            cafile: None,
            tls: None,
            charset: Charset::default(),
            ignore_case: false,
            connections: const { NonZeroUsize::new(4).unwrap() },
            timeout: Duration::from_secs(30),
            hard: false,
            stale_ok: vfs.stale_ok,
            cache_bytes_max: vfs.cache_bytes_max,
            cache_dir: None,
            cache_dir_bytes_max: 4 << 30,
            attr_timeout: vfs.attr_timeout,
            dir_timeout: vfs.dir_timeout,
            uid: None,
            gid: None,
            prefetch: vfs.prefetch,
            idmap: vfs.idmap,
            file_mode: None,
            dir_mode: None,
            umask: None,
            allow_other: false,
            read_only: false,
            upload: vfs.upload,
            verify: Verify::default(),
            writeback: false,
            conflict: vfs.conflict,
            server_tz: None,
            ignore_perms: false,
            spool_dir: None,
            recovery_dir: None,
            journal_dir: None,
            access_times: AccessTimes::default(),
            no_directory_times: false,
            nosymfollow: false,
            contexts: Vec::new(),
            delay_connect: false,
            mount_timeout: Duration::ZERO,
            log: None,
            sloppy: false,
            left_out: Vec::new(),
            noexec: false,
            level: LevelFilter::Info,
            debug: false,
        }
    }
}
