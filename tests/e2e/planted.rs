//! Bugs on purpose, each of which has to turn a test red: a harness that cannot fail shows nothing.

use std::process::Command;

/// Bug, and the test that has to notice.
const BUGS: [(&str, &str); 4] = [
    ("offsets_outside", "failpoints::dying_at_any_named_place_changes_nothing"),
    ("snapshot_late", "faults::kills_at_any_moment_change_nothing_that_anybody_sees"),
    ("emit_in_replay", "faults::kills_at_any_moment_change_nothing_that_anybody_sees"),
    ("no_strike", "endtxn::late_and_lost_ends_of_transactions_change_nothing"),
];

#[test]
fn every_planted_bug_is_found() {
    if std::env::var_os("OFFKEY_LONG").is_none() {
        println!("SKIPPED: planted bugs take long; OFFKEY_LONG=1 runs them");
        return;
    }
    for (bug, test) in BUGS {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("OFFKEY_PLANT", bug)
            .env_remove("OFFKEY_LONG")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(told.contains("running 1 test"), "{test} is not there");
        assert!(!run.status.success(), "{test} did not notice {bug}");
        // Red for its own reason, not because something did not start.
        let reasons = ["differ", "records in", "replay_divergence", "left == right", "did not give"];
        assert!(reasons.iter().any(|reason| told.contains(reason)), "{bug} was noticed by accident:\n{told}");
    }
}
