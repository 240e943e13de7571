//! What the daemon tells of some rows is what a replay of them tells, to the bit.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::{CHANNELS, Fleet};
use crate::topic::Writer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn alerts_and_scores_are_those_of_a_replay_of_the_same_rows() {
    let bootstrap = shared();
    let input = unique("telemetry");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "line", &input);
    let writer = Writer::to(bootstrap, &input);
    let folder = tempfile::tempdir().unwrap();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut fleet = Fleet::new(11, 3);
    for row in (0..2_500).flat_map(|_| fleet.tick()) {
        writer.send(Some(&row.entity), Some(row.json().as_bytes()));
        let values: Vec<String> = row.values.iter().map(ToString::to_string).collect();
        let file = files.entry(row.entity).or_insert_with(|| format!("timestamp,{}\n", CHANNELS.join(",")));
        *file += &format!("{},{}\n", row.millis, values.join(","));
    }
    writer.flush();
    let daemon = setup.start("a");
    setup.wait_until_read();
    assert_eq!(daemon.metric("offkey_records_consumed_total"), 7_500.0);
    daemon.stop();

    let mut told: BTreeMap<(String, i64), Value> = BTreeMap::new();
    for score in setup.values("scores") {
        let score: Value = serde_json::from_str(&score).unwrap();
        let order = told.len() as i64;
        let offset = score["source"]["offset"].as_i64().unwrap_or(order);
        told.insert((score["entity"].as_str().unwrap().to_owned(), offset), score);
    }
    assert_eq!(told.len(), 7_500);
    let mut replayed_alerts = Vec::new();
    for (entity, text) in files {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let csv = path(&format!("{entity}.csv"));
        std::fs::write(&csv, text).unwrap();
        let config = setup.config("replay", 1);
        let status = Command::new(env!("CARGO_BIN_EXE_offkey"))
            .args([
                "replay",
                &csv,
                "-c",
                &config.display().to_string(),
                "--scores",
                &path("scores.csv"),
                "--alerts",
                &path("alerts.jsonl"),
            ])
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        let scores = std::fs::read_to_string(path("scores.csv")).unwrap();
        let live = told.iter().filter(|((of, _), _)| *of == entity).map(|(_, score)| score);
        for (line, live) in scores.lines().skip(1).zip(live) {
            let fields: Vec<&str> = line.split(',').collect();
            for (column, key) in [(2, "score"), (3, "row_score"), (4, "rarity"), (6, "score_ratio")] {
                let replayed: f32 = fields[column].parse().unwrap();
                let live = live[key].as_f64().unwrap() as f32;
                assert_eq!(replayed.to_bits(), live.to_bits(), "{entity} {key} of {line}");
            }
        }
        replayed_alerts.extend(std::fs::read_to_string(path("alerts.jsonl")).unwrap().lines().map(id_of));
    }
    let mut live_alerts: Vec<_> = setup.values("alerts").iter().map(|alert| id_of(alert)).collect();
    live_alerts.sort();
    replayed_alerts.sort();
    assert!(live_alerts.iter().any(|(_, transition, _)| transition == "opened"), "no alert at all");
    assert_eq!(live_alerts, replayed_alerts);
}

/// Event id, transition, score bits.
fn id_of(alert: &str) -> (String, String, u32) {
    let alert: Value = serde_json::from_str(alert).unwrap();
    let text = |key: &str| alert[key].as_str().unwrap().to_owned();
    (text("event_id"), text("transition"), (alert["score"].as_f64().unwrap() as f32).to_bits())
}
