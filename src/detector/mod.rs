//! One entity: rows in, outcomes out. Pure: no Kafka, no tokio, no clock, no chance but a seed in its state.
//! The same state and the same rows give the same bits on every CPU.
//!
//! The way of a row: [`level`] and [`fast`] look at it without a model; [`scaler`], [`window`], [`autoencoder`] and [`views`]
//! judge it with one; [`threshold`] tells how rare that is; [`episode`] decides; and last of all everything learns.

pub mod alert;
pub mod autoencoder;
pub mod decay;
pub mod episode;
pub mod fast;
pub mod gate;
#[cfg(test)]
mod golden;
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
pub mod threshold;
pub mod views;
pub mod warmup;
pub mod window;

pub use outcome::{Outcome, State, Suppressed};
use settings::Pace;
pub use settings::Settings;

use alert::{Alert, Kind, Transition};
use autoencoder::Pass;
use episode::{Decision, Episode, Phase};
use fast::Fast;
use level::{Glance, Level};
use model::Model;
use probe::{Moment, Probe};
use quality::Quality;
use rand_core::SeedableRng;
use rand_pcg::Pcg32;
use row::{EventTime, Row};
use rules::Rules;
use schema::Schema;
use serde::{Deserialize, Serialize};
use snapshot::Soundness;
use std::sync::Arc;
use threshold::Threshold;
use threshold::rarity::{Stream, join};
use views::ByChannel;
use warmup::Warmup;

/// Rows before the level streams are learned by the rarity.
const SKIP: u64 = 50;
/// Rows of the warm-up's end whose level streams set their units.
const EARLY: u64 = 512;
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
    glances: Vec<Option<Glance>>,
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

