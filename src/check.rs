//! `ftpsfs check URL`: what a mount would meet, in plain words.

pub mod paste;
pub mod trouble;

pub mod diagnose;
pub mod report;
pub mod screen;

use crate::config::{self, Config, Request};
use crate::credentials::Sources;
use crate::failure::Failure;
use crate::ftp::check::facts::{Stage, Version};
use crate::ftp::check::{self, Wishes};
use crate::ftp::settings::{Settings, TlsMode};
use crate::logger;
use crate::sandbox;
use crate::sys;
use log::LevelFilter;
use paste::{Checked, Paste};
use report::Report;
use std::io::{self, IsTerminal as _, Write as _};

/// What the command line asks for.
#[derive(Debug)]
pub struct Check {
    /// The server, the directory and the options, as for a mount.
    pub request: Request,
    /// The options as they were typed.
    pub typed: Vec<String>,
    /// `--json`
    pub json: bool,
    /// `--trace`
    pub trace: bool,
    /// `--write` and `--limits`
    pub wishes: Wishes,
}

/// Checks, prints the report and gives the exit status.
///
/// # Errors
///
/// A [`Failure`] where the command line does not hold together, or nobody takes the report.
pub fn run(check: Check, sources: Sources) -> Result<u8, Failure> {
    let Check { request, typed, json, trace, wishes } = check;
    let url = request.url.clone();
    logger::start(LevelFilter::Warn);
    let config = Config::new(request, sources)?;
    if trace {
        logger::trace();
    } else {
        // What there is to say is in the report.
        log::set_max_level(LevelFilter::Off);
    }
    sandbox::enter(&config::rights_of(&config.ftp.trust));
    let progress = Progress { is_shown: io::stderr().is_terminal() && !trace };
    let facts = check::examine(&config.ftp, wishes, &mut |stage| progress.tell(stage));
    progress.end();
    let troubles = diagnose::diagnose(&facts, &config.ftp);
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let usual = match config.ftp.tls {
        TlsMode::Explicit => Settings::PORT_EXPLICIT,
        TlsMode::Implicit => Settings::PORT_IMPLICIT,
    };
    let paste = Paste::new(&Checked {
        url: &url,
        user: &config.ftp.user,
        port: Some(config.ftp.port).filter(|port| *port != usual),
        anonymous: config.is_anonymous(),
        options: &typed,
        here: &here,
        user_and_group: (!sys::is_root()).then(sys::user_and_group),
    });
    let report = Report::new(url.shown, facts, troubles, paste);
    let text = match json {
        true => serde_json::to_string_pretty(&report).map_err(Failure::system)? + "\n",
        false => screen::show(&report, has_colours()),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::system)?;
    Ok(report.status)
}

/// See <https://no-color.org>.
fn has_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// A line that is written over, for whoever waits at a terminal.
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn tell(&self, stage: Stage) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[2K{} …", words(stage));
        }
    }

    fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connecting",
        Stage::OtherMode => "trying TLS without a greeting",
        Stage::Look => "asking what the server can",
        Stage::List => "listing the directory",
        Stage::Reuse(Version::Tls13) => "trying session reuse in TLS 1.3",
        Stage::Reuse(Version::Tls12) => "trying session reuse in TLS 1.2",
        Stage::Passive => "trying data ports",
        Stage::Upload => "storing a scratch file",
        Stage::Connections => "counting connections",
    }
}
