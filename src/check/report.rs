//! The report of a check as data, which is also its form for programs (`--json`).

use crate::check::diagnose::Found;
use crate::check::trouble::Level;
use crate::ftp::check::facts::Facts;
use serde::Serialize;

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
        let Paste { command, fstab } = paste;
        Self {
            ftpsfs: env!("CARGO_PKG_VERSION"),
            url,
            verdict,
            status: verdict.status(),
            summary,
            troubles,
            command: works.then_some(command),
            fstab: works.then_some(fstab),
            facts,
        }
    }
}

/// What a person may paste.
#[derive(Debug)]
pub struct Paste {
    command: String,
    fstab: String,
}

impl Paste {
    /// For `url`, as it was typed without its password, and the options that were given. `host` names the files.
    pub fn new(url: &str, host: &str, options: &[String]) -> Self {
        let given =
            options.iter().filter(|option| !option.is_empty()).map(String::as_str).collect::<Vec<_>>().join(",");
        let has_file = given.split(',').any(|option| option.starts_with("credentials="));
        let credentials = if has_file { String::new() } else { format!("credentials=/etc/ftpsfs/{host}") };
        let mountpoint = format!("/mnt/{host}");
        let all = ["_netdev,nofail,x-systemd.automount", &credentials, &given];
        let all = all.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",");
        let options = if given.is_empty() { String::new() } else { format!("-o {} ", quoted(&given)) };
        Self {
            command: format!("ftpsfs {options}{} {mountpoint}", quoted(url)),
            fstab: format!("{}  {mountpoint}  ftpsfs  {}  0  0", in_fstab(url), in_fstab(&all)),
        }
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
        let options = ["ro,cafile=/etc/my ca.pem".to_owned()];
        let paste = Paste::new("ftps://joe@h/it's", "h", &options);
        assert_eq!(paste.command, r"ftpsfs -o 'ro,cafile=/etc/my ca.pem' 'ftps://joe@h/it'\''s' /mnt/h");
        assert_eq!(
            paste.fstab,
            r"ftps://joe@h/it's  /mnt/h  ftpsfs  _netdev,nofail,x-systemd.automount,credentials=/etc/ftpsfs/h,ro,cafile=/etc/my\040ca.pem  0  0"
        );
        let paste = Paste::new("ftps://h/", "h", &["credentials=/root/c".to_owned()]);
        assert_eq!(paste.command, "ftpsfs -o credentials=/root/c ftps://h/ /mnt/h");
        assert_eq!(
            paste.fstab,
            "ftps://h/  /mnt/h  ftpsfs  _netdev,nofail,x-systemd.automount,credentials=/root/c  0  0"
        );
    }
}
