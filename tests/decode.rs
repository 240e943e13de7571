//! Reading good messages allocates nothing once a lane's channels are known, and neither does writing scores.

mod counting;

use offkey::config::{Config, Source};
use offkey::detector::row::EventTime;
use offkey::detector::{Outcome, State};
use offkey::wire::decoder::{Content, Decoded, Decoder, Message};
use offkey::wire::score_v1;

fn allocations(mut work: impl FnMut()) -> usize {
    let before = counting::allocations();
    work();
    counting::allocations() - before
}

fn decoder(text: &str) -> Decoder {
    Decoder::new(Config::load(Source::Toml(text), []).expect("a config").input.decoder)
}

fn check(text: &str, payloads: &[&str]) {
    let mut decoder = decoder(text);
    let mut out = Decoded::default();
    let mut read = || {
        for payload in payloads {
            let message = Message { key: Some(b"pump-1"), payload: Some(payload.as_bytes()), timestamp: None };
            assert_eq!(decoder.decode(&message, &mut out), Ok(Content::Measurements));
        }
    };
    assert!(allocations(&mut read) > 0, "names are learned");
    assert_eq!(allocations(&mut read), 0, "{text}");
}

#[test]
fn a_known_message_allocates_nothing() {
    let wide = r#"{"ts": 1700000000.5, "x": "y", "values": {"a": 1.5, "b": -2e3, "c": null}}"#;
    let other_order = r#"{"values": {"c": 1, "b": 2, "a": 3}, "ts": "2026-01-01T00:00:00Z"}"#;
    check("", &[wide, other_order]);
    check(
        "[input]\nvalues = \".\"\nchannels = [\"a\", \"m.*\"]\nentity = [\"site\", \"id\"]",
        &[r#"{"ts": 1, "site": "graz", "id": 7, "a": 1, "m": {"b": 2}, "note": "text"}"#],
    );
    check("[input]\nformat = \"json_long\"", &[r#"{"ts": 1, "sensor": "a", "value": 2}"#]);
}

#[test]
fn a_score_allocates_nothing() {
    let outcome = Outcome {
        at: EventTime::from_millis(1_700_000_000_123),
        offset: i64::MAX,
        state: State::Ready,
        score: 1.234_567e-12,
        row_score: f32::MAX,
        rarity: 0.0,
        threshold: 2.2,
        score_ratio: f32::MIN_POSITIVE,
        raised: false,
        anomalous: false,
        model_loss: 0.0,
        active_units: 0,
        alerts: Vec::new(),
        suppressed: None,
    };
    let mut out = Vec::with_capacity(1_024);
    assert_eq!(allocations(|| score_v1::write(&mut out, "pump \"1\"", &outcome, "telemetry", 3)), 0);
}
