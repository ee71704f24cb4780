//! The options of `-o`: the one table from which the parser, `--help` and the tests of the documents are made.

use crate::ftp::charset::Wish as Charset;
use crate::ftp::settings::{TlsMode, Verify};
use crate::ftp::time::Zone;
use crate::values::{
    charset, conflict, connections, flag, level, number, positive_seconds, seconds, size, text, tls, umask,
};
use crate::values::{idmap, mode, upload, verify, zone};
use crate::vfs::settings::{Conflict, IdMap, Settings as VfsSettings, UploadWay};
use log::LevelFilter;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// One option of the table.
#[derive(Debug)]
pub struct Known {
    /// What stands before the `=`.
    pub name: &'static str,
    /// What stands after it, in capitals; `None` for an option without a value.
    pub argument: Option<&'static str>,
    /// What it does, for `--help`.
    pub meaning: &'static str,
    /// What holds without it, for `--help`.
    pub default: Option<&'static str>,
    set: fn(&mut Options, &str) -> Result<(), String>,
}

/// All options, in the order of `--help`.
pub const OPTIONS: &[Known] = &[
    Known {
        name: "user",
        argument: Some("NAME"),
        meaning: "the account, where the URL names none",
        default: None,
        set: |options, value| text(value).map(|value| options.user = Some(value)),
    },
    Known {
        name: "credentials",
        argument: Some("FILE"),
        meaning: "lines username=NAME and password=WORD; only its owner may read it",
        default: None,
        set: |options, value| text(value).map(|value| options.credentials = Some(value.into())),
    },
    Known {
        name: "cafile",
        argument: Some("PEM"),
        meaning: "believe the certificate authorities in this file and no others",
        default: Some("Mozilla's roots, built in"),
        set: |options, value| text(value).map(|value| options.cafile = Some(value.into())),
    },
    Known {
        name: "tls",
        argument: Some("explicit|implicit"),
        meaning: "AUTH TLS after the greeting, or TLS from the first byte",
        default: Some("explicit; implicit on port 990"),
        set: |options, value| tls(value).map(|value| options.tls = Some(value)),
    },
    Known {
        name: "charset",
        argument: Some("NAME|auto"),
        meaning: "what names are in on the server, as windows-1252; auto finds out",
        default: Some("names are bytes"),
        set: |options, value| charset(value).map(|value| options.charset = value),
    },
    Known {
        name: "ignore_case",
        argument: None,
        meaning: "the server does not tell upper from lower case; of IIS that is known",
        default: None,
        set: |options, _| flag(&mut options.ignore_case),
    },
    Known {
        name: "connections",
        argument: Some("N"),
        meaning: "control connections at once, at most",
        default: Some("4"),
        set: |options, value| connections(value).map(|value| options.connections = value),
    },
    Known {
        name: "timeout",
        argument: Some("SECONDS"),
        meaning: "how long the server may take for one step",
        default: Some("30"),
        set: |options, value| positive_seconds(value).map(|value| options.timeout = value),
    },
    Known {
        name: "cache_size",
        argument: Some("N[K|M|G]"),
        meaning: "bytes of file content kept in memory, at most",
        default: Some("32M"),
        set: |options, value| size(value).map(|value| options.cache_bytes_max = value),
    },
    Known {
        name: "attr_timeout",
        argument: Some("SECONDS"),
        meaning: "how long size, time and mode of a file are believed",
        default: Some("30"),
        set: |options, value| seconds(value).map(|value| options.attr_timeout = value),
    },
    Known {
        name: "dir_timeout",
        argument: Some("SECONDS"),
        meaning: "how long a listing is believed",
        default: Some("30"),
        set: |options, value| seconds(value).map(|value| options.dir_timeout = value),
    },
    Known {
        name: "uid",
        argument: Some("N"),
        meaning: "who owns every file",
        default: Some("the mounting user"),
        set: |options, value| number(value).map(|value| options.uid = Some(value)),
    },
    Known {
        name: "gid",
        argument: Some("N"),
        meaning: "the group of every file",
        default: Some("the mounting user's"),
        set: |options, value| number(value).map(|value| options.gid = Some(value)),
    },
    Known {
        name: "idmap",
        argument: Some("none|numeric|name"),
        meaning: "whether files belong to whom they belong to on the server, by number or by name",
        default: Some("none"),
        set: |options, value| idmap(value).map(|value| options.idmap = value),
    },
    Known {
        name: "file_mode",
        argument: Some("OCTAL"),
        meaning: "permission bits of files of which the server tells none",
        default: Some("0666 without the umask"),
        set: |options, value| mode(value).map(|value| options.file_mode = Some(value)),
    },
    Known {
        name: "dir_mode",
        argument: Some("OCTAL"),
        meaning: "permission bits of directories of which the server tells none",
        default: Some("0777 without the umask"),
        set: |options, value| mode(value).map(|value| options.dir_mode = Some(value)),
    },
    Known {
        name: "umask",
        argument: Some("OCTAL"),
        meaning: "permission bits to take away",
        default: Some("the mounting user's"),
        set: |options, value| umask(value).map(|value| options.umask = Some(value)),
    },
    Known {
        name: "allow_other",
        argument: None,
        meaning: "let other users in, as the permission bits allow",
        default: None,
        set: |options, _| flag(&mut options.allow_other),
    },
    Known {
        name: "ro",
        argument: None,
        meaning: "mount read-only",
        default: None,
        set: |options, _| flag(&mut options.read_only),
    },
    Known {
        name: "rw",
        argument: None,
        meaning: "mount for reading and writing; so it does without",
        default: None,
        set: |options, _| {
            options.read_only = false;
            Ok(())
        },
    },
    Known {
        name: "upload",
        argument: Some("temporary|direct"),
        meaning: "write under another name and rename when whole, or in place",
        default: Some("temporary"),
        set: |options, value| upload(value).map(|value| options.upload = value),
    },
    Known {
        name: "verify",
        argument: Some("size|hash"),
        meaning: "check uploads by their size, or by the server's checksum as well",
        default: Some("size"),
        set: |options, value| verify(value).map(|value| options.verify = value),
    },
    Known {
        name: "writeback",
        argument: None,
        meaning: "close returns at once; the upload follows from a journal on this machine",
        default: None,
        set: |options, _| flag(&mut options.writeback),
    },
    Known {
        name: "conflict",
        argument: Some("refuse|overwrite"),
        meaning: "what happens to a file that changed on the server since it was opened",
        default: Some("refuse"),
        set: |options, value| conflict(value).map(|value| options.conflict = value),
    },
    Known {
        name: "server_tz",
        argument: Some("ZONE"),
        meaning: "in which time the server lists: UTC, +05:30 or Europe/Berlin",
        default: Some("found out"),
        set: |options, value| zone(value).map(|value| options.server_tz = Some(value)),
    },
    Known {
        name: "ignore_perms",
        argument: None,
        meaning: "chmod and chown that the server cannot do succeed and do nothing",
        default: None,
        set: |options, _| flag(&mut options.ignore_perms),
    },
    Known {
        name: "spool_dir",
        argument: Some("DIR"),
        meaning: "where content waits that is not written in order",
        default: Some("/var/tmp"),
        set: |options, value| text(value).map(|value| options.spool_dir = Some(value.into())),
    },
    Known {
        name: "recovery_dir",
        argument: Some("DIR"),
        meaning: "where content is kept that could not be uploaded",
        default: Some("/var/lib/ftpsfs/recovery; a user's ~/.local/state/ftpsfs/recovery"),
        set: |options, value| text(value).map(|value| options.recovery_dir = Some(value.into())),
    },
    Known {
        name: "journal_dir",
        argument: Some("DIR"),
        meaning: "where closed files wait for their upload with writeback",
        default: Some("/var/lib/ftpsfs/journal; a user's ~/.local/state/ftpsfs/journal"),
        set: |options, value| text(value).map(|value| options.journal_dir = Some(value.into())),
    },
    Known {
        name: "noexec",
        argument: None,
        meaning: "no program on the mount may be run",
        default: None,
        set: |options, _| flag(&mut options.noexec),
    },
    Known {
        name: "log_level",
        argument: Some("LEVEL"),
        meaning: "error, warn, info, debug or trace",
        default: Some("info"),
        set: |options, value| level(value).map(|value| options.level = value),
    },
    Known {
        name: "debug",
        argument: None,
        meaning: "stay in the foreground and log at debug",
        default: None,
        set: |options, _| flag(&mut options.debug),
    },
];

