#![allow(clippy::unwrap_used)]
use super::*;
use crate::detector::schema::MAX_CHANNELS;
use crate::wire::channels::Selection;
use crate::wire::format::Format;
use crate::wire::path::Path;
use crate::wire::timestamp::Unit;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn wide(values: &str) -> Settings {
    Settings {
        format: Format::JsonWide { values: Path::new(values).unwrap() },
        entity: EntityFrom::Key,
        timestamp: TimeFrom::Field { path: Path::new("ts").unwrap(), unit: Unit::Auto },
        channels: Selection::all(),
        max_future: 3_600_000_000,
        max_record_size: 1 << 20,
    }
}

fn long() -> Settings {
    Settings {
        format: Format::JsonLong { channel: Path::new("sensor").unwrap(), value: Path::new("value").unwrap() },
        entity: EntityFrom::Fields(vec![Path::new("machine").unwrap()]),
        ..wide("values")
    }
}

fn message(payload: &[u8]) -> Message<'_> {
    Message { key: Some(b"pump-1"), payload: Some(payload), timestamp: None }
}

/// What a message comes to, as one line.
fn told(decoder: &mut Decoder, message: &Message<'_>) -> String {
    let mut out = Decoded::default();
    match decoder.decode(message, &mut out) {
        Err(rejected) => rejected.rejection.reason().to_owned(),
        Ok(Content::Tombstone) => format!("{} is gone", out.entity),
        Ok(Content::Nothing) => format!("{} nothing", out.entity),
        Ok(Content::Measurements) => {
            let values = out.measurements.iter();
            let values: Vec<_> =
                values.map(|(id, value)| format!("{}={value}", decoder.channels().name(*id))).collect();
            format!("{} @{} {}", out.entity, out.at.micros(), values.join(" "))
        }
    }
}

fn check(settings: Settings, payload: &str, expected: &str) {
    let mut decoder = Decoder::new(settings);
    assert_eq!(told(&mut decoder, &message(payload.as_bytes())), expected, "{payload}");
}

