//! Starts one of the tests' FTPS servers by hand, as root:
//! `cargo run --example lab -- (vsftpd|proftpd|pure-ftpd|pyftpdlib) (12|13) (explicit|implicit) DIRECTORY`.
//!
//! It prints how to reach it, and runs until its standard input ends (or Ctrl-C).
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use support::server::{Kind, Mode, Server, Spec, Tls, USER};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(spec) = parse(&arguments) else {
        eprintln!("usage: lab vsftpd|proftpd|pure-ftpd|pyftpdlib 12|13 explicit|implicit DIRECTORY");
        return ExitCode::FAILURE;
    };
    let server = Server::start(spec);
    println!("port={} user={USER} password={}", server.port, server.password);
    println!("cafile={}", server.cafile.display());
    println!("log={}", server.cafile.with_file_name("log").display());
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<Spec> {
    let [kind, tls, mode, root] = arguments else { return None };
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
    Some(Spec { tls, mode, ..Spec::new(kind, root) })
}
