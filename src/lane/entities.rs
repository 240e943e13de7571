//! Who is in memory, who is dirty, and who has to leave.

use super::entity::{Entity, State};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// An entity's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

#[derive(Debug)]
struct Slot {
    entity: Option<Entity>,
    /// Offset of its last record: who was used least recently leaves first.
    used: i64,
    /// When its next snapshot is due; set when it was first seen dirty.
    due: Option<Duration>,
    dirty: bool,
}

/// The entities of one lane.
#[derive(Debug)]
pub struct Entities {
    places: HashMap<Box<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    /// Entities that left memory: hashes of their names, to keep the index small, and the accumulators they left with.
    cold: HashMap<u64, u64>,
    cold_accumulator: u64,
    leaving: Vec<u32>,
    cap: usize,
}

impl Entities {
    /// None yet; at most `cap` in memory.
    pub fn new(cap: usize) -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            cold: HashMap::new(),
            cold_accumulator: 0,
            leaving: Vec::new(),
            cap: cap.max(1),
        }
    }

    /// Did it leave memory?
    pub fn is_cold(&self, name: &str) -> bool {
        !self.cold.is_empty() && !self.places.contains_key(name) && self.cold.contains_key(&hash(name))
    }

    /// The entity of this name, if it is in memory.
    pub fn find(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied().map(Place)
    }

    /// The entity of this name, new if there is none.
    pub fn find_or_insert(&mut self, name: &str, offset: i64) -> Place {
        if let Some(place) = self.places.get(name) {
            self.slots[*place as usize].used = offset;
            return Place(*place);
        }
        self.insert(Entity::new(name), offset)
    }

    /// Puts an entity into memory, in place of one of the same name.
    pub fn insert(&mut self, entity: Entity, used: i64) -> Place {
        let name = entity.name.clone();
        self.warm(&name);
        let slot = Slot { entity: Some(entity), used, due: None, dirty: false };
        let place = match self.places.get(&name).copied().or_else(|| self.free.pop()) {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 entities fit into memory")
            }
        };
        self.places.insert(name, place);
        Place(place)
    }

    /// The entity at a place.
    pub fn get_mut(&mut self, place: Place) -> &mut Entity {
        self.slots[place.0 as usize].entity.as_mut().expect("a place that was given out is taken")
    }

    /// It changed since its newest snapshot.
    pub fn mark_dirty(&mut self, place: Place) {
        let slot = &mut self.slots[place.0 as usize];
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(place.0);
        }
    }

    /// It is not out of memory any more. What is subtracted is what it left with: while state is read back, an entity may have
    /// left with an older snapshot than the one it comes back with.
    fn warm(&mut self, name: &str) {
        if let Some(left_with) = self.cold.remove(&hash(name)) {
            self.cold_accumulator = self.cold_accumulator.wrapping_sub(left_with);
        }
    }

    /// Forgets an entity, in memory or not.
    pub fn remove(&mut self, name: &str) {
        self.warm(name);
        if let Some(place) = self.places.remove(name) {
            self.vacate(place);
        }
    }

    fn vacate(&mut self, place: u32) -> Option<Entity> {
        let slot = &mut self.slots[place as usize];
        slot.dirty = false;
        slot.due = None;
        self.dirty.retain(|other| *other != place);
        self.free.push(place);
        self.slots[place as usize].entity.take()
    }

    /// Who has to leave, one by one: entities on probation first, then who was used least recently. A sixteenth of the cap
    /// leaves at once, so that finding them costs little per record.
    pub fn pop_over_cap(&mut self) -> Option<Entity> {
        if self.leaving.is_empty() {
            if self.places.len() <= self.cap {
                return None;
            }
            self.choose_leaving();
        }
        let place = self.leaving.pop()?;
        let entity = self.vacate(place)?;
        self.places.remove(&entity.name);
        self.cold.insert(hash(&entity.name), entity.accumulator);
        self.cold_accumulator = self.cold_accumulator.wrapping_add(entity.accumulator);
        Some(entity)
    }

    fn choose_leaving(&mut self) {
        let newest = self.slots.iter().map(|slot| slot.used).max().unwrap_or(0);
        let mut candidates: Vec<(bool, i64, u32)> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.used < newest)
            .filter_map(|(place, slot)| {
                let trained = matches!(slot.entity.as_ref()?.state, State::Trained(_));
                Some((trained, slot.used, place as u32))
            })
            .collect();
        candidates.sort_unstable();
        candidates.truncate((self.cap / 16).max(self.places.len() - self.cap));
        self.leaving = candidates.into_iter().rev().map(|(_, _, place)| place).collect();
    }

    /// Dirty entities whose snapshot is due; they count as clean from now on. A first snapshot's time is spread over the
    /// interval by the entity's name, so that the load is even.
    pub fn take_due(&mut self, now: Duration, interval: Duration, all: bool) -> Vec<Place> {
        let mut due = Vec::new();
        let slots = &mut self.slots;
        self.dirty.retain(|place| {
            let slot = &mut slots[*place as usize];
            let Some(entity) = &mut slot.entity else { return false };
            let at =
                *slot.due.get_or_insert_with(|| now + interval.mul_f64((hash(&entity.name) % 1000) as f64 / 1000.0));
            if !(all || entity.urgent || now >= at) {
                return true;
            }
            entity.urgent = false;
            entity.first_dirty = None;
            slot.dirty = false;
            slot.due = Some(now + interval);
            due.push(Place(*place));
            false
        });
        due
    }

    /// Lends an entity out.
    pub fn take(&mut self, place: Place) -> Entity {
        self.slots[place.0 as usize].entity.take().expect("a place that was given out is taken")
    }

    /// Takes it back.
    pub fn put_back(&mut self, place: Place, entity: Entity) {
        self.slots[place.0 as usize].entity = Some(entity);
    }

    /// Lowest offset whose effect is in no snapshot; `next` if all is in one.
    pub fn replay_offset(&self, next: i64) -> i64 {
        let dirty = self.dirty.iter().filter_map(|place| self.slots[*place as usize].entity.as_ref()?.first_dirty);
        dirty.min().unwrap_or(next).min(next)
    }

    /// Sum of the entities' accumulators, those out of memory included.
    pub fn accumulator(&self) -> u64 {
        self.iter().fold(self.cold_accumulator, |sum, entity| sum.wrapping_add(entity.accumulator))
    }

    /// Those in memory.
    pub fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.slots.iter().filter_map(|slot| slot.entity.as_ref())
    }

    /// Those in memory.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entity> {
        self.slots.iter_mut().filter_map(|slot| slot.entity.as_mut())
    }
}

/// The same on every start: the hasher has fixed keys.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
