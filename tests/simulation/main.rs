//! The product's own lanes and epoch protocol on a broker in memory: hundreds of seeds, a fault at any step. What readers of
//! committed records see, and the state in the end, equal an undisturbed run. A failing seed is printed; `OFFKEY_SIM_SEED=n`
//! repeats it.

#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod plan;
mod world;

use offkey::lane::effects::Stream;
use plan::Plan;
use std::collections::BTreeSet;
use world::World;

#[test]
fn a_state_topic_that_is_deleted_costs_nothing_while_its_lanes_live() {
    let (plain, capped) = (Plan::new(1_000), Plan::new(1));
    let expected = {
        let mut world = World::new(&plain, 0);
        world.finish();
        world.seen()
    };
    let mut n_lost = 0;
    for seed in 0..60 {
        let mut world = World::new(if seed % 2 == 0 { &plain } else { &capped }, seed);
        let mut next = 100;
        for at in 0..900 {
            world.tick();
            if at >= next && world.lose_state() {
                (next, n_lost) = (at + 100, n_lost + 1);
            }
        }
        world.finish();
        assert!(world.seen().0 == expected.0, "seed {seed}: readers saw something else");
        assert!(world.seen().1 == expected.1, "seed {seed}: the state is another");
    }
    assert!(n_lost > 30, "lost {n_lost} times: this shows little");
}

#[test]
fn whatever_happens_readers_see_the_undisturbed_run() {
    let (plain, capped) = (Plan::new(1_000), Plan::new(1));
    let expected = {
        let mut world = World::new(&plain, 0);
        world.finish();
        world.seen()
    };
    let n_alerts = expected.0.iter().filter(|(stream, ..)| *stream == Stream::Alerts).count();
    assert!(n_alerts > 4, "{n_alerts} alerts in {} outputs", expected.0.len());
    let ends =
        expected.0.iter().filter(|(stream, _, value)| *stream == Stream::Alerts && has(value, r#""cause":"ended""#));
    assert!(ends.count() > 0, "no alert ends with its entity");
    assert!(expected.1.len() >= 4, "{} states", expected.1.len());
    let seeds = match std::env::var("OFFKEY_SIM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => seed..seed + 1,
        None if std::env::var_os("OFFKEY_LONG").is_some() => 0..2_000,
        None => 0..120,
    };
    let (mut n_faults, mut told) = (0, BTreeSet::new());
    let is_whole = seeds.end - seeds.start > 1;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(if seed % 2 == 0 { &plain } else { &capped }, seed);
            (0..900).for_each(|_| world.tick());
            world.finish();
            assert!(world.seen().0 == expected.0, "readers saw something else");
            assert!(world.seen().1 == expected.1, "the state is another");
            (world.n_faults, world.told)
        });
        match run {
            Ok((faults, commands)) => {
                n_faults += faults;
                told.extend(commands);
            }
            Err(_) => panic!("OFFKEY_SIM_SEED={seed} repeats it"),
        }
    }
    println!("{n_faults} faults; commands: {told:?}");
    let all = [
        "(rebuilt)",
        "AckRevoke",
        "Commit",
        "Count",
        "Cut",
        "Drop",
        "EndProducer",
        "GoLive",
        "Look",
        "NotePlace",
        "Park",
        "PauseAll",
        "Restore",
        "Rival",
        "Stopped",
        "TroubleIsOver",
        "WriteBarriers",
    ];
    assert!(!is_whole || all.iter().all(|command| told.contains(*command)), "some commands never came: {told:?}");
}

#[test]
fn a_change_of_terms_is_what_it_is_without_a_crash() {
    let (plain, capped) = (Plan::new(1_000), Plan::new(1));
    let seeds = if std::env::var_os("OFFKEY_LONG").is_some() { 0..1_000 } else { 0..60 };
    let mut n_switches = 0;
    for seed in seeds {
        let mut world = World::with_changes(if seed % 2 == 0 { &plain } else { &capped }, seed);
        (0..900).for_each(|_| world.tick());
        world.finish();
        let (seen, expected) = (world.seen(), world.expected());
        assert!(seen.0 == expected.0, "seed {seed}: readers saw something else");
        assert!(seen.1 == expected.1, "seed {seed}: the state is another");
        n_switches += world.n_switches();
    }
    assert!(n_switches > 300, "{n_switches} changes: this shows little");
}

fn has(value: &Option<Vec<u8>>, text: &str) -> bool {
    value.as_deref().is_some_and(|value| String::from_utf8_lossy(value).contains(text))
}

/// Each planted bug turns the simulation red, or it is worth nothing.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    if std::env::var_os("OFFKEY_PLANT").is_some() {
        return;
    }
    let bugs = ["offsets_outside", "no_strike", "snapshot_late", "emit_in_replay", "commit_lost_lane"];
    for bug in bugs {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "whatever_happens_readers_see_the_undisturbed_run", "--nocapture"])
            .env("OFFKEY_PLANT", bug)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("OFFKEY_SIM_SEED="), "nobody noticed {bug}: {told}");
    }
}
