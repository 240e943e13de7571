//! What recovery meets when the logs are not what they were: never a stall, never a panic, the best state that can be had.

use crate::broker::{create_topic, delete_records, delete_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::faults::assert_no_divergence;
use crate::fleet::Fleet;
use crate::topic::{Writer, ends};
use std::collections::BTreeSet;

fn write(bootstrap: &str, input: &str, fleet: &mut Fleet, ticks: u64) {
    let writer = Writer::to(bootstrap, input);
    (0..ticks).flat_map(|_| fleet.tick()).for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
    writer.flush();
}

#[test]
fn an_input_that_was_deleted_under_us_is_told_and_the_rest_is_read() {
    let bootstrap = shared();
    let input = unique("truncated");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "truncated", &input);
    let mut fleet = Fleet::new(7, 6);
    write(bootstrap, &input, &mut fleet, 800);
    let daemon = setup.start("a");
    setup.wait_until_read();
    // No goodbye: rows since the last snapshots are only in the log.
    daemon.kill();
    let committed: i64 = ends(bootstrap, &input).iter().sum();
    write(bootstrap, &input, &mut fleet, 200);
    let cut: Vec<i64> = ends(bootstrap, &input).iter().map(|end| end - 100).collect();
    delete_records(bootstrap, &input, &cut);
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    setup.wait_until_read();
    assert!(daemon.log().contains("lost"), "nothing was said of the gap\n{}", daemon.log());
    assert_eq!(daemon.metric("offkey_records_consumed_total"), 200.0);
    daemon.stop();
    let offsets: BTreeSet<String> = setup.values("scores").into_iter().collect();
    assert_eq!(offsets.len() as i64, committed + 200, "every row that was there, and once");
}

#[test]
fn what_was_in_damaged_and_foreign_snapshots_is_learned_again_from_the_input() {
    let bootstrap = shared();
    let input = unique("damaged");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "damaged", &input);
    let mut fleet = Fleet::new(8, 8);
    write(bootstrap, &input, &mut fleet, 700);
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    let state = setup.topic("state");
    let snapshots = setup.snapshots();
    assert_eq!(snapshots.len(), 8);
    let writer = Writer::to(bootstrap, &state);
    let harmed: Vec<Vec<u8>> = snapshots.keys().take(4).cloned().collect();
    for (n, key) in harmed.iter().enumerate() {
        let mut value = snapshots[key].clone().unwrap();
        match n {
            0 => value.truncate(value.len() / 2),
            1 => value.iter_mut().skip(60).step_by(97).for_each(|byte| *byte ^= 0x55),
            2 => value.clear(),
            _ => value[4] = 0xfe,
        }
        // As a compacted topic shows it: nothing older is left.
        writer.send_to(partition_of(key), key, None);
        writer.send_to(partition_of(key), key, Some(&value));
    }
    writer.send_to(0, b"e1/no/such\xff", Some(b"OFK1"));
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    let outcome = |outcome: &str| daemon.metric(&format!("offkey_recoveries_total{{outcome=\"{outcome}\"}}"));
    assert!(outcome("corrupt") >= 3.0 && outcome("foreign_version") >= 1.0, "{}", daemon.log());
    go_on_as_if_nothing_had_happened(&setup, daemon, &mut fleet);
}

#[test]
fn what_was_in_a_state_topic_that_is_gone_is_learned_again_from_the_input() {
    let bootstrap = shared();
    let input = unique("stateless");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "stateless", &input);
    let mut fleet = Fleet::new(9, 8);
    write(bootstrap, &input, &mut fleet, 700);
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    delete_topic(bootstrap, &setup.topic("state"));
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    go_on_as_if_nothing_had_happened(&setup, daemon, &mut fleet);
}

/// The input holds all that was lost: nobody sees a difference.
fn go_on_as_if_nothing_had_happened(setup: &Setup, daemon: Daemon, fleet: &mut Fleet) {
    assert_eq!(daemon.metric("offkey_recoveries_total{outcome=\"rebuilt\"}"), 2.0, "{}", daemon.log());
    assert_no_divergence(&[&daemon]);
    write(&setup.bootstrap, &setup.input, fleet, 100);
    setup.wait_until_read();
    daemon.stop();
    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("a");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores"] {
        assert!(setup.values(which) == undisturbed.values(which), "{which} differ");
    }
    let (ours, theirs) = (setup.snapshots(), undisturbed.snapshots());
    assert_eq!(theirs.len(), 8);
    assert!(theirs.iter().all(|(key, state)| ours.get(key) == Some(state)), "another state");
}

fn partition_of(key: &[u8]) -> i32 {
    String::from_utf8_lossy(key).split('/').nth(2).unwrap().parse().unwrap()
}
