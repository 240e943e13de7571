#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::Value;

fn load(text: &str) -> Result<Config, String> {
    Config::load(Source::Toml(text), []).map_err(|errors| errors.to_string())
}

fn with_env(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(Source::Default, variables).map_err(|errors| errors.to_string())
}

/// Every key with its path, tables of arrays by their first element.
fn keys(value: &Value, path: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                keys(value, &format!("{path}.{name}"), all);
            }
        }
        Value::Array(tables) if tables.first().is_some_and(Value::is_object) => {
            keys(&tables[0], path, all);
        }
        _ => all.push(path.to_owned()),
    }
}

#[test]
fn every_key_is_documented_in_the_default_file() {
    // With everything switched on, every Option is Some: serialised again, each key of the raw types appears.
    let mut documented = tree::documented();
    // These exclude each other or need values of their own, which concerns the checks and not the types.
    let mut problems = Problems::default();
    let overrides = rules::take_overrides(&mut documented);
    let raw: Raw = tree::read_as(documented.clone(), &Value::Null, "", &mut problems).unwrap();
    let overrides = rules::overrides(overrides, &raw, &mut problems);
    assert_eq!(problems.0, [], "the documented keys are known and of the right types");
    let (mut written, mut known) = (Vec::new(), Vec::new());
    keys(&documented, "", &mut written);
    keys(&serde_json::json!(raw), "", &mut known);
    written.sort();
    known.sort();
    assert_eq!(known, written, "serialised raw types against config/offkey.toml");
    assert_eq!(overrides.len(), 1);
    assert!(!serde_json::json!(raw).to_string().contains("null"), "an optional key is not documented");
}

#[test]
fn the_default_file_is_valid() {
    let config = Config::defaults();
    assert_eq!(config.input.topics, ["telemetry"]);
    assert_eq!(config.state.topic, "offkey-state");
    assert_eq!(config.output.scores, None);
    assert_eq!(config.listen.to_string(), "127.0.0.1:9464");
}

#[test]
fn the_defaults_of_file_and_core_are_the_same() {
    let config = Config::defaults();
    assert_eq!(format!("{:?}", *config.detector), format!("{:?}", crate::detector::Settings::default()));
    assert_eq!(config.rules.threshold, crate::detector::threshold::Settings::default());
    assert_eq!(config.rules.alert, crate::detector::episode::Settings::default());
}

#[test]
fn every_method_and_every_kind_of_model_can_be_had() {
    for (text, made) in [
        ("method = \"rarity\"\nlevel = 3.0", "Rarity { level: 3.0 }"),
        ("budget = 0.5", "Budget { alerts_a_day: 0.5 }"),
        ("method = \"fixed\"\nlevel = 3.0", "Fixed { level: 3.0 }"),
        ("method = \"quantile\"\nquantile = 0.75", "Quantile { q: 0.75 }"),
        ("method = \"mad\"", "Mad { k: 6.0 }"),
        ("method = \"mean_sd\"\nfactor = 4.0", "MeanSd { k: 4.0 }"),
        ("method = \"spot\"\nrisk = 0.0009765625", "Spot { q: 0.0009765625 }"),
    ] {
        let config = load(&format!("[threshold]\n{text}")).unwrap();
        assert_eq!(format!("{:?}", config.rules.threshold), made);
    }
    for (text, activation, penalty) in [
        ("kind = \"simple\"", "Linear", "None"),
        ("sparsity_weight = 0.5", "Shrinkage { theta: 0.5 }", "None"),
        ("activation = \"relu\"", "Relu", "L1 { weight: 0.01 }"),
        ("sparsity = \"kl\"", "Sigmoid", "Kl { rho: 0.05, beta: 0.1 }"),
    ] {
        let model = load(&format!("[model]\n{text}")).unwrap().detector.model.clone();
        assert_eq!(format!("{:?}", model.activation), activation);
        assert_eq!(format!("{:?}", model.penalty), penalty);
    }
    let config = load("[alert]\nclose = \"clear\"\nclear_rows = 5").unwrap();
    assert_eq!(format!("{:?}", config.rules.alert.close), "Clear { below: 0.8, rows: 5 }");
    let config = load("[warmup]\nduration = \"1d\"").unwrap();
    assert_eq!(format!("{:?}", config.detector.warmup), "Micros(86400000000)");
}

