//! What may change while running: thresholds, alert rules, silences. Nothing here shapes the model.

use super::alert::ChannelEvidence;
use super::episode;
use super::row::EventTime;
use super::threshold;

/// The rules of one entity, overrides already applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// How a score becomes a score ratio.
    pub threshold: threshold::Settings,
    /// The life of an alert.
    pub alert: episode::Settings,
    /// One per channel of the schema, in slot order.
    pub channels: Vec<ChannelRule>,
    /// Times in which alerts are muted or nothing is learned.
    pub silences: Vec<Silence>,
}

/// Which way a channel has to deviate to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Above or below what was expected.
    #[default]
    Both,
    /// Only above.
    Up,
    /// Only below.
    Down,
}

/// What is asked of one channel before it may carry an alert, in the sensor's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelRule {
    /// Smallest |observed - expected| that counts.
    pub min_deviation: f32,
    /// Smallest |observed - expected| / |expected| that counts.
    pub min_relative_deviation: f32,
    /// Which way has to be deviated.
    pub direction: Direction,
    /// Below: a data-quality alert, never learned.
    pub valid_min: f32,
    /// Above: a data-quality alert, never learned.
    pub valid_max: f32,
}

impl Default for ChannelRule {
    fn default() -> Self {
        Self {
            min_deviation: 0.0,
            min_relative_deviation: 0.0,
            direction: Direction::Both,
            valid_min: f32::NEG_INFINITY,
            valid_max: f32::INFINITY,
        }
    }
}

/// A span of event time in which an entity is treated otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// First instant of it; `None`: from ever.
    pub from: Option<EventTime>,
    /// First instant after it; `None`: for ever.
    pub until: Option<EventTime>,
    /// Publish no alert transitions (they are counted as suppressed; scores go on).
    pub mute: bool,
    /// Go on learning.
    pub learn: bool,
}

impl Rules {
    /// At this instant: are alerts muted, and is anything learned?
    #[must_use]
    pub fn silence_at(&self, at: EventTime) -> (bool, bool) {
        let on = |silence: &&Silence| {
            silence.from.is_none_or(|from| at >= from) && silence.until.is_none_or(|until| at < until)
        };
        self.silences
            .iter()
            .filter(on)
            .fold((false, true), |(muted, learns), silence| (muted || silence.mute, learns && silence.learn))
    }

    /// Does any channel's rule ask for a deviation before an alert may open?
    #[must_use]
    pub fn asks_for_deviation(&self) -> bool {
        self.channels.iter().any(|rule| {
            rule.min_deviation > 0.0 || rule.min_relative_deviation > 0.0 || rule.direction != Direction::Both
        })
    }

    /// Does a channel that carries at least its equal share of the score deviate as its rule asks?
    #[must_use]
    pub fn deviates_enough(&self, channels: &[ChannelEvidence]) -> bool {
        let equal = 1.0 / channels.len().max(1) as f32;
        channels.iter().filter(|channel| channel.share >= 0.999 * equal).any(|channel| {
            let rule = self.channels.get(channel.slot).copied().unwrap_or_default();
            let deviation = channel.observed - channel.expected;
            let way = match rule.direction {
                Direction::Both => true,
                Direction::Up => deviation > 0.0,
                Direction::Down => deviation < 0.0,
            };
            way && deviation.abs() >= rule.min_deviation
                && deviation.abs() >= rule.min_relative_deviation * channel.expected.abs()
        })
    }
}
