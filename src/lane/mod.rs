//! One partition: a record's whole way, without I/O and without waiting. Silent before `live_from`, so that a replay rebuilds
//! what a crash took; what is to be seen afterwards comes out as [`Effects`].

pub mod align;
mod census;
mod class;
mod cold;
pub mod effects;
mod ending;
mod entities;
pub mod entity;
pub mod grouping;
pub mod intake;
pub mod record;
pub mod recovery;
pub mod rulebook;
pub mod size;
mod snapshots;
pub mod tally;
pub mod terms;

pub use census::Census;
pub use cold::hash as name_hash;
pub use entities::Memory;

use crate::detector::alert::Alert;
use crate::detector::probe::Probe;
use crate::detector::row::EventTime;
use crate::detector::schema::Channel;
use crate::detector::{Outcome, Scratch, Settings as DetectorSettings};
use crate::planted::is_planted;
use crate::wire::alert_v1::{AlertV1, Source};
use crate::wire::channels::ChannelId;
use crate::wire::dead_letter::{DeadLetter, Refused};
use crate::wire::decoder::{Content, Decoded, Decoder, Message};
use crate::wire::format::EntityFrom;
use crate::wire::rejection::{Rejected, Rejection};
use crate::wire::score_v1;
use align::Late;
use effects::{Effects, Stream};
use entities::{Entities, Place};
use entity::{Entity, Surroundings};
use intake::Measured;
use record::{PartitionId, Record};
use recovery::Recovery;
use std::sync::Arc;
use std::time::Duration;
use terms::Terms;

/// What a lane has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What shapes detectors.
    pub detector: Arc<DetectorSettings>,
    /// Name of the detector, part of every alert's identity.
    pub name: String,
    /// Publish a score for every row.
    pub scores: bool,
    /// Entities in memory at most, until [`Lane::set_memory`] says otherwise; see [`Memory::of`].
    pub max_entities: usize,
    /// Bytes of an alert's JSON at most.
    pub max_alert: usize,
    /// Bytes at most of a batch with one dead letter in it.
    pub max_dead_letter: usize,
    /// Bytes of a snapshot at most.
    pub max_snapshot: usize,
    /// No committed snapshot of a changed entity is older than this.
    pub snapshot_interval: Duration,
    /// Snapshots may be newer than the committed offset: with at-least-once delivery they are written before it.
    pub snapshots_lead: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Its effects, if it had any, are in the effects.
    Done,
    /// Its entity is not in memory. Give its snapshot to [`Lane::revive`], then handle the record again.
    Cold(String),
}

/// The part of a lane in an epoch.
#[derive(Clone, Debug)]
pub struct Part {
    /// Whose.
    pub lane: PartitionId,
    /// What the world should see.
    pub effects: Effects,
    /// Offset to commit: everything before it is in this or an earlier epoch.
    pub next_offset: i64,
    /// Timestamp of the newest record before that, milliseconds since the Unix epoch.
    pub newest_ms: Option<i64>,
    /// Lowest offset whose effect is in no snapshot, this epoch's included.
    pub replay_offset: i64,
    /// Sum over all rows of all entities of a mix of offset and score.
    pub accumulator: u64,
    /// Fingerprint of the terms from the replay offset on.
    pub terms: u64,
    /// The lane has moved, or there is something to see.
    pub is_news: bool,
}

/// All the work of one partition.
pub struct Lane {
    id: PartitionId,
    settings: Arc<Settings>,
    /// Of the settings that shape detectors: worked out once.
    fingerprint: u64,
    terms: Arc<Terms>,
    /// What is in no snapshot yet may have been done under others.
    are_terms_new: bool,
    /// The state topic holds those in force.
    are_terms_stored: bool,
    decoder: Decoder,
    decoded: Decoded,
    values: Vec<(ChannelId, f32)>,
    scratch: Scratch,
    entities: Entities,
    recovery: Option<Recovery>,
    next_offset: i64,
    live_from: i64,
    reported_offset: i64,
    newest_ms: Option<i64>,
    /// Entities that have ended since the last cut, and where; with at-least-once delivery alone.
    ended: Vec<(String, i64)>,
    pending: Effects,
}

impl Lane {
    /// A lane that is to be restored up to `live_from`, the offset of its first record that the world has not seen.
    #[must_use]
    pub fn new(id: PartitionId, live_from: i64, settings: Arc<Settings>, terms: Arc<Terms>) -> Self {
        Self {
            fingerprint: settings.detector.fingerprint(),
            decoder: Decoder::new(terms.decoder.clone()),
            decoded: Decoded::default(),
            values: Vec::new(),
            scratch: Scratch::default(),
            entities: Entities::new(Memory::of(settings.max_entities, usize::MAX)),
            recovery: Some(Recovery::default()),
            next_offset: live_from,
            reported_offset: live_from,
            newest_ms: None,
            ended: Vec::new(),
            live_from,
            pending: Effects::default(),
            id,
            settings,
            terms,
            are_terms_new: true,
            are_terms_stored: false,
        }
    }

    /// Which partition's it is.
    #[must_use]
    pub fn id(&self) -> &PartitionId {
        &self.id
    }

