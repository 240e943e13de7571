//! Running centres and scales, one per channel, side by side: roots and divisions are taken for several channels at once.
//! Compiled several times like the autoencoder's loops; every variant gives the same bits.

use super::super::snapshot::Soundness;
use super::{Settings, Steps};
use multiversion::multiversion;
use serde::{Deserialize, Serialize, Serializer};
use std::array::from_fn;
use std::hint::black_box;

/// Channels that are worked through together.
const LANES: usize = 8;

/// No centre, scale or baseline of `f32` values is larger than this; so no sum of them overflows.
pub(super) const REACH: f64 = 1e40;

/// Scale of a channel that has stood still, as a share of its value: its first small move shall be no outlier.
pub const STANDING: f64 = 0.01;

/// Centre and scale of every channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Vec<Centre>")]
pub(super) struct Centres {
    n: Vec<u64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    unit: Vec<f64>,
    smoothed: Vec<f64>,
}

/// What a snapshot keeps of one channel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Centre {
    n: u64,
    mean: f64,
    variance: f64,
    unit: f64,
    smoothed: f64,
}

/// What a row looked like to its centres: one entry per channel. Working memory, too.
#[derive(Clone, Debug, Default)]
pub struct Glances {
    /// The row; NaN: the channel is missing.
    pub(super) values: Vec<f64>,
    /// What was taken off the values: a channel that stands still is measured by its own size.
    pub(super) taken_off: Vec<f64>,
    deviation: Vec<f64>,
    scale: Vec<f64>,
    unit: Vec<f64>,
}

/// What one value looked like to its channel's centre.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Value minus centre, beyond one step of the sensor.
    pub deviation: f64,
    /// Scale before the value was learned.
    pub scale: f64,
    /// The frozen unit.
    pub unit: f64,
}

impl Glances {
    /// One channel's; `None`: it is missing.
    #[must_use]
    pub fn of(&self, channel: usize) -> Option<Glance> {
        let present = self.values.get(channel).is_some_and(|value| !value.is_nan());
        let glance =
            || Glance { deviation: self.deviation[channel], scale: self.scale[channel], unit: self.unit[channel] };
        present.then(glance)
    }
}

/// Sums over the channels present, in their units, each cut at the cap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub deviation: f64,
    pub smoothed: f64,
    pub present: u32,
}

impl Centres {
    pub fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Self { n: vec![0; channels], mean: zeros(), variance: zeros(), unit: zeros(), smoothed: zeros() }
    }

    /// Rows that this channel was seen in.
    pub fn n_rows(&self, channel: usize) -> u64 {
        self.n[channel]
    }

    /// Centre and scale of a channel; `None`: it was never seen.
    pub fn usual(&self, channel: usize) -> Option<(f64, f64)> {
        let (mean, variance) = (self.mean[channel], self.variance[channel]);
        (self.n[channel] > 0).then(|| (mean, variance.sqrt() + 1e-3 * mean.abs() + 1e-9))
    }

    fn centre(&self, channel: usize) -> Centre {
        let Self { n, mean, variance, unit, smoothed } = self;
        Centre {
            n: n[channel],
            mean: mean[channel],
            variance: variance[channel],
            unit: unit[channel],
            smoothed: smoothed[channel],
        }
    }

    pub fn soundness(&self, channels: usize) -> Soundness {
        let sound = |channel| {
            let Centre { n, mean, variance, unit, smoothed } = self.centre(channel);
            let reached = [mean, smoothed, unit].iter().all(|value| value.abs() <= REACH);
            reached && (0.0..=REACH * REACH).contains(&variance) && (n == 0 || unit > 0.0)
        };
        Soundness::of(self.n.len() == channels && (0..channels).all(sound), "level")
    }
}

impl From<Vec<Centre>> for Centres {
    fn from(centres: Vec<Centre>) -> Self {
        Self {
            n: centres.iter().map(|centre| centre.n).collect(),
            mean: centres.iter().map(|centre| centre.mean).collect(),
            variance: centres.iter().map(|centre| centre.variance).collect(),
            unit: centres.iter().map(|centre| centre.unit).collect(),
            smoothed: centres.iter().map(|centre| centre.smoothed).collect(),
        }
    }
}

impl Serialize for Centres {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.n.len()).map(|channel| self.centre(channel)))
    }
}

/// Sees and learns the row in `glances`. While not `frozen` the units follow the scales; `resolution` is each channel's smallest
/// step, 0 where unknown.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn see(
    centres: &mut Centres,
    glances: &mut Glances,
    resolution: &[f32],
    frozen: bool,
    steps: &Steps,
    settings: &Settings,
) -> Told {
    let channels = glances.values.len();
    for told in [&mut glances.deviation, &mut glances.scale, &mut glances.unit] {
        told.resize(channels, 0.0);
    }
    let (mut told, mut channel) = (Told::default(), 0);
    while channel < channels {
        let next = glances.values[channel..].first_chunk::<LANES>();
        if next.is_some_and(|values| values.iter().all(|value| !value.is_nan())) {
            see_lanes::<LANES>(centres, channel, glances, resolution, frozen, steps, settings, &mut told);
            channel += LANES;
            continue;
        }
        if !glances.values[channel].is_nan() {
            see_lanes::<1>(centres, channel, glances, resolution, frozen, steps, settings, &mut told);
        }
        channel += 1;
    }
    told
}

