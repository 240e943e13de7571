//! The topics we need: looked at before anything is read, created where that is allowed, never altered.

use super::client::{CountError, PlainContext};
use super::client_config;
use super::failure::Failure;
use super::sizes::{self, Fit, Limits};
use crate::config::Config;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What was found out about our topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of an alert at most.
    pub max_alert: usize,
    /// Bytes of a dead letter at most.
    pub max_dead_letter: usize,
    /// Bytes of a snapshot at most.
    pub max_snapshot: usize,
    /// Bytes of a batch at most: the broker judges it whole, against the limit of its topic.
    pub max_batch: usize,
    /// Partitions of the widest input topic.
    pub n_partitions: i32,
}

/// Bytes of a batch that belong to headers and framing, not to the value.
const FRAME: usize = 4096;
/// An output topic has to take at least this: a score or an alert without channels fits.
const SMALLEST: usize = 16 << 10;
/// `max.message.bytes` of a topic that does not say.
const DEFAULT_LIMIT: usize = 1_048_588;
/// What librdkafka itself sends at most unless told otherwise.
const CLIENT_LIMIT: usize = 1_000_000;

/// Looks at every topic of the config; creates the missing ones of ours if `kafka.create_topics` allows.
///
/// # Errors
/// Retriable while the broker is away; fatal with the topic's name and what to do.
pub async fn prepare(config: &Config, count_error: &CountError) -> Result<Found, Failure> {
    let context = PlainContext { count_error: Arc::clone(count_error) };
    let admin: AdminClient<PlainContext> = client_config(&config.kafka.restorer)
        .create_with_context(context)
        .map_err(|error| Failure::Fatal(error.to_string()))?;
    let (partitions, brokers) = tokio::task::block_in_place(|| partitions(&admin))?;
    let mut n_partitions = 0;
    for topic in &config.input.topics {
        match partitions.get(topic) {
            Some(n) => n_partitions = n_partitions.max(*n),
            None => return Err(Failure::Retriable(format!("input topic `{topic}` does not exist yet"))),
        }
    }
    let mut missing = Vec::new();
    let replicas = i32::try_from(brokers.min(3)).unwrap_or(1);
    let outputs = [Some(&config.output.alerts), config.output.scores.as_ref(), Some(&config.output.dead_letters)];
    for topic in outputs.into_iter().flatten() {
        if !partitions.contains_key(topic) {
            missing.push(NewTopic::new(topic, n_partitions, TopicReplication::Fixed(replicas)));
        }
    }
    let state = &config.state.topic;
    let in_sync = (replicas - 1).max(1).to_string();
    match partitions.get(state) {
        Some(n) if *n < n_partitions && config.kafka.create_topics => grow(&admin, state, n_partitions).await?,
        Some(n) if *n < n_partitions => {
            return Err(Failure::Fatal(format!(
                "state topic `{state}` has {n} partitions, the input has {n_partitions}: give it as many (kafka-topics.sh --alter --topic {state} --partitions {n_partitions}), or allow `kafka.create_topics`"
            )));
        }
        Some(_) => {}
        None => missing.push(
            NewTopic::new(state, n_partitions, TopicReplication::Fixed(replicas))
                .set("cleanup.policy", "compact")
                .set("min.insync.replicas", &in_sync)
                .set("unclean.leader.election.enable", "false")
                .set("segment.bytes", "67108864")
                .set("segment.ms", "3600000")
                .set("min.cleanable.dirty.ratio", "0.2")
                .set("min.compaction.lag.ms", "3600000")
                .set("max.compaction.lag.ms", "21600000")
                .set("max.message.bytes", "16777216"),
        ),
    }
    create(&admin, &missing, config.kafka.create_topics).await?;
    let state_config = describe(&admin, state).await?;
    // A broker that does not describe topics (the embedded one) leaves the defaults.
    if let Some(policy) = state_config.get("cleanup.policy")
        && policy != "compact"
    {
        return Err(Failure::Fatal(format!(
            "state topic `{state}` has cleanup.policy `{policy}`: retention would delete learned models; set it to compact"
        )));
    }
    let client =
        config.kafka.producer.get("message.max.bytes").and_then(|limit| limit.parse().ok()).unwrap_or(CLIENT_LIMIT);
    let topic_limit = |settings: &BTreeMap<String, String>| {
        settings.get("max.message.bytes").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_LIMIT)
    };
    let limit_of = |settings: &BTreeMap<String, String>| topic_limit(settings).min(client);
    match sizes::fit(config, &Limits { topic: topic_limit(&state_config), client, frame: FRAME }) {
        Fit::Fits => {}
        Fit::Unless(text) => tracing::warn!("{text}"),
        Fit::TooLarge(text) => return Err(Failure::Fatal(text)),
    }
    let mut limits = BTreeMap::from([(state.as_str(), limit_of(&state_config))]);
    for topic in outputs.into_iter().flatten() {
        let limit = limit_of(&describe(&admin, topic).await?);
        if limit < SMALLEST {
            return Err(Failure::Fatal(format!(
                "output topic `{topic}` takes records of {limit} bytes at most: set its max.message.bytes to {SMALLEST} or more"
            )));
        }
        limits.insert(topic, limit);
    }
    let record = |topic: &String| limits[topic.as_str()].saturating_sub(FRAME);
    Ok(Found {
        max_alert: record(&config.output.alerts),
        max_dead_letter: record(&config.output.dead_letters),
        max_snapshot: record(state),
        max_batch: limits.values().copied().min().unwrap_or(DEFAULT_LIMIT),
        n_partitions,
    })
}

