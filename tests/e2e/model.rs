//! What was learned, looked at, taken elsewhere, begun with and forgotten.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use crate::endtxn::broker_behind;
use crate::fleet::{CHANNELS, Fleet, Row};
use crate::proxy::{Fault, Proxy, api};
use crate::topic::Writer;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn offkey(setup: &Setup, arguments: &[&str]) -> Output {
    let config = setup.config("command", 1);
    Command::new(env!("CARGO_BIN_EXE_offkey")).args(arguments).arg("-c").arg(config).output().unwrap()
}

/// Runs it and expects that it is done.
pub fn done(setup: &Setup, arguments: &[&str]) -> String {
    let output = offkey(setup, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it and expects that it is refused with this code; what it says.
fn refused(setup: &Setup, code: i32, arguments: &[&str]) -> String {
    let output = offkey(setup, arguments);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    told
}

fn list(setup: &Setup) -> BTreeMap<String, Value> {
    let lines: Vec<Value> = serde_json::from_str(&done(setup, &["model", "list", "--json"])).unwrap();
    lines.into_iter().map(|line| (line["entity"].as_str().unwrap().to_owned(), line)).collect()
}

fn csv(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let values: Vec<String> = row.values.iter().map(ToString::to_string).collect();
        format!("{},{}\n", row.millis, values.join(","))
    };
    format!("timestamp,{}\n{}", CHANNELS.join(","), rows.iter().map(line).collect::<String>())
}

fn send(setup: &Setup, key: &str, rows: &[Row]) {
    let writer = Writer::to(&setup.bootstrap, &setup.input);
    rows.iter().for_each(|row| writer.send(Some(key), Some(row.json().as_bytes())));
    writer.flush();
}

/// Scores of an entity in the order of their offsets.
fn scores(setup: &Setup, entity: &str) -> Vec<Value> {
    let scores = setup.values("scores").into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let mut scores: Vec<Value> = scores.filter(|score| score["entity"] == entity).collect();
    scores.sort_by_key(|score| score["source"]["offset"].as_i64().unwrap());
    scores
}

#[test]
fn history_trains_a_model_that_goes_live_warm() {
    let bootstrap = shared();
    let input = unique("history");
    create_topic(bootstrap, &input, 3);
    let setup = Setup::new(bootstrap, "history", &input);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut fleet = Fleet::new(31, 1);
    let rows: Vec<Row> = (0..1_300).flat_map(|_| fleet.tick()).collect();
    let (history, live) = rows.split_at(900);
    std::fs::write(path("history.csv"), csv(history)).unwrap();
    std::fs::write(path("live.csv"), csv(live)).unwrap();
    done(&setup, &["replay", &path("history.csv"), "--entity", "pump-0", "--save-state", &path("state.bin")]);
    let going_on = ["--entity", "pump-0", "--load-state", &path("state.bin"), "--scores", &path("scores.csv")];
    done(&setup, &[&["replay", &path("live.csv")], &going_on[..]].concat());

    // No daemon has run yet: there is neither a state topic nor a group.
    let told = refused(&setup, 1, &["model", "import", &path("state.bin")]);
    assert!(told.contains("--entity"), "{told}");
    let told = done(&setup, &["model", "import", &path("state.bin"), "--entity", "pump-0"]);
    assert!(told.contains("ready, 900 rows"), "{told}");
    send(&setup, "pump-0", live);
    let daemon = setup.start("a");
    setup.wait_until_read();
    assert_eq!(daemon.metric("offkey_recoveries_total{outcome=\"restored\"}"), 1.0, "{}", daemon.log());
    assert_eq!(daemon.metric("offkey_replay_divergence_total"), 0.0);
    daemon.stop();

    let replayed = std::fs::read_to_string(path("scores.csv")).unwrap();
    let live_scores = scores(&setup, "pump-0");
    assert_eq!((live_scores.len(), replayed.lines().count()), (400, 401));
    for (line, live) in replayed.lines().skip(1).zip(&live_scores) {
        let fields: Vec<&str> = line.split(',').collect();
        for (column, key) in [(2, "score"), (3, "row_score"), (4, "rarity"), (5, "threshold"), (6, "score_ratio")] {
            let replayed: f32 = fields[column].parse().unwrap();
            assert_eq!(replayed.to_bits(), (live[key].as_f64().unwrap() as f32).to_bits(), "{key} of {line}");
        }
        assert_eq!(fields[8], live["state"].as_str().unwrap(), "{line}");
        assert_ne!(fields[8], "warming");
    }
    assert_eq!(list(&setup)["pump-0"]["rows"], 1_300);
}

#[test]
fn a_state_is_looked_at_taken_elsewhere_and_forgotten_and_no_replay_diverges() {
    let bootstrap = shared();
    let input = unique("models");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "models", &input);
    setup.session_timeout = "6s";
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export").display().to_string();
    let mut fleet = Fleet::new(32, 4);
    let mut tick = |n: usize| -> BTreeMap<String, Vec<Row>> {
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        (0..n).flat_map(|_| fleet.tick()).for_each(|row| rows.entry(row.entity.clone()).or_default().push(row));
        rows
    };
    tick(700).iter().for_each(|(entity, rows)| send(&setup, entity, rows));
    let daemon = setup.start("a");
    setup.wait_until_read();
    crate::wait_for("snapshots of all that was read", 60, || {
        let found = list(&setup);
        (found.len() == 4 && found.values().all(|line| line["rows"] == 700)).then_some(())
    });

    // Looking and exporting disturb nobody.
    let text = done(&setup, &["model", "inspect", "pump-0"]);
    for word in ["fits this configuration", "temperature", "units over windows of 16 rows", "as of offset"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    let seen: Value = serde_json::from_str(&done(&setup, &["model", "inspect", "pump-0", "--json"])).unwrap();
    assert_eq!((&seen["state"], &seen["channels"]), (&"ready".into(), &6.into()));
    done(&setup, &["model", "export", "pump-0", "-o", &export]);
    let told = refused(&setup, 1, &["model", "export", "pump-0", "-o", &export]);
    assert!(told.contains("there already"), "{told}");
    refused(&setup, 1, &["model", "inspect", "nobody"]);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(Path::new(&export).join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["sha256"], seen["sha256"]);
    assert_eq!(manifest["tensors"].as_array().unwrap().len(), 6);
    // Changing does: a daemon would write its own state over it.
    let told = refused(&setup, 69, &["model", "import", &export, "--entity", "pump-9"]);
    assert!(told.contains("in use") && told.contains("Nothing was changed"), "{told}");
    assert!(!list(&setup).contains_key("pump-9"));

    // Rows since the last snapshots are only in the log when it dies.
    tick(40).iter().for_each(|(entity, rows)| send(&setup, entity, rows));
    setup.wait_until_read();
    daemon.kill();
    let weights = Path::new(&export).join("weights.safetensors");
    let sound = std::fs::read(&weights).unwrap();
    let mut changed = sound.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, changed).unwrap();
    let told = refused(&setup, 1, &["model", "import", &export, "--entity", "pump-9"]);
    assert!(told.contains("not the weights of the state"), "{told}");
    std::fs::write(&weights, sound).unwrap();
    // Sound by itself, but another's.
    let other = format!("{export}-3");
    done(&setup, &["model", "export", "pump-3", "-o", &other]);
    let state = Path::new(&export).join("state.bin");
    let sound = std::fs::read(&state).unwrap();
    std::fs::copy(Path::new(&other).join("state.bin"), &state).unwrap();
    let told = refused(&setup, 1, &["model", "import", &export, "--entity", "pump-9"]);
    assert!(told.contains("its checksum is not the manifest's"), "{told}");
    std::fs::write(&state, sound).unwrap();
    done(&setup, &["model", "import", &export, "--entity", "pump-9"]);
    let told = done(&setup, &["model", "reset", "pump-1"]);
    assert!(told.contains("starts anew"), "{told}");
    let listed = list(&setup);
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["pump-0", "pump-2", "pump-3", "pump-9"]);
    assert_eq!((&listed["pump-9"]["rows"], &listed["pump-0"]["rows"]), (&700.into(), &740.into()));

    let daemon = setup.start("a");
    daemon.wait_until_ready();
    assert_eq!(daemon.metric("offkey_replay_divergence_total"), 0.0, "{}", daemon.log());
    let more = tick(20);
    more.iter().for_each(|(entity, rows)| send(&setup, entity, rows));
    send(&setup, "pump-9", &more["pump-0"]);
    setup.wait_until_read();
    daemon.stop();
    let states = |entity: &str, from: usize| -> Vec<String> {
        scores(&setup, entity)[from..].iter().map(|score| score["state"].as_str().unwrap().to_owned()).collect()
    };
    assert!(states("pump-9", 0).iter().all(|state| state != "warming"));
    assert!(states("pump-0", 740).iter().all(|state| state != "warming"));
    assert!(states("pump-1", 740).iter().all(|state| state == "warming"));
    assert_eq!((states("pump-9", 0).len(), states("pump-1", 740).len()), (20, 20));
    // What it learned elsewhere and what came after it, and nothing else.
    assert_eq!(list(&setup)["pump-9"]["rows"], 720);
}

