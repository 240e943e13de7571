//! One entity's channel values at one event time: what the detector reads.

use serde::{Deserialize, Serialize};

/// Event time in microseconds since the Unix epoch. Comes from the record, never from a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(i64);

impl EventTime {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch, saturating.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, with their fraction.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// A borrowed row. `values` has one slot per channel of the entity's [`Schema`](super::schema::Schema); NaN marks a
/// missing value (the scaler turns it into a mask, the model never sees it); every other value is finite.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// When it was measured.
    pub at: EventTime,
    /// Where it came from: the offset of the record in its partition, or the line of a file.
    pub offset: i64,
    /// `channels` values in schema order.
    pub values: &'a [f32],
}
