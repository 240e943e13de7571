#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::passed::OWNED;
use crate::config::{Config, Source};

fn kafka(text: &str) -> Result<Kafka, String> {
    Config::load(Source::Toml(text), []).map(|config| config.kafka).map_err(|errors| errors.to_string())
}

#[test]
fn what_exactly_once_rests_on_is_set() {
    let kafka = kafka("[kafka]\ngroup = \"g\"\ninstance = \"i\"").unwrap();
    assert_eq!(kafka.producer.get("transactional.id"), Some("offkey-g-i"));
    assert_eq!(kafka.consumer.get("isolation.level"), Some("read_committed"));
    assert_eq!(kafka.consumer.get("group.instance.id"), Some("i"));
    assert_eq!(kafka.restorer.get("group.instance.id"), None);
    assert_eq!(kafka.restorer.get("isolation.level"), Some("read_committed"));
}

#[test]
fn at_least_once_has_no_transaction() {
    let kafka = kafka("[kafka]\ndelivery = \"at_least_once\"").unwrap();
    assert_eq!(kafka.producer.get("transactional.id"), None);
    assert_eq!(kafka.producer.get("enable.idempotence"), Some("true"));
}

#[test]
fn properties_pass_to_whom_they_concern() {
    let kafka =
        kafka("[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"linger.ms\" = 7\n\"fetch.min.bytes\" = 9").unwrap();
    for client in [&kafka.producer, &kafka.consumer, &kafka.restorer] {
        assert_eq!(client.get("security.protocol"), Some("SSL"));
    }
    assert_eq!(kafka.producer.get("linger.ms"), Some("7"));
    assert_eq!(kafka.consumer.get("linger.ms"), None);
    assert_eq!(kafka.producer.get("fetch.min.bytes"), None);
    assert_eq!(kafka.consumer.get("fetch.min.bytes"), Some("9"));
}

#[test]
fn what_may_be_changed_has_a_default() {
    let looks = |text: &str| kafka(text).unwrap().consumer.get("topic.metadata.refresh.interval.ms").map(str::to_owned);
    assert_eq!(looks("").as_deref(), Some("30000"), "added partitions are not found for minutes");
    assert_eq!(looks("[kafka.properties]\ntopic.metadata.refresh.interval.ms = 2000").as_deref(), Some("2000"));
}

#[test]
fn owned_keys_and_foreign_code_are_refused() {
    for (key, _) in OWNED {
        let key = key.replace('*', "x");
        let told = kafka(&format!("[kafka.properties]\n\"{key}\" = \"1\"")).unwrap_err();
        assert!(told.contains(&key) && told.contains("is not yours to set"), "{told}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "canary\n").unwrap();
    let kafka = kafka(&format!(
        "[kafka.properties]\nsasl.password_file = \"{}\"\n\"sasl.username\" = \"u\"",
        file.path().display()
    ))
    .unwrap();
    assert_eq!(kafka.producer.get("sasl.password"), Some("canary"));
    let shown = format!("{kafka:?}");
    assert!(!shown.contains("canary") && shown.contains("<hidden>"), "{shown}");
    assert!(shown.contains("\"sasl.username\": \"u\""), "{shown}");
}

#[test]
fn a_command_is_a_member_without_a_place_and_has_a_name_of_its_own() {
    let kafka = kafka("[kafka]\ngroup = \"g\"\ninstance = \"i\"").unwrap().for_command("model");
    assert_eq!(kafka.consumer.get("group.instance.id"), None);
    assert_eq!(kafka.consumer.get("group.id"), Some("g"));
    assert_eq!(kafka.producer.get("transactional.id"), Some("offkey-g-:model"));
    assert_eq!(kafka.producer.get("client.id"), Some("offkey-g-:model"));
    assert!(kafka_refuses(":model"), "no instance can take that name");
}

fn kafka_refuses(instance: &str) -> bool {
    kafka(&format!("[kafka]\ninstance = \"{instance}\"")).is_err()
}

#[test]
fn a_broker_is_a_host_and_a_port() {
    for broker in ["a:9092", "kafka-0.kafka.svc:9092", "10.0.0.1:1", "[::1]:9092", "[fe80::1%eth0]:9092", "a_b:65535"] {
        assert!(kafka(&format!("[kafka]\nbrokers = [\"{broker}\"]")).is_ok(), "{broker}");
    }
    for (broker, problem) in [
        ("http://a:9092", "`http://a:9092` has a scheme; write host:port, and say how"),
        ("SSL://a:9092", "has a scheme"),
        ("a", "`a` has no port; write host:port"),
        ("a:65536", "has no port"),
        ("a:9092/", "has no port"),
        (":9092", "has no host before its port"),
        ("::1:9092", "has no host before its port; write host:port, an IPv6 address in brackets"),
        ("user@a:9092", "has no host before its port"),
    ] {
        let told = kafka(&format!("[kafka]\nbrokers = [\"{broker}\"]")).unwrap_err();
        assert!(told.starts_with("kafka.brokers: ") && told.contains(problem), "{told}");
    }
}
