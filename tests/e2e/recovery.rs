//! What recovery meets when the logs are not what they were: never a stall, never a panic, the best state that can be had.

use crate::broker::{create_topic, delete_records, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::{Writer, ends, read_all};
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
fn a_snapshot_that_is_damaged_or_foreign_costs_only_its_own_entity() {
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
        writer.send_to(partition_of(key), key, &value);
    }
    writer.send_to(0, b"e1/no/such\xff", b"OFK1");
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    let outcome = |outcome: &str| daemon.metric(&format!("offkey_recoveries_total{{outcome=\"{outcome}\"}}"));
    assert!(outcome("corrupt") >= 3.0 && outcome("foreign_version") >= 1.0, "{}", daemon.log());
    write(bootstrap, &input, &mut fleet, 100);
    setup.wait_until_read();
    daemon.stop();

    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("a");
    undisturbed.wait_until_read();
    daemon.stop();
    let entity = |key: &[u8]| String::from_utf8_lossy(key).rsplit('/').next().unwrap().to_owned();
    let harmed: BTreeSet<String> = harmed.iter().map(|key| entity(key)).collect();
    let of_others = |setup: &Setup| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let scores = read_all(bootstrap, &setup.topic("scores")).into_iter();
        let mut others: Vec<_> = scores
            .filter(|read| !harmed.contains(&*String::from_utf8_lossy(&read.key)))
            .map(|read| (read.key, read.value))
            .collect();
        others.sort();
        others
    };
    assert_eq!(of_others(&setup).len(), 4 * 800);
    assert!(of_others(&setup) == of_others(&undisturbed), "entities whose snapshots were sound have noticed");
}

fn partition_of(key: &[u8]) -> i32 {
    String::from_utf8_lossy(key).split('/').nth(2).unwrap().parse().unwrap()
}
