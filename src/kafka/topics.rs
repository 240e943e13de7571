//! The topics we need: looked at before anything is read, created where that is allowed, never altered.

use super::client::{CountError, PlainContext};
use super::client_config;
use super::failure::Failure;
use super::heard::Heard;
use super::sizes::{self, Fit, Limits};
use crate::config::{Config, Kafka};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client that looks after topics.
pub type Admin = AdminClient<PlainContext>;

/// What was found out about our topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of an alert at most.
    pub max_alert: usize,
    /// Bytes at most of a batch with one dead letter in it.
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
pub const SMALLEST: usize = 16 << 10;
/// `max.message.bytes` of a topic that does not say.
const DEFAULT_LIMIT: usize = 1_048_588;
/// What librdkafka itself sends at most unless told otherwise.
const CLIENT_LIMIT: usize = 1_000_000;

/// How long a client that was not answered is asked why.
const LISTEN: Duration = Duration::from_secs(1);

/// Looks at every topic of the config; creates the missing ones of ours if `kafka.create_topics` allows.
///
/// # Errors
/// Retriable while the broker is away; fatal with the topic's name and what to do.
pub async fn prepare(config: &Config, count_error: &CountError) -> Result<Found, Failure> {
    let admin = admin(config, count_error)?;
    let (partitions, brokers) = tokio::task::block_in_place(|| partitions(&config.kafka, count_error))?;
    let mut n_partitions = 0;
    for topic in &config.input.topics {
        match partitions.get(topic) {
            Some(n) => n_partitions = n_partitions.max(*n),
            None => return Err(Failure::Missing(format!("input topic `{topic}` does not exist yet"))),
        }
    }
    let state = &config.state.topic;
    match partitions.get(state) {
        Some(n) if *n < n_partitions && config.kafka.create_topics => grow(&admin, state, n_partitions).await?,
        Some(n) if *n < n_partitions => {
            return Err(Failure::Fatal(format!(
                "state topic `{state}` has {n} partitions, the input has {n_partitions}: give it as many (kafka-topics.sh --alter --topic {state} --partitions {n_partitions}), or allow `kafka.create_topics`"
            )));
        }
        Some(_) | None => {}
    }
    let mut missing = wanted(config, n_partitions, brokers);
    missing.retain(|topic| !partitions.contains_key(topic.name));
    create(&admin, &missing, config.kafka.create_topics).await?;
    let mut state_config = settings(&admin, ResourceSpecifier::Topic(state)).await.unwrap_or_default();
    // A topic that was created just now may not be described yet.
    for (key, value) in missing.iter().filter(|topic| topic.name == state).flat_map(|topic| &topic.config) {
        state_config.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
    }
    // A broker that does not describe topics (the embedded one) leaves the defaults.
    if let Some(policy) = state_config.get("cleanup.policy")
        && policy != "compact"
    {
        return Err(Failure::Fatal(format!(
            "state topic `{state}` has cleanup.policy `{policy}`: retention would delete learned models; set it to compact"
        )));
    }
    match snapshot_fit(config, &state_config) {
        Fit::Fits => {}
        Fit::Unless(text) | Fit::Never(text) => tracing::warn!("{text}"),
        Fit::TooLarge(text) => return Err(Failure::Fatal(text)),
    }
    let mut limits = BTreeMap::from([(state.as_str(), limit(&state_config, &config.kafka))]);
    let mut max_dead_letter = 0;
    for topic in outputs(config) {
        let settings = settings(&admin, ResourceSpecifier::Topic(topic)).await.unwrap_or_default();
        let limit = limit(&settings, &config.kafka);
        if limit < SMALLEST {
            return Err(Failure::Fatal(format!(
                "output topic `{topic}` takes records of {limit} bytes at most: set its max.message.bytes to {SMALLEST} or more"
            )));
        }
        if *topic == config.output.dead_letters {
            max_dead_letter = limit - growth(&settings, limit);
        }
        limits.insert(topic, limit);
    }
    let record = |topic: &String| limits[topic.as_str()].saturating_sub(FRAME);
    Ok(Found {
        max_alert: record(&config.output.alerts),
        max_dead_letter,
        max_snapshot: record(state),
        max_batch: limits.values().copied().min().unwrap_or(DEFAULT_LIMIT),
        n_partitions,
    })
}

/// Topics of ours that are not there now.
///
/// # Errors
/// Retriable: no broker answers.
pub fn missing(config: &Config, count_error: &CountError) -> Result<Vec<String>, Failure> {
    let admin = admin(config, count_error)?;
    let ours = outputs(config).chain([&config.state.topic]).map(String::as_str);
    let missing = super::missing(admin.inner(), ours).map_err(|error| Failure::of_query(&error))?;
    missing.iter().for_each(|_| count_error(&KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)));
    Ok(missing.into_iter().map(str::to_owned).collect())
}

fn admin(config: &Config, count_error: &CountError) -> Result<Admin, Failure> {
    let context = PlainContext { count_error: Arc::clone(count_error) };
    let created = client_config(&config.kafka.restorer).create_with_context(context);
    created.map_err(|error| Failure::Fatal(error.to_string()))
}

fn outputs(config: &Config) -> impl Iterator<Item = &String> {
    let outputs = [Some(&config.output.alerts), config.output.scores.as_ref(), Some(&config.output.dead_letters)];
    outputs.into_iter().flatten()
}

