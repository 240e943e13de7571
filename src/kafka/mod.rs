//! Kafka, and nobody else names rdkafka: consuming, transactions, restoring, topics. Lists of partitions become our own types
//! at the border, for one that is held while its consumer is dropped hangs it.

pub mod check;
pub mod client;
pub mod consumer;
pub mod embedded;
pub mod failure;
pub mod partitioner;
pub mod producer;
pub mod properties;
pub mod restorer;
mod sizes;
pub mod state_topic;
pub mod topics;

use crate::config::Properties;
use crate::lane::record::PartitionId;
use rdkafka::ClientConfig;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

fn client_config(properties: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in properties.iter() {
        config.set(key, value);
    }
    config
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