/// Generic options of mount(8) and fstab(5) that mean nothing here, or what holds anyway.
const GENERIC: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "nofail",
    "exec",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "async",
    "sync",
    "dirsync",
    "default_permissions",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "diratime",
    "nodiratime",
];

/// The options as they were typed, each read but not yet seen together.
#[derive(Debug, Clone)]
pub struct Options {
    /// `user=`
    pub user: Option<String>,
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
    /// `cache_size=`
    pub cache_bytes_max: usize,
    /// `attr_timeout=`
    pub attr_timeout: Duration,
    /// `dir_timeout=`
    pub dir_timeout: Duration,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
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
            credentials: None,
            cafile: None,
            tls: None,
            charset: Charset::default(),
            ignore_case: false,
            connections: const { NonZeroUsize::new(4).unwrap() },
            timeout: Duration::from_secs(30),
            cache_bytes_max: vfs.cache_bytes_max,
            attr_timeout: vfs.attr_timeout,
            dir_timeout: vfs.dir_timeout,
            uid: None,
            gid: None,
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
            noexec: false,
            level: LevelFilter::Info,
            debug: false,
        }
    }
}

/// Why an option was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Options {
    /// Takes the options of one `-o` argument; of an option that comes twice the last holds.
    ///
    /// # Errors
    ///
    /// [`Error`] names the option and what is wrong with it.
    pub fn add(&mut self, argument: &str) -> Result<(), Error> {
        split(argument).iter().filter(|option| !option.is_empty()).try_for_each(|option| self.set(option))
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if is_generic(name, value) {
            return Ok(());
        }
        let Some(known) = OPTIONS.iter().find(|known| known.name == name) else {
            return Err(unknown(name));
        };
        match (known.argument, value) {
            (Some(argument), None) => Err(Error(format!("option {name} needs a value: {name}={argument}"))),
            (None, Some(_)) => Err(Error(format!("option {name} takes no value"))),
            (_, value) => {
                (known.set)(self, value.unwrap_or_default()).map_err(|why| Error(format!("option {name}: {why}")))
            }
        }
    }
}

