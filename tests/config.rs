//! What a person sees whose configuration is wrong: the binary from outside, golden texts.

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
fn tables_and_lists_in_the_wrong_place_are_told_with_what_to_write() {
    check(
        "[override]\nmatch = \"a\"\n[channel]\nmatch = \"b\"\n[silence]\nmatch = \"c\"",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              channel: is one table where a list of tables belongs; write [[channel]] before each, in YAML a dash
              override: is one table where a list of tables belongs; write [[override]] before each, in YAML a dash
              silence: is one table where a list of tables belongs; write [[silence]] before each, in YAML a dash
        "#]],
    );
    check(
        "kafka = []\nmodel = 3\n[[threshold]]\nlevel = 3\n[input]\nformat = {}\nentity = {}\nlate = { keep = 1 }\ntopics = [3]\n\
         channels = {}\ntimestamp = []\n[output]\nalerts = { topic = 1 }\n[alert]\nopen_rows = []",
        expect![[r#"
            78
            offkey: offkey.toml has 12 mistakes:
              alert.open_rows: invalid type: list, expected a whole number
              input.channels: is a table where a value belongs; write it as channels = []
              input.entity: is a table where a value belongs; write it as entity = "key"
              input.format: is a table where a value belongs; write it as format = "json_wide"
              input.late: is a table where a value belongs; write it as late = "keep"
              input.timestamp: invalid type: list, expected a text
              input.topics: names no topic
              input.topics[0]: invalid type: integer `3`, expected a text
              kafka: is a list where a section belongs; write [kafka]
              model: is a number where a section belongs; write [model]
              output.alerts: is a table where a value belongs; write it as alerts = "offkey-alerts"
              threshold: is a list of tables where a section belongs; write [threshold]
        "#]],
    );
    check(
        "channel = [3]\n[[override]]\nmatch = \"a\"\nalert = 5\n[[override.threshold]]\nlevel = 3\n[override.channel]\nmatch = \"b\"\n\
         [[override]]\nmatch = {}\n[kafka]\nproperties = []",
        expect![[r#"
            78
            offkey: offkey.toml has 7 mistakes:
              channel: is a list where a list of tables belongs; write [[channel]] before each, in YAML a dash
              kafka.properties: is a list where a section belongs; write [kafka.properties]
              override[0].alert: is a number where a section belongs; write [override.alert]
              override[0].channel: is one table where a list of tables belongs; write [[override.channel]] before each, in YAML a dash
              override[0].threshold: is a list of tables where a section belongs; write [override.threshold]
              override[1]: missing field `match`
              override[1].match: is a table where a value belongs; write it as match = "pump-*"
        "#]],
    );
    check_as(
        "offkey.yaml",
        "override: {match: a}\nchannel: {match: b}\nsilence:\n",
        &[],
        expect![[r#"
            78
            offkey: offkey.yaml has 2 mistakes:
              channel: is one table where a list of tables belongs; write [[channel]] before each, in YAML a dash
              override: is one table where a list of tables belongs; write [[override]] before each, in YAML a dash
        "#]],
    );
    check_as(
        "offkey.yaml",
        "",
        &[("OFFKEY__OVERRIDE__MATCH", "a"), ("OFFKEY__KAFKA", "a:1")],
        expect![[r#"
            78
            offkey: offkey.yaml has 2 mistakes:
              kafka: is a text where a section belongs; write [kafka]; set by OFFKEY__KAFKA
              override: is one table where a list of tables belongs; write [[override]] before each, in YAML a dash; set by OFFKEY__OVERRIDE
        "#]],
    );
}

#[test]
fn durations_and_sizes_need_units() {
    check(
        "[kafka]\nsession_timeout = \"30\"\n[input]\nmax_record_size = \"1\"\nmax_lateness = \"-1s\"",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              input.max_lateness: invalid value: string "-1s", expected a duration with a unit, such as "30s", "100ms" or "7d"
              input.max_record_size: invalid value: string "1", expected a size with a unit, such as "16MiB" or "500kB"
              kafka.session_timeout: invalid value: string "30", expected a duration with a unit, such as "30s", "100ms" or "7d"
        "#]],
    );
}

#[test]
fn what_offkey_sets_itself_is_refused_with_the_reason() {
    check(
        "[kafka.properties]\n\"enable.auto.commit\" = true\nplugin.library.paths = \"evil.so\"\nsasl.password_file = \"/does/not/exist\"",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              kafka.properties.enable.auto.commit: is not yours to set; offsets are committed with the epoch
              kafka.properties.plugin.library.paths: is not yours to set; it loads foreign code
              kafka.properties.sasl.password_file: cannot read `/does/not/exist`: No such file or directory (os error 2); the file has to be readable by offkey, with the secret and nothing else in it
        "#]],
    );
}

#[cfg(feature = "daemon")]
#[test]
fn properties_that_librdkafka_does_not_take_are_told_without_a_broker() {
    let file = "[kafka.properties]\n\"foo.bar\" = \"1\"\n\"security.protocl\" = \"SSL\"\n\"security.protocol\" = \"nonsense\"\n\
                \"fetch.min.bytes\" = 0\n\"sasl.passwort\" = \"canary\"\n\"enable.ssl.certificate.verification\" = \"canary?\"";
    check(
        file,
        expect![[r#"
        78
        offkey: offkey.toml has 6 mistakes:
          kafka.properties.enable.ssl.certificate.verification: Expected bool value for "enable.ssl.certificate.verification": true or false; it takes true, false
          kafka.properties.fetch.min.bytes: Configuration property "fetch.min.bytes" value 0 is outside allowed range 1..100000000; it takes 1 .. 100000000
          kafka.properties.foo.bar: No such configuration property: "foo.bar"; librdkafka's CONFIGURATION.md lists every property with its values
          kafka.properties.sasl.passwort: No such configuration property: "sasl.passwort"; did you mean `sasl.password`?
          kafka.properties.security.protocl: No such configuration property: "security.protocl"; did you mean `security.protocol`?
          kafka.properties.security.protocol: Invalid value "nonsense" for configuration property "security.protocol"; it takes plaintext, ssl, sasl_plaintext, sasl_ssl
    "#]],
    );
    let told = offkey(&["check"], Some(("offkey.toml", file)), &[]);
    for arguments in [&["run"][..], &["model", "list"], &["replay", "rows.csv"]] {
        assert_eq!(offkey(arguments, Some(("offkey.toml", file)), &[]), told);
    }
    check_as(
        "offkey.toml",
        "",
        &[("OFFKEY__KAFKA__PROPERTIES__SECURITY__PROTOCOL", "TLS")],
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          kafka.properties.security.protocol: Invalid value "TLS" for configuration property "security.protocol"; it takes plaintext, ssl, sasl_plaintext, sasl_ssl; set by OFFKEY__KAFKA__PROPERTIES__SECURITY__PROTOCOL
    "#]],
    );
}

#[cfg(feature = "daemon")]
#[test]
fn properties_that_do_not_go_together_are_told_without_a_broker() {
    let secret = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(secret.path(), "canary").expect("a secret in it");
    let secret = secret.path().display();
    for (properties, key) in [
        (
            "\"fetch.max.bytes\" = 1000",
            "kafka.properties.fetch.max.bytes: `fetch.max.bytes` must be >= `message.max.bytes`",
        ),
        ("\"retries\" = 0", "kafka.properties.retries: `retries` must be set >= 1"),
        ("\"security.protocol\" = \"ssl\"\n\"ssl.ca.location\" = \"/nowhere\"", "kafka.properties.ssl.ca.location: "),
        (
            &format!("\"security.protocol\" = \"ssl\"\n\"ssl.key.pem_file\" = \"{secret}\""),
            "kafka.properties.ssl.key.pem_file: ",
        ),
    ] {
        let output = offkey(&["check"], Some(("offkey.toml", &format!("[kafka.properties]\n{properties}"))), &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(78) && told.contains(key) && !told.contains("canary"),
            "{properties}: {told}"
        );
    }
}

#[test]
fn a_field_has_one_meaning_and_a_name() {
    check(
        "[input]\nvalues = \"\"\nchannels = [\"\"]\ntimestamp = \"\"\nentity = [\"\", \"site\"]",
        expect![[r#"
            78
            offkey: offkey.toml has 4 mistakes:
              input.channels: one of them is empty; leave the list empty, or write "*", for all of them
              input.entity: is empty; write a field's path with dots: machine.id, or "key"
              input.timestamp: is empty; write a field's path with dots: machine.id, or "record"
              input.values: is empty; write the path of an object, or "." for the message itself
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nsensor = \"\"\nvalue = \".\"\n[[channel]]\nmatch = \"\"\n[[override]]\nmatch = \"\"",
        expect![[r#"
            78
            offkey: offkey.toml has 4 mistakes:
              channel[0].match: is empty, and no name is; `*` matches every name
              input.sensor: is empty; write a field's path with dots: machine.id
              input.value: `.` is the message itself, and no field of it; write a field's path with dots: machine.id
              override[0].match: is empty, and no name is; `*` matches every name
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nentity = [\"site\", \"m.id\"]\ntimestamp = \"site\"\nsensor = \"value\"",
        expect![[r#"
            78
            offkey: offkey.toml has 2 mistakes:
              input.timestamp: `site` is `input.entity` already; every use needs a field of its own
              input.value: `value` is `input.sensor` already; every use needs a field of its own
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nentity = \"value\"\ntimestamp = \".value\"",
        expect![[r#"
        78
        offkey: offkey.toml has 2 mistakes:
          input.timestamp: `value` is `input.entity` already; every use needs a field of its own
          input.value: `value` is `input.entity` already; every use needs a field of its own
    "#]],
    );
    check(
        "[input]\ntimestamp = \"values\"",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          input.values: `values` is `input.timestamp` already; every use needs a field of its own
    "#]],
    );
    check(
        "[input]\ntimestamp = \"ts\"\nvalues = \"ts.now\"\nentity = \"ts.now.id\"",
        expect![[r#"
        78
        offkey: offkey.toml has 2 mistakes:
          input.timestamp: `ts` is the object around `ts.now.id`, which is `input.entity`; a field is an object or a value, and not both
          input.values: `ts.now` lies within `ts`, which is `input.timestamp`; a field is an object or a value, and not both
    "#]],
    );
    check(
        "[input]\nvalues = \".\"\nchannels = [\"temp\", \"ts\"]",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          input.channels: `ts` is `input.timestamp`, and no channel; take it out
    "#]],
    );
}

#[test]
fn fields_that_have_one_meaning_each_are_fine() {
    for input in [
        "values = \"data\"\ntimestamp = \"data.ts\"\nentity = [\"data.id\", \"site\"]",
        "values = \".\"\nchannels = [\"t*\"]",
        "format = \"json_long\"\nentity = \"sensor\"",
        "format = \"json_long\"\nvalues = \"\"",
        "sensor = \"\"\nvalue = \"\"",
    ] {
        let output = offkey(&["check"], Some(("offkey.toml", &format!("[input]\n{input}"))), &[]);
        assert_eq!(output.status.code(), Some(0), "{input}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn numbers_that_32_bits_do_not_hold_are_refused() {
    check(
        "[model]\nlearning_rate = 1e300\n[alert]\nbreak_through = 1e39\ncritical_ratio = 4e38\n[threshold]\nlevel = -1e39\n\
         [[channel]]\nmatch = \"a\"\nvalid_max = 1e300\n[[override]]\nmatch = \"b\"\n[[override.channel]]\nmatch = \"c\"\nvalid_min = -1e300",
        expect![[r#"
            78
            offkey: offkey.toml has 6 mistakes:
              alert.break_through: 1e39 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
              alert.critical_ratio: 4e38 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
              channel[0].valid_max: 1e300 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
              model.learning_rate: 1e300 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
              override[0].channel[0].valid_min: -1e300 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
              threshold.level: -1e39 is more than 32 bits hold; write a number within -3.4e38 and 3.4e38
        "#]],
    );
}

#[test]
fn numbers_that_are_not_finite_are_told_with_their_keys() {
    check(
        "[threshold]\nlevel = nan\n[model]\nlearning_rate = -inf\nhiden = 3\n[[channel]]\nmatch = \"a\"\nresolution = inf\n\
         [[override]]\nmatch = \"b\"\nthreshold = { level = nan }\n[kafka]\nproperties.linger.ms = nan",
        expect![[r#"
            78
            offkey: offkey.toml has 7 mistakes:
              channel[0].resolution: is not a finite number; nan and inf mean nothing here
              kafka.properties.linger.ms: is neither text, a number nor a truth value; write it as librdkafka's CONFIGURATION.md has it
              kafka.properties.linger.ms: is not a finite number; nan and inf mean nothing here
              model.hiden: unknown key; did you mean `hidden`?
              model.learning_rate: is not a finite number; nan and inf mean nothing here
              override[0].threshold.level: is not a finite number; nan and inf mean nothing here
              threshold.level: is not a finite number; nan and inf mean nothing here
        "#]],
    );
    check_as(
        "offkey.yaml",
        "threshold:\n  level: 1e400\n",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          threshold.level: is not a finite number; nan and inf mean nothing here
    "#]],
    );
}

#[test]
fn whole_numbers_that_cannot_be_are_told_what_they_may_be() {
    check(
        "[window]\nrows = -1\n[warmup]\nrows = 5000000000\n[state]\nmax_entities = -1\nprobation_rows = 2000\n[model]\nseed = -1\nhidden = 0\n\
         [alert]\nrefractory_rows = 5000000000\nopen_of = 65\ncritical_rows = 2.5\n[[override]]\nmatch = \"a\"\nalert = { clear_rows = -1 }",
        expect![[r#"
            78
            offkey: offkey.toml has 11 mistakes:
              alert.critical_rows: invalid type: floating point `2.5`, expected a whole number
              alert.open_of: 65 is not within 1 and 64
              alert.refractory_rows: 5000000000 is not within 0 and 4294967295
              model.hidden: 0 is not within 1 and 1024
              model.seed: -1 is not 0 or more
              override[0].alert.clear_rows: -1 is not within 1 and 100000
              override[0].alert.open_of: 65 is not within 1 and 64
              state.max_entities: -1 is not 1 or more
              state.probation_rows: 2000 is not within 0 and 1024
              warmup.rows: 5000000000 is not within 50 and 1000000
              window.rows: -1 is not within 1 and 256
        "#]],
    );
    check(
        "[state]\nmax_entities = 0",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          state.max_entities: 0 is not 1 or more
    "#]],
    );
}

#[test]
fn overrides_and_patterns_are_checked_too() {
    check(
        "[[override]]\nmatch = \"a[\"\n[[override]]\nthreshold = { level = 3 }\n[[override]]\nmatch = \"b\"\nthreshold = { levl = 3, quantile = 0.9 }\n\
         [[channel]]\nmatch = \"x\"\nvalid_min = 3\nvalid_max = 1\ndirection = \"sideways\"\n[[silence]]\nmatch = \"c\"\nfrom = \"noon\"",
        expect![[r#"
            78
            offkey: offkey.toml has 7 mistakes:
              channel[0].direction: unknown variant `sideways`, expected one of `both`, `up`, `down`
              channel[0].valid_min: 3 is not below valid_max, 1
              override[0].match: error parsing glob 'a[': unclosed character class; missing ']'; `*`, `?`, `[a-z]` and `{a,b}` make patterns
              override[1]: missing field `match`
              override[2].threshold.levl: unknown key; did you mean `level`?
              override[2].threshold.quantile: has no meaning for method "rarity"; take it out, or take another method
              silence[0].from: `noon` is no instant; write it as "2026-01-01T00:00:00Z"
        "#]],
    );
}

#[test]
fn a_mistake_of_a_common_section_is_told_once_and_comes_to_an_end() {
    check(
        "[alert]\nopen_rows = \"x\"\n[threshold]\nmethod = \"raritee\"\n[[override]]\nmatch = \"a\"\nalert = { refractory_rows = 1 }\n\
         threshold = { level = \"x\" }",
        expect![[r#"
            78
            offkey: offkey.toml has 3 mistakes:
              alert.open_rows: invalid type: string "x", expected a whole number
              override[0].threshold.level: invalid type: string "x", expected a number
              threshold.method: unknown variant `raritee`, expected one of `rarity`, `fixed`, `quantile`, `mad`, `mean_sd`, `spot`
        "#]],
    );
}

#[test]
fn rules_that_exclude_each_other_are_told() {
    check(
        "[threshold]\nmethod = \"fixed\"\nbudget = 1.0\n[alert]\nopen_rows = 3\nopen_of = 2\ncritical_ratio = 1.1\n\
         [model]\nkind = \"simple\"\nactivation = \"shrinkage\"\ninit = \"random\"",
        expect![[r#"
            78
            offkey: offkey.toml has 6 mistakes:
              alert.critical_ratio: 1.1 is below warning_ratio, 1.3
              alert.open_rows: 3 is not within 1 and open_of, 2
              model.activation: "shrinkage" is a penalty, and kind "simple" has none; take "linear" or "tanh", or kind "sparse"
              model.passes: is 0, and a random start has to be trained; 10 is a good start
              threshold.budget: has no meaning for method "fixed"; take it out, or take another method
              threshold.level: is missing; method "fixed" needs the level of the score
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
          offkey.toml: TOML parse error at line 1, column 7
          |
        1 | [kafka
          |       ^
        unclosed table, expected `]`
    "#]],
    );
    check_as(
        "offkey.yaml",
        "kafka: [",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          offkey.yaml: while parsing a node, did not find expected node content at byte 8 line 2 column 1
    "#]],
    );
    check_as(
        "offkey.yaml",
        "just text",
        &[],
        expect![[r#"
        78
        offkey: offkey.yaml has a mistake:
          offkey.yaml: invalid type: string "just text", expected a map
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
    assert_eq!(offkey(&["schema", "config"], None, &[]).stdout, include_bytes!("../config/offkey.toml"));
    assert_eq!(offkey(&["schema", "nothing"], None, &[]).status.code(), Some(2));
    assert_eq!(offkey(&[], None, &[]).status.code(), Some(2));
}
