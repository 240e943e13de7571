//! The life of an alert: k of n rows over the threshold open it, the episode's own level closes it, one alert per episode.

use super::alert::{Cause, Kind, OpenAlert, Severity, Transition};
use super::decay;
use super::row::EventTime;
use super::snapshot::Soundness;
use super::threshold::Judged;
use serde::{Deserialize, Serialize};

/// How an alert ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Close {
    /// Twelve of the last sixteen rows are back at the base plus this share of the episode's own level above it.
    Relative {
        /// In 0..1.
        share: f32,
    },
    /// The score ratio stays below a level for so many rows.
    Clear {
        /// Score ratio.
        below: f32,
        /// Rows.
        rows: u32,
    },
}

/// Settings of the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Rows over the threshold, of the last `of`, that open an alert.
    pub open: u32,
    /// See `open`; at most 64.
    pub of: u32,
    /// Rows after the last one over the threshold in which no alert is opened.
    pub refractory: u32,
    /// How far over the last alert's peak the judged figure breaks through all the same.
    pub break_through: f32,
    /// How an alert ends.
    pub close: Close,
    /// Score ratio from which an alert is a warning.
    pub warning_ratio: f32,
    /// Score ratio from which it is critical.
    pub critical_ratio: f32,
    /// Rows after which it is a warning.
    pub warning_rows: u64,
    /// Rows after which it is critical.
    pub critical_rows: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            open: 1,
            of: 1,
            refractory: 50,
            break_through: 2.0,
            close: Close::Relative { share: 0.4 },
            warning_ratio: 1.3,
            critical_ratio: 2.0,
            warning_rows: 60,
            critical_rows: 600,
        }
    }
}

impl Settings {
    fn severity(&self, ratio: f32, rows: u64) -> Severity {
        if ratio >= self.critical_ratio || rows >= self.critical_rows {
            Severity::Critical
        } else if ratio >= self.warning_ratio || rows >= self.warning_rows {
            Severity::Warning
        } else {
            Severity::Info
        }
    }
}

/// Rows looked back on for closing.
const CLOSE_OF: u32 = 16;
/// Rows of them that have to be calm.
const CLOSE_CALM: u32 = 12;
/// Half-life of the base of the log window error, rows.
const BASE_HALF_LIFE: f64 = 150.0;
/// Half-life of the episode's level when it falls; it rises three times as fast.
const LEVEL_HALF_LIFE: f64 = 30.0;
/// Rows since the last one over the threshold after which a window error that has not come back is the new normal.
const NEW_NORMAL: u32 = 2_000;
/// Least distance between base and episode, in logs: 28 %.
const LEAST_GAP: f64 = 0.25;

/// Where the episode is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing open.
    Quiet,
    /// An alert is open.
    Open(Open),
    /// It is closed, but the window error has not come back to its base: the base waits.
    Recovering,
}

/// An open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Event time of the row that opened it.
    pub onset: EventTime,
    /// Rows since, that one included.
    pub rows: u64,
    /// Highest score ratio.
    pub peak_ratio: f32,
    /// Highest severity so far.
    pub severity: Severity,
    /// A level shift that the model has begun to learn.
    pub adapting: bool,
    /// Told to the world; an alert opened in a silence is not.
    pub published: bool,
    level: f64,
    calm: u32,
    calm_rows: u32,
}

/// The base of the log window error, from the held-out tail of the warm-up on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Base {
    at: f64,
    gap: f64,
}

/// State of the decision of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    phase: Phase,
    base: Option<Base>,
    hits: u64,
    since_over: u32,
    peak: f32,
}

impl Default for Episode {
    fn default() -> Self {
        Self { phase: Phase::Quiet, base: None, hits: 0, since_over: u32::MAX, peak: 0.0 }
    }
}

/// What a row did to the episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The transition and why.
    pub transition: Transition,
    /// Why.
    pub cause: Cause,
    /// The alert as it is now (as it was, when closed).
    pub severity: Severity,
    /// Event time of the row that opened it.
    pub onset: EventTime,
    /// Rows since.
    pub rows: u64,
    /// Highest score ratio.
    pub peak_ratio: f32,
    /// The world has been told of the alert before.
    pub published: bool,
}

