//! One entity of a lane: on probation until it has shown a few rows, then a detector.

mod body;

use crate::detector::alert::Alert;
use crate::detector::row::{EventTime, Row};
use crate::detector::rules::{ChannelRule, Rules};
use crate::detector::schema::{MAX_CHANNELS, Schema};
use crate::detector::{self, Detector, Outcome, Scratch, Settings};
use crate::lane::align::Aligner;
use crate::lane::rulebook::Rulebook;
use crate::lane::tally::severity_index;
use crate::wire::channels::{ChannelId, Channels};
use std::sync::Arc;

/// No slot: the schema does not have this channel.
const NONE: u16 = u16::MAX;
/// What an allocator adds to an allocation.
const ALLOCATION: usize = 16;
/// An entity without its state: itself, its place, and its lines in the lane's tables.
const PLACE: usize = size_of::<Entity>() + 256;

/// What has been learned of an entity.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// A few rows. A flood of new keys costs no more than this.
    Probation(Vec<KeptRow>),
    /// A detector.
    Trained(Box<Detector>),
}

/// A row of the probation, as small as it can be: its channels' names are in the lane's table.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRow {
    at: EventTime,
    offset: i64,
    values: Box<[(ChannelId, f32)]>,
}

/// An entity in memory.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name.
    pub name: Arc<str>,
    /// What has been learned.
    pub state: State,
    /// Offset of the last record that changed the state; -1: none.
    pub as_of: i64,
    /// First record since the newest snapshot.
    pub first_dirty: Option<i64>,
    /// Sum over its rows of a mix of offset and score bits.
    pub accumulator: u64,
    /// A transition of an alert is in no snapshot yet.
    pub urgent: bool,
    /// Its rows that are not complete, or wait for earlier ones.
    pub aligner: Aligner,
    slots: Vec<u16>,
    values: Vec<f32>,
    /// None on probation, where nothing is judged.
    rules: Option<Arc<Rules>>,
}

/// What is counted of an entity in the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Where its detector is; `None`: on probation.
    pub state: Option<detector::State>,
    /// Open alerts that the world knows of, by severity in the tally's order.
    pub open: [u8; 3],
    /// Its model is fitted: none of its rows will take as long as a fit.
    pub is_fitted: bool,
}

/// What a lane lends an entity for one row.
pub struct Surroundings<'a> {
    /// Names behind the channel numbers.
    pub channels: &'a Channels,
    /// Rules by pattern.
    pub rulebook: &'a Rulebook,
    /// What shapes detectors.
    pub settings: &'a Arc<Settings>,
    /// Rows of the probation.
    pub probation_rows: usize,
    /// Working memory.
    pub scratch: &'a mut Scratch,
    /// The same, for the values of a row that waited.
    pub values: &'a mut Vec<(ChannelId, f32)>,
}

