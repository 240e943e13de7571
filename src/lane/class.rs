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