/// What a row came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decision {
    /// The rule fired on this row, whether or not an alert was open: what a budget counts.
    pub raised: bool,
    /// A transition to tell.
    pub step: Option<Step>,
    /// The threshold was passed but the refractory rows held the alert back.
    pub refractory: bool,
    /// The threshold was passed but too few of the last rows were over it.
    pub too_few: bool,
}

/// Steps worked out once.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    base: f64,
    level: f64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { base: decay::step(BASE_HALF_LIFE), level: decay::step(LEVEL_HALF_LIFE) }
    }
}

/// What the episode is told of a row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Event time.
    pub at: EventTime,
    /// Figure, threshold, ratio.
    pub judged: Judged,
    /// Log of the window error; `None` before the model is fitted.
    pub log_error: Option<f64>,
    /// The gate's patience is over: the model learns the new level.
    pub adapting: bool,
}

/// Which rules fired on a row.
#[derive(Clone, Copy)]
struct Fired {
    raised: bool,
    breaks_through: bool,
    over: bool,
}

impl Episode {
    /// The model is fitted: mean and standard deviation of the log window error over rows it had not seen.
    pub fn set_base(&mut self, mean: f64, deviation: f64) {
        self.base = Some(Base { at: mean, gap: (2.0 * deviation).max(LEAST_GAP) });
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The open alert.
    #[must_use]
    pub fn open_alert(&self) -> Option<OpenAlert> {
        match &self.phase {
            Phase::Open(open) => Some(OpenAlert {
                kind: Kind::Anomaly,
                severity: open.severity,
                onset: open.onset,
                rows: open.rows,
                peak_ratio: open.peak_ratio,
                told: open.published,
            }),
            Phase::Quiet | Phase::Recovering => None,
        }
    }

    /// The same, to be changed.
    pub fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Open(open) => Some(open),
            Phase::Quiet | Phase::Recovering => None,
        }
    }

    /// The opening of an alert that is open and that the world was not told of: a silence may end before it does.
    #[must_use]
    pub fn untold(&self) -> Option<Step> {
        match &self.phase {
            Phase::Open(open) if !open.published => Some(open.step(Transition::Opened, Cause::Threshold)),
            Phase::Open(_) | Phase::Quiet | Phase::Recovering => None,
        }
    }

    /// Takes one row.
    pub fn observe(&mut self, row: &Row, steps: &Steps, settings: &Settings) -> Decision {
        let hit = row.judged.ratio >= 1.0;
        self.hits = self.hits << 1 | u64::from(hit);
        let window = if settings.of >= 64 { u64::MAX } else { (1 << settings.of) - 1 };
        let over = hit && (self.hits & window).count_ones() >= settings.open;
        let mut decision = Decision { too_few: hit && !over, ..Decision::default() };
        let breaks_through = over && row.judged.figure > self.peak + settings.break_through;
        if over {
            let rested = self.since_over > settings.refractory;
            decision.raised = rested || breaks_through;
            decision.refractory = !decision.raised && !matches!(self.phase, Phase::Open(_));
            if decision.raised {
                self.peak = row.judged.figure;
            }
            self.since_over = 0;
        }
        decision.step = self.advance(row, Fired { raised: decision.raised, breaks_through, over }, steps, settings);
        self.since_over = self.since_over.saturating_add(1);
        decision
    }

    fn advance(&mut self, row: &Row, fired: Fired, steps: &Steps, settings: &Settings) -> Option<Step> {
        let Fired { raised, breaks_through, over } = fired;
        match &mut self.phase {
            Phase::Quiet | Phase::Recovering => {
                if raised {
                    return Some(self.open(row, settings));
                }
                self.rest(row, steps);
                None
            }
            Phase::Open(open) => {
                open.rows = open.rows.saturating_add(1);
                open.peak_ratio = open.peak_ratio.max(row.judged.ratio);
                let lasts = matches!(settings.close, Close::Relative { .. }) && self.since_over >= NEW_NORMAL;
                if let (true, Some(base), Some(error)) = (lasts, &mut self.base, row.log_error) {
                    base.at = error;
                    let step = open.step(Transition::Closed, Cause::NewNormal);
                    self.phase = Phase::Quiet;
                    return Some(step);
                }
                if open.is_over(row, self.base, self.since_over, over, steps, settings) {
                    let cause = if open.adapting { Cause::NewNormal } else { Cause::Cleared };
                    let step = open.step(Transition::Closed, cause);
                    self.phase = if self.base.is_some() { Phase::Recovering } else { Phase::Quiet };
                    return Some(step);
                }
                let severity = settings.severity(open.peak_ratio, open.rows).max(open.severity);
                let cause = if row.adapting && !open.adapting {
                    open.adapting = true;
                    Cause::Adapting
                } else if breaks_through {
                    Cause::BreakThrough
                } else if severity > open.severity {
                    Cause::Escalation
                } else {
                    return None;
                };
                open.severity = severity;
                Some(open.step(Transition::Updated, cause))
            }
        }
    }

    fn open(&mut self, row: &Row, settings: &Settings) -> Step {
        let open = Open {
            onset: row.at,
            rows: 1,
            peak_ratio: row.judged.ratio,
            severity: settings.severity(row.judged.ratio, 1),
            adapting: false,
            published: false,
            level: row.log_error.unwrap_or(0.0),
            calm: 0,
            calm_rows: 0,
        };
        let step = open.step(Transition::Opened, Cause::Threshold);
        self.phase = Phase::Open(open);
        step
    }

    /// Nothing is open: the base follows the window error, unless it is still on its way back.
    fn rest(&mut self, row: &Row, steps: &Steps) {
        let (Some(base), Some(error)) = (&mut self.base, row.log_error) else { return };
        if self.phase == Phase::Recovering && error < base.at + base.gap {
            self.phase = Phase::Quiet;
        }
        if self.phase == Phase::Quiet && error < base.at + 2.0 * base.gap {
            base.at += steps.base * (error - base.at);
        }
    }

    pub(super) fn soundness(&self) -> Soundness {
        let base = self.base.is_none_or(|base| base.at.is_finite() && base.gap.is_finite() && base.gap >= 0.0);
        let open = match &self.phase {
            Phase::Open(open) => open.level.is_finite() && open.peak_ratio.is_finite() && open.rows > 0,
            Phase::Quiet | Phase::Recovering => true,
        };
        Soundness::of(base && open && self.peak.is_finite(), "episode")
    }
}

