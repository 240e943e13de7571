//! Offkey: streaming anomaly detection for Kafka. The way of a record, read downwards:
//! [`wire`] reads its bytes, [`lane`] finds the entity, [`detector`] judges and learns one entity's rows; [`config`] says how.

pub mod config;
pub mod detector;
/// All the work of one partition.
pub mod lane {
    pub mod rulebook;
}
pub mod wire;
