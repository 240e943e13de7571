//! Values that are none for their key.

use crate::{check, check_as};
use expect_test::expect;

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
fn numbers_beyond_64_bits_are_told_with_their_key() {
    check(
        "[kafka]\ngroup = \"g\"\n[model]\nseed = 18446744073709551616",
        expect![[r#"
            78
            offkey: offkey.toml has a mistake:
              model.seed: line 4, column 8: a number that 64 bits do not hold; write one within -9223372036854775808 and 9223372036854775807
        "#]],
    );
    check(
        "[[channel]]\nmatch = \"a\"\n[[channel]]\nmatch = \"b\"\nvalid_max = 1e400",
        expect![[r#"
            78
            offkey: offkey.toml has a mistake:
              channel[1].valid_max: line 5, column 13: a number that 64 bits do not hold; write one within -3.4e38 and 3.4e38
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
              warmup.rows: 5000000000 is not within 100 and 1000000
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
