//! An entity as the body of a snapshot, and back: its accumulator, its rows that wait, then the rows of its probation or its detector.

use super::{Entity, KeptRow, State};
use crate::detector::Settings;
use crate::detector::alert::{Alert, Cause};
use crate::detector::row::EventTime;
use crate::detector::snapshot::{self, SnapshotError};
use crate::lane::align::{Aligner, Kept};
use crate::lane::rulebook::Rulebook;
use crate::wire::channels::{Channels, Lookup};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A row of the probation by the names of its channels.
#[derive(Serialize, Deserialize)]
struct NamedRow<'a>(EventTime, i64, #[serde(borrow)] Vec<(&'a str, f32)>);

/// A body taken apart.
struct Parts<'a> {
    accumulator: u64,
    kept: Kept,
    state: Part<'a>,
}

/// The bytes of a state.
enum Part<'a> {
    Probation(&'a [u8]),
    Trained(&'a [u8]),
}

impl Entity {
    /// Appends the body of a snapshot.
    pub fn encode(&self, channels: &Channels, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.accumulator.to_le_bytes());
        let buffer = std::mem::take(out);
        *out = postcard::to_extend(&self.aligner.keep(channels), buffer).expect("a growing buffer takes every state");
        match &self.state {
            State::Probation(rows) => {
                out.push(0);
                let named: Vec<NamedRow<'_>> = rows.iter().map(|row| row.named(channels)).collect();
                let buffer = std::mem::take(out);
                *out = postcard::to_extend(&named, buffer).expect("a growing buffer takes every state");
            }
            State::Trained(detector) => {
                out.push(1);
                out.extend_from_slice(&snapshot::FORMAT.to_le_bytes());
                snapshot::encode(detector, out);
            }
        }
    }

    /// The entity as the body of a snapshot tells of it.
    ///
    /// # Errors
    /// Bytes that no entity under these settings can have written.
    pub fn decode(
        name: &str,
        as_of: i64,
        body: &[u8],
        settings: &Arc<Settings>,
        rulebook: &Rulebook,
        channels: &mut Channels,
    ) -> Result<Self, SnapshotError> {
        let Parts { accumulator, kept, state } = Parts::of(body)?;
        let state = match state {
            Part::Probation(rows) => {
                let rows: Vec<NamedRow<'_>> = postcard::from_bytes(rows).map_err(|_| SnapshotError::Malformed)?;
                let sound =
                    rows.len() <= 1024 && rows.iter().flat_map(|row| &row.2).all(|(_, value)| value.is_finite());
                if !sound {
                    return Err(SnapshotError::Unsound("probation"));
                }
                State::Probation(rows.into_iter().map(|row| KeptRow::of(row, channels)).collect())
            }
            Part::Trained(detector) => State::Trained(Box::new(snapshot::decode(detector, settings)?)),
        };
        let aligner = Aligner::of(kept, channels).ok_or(SnapshotError::Unsound("waiting rows"))?;
        let mut entity = Self { state, as_of, accumulator, aligner, ..Self::new(name) };
        entity.set_rules(rulebook);
        Ok(entity)
    }

    /// Moves to another table of channels: those that it has numbered already keep their names, and those that it does not select are
    /// dropped.
    pub fn renumber(
        &mut self,
        before: &Channels,
        channels: &mut Channels,
        settings: &Arc<Settings>,
        rulebook: &Rulebook,
    ) {
        let mut body = Vec::new();
        self.encode(before, &mut body);
        let moved = Self::decode(&self.name, self.as_of, &body, settings, rulebook, channels);
        let moved = moved.expect("what was encoded just now can be decoded");
        *self = Self { name: Arc::clone(&self.name), first_dirty: self.first_dirty, urgent: self.urgent, ..moved };
    }

    /// The ends of the alerts that were open in the body of a snapshot, whatever settings it was made under; see
    /// [`snapshot::endings`].
    ///
    /// # Errors
    /// Bytes that no entity can have written.
    pub fn endings(body: &[u8], cause: Cause, offset: i64) -> Result<Vec<Alert>, SnapshotError> {
        match Parts::of(body)?.state {
            Part::Probation(_) => Ok(Vec::new()),
            Part::Trained(detector) => snapshot::endings(detector, cause, offset),
        }
    }
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8]) -> Result<Self, SnapshotError> {
        let (accumulator, rest) = body.split_first_chunk::<8>().ok_or(SnapshotError::Malformed)?;
        let (kept, rest) = postcard::take_from_bytes::<Kept>(rest).map_err(|_| SnapshotError::Malformed)?;
        let state = match rest.split_first() {
            Some((0, rows)) => Part::Probation(rows),
            Some((1, rest)) => {
                let (format, detector) = rest.split_first_chunk::<2>().ok_or(SnapshotError::Malformed)?;
                if u16::from_le_bytes(*format) != snapshot::FORMAT {
                    return Err(SnapshotError::Unsound("format"));
                }
                Part::Trained(detector)
            }
            Some(_) | None => return Err(SnapshotError::Malformed),
        };
        Ok(Self { accumulator: u64::from_le_bytes(*accumulator), kept, state })
    }
}

impl KeptRow {
    fn named<'a>(&self, channels: &'a Channels) -> NamedRow<'a> {
        NamedRow(self.at, self.offset, self.values.iter().map(|(id, value)| (channels.name(*id), *value)).collect())
    }

    /// Names that are no longer selected are dropped.
    fn of(NamedRow(at, offset, named): NamedRow<'_>, channels: &mut Channels) -> Self {
        let values = named.into_iter().filter_map(|(name, value)| match channels.intern(name) {
            Lookup::Channel(id) => Some((id, value)),
            Lookup::Ignored | Lookup::Full => None,
        });
        Self { at, offset, values: values.collect() }
    }
}