#[test]
fn a_transaction_that_hangs_in_the_state_topic_holds_nobody_up_for_ever() {
    let bootstrap = shared();
    let input = unique("hanging");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "hanging", &input);
    let mut fleet = Fleet::new(33, 1);
    let rows: Vec<Row> = (0..30).flat_map(|_| fleet.tick()).collect();
    send(&setup, "pump-0", &rows);
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    let zombie: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", unique("zombie"))
        .set("transaction.timeout.ms", "120000")
        .create()
        .unwrap();
    zombie.init_transactions(Duration::from_secs(30)).unwrap();
    zombie.begin_transaction().unwrap();
    let state = setup.topic("state");
    zombie.send(BaseRecord::<[u8], [u8]>::to(&state).key(b"e1/x/0/zombie").payload(b"never committed")).unwrap();
    zombie.flush(Duration::from_secs(30)).unwrap();
    let output = offkey(&setup, &["model", "list"]);
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("pump-0") && !told.contains("zombie"), "{told}{said}");
    assert!(said.contains("a transaction that nobody has ended"), "{said}");
    zombie.abort_transaction(Duration::from_secs(30)).unwrap();
    let output = offkey(&setup, &["model", "list"]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An end of a transaction that nobody hears of: the change was committed or it was not, and the command says which.
#[test]
fn a_change_whose_commit_is_in_doubt_is_looked_up() {
    let (proxy, listener) = Proxy::listen();
    let (broker, upstream) = broker_behind(&proxy);
    // The first end is the barrier's.
    let (n_ends, lost) = (Arc::<AtomicU32>::default(), Arc::<Mutex<Option<Fault>>>::default());
    proxy.connect(listener, upstream, {
        let (n_ends, lost) = (Arc::clone(&n_ends), Arc::clone(&lost));
        move |api| match &*lost.lock().unwrap() {
            Some(fault) if api == api::END_TXN && n_ends.fetch_add(1, Ordering::SeqCst) > 0 => fault.clone(),
            Some(_) | None => Fault::Pass,
        }
    });
    let input = unique("doubted");
    create_topic(&broker.bootstrap, &input, 1);
    let mut setup = Setup::new(&broker.bootstrap, "doubted", &input);
    (setup.session_timeout, setup.transaction_timeout) = ("6s", "10s");
    let mut fleet = Fleet::new(33, 1);
    let rows: Vec<Row> = (0..30).flat_map(|_| fleet.tick()).collect();
    let entity = rows[0].entity.clone();
    send(&setup, &entity, &rows);
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    setup.brokers = proxy.bootstrap.clone();

    *lost.lock().unwrap() = Some(Fault::LoseRequest);
    let told = refused(&setup, 1, &["model", "reset", &entity]);
    assert!(n_ends.swap(0, Ordering::SeqCst) > 1, "no end was lost: {told}");
    assert!(list(&setup).contains_key(&entity), "it was not committed: {told}");
    *lost.lock().unwrap() = Some(Fault::LoseAnswer);
    let told = done(&setup, &["model", "reset", &entity]);
    assert!(n_ends.load(Ordering::SeqCst) > 1 && told.contains("starts anew"), "{told}");
    assert!(!list(&setup).contains_key(&entity), "it was committed");
}
