//! The process dies at each named place of the protocol, and nobody notices.

use crate::broker::{create_topic, shared};
use crate::checker::check_at_rest;
use crate::daemon::{Setup, unique};
use crate::faults::{Producing, assert_no_divergence, compare};
use crate::fleet::Fleet;
use crate::topic::{Writer, read_all};
use std::os::unix::process::ExitStatusExt;

/// Place, and the time it is passed at which the process dies.
const PLACES: [&str; 8] = [
    "begin:7",
    "mid_send:6",
    "after_drain:6",
    "after_send_offsets:6",
    "after_commit:6",
    "mid_restore",
    "mid_replay",
    "mid_shutdown",
];

#[test]
fn dying_at_any_named_place_changes_nothing() {
    let bootstrap = shared();
    let input = unique("places");
    create_topic(bootstrap, &input, 4);
    let setup = Setup::new(bootstrap, "places", &input);
    setup.create_outputs();
    let producing = Producing::start(bootstrap, &input, 1_300, 1_500);
    for place in PLACES {
        let mut daemon = setup.start_with("a", &[("OFFKEY_CRASH_AT", place)]);
        if place == "mid_shutdown" {
            daemon.wait_until_ready();
            daemon.signal("-TERM");
        }
        let status = daemon.wait(120);
        assert_eq!(status.signal(), Some(9), "it did not die at {place}\n{}", daemon.log());
        check_at_rest(&setup, &["a"]);
    }
    let daemon = setup.start("a");
    producing.stop();
    setup.wait_until_read();
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}

/// Its records make the lane panic, each time, after the lane's state has changed.
const POISON: &str = "poison";

#[test]
fn a_record_that_panics_twice_is_a_dead_letter_and_the_rest_goes_on() {
    let bootstrap = shared();
    let input = unique("panics");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "panics", &input);
    let mut fleet = Fleet::new(11, 6);
    let mut write = |ticks: u64, poison: u64| {
        let writer = Writer::to(bootstrap, &input);
        for tick in 0..ticks {
            for row in fleet.tick() {
                writer.send(Some(&row.entity), Some(row.json().as_bytes()));
                if tick % (ticks / 4) == 7 && tick / (ticks / 4) < poison && row.entity == "pump-3" {
                    writer.send(Some(POISON), Some(row.json().as_bytes()));
                }
            }
        }
        writer.flush();
    };
    // No snapshot but for alerts: replays reach far back, behind the dead letters.
    let environment = [("OFFKEY_PANIC_ON", POISON), ("OFFKEY__STATE__SNAPSHOT_INTERVAL", "1h")];
    let letters = |why: &str| {
        let all = read_all(bootstrap, &setup.topic("dead"));
        all.iter().filter(|letter| letter.headers["reason"] == why.as_bytes()).count()
    };
    write(1_250, 2);
    let mut daemon = setup.start_with("a", &environment);
    setup.wait_until_read();
    assert_eq!(daemon.has_ended(), None);
    assert_eq!(daemon.metric("offkey_lane_panics_total"), 4.0, "{}", daemon.log());
    assert_eq!(daemon.metric("offkey_records_rejected_total{reason=\"panic\"}"), 2.0);
    assert_no_divergence(&[&daemon]);
    daemon.kill();
    assert_eq!(letters("panic"), 2);
    // A process that knows nothing of it meets the records in its silent replay, and finds out again.
    write(100, 0);
    let daemon = setup.start_with("a", &environment);
    setup.wait_until_read();
    assert_eq!(daemon.metric("offkey_lane_panics_total"), 4.0, "{}", daemon.log());
    assert_eq!(daemon.metric("offkey_records_rejected_total{reason=\"panic\"}"), 0.0);
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    assert_eq!(letters("panic"), 2, "said again");
    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("only");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores"] {
        let pumps = |setup: &Setup| -> Vec<String> {
            setup.values(which).into_iter().filter(|value| value.contains("pump-")).collect()
        };
        assert!(!pumps(&undisturbed).is_empty());
        assert!(pumps(&setup) == pumps(&undisturbed), "{which} differ");
    }
    let states = |setup: &Setup| {
        let mut states = setup.snapshots();
        states.retain(|key, _| !key.ends_with(POISON.as_bytes()));
        states
    };
    assert_eq!(states(&undisturbed).len(), 6);
    assert!(states(&setup) == states(&undisturbed), "states differ");
}

#[test]
fn a_call_of_the_client_that_never_returns_is_left_behind() {
    let bootstrap = shared();
    let input = unique("stuck");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "stuck", &input);
    setup.transaction_timeout = "6s";
    let producing = Producing::start(bootstrap, &input, 1_300, 2_000);
    let daemon = setup.start_with("a", &[("OFFKEY_HANG_AT", "after_drain:6")]);
    producing.stop();
    setup.wait_until_read();
    assert!(daemon.log().contains("a call of the kafka client did not return"), "{}", daemon.log());
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}
