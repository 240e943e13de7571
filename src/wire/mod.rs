//! Bytes to values and back: what strangers write to us and read from us. Every type here is a promise; the core's own
//! types may change behind them.

pub mod alert_v1;
pub mod bounds;
pub mod channels;
pub mod dead_letter;
pub mod decoder;
mod fields;
pub mod format;
mod frame;
mod json;
pub mod model_v1;
pub mod path;
mod plain;
pub mod rejection;
pub mod score_v1;
pub mod shown;
pub mod state_record;
mod summary;
pub mod timestamp;
mod walk;
pub mod words;

/// Bytes as lower-case hex.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("four bits are one digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
