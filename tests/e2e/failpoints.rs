//! The process dies at each named place of the protocol, and nobody notices.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use crate::faults::{assert_no_divergence, compare, produce};
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
    let producing = produce(bootstrap, &input, 3_000, 1_500);
    for place in PLACES {
        let mut daemon = setup.start_with("a", &[("OFFKEY_CRASH_AT", place)]);
        if place == "mid_shutdown" {
            daemon.wait_until_ready();
            daemon.signal("-TERM");
        }
        let status = daemon.wait(120);
        assert_eq!(status.signal(), Some(9), "it did not die at {place}\n{}", daemon.log());
    }
    let daemon = setup.start("a");
    producing.join().unwrap();
    setup.wait_until_read();
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}
