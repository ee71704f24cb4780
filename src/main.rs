//! ftpsfs(8): see the library of the same name.

use ftpsfs::cli::{self, Wish};
use ftpsfs::config::Config;
use ftpsfs::credentials::Sources;
use ftpsfs::failure::Failure;
use ftpsfs::{logger, mount, sys, unmount};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    sys::close_inherited_descriptors();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "ftpsfs: {failure}");
            ExitCode::from(failure.status.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    match cli::parse(std::env::args_os())? {
        Wish::Unmount(parting) => {
            logger::start(log::LevelFilter::Info);
            unmount::run(&parting)
        }
        Wish::Print(text) => write!(std::io::stdout(), "{text}").map_err(Failure::system),
        Wish::Mount(request, level) => {
            let sources = Sources::of_this_process();
            // Only now: with it, a user may no longer reach the memory in which arguments and environment were hidden.
            sys::forbid_dumps();
            logger::start(level);
            mount::run(Config::new(*request, sources)?)
        }
    }
}
