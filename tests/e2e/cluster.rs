//! Three nodes: the coordinators of the group and of the transactions move, and nothing is lost. Long.

use crate::broker::{Broker, create_topic_on, free_port};
use crate::daemon::{Setup, unique};
use crate::faults::{assert_no_divergence, compare, produce};
use crate::{rounds, wait_for};
use std::time::Duration;

fn three() -> Vec<Broker> {
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let voters: Vec<String> =
        ports.iter().enumerate().map(|(n, (_, controller))| format!("{}@127.0.0.1:{controller}", n + 1)).collect();
    let properties = |n: usize| {
        format!(
            "node.id={}\ncontroller.quorum.voters={}\ndefault.replication.factor=3\nmin.insync.replicas=2\n\
             offsets.topic.replication.factor=3\ntransaction.state.log.replication.factor=3\ntransaction.state.log.min.isr=2\n",
            n + 1,
            voters.join(",")
        )
    };
    // None is ready before two are there.
    let mut nodes: Vec<Broker> =
        ports.iter().enumerate().map(|(n, ports)| Broker::prepare("4.4.0", *ports, properties(n))).collect();
    nodes.iter_mut().for_each(Broker::launch);
    nodes.iter().for_each(Broker::wait_until_ready);
    nodes
}

#[test]
fn coordinators_that_move_lose_nothing() {
    if std::env::var_os("OFFKEY_LONG").is_none() {
        println!("SKIPPED: three nodes take long; OFFKEY_LONG=1 runs them");
        return;
    }
    let mut nodes = three();
    let bootstrap = nodes.iter().map(|node| node.bootstrap.clone()).collect::<Vec<_>>().join("\",\"");
    let plain = bootstrap.replace('"', "");
    let input = unique("moved");
    wait_for("three nodes", 180, || create_topic_on(&plain, &input, 4, 3));
    let mut setup = Setup::new(&plain, "moved", &input);
    setup.brokers = bootstrap;
    setup.session_timeout = "45s";
    let producing = produce(&plain, &input, 4_000, 1_000);
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    // Whichever node coordinates the group or the transactions, its turn comes.
    for round in 0..rounds(3, 6) as usize {
        let node = &mut nodes[round % 3];
        node.kill();
        std::thread::sleep(Duration::from_secs(5));
        node.resume();
    }
    producing.join().unwrap();
    setup.wait_until_read();
    daemon.wait_until_ready();
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}