#[test]
fn a_file_says_only_what_differs() {
    let config = load("[kafka]\ngroup = \"g\"").unwrap();
    assert_eq!((config.kafka.group.as_str(), config.state.topic.as_str()), ("g", "g-state"));
    assert_eq!(config.kafka.brokers, "localhost:9092");
}

#[test]
fn yaml_says_the_same() {
    let yaml = "kafka:\n  group: g\noverride:\n  - match: 'a*'\n    threshold: {level: 3}\n";
    let config = Config::load(Source::Yaml(yaml), []).unwrap();
    assert_eq!(config.kafka.group, "g");
    assert_eq!(config.rules.overrides.len(), 1);
}

#[test]
fn the_environment_has_the_last_word_and_its_types() {
    let config = with_env(&[
        ("OFFKEY__KAFKA__BROKERS", "a:1,b:2"),
        ("OFFKEY__KAFKA__GROUP", "7"),
        ("OFFKEY__KAFKA__CREATE_TOPICS", "false"),
        ("OFFKEY__STATE__MAX_ENTITIES", "12"),
        ("OFFKEY__OUTPUT__SCORES", "s"),
        ("OFFKEY__THRESHOLD__LEVEL", "3.5"),
        ("OFFKEY__KAFKA__PROPERTIES__SECURITY__PROTOCOL", "SSL"),
        ("OFFKEY_TEST_BOOTSTRAP", "not ours"),
    ])
    .unwrap();
    assert_eq!(config.kafka.brokers, "a:1,b:2");
    assert_eq!(config.kafka.group, "7");
    assert!(!config.kafka.create_topics);
    assert_eq!(config.state.max_entities, 12);
    assert_eq!(config.output.scores.as_deref(), Some("s"));
    assert_eq!(config.kafka.producer.get("security.protocol"), Some("SSL"));
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let told = with_env(&[("OFFKEY__KAFKA__COMMIT_INTERVAL", "soon")]).unwrap_err();
    assert!(told.contains("set by OFFKEY__KAFKA__COMMIT_INTERVAL"), "{told}");
    let told = with_env(&[("OFFKEY__KAFKA__GRUOP", "g")]).unwrap_err();
    assert!(told.contains("did you mean `group`?"), "{told}");
}

#[test]
fn overrides_are_laid_on_the_common_sections() {
    let config = load(
        "[threshold]\nmethod = \"mad\"\nfactor = 5.0\n[[override]]\nmatch = \"pump-*\"\nthreshold = { factor = 9.0 }\n\
         [[override.channel]]\nmatch = \"temp\"\nvalid_max = 90.0\n[[channel]]\nmatch = \"*\"\nvalid_max = 100.0\nunit = \"K\"\n\
         [[silence]]\nmatch = \"pump-2\"\nuntil = 2026-01-01T00:00:00Z",
    )
    .unwrap();
    let over = &config.overrides[0];
    assert_eq!(over.threshold.as_ref().unwrap().factor, Some(9.0));
    let channel = |entity: &str, name: &str| config.rules.channel(entity, name);
    let schema = crate::detector::schema::Schema::new(vec![channel("x", "temp"), channel("x", "flow")]);
    let max = |entity: &str| -> Vec<f32> {
        let rules = config.rules.rules(entity, &schema);
        rules.channels.iter().map(|rule| rule.valid_max).collect()
    };
    assert_eq!(max("pump-1"), [90.0, 100.0]);
    assert_eq!(max("fan-1"), [100.0, 100.0]);
    assert_eq!(channel("x", "temp").unit.as_deref(), Some("K"));
    assert_eq!(config.rules.rules("pump-2", &schema).silences.len(), 1);
    assert!(config.rules.rules("pump-1", &schema).silences.is_empty());
}

#[test]
fn an_override_may_take_another_method_than_the_common_one() {
    let config = load(
        "[threshold]\nlevel = 2.0\n[[override]]\nmatch = \"a\"\nthreshold = { budget = 1.0 }\n\
         [[override]]\nmatch = \"b\"\nthreshold = { method = \"mad\" }\n[[override]]\nmatch = \"c\"\nalert = { refractory_rows = 9 }",
    )
    .unwrap();
    let schema = crate::detector::schema::Schema::new(Vec::new());
    let rules = |entity: &str| config.rules.rules(entity, &schema);
    assert_eq!(format!("{:?}", rules("a").threshold), "Budget { alerts_a_day: 1.0 }");
    assert_eq!(format!("{:?}", rules("b").threshold), "Mad { k: 6.0 }");
    assert_eq!(format!("{:?}", rules("c").threshold), "Rarity { level: 2.0 }");
    assert_eq!((rules("c").alert.refractory, rules("b").alert.refractory), (9, 50));
}

