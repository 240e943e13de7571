//! Who is in memory, who is dirty, and who has to leave. Everything that is asked for at a cut is kept up to date entity by
//! entity: a cut costs what has changed, not what there is.

use super::Census;
use super::class::{Class, Turn};
use super::cold::{Cold, Left, hash};
use super::entity::{Entity, Standing, State};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// An entity's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// What a lane holds in memory, or may hold. Who has to leave does so with a snapshot and comes back from it: no limit, and no
/// change of one, can change what is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Entities with a detector.
    pub entities: usize,
    /// Entities on probation.
    pub probation: usize,
    /// Bytes of them all; an eighth of the limit is for those on probation.
    pub bytes: usize,
}

impl Memory {
    /// So many entities with a detector, as many again on probation, and so many bytes for all of them.
    #[must_use]
    pub const fn of(entities: usize, bytes: usize) -> Self {
        Self { entities, probation: entities, bytes }
    }

    /// Are there too many on probation? One may stay whatever it takes.
    fn is_passed_on_probation(self, class: &Class) -> bool {
        class.n > 1 && (class.n > self.probation || class.bytes > self.bytes / 8)
    }

    /// Too many with a detector?
    fn is_passed(self, class: &Class) -> bool {
        class.n > 1 && (class.n > self.entities || class.bytes > self.bytes - self.bytes / 8)
    }
}

#[derive(Debug)]
struct Slot {
    entity: Option<Entity>,
    /// Offset of its last record: who was used least recently leaves first.
    used: i64,
    /// Its entry in its class.
    queued: i64,
    /// When its next snapshot is due; set when it was first seen dirty.
    due: Option<Duration>,
    /// It is dirty since this offset.
    dirty: Option<i64>,
    /// It has its place among the due.
    is_scheduled: bool,
    /// It has its place among the urgent.
    is_urgent: bool,
    trained: bool,
    /// What is counted of it.
    bytes: usize,
    accumulator: u64,
    standing: Standing,
}

/// The entities of one lane.
#[derive(Debug)]
pub struct Entities {
    places: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those dirty, by the first offset that is in no snapshot.
    dirty: BTreeSet<(i64, u32)>,
    /// The same by the time their snapshot is due; but not those that became dirty since the last cut.
    due: BTreeSet<(Duration, u32)>,
    fresh: Vec<u32>,
    urgent: Vec<u32>,
    cold: Cold,
    probation: Class,
    trained: Class,
    limits: Memory,
    accumulator: u64,
    census: Census,
    /// Those out of memory are in no snapshot.
    cold_is_lost: bool,
}

