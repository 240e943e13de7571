//! The state topic as it is now, for people: what is committed up to its end, and which instances are in the group. Nothing is
//! written, no group is joined.

use super::failure::Failure;
use super::{client_config, list_of};
use crate::config::{Config, Properties};
use crate::lane::record::PartitionId;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const CALL: Duration = Duration::from_secs(10);

/// A partition whose end could not be read: a transaction that nobody has ended yet stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Partition of the state topic.
    pub partition: i32,
    /// First offset that was not read.
    pub from: i64,
    /// The end.
    pub to: i64,
}

/// Reads every partition up to the end that it has now, committed records alone, and gives each record to `take`: partition,
/// key, value. A transaction that hangs holds back what is behind it: it is waited for as long as `patience`, and then the
/// rest is told instead of read.
///
/// # Errors
/// The topic is not there, no broker answers, or the end is not reached in ten times the patience although nothing hangs.
pub fn read(
    config: &Config,
    patience: Duration,
    mut take: impl FnMut(i32, &[u8], Option<&[u8]>),
) -> Result<Vec<HeldBack>, Failure> {
    let topic = config.state.topic.as_str();
    let reader = client(&config.kafka.restorer, &[("enable.partition.eof", "true")])?;
    let ends = ends(config)?;
    let place = |partition: i32| PartitionId { topic: topic.into(), partition };
    let places: Vec<PartitionId> = ends.keys().copied().map(place).collect();
    reader
        .assign(&list_of(places.iter().map(|place| (place, Offset::Beginning))))
        .map_err(|error| Failure::of_query(&error))?;
    let mut open: BTreeMap<i32, i64> = ends;
    open.retain(|_, end| *end > 0);
    let started = Instant::now();
    // Where a partition is held back, from when on.
    let mut held: BTreeMap<i32, (i64, Instant)> = BTreeMap::new();
    while !open.is_empty() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                held.remove(&message.partition());
                take(message.partition(), message.key().unwrap_or_default(), message.payload());
                if open.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    open.remove(&message.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let Some(end) = open.get(&partition) else { continue };
                let (_, stable) =
                    reader.fetch_watermarks(topic, partition, CALL).map_err(|error| Failure::of_query(&error))?;
                if stable >= *end {
                    open.remove(&partition);
                } else {
                    held.entry(partition).or_insert((stable, Instant::now())).0 = stable;
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "reading the state goes on after an error"),
            None => {}
        }
        if held.len() == open.len() && held.values().all(|(_, since)| since.elapsed() > patience) {
            break;
        }
        if started.elapsed() > 10 * patience && open.keys().any(|partition| !held.contains_key(partition)) {
            return Err(Failure::Retriable(format!("the end of `{topic}` was not reached in {:?}", 10 * patience)));
        }
    }
    let rest = open.into_iter().filter_map(|(partition, to)| {
        let (from, _) = held.get(&partition)?;
        Some(HeldBack { partition, from: *from, to })
    });
    Ok(rest.collect())
}

/// The end of every partition, what is not committed included.
fn ends(config: &Config) -> Result<BTreeMap<i32, i64>, Failure> {
    let topic = config.state.topic.as_str();
    let client = client(&config.kafka.restorer, &[("isolation.level", "read_uncommitted")])?;
    let metadata = client.fetch_metadata(Some(topic), CALL).map_err(|error| Failure::of_query(&error))?;
    let described = metadata.topics().first().filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
    let described = described.ok_or_else(|| {
        Failure::Fatal(format!(
            "the state topic `{topic}` does not exist, or it may not be described: no daemon has run yet"
        ))
    })?;
    let end = |partition: i32| {
        let (_, end) = client.fetch_watermarks(topic, partition, CALL).map_err(|error| Failure::of_query(&error))?;
        Ok((partition, end))
    };
    described.partitions().iter().map(|partition| end(partition.id())).collect()
}

/// How many partitions a topic has.
///
/// # Errors
/// It is not there, or no broker answers.
pub fn n_partitions(config: &Config, topic: &str) -> Result<i32, Failure> {
    let client = client(&config.kafka.restorer, &[])?;
    let metadata = client.fetch_metadata(Some(topic), CALL).map_err(|error| Failure::of_query(&error))?;
    match metadata.topics().first().filter(|topic| topic.error().is_none()).map(|topic| topic.partitions().len()) {
        Some(n) if n > 0 => Ok(n as i32),
        Some(_) | None => Err(Failure::Fatal(format!("topic `{topic}` does not exist, or it may not be described"))),
    }
}

/// Who is in the group now, by client and host. One that was stopped stays for its session: nobody can tell it from one that
/// runs.
///
/// # Errors
/// No broker answers.
pub fn members(config: &Config) -> Result<Vec<String>, Failure> {
    let client = client(&config.kafka.restorer, &[])?;
    let groups = client.fetch_group_list(Some(&config.kafka.group), CALL).map_err(|error| Failure::of_query(&error))?;
    let members = groups.groups().iter().flat_map(|group| group.members());
    Ok(members.map(|member| format!("{} at {}", member.client_id(), member.client_host())).collect())
}

fn client(properties: &Properties, differing: &[(&str, &str)]) -> Result<BaseConsumer, Failure> {
    let mut config = client_config(properties);
    for (key, value) in differing {
        config.set(*key, *value);
    }
    config.create().map_err(|error| Failure::Fatal(error.to_string()))
}
