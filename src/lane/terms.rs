//! How records are read and judged. What an epoch did is only repeated under the terms of that epoch: the offsets that it commits name
//! them, and the state topic holds them as text.

use super::align::{self, Late};
use super::rulebook::Rulebook;
use crate::wire::format;

/// Everything but the shape of the models that decides what becomes of a record.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How records are read.
    pub decoder: format::Settings,
    /// How records become rows.
    pub align: align::Settings,
    /// What becomes of late ones.
    pub late: Late,
    /// Rows before an entity is given a detector.
    pub probation_rows: usize,
    /// How rows are judged.
    pub rulebook: Rulebook,
    /// All of the above as the configuration has it, which makes the same terms of it again.
    pub text: String,
    /// Of the text: equal for equal terms, on every machine.
    pub fingerprint: u64,
}
