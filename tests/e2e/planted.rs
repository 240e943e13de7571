//! Bugs on purpose, each of which has to turn a test red, and by its own complaint: a harness that cannot fail shows nothing.

use std::process::Command;

/// Bug, the test that has to notice, and how its complaint may begin. A real client that was to go on after a failed transaction
/// (`no_strike`, in the simulation) would only stand still: here it goes on after one that was slow.
const BUGS: [(&str, &str, &[&str]); 5] = [
    ("offsets_outside", "failpoints::dying_at_any_named_place_changes_nothing", &["half an epoch"]),
    (
        "no_strike_when_slow",
        "endtxn::an_end_that_arrives_in_the_next_transaction_changes_nothing",
        &["told twice", "lost"],
    ),
    (
        "snapshot_late",
        "faults::kills_at_any_moment_change_nothing_that_anybody_sees",
        &["diverged", "not those of a replay", "another state"],
    ),
    ("emit_in_replay", "faults::kills_at_any_moment_change_nothing_that_anybody_sees", &["told twice"]),
    ("commit_lost_lane", "faults::a_zombie_that_wakes_up_says_nothing_twice", &["told twice", "moved back"]),
];

/// Some bugs show only if a process was stopped in the middle of an epoch, which is chance.
const ATTEMPTS: usize = 3;

/// What a test said, if it failed with this bug in the daemon.
fn told_if_red(bug: &str, test: &str) -> Option<String> {
    let mut run = Command::new(std::env::current_exe().unwrap());
    let run = run.args(["--exact", test]).env("OFFKEY_PLANT", bug).env_remove("OFFKEY_LONG").output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(told.contains("running 1 test"), "{test} is not there");
    (!run.status.success()).then_some(told)
}

/// `OFFKEY_PLANT_ONLY` names one of them.
#[test]
fn every_planted_bug_is_found() {
    if std::env::var_os("OFFKEY_LONG").is_none() {
        println!("SKIPPED: planted bugs take long; OFFKEY_LONG=1 runs them");
        return;
    }
    let only = std::env::var("OFFKEY_PLANT_ONLY").ok();
    for (bug, test, complaints) in BUGS.iter().filter(|(bug, ..)| only.as_deref().is_none_or(|only| only == *bug)) {
        let noticed = (0..ATTEMPTS).find_map(|_| told_if_red(bug, test));
        let told = noticed.unwrap_or_else(|| panic!("{test} did not notice {bug}"));
        // Red for its own reason, not because something did not start: the panic's own text, not a daemon's log.
        let panics: Vec<&str> = told
            .split("panicked at ")
            .skip(1)
            .filter_map(|panic| panic.split_once('\n'))
            .map(|(_, text)| text)
            .collect();
        let begins =
            |text: &&str| complaints.iter().any(|complaint| text.lines().take(3).any(|line| line.contains(complaint)));
        let reason = panics.iter().find(|text| begins(text));
        let reason = reason.unwrap_or_else(|| panic!("{bug} was noticed by accident:\n{told}"));
        println!("{bug}: {}", reason.lines().next().unwrap_or_default());
    }
}
