//! One record in, one row's measurements out. What is not selected is skipped unread; nothing is allocated once the names
//! of a lane's channels are known (serde_json itself allocates once for a message with escapes or with nested values to skip).
//!
//! - A name given twice: the last value counts; objects given twice are merged.
//! - `null` is a missing value. Text, booleans and arrays in a selected channel refuse the record.
//! - Objects within the values are read through: `{"motor": {"temp": 1}}` is the channel `motor.temp`.
//! - An entity field may be text or a whole number. Several are joined by `/`, none may be empty, and a `/` or `%`
//!   within one is written `%2F` or `%25`.
//! - A tombstone (no payload) says that the entity of the record's key is gone.

use super::bounds::check_entity;
use super::channels::{ChannelId, Channels};
use super::fields::Fields;
use super::format::{EntityFrom, Settings, TimeFrom};
use super::json;
use super::rejection::{Rejected, Rejection};
use super::timestamp;
use super::walk::Scratch;
use crate::detector::row::EventTime;

/// A record as far as decoding sees it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The record's own timestamp.
    pub timestamp: Option<EventTime>,
}

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `entity`, `at` and `measurements` are filled in. No measurements: every channel that was named is missing.
    Measurements,
    /// `entity` and `at` are filled in, and there is nothing to measure: a long message with null, or of a channel that is not selected.
    Nothing,
    /// The entity is gone: `entity` is filled in.
    Tombstone,
}

/// A decoded message, to be used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Whose row.
    pub entity: String,
    /// When it was measured.
    pub at: EventTime,
    /// Each channel at most once, in the message's order; missing ones are absent, every value is finite.
    pub measurements: Vec<(ChannelId, f32)>,
}

/// Reads the messages of one lane.
#[derive(Clone, Debug)]
pub struct Decoder {
    settings: Settings,
    fields: Fields,
    channels: Channels,
    scratch: Scratch,
}

impl Decoder {
    /// A decoder that knows no channel yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let fields = Fields::of(&settings);
        let channels = Channels::new(settings.channels.clone());
        Self { settings, fields, channels, scratch: Scratch::default() }
    }

    /// The names behind the [`ChannelId`]s.
    #[must_use]
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The same, to take in the names of a restored schema.
    pub fn channels_mut(&mut self) -> &mut Channels {
        &mut self.channels
    }

    /// Reads one message into `out`, whatever was in it before.
    ///
    /// # Errors
    /// Says why the record is refused; `out` is of no use then.
    pub fn decode(&mut self, message: &Message<'_>, out: &mut Decoded) -> Result<Content, Rejected> {
        out.entity.clear();
        out.measurements.clear();
        if self.settings.entity == EntityFrom::Key {
            entity_of_key(message.key, &mut out.entity)?;
        }
        let Some(payload) = message.payload else {
            return match self.settings.entity {
                EntityFrom::Key => Ok(Content::Tombstone),
                EntityFrom::Fields(_) => {
                    Err(Rejection::MissingEntity
                        .because("a tombstone names no entity unless `input.entity` is \"key\""))
                }
            };
        };
        if payload.len() > self.settings.max_record_size {
            return Err(Rejection::TooLarge.because(format!(
                "the value has {} bytes, more than {}",
                payload.len(),
                self.settings.max_record_size
            )));
        }
        let text = std::str::from_utf8(payload)
            .map_err(|error| Rejection::InvalidUtf8.because(format!("byte {} is not UTF-8", error.valid_up_to())))?;

        let measured = json::read(text, &self.fields, &mut self.channels, &mut self.scratch, &mut out.measurements)?;
        if let EntityFrom::Fields(paths) = &self.settings.entity {
            self.scratch.entity(paths, &mut out.entity)?;
        }
        out.at = self.time(message)?;
        Ok(if measured { Content::Measurements } else { Content::Nothing })
    }

    fn time(&self, message: &Message<'_>) -> Result<EventTime, Rejected> {
        let at = match &self.settings.timestamp {
            TimeFrom::Record => {
                let at = message
                    .timestamp
                    .ok_or_else(|| Rejection::MissingTimestamp.because("the record has no timestamp of its own"))?;
                timestamp::in_range(at.micros()).ok_or_else(|| {
                    Rejection::InvalidTimestamp.because("the record's timestamp is before 1970 or after 2200")
                })?
            }
            TimeFrom::Field { path, .. } => self.scratch.time(path)?,
        };
        if let Some(written) = message.timestamp
            && at.micros().saturating_sub(written.micros()) > self.settings.max_future
        {
            return Err(Rejection::TimestampInFuture.because(format!(
                "{} is later than the record itself ({}) by more than `input.max_future`",
                timestamp::to_rfc3339(at),
                timestamp::to_rfc3339(written)
            )));
        }
        Ok(at)
    }
}

fn entity_of_key(key: Option<&[u8]>, entity: &mut String) -> Result<(), Rejected> {
    let key = key.ok_or_else(|| Rejection::MissingEntity.because("the record has no key"))?;
    let key =
        std::str::from_utf8(key).map_err(|_| Rejection::InvalidEntity.because("the record's key is not UTF-8"))?;
    entity.push_str(key);
    check_entity(entity)
}

#[cfg(test)]
mod tests;
