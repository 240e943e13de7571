//! Delivery without transactions: after a kill records are told again, in the same words, and nothing else differs.

use crate::broker::{create_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::faults::{MACHINES, produce};
use crate::{rounds, seed};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

const DELIVERY: (&str, &str) = ("OFFKEY__KAFKA__DELIVERY", "at_least_once");

#[test]
fn without_transactions_kills_repeat_what_was_told_and_change_nothing_else() {
    let bootstrap = shared();
    let input = unique("repeated");
    create_topic(bootstrap, &input, 4);
    let setup = Setup::new(bootstrap, "at-least-once", &input);
    let kills = rounds(4, 30);
    let mut rng = Pcg32::seed_from_u64(seed("at-least-once"));
    let start = |instance| setup.start_with(instance, &[DELIVERY]);
    let producing = produce(bootstrap, &input, u64::from(kills) * 200 + 800, 1_500);
    // The moments at which what was told is not yet noted.
    for place in ["after_outputs:20", "after_snapshots:20", "after_outputs:30"] {
        let mut daemon = setup.start_with("a", &[DELIVERY, ("OFFKEY_CRASH_AT", place)]);
        assert_eq!(daemon.wait(120).signal(), Some(9), "it did not die at {place}\n{}", daemon.log());
    }
    let mut daemons = vec![start("a"), start("b")];
    daemons.iter().for_each(Daemon::wait_until_ready);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(u64::from(1_000 + rng.next_u32() % 2_000)));
        let who = (rng.next_u32() % 2) as usize;
        daemons.remove(who).kill();
        daemons.insert(who, start(["a", "b"][who]));
        daemons[who].wait_until_ready();
    }
    producing.join().unwrap();
    setup.wait_until_read();
    let replayed: u64 = daemons.iter().map(Daemon::n_replayed).sum();
    assert!(replayed > 0, "no kill has cost anything that had to be read again: this shows nothing");
    daemons.into_iter().for_each(Daemon::stop);

    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("only");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores", "dead"] {
        let (mut ours, mut theirs) = (setup.values(which), undisturbed.values(which));
        // Bad records are all alike.
        theirs.dedup();
        let n_told = ours.len();
        ours.dedup();
        println!("{which}: {} of {n_told} told again", n_told - ours.len());
        assert!(which != "scores" || n_told > ours.len(), "nothing was told twice: this shows nothing");
        let (more, less) = (without(&ours, &theirs), without(&theirs, &ours));
        assert!(!theirs.is_empty() && more.is_empty() && less.is_empty(), "{which}: {more:#?} and not {less:#?}");
    }
    let (ours, theirs) = (setup.snapshots(), undisturbed.snapshots());
    assert_eq!(theirs.len(), MACHINES as usize);
    assert!(theirs.iter().all(|(key, state)| ours.get(key) == Some(state)), "another state");
}

/// The first few of these that are not among those.
fn without<'a>(these: &'a [String], those: &[String]) -> Vec<&'a String> {
    these.iter().filter(|value| those.binary_search(value).is_err()).take(3).collect()
}
