//! What a person sees whose configuration is wrong: the binary from outside, golden texts.

mod fields;
mod properties;
mod rules;
mod values;

use expect_test::{Expect, expect};
use std::process::{Command, Output};

fn offkey(arguments: &[&str], file: Option<(&str, &str)>, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
    command.current_dir(folder.path()).args(arguments).env("HOSTNAME", "host");
    if let Some((name, text)) = file {
        std::fs::write(folder.path().join(name), text).expect("a file in it");
        command.args(["-c", name]);
    }
    command.envs(environment.iter().copied()).output().expect("the binary runs")
}

/// Code and stderr of `offkey check` of a TOML file.
fn check(text: &str, expected: Expect) {
    check_as("offkey.toml", text, &[], expected);
}

fn check_as(name: &str, text: &str, environment: &[(&str, &str)], expected: Expect) {
    let output = offkey(&["check"], Some((name, text)), environment);
    let told = String::from_utf8_lossy(&output.stderr);
    expected.assert_eq(&format!("{}\n{told}", output.status.code().unwrap_or(-1)));
}

#[test]
fn the_defaults_are_fine_and_explained() {
    let output = offkey(&["check"], None, &[]);
    assert_eq!(output.status.code(), Some(0));
    expect![[r#"
        brokers      localhost:9092
        group        offkey as host, exactly once, every 100ms
        input        telemetry: rows as JSON, channels in `values`; a new group begins with the oldest record
        entity       the record's key; timestamp `ts` (auto)
        rows         one for every record, as they come; late ones are kept
        alerts       offkey-alerts (detector `offkey`)
        scores       off
        dead letters offkey-dead-letters
        state        offkey-state, every 30s, 10000 entities or 1024 MiB in memory
        model        sparse, up to 32 units, windows of 16 rows, warm-up 1000 rows
        rules        Rarity { level: 2.2 }, 0 channel rules, 0 overrides, 0 silences
        http         http://127.0.0.1:9464/
    "#]]
    .assert_eq(&String::from_utf8_lossy(&output.stdout));
}

#[test]
fn how_rows_are_made_is_explained() {
    let input = [("INTERVAL", "1s"), ("MAX_LATENESS", "1m"), ("LATE", "dead_letter")];
    let input: Vec<_> = input.iter().map(|(key, value)| (format!("OFFKEY__INPUT__{key}"), *value)).collect();
    let input: Vec<_> = input.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let output = offkey(&["check"], None, &input);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find(|line| line.starts_with("rows ")).unwrap_or_default();
    expect!["rows         one for every 1s, gaps filled, in order of time, up to 60s late; late ones are dead letters"]
        .assert_eq(line);
}

#[test]
fn an_unknown_key_gets_the_nearest_one() {
    check(
        "[kafka]\nbrokerz = \"a:1\"\n[wndow]\nrows = 3\n[input]\nrows = 4",
        expect![[r#"
        78
        offkey: offkey.toml has 3 mistakes:
          input.rows: unknown key; did you mean it in [warmup]?
          kafka.brokerz: unknown key; did you mean `brokers`?
          wndow: unknown key; did you mean `window`?
    "#]],
    );
}

#[test]
fn every_mistake_is_shown_at_once() {
    check(
        "[kafka]\ncommit_interval = 100\ndelivery = \"twice\"\nbrokers = [\"nowhere\"]\n[input]\nformat = 3\nstart = \"soon\"\ntopics = []\n\
         [window]\nrows = 0\n[model]\nlearning_rate = \"fast\"\n[http]\nlisten = \"here\"",
        expect![[r#"
            78
            offkey: offkey.toml has 9 mistakes:
              http.listen: `here` is no address; write address:port, such as 127.0.0.1:9464
              input.format: invalid type: integer `3`, expected a text
              input.start: `soon` is no beginning; write "earliest", "latest" or an instant such as "2026-01-01T00:00:00Z"
              input.topics: names no topic
              kafka.brokers: `nowhere` has no port; write host:port
              kafka.commit_interval: invalid type: integer `100`, expected a duration with a unit, such as "30s", "100ms" or "7d"
              kafka.delivery: unknown variant `twice`, expected `exactly_once` or `at_least_once`
              model.learning_rate: invalid type: string "fast", expected a number
              window.rows: 0 is not within 1 and 256
        "#]],
    );
}

#[test]
fn keys_that_would_have_no_effect_are_told() {
    check(
        "[model]\nkind = \"simple\"\nsparsity = \"kl\"\nsparsity_weight = 0.5",
        expect![[r#"
        78
        offkey: offkey.toml has 2 mistakes:
          model.sparsity: has no meaning for kind "simple"; take it out, or take kind "sparse"
          model.sparsity_weight: has no meaning for kind "simple"; take it out, or take kind "sparse"
    "#]],
    );
    check(
        "[kafka.properties]\nsasl.password = \"canary\"\nsasl.password_file = \"/nowhere\"\n\
         \"ssl.key.password\" = \"canary\"\nssl.key.password_file = \"/nowhere\"",
        expect![[r#"
            78
            offkey: offkey.toml has 2 mistakes:
              kafka.properties.sasl.password_file: and `sasl.password` exclude each other; take one of them out
              kafka.properties.ssl.key.password_file: and `ssl.key.password` exclude each other; take one of them out
        "#]],
    );
    check(
        "[log]\nlevel = \"5\"",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          log.level: `5` is no level; write error, warn, info, debug or trace
    "#]],
    );
    assert_eq!(offkey(&["check"], Some(("offkey.toml", "[log]\nlevel = \"WARN\"")), &[]).status.code(), Some(0));
}

#[test]
fn a_topic_has_one_use() {
    check(
        "[input]\ntopics = [\"a\", \"b c\"]\n[output]\nalerts = \"x\"\ndead_letters = \"x\"",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          input.topics: `b c` is no topic name; use 1 to 249 letters, digits, `.`, `_` and `-`
    "#]],
    );
    check(
        "[input]\ntopics = [\"a\"]\n[output]\nalerts = \"a\"",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          output.alerts: `a` is `input.topics` already; every use needs a topic of its own
    "#]],
    );
}

#[test]
fn a_file_that_is_no_file_of_ours() {
    check(
        "[kafka\nbrokers = 1",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          offkey.toml: line 1, column 7: unclosed table, expected `]`
    "#]],
    );
    check_as(
        "offkey.yaml",
        "kafka: [",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          offkey.yaml: line 2, column 1: while parsing a node, did not find expected node content
    "#]],
    );
    check_as(
        "offkey.yaml",
        "just text",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          offkey.yaml: is no table; write sections with keys
    "#]],
    );
    let output = offkey(&["check", "-c", "nowhere.toml"], None, &[]);
    assert_eq!(output.status.code(), Some(78));
    expect![[r#"
        offkey: nowhere.toml has a mistake:
          nowhere.toml: cannot be read: No such file or directory (os error 2); give the file with -c, or none for the defaults
    "#]].assert_eq(&String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_mistake_of_syntax_does_not_quote_what_may_be_a_secret() {
    let texts = [
        ("a.toml", "[kafka.properties]\nsasl.password = \"canary\n"),
        ("a.toml", "[kafka.properties]\nsasl.password = canary\n"),
        ("a.toml", "[kafka.properties]\nsasl = 1\nsasl.password = \"canary\"\n"),
        ("a.toml", "sasl.password = 7777777777777777777777\n"),
        ("a.yaml", "canary"),
        ("a.yaml", "kafka: {properties: {sasl.password: canary\n"),
        ("a.yaml", "kafka:\n  canary: 1\n  canary: 2\n"),
        ("a.yaml", "kafka:\n  ? [canary]\n  : 1\n"),
        ("a.yaml", "password: \"canary\nkafka: 1\n"),
        ("a.yaml", "password: @canary\n"),
        ("a.yaml", "--- canary\n--- canary\n"),
    ];
    for (name, text) in texts {
        let output = offkey(&["check"], Some((name, text)), &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{text}\n{told}");
        assert!(!told.contains("canary") && !told.contains("7777"), "{text}\n{told}");
    }
    check(
        "[kafka.properties]\nsasl.password = \"canary\n",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          offkey.toml: line 2, column 24: invalid basic string, expected `"`
    "#]],
    );
    check_as(
        "offkey.yaml",
        "kafka:\n  canary: 1\n  canary: 2\n",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          offkey.yaml: line 3, column 11: a key stands twice in one table
    "#]],
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_mistake_and_does_not_show_its_value() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_offkey"));
    command.arg("check").env("OFFKEY__KAFKA__GROUP", std::ffi::OsStr::from_bytes(b"canary\xff"));
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(78));
    expect![[r#"
        offkey: the configuration has a mistake:
          OFFKEY__KAFKA__GROUP: the value is not UTF-8; write it as UTF-8
    "#]]
    .assert_eq(&String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_variable_of_thousands_of_levels_is_refused_at_once() {
    let name = format!("OFFKEY{}", "__A".repeat(20_000));
    check_as(
        "offkey.toml",
        "",
        &[(name.as_str(), "1")],
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          OFFKEY__A__A__A__A__A__A__A__A__A__A__A__A__A__A__A__A__A__A__A_..: has 20000 levels, more than the 16 that a key may have; write it as OFFKEY__SECTION__KEY
    "#]],
    );
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    check_as(
        "offkey.toml",
        "",
        &[
            ("OFFKEY__KAFKA__DELIVERY", "never"),
            ("OFFKEY__STATE__MAX_ENTITIES", "many"),
            ("OFFKEY__LOG__LEVEL", "loud"),
        ],
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              kafka.delivery: unknown variant `never`, expected `exactly_once` or `at_least_once`; set by OFFKEY__KAFKA__DELIVERY
              log.level: `loud` is no level; write error, warn, info, debug or trace; set by OFFKEY__LOG__LEVEL
              state.max_entities: invalid type: string "many", expected a whole number; set by OFFKEY__STATE__MAX_ENTITIES
        "#]],
    );
}

#[test]
fn a_dump_says_everything_but_secrets() {
    let file = "[kafka.properties]\nsasl.password = \"canary\"\n[output]\nscores = \"s\"";
    let output = offkey(&["check", "--dump"], Some(("offkey.toml", file)), &[]);
    let dump: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a dump is JSON");
    assert_eq!(dump["output"]["scores"], "s");
    assert_eq!(dump["kafka"]["properties"]["sasl"]["password"], "<hidden>");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("canary"));
}

#[test]
fn schemas_are_json_and_a_wrong_command_line_is_2() {
    for of in ["alert", "score", "dead-letter"] {
        let output = offkey(&["schema", of], None, &[]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a schema is JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    assert_eq!(offkey(&["schema", "config"], None, &[]).stdout, include_bytes!("../../config/offkey.toml"));
    assert_eq!(offkey(&["schema", "nothing"], None, &[]).status.code(), Some(2));
    assert_eq!(offkey(&[], None, &[]).status.code(), Some(2));
}
