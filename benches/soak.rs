//! `make soak`: everyday use of a mount across a link while something fails every few seconds. It prints figures, and fails
//! if anything was wrong, lost or hung. As root.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;
use support::server::Kind;
use support::soak::{Plan, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(plan) = parse(&arguments) else {
        eprintln!("usage: soak [--seconds 1800] [--seed 1] [--timeout 10] [--server vsftpd|proftpd|pure-ftpd]");
        return ExitCode::FAILURE;
    };
    let figures = run(plan);
    print!("{figures}");
    let broken = figures.broken();
    for what in &broken {
        println!("broken: {what}");
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("the log, of when a call waited longest while nothing moved and of the end:\n{}", figures.log);
    ExitCode::FAILURE
}

fn parse(arguments: &[String]) -> Option<Plan> {
    let seconds = |value: &str| value.parse().ok().map(Duration::from_secs);
    let mut plan =
        Plan { kind: Kind::Proftpd, duration: Duration::from_secs(1800), seed: 1, timeout: Duration::from_secs(10) };
    for option in arguments.chunks(2) {
        let [name, value] = option else { return None };
        match name.as_str() {
            "--seconds" => plan.duration = seconds(value)?,
            "--timeout" => plan.timeout = seconds(value)?,
            "--seed" => plan.seed = value.parse().ok()?,
            "--server" => {
                plan.kind = match value.as_str() {
                    "vsftpd" => Kind::Vsftpd,
                    "proftpd" => Kind::Proftpd,
                    "pure-ftpd" => Kind::PureFtpd,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(plan)
}
