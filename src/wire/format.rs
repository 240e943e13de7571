//! How the messages of an input are built: what the config says of them.

use super::channels::Selection;
use super::path::Path;
use super::timestamp::Unit;

/// Fields that make up an entity's name at most.
pub const MAX_ENTITY_PARTS: usize = 8;

/// How measurements stand in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// All channels of a row in one message, in the object at this path (empty: the top level without the other fields).
    JsonWide {
        /// Where they are.
        values: Path,
    },
    /// One measurement a message.
    JsonLong {
        /// Where the channel's name is.
        channel: Path,
        /// Where its value is.
        value: Path,
    },
}

/// What names the entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityFrom {
    /// The record's key.
    Key,
    /// These fields, joined by `/`; see [`super::decoder`].
    Fields(Vec<Path>),
}

/// What says when it was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFrom {
    /// The record's own timestamp.
    Record,
    /// A field.
    Field {
        /// Where it is.
        path: Path,
        /// How to read it.
        unit: Unit,
    },
}

/// Everything a decoder has to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Wide or long.
    pub format: Format,
    /// Whose row it is.
    pub entity: EntityFrom,
    /// When it was.
    pub timestamp: TimeFrom,
    /// Which channels.
    pub channels: Selection,
    /// How much later than the record's own timestamp a row may be, in microseconds.
    pub max_future: i64,
    /// Longest payload in bytes.
    pub max_record_size: usize,
}
