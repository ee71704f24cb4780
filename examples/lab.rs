//! Starts one of the tests' FTPS servers by hand, as root:
//! `cargo run --example lab -- (vsftpd|proftpd|pure-ftpd|pyftpdlib) (12|13) (explicit|implicit) DIRECTORY [LINK…]`.
//!
//! With `--rtt 20ms`, `--rate 100M` (bits a second) or `--loss 0.1%` it runs at the far end of such a link, and the words
//! are printed that run a command at the near end.
//!
//! It prints how to reach it, and runs until its standard input ends (or Ctrl-C).
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use support::link::{End, Link, Quality};
use support::server::{Kind, Mode, Server, Spec, Tls, USER};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(spec) = parse(&arguments) else {
        eprintln!("usage: lab vsftpd|proftpd|pure-ftpd|pyftpdlib 12|13 explicit|implicit DIRECTORY");
        eprintln!("           [--rtt 20ms] [--rate 100M] [--loss 0.1%] [--seed 1]");
        return ExitCode::FAILURE;
    };
    let server = Server::start(spec);
    println!("port={} user={USER} password={}", server.port, server.password);
    println!("cafile={}", server.cafile.display());
    println!("log={}", server.cafile.with_file_name("log").display());
    println!("url={}", server.url(""));
    if let Some(link) = &server.spec.link {
        println!("prefix={}", link.prefix(End::Client).join(" "));
    }
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<Spec> {
    let [kind, tls, mode, root, link @ ..] = arguments else { return None };
    let root = std::fs::canonicalize(root).ok()?;
    let kind = match kind.as_str() {
        "vsftpd" => Kind::Vsftpd,
        "proftpd" => Kind::Proftpd,
        "pure-ftpd" => Kind::PureFtpd,
        "pyftpdlib" => Kind::Pyftpdlib,
        _ => return None,
    };
    let tls = match tls.as_str() {
        "12" => Tls::V12,
        "13" => Tls::V13,
        _ => return None,
    };
    let mode = match mode.as_str() {
        "explicit" => Mode::Explicit,
        "implicit" => Mode::Implicit,
        _ => return None,
    };
    let link = match link {
        [] => None,
        options => Some(Arc::new(Link::new(parse_link(options)?))),
    };
    Some(Spec { tls, mode, link, ..Spec::new(kind, root) })
}

fn parse_link(options: &[String]) -> Option<Quality> {
    let mut quality = Quality::delayed(Duration::ZERO);
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        support::link::parse(name.strip_prefix("--")?, value, &mut quality)?;
    }
    Some(quality)
}