impl Open {
    fn is_over(
        &mut self,
        row: &Row,
        base: Option<Base>,
        since_over: u32,
        over: bool,
        steps: &Steps,
        settings: &Settings,
    ) -> bool {
        match settings.close {
            Close::Clear { below, rows } => {
                self.calm_rows = if row.judged.ratio < below { self.calm_rows.saturating_add(1) } else { 0 };
                self.calm_rows >= rows
            }
            Close::Relative { share } => {
                let (Some(base), Some(error)) = (base, row.log_error) else {
                    return since_over >= CLOSE_OF;
                };
                self.level += if error < self.level { steps.level } else { 3.0 * steps.level } * (error - self.level);
                let calm = error < base.at + f64::from(share) * (self.level - base.at).max(base.gap);
                self.calm = (self.calm << 1 | u32::from(calm)) & ((1 << CLOSE_OF) - 1);
                self.calm.count_ones() >= CLOSE_CALM && !over && row.judged.ratio < 1.0
            }
        }
    }

    /// The step that tells of the alert as it is.
    #[must_use]
    pub fn step(&self, transition: Transition, cause: Cause) -> Step {
        Step {
            transition,
            cause,
            severity: self.severity,
            onset: self.onset,
            rows: self.rows,
            peak_ratio: self.peak_ratio,
            published: self.published,
        }
    }
}

#[cfg(test)]
mod tests;
