//! Entities of one class, those on probation or those with a detector, by the time of their last use.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Count, size, and who was used least recently. Times of use are brought up to date when a place comes up, not with every
/// record: what a record costs does not depend on how many entities there are.
#[derive(Debug, Default)]
pub struct Class {
    /// Times and places; at most one entry of a place is the one that it says it has.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
    /// Entities.
    pub n: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// What a place says of itself when it comes up.
pub struct Turn {
    /// When it was used last.
    pub used: i64,
    /// The time of its entry.
    pub queued: i64,
}

impl Class {
    /// A place was taken, used at this time.
    pub fn enter(&mut self, place: u32, used: i64, bytes: usize) {
        self.queue.push(Reverse((used, place)));
        self.n += 1;
        self.bytes += bytes;
    }

    /// It is not of this class any more; its entry is found to be nobody's later.
    pub fn leave(&mut self, bytes: usize) {
        self.n -= 1;
        self.bytes -= bytes;
    }

    /// The place that was used least recently; it keeps its entry. `turn` tells of a place, if it is of this class, and is
    /// given the time of its new entry.
    pub fn least_recent(&mut self, mut turn: impl FnMut(u32, Option<i64>) -> Option<Turn>) -> Option<u32> {
        while let Some(Reverse((time, place))) = self.queue.peek().copied() {
            match turn(place, None) {
                Some(Turn { used, queued }) if queued == time => {
                    if used == time {
                        return Some(place);
                    }
                    self.queue.pop();
                    self.queue.push(Reverse((used, place)));
                    turn(place, Some(used));
                }
                Some(_) | None => drop(self.queue.pop()),
            }
        }
        None
    }

    /// Drops entries that are nobody's once they are the greater part.
    pub fn tidy(&mut self, is_current: impl Fn(i64, u32) -> bool) {
        if self.queue.len() > 2 * self.n + 64 {
            self.queue.retain(|Reverse((time, place))| is_current(*time, *place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn who_was_used_least_recently_comes_up_first(steps in prop::collection::vec((0u32..12, 0u8..6), 1..300)) {
            let mut class = Class::default();
            // Time of the last use and of the entry in the queue, of those who are there.
            let mut there: Vec<Option<(i64, i64)>> = vec![None; 12];
            for (now, (place, step)) in (0i64..).zip(steps) {
                match (&mut there[place as usize], step) {
                    (Some((used, _)), 0..4) => *used = now,
                    (none @ None, 0..4) => {
                        *none = Some((now, now));
                        class.enter(place, now, 10);
                    }
                    (some @ Some(_), 4) => {
                        *some = None;
                        class.leave(10);
                        class.tidy(|time, place| there[place as usize].is_some_and(|(_, queued)| queued == time));
                    }
                    (None, 4) => {}
                    _ => {
                        let oldest = (0u32..).zip(&there).filter_map(|(place, at)| Some((at.as_ref()?.0, place))).min();
                        let found = class.least_recent(|place, requeued| {
                            let (used, queued) = there[place as usize].as_mut()?;
                            *queued = requeued.unwrap_or(*queued);
                            Some(Turn { used: *used, queued: *queued })
                        });
                        prop_assert_eq!(found, oldest.map(|(_, place)| place));
                    }
                }
                let n = there.iter().flatten().count();
                prop_assert_eq!((class.n, class.bytes), (n, 10 * n));
                prop_assert!(class.queue.len() <= 2 * n + 64 + 12);
            }
        }
    }
}
