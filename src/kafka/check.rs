//! Looks at brokers and topics without changing anything: no group is joined, no transaction begun, so that a running daemon does
//! not notice.

use super::client_config;
use super::failure::Failure;
use crate::config::Config;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What is as it should be.
    pub fine: Vec<String>,
    /// What would keep the daemon from working.
    pub wrong: Vec<String>,
}

/// Version of librdkafka, and the features that were compiled into it.
#[must_use]
pub fn library() -> (String, String) {
    let features = client_config(&crate::config::Properties::default())
        .create_native_config()
        .and_then(|native| native.get("builtin.features"));
    (rdkafka::util::get_rdkafka_version().1, features.unwrap_or_default())
}

/// Asks the brokers for our topics.
///
/// # Errors
/// No broker answers, or librdkafka does not take a property.
pub fn connect(config: &Config) -> Result<Found, Failure> {
    let client: BaseConsumer =
        client_config(&config.kafka.restorer).create().map_err(|error| Failure::Fatal(error.to_string()))?;
    let metadata = client.fetch_metadata(None, PATIENCE).map_err(|error| Failure::of_query(&error))?;
    let topics: BTreeMap<&str, Option<usize>> = metadata
        .topics()
        .iter()
        .map(|topic| (topic.name(), topic.error().is_none().then(|| topic.partitions().len())))
        .collect();
    let mut found = Found::default();
    found.fine.push(format!("{} brokers answer", metadata.brokers().len()));
    let mut look = |key: &str, name: &str, ours: bool| match topics.get(name) {
        Some(Some(partitions)) => found.fine.push(format!("{key}: `{name}` has {partitions} partitions")),
        Some(None) => found.wrong.push(format!("{key}: `{name}` cannot be described: look at the topic's permissions")),
        None if ours && config.kafka.create_topics => {
            found.fine.push(format!("{key}: `{name}` is missing and will be created"));
        }
        None if ours => found.wrong.push(format!("{key}: `{name}` is missing, and `kafka.create_topics` is false")),
        None => found.wrong.push(format!("{key}: `{name}` is missing, or it may not be described")),
    };
    for topic in &config.input.topics {
        look("input.topics", topic, false);
    }
    look("output.alerts", &config.output.alerts, true);
    look("output.dead_letters", &config.output.dead_letters, true);
    if let Some(scores) = &config.output.scores {
        look("output.scores", scores, true);
    }
    look("state.topic", &config.state.topic, true);
    Ok(found)
}
