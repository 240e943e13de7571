//! `/readyz` means progress, and names what is in its way; `/healthz` is about the process alone.

use crate::broker::{Broker, create_topic, free_port, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::Writer;
use crate::wait_for;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

fn rows(n: usize) -> impl Iterator<Item = (String, String)> {
    let mut fleet = Fleet::new(1, 2);
    (0..n).flat_map(move |_| fleet.tick()).map(|row| (row.entity.clone(), row.json()))
}

fn transactional(bootstrap: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "300000")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

#[test]
fn an_idle_daemon_without_its_broker_is_not_ready_but_healthy_and_comes_back() {
    let mut broker = Broker::start("4.0.0");
    let input = unique("away");
    create_topic(&broker.bootstrap, &input, 2);
    let setup = Setup::new(&broker.bootstrap, "away", &input);
    let writer = Writer::to(&broker.bootstrap, &input);
    rows(50).for_each(|(key, value)| writer.send(Some(&key), Some(value.as_bytes())));
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    setup.wait_until_read();
    broker.kill();
    wait_for("it to notice", 180, || {
        Some(daemon.why_not_ready()).filter(|why| why.contains("no broker has answered for"))
    });
    assert_eq!(daemon.ask("/healthz").unwrap().0, 200);
    assert!(daemon.metric("offkey_kafka_errors_total{kind=\"transport\"}") > 0.0);
    broker.resume();
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn offsets_that_stay_unstable_are_named() {
    let bootstrap = shared();
    let input = unique("unstable");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "unstable", &input);
    // Somebody commits the group's offsets in a transaction and does not end it.
    let member: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", &setup.name).create().unwrap();
    let stranger = transactional(bootstrap, &unique("stranger"));
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&input, 0, Offset::Offset(0)).unwrap();
    let group = member.group_metadata().unwrap();
    stranger.send_offsets_to_transaction(&offsets, &group, Duration::from_secs(30)).unwrap();
    let daemon = setup.start("a");
    let why = wait_for("the symptom", 120, || Some(daemon.why_not_ready()).filter(|why| why.contains("unstable")));
    assert!(why.contains("0 of 1 assigned partitions are live"), "{why}");
    let (passed, said) = setup.check("a");
    assert!(!passed && said.contains("unstable"), "{said}");
    stranger.abort_transaction(Duration::from_secs(30)).unwrap();
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn the_marker_that_ends_a_transactional_input_is_no_lag() {
    let bootstrap = shared();
    let input = unique("marked");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "marked", &input);
    let producer = transactional(bootstrap, &unique("source"));
    for (key, value) in rows(100) {
        producer.send(BaseRecord::to(&input).key(&key).payload(&value)).unwrap();
    }
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    wait_for("all rows", 120, || (daemon.metric("offkey_rows_total") == 200.0).then_some(()));
    let lag = format!("offkey_lag_records{{partition=\"0\",topic=\"{input}\"}}");
    wait_for("no lag", 60, || daemon.get("/metrics")?.contains(&format!("{lag} 0")).then_some(()));
    daemon.stop();
}

#[test]
fn a_fleet_that_ends_its_warm_up_at_once_is_committed_all_the_while() {
    const MACHINES: usize = 24;
    let bootstrap = shared();
    let input = unique("at-once");
    create_topic(bootstrap, &input, 1);
    let mut setup = Setup::new(bootstrap, "at-once", &input);
    setup.warmup = 400;
    let writer = Writer::to(bootstrap, &input);
    // Machines on one clock come to their four hundredth row within two dozen records; wide ones take long to fit.
    for row in 0..405 {
        let values: Vec<String> = (0..32).map(|c| format!("\"c{c}\":{}", (row * (c + 1)) % 17 + c * row % 5)).collect();
        let value = format!("{{\"ts\":{},\"values\":{{{}}}}}", 1_760_000_000_000i64 + row * 1000, values.join(","));
        (0..MACHINES).for_each(|machine| writer.send(Some(&format!("wide-{machine}")), Some(value.as_bytes())));
    }
    writer.flush();
    let daemon = setup.start("a");
    let mut commits_by_ready = std::collections::BTreeMap::new();
    wait_for("every model to be fitted", 180, || {
        daemon.get("/metrics")?;
        let ready = daemon.metric("offkey_entities{state=\"ready\"}") as usize;
        commits_by_ready.entry(ready).or_insert(daemon.metric("offkey_commits_total{outcome=\"ok\"}") as u64);
        (ready == MACHINES).then_some(())
    });
    let on_the_way: Vec<u64> = commits_by_ready
        .into_iter()
        .filter(|(ready, _)| (1..MACHINES).contains(ready))
        .map(|(_, commits)| commits)
        .collect();
    assert!(on_the_way.len() >= 3, "it was committed between fits at {on_the_way:?} only");
    assert!(on_the_way.windows(2).all(|pair| pair[0] < pair[1]), "{on_the_way:?}");
    daemon.stop();
}

#[test]
fn a_broker_that_was_never_there_is_named_with_the_reason_and_counted() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new(&nobody, "nobody", "nothing");
    let daemon = setup.start("a");
    let why = wait_for("the reason", 60, || Some(daemon.why_not_ready()).filter(|why| why.contains(&nobody)));
    assert!(why.contains("Connection refused"), "{why}");
    assert!(daemon.log().contains(&nobody));
    assert!(daemon.metric("offkey_kafka_errors_total{kind=\"transport\"}") > 0.0);
    daemon.stop();
}
