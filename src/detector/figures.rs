//! Everything that can be told of a row without deciding: streams, views, score, rarity.

use super::level::Glances;
use super::row::EventTime;
use super::still::{LEAST_DEVIATION, LEAST_SCORE, LEAST_SMOOTHED, least};
use super::threshold::rarity;
use super::warmup::Warmup;
use super::{DAY_MICROS, Detector, Early, Scratch, autoencoder, fast, level, score, views};

/// Figures of one row before anything is decided.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) score: f32,
    pub(super) joint_score: f32,
    pub(super) row_score: f32,
    pub(super) rarity: f32,
    pub(super) model_loss: f32,
    pub(super) active_units: u32,
    pub(super) window_stream: f32,
    pub(super) level: level::Streams,
    pub(super) fast: fast::Residuals,
    pub(super) heard: Heard,
}

/// What the rarity's streams hear of a row: where all has stood still, nothing is so small that it was never seen before.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    pub(super) deviation: f32,
    pub(super) smoothed: f32,
    pub(super) season: f32,
    pub(super) fast: f32,
    pub(super) window: f32,
    pub(super) score: f32,
}

impl Heard {
    fn of(figures: &Figures, channels: usize) -> Self {
        let Figures { level, fast, window_stream, joint_score, .. } = figures;
        Self {
            deviation: level.deviation.max(least(LEAST_DEVIATION, channels)),
            smoothed: level.smoothed.max(least(LEAST_SMOOTHED, channels)),
            season: level.season.max(least(LEAST_SMOOTHED, channels)),
            fast: fast.newest.max(least(LEAST_DEVIATION, channels)),
            window: window_stream.max(LEAST_SCORE),
            score: joint_score.max(LEAST_SCORE),
        }
    }
}

impl Detector {
    /// Everything that can be told of a row without deciding: streams, views, score, rarity.
    pub(super) fn figure(&mut self, at: EventTime, learns: bool, scratch: &mut Scratch) -> Figures {
        let mut figures = Figures::default();
        // The level streams and the fast autoencoder learn as they look; where nothing may be learned they are put back.
        let kept = (!learns).then(|| (self.level.clone(), self.fast.clone()));
        let settled = matches!(self.early, Early::Settled(_));
        let settings = &self.settings;
        figures.level = self.level.see(
            &scratch.values,
            self.schema.resolutions(),
            at.seconds(),
            settled,
            &self.pace.level,
            &settings.level,
            &mut scratch.glances,
        );
        figures.fast = self.see_fast(&scratch.glances);
        if let Some((level, fast)) = kept {
            self.level = level;
            self.fast.iter_mut().zip(fast).for_each(|(fast, before)| fast.unlearn(before));
        }
        if let Some(model) = &mut self.model {
            scratch.scaled.clear();
            scratch
                .scaled
                .extend(scratch.values.iter().enumerate().map(|(c, value)| model.scale(c, *value, &self.settings)));
            let seen = model.see(
                &scratch.scaled,
                learns,
                self.pace.slow,
                &self.settings,
                &mut scratch.pass,
                &mut scratch.by_channel,
            );
            figures.joint_score = model.score_of(&seen);
            figures.row_score = seen.window_error;
            figures.window_stream = model.window_stream(seen.window_error);
            figures.model_loss = autoencoder::dense::dot(&scratch.pass.residual, &scratch.pass.residual)
                / scratch.pass.residual.len() as f32;
            figures.active_units = scratch.pass.active.len() as u32;
            let told = [figures.joint_score, figures.row_score, figures.model_loss];
            if !told.iter().all(|figure| figure.is_finite()) {
                self.start_over();
                figures = Figures { level: figures.level, fast: figures.fast, ..Figures::default() };
            } else {
                figures.score = self.ranking_score(&figures, Some(seen.views));
            }
        }
        if self.model.is_none() {
            figures.score = self.ranking_score(&figures, None);
        }
        figures.heard = Heard::of(&figures, self.schema.n_channels());
        figures.rarity = self.rarity(&figures.heard);
        figures
    }

    /// A rate too high for the data has blown the weights up: warm up again.
    pub(super) fn start_over(&mut self) {
        self.model = None;
        self.warmup = Some(Warmup::new(self.schema.n_channels()));
    }

    fn see_fast(&mut self, glances: &Glances) -> fast::Residuals {
        let cap = self.settings.level.cap;
        let (mut told, mut n) = (fast::Residuals::default(), 0u32);
        for (c, fast) in self.fast.iter_mut().enumerate() {
            let Some(glance) = glances.of(c) else { continue };
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
    /// two sharpest views. Finite, though their squares in units of all but 0 may not be.
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
        score::quadratic_mean(level.chain(joint.into_iter().flatten())).min(f32::MAX)
    }

    pub(super) fn level_views(&self, figures: &Figures) -> [f32; 5] {
        let Figures { level, fast, .. } = figures;
        [level.deviation, level.smoothed, level.season, fast.newest, fast.window]
    }

    /// The 4-norm of the streams' rarities.
    fn rarity(&self, heard: &Heard) -> f32 {
        let small = self.settings.is_small(self.schema.n_channels());
        let weight = if small { self.settings.small_weight } else { 1.0 };
        let streams = &self.streams;
        let season =
            self.level_has_season() && self.last_at.micros().saturating_sub(self.first_at.micros()) >= DAY_MICROS;
        let is_fitted = self.model.is_some();
        let fast_or_window = if small { Some(heard.fast) } else { is_fitted.then_some(heard.window) };
        let [deviation, smoothed, season, fast_or_window, score] = rarity::rarities([
            (&streams.deviation, Some(heard.deviation)),
            (&streams.smoothed, Some(heard.smoothed)),
            (&streams.season, season.then_some(heard.season)),
            (&streams.fast_or_window, fast_or_window),
            (&streams.score, is_fitted.then_some(heard.score)),
        ]);
        rarity::join([deviation, smoothed, season, weight * fast_or_window, weight * score])
    }

    fn level_has_season(&self) -> bool {
        self.settings.clock && self.settings.is_small(self.schema.n_channels())
    }
}
