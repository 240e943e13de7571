//! What reading one message costs, and writing one score: `cargo bench --no-default-features --bench decode`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use offkey::config::{Config, Source};
use offkey::detector::row::EventTime;
use offkey::detector::{Outcome, State};
use offkey::wire::decoder::{Decoded, Decoder, Message};
use offkey::wire::score_v1;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const MESSAGES: usize = 1_000;

fn main() {
    divan::main();
}

fn decoder(text: &str) -> Decoder {
    let config = Config::load(Source::Toml(text), []).expect("a config for a benchmark");
    Decoder::new(config.input.decoder)
}

fn run(bencher: Bencher<'_, '_>, mut decoder: Decoder, payload: impl Fn(usize) -> String) {
    let payloads: Vec<String> = (0..MESSAGES).map(payload).collect();
    let bytes: usize = payloads.iter().map(String::len).sum();
    let mut out = Decoded::default();
    bencher.counter(ItemsCount::new(MESSAGES)).counter(BytesCount::new(bytes)).bench_local(|| {
        for payload in &payloads {
            let message = Message { key: Some(b"pump-17"), payload: Some(payload.as_bytes()), timestamp: None };
            black_box(decoder.decode(&message, &mut out)).expect("a good message");
        }
    });
}

fn value(row: usize, channel: usize) -> f64 {
    20.0 + (((row * 31 + channel * 17) % 1000) as f64) * 0.001_3
}

fn row(row: usize, channels: usize) -> String {
    let values: Vec<_> = (0..channels).map(|c| format!("\"sensor_{c}\":{:.4}", value(row, c))).collect();
    values.join(",")
}

#[divan::bench(args = [1, 8, 38, 128])]
fn wide(bencher: Bencher<'_, '_>, channels: usize) {
    run(bencher, decoder(""), |n| {
        format!("{{\"ts\":{},\"machine\":\"pump-17\",\"values\":{{{}}}}}", 1_700_000_000 + n, row(n, channels))
    });
}

#[divan::bench(args = [8])]
fn wide_with_text_time_and_flat_values(bencher: Bencher<'_, '_>, channels: usize) {
    run(bencher, decoder("[input]\nvalues = \".\"\nchannels = [\"sensor_*\"]"), |n| {
        format!("{{\"ts\":\"2026-01-01T00:00:{:02}Z\",\"machine\":\"pump-17\",{}}}", n % 60, row(n, channels))
    });
}

#[divan::bench]
fn long(bencher: Bencher<'_, '_>) {
    run(bencher, decoder("[input]\nformat = \"json_long\"\nentity = \"machine\""), |n| {
        format!(
            "{{\"ts\":{},\"machine\":\"pump-17\",\"sensor\":\"sensor_{}\",\"value\":{:.4}}}",
            1_700_000_000 + n,
            n % 8,
            value(n, 0)
        )
    });
}

#[divan::bench]
fn score(bencher: Bencher<'_, '_>) {
    let outcome = Outcome {
        at: EventTime::from_millis(1_700_000_000_123),
        offset: 123_456,
        state: State::Ready,
        score: 1.234_567,
        row_score: 0.876_543,
        rarity: 0.345_678,
        threshold: 2.2,
        score_ratio: 0.157_126,
        raised: false,
        anomalous: false,
        model_loss: 0.0,
        active_units: 0,
        alerts: Vec::new(),
        suppressed: None,
    };
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        out.clear();
        for _ in 0..MESSAGES {
            score_v1::write(&mut out, black_box("pump-17"), black_box(&outcome), "telemetry", 3);
        }
    });
}
