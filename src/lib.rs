//! Offkey: streaming anomaly detection for Kafka. The way of a record, read downwards:
//! [`wire`] reads its bytes, [`lane`] finds the entity, [`detector`] judges and learns one entity's rows; [`config`] says how.

pub mod config;
pub mod detector;
pub mod lane;
pub mod wire;