impl Entities {
    /// None yet.
    pub fn new(limits: Memory) -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: BTreeSet::new(),
            due: BTreeSet::new(),
            fresh: Vec::new(),
            urgent: Vec::new(),
            cold: Cold::default(),
            probation: Class::default(),
            trained: Class::default(),
            limits,
            accumulator: 0,
            census: Census::default(),
            cold_is_lost: false,
        }
    }

    /// From now on.
    pub fn set_limits(&mut self, limits: Memory) {
        self.limits = limits;
    }

    /// Did it leave memory?
    pub fn is_cold(&self, name: &str) -> bool {
        self.cold.len() > 0 && !self.places.contains_key(name) && self.cold.contains(hash(name))
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
        self.put(Entity::new(name), offset)
    }

    /// Puts an entity into memory, in place of one of the same name, in memory or not.
    pub fn insert(&mut self, entity: Entity, used: i64) -> Place {
        self.remove(&entity.name.clone());
        self.put(entity, used)
    }

    /// The same with one that left: what the state topic did not take of it is still in no snapshot.
    pub fn bring_back(&mut self, mut entity: Entity, used: i64) {
        if let Some(left) = self.cold.remove(hash(&entity.name)) {
            self.accumulator = self.accumulator.wrapping_sub(left.accumulator);
            entity.first_dirty = left.held.or(self.cold_is_lost.then_some(BEGINNING));
            entity.urgent |= self.cold_is_lost;
        }
        self.insert(entity, used);
    }

    /// A new one, though another whose name has the same hash is out of memory.
    pub fn begin_anew(&mut self, name: &str, used: i64) {
        self.put(Entity::new(name), used);
    }

    fn put(&mut self, entity: Entity, used: i64) -> Place {
        let name = Arc::clone(&entity.name);
        let trained = matches!(entity.state, State::Trained(_));
        let slot = Slot {
            entity: Some(entity),
            used,
            queued: used,
            due: None,
            dirty: None,
            is_scheduled: false,
            is_urgent: false,
            trained,
            bytes: 0,
            accumulator: 0,
            standing: Standing::default(),
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 entities fit into memory")
            }
        };
        self.class(trained).enter(place, used, 0);
        self.census.add(Standing::default());
        self.places.insert(name, place);
        self.settle(Place(place));
        Place(place)
    }

    fn class(&mut self, trained: bool) -> &mut Class {
        if trained { &mut self.trained } else { &mut self.probation }
    }

    /// The entity at a place. [`settle`](Self::settle) after it has changed.
    pub fn get_mut(&mut self, place: Place) -> &mut Entity {
        self.slots[place.0 as usize].entity.as_mut().expect("a place that was given out is taken")
    }

    /// The entity at a place.
    pub fn get(&self, place: Place) -> &Entity {
        self.slots[place.0 as usize].entity.as_ref().expect("a place that was given out is taken")
    }

    /// It has changed: what is counted of it is counted anew.
    pub fn settle(&mut self, Place(place): Place) {
        let slot = &mut self.slots[place as usize];
        let Some(entity) = &slot.entity else { return };
        let standing = entity.standing();
        if standing != slot.standing {
            self.census.remove(slot.standing);
            self.census.add(standing);
        }
        let trained = matches!(entity.state, State::Trained(_));
        let grows = !trained || standing != slot.standing || entity.n_rows().is_multiple_of(SIZE_EVERY);
        slot.standing = standing;
        self.accumulator = self.accumulator.wrapping_add(entity.accumulator.wrapping_sub(slot.accumulator));
        slot.accumulator = entity.accumulator;
        if let (Some(first), None) = (entity.first_dirty, slot.dirty) {
            slot.dirty = Some(first);
            self.dirty.insert((first, place));
            self.fresh.push(place);
        }
        if entity.urgent && !std::mem::replace(&mut slot.is_urgent, entity.urgent) {
            self.urgent.push(place);
        }
        if !grows {
            return;
        }
        let bytes = entity.n_bytes();
        let before = std::mem::replace(&mut slot.bytes, bytes);
        let was_trained = std::mem::replace(&mut slot.trained, trained);
        if trained == was_trained {
            let class = self.class(trained);
            class.bytes = class.bytes - before + bytes;
            return;
        }
        slot.queued = slot.used;
        let used = slot.used;
        self.class(was_trained).leave(before);
        self.class(trained).enter(place, used, bytes);
        self.tidy();
    }

    /// Forgets an entity, in memory or not.
    pub fn remove(&mut self, name: &str) {
        if let Some(left) = self.cold.remove(hash(name)) {
            self.accumulator = self.accumulator.wrapping_sub(left.accumulator);
        }
        if let Some(place) = self.places.remove(name) {
            let accumulator = self.slots[place as usize].accumulator;
            self.accumulator = self.accumulator.wrapping_sub(accumulator);
            self.vacate(place);
            self.tidy();
        }
    }

    fn vacate(&mut self, place: u32) -> Option<Entity> {
        let slot = &mut self.slots[place as usize];
        let (bytes, trained, standing) = (slot.bytes, slot.trained, slot.standing);
        let (dirty, due) = (slot.dirty.take(), slot.due.take());
        let entity = slot.entity.take();
        dirty.map(|first| self.dirty.remove(&(first, place)));
        due.map(|at| self.due.remove(&(at, place)));
        self.class(trained).leave(bytes);
        self.census.remove(standing);
        self.free.push(place);
        entity
    }

    fn tidy(&mut self) {
        let slots = &self.slots;
        for (class, of) in [(&mut self.probation, false), (&mut self.trained, true)] {
            class.tidy(|time, place| slots[place as usize].is_in(of) && slots[place as usize].queued == time);
        }
    }

    /// Who has to leave, one by one: who was used least recently of those on probation, or of those with a detector. Neither
    /// class makes room for the other.
    pub fn pop_over_limits(&mut self) -> Option<Entity> {
        let trained = if self.limits.is_passed_on_probation(&self.probation) {
            false
        } else if self.limits.is_passed(&self.trained) {
            true
        } else {
            return None;
        };
        let slots = &mut self.slots;
        let class = if trained { &mut self.trained } else { &mut self.probation };
        let place = class.least_recent(|place, requeued| {
            let slot = &mut slots[place as usize];
            slot.queued = requeued.unwrap_or(slot.queued);
            slot.is_in(trained).then_some(Turn { used: slot.used, queued: slot.queued })
        })?;
        let slot = &mut self.slots[place as usize];
        let Some(entity) = &slot.entity else { return None };
        if !self.cold.insert(hash(&entity.name), Left { accumulator: entity.accumulator, held: None }) {
            // Out of the queue: it stays for good.
            slot.queued = i64::MAX;
            return None;
        }
        self.places.remove(&entity.name);
        self.vacate(place)
    }

    /// The state topic did not take what this entity left with: what happened to it since `first` is in no snapshot.
    pub fn hold(&mut self, name: &str, first: i64) {
        self.set_held(name, Some(first));
    }

    /// It took it after all.
    pub fn release(&mut self, name: &str) {
        self.set_held(name, None);
    }

    fn set_held(&mut self, name: &str, held: Option<i64>) {
        if let Some(left) = self.cold.remove(hash(name)) {
            self.cold.insert(hash(name), Left { held, ..left });
        }
    }

    /// Dirty entities whose snapshot is due, to be followed by [`written`](Self::written) or [`retry`](Self::retry) for each.
    /// A first snapshot's time is spread over the interval by the entity's name, so that the load is even.
    pub fn take_due(&mut self, now: Duration, interval: Duration, all: bool) -> Vec<Place> {
        for place in std::mem::take(&mut self.fresh) {
            let slot = &mut self.slots[place as usize];
            let (Some(entity), Some(_), false) = (&slot.entity, slot.dirty, slot.is_scheduled) else { continue };
            let spread = || now + interval.mul_f64((hash(&entity.name) % 1000) as f64 / 1000.0);
            slot.is_scheduled = true;
            self.due.insert((*slot.due.get_or_insert_with(spread), place));
        }
        let urgent = std::mem::take(&mut self.urgent);
        if all {
            urgent.iter().for_each(|place| self.slots[*place as usize].is_urgent = false);
            self.due.clear();
            return self.dirty.iter().map(|(_, place)| Place(*place)).collect();
        }
        let mut due = Vec::new();
        while let Some((at, place)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            due.push(Place(place));
        }
        for place in urgent {
            let slot = &mut self.slots[place as usize];
            slot.is_urgent = false;
            let is_urgent = slot.entity.as_ref().is_some_and(|entity| entity.urgent);
            if is_urgent && slot.due.is_some_and(|at| self.due.remove(&(at, place))) {
                due.push(Place(place));
            }
        }
        due
    }

    /// Its snapshot is written: it is clean, and the next one is due at `next` at the earliest.
    pub fn written(&mut self, Place(place): Place, next: Duration) {
        let slot = &mut self.slots[place as usize];
        if let Some(entity) = &mut slot.entity {
            entity.urgent = false;
            entity.first_dirty = None;
        }
        slot.dirty.take().map(|first| self.dirty.remove(&(first, place)));
        slot.due = Some(next);
        slot.is_scheduled = false;
    }

    /// Its snapshot was not taken: it stays dirty, and is tried again at `next`.
    pub fn retry(&mut self, Place(place): Place, next: Duration) {
        let slot = &mut self.slots[place as usize];
        if let Some(entity) = &mut slot.entity {
            entity.urgent = false;
        }
        slot.due = Some(next);
        slot.is_scheduled = true;
        self.due.insert((next, place));
    }

    /// Every snapshot is gone: who is in memory is dirty, and due at once. Who is not has to be written by others, see
    /// [`cold_is_written`](Self::cold_is_written).
    pub fn lose_snapshots(&mut self) {
        self.cold_is_lost = self.cold.len() > 0;
        for (place, slot) in (0..).zip(&mut self.slots) {
            let Some(entity) = &mut slot.entity else { continue };
            entity.first_dirty = Some(BEGINNING);
            slot.dirty.replace(BEGINNING).map(|first| self.dirty.remove(&(first, place)));
            self.dirty.insert((BEGINNING, place));
            slot.due.replace(Duration::ZERO).map(|at| self.due.remove(&(at, place)));
            self.due.insert((Duration::ZERO, place));
            slot.is_scheduled = true;
        }
    }

    /// Whoever is out of memory is in a snapshot again, but for those that were held back.
    pub fn cold_is_written(&mut self) {
        self.cold_is_lost = false;
    }

    /// Lowest offset whose effect is in no snapshot; `next` if all is in one.
    pub fn replay_offset(&self, next: i64) -> i64 {
        let dirty = self.dirty.first().map(|(first, _)| *first);
        let lost = self.cold_is_lost.then_some(BEGINNING);
        dirty.into_iter().chain(self.cold.first_held()).chain(lost).fold(next, i64::min)
    }

    /// Sum of the entities' accumulators, those out of memory included.
    pub fn accumulator(&self) -> u64 {
        self.accumulator
    }

    /// Who there is; the lane's own position is not in it.
    pub fn census(&self) -> Census {
        let bytes = self.usage().bytes as u64;
        Census { out_of_memory: self.cold.len() as u64, bytes, ..self.census.clone() }
    }

    /// Is there anyone in memory whose model is still to be fitted?
    pub fn has_unfitted(&self) -> bool {
        self.census.unfitted > 0
    }

    /// What they take.
    pub fn usage(&self) -> Memory {
        let bytes = self.probation.bytes + self.trained.bytes;
        Memory { entities: self.trained.n, probation: self.probation.n, bytes }
    }

    /// How many there are, in memory and out of it.
    pub fn n_entities(&self) -> usize {
        self.places.len() + self.cold.len()
    }

    /// Those in memory.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entity> {
        self.slots.iter_mut().filter_map(|slot| slot.entity.as_mut())
    }
}

/// Before any record: no snapshot holds anything.
const BEGINNING: i64 = 0;
/// Rows between two looks at an entity's size, which grows in its warm-up alone.
const SIZE_EVERY: u64 = 64;

impl Slot {
    fn is_in(&self, trained: bool) -> bool {
        self.entity.is_some() && self.trained == trained
    }
}