impl Entity {
    /// Never seen before.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            state: State::Probation(Vec::new()),
            as_of: -1,
            first_dirty: None,
            accumulator: 0,
            urgent: false,
            aligner: Aligner::default(),
            slots: Vec::new(),
            values: Vec::new(),
            rules: None,
        }
    }

    /// Takes one row: what it came to, and how many of its channels are unknown.
    pub fn take(
        &mut self,
        at: EventTime,
        offset: i64,
        measurements: &[(ChannelId, f32)],
        around: &mut Surroundings<'_>,
    ) -> (Outcome, u64) {
        if let State::Probation(rows) = &mut self.state {
            rows.reserve_exact(1);
            rows.push(KeptRow { at, offset, values: measurements.into() });
            let admitted = rows.len() >= around.probation_rows && rows.iter().any(|row| !row.values.is_empty());
            if !admitted {
                // Rows without any value say nothing of the entity: only the newest is kept.
                if rows.len() > around.probation_rows {
                    rows.remove(0);
                }
                return (Outcome::on_probation(at, offset), 0);
            }
            let outcome = self.admit(around);
            self.note(&outcome);
            return (outcome, 0);
        }
        let unknown = self.place(measurements, around);
        let (State::Trained(detector), Some(rules)) = (&mut self.state, &self.rules) else {
            unreachable!("an entity is on probation, or has a detector and its rules")
        };
        let outcome = detector.step(&Row { at, offset, values: &self.values }, rules, around.scratch);
        self.note(&outcome);
        (outcome, unknown)
    }

    fn note(&mut self, outcome: &Outcome) {
        self.accumulator = self.accumulator.wrapping_add(mix(outcome.offset as u64, outcome.score.to_bits()));
        self.urgent |= !outcome.alerts.is_empty();
    }

    /// Probation is over: the channels seen so far become the schema. The outcome of the last row, with the alerts of them all.
    fn admit(&mut self, around: &mut Surroundings<'_>) -> Outcome {
        let State::Probation(rows) = std::mem::replace(&mut self.state, State::Probation(Vec::new())) else {
            unreachable!("only an entity on probation is admitted")
        };
        let name = |id: ChannelId| around.channels.name(id);
        let mut names: Vec<&str> = rows.iter().flat_map(|row| row.values.iter().map(|(id, _)| name(*id))).collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(MAX_CHANNELS);
        let schema = Schema::new(names.iter().map(|name| around.rulebook.channel(&self.name, name)).collect());
        let rules = Arc::new(around.rulebook.rules(&self.name, &schema));
        let mut detector = Detector::new(schema, Arc::clone(around.settings));
        let (mut last, mut alerts) = (Outcome::on_probation(EventTime::default(), -1), Vec::new());
        for row in &rows {
            self.values.clear();
            self.values.resize(detector.schema().n_channels(), f32::NAN);
            for (id, value) in &row.values {
                if let Some(slot) = detector.schema().slot(name(*id)) {
                    self.values[slot] = *value;
                }
            }
            let row = Row { at: row.at, offset: row.offset, values: &self.values };
            last = detector.step(&row, &rules, around.scratch);
            alerts.append(&mut last.alerts);
        }
        self.rules = Some(rules);
        self.state = State::Trained(Box::new(detector));
        self.slots.clear();
        Outcome { alerts, ..last }
    }

    /// Puts measurements into their slots; a channel never seen before widens the schema while the warm-up lasts.
    fn place(&mut self, measurements: &[(ChannelId, f32)], around: &mut Surroundings<'_>) -> u64 {
        let State::Trained(detector) = &mut self.state else { return 0 };
        if self.slots.len() < around.channels.len() {
            let known = self.slots.len();
            let schema = detector.schema();
            let slot_of = |index: usize| {
                around
                    .channels
                    .id(index)
                    .and_then(|id| schema.slot(around.channels.name(id)))
                    .map_or(NONE, |slot| slot as u16)
            };
            self.slots.extend((known..around.channels.len()).map(slot_of));
        }
        if measurements.iter().any(|(id, _)| self.slots[id.index()] == NONE) {
            self.widen(measurements, around);
        }
        let State::Trained(detector) = &self.state else { return 0 };
        self.values.clear();
        self.values.resize(detector.schema().n_channels(), f32::NAN);
        let mut unknown = 0;
        for (id, value) in measurements {
            match self.slots[id.index()] {
                NONE => unknown += 1,
                slot => self.values[slot as usize] = *value,
            }
        }
        unknown
    }

    fn widen(&mut self, measurements: &[(ChannelId, f32)], around: &mut Surroundings<'_>) {
        let State::Trained(detector) = &mut self.state else { return };
        if detector.is_fitted() {
            return;
        }
        let mut names: Vec<&str> = detector.schema().channels().iter().map(|channel| channel.name.as_str()).collect();
        names.extend(measurements.iter().map(|(id, _)| around.channels.name(*id)));
        names.sort_unstable();
        names.dedup();
        if names.len() > MAX_CHANNELS {
            return;
        }
        let schema = Schema::new(names.iter().map(|name| around.rulebook.channel(&self.name, name)).collect());
        let rules = Arc::new(around.rulebook.rules(&self.name, &schema));
        if let Some(grown) = detector.grow(schema, &rules, around.scratch) {
            **detector = grown;
            self.rules = Some(rules);
            for (index, slot) in self.slots.iter_mut().enumerate() {
                let name = around.channels.id(index).map(|id| around.channels.name(id));
                *slot = name.and_then(|name| detector.schema().slot(name)).map_or(NONE, |slot| slot as u16);
            }
        }
    }

    /// New rules, from the next row on.
    pub fn set_rules(&mut self, rulebook: &Rulebook) {
        if let State::Trained(detector) = &self.state {
            self.rules = Some(Arc::new(rulebook.rules(&self.name, detector.schema())));
        }
    }

    /// [`Detector::succeed`]; on probation nothing is open.
    #[must_use]
    pub fn succeed(&mut self, endings: Vec<Alert>) -> Vec<Alert> {
        match &mut self.state {
            State::Trained(detector) => detector.succeed(endings),
            State::Probation(_) => endings,
        }
    }

    /// Is nothing known of it but its name?
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(&self.state, State::Probation(rows) if rows.is_empty()) && self.aligner == Aligner::default()
    }

    /// What is counted of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let State::Trained(detector) = &self.state else { return Standing::default() };
        let mut open = [0; 3];
        detector.open_alerts().filter(|alert| alert.told).for_each(|alert| open[severity_index(alert.severity)] += 1);
        Standing { state: Some(detector.state()), open, is_fitted: detector.is_fitted() }
    }

    /// Rows seen.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        match &self.state {
            State::Probation(rows) => rows.len() as u64,
            State::Trained(detector) => detector.n_rows(),
        }
    }

    /// Bytes it takes in memory, its name and its place in the lane's tables included; by formula, cheap at any time.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let state = match &self.state {
            State::Probation(rows) => {
                let values = |row: &KeptRow| ALLOCATION + size_of_val(&*row.values);
                ALLOCATION + rows.iter().map(|row| size_of::<KeptRow>() + values(row)).sum::<usize>()
            }
            State::Trained(detector) => {
                let channels = detector.schema().n_channels();
                let rules = 2 * ALLOCATION + size_of::<Rules>() + channels * size_of::<ChannelRule>();
                detector.n_bytes() + rules + 4 * self.values.capacity() + 2 * self.slots.capacity()
            }
        };
        PLACE + self.name.len() + self.aligner.n_bytes() + state
    }
}

/// A bijective mix of 64 bits (the finaliser of splitmix64), so that sums of it tell of every row.
fn mix(offset: u64, bits: u32) -> u64 {
    let mut z = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(bits);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
