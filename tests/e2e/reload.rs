//! New rules for a daemon that runs.

use crate::broker::{create_topic, shared};
use crate::daemon::{Setup, unique};
use crate::faults::produce_behind;
use crate::wait_for;

/// A level that no score reaches, and one that is easily reached.
const DEAF: &str = "[threshold]\nmethod = \"fixed\"\nlevel = 1e5\n";
const KEEN: &str = "[threshold]\nmethod = \"fixed\"\nlevel = 0.5\n";

#[test]
fn rules_that_change_while_the_input_is_awaited_hold_once_it_is_there() {
    let bootstrap = shared();
    let mut setup = Setup::new(bootstrap, "early-rules", &unique("awaited"));
    setup.more = DEAF.to_owned();
    let daemon = setup.start("a");
    wait_for("its health", 60, || daemon.get("/healthz"));
    setup.more = KEEN.to_owned();
    setup.config("a", daemon.http);
    daemon.signal("-HUP");
    wait_for("the reload", 60, || (daemon.metric("offkey_config_reloads_total{outcome=\"ok\"}") > 0.0).then_some(()));
    create_topic(bootstrap, &setup.input, 2);
    produce_behind(0, bootstrap, &setup.input, 1_200, 50_000).join().unwrap();
    setup.wait_until_read();
    daemon.stop();
    let mut deaf = setup.undisturbed();
    deaf.more = DEAF.to_owned();
    let daemon = deaf.start("only");
    deaf.wait_until_read();
    daemon.stop();
    assert!(deaf.values("alerts").is_empty(), "this shows nothing");
    assert!(!setup.values("alerts").is_empty(), "the first rules are in force");
}
