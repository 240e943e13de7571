//! The first rows: kept in a bounded buffer, then the scaler and the autoencoder are fitted on them, and a held-out tail
//! tells how large residuals are of rows the model has not seen.
//!
//! Kept are every 2^j-th block of 64 rows, at most 2,048 rows, and the last rows whole: the held-out tail and what the slow
//! views need to run in before it.

use super::Settings as DetectorSettings;
use super::autoencoder::{Autoencoder, Pass};
use super::level::STANDING;
use super::row::EventTime;
use super::scaler::Scaler;
use super::snapshot::{Soundness, all_finite};
use super::still;
use super::views::{ByChannel, Seen, VIEWS, Views};
use super::window::Window;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// How long the warm-up is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// So many rows.
    Rows(u64),
    /// So long in event time, but at least [`LEAST_ROWS`]: it should cover the longest cycle of the data.
    Micros(i64),
}

/// Rows below which the joint model is not fitted.
pub const LEAST_ROWS: u64 = 400;
/// Rows of a block.
const BLOCK: usize = 64;
/// Blocks kept.
const BLOCKS: usize = 32;
/// Most rows held out.
const TAIL: u64 = 512;
/// Rows before the tail in which the slow views run in.
const RUN_IN: u64 = 200;
/// Quantile of a figure that becomes its unit.
const UNIT: f64 = 0.99;

/// Rows seen so far, and the kept ones as they came (NaN where a value was missing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    channels: u32,
    n_rows: u64,
    first_at: EventTime,
    last_at: EventTime,
    /// Every `stride`-th block is kept.
    stride: u64,
    blocks: Vec<(u64, Vec<f32>)>,
    /// The last rows, oldest first.
    recent: Vec<f32>,
}

/// What a fit came to.
pub struct Fitted {
    /// Scaler of the kept rows.
    pub scaler: Scaler,
    /// Fitted on blocks and tail.
    pub net: Autoencoder,
    /// Slow means as they stand after the tail, and held-out residual scales.
    pub views: Views,
    /// Unit of each view.
    pub units: [f32; VIEWS],
    /// Score and window error of the tail's rows, by a model that had not seen them.
    pub tail: Vec<(f32, f32)>,
    /// The last window.
    pub window: Window,
}

impl Fitted {
    /// Did the training stay within the numbers?
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let tail = self.tail.iter().all(|(score, error)| score.is_finite() && error.is_finite());
        tail && all_finite(&self.units) && self.views.is_finite()
    }
}

/// Held-out rows of a warm-up of `n` rows.
fn tail_rows(n: u64) -> u64 {
    (n / 4).clamp(100, TAIL)
}

impl Warmup {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self {
            channels: u32::try_from(channels).expect("a schema has few channels"),
            n_rows: 0,
            first_at: EventTime::default(),
            last_at: EventTime::default(),
            stride: 1,
            blocks: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// Rows seen.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Bytes of its buffers.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let blocks = self.blocks.iter().map(|(_, rows)| size_of_val(rows) + 16 + 4 * rows.capacity());
        blocks.sum::<usize>() + 4 * self.recent.capacity()
    }

    /// Floats that a warm-up of `channels` channels keeps at most.
    #[must_use]
    pub const fn most_floats(channels: usize, window_rows: usize) -> usize {
        channels * ((BLOCKS + 1) * BLOCK + 2 * ((TAIL + RUN_IN) as usize + 2 * window_rows))
    }

