//! `offkey check --connect`: finds out whether the daemon could work, by trying what it will do. Nothing of it can be seen
//! afterwards by who reads committed records, and a running daemon does not notice: no group is joined, the records of the
//! trial are aborted, and its transactions run under a name of their own.

mod found;
mod judge;
mod trial;

pub use found::Found;

use super::client::{CountError, PlainContext};
use super::failure::{ErrorKind, Failure, is_denial};
use super::heard::Heard;
use super::sizes::Fit;
use super::topics::{self, Admin};
use super::{client_config, list_of};
use crate::config::{Config, Delivery};
use crate::lane::record::PartitionId;
use found::{Denials, Resource};
use judge::Seen;
use rdkafka::admin::ResourceSpecifier;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trial::Trial;

/// How long the brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A partition that no topic has: a commit of it is judged by what we may do, and then refused.
const NOWHERE: i32 = i32::MAX;

/// Version of librdkafka, and the features that were compiled into it.
#[must_use]
pub fn library() -> (String, String) {
    let features = client_config(&crate::config::Properties::default())
        .create_native_config()
        .and_then(|native| native.get("builtin.features"));
    (rdkafka::util::get_rdkafka_version().1, features.unwrap_or_default())
}

/// Tries everything that the daemon will do.
///
/// # Errors
/// No broker answers, none lets us in, or librdkafka does not take a property.
pub fn connect(config: &Config) -> Result<Found, Failure> {
    let count_error: CountError = Arc::new(|_| ());
    let heard = Heard::new(&count_error);
    let fatal = |error: KafkaError| Failure::Fatal(error.to_string());
    let reader: BaseConsumer<Heard> = client_config(&config.kafka.restorer)
        .set("enable.partition.eof", "true")
        .create_with_context(heard.clone())
        .map_err(fatal)?;
    let brokers = brokers(&reader, &heard)?;
    let context = PlainContext { count_error: Arc::clone(&count_error) };
    let admin: Admin = client_config(&config.kafka.restorer).create_with_context(context).map_err(fatal)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Fatal(error.to_string()))?;
    let mut check = Check {
        config,
        reader,
        admin,
        runtime,
        count_error,
        denials: Denials::of(&config.kafka),
        brokers,
        group_denied: false,
        found: Found::default(),
    };
    check.found.fine.push(format!("{} brokers answer", check.brokers.len()));
    check.broker_limits();
    check.topics();
    Ok(check.found)
}

/// The brokers' numbers, from the first one that lets us in.
fn brokers(reader: &BaseConsumer<Heard>, heard: &Heard) -> Result<Vec<i32>, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match reader.fetch_metadata(None, Duration::from_secs(2)) {
            Ok(metadata) => return Ok(metadata.brokers().iter().map(|broker| broker.id()).collect()),
            Err(error) => error,
        };
        // Polling is what serves the callback.
        while reader.poll(Duration::ZERO).is_some() {}
        match heard.worst() {
            Some((ErrorKind::Auth, reason)) => return Err(Failure::Fatal(reason)),
            Some((_, reason)) if Instant::now() >= until => return Err(Failure::Retriable(reason)),
            None if Instant::now() >= until => return Err(Failure::of_query(&error)),
            Some(_) | None => {}
        }
    }
}

struct Check<'a> {
    config: &'a Config,
    reader: BaseConsumer<Heard>,
    admin: Admin,
    runtime: tokio::runtime::Runtime,
    count_error: CountError,
    denials: Denials,
    brokers: Vec<i32>,
    group_denied: bool,
    found: Found,
}

fn is_without_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

enum Look {
    Seen(Seen),
    Missing,
    Denied,
    Failed(String),
}

