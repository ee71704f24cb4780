//! A set of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch, by their starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    ends: BTreeMap<u64, u64>,
}

/// A piece of a range, and whether the set holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) range: Range<u64>,
    pub(crate) held: bool,
}

impl Ranges {
    /// Adds `range`, and joins what it overlaps or touches.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // The last one that begins at or before the end, as long as it reaches the start.
        while let Some((&other, &other_end)) = self.ends.range(..=end).next_back().filter(|(_, past)| **past >= start) {
            self.ends.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        self.ends.insert(start, end);
    }

    /// Takes everything from `end` on away.
    pub(crate) fn cut(&mut self, end: u64) {
        self.ends.split_off(&end);
        if let Some(mut last) = self.ends.last_entry()
            && *last.get() > end
        {
            last.insert(end);
        }
    }

    /// `range` in pieces that are held or not, in order.
    pub(crate) fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let before = self.ends.range(..range.start).next_back();
        for (&start, &end) in before.into_iter().chain(self.ends.range(range.start..range.end)) {
            let held = start.max(at)..end.min(range.end);
            if held.is_empty() {
                continue;
            }
            if at < held.start {
                pieces.push(Piece { range: at..held.start, held: false });
            }
            at = held.end;
            pieces.push(Piece { range: held, held: true });
        }
        if at < range.end {
            pieces.push(Piece { range: at..range.end, held: false });
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_holds_what_was_put_in_and_not_cut_off(
            steps in prop::collection::vec((any::<bool>(), 0..64u64, 0..20u64), 0..30),
            asked in (0..64u64, 0..40u64),
        ) {
            let at = |byte: u64| usize::try_from(byte).unwrap();
            let (mut ranges, mut model) = (Ranges::default(), [false; 128]);
            for (insert, start, len) in steps {
                if insert {
                    ranges.insert(start..start + len);
                    model[at(start)..at(start + len)].fill(true);
                } else {
                    ranges.cut(start);
                    model[at(start)..].fill(false);
                }
            }
            let mut next = asked.0;
            for piece in ranges.pieces(asked.0..asked.0 + asked.1) {
                prop_assert_eq!(piece.range.start, next);
                prop_assert!(!piece.range.is_empty());
                for byte in piece.range.clone() {
                    prop_assert_eq!(model[at(byte)], piece.held);
                }
                next = piece.range.end;
            }
            prop_assert_eq!(next, asked.0 + asked.1);
        }
    }
}
