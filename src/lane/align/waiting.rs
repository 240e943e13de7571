//! Rows that wait, in order of time, then of arrival.

use super::{MAX_MEASUREMENTS, MAX_ROWS};
use crate::detector::row::EventTime;
use crate::wire::channels::ChannelId;
use std::collections::VecDeque;

/// One measurement of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub channel: ChannelId,
    pub value: f32,
    /// How long after the row's time it was measured, in microseconds: 0 without a grid.
    pub after: i64,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub at: EventTime,
    /// Of the last record in it.
    pub offset: i64,
    /// Each channel once.
    pub cells: Vec<Cell>,
}

impl Row {
    /// Channel, value, and when it was measured.
    pub fn measurements(&self) -> impl Iterator<Item = (ChannelId, f32, EventTime)> {
        let time = |after: i64| EventTime::from_micros(self.at.micros().saturating_add(after));
        self.cells.iter().map(move |cell| (cell.channel, cell.value, time(cell.after)))
    }

    /// Of two measurements of a channel the newer one counts, of equally old ones the later record's. `guess`: where its
    /// channel nearly always is.
    fn merge(&mut self, guess: usize, cell: Cell) -> bool {
        let is_it = |other: &Cell| other.channel == cell.channel;
        let known =
            if self.cells.get(guess).is_some_and(is_it) { Some(guess) } else { self.cells.iter().position(is_it) };
        match known {
            Some(index) => {
                let held = &mut self.cells[index];
                if cell.after >= held.after {
                    *held = cell;
                }
                false
            }
            None => {
                self.cells.push(cell);
                true
            }
        }
    }
}

/// The rows in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    rows: VecDeque<Row>,
    n_measurements: usize,
    /// Rows given out, to be used again.
    spare: Vec<Vec<Cell>>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Waiting {
    /// Rows in order, each with its channels once.
    pub fn of(rows: VecDeque<Row>) -> Self {
        let n_measurements = rows.iter().map(|row| row.cells.len()).sum();
        Self { rows, n_measurements, spare: Vec::new() }
    }

    /// A record, measured `at`, of the row of time `row_at`: merged into it, or a row of its own.
    pub fn put(
        &mut self,
        row_at: EventTime,
        at: EventTime,
        offset: i64,
        measurements: &[(ChannelId, f32)],
        merges: bool,
    ) {
        let behind = self.rows.partition_point(|row| row.at <= row_at);
        let index = match behind.checked_sub(1) {
            Some(index) if merges && self.rows[index].at == row_at => index,
            Some(_) | None => {
                let cells = self.spare.pop().unwrap_or_default();
                self.rows.insert(behind, Row { at: row_at, offset, cells });
                behind
            }
        };
        let row = &mut self.rows[index];
        row.offset = row.offset.max(offset);
        let after = at.micros().saturating_sub(row_at.micros());
        for (guess, (channel, value)) in measurements.iter().enumerate() {
            let is_new = row.merge(guess, Cell { channel: *channel, value: *value, after });
            self.n_measurements += usize::from(is_new);
        }
    }

    /// Takes the oldest row out.
    pub fn take_oldest(&mut self) -> Option<Row> {
        let row = self.rows.pop_front()?;
        self.n_measurements -= row.cells.len();
        Some(row)
    }

    /// The memory of a row that was taken.
    pub fn give_back(&mut self, row: Row) {
        let mut cells = row.cells;
        cells.clear();
        self.spare.push(cells);
    }

    /// Bytes of memory, those of rows to be used again included.
    pub fn n_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.spare.capacity() * size_of::<Vec<Cell>>()
            + self.n_measurements * size_of::<Cell>()
    }

    pub fn oldest(&self) -> Option<EventTime> {
        self.rows.front().map(|row| row.at)
    }

    pub fn newest(&self) -> Option<EventTime> {
        self.rows.back().map(|row| row.at)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// More than may wait.
    pub fn is_full(&self) -> bool {
        self.rows.len() > MAX_ROWS || self.n_measurements > MAX_MEASUREMENTS
    }
}
