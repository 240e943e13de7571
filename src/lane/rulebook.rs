//! Whose rules: settings by pattern, resolved once for each entity and again after a reload.

use crate::detector::episode;
use crate::detector::rules::{ChannelRule, Direction, Rules, Silence};
use crate::detector::schema::{Channel, Schema};
use crate::detector::threshold;
use globset::GlobMatcher;

/// All rules of a configuration. What may change while the daemon runs is in here, and nothing else.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// For entities without an override.
    pub threshold: threshold::Settings,
    /// For entities without an override.
    pub alert: episode::Settings,
    /// In the order of the file; a later one that matches has the last word, key by key.
    pub channels: Vec<ChannelPattern>,
    /// In the order of the file; the last that matches and has the section counts.
    pub overrides: Vec<Override>,
    /// Every one that matches counts.
    pub silences: Vec<SilencePattern>,
}

/// What is said of the channels whose name matches; `None`: nothing.
#[derive(Clone, Debug)]
pub struct ChannelPattern {
    /// Which channels.
    pub channels: GlobMatcher,
    /// For people.
    pub unit: Option<String>,
    /// Smallest step that the sensor can show.
    pub resolution: Option<f32>,
    /// Smallest |observed - expected| that counts.
    pub min_deviation: Option<f32>,
    /// Smallest |observed - expected| / |expected| that counts.
    pub min_relative_deviation: Option<f32>,
    /// Which way has to be deviated.
    pub direction: Option<Direction>,
    /// Below: a data-quality alert.
    pub valid_min: Option<f32>,
    /// Above: a data-quality alert.
    pub valid_max: Option<f32>,
}

/// Other rules for the entities that match.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which entities.
    pub entities: GlobMatcher,
    /// Instead of the common ones.
    pub threshold: Option<threshold::Settings>,
    /// Instead of the common ones.
    pub alert: Option<episode::Settings>,
    /// After the common ones.
    pub channels: Vec<ChannelPattern>,
}

/// A silence of the entities that match.
#[derive(Clone, Debug)]
pub struct SilencePattern {
    /// Which entities.
    pub entities: GlobMatcher,
    /// When and how.
    pub silence: Silence,
}

impl Rulebook {
    /// The rules of one entity with this schema.
    #[must_use]
    pub fn rules(&self, entity: &str, schema: &Schema) -> Rules {
        let overrides = || self.matching(entity);
        let last_threshold = overrides().filter_map(|over| over.threshold.as_ref()).last();
        let last_alert = overrides().filter_map(|over| over.alert.as_ref()).last();
        Rules {
            threshold: *last_threshold.unwrap_or(&self.threshold),
            alert: last_alert.unwrap_or(&self.alert).clone(),
            channels: schema.channels().iter().map(|channel| self.channel_rule(entity, &channel.name)).collect(),
            silences: self
                .silences
                .iter()
                .filter(|silence| silence.entities.is_match(entity))
                .map(|silence| silence.silence)
                .collect(),
        }
    }

    /// What is known of a channel of an entity before anything was learned.
    #[must_use]
    pub fn channel(&self, entity: &str, name: &str) -> Channel {
        let mut channel = Channel { name: name.to_owned(), unit: None, resolution: 0.0 };
        for pattern in self.patterns(entity, name) {
            if let Some(unit) = &pattern.unit {
                channel.unit = Some(unit.clone());
            }
            channel.resolution = pattern.resolution.unwrap_or(channel.resolution);
        }
        channel
    }

    fn channel_rule(&self, entity: &str, name: &str) -> ChannelRule {
        let mut rule = ChannelRule::default();
        for pattern in self.patterns(entity, name) {
            rule.min_deviation = pattern.min_deviation.unwrap_or(rule.min_deviation);
            rule.min_relative_deviation = pattern.min_relative_deviation.unwrap_or(rule.min_relative_deviation);
            rule.direction = pattern.direction.unwrap_or(rule.direction);
            rule.valid_min = pattern.valid_min.unwrap_or(rule.valid_min);
            rule.valid_max = pattern.valid_max.unwrap_or(rule.valid_max);
        }
        rule
    }

    fn matching(&self, entity: &str) -> impl Iterator<Item = &Override> {
        self.overrides.iter().filter(move |over| over.entities.is_match(entity))
    }

    fn patterns(&self, entity: &str, name: &str) -> impl Iterator<Item = &ChannelPattern> {
        self.channels
            .iter()
            .chain(self.matching(entity).flat_map(|over| &over.channels))
            .filter(move |pattern| pattern.channels.is_match(name))
    }
}
