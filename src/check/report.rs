//! The report of a check as data, which is also its form for programs (`--json`).

use crate::check::diagnose::Found;
use crate::check::trouble::Level;
use crate::ftp::check::facts::Facts;
use crate::options;
use serde::Serialize;
use std::path::Path;

/// All that a check says.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub ftpsfs: &'static str,
    /// What was checked, without a password.
    pub url: String,
    /// The verdict in a word.
    pub verdict: Verdict,
    /// The exit status.
    pub status: u8,
    /// The verdict in a sentence.
    pub summary: String,
    /// The worst first.
    pub troubles: Vec<Found>,
    /// A command that mounts; `None` where none would.
    pub command: Option<String>,
    /// Commands to run before that line works: they make the mount point and ask for the file with the password.
    pub prepare: Option<String>,
    /// A line for /etc/fstab.
    pub fstab: Option<String>,
    /// Everything that was seen.
    pub facts: Facts,
}

/// Whether a mount works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Good,
    /// It does, with warnings.
    Warnings,
    /// It does not.
    Bad,
}

impl Verdict {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Warnings => 1,
            Self::Bad => 2,
        }
    }
}

impl Report {
    /// Judges.
    pub fn new(url: String, facts: Facts, troubles: Vec<Found>, paste: Paste) -> Self {
        let verdict = match troubles.iter().map(|found| found.level).max() {
            Some(Level::Error) => Verdict::Bad,
            Some(Level::Warning) => Verdict::Warnings,
            Some(Level::Note) | None => Verdict::Good,
        };
        let warnings = troubles.iter().filter(|found| found.level == Level::Warning).count();
        let summary = match (verdict, troubles.first()) {
            (Verdict::Bad, Some(worst)) => format!("CANNOT WORK: {}", worst.title),
            (Verdict::Warnings, _) if warnings == 1 => "WORKS, with a warning".to_owned(),
            (Verdict::Warnings, _) => format!("WORKS, with {warnings} warnings"),
            _ => "GOOD: a mount works".to_owned(),
        };
        let works = verdict != Verdict::Bad;
        let Paste { command, prepare, fstab } = paste;
        Self {
            ftpsfs: env!("CARGO_PKG_VERSION"),
            url,
            verdict,
            status: verdict.status(),
            summary,
            troubles,
            command: works.then_some(command),
            prepare: works.then_some(prepare),
            fstab: works.then_some(fstab),
            facts,
        }
    }
}

/// What a person may paste.
#[derive(Debug)]
pub struct Paste {
    command: String,
    prepare: String,
    fstab: String,
}

impl Paste {
    /// For `url`, as it was typed without its password, and the options that were given. `host` names the files; what is named
    /// from the working directory `here` is not there when the machine starts. `anonymous` needs no password.
    pub fn new(url: &str, host: &str, options: &[String], here: &Path, anonymous: bool) -> Self {
        let given =
            options.iter().filter(|option| !option.is_empty()).map(String::as_str).collect::<Vec<_>>().join(",");
        let has_file = options::split(&given).iter().any(|option| option.starts_with("credentials="));
        let file = format!("/etc/ftpsfs/{host}");
        let needs_file = !has_file && !anonymous;
        let credentials = if needs_file { format!("credentials={file}") } else { String::new() };
        let mountpoint = format!("/mnt/{host}");
        let absolute: Vec<String> = options::split(&given).iter().map(|option| absolute(option, here)).collect();
        let absolute = options::join(absolute.iter().map(String::as_str));
        let all = [&credentials, &absolute, "_netdev,nofail,x-systemd.automount"];
        let all = all.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",");
        let options = if given.is_empty() { String::new() } else { format!("-o {} ", quoted(&given)) };
        // By the shell itself, so that the password is in no list of processes and in no history.
        let ask = format!(
            "install -D -m 600 /dev/null {0} && IFS= read -rsp 'Password: ' word && printf 'password=%s\\n' \"$word\" >{0}",
            quoted(&file)
        );
        let make = format!("mkdir -p {}", quoted(&mountpoint));
        Self {
            prepare: if needs_file { format!("{make} && {ask}") } else { make },
            command: format!("ftpsfs {options}{} {mountpoint}", quoted(url)),
            fstab: format!("{}  {mountpoint}  ftpsfs  {}  0  0", in_fstab(url), in_fstab(&all)),
        }
    }
}

/// `name=FILE` with the file's absolute path.
fn absolute(option: &str, here: &Path) -> String {
    match option.split_once('=') {
        Some((name, path)) if options::names_a_place(name) && !path.starts_with('/') && !path.is_empty() => {
            format!("{name}={}", here.join(path).display())
        }
        _ => option.to_owned(),
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,=+%".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// fstab(5): spaces, tabs and backslashes are written in octal.
fn in_fstab(text: &str) -> String {
    text.replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011").replace('#', r"\043")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_is_quoted_for_its_place() {
        let here = Path::new("/etc");
        let options = ["ro,cafile=my ca.pem".to_owned(), "cache-dir=c".to_owned()];
        let paste = Paste::new("ftps://joe@h/it's", "h", &options, here, false);
        assert_eq!(
            paste.prepare,
            r#"mkdir -p /mnt/h && install -D -m 600 /dev/null /etc/ftpsfs/h && IFS= read -rsp 'Password: ' word && printf 'password=%s\n' "$word" >/etc/ftpsfs/h"#
        );
        assert_eq!(paste.command, r"ftpsfs -o 'ro,cafile=my ca.pem,cache-dir=c' 'ftps://joe@h/it'\''s' /mnt/h");
        assert_eq!(
            paste.fstab,
            r"ftps://joe@h/it's  /mnt/h  ftpsfs  credentials=/etc/ftpsfs/h,ro,cafile=/etc/my\040ca.pem,cache-dir=/etc/c,_netdev,nofail,x-systemd.automount  0  0"
        );
        let paste = Paste::new("ftps://h/", "h", &["credentials=/etc/c".to_owned()], here, false);
        assert_eq!(paste.prepare, "mkdir -p /mnt/h");
        assert_eq!(paste.command, "ftpsfs -o credentials=/etc/c ftps://h/ /mnt/h");
        assert_eq!(
            paste.fstab,
            "ftps://h/  /mnt/h  ftpsfs  credentials=/etc/c,_netdev,nofail,x-systemd.automount  0  0"
        );
        let paste = Paste::new("ftps://ftp@h/", "h", &[], here, true);
        assert_eq!(paste.prepare, "mkdir -p /mnt/h");
        assert_eq!(paste.fstab, "ftps://ftp@h/  /mnt/h  ftpsfs  _netdev,nofail,x-systemd.automount  0  0");
    }
}
