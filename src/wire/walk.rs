//! What is found on the way through a message, whoever reads its bytes: fields by their roles, and the measurements. The wide
//! format collects an object's numbers, the long one a name and a number.

use super::bounds::{MAX_MEASUREMENTS, check_entity, number};
use super::channels::{ChannelId, Channels, Lookup};
use super::fields::{Fields, Mask, Role};
use super::format::MAX_ENTITY_PARTS;
use super::path::Path;
use super::rejection::{Rejected, Rejection};
use crate::detector::row::EventTime;

/// Bytes of a channel's name at most.
const MAX_NAME: usize = 256;

/// What a field turned out to hold, as far as it was looked for.
#[derive(Clone, Debug, Default, PartialEq)]
enum Found<T> {
    /// It is not there, or null.
    #[default]
    Absent,
    /// It is there and of no use: what it is.
    Invalid(&'static str),
    Is(T),
}

/// Buffers of the walk, used again for every message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scratch {
    /// Name of the value being read, from the values object on.
    name: String,
    /// Of each channel: the last message it was in, and its place among the measurements.
    seen: Vec<(u64, usize)>,
    message: u64,
    entity: Vec<Found<()>>,
    entity_text: Vec<String>,
    time: Found<EventTime>,
    channel: Found<()>,
    channel_text: String,
    value: Found<f32>,
    /// The values object was there.
    has_values: bool,
    /// A selected channel (of a long message: the value) was named, if only with null.
    named: bool,
    /// A channel was taken back by a later null.
    holes: bool,
    pub(super) rejected: Option<Rejected>,
}

impl Scratch {
    fn begin(&mut self, fields: &Fields) {
        self.name.clear();
        self.message += 1;
        self.entity.clear();
        self.entity.resize(MAX_ENTITY_PARTS, Found::Absent);
        self.entity_text.resize(MAX_ENTITY_PARTS, String::new());
        self.time = Found::Absent;
        self.channel = Found::Absent;
        self.value = Found::Absent;
        self.has_values = fields.values_at_root;
        self.named = false;
        self.holes = false;
        self.rejected = None;
    }

    /// Joins the parts found into `entity`, so that no two lists of parts make one name.
    pub(super) fn entity(&self, paths: &[Path], entity: &mut String) -> Result<(), Rejected> {
        for (part, path) in paths.iter().enumerate().take(MAX_ENTITY_PARTS) {
            match self.entity[part] {
                Found::Absent => {
                    return Err(Rejection::MissingEntity.because(format!("there is no field `{path}`")));
                }
                Found::Invalid(what) => {
                    return Err(Rejection::InvalidEntity
                        .because(format!("`{path}` is {what}, neither text nor a whole number")));
                }
                Found::Is(()) if self.entity_text[part].is_empty() => {
                    return Err(Rejection::InvalidEntity.because(format!("`{path}` is empty")));
                }
                Found::Is(()) if paths.len() == 1 => entity.push_str(&self.entity_text[part]),
                Found::Is(()) => {
                    if part > 0 {
                        entity.push('/');
                    }
                    push_part(&self.entity_text[part], entity);
                }
            }
        }
        check_entity(entity)
    }

    /// The timestamp found.
    pub(super) fn time(&self, path: &Path) -> Result<EventTime, Rejected> {
        match self.time {
            Found::Absent => Err(Rejection::MissingTimestamp.because(format!("there is no field `{path}`"))),
            Found::Invalid(what) => Err(Rejection::InvalidTimestamp
                .because(format!("`{path}` is {what}, not an instant from 1970 to 2200 in the configured unit"))),
            Found::Is(at) => Ok(at),
        }
    }
}

/// A value that is no object.
#[derive(Clone, Copy)]
pub(super) enum Leaf<'a> {
    Null,
    Bool,
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Array,
}

impl Leaf<'_> {
    const fn what(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Array => "an array",
        }
    }
}

/// What is found on the way through a message, whoever reads its bytes.
pub(super) struct Walk<'w> {
    pub(super) fields: &'w Fields,
    pub(super) channels: &'w mut Channels,
    pub(super) scratch: &'w mut Scratch,
    pub(super) out: &'w mut Vec<(ChannelId, f32)>,
}