#[test]
fn a_wide_message_is_a_row() {
    check(
        wide("values"),
        r#"{"ts": 1, "machine": "x", "values": {"a": 1, "b": -2.5e3, "c": null}}"#,
        "pump-1 @1000000 a=1 b=-2500",
    );
    check(wide("data.now"), r#"{"data": {"now": {"a": 1}, "x": 2}, "ts": 1}"#, "pump-1 @1000000 a=1");
    check(wide("."), r#"{"ts": 1, "a": 1, "motor": {"temp": 2}}"#, "pump-1 @1000000 a=1 motor.temp=2");
    check(wide("values"), r#"{"ts": 1, "values": {"a": null}}"#, "pump-1 @1000000 ");
    check(wide("values"), r#"{"ts": "1970-01-01T00:00:01Z", "values": {"\u0061\n": 1}}"#, "pump-1 @1000000 a\n=1");
}

#[test]
fn the_last_of_two_equal_names_counts() {
    check(wide("values"), r#"{"ts": 1, "ts": 2, "values": {"a": 1, "b": 2, "a": 3}}"#, "pump-1 @2000000 a=3 b=2");
    check(wide("values"), r#"{"ts": 1, "values": {"a": 1, "b": 2, "a": null}}"#, "pump-1 @1000000 b=2");
    check(wide("values"), r#"{"ts": 1, "values": {"a": 1}, "values": {"b": 2}}"#, "pump-1 @1000000 a=1 b=2");
}

#[test]
fn fields_within_the_values_are_not_channels() {
    let mut settings = wide("data");
    settings.timestamp = TimeFrom::Field { path: Path::new("data.meta.ts").unwrap(), unit: Unit::Seconds };
    settings.entity = EntityFrom::Fields(vec![Path::new("data.id").unwrap(), Path::new("site").unwrap()]);
    check(
        settings,
        r#"{"data": {"id": 17, "a": 1, "meta": {"ts": 3, "b": 2}}, "site": "graz"}"#,
        "17/graz @3000000 a=1 meta.b=2",
    );
}

#[test]
fn entities_of_several_fields_are_told_apart() {
    let mut settings = long();
    settings.entity = EntityFrom::Fields(vec![Path::new("site").unwrap(), Path::new("machine").unwrap()]);
    for (site, machine, expected) in [
        ("graz", "pump-1", "graz/pump-1 @1000000 a=1"),
        ("a/b", "c", "a%2Fb/c @1000000 a=1"),
        ("a", "b/c", "a/b%2Fc @1000000 a=1"),
        ("a%2Fb", "c", "a%252Fb/c @1000000 a=1"),
        ("é ", "ü", "é /ü @1000000 a=1"),
        ("", "c", "invalid_entity"),
        ("a", "", "invalid_entity"),
    ] {
        let payload = json!({"ts": 1, "site": site, "machine": machine, "sensor": "a", "value": 1}).to_string();
        check(settings.clone(), &payload, expected);
    }
    check(long(), r#"{"ts": 1, "machine": "a/b%", "sensor": "a", "value": 1}"#, "a/b% @1000000 a=1");
}

#[test]
fn only_selected_channels_are_read() {
    let mut settings = wide(".");
    settings.channels = Selection::new(&["temp".into(), "vib*".into()]).unwrap();
    check(
        settings.clone(),
        r#"{"ts": 1, "status": "ok", "temp": 1, "vibration": 2, "list": [1]}"#,
        "pump-1 @1000000 temp=1 vibration=2",
    );
    check(settings.clone(), r#"{"ts": 1, "status": "ok"}"#, "missing_values");
    check(settings, r#"{"ts": 1, "temp": "ok"}"#, "not_a_number");
}

#[test]
fn a_long_message_is_one_measurement() {
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "temp", "value": 1.5}"#, "m @1000000 temp=1.5");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": 7, "value": 1}"#, "m @1000000 7=1");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "temp", "value": null}"#, "m nothing");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "temp", "value": "1"}"#, "not_a_number");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "temp", "value": 1e39}"#, "number_out_of_range");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "", "value": 1}"#, "invalid_channel");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": {"a": 1}, "value": 1}"#, "invalid_channel");
    check(long(), r#"{"ts": 1, "machine": "m", "value": 1}"#, "missing_values");
    check(long(), r#"{"ts": 1, "machine": "m", "sensor": "temp", "val": 1}"#, "missing_values");
    let mut settings = long();
    settings.channels = Selection::new(&["temp".into()]).unwrap();
    check(settings, r#"{"ts": 1, "machine": "m", "sensor": "other", "value": "x"}"#, "m nothing");
}

#[test]
fn each_bad_message_has_its_reason() {
    for (payload, reason) in [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ("[1]", "malformed_json"),
        ("null", "malformed_json"),
        (r#"{"ts": 1, "values": {"a": NaN}}"#, "malformed_json"),
        (r#"{"ts": 1, "values": {"a": Infinity}}"#, "malformed_json"),
        (r#"{"ts": 1, "values": {"a": 1}} {}"#, "malformed_json"),
        (r#"{"ts": 1, "values": {"a": 1e999}}"#, "malformed_json"),
        (r#"{"ts": 1, "values": {"a": 1e308}}"#, "number_out_of_range"),
        (r#"{"ts": 1, "values": {"a": "1"}}"#, "not_a_number"),
        (r#"{"ts": 1, "values": {"a": true}}"#, "not_a_number"),
        (r#"{"ts": 1, "values": {"a": [1]}}"#, "not_a_number"),
        (r#"{"ts": 1, "values": {"": 1}}"#, "invalid_channel"),
        (r#"{"ts": 1, "values": {}}"#, "missing_values"),
        (r#"{"ts": 1, "values": 3}"#, "missing_values"),
        (r#"{"ts": 1}"#, "missing_values"),
        (r#"{"values": {"a": 1}}"#, "missing_timestamp"),
        (r#"{"ts": null, "values": {"a": 1}}"#, "missing_timestamp"),
        (r#"{"ts": "soon", "values": {"a": 1}}"#, "invalid_timestamp"),
        (r#"{"ts": -1, "values": {"a": 1}}"#, "invalid_timestamp"),
        (r#"{"ts": {"s": 1}, "values": {"a": 1}}"#, "invalid_timestamp"),
    ] {
        check(wide("values"), payload, reason);
    }
    check(long(), r#"{"ts": 1, "sensor": "a", "value": 1}"#, "missing_entity");
    check(long(), r#"{"ts": 1, "machine": 1.5, "sensor": "a", "value": 1}"#, "invalid_entity");
    check(long(), r#"{"ts": 1, "machine": "", "sensor": "a", "value": 1}"#, "invalid_entity");
}

#[test]
fn keys_and_tombstones() {
    let mut decoder = Decoder::new(wide("values"));
    let gone = Message { key: Some(b"pump-1"), payload: None, timestamp: None };
    assert_eq!(told(&mut decoder, &gone), "pump-1 is gone");
    assert_eq!(told(&mut Decoder::new(long()), &gone), "missing_entity");
    for (key, reason) in [
        (None, "missing_entity"),
        (Some(&b""[..]), "invalid_entity"),
        (Some(&[0xff][..]), "invalid_entity"),
        (Some(&[b'x'; 513][..]), "invalid_entity"),
    ] {
        assert_eq!(told(&mut decoder, &Message { key, ..gone }), reason);
    }
}

#[test]
fn bytes_that_are_no_text_and_bytes_that_are_too_many() {
    let mut decoder = Decoder::new(wide("values"));
    assert_eq!(told(&mut decoder, &message(b"{\"ts\": 1, \"x\": \"\xff\"}")), "invalid_utf8");
    assert_eq!(told(&mut decoder, &message(&vec![b' '; 5 << 20])), "too_large");
}

#[test]
fn depth_kills_nothing() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let elsewhere = format!(r#"{{"ts": 1, "x": {deep}, "values": {{"a": 1}}}}"#);
        check(wide("values"), &elsewhere, "pump-1 @1000000 a=1");
        let inside = format!(r#"{{"ts": 1, "values": {{"a": {deep}}}}}"#);
        let mut decoder = Decoder::new(wide("values"));
        let reason = told(&mut decoder, &message(inside.as_bytes()));
        assert!(["malformed_json", "not_a_number"].contains(&reason.as_str()), "{reason}");
    }
}

#[test]
fn more_channels_than_a_row_can_have_refuse_the_record() {
    let row = |n: usize| {
        let values: BTreeMap<_, _> = (0..n).map(|n| (format!("c{n}"), 1)).collect();
        json!({"ts": 1, "values": values}).to_string()
    };
    let mut decoder = Decoder::new(wide("values"));
    assert_eq!(told(&mut decoder, &message(row(MAX_CHANNELS + 1).as_bytes())), "too_many_channels");
    assert!(told(&mut decoder, &message(row(MAX_CHANNELS).as_bytes())).starts_with("pump-1 @"));
}

#[test]
fn the_future_is_measured_from_the_records_own_timestamp() {
    let mut decoder = Decoder::new(wide("values"));
    let payload = br#"{"ts": 7200, "values": {"a": 1}}"#;
    let at = |seconds: i64| Message { timestamp: Some(EventTime::from_millis(seconds * 1_000)), ..message(payload) };
    assert_eq!(told(&mut decoder, &at(3_599)), "timestamp_in_future");
    assert_eq!(told(&mut decoder, &at(3_600)), "pump-1 @7200000000 a=1");
    assert_eq!(told(&mut decoder, &message(payload)), "pump-1 @7200000000 a=1");
}

#[test]
fn the_records_own_timestamp_can_be_the_rows() {
    let mut decoder = Decoder::new(Settings { timestamp: TimeFrom::Record, ..wide("values") });
    let payload = br#"{"values": {"a": 1}}"#;
    assert_eq!(told(&mut decoder, &message(payload)), "missing_timestamp");
    let at = |millis| Message { timestamp: Some(EventTime::from_millis(millis)), ..message(payload) };
    assert_eq!(told(&mut decoder, &at(-1)), "invalid_timestamp");
    assert_eq!(told(&mut decoder, &at(5)), "pump-1 @5000 a=1");
}

/// The numbers of a tree, by the same naming.
fn flatten(value: &Value, name: &str, out: &mut BTreeMap<String, f32>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, &name, out);
            }
        }
        Value::Number(number) => {
            out.insert(name.to_owned(), number.as_f64().unwrap() as f32);
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), (-1e30..1e30f64).prop_map(Value::from),];
    let tree = leaf.prop_recursive(3, 20, 5, |inner| {
        proptest::collection::btree_map("[a-z\"\\\\é]{1,4}", inner, 1..5).prop_map(|map| json!(map))
    });
    proptest::collection::btree_map("[a-z]{1,5}", tree, 1..6).prop_map(|map| json!(map))
}

proptest! {
    #[test]
    fn it_reads_what_serde_json_reads(values in values()) {
        let payload = json!({"ts": 1, "noise": [{"deep": [1, "x"]}], "values": values}).to_string();
        let mut decoder = Decoder::new(wide("values"));
        let mut out = Decoded::default();
        for _ in 0..2 {
            let content = decoder.decode(&message(payload.as_bytes()), &mut out);
            let parsed: Value = serde_json::from_str(&payload).unwrap();
            let mut expected = BTreeMap::new();
            flatten(&parsed["values"], "", &mut expected);
            if content.is_err() {
                // Only objects without any leaf.
                prop_assert!(expected.is_empty());
                continue;
            }
            let found: BTreeMap<_, _> = out.measurements.iter().map(|(id, value)| (decoder.channels().name(*id).to_owned(), *value)).collect();
            prop_assert_eq!(found.len(), out.measurements.len());
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for settings in [wide("values"), wide("."), long()] {
            let _ = told(&mut Decoder::new(settings), &message(&bytes));
        }
    }

    #[test]
    fn mutated_messages_are_read_as_serde_json_would_or_refused(
        at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: prop::sample::Index,
    ) {
        let good = br#"{"ts": 1.5, "values": {"a": 1, "b": -2.5e3, "c\n": null}, "x": [1, {"y": "z"}]}"#;
        let mut bytes = good.to_vec();
        for (at, byte) in at {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        let mut decoder = Decoder::new(wide("values"));
        let mut out = Decoded::default();
        let content = decoder.decode(&message(&bytes), &mut out);
        for (_, value) in &out.measurements {
            prop_assert!(content.is_err() || value.is_finite());
        }
        let tree: Result<Value, _> = serde_json::from_slice(&bytes);
        if content.is_ok() {
            prop_assert!(tree.is_ok());
        }
    }
}
