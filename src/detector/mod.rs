//! One entity: rows in, outcomes out. Pure: no Kafka, no tokio, no clock, no chance but a seed in its state.
//! The same state and the same rows give the same bits on every CPU.
//!
//! The way of a row: [`level`] and [`fast`] look at it without a model; [`scaler`], [`window`], [`autoencoder`] and [`views`]
//! judge it with one; [`threshold`] tells how rare that is; [`episode`] decides; and last of all everything learns.

pub mod alert;
pub mod autoencoder;
pub mod decay;
mod decide;
mod ending;
pub mod episode;
pub mod fast;
mod figures;
pub mod gate;
#[cfg(test)]
mod golden;
mod learn;
pub mod level;
mod model;
mod outcome;
pub mod portrait;
pub mod probe;
pub mod quality;
pub mod row;
pub mod rules;
pub mod scaler;
pub mod schema;
pub mod score;
mod settings;
mod size;
pub mod snapshot;
mod still;
pub mod threshold;
pub mod views;
pub mod warmup;
pub mod window;

pub use outcome::{Outcome, State, Suppressed};
use settings::Pace;
pub use settings::Settings;

use autoencoder::Pass;
use episode::{Episode, Phase};
use fast::Fast;
use level::{Glances, Level};
use model::Model;
use probe::{Moment, Probe};
use quality::Quality;
use rand_core::SeedableRng;
use rand_pcg::Pcg32;
use row::{EventTime, Row};
use rules::Rules;
use schema::Schema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use threshold::Threshold;
use threshold::rarity::Stream;
use views::ByChannel;
use warmup::Warmup;

const DAY_MICROS: i64 = 86_400_000_000;

/// Everything learned about one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    #[serde(skip)]
    settings: Arc<Settings>,
    #[serde(skip)]
    pace: Pace,
    schema: Schema,
    rng: Pcg32,
    generation: u32,
    n_rows: u64,
    late_rows: u64,
    first_at: EventTime,
    last_at: EventTime,
    level: Level,
    fast: Vec<Fast>,
    early: Early,
    warmup: Option<Warmup>,
    model: Option<Model>,
    streams: Streams,
    threshold: Threshold,
    episode: Episode,
    quality: Quality,
}

/// The level streams as a ranking score, for entities of few channels: their last rows of the warm-up, then their units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Early {
    Gathering(Vec<[f32; 5]>),
    Settled([f32; 5]),
}

/// The streams whose rarity is told. The fourth is the fast autoencoder's with few channels, the window error's with many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Streams {
    deviation: Stream,
    smoothed: Stream,
    season: Stream,
    fast_or_window: Stream,
    score: Stream,
}

/// Working memory of a thread; an entity holds only what it has learned.
#[derive(Debug, Default)]
pub struct Scratch {
    values: Vec<f32>,
    scaled: Vec<f32>,
    glances: Glances,
    pass: Pass,
    by_channel: ByChannel,
    /// Told of the moments of the rows that come while it is here.
    pub probe: Option<Probe>,
}

impl Scratch {
    fn tell(&mut self, moment: Moment) {
        if let Some(probe) = &mut self.probe {
            probe.tell(moment);
        }
    }
}

impl Detector {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(schema: Schema, settings: Arc<Settings>) -> Self {
        let channels = schema.n_channels();
        let small = settings.is_small(channels);
        let fast = if small {
            (0..channels).map(|c| Fast::new(settings.seed.wrapping_add(c as u64))).collect()
        } else {
            Vec::new()
        };
        Self {
            pace: Pace::of(&settings),
            rng: Pcg32::seed_from_u64(settings.seed),
            generation: 0,
            n_rows: 0,
            late_rows: 0,
            first_at: EventTime::default(),
            last_at: EventTime::default(),
            level: Level::new(channels, small && settings.clock, &settings.level),
            fast,
            early: Early::Gathering(Vec::new()),
            warmup: Some(Warmup::new(channels)),
            model: None,
            streams: Streams::default(),
            threshold: Threshold::default(),
            episode: Episode::default(),
            quality: Quality::default(),
            schema,
            settings,
        }
    }