/// `N` channels from this one on.
#[inline(always)]
fn read<T: Copy, const N: usize>(all: &[T], channel: usize) -> [T; N] {
    all[channel..channel + N].try_into().expect("a slice of N")
}

#[inline(always)]
fn write<T: Copy, const N: usize>(all: &mut [T], channel: usize, some: [T; N]) {
    all[channel..channel + N].copy_from_slice(&some);
}

/// At least `-reach`, at most `reach`; without the branches of `clamp`.
#[inline(always)]
fn cut(value: f64, reach: f64) -> f64 {
    let from_below = if value < -reach { -reach } else { value };
    if from_below > reach { reach } else { from_below }
}

/// The share of `N` channels in [`see`], none of them missing.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // those of `see` and where it stands
fn see_lanes<const N: usize>(
    centres: &mut Centres,
    channel: usize,
    glances: &mut Glances,
    resolution: &[f32],
    frozen: bool,
    steps: &Steps,
    settings: &Settings,
    told: &mut Told,
) {
    // Everything is read before anything is written, or the loops would not be wide.
    let (x, resolution): ([f64; N], [f32; N]) = (read(&glances.values, channel), read(resolution, channel));
    let (n, mean): ([u64; N], [f64; N]) = (read(&centres.n, channel), read(&centres.mean, channel));
    let (variance, unit): ([f64; N], [f64; N]) = (read(&centres.variance, channel), read(&centres.unit, channel));
    let smoothed: [f64; N] = read(&centres.smoothed, channel);
    // Once there are enough rows the larger step is known without a division.
    let fewest = n.iter().fold(u64::MAX, |fewest, n| fewest.min(*n));
    let step: [f64; N] = if (fewest as f64 + 1.0) * steps.centre > 2.0 {
        [steps.centre; N]
    } else {
        from_fn(|k| steps.centre.max(1.0 / (n[k] as f64 + 1.0)))
    };
    let centre: [f64; N] = from_fn(|k| if n[k] == 0 { x[k] } else { mean[k] });
    // Nobody knows yet how a channel moves that has stood still.
    let taken_off: [f64; N] = read(&glances.taken_off, channel);
    let share: [f64; N] = from_fn(|k| {
        let stands = (variance[k] == 0.0) & (n[k] >= settings.settle) & (resolution[k] == 0.0);
        if stands { STANDING * (centre[k] + taken_off[k]).abs() } else { 1e-3 * centre[k].abs() }
    });
    let scale: [f64; N] = from_fn(|k| variance[k].sqrt() + share[k] + 0.5 * f64::from(resolution[k]) + 1e-9);
    let off: [f64; N] = from_fn(|k| x[k] - centre[k]);
    // A deviation of one step of the sensor says nothing, least of all when it always stood still.
    let deviation: [f64; N] = from_fn(|k| off[k] - cut(off[k], f64::from(resolution[k])));
    let smoothed: [f64; N] =
        from_fn(|k| smoothed[k] + steps.smooth * (cut(deviation[k], settings.clip * scale[k]) - smoothed[k]));
    let inner: [f64; N] = from_fn(|k| cut(off[k], settings.winsor * scale[k]));
    let learned: [f64; N] = from_fn(|k| if n[k] >= settings.settle { inner[k] } else { off[k] });
    let mean: [f64; N] = from_fn(|k| centre[k] + step[k] * learned[k]);
    let variance: [f64; N] = from_fn(|k| (1.0 - step[k]) * (variance[k] + step[k] * learned[k] * learned[k]));
    let unit: [f64; N] = from_fn(|k| if !frozen | (n[k] == 0) { scale[k] } else { unit[k] });
    let cap = f64::from(settings.cap);
    let far: [f64; N] = from_fn(|k| (deviation[k].abs() / unit[k]).min(cap));
    let lasting: [f64; N] = from_fn(|k| (smoothed[k].abs() / unit[k]).min(cap));
    write(&mut centres.n, channel, n.map(|n| n.saturating_add(1)));
    write(&mut centres.mean, channel, mean);
    write(&mut centres.variance, channel, variance);
    write(&mut centres.unit, channel, unit);
    write(&mut centres.smoothed, channel, smoothed);
    write(&mut glances.deviation, channel, deviation);
    write(&mut glances.scale, channel, scale);
    write(&mut glances.unit, channel, unit);
    // Seen through, the compiler would pair each channel's two sums instead of the channels.
    let (far, lasting) = black_box((far, lasting));
    for k in 0..N {
        told.deviation += far[k];
        told.smoothed += lasting[k];
    }
    told.present += N as u32;
}
