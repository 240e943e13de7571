//! Bytes to values and back: what strangers write to us and read from us. Every type here is a promise; the core's own
//! types may change behind them.

pub mod channels;
pub mod decoder;
pub mod fields;
mod json;
pub mod rejection;
pub mod state_record;
pub mod timestamp;
