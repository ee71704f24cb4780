//! Runs scenarios in many orders.

use crate::locks::time_passes;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use std::time::Instant;

/// A scenario's name, and what is to hold in every order.
pub(crate) type Scenario = (&'static str, fn());

/// In orders that are random at every step, and in such in which one thread goes ahead of another for long (PCT, Burckhardt
/// and others, 2010), which find what takes few switches at bad moments.
pub(crate) fn explore((name, scenario): Scenario) {
    let began = Instant::now();
    let rounds = if std::env::var_os("FTPSFS_TEST_LONG").is_some() { 100 * ROUNDS } else { ROUNDS };
    run(RandomScheduler::new_from_seed(seed(), rounds), scenario);
    for depth in 2..=4 {
        run(PctScheduler::new_from_seed(seed(), depth, rounds / 3), scenario);
    }
    println!("test {name} ... ok ({} orders in {:.1?})", 2 * rounds, began.elapsed());
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    time_passes(false);
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    Runner::new(scheduler, config).run(scenario);
}

/// The same orders at each run, so that a failure is nobody's bad luck; `FTPSFS_TEST_SEED` tries others.
fn seed() -> u64 {
    std::env::var("FTPSFS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

const ROUNDS: usize = 3000;
/// More are a thread that does not end.
const STEPS_MAX: usize = 100_000;
