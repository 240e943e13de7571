//! How large the record of a snapshot can be, for the limits of the state topic.

use super::align;
use crate::detector::Settings;
pub use crate::detector::schema::MAX_CHANNELS;
use crate::wire::state_record::Envelope;

/// A channel of a row that is kept by name, encoded.
const MEASUREMENT: usize = 256 + 2 + 4;
/// Key of the record: topic, partition and entity.
const KEY: usize = 1024;
/// Accumulator, times, offsets and lengths.
const FIXED: usize = 256;

/// Bytes of the largest record in the state topic that an entity of so many channels can have: on probation, or with a detector;
/// and its rows that wait.
#[must_use]
pub fn largest_snapshot(settings: &Settings, align: &align::Settings, probation_rows: usize, channels: usize) -> usize {
    let probation = probation_rows.max(1) * (channels * MEASUREMENT + FIXED);
    KEY + Envelope::OVERHEAD
        + FIXED
        + align.largest_snapshot(channels)
        + settings.largest_snapshot(channels).max(probation)
}
