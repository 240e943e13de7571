//! How what was learned of an entity ends: by a tombstone, by a person, or by a state that takes its place. The alerts that the
//! world knows to be open end with it.

use super::effects::Stream;
use super::entity::{Entity, State};
use super::record::Record;
use super::recovery::Replaced;
use super::{Lane, Rows, recovery, tell};
use crate::detector::alert::{Alert, Cause};
use crate::wire::state_record::Key;

impl Lane {
    /// A tombstone: the entity is gone, once the rows that came before are judged.
    pub(super) fn end(&mut self, record: &Record<'_>, live: bool) {
        debug_assert!(record.payload.is_none());
        let entity = std::mem::take(&mut self.decoded.entity);
        if let Some(place) = self.entities.find(&entity)
            && record.offset > self.entities.get(place).as_of
        {
            self.judge(place, record, live, Rows::Waiting);
            if live {
                self.tell_endings(&entity, &self.endings(&entity, Cause::Ended, record.offset));
            }
        }
        if live && self.settings.snapshots_lead {
            self.leave_nothing(&entity, record.offset);
        } else {
            self.entities.remove(&entity);
            if live || self.settings.snapshots_lead {
                self.push_tombstone(&entity);
            }
        }
        self.decoded.entity = entity;
    }

    /// Puts an entity without anything learned in the place of one that has ended. A tombstone would come to the state topic before the
    /// offset behind the end is committed, and rows before the end that are read again would find nobody. That comes an epoch later,
    /// see [`Self::end_what_is_committed`].
    fn leave_nothing(&mut self, entity: &str, offset: i64) {
        let mut nothing = Entity::new(entity);
        (nothing.as_of, nothing.first_dirty) = (offset, Some(offset));
        self.entities.insert(nothing, offset);
        self.ended.push((entity.to_owned(), offset));
    }

    /// Those that the last process left nothing of, and could not end.
    pub(super) fn find_nothing(&mut self) {
        let nothing = self.entities.iter_mut().filter(|entity| entity.is_nothing());
        self.ended = nothing.map(|entity| (entity.name.to_string(), entity.as_of)).collect();
    }

    /// What ended in an epoch that is committed by now leaves the state topic too, unless it has begun anew. To be called at a cut.
    pub(super) fn end_what_is_committed(&mut self) {
        let (committed, recent) =
            std::mem::take(&mut self.ended).into_iter().partition(|(_, at)| *at < self.reported_offset);
        self.ended = recent;
        for (entity, offset) in committed {
            let nothing_since = |place| self.entities.get(place).as_of == offset;
            if self.entities.find(&entity).is_some_and(nothing_since) {
                self.entities.remove(&entity);
                self.push_tombstone(&entity);
            }
        }
    }

    /// A person wants the entity and all that was learned of it gone. To be called between two records of a lane that is restored,
    /// as the next two; the entity is in memory, if there is one, and the next cut tells the world.
    pub fn forget(&mut self, entity: &str) {
        self.tell_endings(entity, &self.endings(entity, Cause::Ended, self.next_offset - 1));
        self.entities.remove(entity);
        self.push_tombstone(entity);
    }

    /// Puts a state that was learned elsewhere in an entity's place: it counts as of all records so far, and goes on with the
    /// next one.
    ///
    /// # Errors
    /// The state is of no use under these settings; nothing is changed.
    pub fn import(&mut self, entity: &str, value: &[u8]) -> Result<(), recovery::Unusable> {
        let mut imported = self.read_snapshot(entity, value)?;
        imported.as_of = self.next_offset - 1;
        imported.first_dirty = Some(self.next_offset);
        let before = self.endings(entity, Cause::Replaced, self.next_offset - 1);
        let ended = imported.succeed(before);
        self.entities.insert(imported, self.next_offset - 1);
        self.tell_endings(entity, &ended);
        Ok(())
    }

    /// The entity had a snapshot that is of no use, and has what was learned anew in its place, if anything.
    pub(super) fn replace(&mut self, entity: &str, Replaced { endings, is_ahead }: Replaced) {
        let Some(place) = self.entities.find(entity) else {
            // The snapshot has to go with what it told, or the next recovery would tell it again. One who was learned anew and left
            // memory has written its own.
            if (is_ahead || !endings.is_empty()) && !self.entities.is_cold(entity) {
                self.push_tombstone(entity);
            }
            return self.tell_endings(entity, &endings);
        };
        let offset = self.next_offset;
        let renewed = self.entities.get_mut(place);
        let ended = renewed.succeed(endings);
        renewed.first_dirty.get_or_insert(offset);
        renewed.urgent = true;
        self.entities.settle(place);
        self.tell_endings(entity, &ended);
    }

    fn endings(&self, entity: &str, cause: Cause, offset: i64) -> Vec<Alert> {
        let Some(place) = self.entities.find(entity) else { return Vec::new() };
        match &self.entities.get(place).state {
            State::Trained(detector) => detector.endings(cause, offset),
            State::Probation(_) => Vec::new(),
        }
    }

    fn tell_endings(&mut self, entity: &str, endings: &[Alert]) {
        for alert in endings {
            tell(&mut self.pending, &self.settings, &self.id, entity, &[], alert);
        }
    }

    fn push_tombstone(&mut self, entity: &str) {
        let key = Key::Snapshot { topic: &self.id.topic, partition: self.id.partition, entity }.encode();
        self.pending.push(Stream::State, Some(self.id.partition), Some(&key), &[], |_| false);
    }
}
