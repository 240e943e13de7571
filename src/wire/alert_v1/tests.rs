#![allow(clippy::unwrap_used)]
use super::*;
use crate::detector::alert::{Cause, Severity, Transition};
use expect_test::{Expect, expect};
use serde_json::Value;
use std::collections::BTreeSet;

fn channels() -> Vec<Channel> {
    let channel = |name: &str, unit: Option<&str>| Channel {
        name: name.to_owned(),
        unit: unit.map(str::to_owned),
        resolution: 0.0,
    };
    vec![channel("temp", Some("°C")), channel("vibration", None)]
}

fn alert() -> Alert {
    let evidence =
        |slot, share, observed| ChannelEvidence { slot, share, observed, expected: 4.1, low: 3.9, high: 4.4 };
    Alert {
        kind: Kind::Anomaly,
        transition: Transition::Opened,
        cause: Cause::Threshold,
        severity: Severity::Warning,
        onset: EventTime::from_millis(1_600_000_000_000),
        at: EventTime::from_millis(1_600_000_060_000),
        score: 3.25,
        row_score: 1.5,
        rarity: 4.4,
        threshold: 2.2,
        score_ratio: 2.0,
        peak_ratio: 2.0,
        rows: 1,
        channels: vec![evidence(1, 0.9, 9.345), evidence(0, 0.1, f32::NAN)],
        offset: 42,
        generation: 1,
    }
}

fn source(settings: &Settings) -> Source<'_> {
    Source { detector: "offkey", settings, topic: "telemetry", partition: 3 }
}

fn json(alert: &Alert) -> Value {
    let mut out = Vec::new();
    AlertV1::of(&source(&Settings::default()), "pump-1", &channels(), alert).write(&mut out);
    serde_json::from_slice(&out).unwrap()
}

fn check_summary(alert: &Alert, expected: Expect) {
    expected.assert_eq(json(alert)["summary"].as_str().unwrap());
}

#[test]
fn a_summary_is_one_line_whatever_the_names_hold() {
    let mut channels = channels();
    channels[1].name = "vib\tration".to_owned();
    channels[1].unit = Some("mm\r\n".to_owned());
    let mut out = Vec::new();
    AlertV1::of(&source(&Settings::default()), "pump\n1\u{202e}", &channels, &alert()).write(&mut out);
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["entity"], "pump\n1\u{202e}");
    assert_eq!(json["channels"][0]["name"], "vib\tration");
    expect![[r"pump\n1\u{202e}: marked anomaly: vib\tration 9.35 mm\r\n (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"]]
        .assert_eq(json["summary"].as_str().unwrap());
}

