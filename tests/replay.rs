//! `offkey replay` as a person runs it: what it leaves of the files that were there before.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const OUTPUTS: [(&str, &str); 4] = [
    ("--scores", "scores.csv"),
    ("--alerts", "alerts.jsonl"),
    ("--report", "page.html"),
    ("--save-state", "state.bin"),
];

fn replay(folder: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
    command.current_dir(folder).args(["replay", input]);
    command.args(OUTPUTS.iter().flat_map(|(option, file)| [option, file])).output().unwrap()
}

/// Runs `offkey` in a folder: its code, and what it said on stderr.
fn offkey(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_offkey")).current_dir(folder).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_replay_that_fails_leaves_the_older_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows: String = (0..100).map(|row| format!("{row},{}\n", row % 7)).collect();
    std::fs::write(folder.join("good.csv"), format!("timestamp,x\n{rows}")).unwrap();
    std::fs::write(folder.join("bad.csv"), format!("timestamp,x\n{rows}100,abc\n")).unwrap();
    OUTPUTS.iter().for_each(|(_, file)| std::fs::write(folder.join(file), "older").unwrap());
    let there = names(folder);
    let failed = replay(folder, "bad.csv");
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    for (_, file) in OUTPUTS {
        assert_eq!(std::fs::read(folder.join(file)).unwrap(), b"older", "{file}");
    }
    assert_eq!(names(folder), there, "nothing is left behind");
    assert!(replay(folder, "good.csv").status.success());
    for (_, file) in OUTPUTS {
        assert_ne!(std::fs::read(folder.join(file)).unwrap(), b"older", "{file}");
    }
    assert_eq!(names(folder), there);
}

#[cfg(unix)]
#[test]
fn an_output_may_be_a_link_or_no_file_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("elsewhere")).unwrap();
    std::fs::write(folder.join("elsewhere/scores.csv"), "older").unwrap();
    std::os::unix::fs::symlink("elsewhere/scores.csv", folder.join("scores.csv")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.join("alerts.jsonl")).unwrap();
    std::fs::write(folder.join("good.csv"), "timestamp,x\n0,1\n1,2\n").unwrap();
    assert!(replay(folder, "good.csv").status.success());
    for link in ["scores.csv", "alerts.jsonl"] {
        assert!(folder.join(link).is_symlink(), "{link}");
    }
    assert!(std::fs::read_to_string(folder.join("elsewhere/scores.csv")).unwrap().starts_with("row,timestamp"));
}

#[test]
fn a_warm_up_is_as_long_as_a_configuration_may_have_it() {
    for rows in ["0", "99", "1000001"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
        let output = command.args(["replay", "rows.csv", "--warmup-rows", rows]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("{rows} is not within 100 and 1000000")), "{told}");
    }
}

#[test]
fn columns_are_selected_as_the_daemon_selects_channels() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let value = |row: u32| f64::from(row * 7919 % 101) / 101.0 + if row % 300 > 290 { 9.0 } else { 0.0 };
    let rows = |line: &dyn Fn(u32) -> String| (0..900).map(line).collect::<String>();
    let wide = rows(&|row| format!("{row},text,{},{}\n", value(row), value(row * row % 1_013)));
    let narrow = rows(&|row| format!("{row},{}\n", value(row)));
    std::fs::create_dir(folder.join("narrow")).unwrap();
    std::fs::write(folder.join("pump.csv"), format!("timestamp,note,c1,d1\n{wide}")).unwrap();
    std::fs::write(folder.join("narrow/pump.csv"), format!("timestamp,c1\n{narrow}")).unwrap();
    std::fs::write(folder.join("some.toml"), "[input]\nchannels = [\"c*\"]").unwrap();
    std::fs::write(folder.join("none.toml"), "[input]\nchannels = [\"zzz\"]").unwrap();
    for (file, alerts, state) in [("pump.csv", "a.jsonl", "a.bin"), ("narrow/pump.csv", "b.jsonl", "b.bin")] {
        let told = offkey(folder, &["replay", file, "-c", "some.toml", "--alerts", alerts, "--save-state", state]);
        assert_eq!(told, (Some(0), String::new()));
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(!read("a.jsonl").is_empty());
    assert_eq!(read("a.jsonl"), read("b.jsonl"));
    assert_eq!(read("a.bin"), read("b.bin"));
    let (code, told) = offkey(folder, &["replay", "pump.csv", "-c", "none.toml"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("pump.csv: input.channels (`zzz`) selects none of its columns"), "{told}");
}

#[test]
fn no_output_is_written_over_the_configuration_or_another_output() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("seed.csv"), "timestamp,x\n0,1\n1,2\n").unwrap();
    std::fs::write(folder.join("my.toml"), "[model]\nseed = 7\n").unwrap();
    for (option, _) in OUTPUTS {
        for config in ["my.toml", "./my.toml"] {
            let (code, told) = offkey(folder, &["replay", "seed.csv", "-c", "my.toml", option, config]);
            assert_eq!(code, Some(1), "{option} {config}");
            assert!(told.contains(&format!("{config}: it is an input, and would be overwritten")), "{told}");
        }
    }
    assert_eq!(std::fs::read(folder.join("my.toml")).unwrap(), b"[model]\nseed = 7\n");
    for other in ["./u.json", ".//u.json", "../"] {
        let other = if other == "../" {
            format!("../{}/u.json", folder.file_name().unwrap().to_str().unwrap())
        } else {
            other.to_owned()
        };
        let (code, told) = offkey(folder, &["replay", "seed.csv", "--scores", "u.json", "--alerts", &other]);
        assert_eq!(code, Some(1), "{other}");
        assert!(told.contains("two outputs cannot be one file"), "{told}");
        assert!(!folder.join("u.json").exists());
    }
}

#[test]
fn what_can_be_no_entity_and_no_topic_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("seed.csv"), "timestamp,x\n0,1\n").unwrap();
    std::fs::write(folder.join(".csv"), "timestamp,x\n0,1\n").unwrap();
    let long = "e".repeat(513);
    for (arguments, code, expected) in [
        (&["seed.csv", "--entity", ""][..], 2, "the entity is empty"),
        (&["seed.csv", "--entity", &long], 2, "the entity has 513 bytes, more than 512"),
        (&[".csv"], 1, ".csv: the entity is empty: give it a name with --entity"),
        (&["seed.csv", "--topic", ""], 2, "is no topic name: use 1 to 249 letters"),
        (&["seed.csv", "--topic", "a b"], 2, "is no topic name: use 1 to 249 letters"),
    ] {
        let (found, told) = offkey(folder, &[&["replay"], arguments].concat());
        assert_eq!(found, Some(code), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(offkey(folder, &["replay", ".csv", "--entity", &long[1..], "--topic", "a"]).0, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn what_stdout_does_not_take_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("seed.csv"), "timestamp,x\n0,1\n").unwrap();
    for arguments in [&["schema", "alert"][..], &["replay", "seed.csv"], &["check", "--dump"], &["check"], &["version"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.current_dir(folder).args(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(told.starts_with("offkey: stdout: No space left on device"), "{arguments:?}: {told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
        let output = command.current_dir(folder).args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}
