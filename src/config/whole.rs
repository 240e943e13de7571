//! Whole numbers: what each of them may be.

use super::error::Problems;

/// Keys that are not for everything that fits into their type; those of an override are the same.
const BOUNDS: [(&str, u64, u64); 9] = [
    ("window.rows", 1, 256),
    // The units of the streams are quantiles, and come from no fewer.
    ("warmup.rows", 100, 1_000_000),
    ("model.hidden", 1, 1_024),
    ("model.passes", 0, 1_000),
    ("state.max_entities", 1, u64::MAX),
    // A snapshot of an entity on probation holds no more.
    ("state.probation_rows", 0, 1_024),
    ("alert.open_of", 1, 64),
    ("alert.open_rows", 1, 64),
    ("alert.clear_rows", 1, 100_000),
];

/// Complains of a number that its key may not be.
pub(super) fn require(problems: &mut Problems, key: &str, value: impl Into<u64>) {
    if let Err(problem) = within(key, value.into()) {
        problems.add(key, problem, "");
    }
}

/// Whether a number is one that its key may be.
///
/// # Errors
/// What it may be.
pub fn within(key: &str, value: u64) -> Result<(), String> {
    match bounds(key) {
        Some((low, high)) if value < low || value > high => Err(outside(&value.to_string(), low, high)),
        Some(_) | None => Ok(()),
    }
}

/// What to say of a number that is none of its type, in serde's words: "invalid value: integer `-1`, expected u32".
pub(super) fn of_no_type(error: &str, key: &str) -> Option<String> {
    let (value, kind) = error.strip_prefix("invalid value: integer `")?.split_once("`, expected ")?;
    let most = match kind {
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => u64::MAX,
        _ => return None,
    };
    let (low, high) = bounds(key).unwrap_or((0, most));
    Some(outside(value, low, high))
}

fn bounds(key: &str) -> Option<(u64, u64)> {
    BOUNDS.iter().find(|(name, ..)| key.ends_with(name)).map(|(_, low, high)| (*low, *high))
}

fn outside(value: &str, low: u64, high: u64) -> String {
    match high {
        u64::MAX => format!("{value} is not {low} or more"),
        _ => format!("{value} is not within {low} and {high}"),
    }
}
