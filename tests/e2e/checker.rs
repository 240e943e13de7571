//! What must hold of a run, however it was disturbed, judged from outside: from the input, the outputs and the committed offsets
//! alone. Each complaint begins with its own words, so that a test of the tests can tell which one it was.

use crate::daemon::Setup;
use crate::topic::{self, Read};
use crate::wait_for;
use offkey::wire::state_record::{Envelope, Key, OffsetMetadata};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Partition and offset of an input record.
pub type Place = (i32, i64);

/// A record of the input, as far as the tests' own telemetry goes: a row, or something that is none.
pub struct Record {
    pub place: Place,
    pub entity: String,
    /// Timestamp and values; nothing if it cannot be a row.
    pub row: Option<(i64, BTreeMap<String, f64>)>,
}

impl Record {
    pub fn of(read: &Read) -> Self {
        let row = || {
            let json: Value = serde_json::from_slice(read.value.as_deref()?).ok()?;
            let values = json["values"].as_object()?.iter();
            let values = values.map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect::<Option<_>>()?;
            Some((json["ts"].as_i64()?, values))
        };
        let entity = String::from_utf8_lossy(read.key.as_deref().unwrap_or_default()).into_owned();
        Self { place: (read.partition, read.offset), entity, row: row() }
    }
}

/// Where the input record of a score, an alert or a dead letter stands.
pub fn source_of(read: &Read) -> Place {
    if let Some(offset) = read.headers.get("offset") {
        let number = |text: &[u8]| String::from_utf8_lossy(text).parse::<i64>().unwrap();
        return (number(&read.headers["partition"]) as i32, number(offset));
    }
    let json: Value = serde_json::from_slice(read.value.as_deref().unwrap()).unwrap();
    let source = |key: &str| json["source"][key].as_i64().unwrap();
    (source("partition") as i32, source("offset"))
}

fn input(setup: &Setup) -> Vec<Record> {
    topic::read_all(&setup.bootstrap, &setup.input).iter().map(Record::of).collect()
}

/// Everything at the end of a run: the daemons have stopped, and the input was read to its end.
pub fn check_at_the_end(setup: &Setup) {
    check_replay(setup, &check_places(setup));
}

/// An instance that was killed leaves a transaction open, and readers see nothing behind it until the broker has ended it.
pub fn wait_until_nothing_is_pending(setup: &Setup) {
    for which in ["alerts", "scores", "dead", "state"] {
        let topic = setup.topic(which);
        wait_for("the broker to end what is pending", 60, || {
            (!topic::is_pending(&setup.bootstrap, &topic)).then_some(())
        });
    }
}

/// The same for runs that no replay can repeat: each record has led to what it has to, once. The input.
pub fn check_places(setup: &Setup) -> Vec<Record> {
    wait_until_nothing_is_pending(setup);
    let input = input(setup);
    let ends = topic::ends(&setup.bootstrap, &setup.input);
    let committed: Vec<i64> =
        committed(setup).into_iter().map(|committed| committed.map_or(0, |(next, _)| next)).collect();
    assert_eq!(committed, ends, "not read to the end");
    check_offsets(setup, &input, &committed);
    check_history(setup, &committed);
    input
}

/// Everything that can be told in the middle of a run while no instance of these names runs: what they left open is aborted, and
/// then every epoch is there with all that belongs to it, or nothing of it is.
pub fn check_at_rest(setup: &Setup, instances: &[&str]) {
    instances.iter().for_each(|instance| topic::fence(&setup.bootstrap, &format!("offkey-{}-{instance}", setup.name)));
    wait_until_nothing_is_pending(setup);
    let committed = committed(setup);
    let next: Vec<i64> = committed.iter().map(|committed| committed.as_ref().map_or(0, |(next, _)| *next)).collect();
    check_offsets(setup, &input(setup), &next);
    check_snapshots(setup, &committed);
    check_history(setup, &next);
}

fn committed(setup: &Setup) -> Vec<Option<(i64, String)>> {
    wait_for("the committed offsets", 60, || topic::committed(&setup.bootstrap, &setup.name, &setup.input))
}

/// Every record before the committed offset of its partition has led to one score or one dead letter, and no other has.
fn check_offsets(setup: &Setup, input: &[Record], committed: &[i64]) {
    let mut told: BTreeMap<Place, u32> = BTreeMap::new();
    let scores = topic::read_all(&setup.bootstrap, &setup.topic("scores"));
    let letters = topic::read_all(&setup.bootstrap, &setup.topic("dead"));
    let of_rows: BTreeSet<Place> =
        input.iter().filter(|record| record.row.is_some()).map(|record| record.place).collect();
    let wrong = scores.iter().map(source_of).find(|place| !of_rows.contains(place));
    assert_eq!(wrong, None, "told of no row: a score");
    let wrong = letters.iter().map(source_of).find(|place| of_rows.contains(place));
    assert_eq!(wrong, None, "told of a row: a dead letter");
    scores.iter().chain(&letters).for_each(|read| *told.entry(source_of(read)).or_default() += 1);

    let twice: Vec<&Place> = told.iter().filter(|(_, n)| **n > 1).map(|(place, _)| place).collect();
    assert!(twice.is_empty(), "told twice: {} records, the first of them {:?}", twice.len(), twice[0]);
    let is_committed = |place: &Place| place.1 < committed[place.0 as usize];
    let early: Vec<&Place> = told.keys().filter(|place| !is_committed(place)).collect();
    assert!(
        early.is_empty(),
        "half an epoch: {} records are told and not committed, {:?} first",
        early.len(),
        early[0]
    );
    let lost: Vec<Place> = input
        .iter()
        .map(|record| record.place)
        .filter(|place| is_committed(place) && !told.contains_key(place))
        .collect();
    assert!(lost.is_empty(), "lost: {} records are committed and not told, {:?} first", lost.len(), lost[0]);
}

