//! Single flight: several who ask the same thing at the same time share one answer.

use crate::deadline::{self, Deadline};
use crate::remote::ErrorKind;
use crate::vfs::error::Error;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Questions on their way.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    running: Mutex<HashMap<K, Arc<Flight<V>>>>,
}

#[derive(Debug)]
struct Flight<V> {
    answer: Mutex<Option<Result<V, Error>>>,
    landed: Condvar,
    /// Of the one who asks: what moves for him moves for those who wait.
    deadline: Arc<Deadline>,
}

impl<K: Clone + Eq + Hash, V: Clone> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self { running: Mutex::new(HashMap::new()) }
    }

    /// Asks, or waits for whoever is asking already, no longer than the own deadline. `ask` must end in bounded time.
    pub(crate) fn run(&self, key: &K, ask: impl FnOnce() -> Result<V, Error>) -> Result<V, Error> {
        let flight = loop {
            let mut running = self.running.lock();
            let Some(flight) = running.get(key).cloned() else {
                let (answer, landed) = (Mutex::new(None), Condvar::new());
                let flight = Arc::new(Flight { answer, landed, deadline: deadline::current() });
                running.insert(key.clone(), Arc::clone(&flight));
                break flight;
            };
            drop(running);
            match flight.wait() {
                // It was the other's time that was over.
                Err(error) if error.kind() == Some(ErrorKind::TimedOut) && flight.deadline.is_over() => {
                    if deadline::is_over() {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        };
        let mut landing = Landing { flights: self, key, flight, answer: Err(Error::Panicked) };
        landing.answer = ask();
        landing.answer.clone()
    }
}

impl<V: Clone> Flight<V> {
    fn wait(&self) -> Result<V, Error> {
        let mut answer = self.answer.lock();
        loop {
            match &*answer {
                Some(answer) => return answer.clone(),
                None => {
                    deadline::current().follow(&self.deadline);
                    if !deadline::wait(&self.landed, &mut answer) {
                        return Err(Error::timed_out());
                    }
                }
            }
        }
    }
}

/// Hands the answer out when dropped, so that a panic of the one who asks leaves nobody waiting.
struct Landing<'a, K: Eq + Hash, V> {
    flights: &'a Flights<K, V>,
    key: &'a K,
    flight: Arc<Flight<V>>,
    answer: Result<V, Error>,
}

impl<K: Eq + Hash, V> Drop for Landing<'_, K, V> {
    fn drop(&mut self) {
        self.flights.running.lock().remove(self.key);
        *self.flight.answer.lock() = Some(std::mem::replace(&mut self.answer, Err(Error::Panicked)));
        self.flight.landed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::{Ending, SLICE};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    /// That the other's question began was taken for movement: who had waited for something else before had all his time once more.
    #[test]
    fn who_joins_a_question_that_began_after_his_own_request_gets_no_time_for_it() {
        let flights: Arc<Flights<u8, u8>> = Arc::new(Flights::new());
        let own = Deadline::new(Some(SLICE), None, &Ending::default());
        let end = own.end();
        thread::sleep(SLICE / 4);
        let (asked, is_asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let leader = thread::spawn({
            let flights = Arc::clone(&flights);
            move || {
                let _entered = Deadline::new(Some(SLICE * 100), None, &Ending::default()).enter();
                flights.run(&1, || {
                    asked.send(()).unwrap();
                    answered.recv().map_err(|_| Error::Panicked)
                })
            }
        });
        is_asked.recv().unwrap();
        let entered = own.enter();
        assert_eq!(flights.run(&1, || unreachable!()), Err(Error::timed_out()));
        assert_eq!(own.end(), end);
        drop(entered);
        answer.send(7).unwrap();
        assert_eq!(leader.join().unwrap(), Ok(7));
    }

    #[test]
    fn a_panic_of_the_one_who_asks_is_an_error_for_those_who_wait() {
        let flights: Arc<Flights<u8, u8>> = Arc::new(Flights::new());
        let asked = Arc::new(AtomicUsize::new(0));
        let leader = thread::spawn({
            let (flights, asked) = (Arc::clone(&flights), Arc::clone(&asked));
            move || {
                flights.run(&1, || {
                    asked.store(1, Ordering::SeqCst);
                    while asked.load(Ordering::SeqCst) < 2 {
                        thread::yield_now();
                    }
                    // Three references: the map's, the leader's and the follower's.
                    while Arc::strong_count(flights.running.lock().get(&1).unwrap()) < 3 {
                        thread::yield_now();
                    }
                    panic!("on purpose")
                })
            }
        });
        while asked.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        asked.store(2, Ordering::SeqCst);
        assert_eq!(flights.run(&1, || Ok(7)), Err(Error::Panicked));
        leader.join().unwrap_err();
        assert_eq!(flights.run(&1, || Ok(8)), Ok(8));
    }
}
