//! The channels of an entity: their names, in the order of the slots of a row.

use serde::{Deserialize, Serialize};

/// Most channels one entity may have.
pub const MAX_CHANNELS: usize = 1024;

/// What is known of one channel before anything was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// The sensor's name as it stands in the input.
    pub name: String,
    /// The sensor's unit, for people.
    pub unit: Option<String>,
    /// Smallest step the sensor can show; 0: unknown.
    pub resolution: f32,
}

/// The channels of an entity. Discovered schemas are sorted by name, so that the order of keys in a payload decides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Schema {
    channels: Vec<Channel>,
    #[serde(skip)]
    resolutions: Vec<f32>,
}

/// What a snapshot keeps of a schema.
#[derive(Deserialize)]
struct Kept {
    channels: Vec<Channel>,
}

impl From<Kept> for Schema {
    fn from(kept: Kept) -> Self {
        Self::new(kept.channels)
    }
}

impl Schema {
    /// A schema of these channels, in this order.
    #[must_use]
    pub fn new(channels: Vec<Channel>) -> Self {
        let resolutions = channels.iter().map(|channel| channel.resolution).collect();
        Self { channels, resolutions }
    }

    /// Each channel's smallest step, in slot order.
    #[must_use]
    pub fn resolutions(&self) -> &[f32] {
        &self.resolutions
    }

    /// The channels in slot order.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// How many slots a row of this schema has.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.channels.len()
    }

    /// The slot of a channel by name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.channels.iter().position(|channel| channel.name == name)
    }
}
