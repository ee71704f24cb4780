//! What users do, across a link, timed and counted beside the programs that they would use instead: `make bench`.
//!
//! Each workload runs on a fresh mount (cold caches). Results are kept in `target/network-bench.jsonl`, the newest of each
//! kind, so that a table can be put together from several runs; `--write` makes docs/benchmarks.md and its chart of them.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for developers")]
#![allow(unreachable_pub, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod place;
mod work;

mod arguments;
mod memory;
mod peers;
mod results;

mod chart;
mod report;
mod run;

use arguments::Arguments;
use std::path::Path;
use std::process::ExitCode;
use work::Workload;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    // Ourselves, started by `run`.
    if let [do_it, name, mount, tree, scratch] = &words[..]
        && do_it == "--do"
    {
        let workload = Workload::named(name).expect("we named it");
        workload.work(Path::new(mount), Path::new(tree), Path::new(scratch));
        return ExitCode::SUCCESS;
    }
    // And by `peers`.
    if let [serve, tree, part, point] = &words[..]
        && serve == "--serve"
    {
        memory::serve(Path::new(tree), part, Path::new(point));
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::FAILURE;
        }
    };
    run::run(&arguments);
    if arguments.writes {
        report::write(&results::load());
    }
    ExitCode::SUCCESS
}