    /// Keeps a row. True: the warm-up is over, and it is time to fit.
    pub fn push(&mut self, at: EventTime, values: &[f32], length: Length, window_rows: usize) -> bool {
        if self.n_rows == 0 {
            self.first_at = at;
        }
        self.last_at = self.last_at.max(at);
        let row = self.n_rows;
        self.n_rows = self.n_rows.saturating_add(1);
        let channels = self.channels as usize;
        let held_from = match length {
            Length::Rows(rows) => rows.max(LEAST_ROWS) - tail_rows(rows.max(LEAST_ROWS)),
            Length::Micros(_) => u64::MAX,
        };
        let block = row / BLOCK as u64;
        if row < held_from && block.is_multiple_of(self.stride) {
            if row.is_multiple_of(BLOCK as u64) {
                self.thin_out();
            }
            match self.blocks.last_mut() {
                Some((first, rows)) if *first == block * BLOCK as u64 => rows.extend_from_slice(values),
                Some(_) | None => {
                    if block.is_multiple_of(self.stride) && row.is_multiple_of(BLOCK as u64) {
                        let mut rows = Vec::with_capacity(BLOCK * channels);
                        rows.extend_from_slice(values);
                        self.blocks.push((row, rows));
                    }
                }
            }
        }
        let kept = (TAIL + RUN_IN) as usize + 2 * window_rows;
        if self.recent.len() >= 2 * kept * channels {
            self.recent.drain(..(self.recent.len() / channels - kept + 1) * channels);
        }
        self.recent.extend_from_slice(values);
        match length {
            Length::Rows(rows) => self.n_rows >= rows.max(LEAST_ROWS),
            Length::Micros(span) => {
                self.n_rows >= LEAST_ROWS && self.last_at.micros().saturating_sub(self.first_at.micros()) >= span
            }
        }
    }

    /// One block more than there is room for: every second one goes.
    fn thin_out(&mut self) {
        while self.blocks.len() >= BLOCKS + usize::from(self.stride == 1) {
            self.stride *= 2;
            let span = self.stride * BLOCK as u64;
            self.blocks.retain(|(first, _)| first.is_multiple_of(span));
        }
    }

    /// The kept rows with their numbers, oldest first: to feed a detector of a wider schema.
    pub fn kept_rows(&self) -> impl Iterator<Item = &[f32]> {
        let channels = self.channels as usize;
        let recent_from = self.recent_from();
        let old = self.blocks.iter().flat_map(move |(first, rows)| {
            rows.chunks_exact(channels)
                .enumerate()
                .filter(move |(i, _)| first + (*i as u64) < recent_from)
                .map(|(_, row)| row)
        });
        old.chain(self.recent.chunks_exact(channels))
    }

    fn recent_from(&self) -> u64 {
        self.n_rows - (self.recent.len() / self.channels as usize) as u64
    }

    /// Fits everything. `declared` is each channel's smallest step as declared, 0 where unknown.
    #[must_use]
    pub fn fit(&self, declared: &[f32], settings: &DetectorSettings, rng: &mut Pcg32) -> Fitted {
        let channels = self.channels as usize;
        let rows_in_window = settings.window_rows;
        let held_from = self.n_rows - tail_rows(self.n_rows);
        let recent_from = self.recent_from();
        let mut recent = self.recent.clone();
        let row_of = |row: u64| (row.max(recent_from) - recent_from) as usize * channels;

        let mut parts = self.training_parts(held_from);
        // The tail begins with the window before it, so that its first window ends on its first row.
        let tail_from = row_of(held_from.saturating_sub(rows_in_window as u64 - 1));
        parts.push(recent[tail_from..].to_vec());
        let mut held = vec![f32::NAN; channels];
        parts.iter_mut().for_each(|part| fill_gaps(part, &mut held));
        let mut held = first_values(&recent, channels);
        fill_gaps(&mut recent, &mut held);

        let rows: Vec<f64> = parts.iter().flatten().map(|value| f64::from(*value)).collect();
        let resolutions = resolutions(&rows, declared);
        let scaler = Scaler::fit(&rows, channels, &resolutions);
        // Beside others that move, a channel that has stood still is strange as soon as it does.
        let all_stand_still = rows.chunks_exact(channels).all(|row| row == &rows[..channels]);
        let step = |c: usize| if all_stand_still { resolutions[c] } else { f64::from(declared[c]) };
        let grain = (0..channels).map(|c| (step(c) / scaler.deviation(c)) as f32).collect();
        let scaled: Vec<Vec<f32>> = parts.iter().map(|part| scale(part, channels, &scaler, settings)).collect();
        let (training, tail) = scaled.split_at(scaled.len() - 1);
        let inputs = rows_in_window * channels;
        let training_windows: Vec<&[f32]> = windows_of(training, inputs, channels).collect();
        let tail_windows: Vec<&[f32]> = windows_of(tail, inputs, channels).collect();
        let all_windows: Vec<&[f32]> = training_windows.iter().chain(&tail_windows).copied().collect();
        let training_windows = if training_windows.is_empty() { all_windows.clone() } else { training_windows };

        let first = Autoencoder::fit(&training_windows, inputs, channels, &settings.model, rng);
        let scales = held_out_scales(&first, &tail_windows, channels, settings);
        let run_in = row_of(held_from.saturating_sub(RUN_IN).max(rows_in_window as u64));
        let replayed = scale(&recent[run_in - (rows_in_window * channels).min(run_in)..], channels, &scaler, settings);
        let calibrated =
            calibrate(&first, Views::new(scales, grain), &replayed, (self.n_rows - held_from) as usize, settings);
        let net = Autoencoder::fit(&all_windows, inputs, channels, &settings.model, rng);
        Fitted {
            scaler,
            net,
            views: calibrated.views,
            units: calibrated.units,
            tail: calibrated.tail,
            window: calibrated.window,
        }
    }

