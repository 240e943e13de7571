//! A detector as versioned bytes, and back. The body is postcard (floats as raw bits, lengths before contents); what is
//! read back is believed only after every length and number was held against the settings.

use super::alert::{Alert, Cause};
use super::learn::EARLY;
use super::settings::Pace;
use super::{Detector, Early, Settings, Streams, schema};
use std::fmt;
use std::sync::Arc;

/// Format of the body. Raise it with every change of a state's fields.
pub const FORMAT: u16 = 1;

/// Why bytes are no state of a detector with these settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Not the encoding of any detector.
    Malformed,
    /// The encoding of a detector that these settings cannot have made: the part that does not fit.
    Unsound(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a detector's state"),
            Self::Unsound(part) => write!(f, "state of the {part} does not fit the config"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Whether a decoded part may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soundness(Result<(), &'static str>);

impl Soundness {
    /// Sound, or the part that is not.
    #[must_use]
    pub fn of(sound: bool, part: &'static str) -> Self {
        Self(if sound { Ok(()) } else { Err(part) })
    }

    /// The first fault of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.and(other.0))
    }

    pub(super) fn check(self) -> Result<(), SnapshotError> {
        self.0.map_err(SnapshotError::Unsound)
    }
}

/// No NaN, no infinity.
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Appends the whole learned state of `detector` to `out`.
pub fn encode(detector: &Detector, out: &mut Vec<u8>) {
    let buffer = std::mem::take(out);
    *out = postcard::to_extend(detector, buffer).expect("a growing buffer takes every state");
}

/// The detector that [`encode`] wrote, under the same settings.
///
/// # Errors
/// Bytes that no such detector can have written.
pub fn decode(bytes: &[u8], settings: &Arc<Settings>) -> Result<Detector, SnapshotError> {
    let mut detector = parse(bytes)?;
    detector.adopt(settings);
    detector.soundness().check()?;
    Ok(detector)
}

/// [`Detector::endings`] of a detector that [`encode`] wrote under whatever settings; it is of no other use under these.
///
/// # Errors
/// Bytes that are no detector.
pub fn endings(bytes: &[u8], cause: Cause, offset: i64) -> Result<Vec<Alert>, SnapshotError> {
    Ok(parse(bytes)?.endings(cause, offset))
}

fn parse(bytes: &[u8]) -> Result<Detector, SnapshotError> {
    match postcard::take_from_bytes::<Detector>(bytes) {
        Ok((detector, [])) => Ok(detector),
        Ok(_) | Err(_) => Err(SnapshotError::Malformed),
    }
}

impl Detector {
    fn adopt(&mut self, settings: &Arc<Settings>) {
        self.pace = Pace::of(settings);
        self.settings = Arc::clone(settings);
    }

    /// Is a decoded detector one that its settings could have made?
    fn soundness(&self) -> Soundness {
        let channels = self.schema.n_channels();
        let settings = &self.settings;
        let small = settings.is_small(channels);
        let early = match &self.early {
            Early::Gathering(rows) => rows.len() <= 2 * EARLY as usize && rows.iter().all(|row| all_finite(row)),
            Early::Settled(units) => units.iter().all(|unit| unit.is_finite() && *unit > 0.0),
        };
        let shape = (1..=schema::MAX_CHANNELS).contains(&channels)
            && self.fast.len() == if small { channels } else { 0 }
            && self.warmup.is_some() != self.model.is_some()
            && early
            && self.schema.channels().iter().all(|channel| (0.0..=f32::MAX).contains(&channel.resolution));
        let mut sound = Soundness::of(shape, "schema").and(self.level.soundness(
            channels,
            small && settings.clock,
            &settings.level,
        ));
        for fast in &self.fast {
            sound = sound.and(fast.soundness());
        }
        if let Some(warmup) = &self.warmup {
            sound = sound.and(warmup.soundness(channels));
        }
        if let Some(model) = &self.model {
            sound = sound.and(model.soundness(channels, settings));
        }
        let Streams { deviation, smoothed, season, fast_or_window, score } = &self.streams;
        for stream in [deviation, smoothed, season, fast_or_window, score] {
            sound = sound.and(stream.soundness());
        }
        sound.and(self.threshold.soundness()).and(self.episode.soundness())
    }
}
