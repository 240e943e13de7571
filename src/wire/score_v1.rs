//! The optional stream of scores: one JSON record for every row, written straight into the caller's buffer.

use super::{timestamp, words};
use crate::detector::Outcome;
use serde::Serialize;

/// The JSON Schema of a score.
pub const SCHEMA: &str = include_str!("../../schemas/score.schema.json");

/// Appends the score of one row. Allocates nothing but room in `out`.
pub fn write(out: &mut Vec<u8>, entity: &str, outcome: &Outcome, topic: &str, partition: i32) {
    out.extend_from_slice(b"{\"entity\":");
    put(out, entity);
    out.extend_from_slice(b",\"timestamp\":\"");
    out.extend_from_slice(&timestamp::rfc3339(outcome.at));
    out.extend_from_slice(b"\",\"score\":");
    put(out, &outcome.score);
    out.extend_from_slice(b",\"row_score\":");
    put(out, &outcome.row_score);
    out.extend_from_slice(b",\"rarity\":");
    put(out, &outcome.rarity);
    out.extend_from_slice(b",\"threshold\":");
    put(out, &outcome.threshold);
    out.extend_from_slice(b",\"score_ratio\":");
    put(out, &outcome.score_ratio);
    out.extend_from_slice(b",\"state\":\"");
    out.extend_from_slice(words::state(outcome.state).as_bytes());
    out.extend_from_slice(b"\",\"source\":{\"topic\":");
    put(out, topic);
    out.extend_from_slice(b",\"partition\":");
    put(out, &partition);
    out.extend_from_slice(b",\"offset\":");
    put(out, &outcome.offset);
    out.extend_from_slice(b"}}");
}

fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a Vec takes everything, and texts and numbers are JSON");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::detector::State;
    use crate::detector::row::EventTime;
    use serde_json::Value;

    fn outcome() -> Outcome {
        Outcome {
            at: EventTime::from_millis(1_500),
            offset: 7,
            state: State::Ready,
            score: 1.1,
            row_score: 0.25,
            rarity: 0.1 + 0.2,
            threshold: 2.2,
            score_ratio: 0.5,
            raised: false,
            anomalous: false,
            model_loss: 0.0,
            active_units: 0,
            alerts: Vec::new(),
            suppressed: None,
        }
    }

    #[test]
    fn a_score_is_these_bytes() {
        let mut out = Vec::new();
        write(&mut out, "pump \"1\"", &outcome(), "telemetry", 3);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"entity":"pump \"1\"","timestamp":"1970-01-01T00:00:01.500000Z","score":1.1,"row_score":0.25,"rarity":0.3,"threshold":2.2,"score_ratio":0.5,"state":"ready","source":{"topic":"telemetry","partition":3,"offset":7}}"#
                .replace("\"rarity\":0.3", &format!("\"rarity\":{}", 0.1f32 + 0.2f32))
        );
    }

    #[test]
    fn a_score_is_what_its_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        for state in [State::Warming, State::Ready, State::Open, State::Recovering, State::Adapting] {
            let mut out = Vec::new();
            write(&mut out, "é\n", &Outcome { state, ..outcome() }, "t", 0);
            let score: Value = serde_json::from_slice(&out).unwrap();
            assert!(schema.is_valid(&score), "{score}");
            let mut more = score.clone();
            more["more"] = 1.into();
            assert!(!schema.is_valid(&more));
        }
    }

    #[test]
    fn numbers_come_back_to_the_bit() {
        for bits in (0..u32::MAX).step_by(99_991) {
            let score = f32::from_bits(bits);
            if !score.is_finite() {
                continue;
            }
            let mut out = Vec::new();
            write(&mut out, "e", &Outcome { score, ..outcome() }, "t", 0);
            let read: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((read["score"].as_f64().unwrap() as f32).to_bits(), bits);
        }
    }
}
