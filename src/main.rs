//! ftpsfs(8): see the library of the same name.

use ftpsfs::cli::{self, Wish};
use ftpsfs::config::Config;
use ftpsfs::credentials::Sources;
use ftpsfs::failure::{Failure, Status};
use ftpsfs::{check, inspect, logger, mount, sys, unmount};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    sys::close_inherited_descriptors();
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "ftpsfs: {failure}");
            ExitCode::from(failure.status.code())
        }
    }
}

fn run() -> Result<u8, Failure> {
    match cli::parse(std::env::args_os())? {
        Wish::Unmount(parting) => {
            logger::start(log::LevelFilter::Info);
            unmount::run(&parting).map(|()| 0)
        }
        Wish::Print(text) => write!(std::io::stdout(), "{text}").map(|()| 0).map_err(Failure::system),
        Wish::Check(wanted) => {
            let sources = Sources::of_this_process();
            sys::forbid_dumps();
            // 1 is what a check says of a server that works with warnings.
            check::run(*wanted, sources).map_err(|failure| Failure { status: Status::System, ..failure })
        }
        Wish::Status(inspection) => inspect::status(&inspection).map(|()| 0),
        Wish::Refresh(paths) => paths.iter().try_for_each(|path| inspect::refresh(path)).map(|()| 0),
        Wish::Mount(request, level) => {
            let sources = Sources::of_this_process();
            // Only now: with it, a user may no longer reach the memory in which arguments and environment were hidden.
            sys::forbid_dumps();
            logger::start(level);
            mount::run(Config::new(*request, sources)?).map(|()| 0)
        }
    }
}
