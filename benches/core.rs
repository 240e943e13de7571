//! Rows scored and learned by one entity on one thread, the whole `Detector::step` under the default settings:
//! `cargo bench --no-default-features --bench core`.
//!
//! Sixteen-row windows; the channels follow hidden oscillators plus noise, so many that from eight channels on all 32 units
//! of the code are in use (a single channel has windows of 16 cells, and needs fewer).

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use offkey::detector::row::{EventTime, Row};
use offkey::detector::rules::Rules;
use offkey::detector::schema::{Channel, Schema};
use offkey::detector::warmup::Length;
use offkey::detector::{Detector, Scratch, Settings, snapshot};
use std::sync::Arc;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROWS: usize = 10_000;
const WARMUP: usize = 1_000;
/// Oscillators behind the channels: two directions each.
const HIDDEN: usize = 24;
/// Most units of the default code.
const UNITS: usize = 32;

fn main() {
    divan::main();
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings { warmup: Length::Rows(WARMUP as u64), ..Settings::default() })
}

fn schema(channels: usize) -> Schema {
    let channel = |c| Channel { name: format!("sensor_{c}"), unit: None, resolution: 0.0 };
    Schema::new((0..channels).map(channel).collect())
}

/// A number in -1..1 that looks like chance.
fn noise(seed: usize) -> f32 {
    let mut x = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn values(rows: usize, channels: usize) -> Vec<f32> {
    let oscillator = move |k: usize, row: usize| libm::sinf(row as f32 * (0.07 + 0.11 * k as f32) + k as f32);
    let mixed = move |row: usize, c: usize| (0..HIDDEN).map(|k| noise(1000 * c + k) * oscillator(k, row)).sum::<f32>();
    (0..rows)
        .flat_map(|row| (0..channels).map(move |c| 50.0 + 10.0 * mixed(row, c) + noise(row * 1024 + c + 7)))
        .collect()
}

fn feed(detector: &mut Detector, values: &[f32], from: usize, scratch: &mut Scratch) {
    let (rules, channels) = (Rules::default(), detector.schema().n_channels());
    for (i, values) in values.chunks_exact(channels).enumerate() {
        let at = EventTime::from_millis(1_700_000_000_000 + 1_000 * (from + i) as i64);
        black_box(detector.step(&Row { at, offset: (from + i) as i64, values }, &rules, scratch));
    }
}

fn warm(channels: usize, values: &[f32], scratch: &mut Scratch) -> Detector {
    let mut detector = Detector::new(schema(channels), settings());
    feed(&mut detector, &values[..2 * WARMUP * channels], 0, scratch);
    let units = detector.autoencoder().expect("the warm-up is over").units();
    assert!(if channels < 8 { units <= UNITS } else { units == UNITS }, "{channels} channels: {units} units");
    detector
}

#[divan::bench(args = [1, 8, 38, 128], sample_count = 60)]
fn score_and_learn(bencher: Bencher<'_, '_>, channels: usize) {
    let values = values(2 * WARMUP + ROWS, channels);
    let mut scratch = Scratch::default();
    let mut detector = warm(channels, &values, &mut scratch);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(move || {
        feed(&mut detector, &values[2 * WARMUP * channels..], 2 * WARMUP, &mut scratch);
    });
}

#[divan::bench(args = [1, 8, 38, 128], sample_count = 5)]
fn fit(bencher: Bencher<'_, '_>, channels: usize) {
    let values = values(WARMUP, channels);
    let mut scratch = Scratch::default();
    bencher.bench_local(move || {
        let mut detector = Detector::new(schema(channels), settings());
        feed(&mut detector, &values, 0, &mut scratch);
        detector
    });
}

#[divan::bench(args = [1, 8, 38, 128])]
fn encode_snapshot(bencher: Bencher<'_, '_>, channels: usize) {
    let values = values(2 * WARMUP, channels);
    let detector = warm(channels, &values, &mut Scratch::default());
    let mut bytes = Vec::new();
    bencher.bench_local(|| {
        bytes.clear();
        snapshot::encode(black_box(&detector), &mut bytes);
        bytes.len()
    });
}

#[divan::bench(args = [1, 8, 38, 128])]
fn decode_snapshot(bencher: Bencher<'_, '_>, channels: usize) {
    let values = values(2 * WARMUP, channels);
    let mut bytes = Vec::new();
    snapshot::encode(&warm(channels, &values, &mut Scratch::default()), &mut bytes);
    let settings = settings();
    bencher.bench_local(|| snapshot::decode(black_box(&bytes), &settings).expect("its own snapshot"));
}
