//! Records out of order, and a death between them: what the daemon tells is what a replay of the sorted rows tells, to the bit.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::{CHANNELS, Fleet, Row};
use crate::topic::Writer;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

const TICKS: usize = 1_500;
const LATENESS: usize = 10;
const SETTINGS: [(&str, &str); 2] = [("OFFKEY__INPUT__MAX_LATENESS", "10s"), ("OFFKEY__INPUT__LATE", "drop")];

/// The rows as they come: each up to ten seconds after others that were measured after it.
fn shuffled(rows: &[Row]) -> Vec<&Row> {
    let mut rng = Pcg32::seed_from_u64(9);
    let mut rows: Vec<_> =
        rows.iter().map(|row| (row.millis + i64::from(rng.next_u32() % (LATENESS as u32 * 1_000)), row)).collect();
    rows.sort_by_key(|(comes_at, _)| *comes_at);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn records_out_of_order_are_told_as_a_replay_of_the_sorted_rows_tells_them() {
    let bootstrap = shared();
    let input = unique("reorder");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "reorder", &input);
    let mut fleet = Fleet::new(21, 3);
    let rows: Vec<Row> = (0..TICKS).flat_map(|_| fleet.tick()).collect();
    let (writer, arriving) = (Writer::to(bootstrap, &input), shuffled(&rows));
    assert!(!arriving.is_sorted_by_key(|row| row.millis));
    let send = |rows: &[&Row]| {
        rows.iter().for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
        writer.flush();
    };
    send(&arriving[..arriving.len() / 2]);
    let daemon = setup.start_with("a", &SETTINGS);
    setup.wait_until_read();
    daemon.kill();
    send(&arriving[arriving.len() / 2..]);
    let daemon = setup.start_with("a", &SETTINGS);
    setup.wait_until_read();
    assert_eq!(daemon.metric("offkey_rows_late_total"), 0.0);
    daemon.stop();

    let mut live: BTreeMap<(String, String), Value> = BTreeMap::new();
    for score in setup.values("scores") {
        let score: Value = serde_json::from_str(&score).unwrap();
        let text = |key: &str| score[key].as_str().unwrap().to_owned();
        assert!(live.insert((text("entity"), text("timestamp")), score.clone()).is_none(), "told twice: {score}");
    }
    // Those within ten seconds of the newest row wait for the next, and it waits too.
    let n_told = TICKS - LATENESS - 1;
    assert_eq!(live.len(), 3 * n_told);
    let newest = live.keys().map(|(_, at)| at.clone()).max().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = setup.config("replay", 1).display().to_string();
    let mut replayed_alerts = Vec::new();
    for entity in ["pump-0", "pump-1", "pump-2"] {
        let mut text = format!("timestamp,{}\n", CHANNELS.join(","));
        for row in rows.iter().filter(|row| row.entity == entity) {
            let values: Vec<String> = row.values.iter().map(ToString::to_string).collect();
            text += &format!("{},{}\n", row.millis, values.join(","));
        }
        let csv = path(&format!("{entity}.csv"));
        std::fs::write(&csv, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_offkey"))
            .envs(SETTINGS)
            .args(["replay", &csv, "-c", &config, "--scores", &path("scores.csv"), "--alerts", &path("alerts.jsonl")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let scores = std::fs::read_to_string(path("scores.csv")).unwrap();
        let told = live.iter().filter(|((of, _), _)| of == entity);
        let mut n = 0;
        for (line, (_, live)) in scores.lines().skip(1).zip(told) {
            let fields: Vec<&str> = line.split(',').collect();
            for (column, key) in [(2, "score"), (3, "row_score"), (4, "rarity"), (6, "score_ratio")] {
                let replayed: f32 = fields[column].parse().unwrap();
                let live = live[key].as_f64().unwrap() as f32;
                assert_eq!(replayed.to_bits(), live.to_bits(), "{entity} {key} of {line}");
            }
            n += 1;
        }
        assert_eq!(n, n_told);
        let alerts = std::fs::read_to_string(path("alerts.jsonl")).unwrap();
        replayed_alerts.extend(alerts.lines().filter_map(|alert| id_of(alert, &newest)));
    }
    let mut live_alerts: Vec<_> = setup.values("alerts").iter().filter_map(|alert| id_of(alert, &newest)).collect();
    assert_eq!(live_alerts.len(), setup.values("alerts").len());
    live_alerts.sort();
    replayed_alerts.sort();
    assert!(live_alerts.iter().any(|(_, transition, _)| transition == "opened"), "no alert at all");
    assert_eq!(live_alerts, replayed_alerts);
}

/// Event id, transition, score bits of what happened until then.
fn id_of(alert: &str, until: &str) -> Option<(String, String, u32)> {
    let alert: Value = serde_json::from_str(alert).unwrap();
    let text = |key: &str| alert[key].as_str().unwrap().to_owned();
    let score = alert["score"].as_f64().unwrap() as f32;
    (text("at").as_str() <= until).then(|| (text("event_id"), text("transition"), score.to_bits()))
}
