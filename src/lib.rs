//! Offkey: streaming anomaly detection for Kafka. The way of a record, read downwards:
//! [`detector`] judges and learns one entity's rows.

pub mod detector;
