//! What a record does to its entity: the rows that are complete by it, judged in order. A lane and a replay of files take their
//! records in by this door.

use super::align::{self, Complete, Why};
use super::entity::{Entity, Surroundings};
use crate::detector::Outcome;
use crate::detector::row::EventTime;
use crate::wire::channels::ChannelId;

/// A record's measurements.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// When.
    pub at: EventTime,
    /// Offset of the record.
    pub offset: i64,
    /// What: each channel once.
    pub measurements: &'a [(ChannelId, f32)],
}

/// What there is to count of the rows that were given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps of a grid in which nothing came.
    pub filled: u64,
    /// Rows that could not wait for as long as they should.
    pub early: u64,
    /// Measurements of channels that a fitted model does not know.
    pub unknown: u64,
}

impl Entity {
    /// Takes a record. Every row that is complete by it goes to `told` with what it came to, in order; that may be none, or many.
    /// A late one (see [`align::Aligner::lateness`]) is judged at once, out of order; on a grid or merged by time it
    /// has no row of its own any more: see [`align::Late::Keep`].
    pub fn take_record(
        &mut self,
        record: &Measured<'_>,
        settings: &align::Settings,
        around: &mut Surroundings<'_>,
        mut told: impl FnMut(&Self, Outcome),
    ) -> Counts {
        let Measured { at, offset, measurements } = *record;
        let is_late = self.aligner.lateness(at, settings).is_some();
        if is_late && settings.interval.is_some() {
            self.aligner.hold(at, measurements);
            return Counts::default();
        }
        if is_late || self.aligner.pass(at, settings) {
            let (outcome, unknown) = self.take(at, offset, measurements, around);
            told(self, outcome);
            return Counts { unknown, ..Counts::default() };
        }
        self.aligner.place(at, offset, measurements, settings);
        self.take_complete(settings, around, told)
    }

    /// Nothing will come for the rows that wait: they are judged.
    pub fn take_rest(
        &mut self,
        settings: &align::Settings,
        around: &mut Surroundings<'_>,
        told: impl FnMut(&Self, Outcome),
    ) -> Counts {
        self.aligner.end();
        self.take_complete(settings, around, told)
    }

    fn take_complete(
        &mut self,
        settings: &align::Settings,
        around: &mut Surroundings<'_>,
        mut told: impl FnMut(&Self, Outcome),
    ) -> Counts {
        let (mut counts, mut values) = (Counts::default(), std::mem::take(around.values));
        while let Some(Complete { at, offset, why }) = self.aligner.next(settings, &mut values) {
            let (outcome, unknown) = self.take(at, offset, &values, around);
            told(self, outcome);
            counts.unknown += unknown;
            match why {
                Why::Due => {}
                Why::Early => counts.early += 1,
                Why::Filled => counts.filled += 1,
            }
        }
        *around.values = values;
        counts
    }
}
