//! The names of the channels of a lane, each with a small number, so that no record allocates for names seen before.

use globset::{Glob, GlobSet, GlobSetBuilder};
use std::collections::HashMap;

/// A channel name within one lane. The numbers depend on the order in which names were seen: never part of any state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(u16);

impl ChannelId {
    /// Index into tables that have one place for each channel of the lane.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of the names in the input are channels.
#[derive(Clone, Debug)]
pub struct Selection {
    patterns: Vec<String>,
    globs: Option<GlobSet>,
}

impl Selection {
    /// Every name.
    #[must_use]
    pub fn all() -> Self {
        Self { patterns: Vec::new(), globs: None }
    }

    /// The names that match one of the patterns (a plain name matches itself); no pattern: every name.
    ///
    /// # Errors
    /// The pattern that cannot be read, and why.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self::all());
        }
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            globs.add(Glob::new(pattern).map_err(|error| error.to_string())?);
        }
        Ok(Self { patterns: patterns.to_vec(), globs: Some(globs.build().map_err(|error| error.to_string())?) })
    }

    /// The patterns it was made of; empty: every name.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether this name is a channel.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        self.globs.as_ref().is_none_or(|globs| globs.is_match(name))
    }
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

/// What a name turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A channel.
    Channel(ChannelId),
    /// A name that is not selected.
    Ignored,
    /// A new channel for which there is no room.
    Full,
}

/// The symbol table of one lane.
#[derive(Clone, Debug)]
pub struct Channels {
    selection: Selection,
    names: Vec<Box<str>>,
    known: HashMap<Box<str>, Option<ChannelId>>,
    /// The channels of the last record in its order: nearly always those of the next one too.
    order: Vec<ChannelId>,
    at: usize,
}

impl Channels {
    /// Names, ignored ones included, that one lane remembers.
    pub const MAX: usize = 16_384;

    /// An empty table.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        Self { selection, names: Vec::new(), known: HashMap::new(), order: Vec::new(), at: 0 }
    }

    /// How many channels have a number; they are 0 up to it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The channel of this number.
    #[must_use]
    pub fn id(&self, index: usize) -> Option<ChannelId> {
        (index < self.names.len()).then_some(ChannelId(index as u16))
    }

    /// No channel was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a name would be a channel.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        self.selection.selects(name)
    }

    /// The name of a channel of this table.
    #[must_use]
    pub fn name(&self, id: ChannelId) -> &str {
        &self.names[id.index()]
    }

    /// The channel of this name, if it was seen.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.known.get(name).copied().flatten()
    }

    /// The channel of this name, which becomes one if it is selected and there is room. A restored schema goes in by this door too.
    pub fn intern(&mut self, name: &str) -> Lookup {
        if let Some(&known) = self.known.get(name) {
            return known.map_or(Lookup::Ignored, Lookup::Channel);
        }
        if !self.selection.selects(name) {
            if self.known.len() < Self::MAX {
                self.known.insert(name.into(), None);
            }
            return Lookup::Ignored;
        }
        let Ok(id) = u16::try_from(self.names.len()) else {
            return Lookup::Full;
        };
        if self.known.len() >= Self::MAX {
            return Lookup::Full;
        }
        let id = ChannelId(id);
        self.names.push(name.into());
        self.known.insert(name.into(), Some(id));
        Lookup::Channel(id)
    }

    /// As [`Channels::intern`], for the next name of a record: first held against what stood there in the last record.
    pub(super) fn intern_next(&mut self, name: &str) -> Lookup {
        let at = self.at;
        if let Some(&id) = self.order.get(at)
            && *self.names[id.index()] == *name
        {
            self.at += 1;
            return Lookup::Channel(id);
        }
        let found = self.intern(name);
        if let Lookup::Channel(id) = found {
            if at < self.order.len() {
                self.order[at] = id;
            } else if self.order.len() < crate::detector::schema::MAX_CHANNELS {
                self.order.push(id);
            }
            self.at += 1;
        }
        found
    }

    /// A new record begins.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn channel(found: Lookup) -> ChannelId {
        match found {
            Lookup::Channel(id) => id,
            Lookup::Ignored | Lookup::Full => panic!("{found:?} is no channel"),
        }
    }

    #[test]
    fn a_name_keeps_its_number_in_any_order() {
        let mut channels = Channels::new(Selection::all());
        let (a, b) = (channel(channels.intern_next("a")), channel(channels.intern_next("b")));
        channels.rewind();
        assert_eq!(channels.intern_next("b"), Lookup::Channel(b));
        assert_eq!(channels.intern_next("a"), Lookup::Channel(a));
        assert_eq!(channels.name(a), "a");
        assert_eq!(channels.find("b"), Some(b));
        assert_eq!(channels.find("c"), None);
    }

    #[test]
    fn names_and_patterns_select() {
        let selection = Selection::new(&["temp".into(), "vib_*".into()]).unwrap();
        let mut channels = Channels::new(selection);
        channel(channels.intern("temp"));
        channel(channels.intern("vib_x"));
        assert_eq!(channels.intern("temperature"), Lookup::Ignored);
        assert_eq!(channels.len(), 2);
        assert!(Selection::new(&["a[".into()]).is_err());
    }

    #[test]
    fn a_flood_of_names_ends_at_the_cap_and_known_ones_go_on() {
        let mut channels = Channels::new(Selection::all());
        let first = channel(channels.intern("first"));
        for n in 0..2 * Channels::MAX {
            channels.intern(&format!("c{n}"));
        }
        assert_eq!(channels.intern("one more"), Lookup::Full);
        assert_eq!(channels.len(), Channels::MAX);
        assert_eq!(channels.intern("first"), Lookup::Channel(first));
    }
}
