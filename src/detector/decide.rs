//! From the figures of a row to a decision, and from a transition to the alert that tells of it.

use super::alert::{Alert, ChannelEvidence, Kind, Transition};
use super::episode::{self, Decision};
use super::figures::Figures;
use super::level::Glances;
use super::row::Row;
use super::rules::Rules;
use super::{DAY_MICROS, Detector, Outcome, Scratch, Suppressed, quality, score};

impl Detector {
    pub(super) fn judge_quality(
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
        let mut channels = score::evidence(&scratch.values, &Glances::default(), &self.level, None);
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

    pub(super) fn decide(
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
        outcome.raised = decision.raised;
        self.threshold.spend(decision.raised, rows_a_day, &rules.threshold);
        outcome.suppressed = match decision {
            Decision { refractory: true, .. } => Some(Suppressed::Refractory),
            Decision { too_few: true, .. } => Some(Suppressed::KOfN),
            Decision { .. } => outcome.suppressed,
        };
        let untold = || self.episode.untold().filter(|_| !muted && judged.ratio >= 1.0);
        let Some(step) = decision.step.or_else(untold) else { return };
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

    fn evidence(&self, scratch: &Scratch) -> Vec<ChannelEvidence> {
        let model = self
            .model
            .as_ref()
            .map(|model| model.tell(&self.settings, &scratch.pass, &scratch.by_channel, &scratch.scaled));
        score::evidence(&scratch.values, &scratch.glances, &self.level, model.as_ref())
    }

    /// Rows a day, from the event times so far; a day's worth of minutes while there are too few.
    pub(super) fn rows_a_day(&self) -> f64 {
        let span = self.last_at.micros().saturating_sub(self.first_at.micros());
        if self.n_rows < 2 || span <= 0 {
            1440.0
        } else {
            (self.n_rows as f64 * DAY_MICROS as f64 / span as f64).clamp(1.0, 1e9)
        }
    }
}
