//! Offkey: streaming anomaly detection for Kafka. The way of a record, read downwards:
//! [`wire`] reads its bytes, [`lane`] finds the entity, [`detector`] judges and learns one entity's rows, [`epoch`] commits what came of it; [`config`] says how.

pub mod cli;
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod detector;
pub mod epoch;
pub mod failpoint;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod kafka;
pub mod lane;
#[cfg(feature = "daemon")]
pub mod logging;
#[cfg(feature = "daemon")]
pub mod metrics;
pub mod planted;
pub mod quality;
pub mod replay;
#[cfg(feature = "daemon")]
pub mod simulate;
pub mod wire;
