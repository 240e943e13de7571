//! Topics that are not there: those of the input are named and waited for; those of ours that are deleted under a running daemon are
//! created again, or waited for, and nothing is lost that was not in them.

use crate::broker::{create_topic, create_topic_with, delete_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::faults::{MACHINES, produce_behind};
use crate::wait_for;
use std::collections::BTreeMap;

const OUTPUTS: [&str; 3] = ["alerts", "scores", "dead"];
const NOT_ALLOWED: [(&str, &str); 1] = [("OFFKEY__KAFKA__CREATE_TOPICS", "false")];
const COMPACT: [(&str, &str); 1] = [("cleanup.policy", "compact")];
/// Topics are deleted before the first fault, which begins behind 1,150 ticks.
const BEFORE: u64 = 1_100;

/// A daemon that has read so many ticks.
fn daemon_behind(setup: &Setup, ticks: u64, environment: &[(&str, &str)]) -> Daemon {
    produce_behind(0, &setup.bootstrap, &setup.input, ticks, 50_000).join().unwrap();
    let daemon = setup.start_with("a", environment);
    daemon.wait_until_ready();
    setup.wait_until_read();
    daemon
}

fn values(setup: &Setup) -> BTreeMap<&'static str, Vec<String>> {
    OUTPUTS.iter().map(|which| (*which, setup.values(which))).collect()
}

/// What was in the topics before, and what is in them now, is together what an undisturbed run tells.
fn assert_whole(setup: &Setup, before: BTreeMap<&'static str, Vec<String>>) {
    let undisturbed = setup.undisturbed();
    let reference = undisturbed.start("only");
    undisturbed.wait_until_read();
    reference.stop();
    for (which, mut ours) in before {
        ours.extend(setup.values(which));
        ours.sort();
        let theirs = undisturbed.values(which);
        assert!(!theirs.is_empty(), "nothing in {which}: this shows nothing");
        assert_eq!(ours.len(), theirs.len(), "records in {which}");
        assert!(ours == theirs, "{which} differ");
    }
}

fn lag(daemon: &Daemon, setup: &Setup) -> f64 {
    let of = |partition| {
        daemon.metric(&format!("offkey_lag_records{{partition=\"{partition}\",topic=\"{}\"}}", setup.input))
    };
    of(0) + of(1)
}

#[test]
fn outputs_that_are_deleted_are_created_again_and_nothing_is_lost_or_doubled() {
    let bootstrap = shared();
    let input = unique("deleted");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "deleted", &input);
    let daemon = daemon_behind(&setup, BEFORE, &[]);
    let before = values(&setup);
    OUTPUTS.iter().for_each(|which| delete_topic(bootstrap, &setup.topic(which)));
    produce_behind(BEFORE, bootstrap, &input, 300, 50_000).join().unwrap();
    setup.wait_until_read();
    daemon.wait_until_ready();
    assert!(daemon.metric("offkey_kafka_errors_total{kind=\"topic\"}") > 0.0);
    assert_eq!(daemon.n_replayed(), 0, "it has begun anew");
    let log = daemon.log();
    daemon.stop();
    for which in ["alerts", "scores"] {
        let named = |line: &str| line.contains("ERROR") && line.contains(&setup.topic(which));
        assert!(log.lines().any(named), "no error names {which}\n{log}");
    }
    assert!(log.contains("Unknown topic or partition"), "no reason\n{log}");
    assert_whole(&setup, before);
}

#[test]
fn an_output_that_is_deleted_and_may_not_be_created_is_waited_for() {
    let bootstrap = shared();
    let input = unique("awaited");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "awaited", &input);
    setup.create_outputs();
    create_topic_with(bootstrap, &setup.topic("state"), 2, &COMPACT);
    let daemon = daemon_behind(&setup, BEFORE, &NOT_ALLOWED);
    let before = values(&setup);
    OUTPUTS.iter().for_each(|which| delete_topic(bootstrap, &setup.topic(which)));
    produce_behind(BEFORE, bootstrap, &input, 150, 50_000).join().unwrap();
    let why = wait_for("the topic to be named", 60, || {
        let named = format!("`{}`", setup.topic("scores"));
        Some(daemon.why_not_ready()).filter(|why| why.contains("committing") && why.contains(&named))
    });
    assert!(why.contains("do not exist") && why.contains("create_topics"), "{why}");
    let first = lag(&daemon, &setup);
    assert!(first >= f64::from(150 * MACHINES), "{first} records of lag though nothing is committed");
    produce_behind(BEFORE + 150, bootstrap, &input, 150, 50_000).join().unwrap();
    wait_for("the lag to grow", 30, || (lag(&daemon, &setup) >= f64::from(300 * MACHINES)).then_some(()));
    wait_for("no progress", 60, || daemon.why_not_ready().contains("progress").then_some(()));
    setup.create_outputs();
    setup.wait_until_read();
    daemon.wait_until_ready();
    wait_for("no lag", 30, || (lag(&daemon, &setup) == 0.0).then_some(()));
    assert_eq!(daemon.n_replayed(), 0, "it has begun anew");
    daemon.stop();
    assert_whole(&setup, before);
}

#[test]
fn an_input_that_is_missing_is_named_and_waited_for() {
    let bootstrap = shared();
    let input = unique("nowhere");
    let setup = Setup::new(bootstrap, "nowhere", &input);
    let daemon = setup.start("a");
    let named = format!("input topic `{input}` does not exist");
    let why_not = || Some(daemon.why_not_ready()).filter(|why| why.contains(&named));
    let why = wait_for("the topic to be named", 30, why_not);
    assert!(!why.contains("brokers"), "a broker has answered: {why}");
    create_topic(bootstrap, &input, 2);
    daemon.wait_until_ready();
    delete_topic(bootstrap, &input);
    let why = wait_for("the topic to be named again", 30, why_not);
    assert!(!why.contains("brokers"), "a broker answers: {why}");
    create_topic(bootstrap, &input, 2);
    daemon.wait_until_ready();
    daemon.stop();
}
