//! What shapes a detector: fixed for the life of its state.

use super::threshold::rarity::Keep;
use super::{autoencoder, episode, gate, level, scaler, views, warmup};

/// Settings of every part. A state is only read back under the settings that made it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The autoencoder.
    pub model: autoencoder::Settings,
    /// How long the first rows are gathered.
    pub warmup: warmup::Length,
    /// Rows of a window.
    pub window_rows: usize,
    /// Running moments.
    pub scaler: scaler::Settings,
    /// The residual's views.
    pub views: views::Settings,
    /// Restraint in learning.
    pub gate: gate::Settings,
    /// Streams without a model.
    pub level: level::Settings,
    /// Up to so many channels an entity has a fast autoencoder per channel and a time-of-day baseline.
    pub small: usize,
    /// Weight of the autoencoders' rarities with so few channels.
    pub small_weight: f64,
    /// Event times are times of the day (and not a count of steps).
    pub clock: bool,
    /// Seed of every chance.
    pub seed: u64,
}

/// Steps of the settings' half-lives, worked out once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub(super) level: level::Steps,
    pub(super) scaler: f64,
    pub(super) scale: f32,
    pub(super) slow: f32,
    pub(super) rarity: Keep,
    pub(super) episode: episode::Steps,
}

impl Pace {
    /// The steps of these settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            level: level::Steps::of(&settings.level),
            scaler: scaler::Scaler::step(&settings.scaler),
            scale: views::Views::scale_step(&settings.views),
            slow: views::Views::slow_step(&settings.views),
            rarity: Keep::default(),
            episode: episode::Steps::default(),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: autoencoder::Settings::default(),
            warmup: warmup::Length::Rows(1000),
            window_rows: 16,
            scaler: scaler::Settings::default(),
            views: views::Settings::default(),
            gate: gate::Settings::default(),
            level: level::Settings::default(),
            small: 4,
            small_weight: 0.7,
            clock: true,
            seed: 0,
        }
    }
}

/// Two paces are equal: they follow from the settings.
impl PartialEq for Pace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Two settings are equal when they shape the same state.
impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Settings {
    /// Is an entity of so many channels treated as one of few?
    #[must_use]
    pub fn is_small(&self, channels: usize) -> bool {
        channels <= self.small
    }

    /// A stable hash of all that shapes a state: thresholds and rules are not part of it. (FNV-1a over the settings' text.)
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let Self { model, warmup, window_rows, scaler, views, gate, level, small, small_weight, clock, seed } = self;
        let text = format!(
            "{model:?} {warmup:?} {window_rows} {scaler:?} {views:?} {gate:?} {level:?} {small} {small_weight} {clock} {seed}"
        );
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}
