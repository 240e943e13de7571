//! Records made into rows, in the order of their event time and not of their arrival. A row waits until the newest event time
//! of its entity is more than `max_lateness` ahead of it; measurements of one time, or of one step of a grid, are one row; on
//! a grid the steps in which nothing came are filled with the values last seen. Event time alone decides, never a clock: a
//! replay gives the same rows. What waits is part of the entity's state.
//!
//! Deliberately not here: what becomes of late records (the lane's policy), and any end of waiting but the entity's own next
//! records. The watermark is that of "out-of-order by at most L" (Akidau et al., The Dataflow Model, VLDB 2015).

mod grid;
mod kept;
mod waiting;

pub use kept::Kept;

use crate::detector::row::EventTime;
use crate::wire::channels::ChannelId;
use grid::Grid;
use serde::{Deserialize, Serialize};
use waiting::Waiting;

/// Rows of an entity that wait at most; when there are more, the oldest goes out early.
pub const MAX_ROWS: usize = 1_024;

/// Measurements in them at most, so that a snapshot stays small beside the model's.
pub const MAX_MEASUREMENTS: usize = 32_768;

/// Encoded, at most: frontier and the last row; a channel's name; time, offset and length of a row; channel, value and time of a
/// measurement.
const FIXED: usize = 64;
const NAME: usize = 256 + 2;
const ROW: usize = 10 + 10 + 3;
const CELL: usize = 3 + 4 + 10;

/// How records become rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Measurements with one timestamp are one row.
    pub merge: bool,
    /// Step of the grid in microseconds; a row stands at the beginning of its step, and a channel without a measurement in
    /// it holds its last value.
    pub interval: Option<i64>,
    /// How far, in microseconds, its entity's newest event time has to be ahead of a row before it is given out.
    pub max_lateness: i64,
    /// Steps without a record, one after the other, that are filled. A longer gap is a break: nothing is filled, and nothing
    /// of what was before it is held.
    pub max_fill: i64,
}

impl Settings {
    /// Does every record make a row of its own at once?
    #[must_use]
    pub const fn is_pass_through(&self) -> bool {
        !self.merges() && self.max_lateness == 0
    }

    /// Can a row consist of several records?
    const fn merges(&self) -> bool {
        self.merge || self.interval.is_some()
    }

    /// Bytes of a snapshot's rows of so many channels that wait, and of what a grid holds, at most: channels by name, each once.
    #[must_use]
    pub const fn largest_snapshot(&self, channels: usize) -> usize {
        let (rows, cells) = match (self.merges(), self.max_lateness) {
            (false, 0) => (0, 0),
            (true, 0) => (2, 2 * channels),
            (_, _) if MAX_ROWS * channels < MAX_MEASUREMENTS => (MAX_ROWS + 1, (MAX_ROWS + 1) * channels),
            (_, _) => (MAX_ROWS + 1, MAX_MEASUREMENTS + channels),
        };
        FIXED + channels * (NAME + CELL) + rows * ROW + cells * CELL
    }

    /// Time of the row that a measurement belongs to.
    #[must_use]
    pub fn row_time(&self, at: EventTime) -> EventTime {
        match self.interval {
            Some(step) if step > 0 => EventTime::from_micros(at.micros().div_euclid(step).saturating_mul(step)),
            Some(_) | None => at,
        }
    }
}

/// What becomes of rows that are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// They are judged when they come, and counted; on a grid they are held from then on, unless something newer is.
    Keep,
    /// They are counted and forgotten.
    Drop,
    /// They are dead letters.
    DeadLetter,
}

/// A row that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// Its time.
    pub at: EventTime,
    /// Offset of the last record in it; of a filled step, of the last record before it.
    pub offset: i64,
    /// Why it is given out.
    pub why: Why,
}

/// Why a row is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing can come before it any more.
    Due,
    /// Too much waits.
    Early,
    /// Nothing came in this step of the grid.
    Filled,
}

/// The rows of one entity that are not yet given out.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligner {
    /// Rows before it were given out; what comes for them is late.
    frontier: EventTime,
    waiting: Waiting,
    grid: Grid,
}

impl Default for Aligner {
    fn default() -> Self {
        Self { frontier: EventTime::from_micros(i64::MIN), waiting: Waiting::default(), grid: Grid::default() }
    }
}

impl Aligner {
    /// How far a record's row is behind those that are still waited for, in microseconds; `None`: it is in time.
    #[must_use]
    pub fn lateness(&self, at: EventTime, settings: &Settings) -> Option<i64> {
        let row = settings.row_time(at);
        (row < self.frontier).then(|| self.frontier.micros().saturating_sub(row.micros()))
    }

    /// With settings under which nothing waits: notes a record's time, and says whether it is a row as it is. It is not while
    /// rows wait that came under other settings.
    pub fn pass(&mut self, at: EventTime, settings: &Settings) -> bool {
        let passes = settings.is_pass_through() && self.waiting.is_empty();
        if passes {
            self.frontier = self.frontier.max(at);
        }
        passes
    }

    /// Takes a record that is in time. Then [`Aligner::next`] has to be called until there is none.
    pub fn place(&mut self, at: EventTime, offset: i64, measurements: &[(ChannelId, f32)], settings: &Settings) {
        let watermark = EventTime::from_micros(at.micros().saturating_sub(settings.max_lateness));
        self.frontier = self.frontier.max(settings.row_time(watermark));
        self.waiting.put(settings.row_time(at), at, offset, measurements, settings.merges());
    }

    /// A late record on a grid: its row is gone, but its values may still be the last ones.
    pub fn hold(&mut self, at: EventTime, measurements: &[(ChannelId, f32)]) {
        self.grid.hold(measurements.iter().map(|(channel, value)| (*channel, *value, at)));
    }

    /// No record will come for what waits: all of it is due.
    pub fn end(&mut self) {
        if let Some(at) = self.waiting.newest() {
            self.frontier = self.frontier.max(after(at));
        }
    }

    /// The next row that is complete, in order of time, then of offset; its values over `values`. Allocates nothing once
    /// `values` and what waits have grown.
    pub fn next(&mut self, settings: &Settings, values: &mut Vec<(ChannelId, f32)>) -> Option<Complete> {
        let at = self.waiting.oldest()?;
        let is_due = at < self.frontier || (at == self.frontier && settings.is_pass_through());
        if !is_due && !self.waiting.is_full() {
            return None;
        }
        values.clear();
        if settings.interval.is_some()
            && let Some((at, offset)) = self.grid.fill(at, settings)
        {
            values.extend(self.grid.values());
            return Some(Complete { at, offset, why: Why::Filled });
        }
        let row = self.waiting.take_oldest()?;
        self.frontier = self.frontier.max(if settings.merges() { after(row.at) } else { row.at });
        if settings.interval.is_some() {
            self.grid.advance(row.at, row.offset);
            self.grid.hold(row.measurements());
            values.extend(self.grid.values());
        } else {
            values.extend(row.measurements().map(|(channel, value, _)| (channel, value)));
        }
        let complete = Complete { at: row.at, offset: row.offset, why: if is_due { Why::Due } else { Why::Early } };
        self.waiting.give_back(row);
        Some(complete)
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.waiting.n_bytes() + self.grid.held.capacity() * size_of::<grid::Held>()
    }

    /// Rows that wait.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The next instant.
fn after(at: EventTime) -> EventTime {
    EventTime::from_micros(at.micros().saturating_add(1))
}

#[cfg(test)]
mod tests;