#[test]
fn a_reload_changes_rules_and_nothing_else() {
    let old = load("[threshold]\nlevel = 2.0").unwrap();
    let terms = old.reload(&load("[threshold]\nlevel = 3.0").unwrap()).unwrap();
    assert_ne!(terms.fingerprint, old.terms().fingerprint);
    let told = old.reload(&load("[window]\nrows = 8\n[alert]\nname = \"other\"").unwrap()).unwrap_err().to_string();
    assert!(told.contains("window.rows: cannot change while running"), "{told}");
    assert!(told.contains("alert.name: cannot change while running"), "{told}");
}

#[test]
fn fingerprints_depend_on_what_they_stand_for() {
    let (a, b) = (Config::defaults(), load("[threshold]\nlevel = 3.0").unwrap());
    assert_eq!(a.detector.fingerprint(), b.detector.fingerprint());
    assert_ne!(a.terms().fingerprint, b.terms().fingerprint);
    assert_ne!(a.detector.fingerprint(), load("[window]\nrows = 8").unwrap().detector.fingerprint());
}

#[test]
fn terms_come_back_from_their_text_under_any_other_configuration() {
    let config = load(
        "[input]\ntopics = [\"a\"]\nentity = [\"site\", \"machine.id\"]\nchannels = [\"t*\"]\ninterval = \"1s\"\nmax_lateness = \"3s\"\n\
         late = \"drop\"\n[state]\nprobation_rows = 7\n[threshold]\nmethod = \"quantile\"\nquantile = 0.9973\n[alert]\n\
         critical_ratio = 2.1\n[[channel]]\nmatch = \"t1\"\nunit = \"K\"\nvalid_max = 99.9\n[[override]]\nmatch = \"x*\"\n\
         threshold = { method = \"mad\" }\nalert = { open_rows = 2, open_of = 3 }\nchannel = [{ match = \"*\", direction = \"up\" }]\n\
         [[silence]]\nmatch = \"*\"\nfrom = \"2026-01-01T00:00:00Z\"\nlearn = true",
    )
    .unwrap();
    let terms = config.terms();
    let other = load(
        "[input]\ntopics = [\"b\"]\nformat = \"json_long\"\n[alert]\nname = \"other\"\nopen_rows = 4\nopen_of = 4",
    )
    .unwrap();
    let read = other.terms_of(&terms.text).unwrap();
    assert_eq!((read.fingerprint, &read.text), (terms.fingerprint, &terms.text));
    assert_eq!((&read.decoder, read.align, read.late), (&terms.decoder, terms.align, terms.late));
    assert_eq!(read.probation_rows, 7);
    assert_eq!(format!("{:?}", read.rulebook), format!("{:?}", terms.rulebook));
    assert!(!terms.text.contains("\"topics\""));
    let later = terms.text.replace("max_lateness", "most_lateness");
    assert!(other.terms_of(&later).unwrap_err().to_string().contains("max_lateness"));
}

#[test]
fn a_dump_hides_secrets() {
    let config = load("[kafka.properties]\nsasl.password = \"canary\"\nsasl.username = \"u\"").unwrap();
    let (dump, debug) = (config.dump().to_string(), format!("{:?}", config.kafka));
    assert!(!dump.contains("canary") && dump.contains("\"u\""), "{dump}");
    assert!(!debug.contains("canary"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,100}", key in "[a-z._\\[\\]]{1,12}", value in "[a-z0-9\"'.\\[\\]{}=-]{0,12}") {
        let _ = load(&text);
        let _ = load(&format!("[kafka]\n{key} = {value}"));
        let _ = Config::load(Source::Yaml(&text), []);
        let _ = with_env(&[(&format!("OFFKEY__{}", key.to_uppercase()), value.as_str())]);
    }
}

#[test]
fn a_number_that_is_none_is_refused_and_not_taken_for_the_default() {
    for (text, key) in
        [("[threshold]\nlevel = inf", "threshold.level"), ("[model]\nlearning_rate = nan", "model.learning_rate")]
    {
        let errors = Config::load(Source::Toml(text), []).unwrap_err().to_string();
        assert!(errors.contains(key) && errors.contains("is not a finite number"), "{errors}");
    }
}
