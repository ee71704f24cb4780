//! Everyday use while something fails every few seconds: a minute of what `make soak` does for half an hour.

use crate::cases::among_others;
use crate::support::server::Kind;
use crate::support::soak::{Plan, run};
use std::time::Duration;

#[test]
fn a_minute_of_faults_loses_nothing_and_hangs_nobody() {
    let _turn = among_others();
    let plan = Plan {
        kind: Kind::Proftpd,
        duration: Duration::from_secs(60),
        // The same faults at each run, so that a failure is nobody's bad luck; `FTPSFS_TEST_SEED` tries others.
        seed: std::env::var("FTPSFS_TEST_SEED").map_or(1, |seed| seed.parse().expect("FTPSFS_TEST_SEED is a number")),
        timeout: Duration::from_secs(10),
    };
    let figures = run(plan);
    println!("{figures}");
    let broken = figures.broken();
    assert!(broken.is_empty(), "{figures}\n{}\n{}", broken.join("\n"), figures.log);
    assert!(figures.tally.done() > 500, "{figures}");
}
