//! What has stood still has never shown how it moves: its figures have no spread to be measured by, and the first small move would be
//! without example. One standard deviation of one channel is no news, whatever came before it; that of a channel that stands
//! still is half a step of its sensor, or a hundredth of its value.

/// A figure below this was nothing.
const NOTHING: f32 = 1e-3;
/// Standard deviations of one channel that are no news.
pub const LEAST_DEVIATION: f32 = 1.0;
/// The same of a smoothed deviation, where one row counts for so much less.
pub const LEAST_SMOOTHED: f32 = 0.125;
/// A score, or a window error, of half its unit is no news either.
pub const LEAST_SCORE: f32 = 0.5;
/// Unit of a figure that was nothing so far: one step of one channel's sensor, in standard deviations.
const STEP: f32 = 2.0;

/// The least that is heard of a mean over channels. A power of two like all of these: what is so often the same value has to stand at
/// the edge of a histogram's bin, or a part of it would be taken for less.
#[must_use]
pub fn least(of_one_channel: f32, channels: usize) -> f32 {
    of_one_channel / (1u32 << channels.max(1).ilog2()) as f32
}

/// The unit of a mean over channels that was usually so large.
#[must_use]
pub fn unit(usual: f32, channels: usize) -> f32 {
    if usual < NOTHING { STEP / channels as f32 } else { usual }
}