impl Check<'_> {
    fn topics(&mut self) {
        let config = self.config;
        let mut widest = 0;
        let mut readable = Vec::new();
        for topic in &config.input.topics {
            let key = "input.topics";
            match self.look(topic) {
                Look::Seen(seen) => {
                    widest = widest.max(seen.partitions);
                    readable.push((topic.as_str(), seen.partitions));
                    if self.may_read(key, topic) {
                        self.found.fine.push(format!("{key}: `{topic}` can be read, {}", seen.words()));
                    }
                    self.found.wrong.extend(seen.reach(key, topic));
                }
                Look::Missing => self.found.wrong.push(format!("{key}: `{topic}` does not exist")),
                Look::Denied => self.deny(key, Resource::Topic(topic), &["Read"]),
                Look::Failed(why) => self.found.wrong.push(format!("{key}: `{topic}`: {why}")),
            }
        }
        self.group(&readable);
        let trial = self.trial();
        let outputs = [
            ("output.alerts", Some(&config.output.alerts)),
            ("output.scores", config.output.scores.as_ref()),
            ("output.dead_letters", Some(&config.output.dead_letters)),
            ("state.topic", Some(&config.state.topic)),
        ];
        for (key, topic) in outputs.into_iter().filter_map(|(key, topic)| Some((key, topic?))) {
            match self.look(topic) {
                Look::Seen(seen) => self.output(key, topic, &seen, widest, trial.as_ref()),
                Look::Missing => self.creation(key, topic, widest),
                Look::Denied if key == "state.topic" => self.deny(key, Resource::Topic(topic), &["Write", "Read"]),
                Look::Denied => self.deny(key, Resource::Topic(topic), &["Write"]),
                Look::Failed(why) => self.found.wrong.push(format!("{key}: `{topic}`: {why}")),
            }
        }
    }

    fn deny(&mut self, key: &str, resource: Resource<'_>, operations: &[&str]) {
        let line = self.denials.line(key, resource, operations);
        self.found.wrong.push(line);
    }

    fn look(&self, topic: &str) -> Look {
        let metadata = match self.reader.fetch_metadata(Some(topic), PATIENCE) {
            Ok(metadata) => metadata,
            Err(error) => return Look::Failed(error.to_string()),
        };
        let Some(found) = metadata.topics().first() else { return Look::Missing };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Look::Missing,
            Some(code) if is_denial(code) => return Look::Denied,
            Some(code) => return Look::Failed(KafkaError::Global(code).to_string()),
        }
        let partitions = found.partitions();
        Look::Seen(Seen {
            partitions: partitions.len(),
            replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
            in_sync: partitions.iter().map(|partition| partition.isr().len()).min().unwrap_or(0),
            leaderless: partitions.iter().filter(|partition| partition.leader() < 0).count(),
        })
    }

    /// Asks for what is behind the last record of a partition: who may read hears that there is nothing.
    fn may_read(&mut self, key: &str, topic: &str) -> bool {
        let partition = PartitionId { topic: topic.into(), partition: 0 };
        let assigned = self.reader.assign(&list_of([(&partition, Offset::End)]));
        let answer = assigned.and_then(|()| self.first_answer());
        // It has read all it will of this topic.
        let _ = self.reader.unassign();
        match answer {
            Ok(true) => return true,
            Ok(false) => self.found.wrong.push(format!("{key}: `{topic}` gives no answer to a reader")),
            Err(error) if error.rdkafka_error_code().is_some_and(is_denial) => {
                self.deny(key, Resource::Topic(topic), &["Read"]);
            }
            Err(error) => self.found.wrong.push(format!("{key}: `{topic}` cannot be read: {error}")),
        }
        false
    }

    fn first_answer(&mut self) -> Result<bool, KafkaError> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.reader.poll(Duration::from_millis(200)) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(true),
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    return Err(error);
                }
                Some(Err(error)) => self.note(&error),
                None => {}
            }
        }
        Ok(false)
    }

    /// A client that may not ask who coordinates its group is told so by the way, and asks again for ever.
    fn note(&mut self, error: &KafkaError) {
        self.group_denied |= error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
    }

    /// Asks for the group's offsets, and tries to commit one that no group can have.
    fn group(&mut self, topics: &[(&str, usize)]) {
        let group = self.config.kafka.group.as_str();
        let partitions = topics.iter().flat_map(|(topic, n)| (0..*n as i32).map(move |partition| (*topic, partition)));
        let lanes: Vec<PartitionId> =
            partitions.map(|(topic, partition)| PartitionId { topic: topic.into(), partition }).collect();
        let Some(first) = lanes.first() else { return };
        let answer = if self.group_denied { Ok(()) } else { self.try_group(&lanes, first) };
        while let Some(Err(error)) = self.reader.poll(Duration::ZERO) {
            self.note(&error);
        }
        if self.group_denied {
            return self.deny("kafka.group", Resource::Group(group), &["Read"]);
        }
        match answer {
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.deny("kafka.group", Resource::Group(group), &["Read"]);
            }
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)) => self.found.wrong.push(format!(
                "kafka.group: the offsets of `{group}` are unstable: a transaction over them is pending; a daemon would wait for its end"
            )),
            Ok(()) => {
                let members = self.reader.fetch_group_list(Some(group), PATIENCE);
                let n = members.ok().and_then(|list| list.groups().first().map(|group| group.members().len()));
                self.found.fine.push(format!("kafka.group: `{group}` can be used, {} members now", n.unwrap_or(0)));
            }
            Err(error) => self.found.wrong.push(format!("kafka.group: `{group}`: {error}")),
        }
    }

    /// A group that nobody has used before has no coordinator at first.
    fn try_group(&self, lanes: &[PartitionId], first: &PartitionId) -> Result<(), KafkaError> {
        let nowhere = PartitionId { partition: NOWHERE, ..first.clone() };
        let offsets = || list_of(lanes.iter().map(|lane| (lane, Offset::Invalid)));
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = self.reader.committed_offsets(offsets(), PATIENCE);
            let commit = || self.reader.commit(&list_of([(&nowhere, Offset::Offset(0))]), CommitMode::Sync);
            match asked.map(drop).and_then(|()| commit()) {
                Err(error) if is_without_coordinator(&error) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                // Nowhere is no partition, and others are members: both are said to who may commit, and to nobody else.
                Err(KafkaError::ConsumerCommit(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress,
                )) => return Ok(()),
                result => return result,
            }
        }
    }

    /// The trial's producer, if there can be one.
    fn trial(&mut self) -> Option<Trial> {
        let kafka = &self.config.kafka;
        if kafka.delivery == Delivery::AtLeastOnce {
            self.found.fine.push("writing was not tried: without transactions a trial could be seen".to_owned());
            return None;
        }
        let trial = Trial::new(kafka, self.reader.group_metadata(), &self.count_error);
        match trial.start() {
            Ok(_) => {
                self.found.fine.push(format!("transactions: `{}` can begin and abort them", trial.id()));
                return Some(trial);
            }
            Err(error) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
                    let start = kafka.client_id();
                    self.deny("kafka.instance", Resource::TransactionalIds(&start), &["Write", "Describe"]);
                }
                Some(RDKafkaErrorCode::InvalidTransactionTimeout) => self.found.wrong.push(format!(
                    "kafka.transaction_timeout: the brokers do not take {:?}: lower it, or raise their transaction.max.timeout.ms",
                    kafka.transaction_timeout
                )),
                _ => self.found.wrong.push(format!("transactions: {error}")),
            },
        }
        None
    }

    fn output(&mut self, key: &str, topic: &str, seen: &Seen, widest: usize, trial: Option<&Trial>) {
        self.found.wrong.extend(seen.reach(key, topic));
        let is_state = key == "state.topic";
        let readable = !is_state || self.may_read(key, topic);
        match trial.map(|trial| trial.write(topic)) {
            Some(Ok(())) if is_state && readable => {
                self.found.fine.push(format!("{key}: `{topic}` can be read and written, {}", seen.words()));
            }
            Some(Ok(())) => self.found.fine.push(format!("{key}: `{topic}` can be written, {}", seen.words())),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_denial) => {
                self.deny(key, Resource::Topic(topic), &["Write"]);
            }
            Some(Err(error)) => self.found.wrong.push(format!("{key}: `{topic}` cannot be written: {error}")),
            None => self.found.fine.push(format!("{key}: `{topic}` exists, {}", seen.words())),
        }
        let settings = match self.runtime.block_on(topics::settings(&self.admin, ResourceSpecifier::Topic(topic))) {
            Ok(settings) => settings,
            Err(code) if is_denial(code) => {
                if is_state {
                    self.deny(key, Resource::Topic(topic), &["DescribeConfigs"]);
                }
                return;
            }
            // A broker that does not describe topics.
            Err(_) => return,
        };
        let kafka = &self.config.kafka;
        self.found.wrong.extend(seen.durability(key, topic, &settings));
        if is_state {
            self.found.wrong.extend(judge::state(topic, seen, widest, &settings, kafka));
            match topics::snapshot_fit(self.config, &settings) {
                Fit::Fits => {}
                Fit::Unless(text) => self.found.fine.push(text),
                Fit::Never(text) | Fit::TooLarge(text) => self.found.wrong.push(text),
            }
        } else {
            self.found.wrong.extend(judge::output(key, topic, &settings, kafka));
        }
    }

    /// A missing topic of ours: would it be created?
    fn creation(&mut self, key: &str, topic: &str, widest: usize) {
        if !self.config.kafka.create_topics {
            self.found.wrong.push(format!("{key}: `{topic}` does not exist, and `kafka.create_topics` is false"));
            return;
        }
        let partitions = i32::try_from(widest.max(1)).unwrap_or(1);
        let wanted = topics::wanted(self.config, partitions, self.brokers.len());
        let this: Vec<_> = wanted.into_iter().filter(|new| new.name == topic).collect();
        match self.runtime.block_on(topics::validate(&self.admin, &this)) {
            Ok(()) => self.found.fine.push(format!("{key}: `{topic}` does not exist and can be created")),
            Err(code) if is_denial(code) => self.deny(key, Resource::Topic(topic), &["Create"]),
            Err(code) => {
                self.found.wrong.push(format!("{key}: `{topic}` cannot be created: {}", KafkaError::AdminOp(code)));
            }
        }
    }

    /// Where a broker tells its own limits; most keep them to administrators.
    fn broker_limits(&mut self) {
        let Some(broker) = self.brokers.first() else { return };
        let asked = topics::settings(&self.admin, ResourceSpecifier::Broker(*broker));
        if let Ok(settings) = self.runtime.block_on(asked) {
            self.found.wrong.extend(judge::timeouts(&settings, &self.config.kafka));
        }
    }
}
