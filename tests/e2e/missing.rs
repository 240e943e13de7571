//! Topics that are not there: those of the input are named and waited for; those of ours that are deleted under a running daemon are
//! created again, or waited for, and nothing is lost that was not in them.

use crate::broker::{create_topic, create_topic_with, delete_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::faults::{MACHINES, assert_no_divergence, compare, produce_behind};
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

/// All machines have a snapshot, soon.
fn wait_until_written(setup: &Setup, state: &str) {
    wait_for(state, 60, || {
        let there = std::panic::catch_unwind(|| setup.snapshots().len()).unwrap_or(0);
        (there == MACHINES as usize).then_some(())
    });
}

#[test]
fn the_state_topic_may_be_deleted_and_what_was_learned_is_written_again() {
    let bootstrap = shared();
    let input = unique("unlearned");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "unlearned", &input);
    // Nothing is written by itself; and most machines are out of memory.
    setup.snapshot_interval = "1h";
    let few = [("OFFKEY__STATE__MAX_ENTITIES", "4")];
    let daemon = daemon_behind(&setup, 800, &few);
    // Nothing comes and nothing is to be committed: it is found out all the same.
    delete_topic(bootstrap, &setup.topic("state"));
    wait_until_written(&setup, "the state in a new topic");
    let settings = crate::broker::settings_of(bootstrap, &setup.topic("state"));
    assert_eq!(settings["cleanup.policy"], "compact");
    daemon.wait_until_ready();
    assert!(daemon.log().contains("the state topic has lost what was learned"), "{}", daemon.log());
    // Somebody is faster than we are.
    delete_topic(bootstrap, &setup.topic("state"));
    create_topic_with(bootstrap, &setup.topic("state"), 2, &COMPACT);
    wait_until_written(&setup, "the state in somebody's topic");
    // And under load.
    produce_behind(800, bootstrap, &input, 200, 50_000).join().unwrap();
    delete_topic(bootstrap, &setup.topic("state"));
    produce_behind(1_000, bootstrap, &input, 100, 50_000).join().unwrap();
    wait_until_written(&setup, "the state under load");
    setup.wait_until_read();
    // A crash shows whether that is all of it.
    daemon.kill();
    produce_behind(BEFORE, bootstrap, &input, 200, 50_000).join().unwrap();
    let daemon = setup.start_with("a", &few);
    daemon.wait_until_ready();
    setup.wait_until_read();
    assert_no_divergence(&[&daemon]);
    // R is where the last state topic began: nothing before it has to be read again.
    let n = daemon.n_replayed();
    assert!(n < u64::from(MACHINES) * 150, "{n} rows were read again\n{}", daemon.log());
    daemon.stop();
    compare(&setup);
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