impl Walk<'_> {
    /// A message begins: the wanted fields below it, and whether it holds the values itself.
    pub(super) fn begin(&mut self) -> (Mask, bool) {
        self.scratch.begin(self.fields);
        self.channels.rewind();
        self.out.clear();
        (self.fields.all(), self.fields.values_at_root)
    }

    /// An object begins. `true`: it is the one that holds the values.
    pub(super) fn enter(&mut self, mask: Mask, level: usize) -> bool {
        let mut is_values = false;
        for role in self.fields.ending(mask, level) {
            match role {
                Role::Values => {
                    self.scratch.has_values = true;
                    is_values = true;
                }
                Role::Entity(part) => self.scratch.entity[part] = Found::Invalid("an object"),
                Role::Timestamp => self.scratch.time = Found::Invalid("an object"),
                Role::Channel => self.scratch.channel = Found::Invalid("an object"),
                Role::Value => self.scratch.value = Found::Invalid("an object"),
            }
        }
        is_values
    }

    /// A name in an object: the wanted fields below it. Within the values it becomes the end of the channel's name, which is cut
    /// back to its length by [`Walk::leave`].
    pub(super) fn key(&mut self, mask: Mask, level: usize, inside: bool, key: &str) -> Mask {
        if inside {
            let name = &mut self.scratch.name;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(key);
        }
        self.fields.below(mask, level, key)
    }

    /// Length of the name so far.
    pub(super) fn name_len(&self) -> usize {
        self.scratch.name.len()
    }

    /// What a name stood for has been read.
    pub(super) fn leave(&mut self, name_len: usize) {
        self.scratch.name.truncate(name_len);
    }

    /// A value that is no object.
    pub(super) fn leaf(&mut self, mask: Mask, level: usize, inside: bool, leaf: Leaf<'_>) -> Result<(), Rejected> {
        let fields = self.fields;
        let mut claimed = false;
        for role in fields.ending(mask, level) {
            claimed = true;
            self.capture(role, leaf);
        }
        if inside && !claimed {
            return self.measure(leaf);
        }
        Ok(())
    }

    /// A leaf with a role of its own.
    fn capture(&mut self, role: Role, leaf: Leaf<'_>) {
        let scratch = &mut *self.scratch;
        match role {
            Role::Entity(part) => {
                scratch.entity[part] = text_of(leaf, &mut scratch.entity_text[part]);
            }
            Role::Channel => scratch.channel = text_of(leaf, &mut scratch.channel_text),
            Role::Timestamp => {
                let unit = self.fields.unit;
                let at = match leaf {
                    Leaf::Null => {
                        scratch.time = Found::Absent;
                        return;
                    }
                    Leaf::Integer(number) => unit.of_integer(number),
                    Leaf::Float(number) => unit.of_float(number),
                    Leaf::Text(text) => unit.of_text(text),
                    Leaf::Bool | Leaf::Array => None,
                };
                scratch.time = at.map_or(Found::Invalid(leaf.what()), Found::Is);
            }
            Role::Value => {
                scratch.named = true;
                scratch.value = match leaf {
                    Leaf::Null => Found::Absent,
                    Leaf::Integer(value) => finite(value as f64),
                    Leaf::Float(value) => finite(value),
                    Leaf::Bool | Leaf::Text(_) | Leaf::Array => Found::Invalid(leaf.what()),
                };
            }
            Role::Values => scratch.has_values = false,
        }
    }

    /// A leaf within the values.
    fn measure(&mut self, leaf: Leaf<'_>) -> Result<(), Rejected> {
        let name = &self.scratch.name;
        if name.is_empty() || name.len() > MAX_NAME {
            if self.channels.selects(name) {
                return Err(invalid_name(name));
            }
            return Ok(());
        }
        let id = match self.channels.intern_next(name) {
            Lookup::Channel(id) => id,
            Lookup::Ignored => return Ok(()),
            Lookup::Full => return Err(too_many(name)),
        };
        let value = match leaf {
            Leaf::Null => f32::NAN,
            Leaf::Integer(value) => self.finite_or_reject(value as f64)?,
            Leaf::Float(value) => self.finite_or_reject(value)?,
            Leaf::Bool | Leaf::Text(_) | Leaf::Array => {
                return Err(Rejection::NotANumber.because(format!("channel `{name}` is {}", leaf.what())));
            }
        };
        self.scratch.named = true;
        self.scratch.holes |= value.is_nan();
        if self.scratch.seen.len() <= id.index() {
            self.scratch.seen.resize(id.index() + 1, (0, 0));
        }
        let seen = &mut self.scratch.seen[id.index()];
        if seen.0 == self.scratch.message {
            self.out[seen.1].1 = value;
            return Ok(());
        }
        if self.out.len() >= MAX_MEASUREMENTS {
            return Err(too_many(&self.scratch.name));
        }
        *seen = (self.scratch.message, self.out.len());
        self.out.push((id, value));
        Ok(())
    }

    fn finite_or_reject(&self, value: f64) -> Result<f32, Rejected> {
        number(value).ok_or_else(|| out_of_range(&self.scratch.name, value))
    }

    /// The end of a wide message.
    pub(super) fn finish(&mut self) -> Result<(), Rejected> {
        if !self.scratch.has_values {
            return Err(Rejection::MissingValues.because("there is no object `input.values`"));
        }
        if !self.scratch.named {
            return Err(Rejection::MissingValues.because("no selected channel is in the values"));
        }
        if self.scratch.holes {
            self.out.retain(|(_, value)| !value.is_nan());
        }
        Ok(())
    }

    /// The end of a long message.
    pub(super) fn measure_one(&mut self) -> Result<bool, Rejected> {
        let name = &self.scratch.channel_text;
        match self.scratch.channel {
            Found::Absent => {
                return Err(Rejection::MissingValues.because("the message names no channel"));
            }
            Found::Invalid(what) => {
                return Err(Rejection::InvalidChannel.because(format!("the channel's name is {what}")));
            }
            Found::Is(()) if name.is_empty() || name.len() > MAX_NAME => {
                return Err(invalid_name(name));
            }
            Found::Is(()) => {}
        }
        let id = match self.channels.intern(name) {
            Lookup::Channel(id) => id,
            Lookup::Ignored => return Ok(false),
            Lookup::Full => return Err(too_many(name)),
        };
        match self.scratch.value {
            Found::Absent if !self.scratch.named => {
                Err(Rejection::MissingValues.because("there is no field with the value"))
            }
            Found::Absent => Ok(false),
            Found::Invalid(OUT_OF_RANGE) => Err(out_of_range(name, f64::INFINITY)),
            Found::Invalid(what) => Err(Rejection::NotANumber.because(format!("channel `{name}` is {what}"))),
            Found::Is(value) => {
                self.out.push((id, value));
                Ok(true)
            }
        }
    }
}