fn partitions(admin: &AdminClient<PlainContext>) -> Result<(BTreeMap<String, i32>, usize), Failure> {
    let metadata =
        admin.inner().fetch_metadata(None, Duration::from_secs(5)).map_err(|error| Failure::of_query(&error))?;
    let exists = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let counted = exists.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32));
    Ok((counted.collect(), metadata.brokers().len()))
}

async fn create(admin: &AdminClient<PlainContext>, missing: &[NewTopic<'_>], allowed: bool) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|topic| format!("`{}`", topic.name)).collect::<Vec<_>>().join(", ");
    if !allowed {
        return Err(Failure::Fatal(format!(
            "topics {names} do not exist and `kafka.create_topics` is false: create them, the state topic with cleanup.policy=compact, or allow it"
        )));
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let created = admin.create_topics(missing, &options).await.map_err(|error| Failure::of_query(&error))?;
    for result in created {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Failure::Fatal(format!(
                    "topic `{topic}` could not be created: {}",
                    KafkaError::AdminOp(code)
                )));
            }
        }
    }
    tracing::info!(topics = names, "created the missing topics");
    Ok(())
}

/// The input has grown: its new partitions need a place for their state. Records of the state topic name their partition, so
/// nothing moves.
async fn grow(admin: &AdminClient<PlainContext>, topic: &str, partitions: i32) -> Result<(), Failure> {
    let wanted = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let grown = admin.create_partitions([&wanted], &options).await.map_err(|error| Failure::of_query(&error))?;
    match grown.into_iter().next() {
        Some(Err((topic, code))) => Err(Failure::Fatal(format!(
            "topic `{topic}` could not be given more partitions: {}",
            KafkaError::AdminOp(code)
        ))),
        Some(Ok(_)) | None => {
            tracing::warn!(
                topic,
                partitions,
                "the input has more partitions than the state topic, which was given as many"
            );
            Ok(())
        }
    }
}

/// Settings of a topic; none where the broker does not tell.
async fn describe(admin: &AdminClient<PlainContext>, topic: &str) -> Result<BTreeMap<String, String>, Failure> {
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let Ok(described) = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await else {
        return Ok(BTreeMap::new());
    };
    let mut settings = BTreeMap::new();
    for resource in described.into_iter().flatten() {
        for entry in resource.entries {
            settings.extend(entry.value.map(|value| (entry.name, value)));
        }
    }
    Ok(settings)
}
