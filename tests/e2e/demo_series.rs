//! Series that everybody knows, produced by kcat, the way a user would try it: alerts lie inside the labelled windows.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, PrimitiveDateTime};

fn seconds(text: &str) -> i64 {
    let time = PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc);
    time.or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT)).unwrap().unix_timestamp()
}

#[test]
fn kcat_produces_known_series_and_alerts_lie_in_the_labelled_windows() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/demo");
    let folder = std::env::var_os("OFFKEY_DEMO_SERIES").map_or_else(beside, PathBuf::from);
    let has_kcat = Command::new("kcat").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !folder.is_dir() || !has_kcat {
        println!("SKIPPED: no ../shared/data/demo here, or no kcat");
        return;
    }
    for (file, warmup) in [("nab_machine_temperature", None), ("skab_valve1_00", Some(400))] {
        series(&folder.join(format!("{file}.csv")), file, warmup);
    }
}

fn series(csv: &Path, entity: &str, warmup: Option<u32>) {
    let bootstrap = shared();
    let input = unique("series");
    create_topic(bootstrap, &input, 1);
    let mut setup = Setup::new(bootstrap, "series", &input);
    setup.warmup = warmup.unwrap_or(1_000);
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let names = reader.headers().unwrap().clone();
    let (mut lines, mut anomalous) = (String::new(), Vec::new());
    for row in reader.records() {
        let row = row.unwrap();
        let channels = names.iter().zip(&row).skip(1).take(names.len() - 2);
        let values: serde_json::Map<String, Value> =
            channels.map(|(name, value)| (name.to_owned(), json!(value.parse::<f64>().unwrap()))).collect();
        let at = seconds(&row[0]);
        lines += &format!("{entity}|{}\n", json!({"ts": at, "values": values}));
        if &row[names.len() - 1] != "0" {
            anomalous.push(at);
        }
    }
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", bootstrap, "-t", &input, "-K", "|"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    kcat.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(kcat.wait().unwrap().success());
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    let opened: Vec<i64> = setup
        .values("alerts")
        .iter()
        .map(|alert| serde_json::from_str::<Value>(alert).unwrap())
        .filter(|alert| alert["transition"] == "opened")
        .map(|alert| seconds(alert["at"].as_str().unwrap()))
        .collect();
    assert!(
        opened.iter().any(|at| anomalous.contains(at)),
        "{entity}: no alert in a labelled window, but at {opened:?}"
    );
}