    /// Takes one record: decodes it, gives its row to its entity, and notes what the world should see. Before `live_from`
    /// nothing is noted.
    pub fn handle(&mut self, record: &Record<'_>) -> Handled {
        let live = record.offset >= self.live_from || is_planted("emit_in_replay");
        let message = Message {
            key: record.key,
            payload: record.payload,
            timestamp: record.timestamp_ms.map(EventTime::from_millis),
        };
        match self.decoder.decode(&message, &mut self.decoded) {
            Ok(content) => {
                if self.is_out_of_memory(&self.decoded.entity) {
                    return Handled::Cold(self.decoded.entity.clone());
                }
                match content {
                    Content::Measurements => self.take_row(record, live),
                    Content::Nothing => {}
                    Content::Tombstone => self.end(record, live),
                }
            }
            Err(rejected) if live => self.reject(record, &rejected),
            Err(_) => {}
        }
        self.pass(record, live);
        Handled::Done
    }

    /// Takes a record that made a lane panic before: it is a dead letter, and nothing else ever sees it, in a replay neither.
    pub fn pass_over(&mut self, record: &Record<'_>, why: &str) {
        let live = record.offset >= self.live_from;
        if live {
            self.reject(record, &Rejection::Panic.because(format!("offkey panicked twice at this record: {why}")));
        }
        self.pass(record, live);
    }

    fn pass(&mut self, record: &Record<'_>, live: bool) {
        if live {
            self.pending.tally.consumed += 1;
        } else {
            self.pending.tally.replayed += 1;
        }
        if record.offset >= self.next_offset {
            self.next_offset = record.offset + 1;
            self.newest_ms = record.timestamp_ms.or(self.newest_ms);
        }
    }

    fn take_row(&mut self, record: &Record<'_>, live: bool) {
        let key = self.entities.find_or_insert(&self.decoded.entity, record.offset);
        let entity = self.entities.get_mut(key);
        // A snapshot may be newer than what is read again: its rows are in it, and what they said was delivered.
        if record.offset <= entity.as_of {
            return;
        }
        let align = &self.terms.align;
        if let Some(micros) = entity.aligner.lateness(self.decoded.at, align) {
            self.pending.tally.late += u64::from(live);
            match self.terms.late {
                Late::Keep => {}
                Late::Drop => return,
                Late::DeadLetter if live => return self.reject(record, &late(micros)),
                Late::DeadLetter => return,
            }
        }
        entity.as_of = record.offset;
        entity.first_dirty.get_or_insert(record.offset);
        self.judge(key, record, live, Rows::Complete);
        self.entities.settle(key);
        self.make_room();
    }

    /// Lets an entity judge the rows that a record completes, or, at its end, all that wait.
    fn judge(&mut self, place: Place, record: &Record<'_>, live: bool, rows: Rows) {
        let mut around = Surroundings {
            channels: self.decoder.channels(),
            rulebook: &self.terms.rulebook,
            settings: &self.settings.detector,
            probation_rows: self.terms.probation_rows,
            scratch: &mut self.scratch,
            values: &mut self.values,
        };
        let (pending, settings, id, align) = (&mut self.pending, &self.settings, &self.id, &self.terms.align);
        let told = |entity: &Entity, outcome: Outcome| {
            if live {
                publish(pending, settings, id, record, entity, &outcome);
            }
        };
        let entity = self.entities.get_mut(place);
        let counts = match rows {
            Rows::Complete => {
                let Decoded { at, measurements, .. } = &self.decoded;
                let measured = Measured { at: *at, offset: record.offset, measurements };
                entity.take_record(&measured, align, &mut around, told)
            }
            Rows::Waiting => entity.take_rest(align, &mut around, told),
        };
        if live {
            self.pending.tally.count(&counts);
        }
    }

    fn reject(&mut self, record: &Record<'_>, rejected: &Rejected) {
        self.pending.tally.reject(rejected.rejection);
        let refused = Refused {
            topic: &self.id.topic,
            partition: self.id.partition,
            offset: record.offset,
            timestamp: record.timestamp_ms.map(EventTime::from_millis),
            key: record.key,
            payload: record.payload,
        };
        let letter = DeadLetter::of(&refused, rejected, self.settings.max_dead_letter);
        self.pending.push(Stream::DeadLetters, None, letter.key, &letter.headers(), |out| {
            letter.value.inspect(|value| out.extend_from_slice(value)).is_some()
        });
    }