/// Figures of one row before anything is decided.
#[derive(Default)]
struct Figures {
    score: f32,
    joint_score: f32,
    row_score: f32,
    rarity: f32,
    model_loss: f32,
    active_units: u32,
    window_stream: f32,
    level: level::Streams,
    fast: fast::Residuals,
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
    /// per channel some ten divisions and five roots, and per stream two logarithms and a walk over the bins of its two
    /// histograms above the row's. No allocation once the scratch has grown to the schema, but for a transition.
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
            self.learn(&figures, &outcome, rules, scratch);
        }
        self.n_rows = self.n_rows.saturating_add(1);
        self.warm_up(row.at, learns, scratch);
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

    /// Everything that can be told of a row without deciding: streams, views, score, rarity.
    fn figure(&mut self, at: EventTime, learns: bool, scratch: &mut Scratch) -> Figures {
        let mut figures = Figures::default();
        // The level streams and the fast autoencoder learn as they look; where nothing may be learned they are put back.
        let kept = (!learns).then(|| (self.level.clone(), self.fast.clone()));
        let settled = matches!(self.early, Early::Settled(_));
        let schema = &self.schema;
        let resolution = |c: usize| schema.channels()[c].resolution;
        let settings = &self.settings;
        figures.level = self.level.see(
            &scratch.values,
            resolution,
            at.seconds(),
            settled,
            &self.pace.level,
            &settings.level,
            &mut scratch.glances,
        );
        figures.fast = self.see_fast(&scratch.glances);
        if let Some((level, fast)) = kept {
            (self.level, self.fast) = (level, fast);
        }
        if let Some(model) = &mut self.model {
            scratch.scaled.clear();
            scratch
                .scaled
                .extend(scratch.values.iter().enumerate().map(|(c, value)| model.scale(c, *value, &self.settings)));
            let seen =
                model.see(&scratch.scaled, self.pace.slow, &self.settings, &mut scratch.pass, &mut scratch.by_channel);
            figures.joint_score = model.score_of(&seen);
            figures.row_score = seen.window_error;
            figures.window_stream = model.window_stream(seen.window_error);
            figures.model_loss = autoencoder::dense::dot(&scratch.pass.residual, &scratch.pass.residual)
                / scratch.pass.residual.len() as f32;
            figures.active_units = scratch.pass.active.len() as u32;
            if !(figures.joint_score.is_finite() && figures.model_loss.is_finite()) {
                self.start_over();
                figures = Figures { level: figures.level, fast: figures.fast, ..Figures::default() };
            } else {
                figures.score = self.ranking_score(&figures, Some(seen.views));
            }
        }
        if self.model.is_none() {
            figures.score = self.ranking_score(&figures, None);
        }
        figures.rarity = self.rarity(&figures);
        figures
    }

    /// A rate too high for the data has blown the weights up: warm up again.
    fn start_over(&mut self) {
        self.model = None;
        self.warmup = Some(Warmup::new(self.schema.n_channels()));
    }

    fn see_fast(&mut self, glances: &[Option<Glance>]) -> fast::Residuals {
        let cap = self.settings.level.cap;
        let (mut told, mut n) = (fast::Residuals::default(), 0u32);
        for (fast, glance) in self.fast.iter_mut().zip(glances) {
            let Some(glance) = glance else { continue };
            let residuals = fast.see(glance.deviation / glance.scale);
            let unit = (glance.scale / glance.unit) as f32;
            told.newest += (residuals.newest * unit).min(cap);
            told.window += (residuals.window * unit).min(cap);
            n += 1;
        }
        let n = n.max(1) as f32;
        fast::Residuals { newest: told.newest / n, window: told.window / n }
    }

    /// Ranking score: the joint model's with many channels; with few, the level streams in their units, then joined by the
    /// two sharpest views.
    fn ranking_score(&self, figures: &Figures, views: Option<[f32; views::VIEWS]>) -> f32 {
        if !self.settings.is_small(self.schema.n_channels()) {
            return figures.joint_score;
        }
        let Early::Settled(units) = &self.early else { return 0.0 };
        let early = self.level_views(figures);
        let season = self.settings.clock;
        let level = early
            .into_iter()
            .zip(units)
            .enumerate()
            .filter(|(k, _)| season || *k != 2)
            .map(|(_, (view, unit))| view / unit);
        let joint = self.model.as_ref().zip(views).map(|(model, views)| model.sharpest(&views));
        score::quadratic_mean(level.chain(joint.into_iter().flatten()))
    }

    fn level_views(&self, figures: &Figures) -> [f32; 5] {
        let Figures { level, fast, .. } = figures;
        [level.deviation, level.smoothed, level.season, fast.newest, fast.window]
    }

    /// The 4-norm of the streams' rarities.
    fn rarity(&self, figures: &Figures) -> f32 {
        let small = self.settings.is_small(self.schema.n_channels());
        let weight = if small { self.settings.small_weight } else { 1.0 };
        let streams = &self.streams;
        let season =
            self.level_has_season() && self.last_at.micros().saturating_sub(self.first_at.micros()) >= DAY_MICROS;
        let told = [
            Some(streams.deviation.rarity(figures.level.deviation)),
            Some(streams.smoothed.rarity(figures.level.smoothed)),
            season.then(|| streams.season.rarity(figures.level.season)),
            match (small, self.model.is_some()) {
                (true, _) => Some(weight * streams.fast_or_window.rarity(figures.fast.newest)),
                (false, true) => Some(streams.fast_or_window.rarity(figures.window_stream)),
                (false, false) => None,
            },
            self.model.is_some().then(|| weight * streams.score.rarity(figures.joint_score)),
        ];
        join(told.into_iter().flatten())
    }

    fn level_has_season(&self) -> bool {
        self.settings.clock && self.settings.is_small(self.schema.n_channels())
    }

    fn judge_quality(
        &mut self,
        row: &Row<'_>,
        out_of_range: &[usize],
        rules: &Rules,
        muted: bool,
        scratch: &Scratch,
        outcome: &mut Outcome,
    ) {
        let Some(told) = self.quality.observe(row.at, !out_of_range.is_empty(), muted) else { return };
        // What the world was told of is closed for it too: a silence that held the end back would leave the alert open for ever.
        if muted && told.transition != Transition::Closed {
            outcome.suppressed = Some(Suppressed::Silence);
            return;
        }
        let mut channels = score::evidence(&scratch.values, &[], &self.level, None);
        quality::put_in_range_bands(&mut channels, row.values, out_of_range, &rules.channels);
        outcome.alerts.push(Alert {
            kind: Kind::DataQuality,
            transition: told.transition,
            cause: told.cause,
            severity: told.severity,
            onset: told.onset,
            at: row.at,
            score: 0.0,
            row_score: 0.0,
            rarity: 0.0,
            threshold: 0.0,
            score_ratio: 0.0,
            peak_ratio: 0.0,
            rows: told.rows,
            channels,
            offset: row.offset,
            generation: self.generation,
        });
    }

    fn decide(
        &mut self,
        row: &Row<'_>,
        figures: &Figures,
        rules: &Rules,
        muted: bool,
        scratch: &Scratch,
        outcome: &mut Outcome,
    ) {
        let rows_a_day = self.rows_a_day();
        let judged = self.threshold.judge(figures.score, figures.rarity, rows_a_day, &rules.threshold);
        outcome.score = figures.score;
        outcome.row_score = figures.row_score;
        outcome.rarity = figures.rarity;
        outcome.threshold = judged.threshold;
        outcome.score_ratio = judged.ratio;
        outcome.model_loss = figures.model_loss;
        outcome.active_units = figures.active_units;
        let log_error = self.model.is_some().then(|| libm::log(f64::from(figures.row_score) + 1e-3));
        let adapting = self.model.as_ref().is_some_and(|model| !model.is_patient(&self.settings));
        // An alert that its channels do not bear out must leave no trace, or it would hold back the one that they do.
        let before = rules.asks_for_deviation().then(|| self.episode.clone());
        let told = episode::Row { at: row.at, judged, log_error, adapting };
        let decision = self.episode.observe(&told, &self.pace.episode, &rules.alert);
        self.threshold.spend(decision.raised, rows_a_day, &rules.threshold);
        outcome.suppressed = match decision {
            Decision { refractory: true, .. } => Some(Suppressed::Refractory),
            Decision { too_few: true, .. } => Some(Suppressed::KOfN),
            Decision { .. } => outcome.suppressed,
        };
        let Some(step) = decision.step else { return };
        let channels = self.evidence(scratch);
        if let (Transition::Opened, Some(before)) = (step.transition, before)
            && !rules.deviates_enough(&channels)
        {
            self.episode = before;
            outcome.suppressed = Some(Suppressed::MinimumDeviation);
            return;
        }
        let Some(transition) = self.publish(&step, muted) else {
            outcome.suppressed = Some(Suppressed::Silence);
            return;
        };
        outcome.alerts.push(Alert {
            kind: Kind::Anomaly,
            transition,
            cause: step.cause,
            severity: step.severity,
            onset: step.onset,
            at: row.at,
            score: outcome.score,
            row_score: outcome.row_score,
            rarity: outcome.rarity,
            threshold: outcome.threshold,
            score_ratio: outcome.score_ratio,
            peak_ratio: step.peak_ratio,
            rows: step.rows,
            channels,
            offset: row.offset,
            generation: self.generation,
        });
    }

    /// Which transition the world is told: none in a silence but the end of an alert that it knows of; and an alert that was
    /// opened in a silence is opened when it is first told of.
    fn publish(&mut self, step: &episode::Step, muted: bool) -> Option<Transition> {
        match self.episode.open_mut() {
            Some(open) => {
                if muted {
                    return None;
                }
                let first = !std::mem::replace(&mut open.published, true);
                Some(if first { Transition::Opened } else { step.transition })
            }
            None => step.published.then_some(step.transition),
        }
    }

    fn evidence(&self, scratch: &Scratch) -> Vec<alert::ChannelEvidence> {
        let model = self
            .model
            .as_ref()
            .map(|model| model.tell(&self.settings, &scratch.pass, &scratch.by_channel, &scratch.scaled));
        score::evidence(&scratch.values, &scratch.glances, &self.level, model.as_ref())
    }

    /// Last, so that no row is judged by what has already seen it.
    fn learn(&mut self, figures: &Figures, outcome: &Outcome, rules: &Rules, scratch: &mut Scratch) {
        let keep = &self.pace.rarity;
        let small = self.settings.is_small(self.schema.n_channels());
        if self.n_rows >= SKIP {
            self.streams.deviation.learn(figures.level.deviation, keep);
            self.streams.smoothed.learn(figures.level.smoothed, keep);
            if self.settings.clock && small {
                self.streams.season.learn(figures.level.season, keep);
            }
            if small {
                self.streams.fast_or_window.learn(figures.fast.newest, keep);
            }
        }
        if self.model.is_some() {
            self.streams.score.learn(figures.joint_score, keep);
            if !small {
                self.streams.fast_or_window.learn(figures.window_stream, keep);
            }
        }
        let quiet = outcome.score_ratio < 1.0 && !matches!(self.episode.phase(), Phase::Open(_));
        if quiet && matches!(self.early, Early::Settled(_)) {
            self.threshold.learn(figures.score, &rules.threshold);
        }
        if let Some(model) = &mut self.model {
            model.learn(
                figures.joint_score,
                &scratch.values,
                (&self.settings, &self.pace),
                &mut scratch.pass,
                &scratch.by_channel,
            );
        }
        let early = self.level_views(figures);
        if let Early::Gathering(rows) = &mut self.early
            && self.n_rows >= SKIP
            && small
        {
            if rows.len() >= 2 * EARLY as usize {
                rows.drain(..EARLY as usize);
            }
            rows.push(early);
        }
    }

    /// Gathers the first rows; at their end everything is fitted.
    fn warm_up(&mut self, at: EventTime, learns: bool, scratch: &Scratch) {
        let length = self.settings.warmup;
        let fit = match &mut self.warmup {
            Some(warmup) if learns => warmup.push(at, &scratch.values, length, self.settings.window_rows),
            Some(_) | None => false,
        };
        let settled = match length {
            warmup::Length::Rows(rows) if self.settings.is_small(self.schema.n_channels()) => {
                self.n_rows >= rows.max(100)
            }
            warmup::Length::Rows(_) | warmup::Length::Micros(_) => fit,
        };
        if settled && let Early::Gathering(rows) = &self.early {
            self.early = Early::Settled(units_of(rows, self.n_rows));
        }
        if fit {
            self.fit();
        }
    }

    fn fit(&mut self) {
        let Some(warmup) = self.warmup.take() else { return };
        let schema = &self.schema;
        let fitted = warmup.fit(|c| schema.channels()[c].resolution, &self.settings, &mut self.rng);
        if !fitted.is_finite() {
            // Trained at a rate too high for the data.
            return self.start_over();
        }
        let errors = fitted.tail.iter().map(|(_, error)| *error);
        let model =
            Model::new(fitted.scaler, fitted.net, fitted.views, fitted.units, fitted.window, errors.clone().collect());
        let small = self.settings.is_small(self.schema.n_channels());
        for (score, error) in &fitted.tail {
            self.streams.score.learn(*score, &self.pace.rarity);
            if !small {
                self.streams.fast_or_window.learn(model.window_stream(*error), &self.pace.rarity);
            }
        }
        let logs = errors.map(|error| libm::log(f64::from(error) + 1e-3));
        let n = fitted.tail.len().max(1) as f64;
        let mean = logs.clone().sum::<f64>() / n;
        let variance = logs.map(|log| (log - mean) * (log - mean)).sum::<f64>() / n;
        self.episode.set_base(mean, variance.sqrt());
        self.model = Some(model);
        self.generation = self.generation.saturating_add(1);
    }

    /// Rows a day, from the event times so far; a day's worth of minutes while there are too few.
    fn rows_a_day(&self) -> f64 {
        let span = self.last_at.micros().saturating_sub(self.first_at.micros());
        if self.n_rows < 2 || span <= 0 {
            1440.0
        } else {
            (self.n_rows as f64 * DAY_MICROS as f64 / span as f64).clamp(1.0, 1e9)
        }
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

    /// Severities of the open alerts that the world knows of.
    pub fn open_alerts(&self) -> impl Iterator<Item = alert::Severity> {
        let anomaly = match self.episode.phase() {
            Phase::Open(open) if open.published => Some(open.severity),
            Phase::Open(_) | Phase::Quiet | Phase::Recovering => None,
        };
        anomaly.into_iter().chain(self.quality.severity())
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

    fn adopt(&mut self, settings: &Arc<Settings>) {
        self.pace = Pace::of(settings);
        self.settings = Arc::clone(settings);
    }

    /// Is a decoded detector one that its settings could have made?
    fn soundness(&self) -> Soundness {
        let channels = self.schema.n_channels();
        let settings = &self.settings;
        let small = settings.is_small(channels);
        let early = match &self.early {
            Early::Gathering(rows) => {
                rows.len() <= 2 * EARLY as usize && rows.iter().all(|row| snapshot::all_finite(row))
            }
            Early::Settled(units) => units.iter().all(|unit| unit.is_finite() && *unit > 0.0),
        };
        let shape = (1..=schema::MAX_CHANNELS).contains(&channels)
            && self.fast.len() == if small { channels } else { 0 }
            && self.warmup.is_some() != self.model.is_some()
            && early
            && self.schema.channels().iter().all(|channel| (0.0..=f32::MAX).contains(&channel.resolution));
        let mut sound = Soundness::of(shape, "schema").and(self.level.soundness(
            channels,
            small && settings.clock,
            &settings.level,
        ));
        for fast in &self.fast {
            sound = sound.and(fast.soundness());
        }
        if let Some(warmup) = &self.warmup {
            sound = sound.and(warmup.soundness(channels));
        }
        if let Some(model) = &self.model {
            sound = sound.and(model.soundness(channels, settings));
        }
        let Streams { deviation, smoothed, season, fast_or_window, score } = &self.streams;
        for stream in [deviation, smoothed, season, fast_or_window, score] {
            sound = sound.and(stream.soundness());
        }
        sound.and(self.threshold.soundness()).and(self.episode.soundness())
    }
}

#[cfg(test)]
mod tests;

/// The .99 quantile of each stream over the last quarter of the warm-up.
fn units_of(rows: &[[f32; 5]], n_rows: u64) -> [f32; 5] {
    let wanted = (n_rows / 4).clamp(100, EARLY) as usize;
    let rows = &rows[rows.len().saturating_sub(wanted)..];
    std::array::from_fn(|k| warmup::quantile(rows.iter().map(|row| row[k]).collect(), 0.99) + 1e-3)
}
