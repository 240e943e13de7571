//! Keys that come once: they bring nothing down, and no model leaves memory for them.

use crate::broker::{create_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::faults::assert_no_divergence;
use crate::fleet::Fleet;
use crate::topic::Writer;
use crate::{rounds, wait_for};

const PUMPS: u32 = 12;
/// What a process may need whoever comes: records and outputs on their way, the clients' queues.
const WORKING: u64 = 350 << 20;

fn trained(daemon: &Daemon) -> f64 {
    let of = |state: &str| daemon.metric(&format!("offkey_entities{{state=\"{state}\"}}"));
    ["warming", "ready", "open", "recovering", "adapting"].into_iter().map(of).sum()
}

#[test]
fn a_flood_of_keys_is_survived_and_no_model_leaves_for_it() {
    let bootstrap = shared();
    let keys = u64::from(rounds(100_000, 1_000_000));
    let input = unique("flood");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "flood", &input);
    // Exactly the models there are.
    let environment = [("OFFKEY__STATE__MAX_ENTITIES", "12"), ("OFFKEY__STATE__MAX_MEMORY", "64MiB")];
    let mut fleet = Fleet::new(12, PUMPS);
    let mut pumps = |ticks: u32| {
        let writer = Writer::to(bootstrap, &input);
        for _ in 0..ticks {
            fleet.tick().iter().for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
        }
        writer.flush();
    };
    pumps(450);
    let daemon = setup.start_with("a", &environment);
    setup.wait_until_read();
    wait_for("the models to be counted", 30, || (trained(&daemon) == f64::from(PUMPS)).then_some(()));
    let before = daemon.resident();
    let writer = Writer::to(bootstrap, &input);
    for key in 0..keys {
        let value = format!("{{\"ts\":{},\"values\":{{\"temperature\":{}}}}}", 1_760_001_000_000 + key, key % 100);
        writer.send(Some(&format!("once-{key}")), Some(value.as_bytes()));
    }
    writer.flush();
    setup.wait_until_read();
    let known =
        || daemon.metric("offkey_entities{state=\"probation\"}") + daemon.metric("offkey_entities_out_of_memory");
    wait_for("the keys to be counted", 30, || (known() == keys as f64).then_some(()));
    pumps(50);
    setup.wait_until_read();
    let grown = daemon.resident().saturating_sub(before);
    println!("{keys} keys: {} MiB more resident, of {} MiB before", grown >> 20, before >> 20);
    assert!(grown < WORKING + 200 * keys, "{grown} bytes");
    for daemon in [daemon, setup.start_with("b", &environment)] {
        wait_for("the models to be counted", 120, || (trained(&daemon) == f64::from(PUMPS)).then_some(()));
        assert_eq!(daemon.metric("offkey_evictions_total"), 0.0);
        assert!(daemon.metric("offkey_entities{state=\"probation\"}") <= f64::from(PUMPS));
        assert!(daemon.metric("offkey_entity_memory_bytes") < f64::from(64 << 20));
        assert_no_divergence(&[&daemon]);
        // No goodbye: the next one restores a million keys that it will never see again.
        daemon.kill();
    }
}
