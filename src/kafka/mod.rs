//! Kafka, and nobody else names rdkafka: consuming, transactions, restoring, topics. Lists of partitions become our own types
//! at the border, for one that is held while its consumer is dropped hangs it.

pub mod check;
pub mod client;
pub mod consumer;
pub mod embedded;
pub mod failure;
pub mod group;
mod heard;
pub mod partitioner;
pub mod producer;
pub mod properties;
pub mod restorer;
mod sizes;
pub mod state_log;
pub mod state_topic;
pub mod topics;

use crate::config::Properties;
use crate::lane::record::PartitionId;
use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::time::Duration;

fn client_config(properties: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in properties.iter() {
        config.set(key, value);
    }
    config
}

/// Those of these topics of which a broker says that they are not there.
fn missing<'t, C: ClientContext>(
    client: &Client<C>,
    topics: impl IntoIterator<Item = &'t str>,
) -> KafkaResult<Vec<&'t str>> {
    let mut missing = Vec::new();
    for topic in topics {
        if lacks(client, topic)? {
            missing.push(topic);
        }
    }
    Ok(missing)
}

/// Does a broker say that there is no such topic?
fn lacks<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<bool> {
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5))?;
    let error = metadata.topics().first().and_then(|topic| topic.error());
    Ok(error == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))
}

fn list_of<'a>(lanes: impl IntoIterator<Item = (&'a PartitionId, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (lane, offset) in lanes {
        // An absolute offset below zero is the only refusal, and ours come from brokers.
        let _ = list.add_partition_offset(&lane.topic, lane.partition, offset);
    }
    list
}

fn lanes_of(list: &TopicPartitionList) -> Vec<PartitionId> {
    let lane = |(topic, partition): (&str, i32)| PartitionId { topic: topic.into(), partition };
    list.elements().iter().map(|element| lane((element.topic(), element.partition()))).collect()
}