fn is_generic(name: &str, value: Option<&str>) -> bool {
    // `user` alone is fstab's, `user=NAME` is ours.
    (value.is_none() && GENERIC.contains(&name))
        || name == "comment"
        || name.starts_with("x-")
        || name.starts_with("X-")
}

fn unknown(name: &str) -> Error {
    if matches!(name, "pass" | "passwd" | "password") {
        return Error("a password in the options is open to everybody: put it into a file for credentials=FILE".into());
    }
    let near = OPTIONS
        .iter()
        .map(|known| (distance(name, known.name), known.name))
        .chain(GENERIC.iter().map(|generic| (distance(name, generic), *generic)))
        .min()
        .filter(|(distance, near)| *distance <= 1 + near.len() / 4);
    match near {
        Some((_, near)) => Error(format!("unknown option {name:?}; did you mean {near:?}?")),
        None => Error(format!("unknown option {name:?}; ftpsfs --help lists them")),
    }
}

/// How many letters must be put in, taken out or changed to make one of the other (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut next = vec![index + 1];
        for (column, (pair, theirs)) in row.windows(2).zip(&other).enumerate() {
            let (diagonal, above, left) = (pair[0], pair[1], next[column]);
            next.push((diagonal + usize::from(letter != *theirs)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Parts `argument` at its commas. `\,` stands for a comma and `\\` for a backslash; another `\` is itself.
pub fn split(argument: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next_if(|next| matches!(next, ',' | '\\'))).flatten();
        match (escaped, character, parts.last_mut()) {
            (None, ',', _) => parts.push(String::new()),
            (Some(literal), _, Some(part)) | (None, literal, Some(part)) => part.push(literal),
            (_, _, None) => unreachable!("there is always a last part"),
        }
    }
    parts
}

/// Puts options together so that [`split`] gives them back.
pub fn join<'a>(options: impl IntoIterator<Item = &'a str>) -> String {
    let escape = |option: &str| option.replace('\\', r"\\").replace(',', r"\,");
    options.into_iter().map(escape).collect::<Vec<_>>().join(",")
}

/// The table as `--help` prints it.
pub fn help() -> String {
    let line = |known: &Known| {
        let head =
            known.argument.map_or_else(|| known.name.to_owned(), |argument| format!("{}={argument}", known.name));
        let tail = known.default.map(|default| format!(" [{default}]")).unwrap_or_default();
        format!("  {head:<24}{}{tail}\n", known.meaning)
    };
    OPTIONS.iter().map(line).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(argument: &str) -> Options {
        let mut options = Options::default();
        options.add(argument).unwrap_or_else(|error| panic!("{argument}: {error}"));
        options
    }

    #[test]
    fn options_are_read_and_the_last_holds() {
        let options =
            options(r"user=a,user=b\,c,cache_size=1G,attr_timeout=0.5,umask=077,tls=implicit,allow_other,rw,ro");
        assert_eq!(options.user.as_deref(), Some("b,c"));
        assert_eq!(options.cache_bytes_max, 1 << 30);
        assert_eq!(options.attr_timeout, Duration::from_millis(500));
        assert_eq!(options.umask, Some(0o077));
        assert_eq!(options.tls, Some(TlsMode::Implicit));
        assert!(options.allow_other && options.read_only);
    }

    #[test]
    fn what_fstab_brings_along_is_taken() {
        let line = "rw,noauto,user,_netdev,nofail,x-systemd.automount,comment=foo,nodev,nosuid,noatime,defaults,,exec";
        assert_eq!(options(line).user, None);
    }

    #[test]
    fn a_bad_option_is_named_with_what_was_expected() {
        for (argument, expected) in [
            ("alow_other", r#"unknown option "alow_other"; did you mean "allow_other"?"#),
            ("cachesize=1M", r#"did you mean "cache_size"?"#),
            ("zzz", "--help"),
            ("password=hunter2", "credentials=FILE"),
            ("user=", "option user: the value is empty"),
            ("connections", "option connections needs a value: connections=N"),
            ("connections=0", "from 1 to 64"),
            ("connections=65", "from 1 to 64"),
            ("allow_other=1", "takes no value"),
            ("cache_size=1X", "32M"),
            ("cache_size=1K", "at least 1M"),
            ("cache_size=99999999999999999999G", "32M"),
            ("attr_timeout=-1", "seconds"),
            ("attr_timeout=inf", "seconds"),
            ("dir_timeout=1e99", "seconds"),
            ("timeout=0", "more than 0"),
            ("idmap=yes", "neither none, numeric nor name"),
            ("file_mode=10000", "octal"),
            ("dir_mode=-1", "octal"),
            ("umask=8", "octal"),
            ("umask=1777", "octal"),
            ("server_tz=Mars/Olympus", "Europe/Berlin"),
            ("server_tz=+25", "Europe/Berlin"),
            ("uid=joe", "must be a number"),
            ("uid=4294967295", "must be a number"),
            ("charset=utf-16", "in which ASCII is itself"),
            ("tls=none", "explicit or implicit"),
            ("log_level=loud", "trace"),
        ] {
            let error = Options::default().add(argument).expect_err(argument).to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{argument}: {error}");
        }
    }

    #[test]
    fn a_backslash_keeps_a_comma_and_only_that() {
        assert_eq!(split(r"a\,b,c\\,d\e\"), [r"a,b", r"c\", r"d\e\"]);
        assert_eq!(join(["a,b", r"c\", "d"]), r"a\,b,c\\,d");
    }

    #[test]
    fn names_are_not_taken_twice() {
        for known in OPTIONS {
            assert_eq!(OPTIONS.iter().filter(|other| other.name == known.name).count(), 1, "{}", known.name);
        }
    }
}
