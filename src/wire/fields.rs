//! Which fields of a message mean what, looked up level by level while the message is read.

use super::decoder::{EntityFrom, Format, Settings, TimeFrom};
use super::timestamp::Unit;

/// A field by the names on the way to it, written with dots. No name: the message itself, written `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Box<str>>);

impl Path {
    /// From its written form. A dot in front is allowed (`.key` is the field `key`).
    ///
    /// # Errors
    /// A name between two dots is empty, or there are more than sixteen.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let names: Vec<Box<str>> = text.split('.').map(Into::into).collect();
        if names.iter().any(|name| name.is_empty()) {
            return Err("a name between two dots is empty");
        }
        if names.len() > 16 {
            return Err("more than sixteen levels");
        }
        Ok(Self(names))
    }

    /// Whether `inner` lies below it.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        inner.0.len() > self.0.len() && inner.0.starts_with(&self.0)
    }

    /// The path of what is named so below it, dots included.
    #[must_use]
    pub fn join(&self, name: &str) -> String {
        if self.is_root() { name.to_owned() } else { format!("{self}.{name}") }
    }

    /// Whether it is the message itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (level, name) in self.0.iter().enumerate() {
            if level > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The n-th part of the entity.
    Entity(usize),
    Timestamp,
    /// The object that holds the values.
    Values,
    /// The name of the one measurement.
    Channel,
    /// The value of the one measurement.
    Value,
}

/// The fields that a message is searched for: sixteen at most, so that a set of them is a mask.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    wanted: Vec<(Path, Role)>,
    pub(super) unit: Unit,
    /// The message itself holds the values.
    pub(super) values_at_root: bool,
    pub(super) long: bool,
}

/// A set of wanted fields.
pub(super) type Mask = u32;

impl Fields {
    /// Parts of an entity's name at most.
    pub(super) const MAX_ENTITY_PARTS: usize = super::decoder::MAX_ENTITY_PARTS;

    pub(super) fn of(settings: &Settings) -> Self {
        let mut wanted = Vec::new();
        if let EntityFrom::Fields(paths) = &settings.entity {
            let parts = paths.iter().take(Self::MAX_ENTITY_PARTS).enumerate();
            wanted.extend(parts.map(|(part, path)| (path.clone(), Role::Entity(part))));
        }
        let mut unit = Unit::Auto;
        if let TimeFrom::Field { path, unit: of } = &settings.timestamp {
            wanted.push((path.clone(), Role::Timestamp));
            unit = *of;
        }
        let (mut values_at_root, mut long) = (false, false);
        match &settings.format {
            Format::JsonWide { values } if values.is_root() => values_at_root = true,
            Format::JsonWide { values } => wanted.push((values.clone(), Role::Values)),
            Format::JsonLong { channel, value } => {
                long = true;
                wanted.push((channel.clone(), Role::Channel));
                wanted.push((value.clone(), Role::Value));
            }
        }
        Self { wanted, unit, values_at_root, long }
    }

    /// All of them.
    pub(super) fn all(&self) -> Mask {
        (1 << self.wanted.len()) - 1
    }

    /// Those of `mask` whose name at `level` is `name`.
    pub(super) fn below(&self, mask: Mask, level: usize, name: &str) -> Mask {
        let mut found = 0;
        let mut rest = mask;
        while rest != 0 {
            let field = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let names = &self.wanted[field].0.0;
            if names.get(level).is_some_and(|wanted| **wanted == *name) {
                found |= 1 << field;
            }
        }
        found
    }

    /// The roles of those of `mask` that end at a depth of `levels`.
    pub(super) fn ending(&self, mask: Mask, levels: usize) -> impl Iterator<Item = Role> + '_ {
        let wanted = self.wanted.iter().enumerate();
        wanted.filter_map(move |(field, (path, role))| {
            (mask & (1 << field) != 0 && path.0.len() == levels).then_some(*role)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_written_with_dots() {
        assert_eq!(Path::new("a.b").unwrap().to_string(), "a.b");
        assert_eq!(Path::new(".key").unwrap(), Path::new("key").unwrap());
        assert!(Path::new(".").unwrap().is_root());
        let path = |text| Path::new(text).unwrap();
        assert!(path("a").contains(&path("a.b")) && path(".").contains(&path("a")));
        assert!(!path("a").contains(&path("a")) && !path("a").contains(&path("ab.c")));
        assert_eq!((path("a.b").join("c.d"), path(".").join("c")), ("a.b.c.d".to_owned(), "c".to_owned()));
        assert!(Path::new("a..b").is_err());
        assert!(Path::new(&"a.".repeat(16)).is_err());
        assert!(Path::new(&vec!["a"; 17].join(".")).is_err());
    }
}
