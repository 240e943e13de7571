//! How entities leave a lane as bytes and come back: to the state topic when they are due, and to a file when memory is full.

use super::Lane;
use super::effects::Stream;
use super::entities::Memory;
use super::entity::{Entity, State};
use super::recovery::Unusable;
use crate::planted::is_planted;
use crate::wire::state_record::{Envelope, Key, Kind};

impl Lane {
    /// What the lane may hold in memory from now on. Nothing that it says depends on it.
    pub fn set_memory(&mut self, limits: Memory) {
        self.entities.set_limits(limits);
        self.make_room();
    }

    /// What the lane holds in memory.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.entities.usage()
    }

    /// Entities beyond the limits leave; with a snapshot, if they changed since their last one.
    pub(super) fn make_room(&mut self) {
        while let Some(entity) = self.entities.pop_over_limits() {
            let mut value = Vec::new();
            self.encode(&entity, &mut value);
            if let Some(first) = entity.first_dirty
                && !self.push_snapshot(&entity.name, &value)
            {
                self.entities.hold(&entity.name, first);
            }
            match entity.state {
                State::Probation(_) => self.pending.tally.probation_evictions += 1,
                State::Trained(_) => self.pending.tally.evictions += 1,
            }
            self.pending.evicted.push((entity.name.to_string(), value));
        }
    }

    /// Every snapshot is gone: the next cut writes who is in memory again. Who is not comes by [`Self::rewrite`], one by one, and then
    /// [`Self::all_are_rewritten`]; until then a replay would have to begin with the first record.
    pub fn lose_snapshots(&mut self) {
        self.are_terms_stored = false;
        self.entities.lose_snapshots();
    }

    /// Writes the bytes with which an entity left memory to the state topic again.
    pub fn rewrite(&mut self, name: &str, value: &[u8]) {
        if self.push_snapshot(name, value) {
            self.entities.release(name);
        } else {
            self.entities.hold(name, 0);
        }
    }

    /// Everybody who is out of memory was written again.
    pub fn all_are_rewritten(&mut self) {
        self.entities.cold_is_written();
    }

    /// Brings an entity back from the bytes it left with; what cannot be read of them begins anew. `None`: it never left, but
    /// another whose name has the same hash.
    pub fn revive(&mut self, name: &str, value: Option<&[u8]>, now_offset: i64) {
        match value {
            Some(value) => {
                let entity = self.read_snapshot(name, value).unwrap_or_else(|_| Entity::new(name));
                self.entities.bring_back(entity, now_offset);
            }
            None => self.entities.begin_anew(name, now_offset),
        }
        self.pending.tally.returns += 1;
    }

    pub(super) fn read_snapshot(&mut self, name: &str, value: &[u8]) -> Result<Entity, Unusable> {
        let envelope = Envelope::decode(value).map_err(Unusable::Unreadable)?;
        if envelope.kind != Kind::Snapshot || envelope.fingerprint != self.fingerprint {
            return Err(Unusable::OtherShape);
        }
        let (settings, rulebook) = (&self.settings.detector, &self.terms.rulebook);
        Entity::decode(name, envelope.as_of, envelope.body, settings, rulebook, self.decoder.channels_mut())
            .map_err(Unusable::from)
    }

    /// Writes the state record's value of an entity over `value`.
    pub(super) fn encode(&self, entity: &Entity, value: &mut Vec<u8>) {
        let mut body = Vec::new();
        entity.encode(self.decoder.channels(), &mut body);
        let envelope = Envelope {
            kind: Kind::Snapshot,
            fingerprint: self.fingerprint,
            as_of: entity.as_of - i64::from(is_planted("snapshot_late")),
            rows: entity.n_rows(),
            body: &body,
        };
        value.clear();
        envelope.encode(value);
    }

    /// Adds the terms in force to the pending effects, if the state topic does not hold them.
    pub(super) fn push_terms(&mut self) {
        if std::mem::replace(&mut self.are_terms_stored, true) {
            return;
        }
        if self.is_oversized(Envelope::OVERHEAD + self.terms.text.len()) {
            return;
        }
        let terms = &self.terms;
        let key = Key::Terms { topic: &self.id.topic, partition: self.id.partition }.encode();
        let envelope = Envelope {
            kind: Kind::Terms,
            fingerprint: terms.fingerprint,
            as_of: -1,
            rows: 0,
            body: terms.text.as_bytes(),
        };
        self.pending.push(Stream::State, Some(self.id.partition), Some(&key), &[], |out| {
            envelope.encode(out);
            true
        });
    }

    /// Adds an encoded snapshot to the pending effects. False: it is larger than the state topic takes.
    pub(super) fn push_snapshot(&mut self, name: &str, value: &[u8]) -> bool {
        if self.is_oversized(value.len()) {
            return false;
        }
        let key = Key::Snapshot { topic: &self.id.topic, partition: self.id.partition, entity: name }.encode();
        self.pending.tally.snapshots += 1;
        self.pending.tally.snapshot_bytes += value.len() as u64;
        self.pending.push(Stream::State, Some(self.id.partition), Some(&key), &[], |out| {
            out.extend_from_slice(value);
            true
        });
        true
    }

    /// Are these more bytes than the state topic takes? Then it is counted.
    fn is_oversized(&mut self, bytes: usize) -> bool {
        let is_oversized = bytes > self.settings.max_snapshot;
        if is_oversized {
            self.pending.tally.oversized += 1;
            self.pending.tally.largest_oversized = self.pending.tally.largest_oversized.max(bytes);
        }
        is_oversized
    }
}
