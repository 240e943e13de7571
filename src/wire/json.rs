//! One walk through a JSON message, straight from its bytes into measurements: no tree, no map. Plain messages take the short
//! cut of [`super::plain`], all others serde_json's way.
//!
//! Depth: serde_json refuses what is nested deeper than 128 levels where we look, and skips the rest without recursion.

use super::channels::{ChannelId, Channels};
use super::fields::{Fields, Mask};
use super::plain;
use super::rejection::{Rejected, Rejection};
use super::walk::{Leaf, Scratch, Walk};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads `text` and leaves the channels in `out`. `true`: there was something to measure; `false`: a long message of a channel that
/// is not selected, or with null.
pub(super) fn read(
    text: &str,
    fields: &Fields,
    channels: &mut Channels,
    scratch: &mut Scratch,
    out: &mut Vec<(ChannelId, f32)>,
) -> Result<bool, Rejected> {
    let mut walk = Walk { fields, channels, scratch, out };
    if plain::read(text, &mut walk).is_none() {
        read_any(text, &mut walk)?;
    }
    if fields.long {
        return walk.measure_one();
    }
    walk.finish()?;
    Ok(true)
}

/// Reads a whole message with serde_json.
pub(super) fn read_any(text: &str, walk: &mut Walk<'_>) -> Result<(), Rejected> {
    let (mask, inside) = walk.begin();
    let mut json = serde_json::Deserializer::from_str(text);
    let object = Node { mask, level: 0, inside, walk };
    let end = json.deserialize_map(object).and_then(|()| json.end());
    end.map_err(|error| {
        let rejected = walk.scratch.rejected.take();
        rejected.unwrap_or_else(|| Rejection::MalformedJson.because(error.to_string()))
    })
}

/// One value of the message: where it is, and what is looked for below it.
struct Node<'s, 'w> {
    walk: &'s mut Walk<'w>,
    /// The wanted fields on whose way it lies.
    mask: Mask,
    /// Names on the way to it.
    level: usize,
    /// It lies within the values.
    inside: bool,
}

impl Node<'_, '_> {
    fn leaf<E: de::Error>(self, leaf: Leaf<'_>) -> Result<(), E> {
        self.walk.leaf(self.mask, self.level, self.inside, leaf).map_err(|rejected| {
            self.walk.scratch.rejected = Some(rejected);
            // Never shown: the reason waits in the scratch.
            E::custom("")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.mask == 0 && !self.inside {
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, mask, level, inside } = self;
        let inside = walk.enter(mask, level) || inside;
        let length = walk.name_len();
        while let Some(mask) = map.next_key_seed(Key { walk, mask, level, inside })? {
            map.next_value_seed(Node { walk, mask, level: level + 1, inside })?;
            walk.leave(length);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.leaf(Leaf::Array)?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.leaf(Leaf::Null)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.leaf(Leaf::Bool)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.leaf(Leaf::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.leaf(i64::try_from(number).map_or(Leaf::Float(number as f64), Leaf::Integer))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.leaf(Leaf::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.leaf(Leaf::Text(text))
    }
}

/// A name in an object: becomes the wanted fields below it, and the end of the channel's name.
struct Key<'s, 'w> {
    walk: &'s mut Walk<'w>,
    mask: Mask,
    level: usize,
    inside: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Mask;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Mask, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Mask;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Mask, E> {
        Ok(self.walk.key(self.mask, self.level, self.inside, key))
    }
}
