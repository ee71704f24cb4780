//! How long things took, in a fixed number of classes.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where the classes end, in milliseconds. The last class has no end.
pub const BOUNDS_MS: [f64; 18] =
    [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 20e3, 50e3, 100e3];

/// How often each class was met.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// One more than there are bounds.
    classes: Vec<u64>,
    sum_seconds: f64,
}

impl Histogram {
    /// Counts one more.
    pub fn add(&mut self, took: Duration) {
        self.classes.resize(BOUNDS_MS.len() + 1, 0);
        let millis = took.as_secs_f64() * 1e3;
        let class = BOUNDS_MS.iter().position(|bound| millis <= *bound).unwrap_or(BOUNDS_MS.len());
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.sum_seconds += took.as_secs_f64();
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// How long all took together.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }

    /// How long the given part of them took at most, as nearly as the classes tell; `None` where there were none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = part * exact(self.count());
        let mut below = 0;
        for (class, count) in self.classes.iter().enumerate().filter(|(_, count)| **count > 0) {
            if exact(below + count) >= rank {
                let start = class.checked_sub(1).and_then(|before| BOUNDS_MS.get(before)).copied().unwrap_or(0.0);
                let end = BOUNDS_MS.get(class).copied().unwrap_or(start);
                let share = ((rank - exact(below)) / exact(*count)).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64((start + (end - start) * share) / 1e3));
            }
            below += count;
        }
        None
    }

    /// Of each bound in seconds how many took no longer, as Prometheus wants it.
    pub fn cumulated(&self) -> Vec<(f64, u64)> {
        let mut sum = 0;
        let classes = BOUNDS_MS.iter().zip(self.classes.iter().chain(std::iter::repeat(&0)));
        classes
            .map(|(bound, count)| {
                sum += count;
                (bound / 1e3, sum)
            })
            .collect()
    }
}

/// Counts stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "as said")]
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_in_the_class_where_they_were_met() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in [3, 3, 3, 3, 3, 3, 3, 3, 3, 700] {
            histogram.add(Duration::from_millis(millis));
        }
        let millis = |part| histogram.quantile(part).unwrap().as_secs_f64() * 1e3;
        assert!((2.0..=5.0).contains(&millis(0.5)) && (500.0..=1000.0).contains(&millis(0.99)), "{histogram:?}");
        assert_eq!(histogram.count(), 10);
        let cumulated = histogram.cumulated();
        assert_eq!((cumulated[4], cumulated[11], cumulated.len()), ((0.005, 9), (1.0, 10), BOUNDS_MS.len()));
    }

    #[test]
    fn what_takes_longer_than_all_bounds_is_counted() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_secs(1000));
        assert_eq!((histogram.count(), histogram.quantile(0.5)), (1, Some(Duration::from_secs(100))));
        assert_eq!(histogram.cumulated().last(), Some(&(100.0, 0)));
    }
}