const OUT_OF_RANGE: &str = "out of range";

fn finite(value: f64) -> Found<f32> {
    number(value).map_or(Found::Invalid(OUT_OF_RANGE), Found::Is)
}

fn text_of(leaf: Leaf<'_>, buffer: &mut String) -> Found<()> {
    buffer.clear();
    match leaf {
        Leaf::Null => Found::Absent,
        Leaf::Text(text) => {
            buffer.push_str(text);
            Found::Is(())
        }
        Leaf::Integer(number) => {
            std::fmt::Write::write_fmt(buffer, format_args!("{number}")).expect("a String takes everything");
            Found::Is(())
        }
        Leaf::Bool | Leaf::Float(_) | Leaf::Array => Found::Invalid(leaf.what()),
    }
}

/// A part of several: `/` is what joins them.
fn push_part(part: &str, entity: &mut String) {
    for c in part.chars() {
        match c {
            '/' => entity.push_str("%2F"),
            '%' => entity.push_str("%25"),
            c => entity.push(c),
        }
    }
}

fn invalid_name(name: &str) -> Rejected {
    Rejection::InvalidChannel.because(format!("a channel's name has {} bytes, not 1 to {MAX_NAME}", name.len()))
}

fn too_many(name: &str) -> Rejected {
    Rejection::TooManyChannels.because(format!("there is no room for channel `{name}`"))
}

fn out_of_range(name: &str, value: f64) -> Rejected {
    Rejection::NumberOutOfRange.because(if value.is_finite() {
        format!("channel `{name}` is {value:e}, more than a 32-bit float can hold")
    } else {
        format!("channel `{name}` is more than a 32-bit float can hold")
    })
}
