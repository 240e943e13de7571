//! `input.start = "latest"`: what came before the daemon is passed over, and nothing that came after it.

use crate::broker::{create_topic, grow_topic, shared};
use crate::daemon::{Setup, unique, wait_for_lanes};
use crate::topic::Writer;
use std::collections::BTreeMap;

const LATEST: [(&str, &str); 1] = [("OFFKEY__INPUT__START", "latest")];

fn send(setup: &Setup, partition: i32, entity: &str, rows: i64) {
    let writer = Writer::to(&setup.bootstrap, &setup.input);
    for i in 0..rows {
        let row = format!(r#"{{"ts": {}, "values": {{"a": {i}}}}}"#, 1_760_000_000 + i);
        writer.send_to(partition, entity.as_bytes(), Some(row.as_bytes()));
    }
    writer.flush();
}

fn scored(setup: &Setup) -> BTreeMap<String, usize> {
    let mut scored = BTreeMap::new();
    for score in setup.values("scores") {
        let score: serde_json::Value = serde_json::from_str(&score).unwrap();
        *scored.entry(score["entity"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    scored
}

#[test]
fn what_comes_to_an_idle_partition_while_nobody_runs_is_read() {
    let bootstrap = shared();
    let input = unique("latest");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "latest", &input);
    setup.create_outputs();
    send(&setup, 0, "before", 9);
    let daemon = setup.start_with("a", &LATEST);
    wait_for_lanes(&[&daemon], 2);
    send(&setup, 0, "busy", 5);
    setup.wait_until_read();
    daemon.stop();
    send(&setup, 1, "idle", 7);
    let daemon = setup.start_with("a", &LATEST);
    setup.wait_until_read();
    daemon.stop();
    assert_eq!(scored(&setup), BTreeMap::from([("busy".to_owned(), 5), ("idle".to_owned(), 7)]));
}

#[test]
fn what_comes_between_the_start_and_the_first_epoch_is_read_by_the_next_start() {
    let bootstrap = shared();
    let input = unique("latest-killed");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "latest-killed", &input);
    // It dies long before its first cut.
    let environment = [LATEST[0], ("OFFKEY__KAFKA__COMMIT_INTERVAL", "10s")];
    setup.session_timeout = "60s";
    setup.create_outputs();
    send(&setup, 0, "before", 9);
    let daemon = setup.start_with("a", &environment);
    wait_for_lanes(&[&daemon], 2);
    send(&setup, 0, "seen", 5);
    daemon.kill();
    send(&setup, 1, "unseen", 7);
    let daemon = setup.start_with("a", &LATEST);
    setup.wait_until_read();
    daemon.stop();
    assert_eq!(scored(&setup), BTreeMap::from([("seen".to_owned(), 5), ("unseen".to_owned(), 7)]));
}

#[test]
fn a_partition_that_is_added_while_nobody_runs_is_read_from_its_beginning() {
    let bootstrap = shared();
    let input = unique("latest-added");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "latest-added", &input);
    setup.create_outputs();
    send(&setup, 0, "before", 9);
    let daemon = setup.start_with("a", &LATEST);
    wait_for_lanes(&[&daemon], 1);
    send(&setup, 0, "seen", 5);
    setup.wait_until_read();
    daemon.stop();
    for (added, entity) in [(1, "second"), (2, "third")] {
        grow_topic(bootstrap, &input, added + 1);
        send(&setup, added as i32, entity, 7);
        let daemon = setup.start_with("a", &LATEST);
        wait_for_lanes(&[&daemon], added as u32 + 1);
        setup.wait_until_read();
        daemon.stop();
    }
    let expected = [("second", 7), ("seen", 5), ("third", 7)].map(|(entity, rows)| (entity.to_owned(), rows));
    assert_eq!(scored(&setup), BTreeMap::from(expected));
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    let bootstrap = shared();
    let input = unique("latest-grown");
    create_topic(bootstrap, &input, 1);
    let mut setup = Setup::new(bootstrap, "latest-grown", &input);
    setup.more = "[kafka.properties]\n\"topic.metadata.refresh.interval.ms\" = \"2000\"".to_owned();
    setup.create_outputs();
    let daemon = setup.start_with("a", &LATEST);
    wait_for_lanes(&[&daemon], 1);
    grow_topic(bootstrap, &input, 2);
    send(&setup, 1, "new", 9);
    wait_for_lanes(&[&daemon], 2);
    setup.wait_until_read();
    daemon.stop();
    assert_eq!(scored(&setup), BTreeMap::from([("new".to_owned(), 9)]));
}
