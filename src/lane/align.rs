//! Measurements that come one by one, or off a grid, made into rows: those of one time (or one step of the grid) are merged,
//! and the row is complete when a later one begins.

use crate::detector::row::EventTime;
use crate::wire::channels::{ChannelId, Channels, Lookup};
use serde::{Deserialize, Serialize};

/// Whether and how rows are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Measurements with one timestamp are one row.
    pub merge: bool,
    /// Step of the grid in microseconds; a row stands at the beginning of its step, and a channel without a measurement in
    /// it holds its last value.
    pub interval: Option<i64>,
}

impl Settings {
    /// Does every record make a row of its own?
    #[must_use]
    pub fn is_pass_through(&self) -> bool {
        !self.merge && self.interval.is_none()
    }

    fn step_of(&self, at: EventTime) -> EventTime {
        match self.interval {
            Some(step) if step > 0 => EventTime::from_micros(at.micros().div_euclid(step) * step),
            Some(_) | None => at,
        }
    }
}

/// What becomes of rows that are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// They are judged in the order in which they came, and counted.
    Keep,
    /// They are counted and forgotten.
    Drop,
    /// They are dead letters.
    DeadLetter,
}

/// The row in the making.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aligner {
    at: EventTime,
    offset: i64,
    values: Vec<(ChannelId, f32)>,
    begun: bool,
}

/// A row in the making by the names of its channels, for a snapshot.
#[derive(Serialize, Deserialize)]
pub struct Kept(EventTime, i64, Vec<(String, f32)>, bool);

/// What became of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is part of the row in the making.
    Merged,
    /// It began a new row: the one before is complete and has been given out.
    Completed {
        /// Time of the complete row.
        at: EventTime,
        /// Offset of the last record in it.
        offset: i64,
    },
    /// Its row was complete already.
    Late,
}

impl Aligner {
    /// Takes a record's measurements. With [`Placed::Completed`] the complete row's values are in `complete`.
    pub fn place(
        &mut self,
        at: EventTime,
        offset: i64,
        measurements: &[(ChannelId, f32)],
        settings: &Settings,
        complete: &mut Vec<(ChannelId, f32)>,
    ) -> Placed {
        let at = settings.step_of(at);
        if self.begun && at < self.at {
            return Placed::Late;
        }
        let mut placed = Placed::Merged;
        if self.begun && at > self.at {
            complete.clear();
            complete.extend_from_slice(&self.values);
            placed = Placed::Completed { at: self.at, offset: self.offset };
            if settings.interval.is_none() {
                self.values.clear();
            }
        }
        self.begun = true;
        self.at = at;
        self.offset = offset;
        for (id, value) in measurements {
            match self.values.iter_mut().find(|(other, _)| other == id) {
                Some((_, held)) => *held = *value,
                None => self.values.push((*id, *value)),
            }
        }
        placed
    }

    /// By names.
    #[must_use]
    pub fn keep(&self, channels: &Channels) -> Kept {
        let named = self.values.iter().map(|(id, value)| (channels.name(*id).to_owned(), *value)).collect();
        Kept(self.at, self.offset, named, self.begun)
    }

    /// From names; those that are no longer selected are dropped.
    #[must_use]
    pub fn of(kept: Kept, channels: &mut Channels) -> Self {
        let Kept(at, offset, named, begun) = kept;
        let values = named.into_iter().filter(|(_, value)| value.is_finite());
        let values = values.filter_map(|(name, value)| match channels.intern(&name) {
            Lookup::Channel(id) => Some((id, value)),
            Lookup::Ignored | Lookup::Full => None,
        });
        Self { at, offset, values: values.collect(), begun }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::channels::Selection;

    fn ids() -> (ChannelId, ChannelId) {
        let mut channels = Channels::new(Selection::all());
        match (channels.intern("a"), channels.intern("b")) {
            (Lookup::Channel(a), Lookup::Channel(b)) => (a, b),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn measurements_of_one_time_are_one_row() {
        let (a, b) = ids();
        let (mut aligner, settings, mut complete) =
            (Aligner::default(), Settings { merge: true, interval: None }, Vec::new());
        let t = EventTime::from_micros;
        assert_eq!(aligner.place(t(5), 0, &[(a, 1.0)], &settings, &mut complete), Placed::Merged);
        assert_eq!(aligner.place(t(5), 1, &[(b, 2.0)], &settings, &mut complete), Placed::Merged);
        assert_eq!(
            aligner.place(t(6), 2, &[(a, 3.0)], &settings, &mut complete),
            Placed::Completed { at: t(5), offset: 1 }
        );
        assert_eq!(complete, [(a, 1.0), (b, 2.0)]);
        assert_eq!(aligner.place(t(5), 3, &[(a, 9.0)], &settings, &mut complete), Placed::Late);
    }

    #[test]
    fn on_a_grid_a_silent_channel_holds_its_last_value() {
        let (a, b) = ids();
        let (mut aligner, settings, mut complete) =
            (Aligner::default(), Settings { merge: false, interval: Some(10) }, Vec::new());
        let t = EventTime::from_micros;
        aligner.place(t(3), 0, &[(a, 1.0), (b, 2.0)], &settings, &mut complete);
        aligner.place(t(14), 1, &[(a, 5.0)], &settings, &mut complete);
        assert_eq!(
            aligner.place(t(25), 2, &[(a, 6.0)], &settings, &mut complete),
            Placed::Completed { at: t(10), offset: 1 }
        );
        assert_eq!(complete, [(a, 5.0), (b, 2.0)]);
    }
}