    /// Ends what has gathered since the last cut. `now` is the shell's clock since its start: snapshots that are due by it are
    /// added, dirty entities only, `all`: every one of them, as under new terms: no replay crosses a change of them. One that the
    /// state topic does not take stays dirty, and holds the replay offset.
    pub fn cut(&mut self, now: Duration, all: bool) -> Part {
        let all = std::mem::take(&mut self.are_terms_new) || all;
        self.push_terms();
        self.end_what_is_committed();
        let next = now + self.settings.snapshot_interval;
        let mut value = Vec::new();
        for place in self.entities.take_due(now, self.settings.snapshot_interval, all) {
            let name = Arc::clone(&self.entities.get(place).name);
            self.encode(self.entities.get(place), &mut value);
            if self.push_snapshot(&name, &value) {
                self.entities.written(place, next);
            } else {
                self.entities.retry(place, next);
            }
        }
        let effects = std::mem::take(&mut self.pending);
        let is_news = self.next_offset != self.reported_offset || effects.n_outputs() > 0;
        self.reported_offset = self.next_offset;
        Part {
            lane: self.id.clone(),
            effects,
            next_offset: self.next_offset,
            newest_ms: self.newest_ms,
            replay_offset: self.entities.replay_offset(self.next_offset),
            accumulator: self.entities.accumulator(),
            terms: self.terms.fingerprint,
            is_news,
        }
    }

    /// Takes a record as [`Self::handle`] does, and tells the probe of the moments of its row.
    pub fn handle_timed(&mut self, record: &Record<'_>, probe: &mut Option<Probe>) -> Handled {
        std::mem::swap(&mut self.scratch.probe, probe);
        let handled = self.handle(record);
        std::mem::swap(&mut self.scratch.probe, probe);
        handled
    }

    /// Is an entity named by the key alone? Then records may be handled in any order that keeps those of each key in theirs, up to the
    /// next cut; see [`grouping`].
    #[must_use]
    pub fn is_by_key(&self) -> bool {
        self.terms.decoder.entity == EntityFrom::Key
    }

    /// Is there anyone in memory whose model is still to be fitted? A record may then take as long as a fit.
    #[must_use]
    pub fn has_unfitted(&self) -> bool {
        self.entities.has_unfitted()
    }

    /// Did this entity leave memory? Then [`Self::revive`] brings it back.
    #[must_use]
    pub fn is_out_of_memory(&self, entity: &str) -> bool {
        self.entities.is_cold(entity)
    }

    /// Is it still being restored? Then nobody cuts it.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.recovery.is_some()
    }

    /// Bytes of effects since the last cut.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.n_bytes()
    }

    /// States that left memory since the last call.
    pub fn take_evicted(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.pending.evicted)
    }

    /// May what is in no snapshot yet have been done under other terms? Then the next cut writes everything dirty.
    #[must_use]
    pub fn are_terms_new(&self) -> bool {
        self.are_terms_new
    }

    /// Other terms, from the next record on.
    pub fn set_terms(&mut self, terms: &Arc<Terms>) {
        if terms.fingerprint == self.terms.fingerprint {
            return;
        }
        let before = std::mem::replace(&mut self.terms, Arc::clone(terms));
        (self.are_terms_new, self.are_terms_stored) = (true, false);
        if before.decoder == terms.decoder {
            self.entities.iter_mut().for_each(|entity| entity.set_rules(&terms.rulebook));
            return;
        }
        // Channels have other numbers: what is kept by them is named, and numbered anew.
        let before = std::mem::replace(&mut self.decoder, Decoder::new(terms.decoder.clone()));
        self.decoded = Decoded::default();
        let channels = self.decoder.channels_mut();
        for entity in self.entities.iter_mut() {
            entity.renumber(before.channels(), channels, &self.settings.detector, &terms.rulebook);
        }
    }

    /// Counts who is in memory.
    #[must_use]
    pub fn census(&self) -> Census {
        Census { next_offset: self.next_offset, newest_ms: self.newest_ms, ..self.entities.census() }
    }
}

/// Which rows an entity is to judge.
#[derive(Clone, Copy)]
enum Rows {
    /// Those that are complete by its record.
    Complete,
    /// All that wait.
    Waiting,
}

fn late(micros: i64) -> Rejected {
    Rejection::Late.because(format!("{} s behind the rows that are still waited for", micros as f64 / 1e6))
}

fn publish(
    effects: &mut Effects,
    settings: &Settings,
    id: &PartitionId,
    record: &Record<'_>,
    entity: &Entity,
    outcome: &Outcome,
) {
    effects.tally.add(outcome);
    if settings.scores {
        effects.push(Stream::Scores, None, Some(entity.name.as_bytes()), &[], |out| {
            score_v1::write(out, &entity.name, outcome, &id.topic, id.partition);
            true
        });
    }
    for alert in &outcome.alerts {
        let entity::State::Trained(detector) = &entity.state else { continue };
        tell(effects, settings, id, &entity.name, detector.schema().channels(), alert);
        effects.alert_times.extend(record.timestamp_ms);
    }
}

fn tell(effects: &mut Effects, settings: &Settings, id: &PartitionId, entity: &str, schema: &[Channel], alert: &Alert) {
    effects.tally.tell(alert);
    let source =
        Source { detector: &settings.name, settings: &settings.detector, topic: &id.topic, partition: id.partition };
    let mut told = AlertV1::of(&source, entity, schema, alert);
    let headers = told.headers();
    let headers: Vec<(&'static str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    effects.push(Stream::Alerts, None, Some(entity.as_bytes()), &headers, |out| {
        told.write_within(settings.max_alert, out);
        true
    });
}

#[cfg(test)]
mod tests;
