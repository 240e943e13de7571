//! What librdkafka does not take of [kafka.properties], found out without a broker: each property by itself, then all of them as
//! the clients get them, for some exclude each other, and some need another or a file.

use super::client_config;
use crate::config::{ConfigError, Kafka, Passed, Properties};
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseProducer;

/// Where a person reads on.
const MANUAL: &str = "librdkafka's CONFIGURATION.md lists every property with its values";

/// Every property that cannot be used, in librdkafka's own words.
#[must_use]
pub fn not_taken(kafka: &Kafka) -> Vec<ConfigError> {
    let alone: Vec<_> = kafka.passed.iter().filter_map(alone).collect();
    if alone.is_empty() && !kafka.passed.is_empty() {
        return together(kafka);
    }
    alone
}

fn alone(passed: &Passed) -> Option<ConfigError> {
    let tried = ClientConfig::new().set(&passed.key, passed.reveal()).create_native_config();
    let words = words(tried.err()?);
    Some(ConfigError::new(&passed.at, passed.hidden_in(words.trim_end()), MANUAL))
}

/// A client that knows no broker is made and thrown away.
fn together(kafka: &Kafka) -> Vec<ConfigError> {
    let client = |properties: &Properties| {
        let mut config = client_config(properties);
        config.remove("bootstrap.servers");
        config
    };
    let reader = |properties| client(properties).create().map(|_: BaseConsumer| ());
    let tried: [KafkaResult<()>; 3] =
        [reader(&kafka.consumer), reader(&kafka.restorer), client(&kafka.producer).create().map(|_: BaseProducer| ())];
    tried.into_iter().filter_map(Result::err).map(|error| concerns(kafka, &words(error))).collect()
}

fn words(error: KafkaError) -> String {
    match error {
        KafkaError::ClientCreation(words) | KafkaError::ClientConfig(_, words, ..) => words,
        other => other.to_string(),
    }
}

/// The property that librdkafka names, if it is one of the user's.
fn concerns(kafka: &Kafka, words: &str) -> ConfigError {
    let named = kafka.passed.iter().filter(|passed| words.contains(&passed.key));
    let first = named.min_by_key(|passed| words.find(&passed.key));
    let at = first.map_or("kafka.properties", |passed| &passed.at);
    let words = kafka.passed.iter().fold(words.to_owned(), |words, passed| passed.hidden_in(&words));
    ConfigError::new(at, words.trim_end(), MANUAL)
}
