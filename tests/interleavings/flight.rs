//! The single flight: everybody gets an answer, one question at a time asks for it, and who asks after a change is not answered
//! with what was there before.

use crate::explore::Scenario;
use crate::locks::{Mutex, time_passes};
use crate::vfs::error::Error;
use crate::vfs::flight::Flights;
use shuttle::thread;
use std::sync::Arc;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("flight::one_question_answers_all", one_question_answers_all),
    ("flight::who_gives_up_holds_up_nobody", who_gives_up_holds_up_nobody),
    ("flight::nobody_is_answered_with_what_was_before_a_change", nobody_is_answered_with_what_was_before_a_change),
];

/// Which question is on its way, and how many were.
#[derive(Default)]
struct Questions {
    running: usize,
    asked: u64,
}

fn one_question_answers_all() {
    let flights: Arc<Flights<u8, u64>> = Arc::new(Flights::new());
    let questions = Arc::new(Mutex::new(Questions::default()));
    let ask = |flights: &Flights<u8, u64>, questions: &Mutex<Questions>| {
        let asked_before = questions.lock().asked;
        let answer = flights.run(&1, || {
            let number = {
                let mut questions = questions.lock();
                questions.running += 1;
                questions.asked += 1;
                questions.asked
            };
            let mut questions = questions.lock();
            assert_eq!(questions.running, 1, "the same is asked twice at the same time");
            questions.running -= 1;
            // Every third question fails.
            if number % 3 == 0 { Err(Error::WouldBlock) } else { Ok(number) }
        });
        match answer {
            // The last one that had begun, or a later one.
            Ok(number) => assert!(number >= asked_before, "{number} was answered before {asked_before} was asked"),
            Err(error) => assert_eq!(error, Error::WouldBlock),
        }
    };
    in_parallel(3, move || {
        ask(&flights, &questions);
        ask(&flights, &questions);
        if questions.lock().running == 0 && Arc::strong_count(&flights) == 1 {
            // Nothing is left of what was asked: the next one asks again.
            let asked = questions.lock().asked;
            ask(&flights, &questions);
            assert_eq!(questions.lock().asked, asked + 1);
        }
    });
}

/// Whoever waits too long for another's answer is told so, and leaves nothing behind for which others would wait.
fn who_gives_up_holds_up_nobody() {
    let flights: Arc<Flights<u8, u64>> = Arc::new(Flights::new());
    time_passes(true);
    let again = Arc::clone(&flights);
    in_parallel(3, move || match flights.run(&1, || Ok(7)) {
        Ok(answer) => assert_eq!(answer, 7),
        Err(error) => assert_eq!(error, Error::timed_out()),
    });
    time_passes(false);
    assert_eq!(again.run(&1, || Ok(8)).unwrap(), 8);
}

/// As the tree does it: a change is counted once the server has it, and its count is a part of each question.
fn nobody_is_answered_with_what_was_before_a_change() {
    let flights: Arc<Flights<u64, u64>> = Arc::new(Flights::new());
    let (content, changes) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let changing = thread::spawn({
        let (content, changes) = (Arc::clone(&content), Arc::clone(&changes));
        move || {
            for _ in 0..2 {
                *content.lock() += 1;
                *changes.lock() += 1;
            }
        }
    });
    in_parallel(3, move || {
        let known = *changes.lock();
        let answer = flights.run(&known, || Ok(*content.lock())).unwrap();
        assert!(answer >= known, "{answer} was there before {known}");
    });
    changing.join().unwrap();
}

fn in_parallel(count: usize, run: impl Fn() + Clone + Send + 'static) {
    let threads: Vec<_> = (0..count).map(|_| thread::spawn(run.clone())).collect();
    drop(run);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