#[test]
fn an_alert_is_these_bytes() {
    let mut out = Vec::new();
    AlertV1::of(&source(&Settings::default()), "pump-1", &channels(), &alert()).write(&mut out);
    expect![[r#"{"version":1,"alert_id":"07ced1ee042081ce6fbfdeefe644f6a9","event_id":"749d713f93cd4a6011bd781d62ad2f94","detector":"offkey","transition":"opened","cause":"threshold","kind":"anomaly","entity":"pump-1","severity":"warning","onset":"2020-09-13T12:26:40.000000Z","at":"2020-09-13T12:27:40.000000Z","score":3.25,"row_score":1.5,"rarity":4.4,"threshold":2.2,"score_ratio":2.0,"peak_ratio":2.0,"rows":1,"channels":[{"name":"vibration","share":0.9,"observed":9.345,"expected":4.1,"low":3.9,"high":4.4,"unit":null},{"name":"temp","share":0.1,"observed":null,"expected":4.1,"low":3.9,"high":4.4,"unit":"°C"}],"source":{"topic":"telemetry","partition":3,"offset":42},"model":{"kind":"sparse","generation":1},"summary":"pump-1: marked anomaly: vibration 9.35 (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"}"#]].assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn headers_are_those_of_a_cloud_event() {
    let (settings, channels) = (Settings::default(), channels());
    let source = Source { detector: "off key/ü", ..source(&settings) };
    let event = AlertV1::of(&source, "pump-1", &channels, &alert());
    let headers: Vec<_> = event.headers().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let headers = headers.join("\n").replace(event.event_id(), "EVENT_ID");
    expect![[r#"
        ce_specversion: 1.0
        ce_id: EVENT_ID
        ce_source: /offkey/off%20key%2F%C3%BC/telemetry
        ce_type: io.offkey.alert.opened.v1
        ce_time: 2020-09-13T12:27:40.000000Z
        ce_subject: pump-1
        content-type: application/json"#]]
    .assert_eq(&headers);
}

#[test]
fn every_alert_is_what_its_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for kind in [Kind::Anomaly, Kind::DataQuality] {
        for transition in [Transition::Opened, Transition::Updated, Transition::Closed] {
            for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
                for cause in CAUSES {
                    for score in [0.0, 1e-40, f32::MAX, f32::NAN, f32::INFINITY] {
                        let alert = Alert { kind, transition, severity, cause, score, ..alert() };
                        let json = json(&alert);
                        assert!(schema.is_valid(&json), "{json}");
                    }
                }
            }
        }
    }
    let mut more = json(&alert());
    more["more"] = 1.into();
    assert!(!schema.is_valid(&more));
    let mut less = json(&alert());
    less.as_object_mut().unwrap().remove("onset");
    assert!(!schema.is_valid(&less));
}

const CAUSES: [Cause; 10] = [
    Cause::Threshold,
    Cause::BreakThrough,
    Cause::Escalation,
    Cause::Cleared,
    Cause::Adapting,
    Cause::NewNormal,
    Cause::OutOfRange,
    Cause::BackInRange,
    Cause::Ended,
    Cause::Replaced,
];

#[test]
fn what_is_missing_or_endless_is_null() {
    let json = json(&Alert { score: f32::INFINITY, ..alert() });
    assert_eq!(json["score"], Value::Null);
    assert_eq!(json["channels"][1]["observed"], Value::Null);
}

#[test]
fn an_id_depends_on_what_happened_and_on_nothing_else() {
    let id = |name, topic, entity, millis, kind| alert_id(name, topic, entity, EventTime::from_millis(millis), kind);
    let ids = [
        id("a", "b", "c", 1, Kind::Anomaly),
        id("ab", "", "c", 1, Kind::Anomaly),
        id("a", "bc", "", 1, Kind::Anomaly),
        id("a", "b", "c", 2, Kind::Anomaly),
        id("a", "b", "c", 1, Kind::DataQuality),
    ];
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let elsewhere = Alert { offset: 7, score: 1.0, generation: 9, ..alert() };
    let (one, other) = (json(&alert()), json(&elsewhere));
    assert_eq!((&one["alert_id"], &one["event_id"]), (&other["alert_id"], &other["event_id"]));
}

#[test]
fn every_transition_has_an_id_of_its_own() {
    let updated = Alert { transition: Transition::Updated, cause: Cause::Escalation, ..alert() };
    let also = Alert { cause: Cause::BreakThrough, ..updated.clone() };
    let later = Alert { at: EventTime::from_millis(1_600_000_120_000), ..updated.clone() };
    let all = [alert(), updated, also, later].map(|alert| json(&alert));
    let ids = |key: &str| all.iter().map(|json| json[key].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((ids("alert_id"), ids("event_id")), (1, 4));
}

#[test]
fn a_summary_is_for_a_person() {
    check_summary(
        &alert(),
        expect!["pump-1: marked anomaly: vibration 9.35 (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"],
    );
    let updated = Alert { transition: Transition::Updated, rows: 60, ..alert() };
    for (cause, expected) in [
        (
            Cause::Escalation,
            expect![
                "pump-1: the anomaly is now marked after 60 rows: vibration 9.35 (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"
            ],
        ),
        (
            Cause::Adapting,
            expect![
                "pump-1: the anomaly has lasted 60 rows, a new level is being learned: vibration 9.35 (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"
            ],
        ),
        (
            Cause::BreakThrough,
            expect![
                "pump-1: the anomaly has become far rarer: vibration 9.35 (expected 4.1, usually 3.9 to 4.4); 2 times the threshold"
            ],
        ),
    ] {
        check_summary(&Alert { cause, ..updated.clone() }, expected);
    }
    let closed = Alert { transition: Transition::Closed, ..updated };
    check_summary(
        &Alert { cause: Cause::Cleared, ..closed.clone() },
        expect!["pump-1: the anomaly is over after 60 rows; it reached 2 times the threshold"],
    );
    check_summary(
        &Alert { cause: Cause::NewNormal, ..closed.clone() },
        expect!["pump-1: the new level is normal now, after 60 rows; it reached 2 times the threshold"],
    );
    let broken = Alert { kind: Kind::DataQuality, cause: Cause::OutOfRange, ..alert() };
    check_summary(&broken, expect!["pump-1: outside the valid range: vibration 9.35 (valid: 3.9 to 4.4)"]);
    check_summary(
        &Alert { kind: Kind::DataQuality, cause: Cause::BackInRange, ..closed.clone() },
        expect!["pump-1: every value is back in its valid range after 60 rows"],
    );
    for kind in [Kind::Anomaly, Kind::DataQuality] {
        let ended = Alert { kind, score_ratio: f32::NAN, channels: Vec::new(), ..closed.clone() };
        check_summary(
            &Alert { cause: Cause::Ended, ..ended.clone() },
            expect!["pump-1: the alert ends after 60 rows with the entity itself"],
        );
        check_summary(
            &Alert { cause: Cause::Replaced, ..ended },
            expect!["pump-1: the alert ends after 60 rows, for what was learned was replaced"],
        );
    }
}

#[test]
fn an_alert_that_is_too_large_leaves_its_least_channels_out_and_says_how_many() {
    let (settings, channels, alert) = (Settings::default(), channels(), alert());
    let of = |max_bytes| {
        let mut json = b"before".to_vec();
        AlertV1::of(&source(&settings), "pump-1", &channels, &alert).write_within(max_bytes, &mut json);
        serde_json::from_slice::<Value>(&json[6..]).unwrap()
    };
    let whole = of(1 << 20);
    let cut = of(whole.to_string().len() - 1);
    assert_eq!((whole["channels"].as_array().unwrap().len(), whole.get("channels_omitted")), (2, None));
    assert_eq!((cut["channels"].as_array().unwrap().len(), cut["channels_omitted"].as_u64()), (1, Some(1)));
    assert_eq!(cut["channels"][0], whole["channels"][0], "the largest share stays");
    assert_eq!(of(0)["channels_omitted"], 2);
    assert_eq!(cut["summary"], whole["summary"]);
}
