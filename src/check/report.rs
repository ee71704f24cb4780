//! The report of a check as data, which is also its form for programs (`--json`).

use crate::check::diagnose::Found;
use crate::check::paste::Paste;
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
    /// Commands that root runs before that line works: they make the mount point and ask for the file with the password.
    /// `None`, as the following, where nothing would mount.
    pub prepare: Option<String>,
    /// A command that mounts.
    pub command: Option<String>,
    /// A line for /etc/fstab.
    pub fstab: Option<String>,
    /// Who gets at the files by that line.
    pub note: Option<String>,
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
        let Paste { prepare, command, fstab, note } = paste;
        Self {
            ftpsfs: env!("CARGO_PKG_VERSION"),
            url,
            verdict,
            status: verdict.status(),
            summary,
            troubles,
            prepare: works.then_some(prepare),
            command: works.then_some(command),
            fstab: works.then_some(fstab),
            note: works.then_some(note),
            facts,
        }
    }
}