    /// The kept rows before the held-out ones, neighbouring blocks joined.
    fn training_parts(&self, held_from: u64) -> Vec<Vec<f32>> {
        let channels = self.channels as usize;
        let mut parts: Vec<(u64, Vec<f32>)> = Vec::new();
        for (first, rows) in &self.blocks {
            let wanted = (held_from.saturating_sub(*first) as usize).min(rows.len() / channels);
            if wanted == 0 || (self.stride > 1 && wanted < BLOCK) {
                continue;
            }
            let rows = &rows[..wanted * channels];
            match parts.last_mut() {
                Some((end, part)) if *end == *first => {
                    part.extend_from_slice(rows);
                    *end += wanted as u64;
                }
                Some(_) | None => parts.push((first + wanted as u64, rows.to_vec())),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    pub(super) fn soundness(&self, channels: usize) -> Soundness {
        let c = channels.max(1);
        let blocks = self.blocks.len() <= BLOCKS + 1
            && self.blocks.iter().all(|(first, rows)| {
                rows.len().is_multiple_of(c)
                    && rows.len() / c <= BLOCK
                    && *first < self.n_rows
                    && first.is_multiple_of(BLOCK as u64)
            })
            && self.blocks.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let recent = self.recent.len().is_multiple_of(c) && (self.recent.len() / c) as u64 <= self.n_rows;
        // The rows a fit walks over must be there.
        let needed = self.n_rows.min(TAIL + RUN_IN + 1) as usize;
        let enough = self.recent.len() / c >= needed;
        let sane = self.blocks.iter().flat_map(|(_, rows)| rows).chain(&self.recent).all(|value| !value.is_infinite());
        let stride = self.stride.is_power_of_two() && self.stride < 1 << 40 && self.n_rows < 1 << 48;
        Soundness::of(self.channels as usize == channels && blocks && recent && enough && sane && stride, "warm-up")
    }
}

/// First finite value of every channel, 0 where there is none.
fn first_values(rows: &[f32], channels: usize) -> Vec<f32> {
    let first = |c| rows.iter().skip(c).step_by(channels).copied().find(|value| !value.is_nan());
    (0..channels).map(|c| first(c).unwrap_or(0.0)).collect()
}

/// Missing values take the channel's last one; those before the first take that.
fn fill_gaps(rows: &mut [f32], held: &mut [f32]) {
    let channels = held.len();
    let first = first_values(rows, channels);
    for row in rows.chunks_exact_mut(channels) {
        for ((value, held), first) in row.iter_mut().zip(held.iter_mut()).zip(&first) {
            if !value.is_nan() {
                *held = *value;
            } else {
                *value = if held.is_nan() { *first } else { *held };
            }
        }
    }
}

/// Share of a value that 32 bits may round away.
const ROUNDING: f64 = 1e-6;

/// Each channel's smallest step: the declared one, or what can be told of it.
fn resolutions(rows: &[f64], declared: &[f32]) -> Vec<f64> {
    let channels = declared.len();
    let resolution = |(c, declared): (usize, &f32)| {
        let mut values = rows.iter().skip(c).step_by(channels);
        let largest = values.clone().fold(0.0f64, |most, value| most.max(value.abs()));
        let first = values.next().copied().unwrap_or(0.0);
        let stood_still = values.all(|value| *value == first);
        match f64::from(*declared) {
            // The floor of a deviation is half a resolution.
            0.0 if stood_still => 2.0 * STANDING * largest,
            declared => declared.max(ROUNDING * largest),
        }
    };
    declared.iter().enumerate().map(resolution).collect()
}

fn scale(rows: &[f32], channels: usize, scaler: &Scaler, settings: &DetectorSettings) -> Vec<f32> {
    rows.iter().enumerate().map(|(i, value)| scaler.transform(i % channels, *value, &settings.scaler)).collect()
}

/// Every window of every part, as slices into it.
fn windows_of(parts: &[Vec<f32>], inputs: usize, channels: usize) -> impl Iterator<Item = &[f32]> {
    parts.iter().flat_map(move |part| {
        let n = (part.len() + channels).saturating_sub(inputs) / channels;
        (0..n).map(move |i| &part[i * channels..i * channels + inputs])
    })
}

/// Mean squared residual of each channel over windows the model has not seen.
fn held_out_scales(net: &Autoencoder, windows: &[&[f32]], channels: usize, settings: &DetectorSettings) -> Vec<f32> {
    let mut sums = vec![0.0f64; channels];
    let mut pass = Pass::default();
    for window in windows {
        net.forward(window, &settings.model, &mut pass);
        for (i, e) in pass.residual.iter().enumerate() {
            sums[i % channels] += f64::from(*e) * f64::from(*e);
        }
    }
    let n = (windows.len() * settings.window_rows).max(1) as f64;
    sums.iter().map(|sum| (sum / n) as f32).collect()
}

struct Calibrated {
    views: Views,
    units: [f32; VIEWS],
    tail: Vec<(f32, f32)>,
    window: Window,
}

/// Runs the frozen first model over the rows before and in the tail; the last `tail` rows set the units.
fn calibrate(
    net: &Autoencoder,
    mut views: Views,
    rows: &[f32],
    tail: usize,
    settings: &DetectorSettings,
) -> Calibrated {
    let channels = net.inputs() / settings.window_rows;
    let mut window = Window::new(settings.window_rows, channels);
    let (mut pass, mut by_channel) = (Pass::default(), ByChannel::default());
    let step = Views::slow_step(&settings.views);
    let mut seen: Vec<Seen> = Vec::new();
    for (i, row) in rows.chunks_exact(channels).enumerate() {
        window.push(row);
        if i >= settings.window_rows {
            net.forward(window.cells(), &settings.model, &mut pass);
            seen.push(views.see(&window, &pass, step, &settings.views, &mut by_channel));
        }
    }
    let seen = &seen[seen.len().saturating_sub(tail)..];
    let units = std::array::from_fn(|k| unit(seen.iter().map(|seen| seen.views[k]).collect(), channels));
    let tail = seen.iter().map(|seen| (super::score::of_views(&seen.views, &units), seen.window_error)).collect();
    Calibrated { views, units, tail, window }
}

/// The unit of a figure that is a mean over channels, from a sample of it.
#[must_use]
pub fn unit(sample: Vec<f32>, channels: usize) -> f32 {
    still::unit(quantile(sample, UNIT), channels) + 1e-3
}

/// Quantile of a sample, linear between its neighbours; 0 of nothing.
#[must_use]
pub fn quantile(mut sample: Vec<f32>, q: f64) -> f32 {
    sample.sort_by(f32::total_cmp);
    let Some(last) = sample.len().checked_sub(1) else { return 0.0 };
    let at = q * last as f64;
    let low = at as usize;
    let high = (low + 1).min(last);
    let share = (at - low as f64) as f32;
    sample[low] + share * (sample[high] - sample[low])
}
