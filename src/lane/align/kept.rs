//! What waits, as bytes of a snapshot: channels by name, each name once.

use super::grid::Held;
use super::waiting::{Cell, Row, Waiting};
use super::{Aligner, Grid, MAX_MEASUREMENTS, MAX_ROWS};
use crate::detector::row::EventTime;
use crate::wire::channels::{ChannelId, Channels, Lookup};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Index into the names, value, microseconds after the row's time.
type KeptCell = (u16, f32, i64);
/// Time, offset, measurements.
type KeptRow = (EventTime, i64, Vec<KeptCell>);

/// An [`Aligner`] without the numbers of a lane's channels.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    frontier: EventTime,
    last: Option<(EventTime, i64)>,
    names: Vec<String>,
    waiting: Vec<KeptRow>,
    /// Index into the names, value, time.
    held: Vec<(u16, f32, EventTime)>,
}

impl Aligner {
    /// By names.
    #[must_use]
    pub fn keep(&self, channels: &Channels) -> Kept {
        let mut names = Names { channels, index: Vec::new(), names: Vec::new() };
        let held = self.grid.held.iter().map(|held| (names.index_of(held.channel), held.value, held.at)).collect();
        let row = |row: &Row| {
            let cell = |cell: &Cell| (names.index_of(cell.channel), cell.value, cell.after);
            (row.at, row.offset, row.cells.iter().map(cell).collect())
        };
        let waiting = self.waiting.iter().map(row).collect();
        Kept { frontier: self.frontier, last: self.grid.last, names: names.names, waiting, held }
    }

    /// From names; channels that are no longer selected are dropped. `None`: no aligner can have written it.
    #[must_use]
    pub fn of(kept: Kept, channels: &mut Channels) -> Option<Self> {
        let Kept { frontier, last, names, waiting, held } = kept;
        let ids: Vec<Option<ChannelId>> = names
            .iter()
            .map(|name| match channels.intern(name) {
                Lookup::Channel(id) => Some(id),
                Lookup::Ignored | Lookup::Full => None,
            })
            .collect();
        // Two of one name would be one channel, and its measurement there twice.
        let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
        let fits = waiting.len() <= MAX_ROWS
            && waiting.iter().map(|(_, _, cells)| cells.len()).sum::<usize>() <= MAX_MEASUREMENTS
            && waiting.is_sorted_by_key(|(at, ..)| *at)
            && waiting.iter().flat_map(|(_, _, cells)| cells).all(|(_, _, after)| *after >= 0);
        let mut seen = Seen { rounds: vec![0; names.len()], round: 0 };
        let is_sound = seen.each_once(held.iter().map(|(name, value, _)| (*name, *value)))
            && waiting.iter().all(|(_, _, cells)| seen.each_once(cells.iter().map(|(name, value, _)| (*name, *value))));
        if !(distinct && fits && is_sound) {
            return None;
        }
        let id = |name: u16| ids[usize::from(name)];
        let row = |(at, offset, cells): KeptRow| Row {
            at,
            offset,
            cells: cells
                .into_iter()
                .filter_map(|(name, value, after)| Some(Cell { channel: id(name)?, value, after }))
                .collect(),
        };
        let held = held.into_iter().filter_map(|(name, value, at)| Some(Held { channel: id(name)?, value, at }));
        Some(Self {
            frontier,
            grid: Grid { last, held: held.collect() },
            waiting: Waiting::of(waiting.into_iter().map(row).collect()),
        })
    }
}

/// In which round a name was seen last.
struct Seen {
    rounds: Vec<u32>,
    round: u32,
}

impl Seen {
    /// Does each name exist, and come once, with a finite value?
    fn each_once(&mut self, mut cells: impl Iterator<Item = (u16, f32)>) -> bool {
        self.round += 1;
        cells.all(|(name, value)| {
            let last = self.rounds.get_mut(usize::from(name)).map(|last| std::mem::replace(last, self.round));
            value.is_finite() && last.is_some_and(|last| last != self.round)
        })
    }
}

/// Names in the order in which they are asked for.
struct Names<'a> {
    channels: &'a Channels,
    /// By channel: its index plus one.
    index: Vec<u16>,
    names: Vec<String>,
}

impl Names<'_> {
    fn index_of(&mut self, channel: ChannelId) -> u16 {
        if self.index.len() <= channel.index() {
            self.index.resize(channel.index() + 1, 0);
        }
        let index = &mut self.index[channel.index()];
        if *index == 0 {
            self.names.push(self.channels.name(channel).to_owned());
            *index = self.names.len() as u16;
        }
        *index - 1
    }
}
