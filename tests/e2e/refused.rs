//! A broker that refuses what it is sent: everything for a while, or one record for ever.

use crate::broker::{create_topic, create_topic_with, shared};
use crate::checker::{check_at_the_end, check_places};
use crate::daemon::{Setup, unique};
use crate::endtxn::broker_behind;
use crate::faults::{assert_no_divergence, produce, produce_behind};
use crate::fleet::Fleet;
use crate::proxy::{Fault, Proxy, api, code};
use crate::topic::Writer;
use crate::wait_for;
use crate::watcher::Watcher;
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::{Duration, Instant};

/// Error, and for how many seconds every Produce is answered with it. Longer than a transaction may last is longer than the
/// client tries again by itself.
const REFUSALS: [(i16, u64); 5] = [
    (code::NOT_ENOUGH_REPLICAS, 10),
    (code::KAFKA_STORAGE_ERROR, 3),
    (code::MESSAGE_TOO_LARGE, 3),
    (code::TOPIC_AUTHORIZATION_FAILED, 3),
    (code::UNKNOWN_SERVER_ERROR, 3),
];

#[test]
fn a_broker_that_takes_nothing_for_a_while_is_waited_for() {
    let (proxy, listener) = Proxy::listen();
    let (broker, upstream) = broker_behind(&proxy);
    let refusing = Arc::new(AtomicI16::new(0));
    let rule = {
        let refusing = Arc::clone(&refusing);
        move |request| match refusing.load(Ordering::SeqCst) {
            code if code != 0 && request == api::PRODUCE => Fault::Refuse(code),
            _ => Fault::Pass,
        }
    };
    proxy.connect(listener, upstream, rule);
    let input = unique("refused");
    create_topic(&broker.bootstrap, &input, 4);
    let mut setup = Setup::new(&broker.bootstrap, "refused", &input);
    setup.brokers = proxy.bootstrap.clone();
    setup.transaction_timeout = "6s";
    setup.create_outputs();
    let watcher = Watcher::start(&setup);
    let mut sent = 1_200;
    produce(&broker.bootstrap, &input, sent, 50_000).join().unwrap();
    let mut daemon = setup.start("a");
    daemon.wait_until_ready();
    for (code, seconds) in REFUSALS {
        let producing = produce_behind(sent, &broker.bootstrap, &input, 150, 1_200);
        sent += 150;
        std::thread::sleep(Duration::from_millis(500));
        let (before, since) = (proxy.faults(), Instant::now());
        refusing.store(code, Ordering::SeqCst);
        wait_for("a refused Produce", 30, || (proxy.faults() > before).then_some(()));
        if seconds > 6 {
            wait_for("the daemon to tell that it is not ready", 30, || (!daemon.is_ready()).then_some(()));
            println!("not ready after {:.1?}: {}", since.elapsed(), daemon.why_not_ready());
        }
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(since.elapsed()));
        assert_eq!(daemon.has_ended(), None, "error {code}: {}", daemon.log());
        refusing.store(0, Ordering::SeqCst);
        let since = Instant::now();
        producing.join().unwrap();
        setup.wait_until_read();
        daemon.wait_until_ready();
        println!("error {code} for {seconds} s; {:.1?} later everything was read", since.elapsed());
        watcher.assert_content();
    }
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    watcher.finish(&setup);
    check_at_the_end(&setup);
}

/// Rows of two machines; one of them has so many channels, with names so long, that its alerts are larger than a topic takes.
fn produce_with_a_wide_one(bootstrap: &str, input: &str) {
    let writer = Writer::to(bootstrap, input);
    let mut fleet = Fleet::new(3, 2);
    for row in (0..1_400).flat_map(|_| fleet.tick()) {
        let json = if row.entity == "pump-0" {
            let name =
                |n: u64| (1..14u64).map(|k| format!("{:016x}", k * (n + 7) * 0x9e37_79b9_7f4a)).collect::<String>();
            let value = |n: u64| row.values[n as usize % row.values.len()] + n as f64;
            let values: Vec<String> = (0..100).map(|n| format!("\"{}\":{}", name(n), value(n))).collect();
            format!("{{\"ts\":{},\"values\":{{{}}}}}", row.millis, values.join(","))
        } else {
            row.json()
        };
        writer.send(Some(&row.entity), Some(json.as_bytes()));
    }
    writer.flush();
}

#[test]
fn an_alert_that_its_topic_would_not_take_is_told_with_fewer_channels() {
    let bootstrap = shared();
    let input = unique("wide");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "wide", &input);
    create_topic_with(bootstrap, &setup.topic("alerts"), 1, &[("max.message.bytes", "20000")]);
    produce_with_a_wide_one(bootstrap, &input);
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    check_places(&setup);
    let alerts = setup.values("alerts");
    let wide: Vec<&String> = alerts.iter().filter(|alert| alert.contains("\"entity\":\"pump-0\"")).collect();
    assert!(!wide.is_empty(), "no alert of the wide machine: this shows nothing");
    assert!(wide.iter().all(|alert| alert.len() < 20_000 && alert.contains("\"channels_omitted\":")), "{wide:?}");
}

#[test]
fn a_topic_that_takes_less_than_a_large_batch_gets_smaller_batches() {
    let bootstrap = shared();
    let input = unique("batches");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "batches", &input);
    create_topic_with(bootstrap, &setup.topic("scores"), 1, &[("max.message.bytes", "20000")]);
    produce(bootstrap, &input, 200, 50_000).join().unwrap();
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    check_places(&setup);
}