/// A snapshot is committed with the offset of its epoch: none is of a record that is not committed.
fn check_snapshots(setup: &Setup, committed: &[Option<(i64, String)>]) {
    for read in topic::read_all(&setup.bootstrap, &setup.topic("state")) {
        let Ok(Key::Snapshot { partition, entity, .. }) = Key::decode(read.key.as_deref().unwrap_or_default()) else {
            continue;
        };
        let Some(envelope) = read.value.as_deref().map(|value| Envelope::decode(value).unwrap()) else { continue };
        let Some((next, metadata)) = &committed[partition as usize] else {
            panic!("half an epoch: a snapshot of {entity}, and nothing committed of partition {partition}")
        };
        assert!(envelope.as_of < *next, "half an epoch: {entity} as of {}, committed {next}", envelope.as_of);
        assert!(OffsetMetadata::decode(metadata).is_some(), "no metadata of ours: {metadata}");
    }
}

/// What is committed never moves back.
fn check_history(setup: &Setup, committed: &[i64]) {
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, next) in topic::history(&setup.bootstrap, &setup.name, &setup.input) {
        let before = newest.insert(partition, next).unwrap_or(0);
        assert!(before <= next, "moved back: partition {partition} from {before} to {next}");
    }
    let last = |partition: usize| newest.get(&(partition as i32)).copied().unwrap_or(0);
    let told: Vec<i64> = (0..committed.len()).map(last).collect();
    assert_eq!(told, committed, "the broker's log of offsets is not what the broker tells of {}", setup.name);
}

/// What readers of committed records see is, to the bit, what `offkey replay` tells of the same rows.
fn check_replay(setup: &Setup, input: &[Record]) {
    let folder = tempfile::tempdir().unwrap();
    let mut rows: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    input
        .iter()
        .filter(|record| record.row.is_some())
        .for_each(|record| rows.entry(&record.entity).or_default().push(record));
    let mut files = Vec::new();
    for (entity, rows) in &rows {
        let file = folder.path().join(format!("{entity}.csv"));
        std::fs::write(&file, csv_of(rows)).unwrap();
        files.push(file);
    }
    let path = |name: &str| folder.path().join(name);
    let run = Command::new(env!("CARGO_BIN_EXE_offkey"))
        .arg("replay")
        .args(&files)
        .arg("-c")
        .arg(setup.config("replay", 1))
        .arg("--scores")
        .arg(path("scores.csv"))
        .arg("--alerts")
        .arg(path("alerts.jsonl"))
        .env_remove("OFFKEY_PLANT")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let replayed = std::fs::read_to_string(path("alerts.jsonl")).unwrap();
    let mut replayed: Vec<Value> = replayed.lines().map(|line| without_source(line.as_bytes())).collect();
    let told = topic::read_all(&setup.bootstrap, &setup.topic("alerts"));
    let mut told: Vec<Value> = told.iter().map(|read| without_source(read.value.as_deref().unwrap())).collect();
    [&mut replayed, &mut told].into_iter().for_each(|alerts| alerts.sort_by_cached_key(Value::to_string));
    assert!(!replayed.is_empty(), "no alert at all: this run shows nothing");
    let differs = told.iter().zip(&replayed).find(|(told, replayed)| told != replayed);
    assert!(
        told == replayed,
        "not those of a replay: {} alerts, {} replayed; the first that differs: {differs:?}",
        told.len(),
        replayed.len()
    );

    let mut scores: BTreeMap<Place, [u32; 4]> = BTreeMap::new();
    for read in topic::read_all(&setup.bootstrap, &setup.topic("scores")) {
        let json: Value = serde_json::from_slice(read.value.as_deref().unwrap()).unwrap();
        let bits = |key: &str| (json[key].as_f64().unwrap() as f32).to_bits();
        scores.insert(source_of(&read), ["score", "row_score", "rarity", "score_ratio"].map(bits));
    }
    let replayed = std::fs::read_to_string(path("scores.csv")).unwrap();
    let mut lines = replayed.lines().skip(1);
    for record in rows.values().flatten() {
        let fields: Vec<&str> = lines.next().unwrap().split(',').collect();
        let replayed = [2, 3, 4, 6].map(|column: usize| fields[column].parse::<f32>().unwrap().to_bits());
        assert_eq!(
            scores[&record.place], replayed,
            "not those of a replay: scores of {} at {:?}",
            record.entity, record.place
        );
    }
    assert_eq!(lines.next(), None);
}

/// A replay's rows have other places.
fn without_source(alert: &[u8]) -> Value {
    let mut alert: Value = serde_json::from_slice(alert).unwrap();
    let source = alert.as_object_mut().unwrap().remove("source");
    assert!(source.is_some());
    alert
}

fn csv_of(rows: &[&Record]) -> String {
    let all = rows.iter().filter_map(|record| record.row.as_ref());
    let names: BTreeSet<&str> = all.clone().flat_map(|(_, values)| values.keys().map(String::as_str)).collect();
    let mut text = format!("timestamp,{}\n", names.iter().copied().collect::<Vec<_>>().join(","));
    for (at, values) in all {
        let cells = names.iter().map(|name| values.get(*name).map_or(String::new(), f64::to_string));
        text += &format!("{at},{}\n", cells.collect::<Vec<_>>().join(","));
    }
    text
}
