//! Topics that are not there: those of the input are named and waited for.

use crate::broker::{create_topic, delete_topic, shared};
use crate::daemon::{Setup, unique};
use crate::wait_for;

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