    /// The same entity with more channels: built anew and fed with the rows its warm-up has kept, the new channels missing in
    /// them. `None` once the model is fitted: its channels are fixed.
    #[must_use]
    pub fn grow(&self, schema: Schema, rules: &Rules, scratch: &mut Scratch) -> Option<Self> {
        let warmup = self.warmup.as_ref()?;
        let slots: Vec<Option<usize>> =
            schema.channels().iter().map(|channel| self.schema.slot(&channel.name)).collect();
        let mut grown = Self::new(schema, Arc::clone(&self.settings));
        let span = self.last_at.micros().saturating_sub(self.first_at.micros());
        let n = warmup.n_rows().max(2) as i64;
        for (i, kept) in warmup.kept_rows().enumerate() {
            let values: Vec<f32> = slots.iter().map(|slot| slot.map_or(f32::NAN, |slot| kept[slot])).collect();
            // Kept rows carry no time of their own: they are laid evenly over the time they came in.
            let at =
                EventTime::from_micros(self.first_at.micros().saturating_add(span / (n - 1) * (i as i64).min(n - 1)));
            grown.step(&Row { at, offset: -1, values: &values }, rules, scratch);
        }
        grown.last_at = self.last_at;
        // What the world was told of is not unsaid: an alert that is open stays open, and none opened while feeding.
        grown.episode = self.episode.clone();
        grown.quality = self.quality.clone();
        Some(grown)
    }

    /// Scores a row, decides, learns. Never panics; a row narrower than the schema
    /// misses its last channels.
    ///
    /// Cost, with `cells = window rows x channels`: `units x cells` products with their additions to encode,
    /// `active units x cells` to decode and three times as many to learn, with eight channels about half of the time; then
    /// per channel some ten divisions and five roots (the running centres' for eight channels at once), and per stream two
    /// logarithms and a walk over the bins of its two histograms above the row's. No allocation once the scratch has grown to the schema, but for a transition.
    pub fn step(&mut self, row: &Row<'_>, rules: &Rules, scratch: &mut Scratch) -> Outcome {
        scratch.tell(Moment::Begun);
        let channels = self.schema.n_channels();
        let mut outcome = Outcome::nothing(row, self.state());
        scratch.values.clear();
        // A row holds no infinities; if one came in all the same, it would stay in every running mean.
        let finite = |value: &f32| if value.is_finite() { *value } else { f32::NAN };
        scratch.values.extend(row.values.iter().take(channels).map(finite));
        scratch.values.resize(channels, f32::NAN);
        let out_of_range = quality::mask(&mut scratch.values, &rules.channels);
        let (muted, learns) = rules.silence_at(row.at);
        self.judge_quality(row, &out_of_range, rules, muted, scratch, &mut outcome);
        if scratch.values.iter().all(|value| value.is_nan()) {
            outcome.anomalous = self.has_open_alert();
            return outcome;
        }
        self.note_time(row.at);
        let figures = self.figure(row.at, learns, scratch);
        self.decide(row, &figures, rules, muted, scratch, &mut outcome);
        scratch.tell(Moment::Judged);
        if learns {
            self.learn(&figures, rules, scratch);
        }
        self.n_rows = self.n_rows.saturating_add(1);
        self.warm_up(row.at, learns, rules, scratch);
        scratch.tell(Moment::Learned);
        outcome.state = self.state();
        outcome.anomalous = self.has_open_alert();
        outcome
    }

    fn note_time(&mut self, at: EventTime) {
        if self.n_rows == 0 {
            self.first_at = at;
        } else if at < self.last_at {
            self.late_rows = self.late_rows.saturating_add(1);
        }
        self.last_at = self.last_at.max(at);
    }

    /// Its channels.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Rows that were judged.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Rows that were older than one before them.
    #[must_use]
    pub fn late_rows(&self) -> u64 {
        self.late_rows
    }

    /// Newest event time.
    #[must_use]
    pub fn last_at(&self) -> EventTime {
        self.last_at
    }

    /// How often its model was fitted.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Is its joint model fitted?
    #[must_use]
    pub fn is_fitted(&self) -> bool {
        self.model.is_some()
    }

    /// The settings it lives under.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The fitted autoencoder.
    #[must_use]
    pub fn autoencoder(&self) -> Option<&autoencoder::Autoencoder> {
        self.model.as_ref().map(Model::net)
    }

    /// Is an alert open, of either kind?
    #[must_use]
    pub fn has_open_alert(&self) -> bool {
        matches!(self.episode.phase(), Phase::Open(_)) || self.quality.is_open()
    }

    /// The open alerts, one of either kind at most.
    pub fn open_alerts(&self) -> impl Iterator<Item = alert::OpenAlert> {
        self.episode.open_alert().into_iter().chain(self.quality.open_alert())
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        match self.episode.phase() {
            Phase::Open(open) if open.adapting => State::Adapting,
            Phase::Open(_) => State::Open,
            Phase::Quiet | Phase::Recovering if matches!(self.early, Early::Gathering(_)) => State::Warming,
            Phase::Recovering => State::Recovering,
            Phase::Quiet => State::Ready,
        }
    }
}

#[cfg(test)]
mod tests;
