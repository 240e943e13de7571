//! Answers and requests of a transaction that are late or lost: the hole of the older protocol, which one strike closes.

use crate::broker::{Broker, create_topic};
use crate::daemon::{Setup, unique};
use crate::faults::{assert_no_divergence, compare, produce};
use crate::proxy::{Fault, Proxy, api};
use crate::{rounds, seed};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::sync::Mutex;
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
    let producing = produce(&broker.bootstrap, &input, u64::from(rounds(1_500, 10_000)), 1_500);
    let daemon = setup.start("a");
    producing.join().unwrap();
    // A machine that is slow makes few and large epochs: it is given more of them.
    while proxy.faults() <= 20 {
        produce(&broker.bootstrap, &input, 100, 1_500).join().unwrap();
    }
    setup.wait_until_read();
    daemon.wait_until_ready();
    assert!(daemon.metric("offkey_producer_renewals_total") > 0.0);
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    compare(&setup);
}
