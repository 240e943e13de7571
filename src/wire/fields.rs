//! Which fields of a message mean what, looked up level by level while the message is read.

use super::format::{EntityFrom, Format, MAX_ENTITY_PARTS, Settings, TimeFrom};
use super::path::Path;
use super::timestamp::Unit;

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
    pub(super) fn of(settings: &Settings) -> Self {
        let mut wanted = Vec::new();
        if let EntityFrom::Fields(paths) = &settings.entity {
            let parts = paths.iter().take(MAX_ENTITY_PARTS).enumerate();
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
