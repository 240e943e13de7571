//! Offkey: streaming anomaly detection for Kafka. The way of a record, read downwards:
//! [`wire`] reads its bytes, [`detector`] judges and learns one entity's rows.

pub mod detector;
pub mod wire;
