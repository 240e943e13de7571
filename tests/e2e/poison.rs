//! Bad records go to the dead-letter topic with a reason, are counted, and nothing else stops.

use crate::broker::{create_topic, create_topic_with, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::{Writer, read_all};
use std::collections::BTreeMap;

/// Key, value, reason; `None`: handled as documented, no dead letter.
fn bad_records() -> Vec<(Option<&'static str>, Vec<u8>, Option<&'static str>)> {
    let wide = |values: &str| format!("{{\"ts\":1760000000000,\"values\":{values}}}").into_bytes();
    let mut deep = b"{\"ts\":1,\"values\":".to_vec();
    deep.extend(std::iter::repeat_n(b"{\"a\":".as_slice(), 100_000).flatten());
    vec![
        (Some("x"), b"{no json".to_vec(), Some("malformed_json")),
        (Some("x"), Vec::new(), Some("malformed_json")),
        (Some("x"), deep, Some("malformed_json")),
        (Some("x"), wide("{\"a\":NaN}"), Some("malformed_json")),
        (Some("x"), vec![0xff, 0xfe, 0x00], Some("invalid_utf8")),
        (Some("x"), wide("{\"a\":\"hot\"}"), Some("not_a_number")),
        (Some("x"), wide("{\"a\":1e308}"), Some("number_out_of_range")),
        (Some("x"), wide("{}"), Some("missing_values")),
        (Some("x"), b"{\"values\":{\"a\":1}}".to_vec(), Some("missing_timestamp")),
        (Some("x"), b"{\"ts\":\"never\",\"values\":{\"a\":1}}".to_vec(), Some("invalid_timestamp")),
        (Some("x"), b"{\"ts\":4102444800000,\"values\":{\"a\":1}}".to_vec(), Some("timestamp_in_future")),
        (None, wide("{\"a\":1}"), Some("missing_entity")),
        (Some(""), wide("{\"a\":1}"), Some("invalid_entity")),
        (Some("x"), vec![b'x'; 5 << 20], Some("too_large")),
        (Some("old"), b"{\"ts\":1,\"values\":{\"a\":1}}".to_vec(), None),
    ]
}

#[test]
fn poison_is_dead_lettered_and_good_rows_do_not_notice() {
    let bootstrap = shared();
    let (clean, dirty) = (unique("clean"), unique("dirty"));
    create_topic(bootstrap, &clean, 1);
    create_topic_with(bootstrap, &dirty, 1, &[("max.message.bytes", "20000000")]);
    let mut fleet = Fleet::new(5, 2);
    let (clean_writer, dirty_writer) = (Writer::to(bootstrap, &clean), Writer::to(bootstrap, &dirty));
    let mut bad = bad_records().into_iter().cycle();
    let n_bad = bad_records().len() * 4;
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for tick in 0..1_300 {
        for row in fleet.tick() {
            let json = row.json();
            clean_writer.send(Some(&row.entity), Some(json.as_bytes()));
            dirty_writer.send(Some(&row.entity), Some(json.as_bytes()));
        }
        if tick % 20 == 0 && tick / 20 < n_bad {
            let (key, value, reason) = bad.next().unwrap();
            dirty_writer.send(key, Some(&value));
            reason.into_iter().for_each(|reason| *expected.entry(reason.to_owned()).or_default() += 1);
        }
    }
    clean_writer.flush();
    dirty_writer.flush();
    let (without, with) = (Setup::new(bootstrap, "without", &clean), Setup::new(bootstrap, "with", &dirty));
    for setup in [&without, &with] {
        let daemon = setup.start("a");
        setup.wait_until_read();
        if std::ptr::eq(setup, &with) {
            for (reason, n) in &expected {
                let counted = daemon.metric(&format!("offkey_records_rejected_total{{reason=\"{reason}\"}}"));
                assert_eq!(counted, *n as f64, "{reason}");
            }
        }
        daemon.stop();
    }
    let letters = read_all(bootstrap, &with.topic("dead"));
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for letter in &letters {
        let header = |name: &str| String::from_utf8_lossy(&letter.headers[name]).into_owned();
        *told.entry(header("reason")).or_default() += 1;
        assert_eq!(header("topic"), dirty);
        assert!(!header("error").is_empty() && header("offset").parse::<i64>().is_ok() && header("partition") == "0");
        match header("reason").as_str() {
            "missing_entity" => assert_eq!(letter.key, None),
            "invalid_entity" => assert_eq!(letter.key.as_deref(), Some(b"".as_slice())),
            _ => assert_eq!(letter.key.as_deref(), Some(b"x".as_slice())),
        }
        if header("reason") == "too_large" {
            assert_eq!((header("truncated").as_str(), header("size")), ("true", (5 << 20).to_string()));
            assert_eq!(header("sha256").len(), 64);
        }
    }
    assert_eq!(told, expected);
    let scores = |setup: &Setup| -> Vec<String> {
        let without_source = |score: &String| score.split(",\"source\"").next().unwrap().to_owned();
        let mut scores: Vec<String> =
            setup.values("scores").iter().filter(|score| score.contains("pump-")).map(without_source).collect();
        scores.sort();
        scores
    };
    assert_eq!(scores(&without).len(), 2_600);
    assert!(scores(&without) == scores(&with), "good rows' scores differ");
}