/// Every topic of ours as it would be created.
#[must_use]
pub fn wanted(config: &Config, n_partitions: i32, brokers: usize) -> Vec<NewTopic<'_>> {
    let replicas = i32::try_from(brokers.min(3)).unwrap_or(1);
    let new = |topic| NewTopic::new(topic, n_partitions, TopicReplication::Fixed(replicas));
    let mut wanted: Vec<NewTopic<'_>> = outputs(config).map(|topic| new(topic)).collect();
    let in_sync = if replicas > 2 { "2" } else { "1" };
    wanted.push(
        new(&config.state.topic)
            .set("cleanup.policy", "compact")
            .set("min.insync.replicas", in_sync)
            .set("unclean.leader.election.enable", "false")
            .set("segment.bytes", "67108864")
            .set("segment.ms", "3600000")
            .set("min.cleanable.dirty.ratio", "0.2")
            .set("min.compaction.lag.ms", "3600000")
            .set("max.compaction.lag.ms", "21600000")
            .set("max.message.bytes", "16777216"),
    );
    wanted
}

/// Does a state topic with these settings take the largest snapshot?
#[must_use]
pub fn snapshot_fit(config: &Config, settings: &BTreeMap<String, String>) -> Fit {
    sizes::fit(config, &Limits { topic: topic_limit(settings), client: client_limit(&config.kafka), frame: FRAME })
}

/// Bytes that a batch may have at most in a topic with these settings, sent by a client of ours.
#[must_use]
pub fn limit(settings: &BTreeMap<String, String>, kafka: &Kafka) -> usize {
    topic_limit(settings).min(client_limit(kafka))
}

/// By how much a batch may grow that the broker compresses anew, as a topic with a codec of its own wants: gzip makes 16 KiB of
/// noise five bytes longer, and the others less.
fn growth(settings: &BTreeMap<String, String>, limit: usize) -> usize {
    match settings.get("compression.type").map(String::as_str) {
        None | Some("producer" | "uncompressed") => 0,
        Some(_) => limit / 1024 + 64,
    }
}

fn topic_limit(settings: &BTreeMap<String, String>) -> usize {
    settings.get("max.message.bytes").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_LIMIT)
}

fn client_limit(kafka: &Kafka) -> usize {
    kafka.producer.get("message.max.bytes").and_then(|limit| limit.parse().ok()).unwrap_or(CLIENT_LIMIT)
}

/// Partitions of every topic, and how many brokers there are. The administrator's own client would not tell why none answers.
fn partitions(kafka: &Kafka, count_error: &CountError) -> Result<(BTreeMap<String, i32>, usize), Failure> {
    let heard = Heard::new(count_error);
    let reader: BaseConsumer<Heard> = client_config(&kafka.restorer)
        .create_with_context(heard.clone())
        .map_err(|error| Failure::Fatal(error.to_string()))?;
    let metadata = reader.fetch_metadata(None, Duration::from_secs(5)).map_err(|error| {
        // A poll hands over one call back at most, and there are others than the one that is waited for.
        let until = Instant::now() + LISTEN;
        while heard.worst().is_none() && Instant::now() < until {
            reader.poll(LISTEN / 20);
        }
        heard.why(&error)
    })?;
    let exists = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let counted = exists.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32));
    Ok((counted.collect(), metadata.brokers().len()))
}

async fn create(admin: &Admin, missing: &[NewTopic<'_>], allowed: bool) -> Result<(), Failure> {
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
async fn grow(admin: &Admin, topic: &str, partitions: i32) -> Result<(), Failure> {
    let wanted = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let grown = admin.create_partitions([&wanted], &options).await.map_err(|error| Failure::of_query(&error))?;
    match grown.into_iter().next() {
        Some(Err((topic, code))) => {
            let text = format!("topic `{topic}` could not be given more partitions: {}", KafkaError::AdminOp(code));
            // It was given as many since we looked, by an instance that starts at the same time.
            let passes = code == RDKafkaErrorCode::InvalidPartitions;
            Err(if passes { Failure::Retriable(text) } else { Failure::Fatal(text) })
        }
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

/// Would these topics be created? Nothing is.
///
/// # Errors
/// What the broker says.
pub async fn validate(admin: &Admin, topics: &[NewTopic<'_>]) -> Result<(), RDKafkaErrorCode> {
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10))).validate_only(true);
    let validated = admin.create_topics(topics, &options).await.map_err(|error| code_of(&error))?;
    validated.into_iter().find_map(Result::err).map_or(Ok(()), |(_, code)| Err(code))
}

/// Settings of a topic or a broker. The embedded broker tells none.
///
/// # Errors
/// What the broker says.
pub async fn settings(
    admin: &Admin,
    resource: ResourceSpecifier<'_>,
) -> Result<BTreeMap<String, String>, RDKafkaErrorCode> {
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let described = admin.describe_configs(&[resource], &options).await.map_err(|error| code_of(&error))?;
    let mut settings = BTreeMap::new();
    for resource in described {
        for entry in resource?.entries {
            settings.extend(entry.value.map(|value| (entry.name, value)));
        }
    }
    Ok(settings)
}

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    match error {
        KafkaError::AdminOp(code) => *code,
        other => other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
    }
}
