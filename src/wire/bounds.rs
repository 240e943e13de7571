//! What a message may hold at most.

use super::rejection::{Rejected, Rejection};
use crate::detector::schema::MAX_CHANNELS;

/// Bytes of an entity's name at most: it is part of keys.
pub const MAX_ENTITY: usize = 512;

/// Whether a name can be an entity's.
///
/// # Errors
/// What is wrong with it: the record is refused.
pub fn check_entity(entity: &str) -> Result<(), Rejected> {
    if entity.is_empty() {
        return Err(Rejection::InvalidEntity.because("the entity is empty"));
    }
    if entity.len() > MAX_ENTITY {
        return Err(
            Rejection::InvalidEntity.because(format!("the entity has {} bytes, more than {MAX_ENTITY}", entity.len()))
        );
    }
    Ok(())
}

/// A measurement as the core holds it; `None` if a 32-bit float cannot. Everything that reads numbers (JSON, CSV) goes
/// through a 64-bit float and this, so that the same text gives the same bits.
#[must_use]
pub fn number(value: f64) -> Option<f32> {
    let value = value as f32;
    value.is_finite().then_some(value)
}

/// More measurements than this refuse a record.
pub(super) const MAX_MEASUREMENTS: usize = MAX_CHANNELS;
