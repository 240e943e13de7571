//! Answers and requests of a transaction that are late or lost: the hole of the older protocol, which one strike closes.

use crate::broker::{Broker, create_topic};
use crate::checker::check_at_the_end;
use crate::daemon::{Setup, unique};
use crate::faults::{assert_no_divergence, compare, produce, produce_behind};
use crate::proxy::{Fault, Gate, Proxy, api};
use crate::watcher::Watcher;
use crate::{rounds, seed};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Every fourth request that decides something has a fault, every fiftieth of the others.
fn chances(seed: u64) -> impl Fn(i16) -> Fault + Send + Sync {
    let rng = Mutex::new(Pcg32::seed_from_u64(seed));
    move |api| {
        let one_in = match api {
            api::END_TXN | api::TXN_OFFSET_COMMIT => 4,
            api::PRODUCE | api::ADD_PARTITIONS | api::ADD_OFFSETS | api::INIT_PRODUCER_ID => 50,
            _ => return Fault::Pass,
        };
        let mut rng = rng.lock().unwrap();
        if rng.next_u32() % one_in != 0 {
            return Fault::Pass;
        }
        let late = Duration::from_millis(u64::from(20 + rng.next_u32() % 1_200));
        match rng.next_u32() % 5 {
            0 => Fault::LoseRequest,
            1 => Fault::LoseAnswer,
            2 => Fault::Delay(late),
            _ => Fault::Hold(late),
        }
    }
}

/// A broker whose clients at `proxy.bootstrap` pass through the proxy, and those at its own address do not.
pub fn broker_behind(proxy: &Proxy) -> (Broker, String) {
    let inner = crate::broker::free_port();
    let broker = Broker::start_with("4.4.0", |port, controller| {
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},PROXY://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXY://127.0.0.1:{}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXY:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n",
            proxy.port
        )
    });
    (broker, format!("127.0.0.1:{inner}"))
}

#[test]
fn late_and_lost_ends_of_transactions_change_nothing() {
    let (proxy, listener) = Proxy::listen();
    let (broker, upstream) = broker_behind(&proxy);
    proxy.connect(listener, upstream, chances(seed("ends of transactions")));
    let input = unique("late");
    create_topic(&broker.bootstrap, &input, 4);
    let mut setup = Setup::new(&broker.bootstrap, "late", &input);
    setup.brokers = proxy.bootstrap.clone();
    let mut sent = u64::from(rounds(1_500, 10_000));
    let producing = produce(&broker.bootstrap, &input, sent, 1_500);
    let daemon = setup.start("a");
    producing.join().unwrap();
    // A machine that is slow makes few and large epochs: it is given more of them.
    while proxy.faults() <= 20 {
        produce_behind(sent, &broker.bootstrap, &input, 100, 1_500).join().unwrap();
        sent += 100;
    }
    setup.wait_until_read();
    daemon.wait_until_ready();
    assert!(daemon.metric("offkey_producer_renewals_total") > 0.0);
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}

/// What an older protocol does when the end of one transaction arrives in the next, played step by step.
enum Stage {
    /// So many ends to let pass.
    Waiting(u32),
    /// An end is held, and asked for again.
    Held(Arc<Gate>),
    /// The copy was answered: the next transaction is under way.
    Answered(Arc<Gate>),
}

/// Every fifth end of a transaction is held until the outputs of the next one are written and its offsets are not.
fn hold_ends_into_the_next(held: Arc<Mutex<u32>>) -> impl Fn(i16) -> Fault + Send + Sync {
    let stage = Mutex::new(Stage::Waiting(4));
    move |api| {
        let mut stage = stage.lock().unwrap();
        let (next, fault) = match (&*stage, api) {
            (Stage::Waiting(0), api::END_TXN) => {
                let gate = Arc::<Gate>::default();
                (Stage::Held(Arc::clone(&gate)), Fault::HoldBehind(gate))
            }
            (Stage::Waiting(n), api::END_TXN) => (Stage::Waiting(n - 1), Fault::Pass),
            (Stage::Held(gate), api::END_TXN) => (Stage::Answered(Arc::clone(gate)), Fault::Pass),
            (Stage::Answered(gate), api::TXN_OFFSET_COMMIT) => {
                gate.open();
                *held.lock().unwrap() += 1;
                (Stage::Waiting(4), Fault::Delay(Duration::from_millis(300)))
            }
            _ => return Fault::Pass,
        };
        *stage = next;
        fault
    }
}

#[test]
fn an_end_that_arrives_in_the_next_transaction_changes_nothing() {
    let (proxy, listener) = Proxy::listen();
    let (broker, upstream) = broker_behind(&proxy);
    let held = Arc::<Mutex<u32>>::default();
    proxy.connect(listener, upstream, hold_ends_into_the_next(Arc::clone(&held)));
    let input = unique("next");
    create_topic(&broker.bootstrap, &input, 4);
    let mut setup = Setup::new(&broker.bootstrap, "next", &input);
    setup.brokers = proxy.bootstrap.clone();
    setup.create_outputs();
    let watcher = Watcher::start(&setup);
    let mut sent = 1_200;
    let producing = produce(&broker.bootstrap, &input, sent, 3_000);
    let daemon = setup.start("a");
    producing.join().unwrap();
    while *held.lock().unwrap() < rounds(5, 50) {
        produce_behind(sent, &broker.bootstrap, &input, 20, 1_500).join().unwrap();
        sent += 20;
        watcher.assert_content();
    }
    setup.wait_until_read();
    assert!(daemon.metric("offkey_producer_renewals_total") >= 5.0);
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    watcher.finish(&setup);
    check_at_the_end(&setup);
}
