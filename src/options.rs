//! The options of `-o`: the one table from which the parser, `--help` and the tests of the documents are made.

mod generic;
mod parts;
mod table;
mod typed;

pub use crate::values::Roots;
pub use generic::AccessTimes;
pub use parts::{join, split};
pub use table::OPTIONS;
pub use typed::Options;

use generic::GENERIC;
use std::fmt;

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
        let options = generic::with_whole_labels(split(argument));
        options.iter().filter(|option| !option.is_empty()).try_for_each(|option| self.set(option))
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        // Left out it would mount anew, over what is there.
        if name == "remount" {
            return Err(Error("a mount cannot be changed while it is there: umount it and mount it again".into()));
        }
        if self.take_generic(name, value) {
            return Ok(());
        }
        let Some(known) = OPTIONS.iter().find(|known| known.name == name || is_spelling_of(name, known.name)) else {
            let unknown = unknown(name);
            if self.sloppy {
                self.left_out.push(unknown.to_string());
                return Ok(());
            }
            return Err(unknown);
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

/// Whether a name differs in `-` for `_` alone: who remembers which of the two.
fn is_spelling_of(typed: &str, name: &str) -> bool {
    let dash = |byte: u8| if byte == b'_' { b'-' } else { byte };
    typed.bytes().map(dash).eq(name.bytes().map(dash))
}

/// Whether the value of the option is a file or a directory of this machine.
pub fn names_a_place(name: &str) -> bool {
    let known = OPTIONS.iter().find(|known| is_spelling_of(name, known.name));
    known.and_then(|known| known.argument).is_some_and(|argument| ["FILE", "DIR", "PEM"].contains(&argument))
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
    use crate::ftp::settings::TlsMode;
    use std::time::Duration;

    fn options(argument: &str) -> Options {
        let mut options = Options::default();
        options.add(argument).unwrap_or_else(|error| panic!("{argument}: {error}"));
        options
    }

    #[test]
    fn options_are_read_and_the_last_holds() {
        let options = options(
            r"user=a,user=b\,c,cache_size=1G,cache_dir_size=2t,attr_timeout=0.5,umask=077,tls=implicit,allow_other,rw,ro",
        );
        assert_eq!(options.user.as_deref(), Some("b,c"));
        assert_eq!((options.cache_bytes_max, options.cache_dir_bytes_max), (1 << 30, 2 << 40));
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
    fn a_label_of_selinux_may_hold_commas_in_quotes() {
        let options =
            options(r#"ro,context="system_u:object_r:x_t:s0:c1,c2",fscontext=a,rootcontext=b,fscontext=c,uid=5"#);
        let labels = [("context", "system_u:object_r:x_t:s0:c1,c2"), ("rootcontext", "b"), ("fscontext", "c")];
        assert_eq!(options.contexts, labels.map(|(name, label)| (name.to_owned(), label.to_owned())));
        assert_eq!(options.uid, Some(5));
    }

    #[test]
    fn a_bad_option_is_named_with_what_was_expected() {
        for (argument, expected) in [
            ("alow_other", r#"unknown option "alow_other"; did you mean "allow_other"?"#),
            ("cachesize=1M", r#"did you mean "cache_size"?"#),
            ("zzz", "--help"),
            ("remount", "umount it and mount it again"),
            ("password=hunter2", "credentials=FILE"),
            ("user=", "option user: the value is empty"),
            ("connections", "option connections needs a value: connections=N"),
            ("connections=0", "from 1 to 64"),
            ("connections=65", "from 1 to 64"),
            ("allow_other=1", "takes no value"),
            ("cache_size=1X", "32M"),
            ("cache_size=1K", "at least 1M"),
            ("cache_size=99999999999999999999G", "32M"),
            ("cache_size=1T", "32M"),
            ("cache_dir_size=1P", "4G or 1T"),
            ("cache_dir_size=", "4G or 1T"),
            ("cache_dir_size=+1G", "4G or 1T"),
            ("cache_dir_size=99999999T", "4G or 1T"),
            ("cache_dir_size=15M", "at least 16M"),
            ("cache_dir=", "the value is empty"),
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
