//! Values outside their valid range: masked before anything sees them, and told of in an alert of their own.

use super::alert::{Cause, ChannelEvidence, Severity, Transition};
use super::row::EventTime;
use super::rules::ChannelRule;
use serde::{Deserialize, Serialize};

/// Rows in range that close the alert.
const CALM_ROWS: u32 = 16;

/// The data-quality alert of an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    open: Option<Open>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    onset: EventTime,
    rows: u64,
    calm: u32,
}

/// A transition to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Opened or closed.
    pub transition: Transition,
    /// Why.
    pub cause: Cause,
    /// Always a warning.
    pub severity: Severity,
    /// Event time of the first row out of range.
    pub onset: EventTime,
    /// Rows since.
    pub rows: u64,
}

impl Quality {
    /// Takes one row.
    pub fn observe(&mut self, at: EventTime, out_of_range: bool) -> Option<Told> {
        let severity = Severity::Warning;
        let Some(open) = &mut self.open else {
            if !out_of_range {
                return None;
            }
            self.open = Some(Open { onset: at, rows: 1, calm: 0 });
            return Some(Told {
                transition: Transition::Opened,
                cause: Cause::OutOfRange,
                severity,
                onset: at,
                rows: 1,
            });
        };
        open.rows += 1;
        open.calm = if out_of_range { 0 } else { open.calm + 1 };
        if open.calm < CALM_ROWS {
            return None;
        }
        let told = Told {
            transition: Transition::Closed,
            cause: Cause::BackInRange,
            severity,
            onset: open.onset,
            rows: open.rows,
        };
        self.open = None;
        Some(told)
    }

    /// Is it open?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Severity of the open alert.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.open.as_ref().map(|_| Severity::Warning)
    }
}

/// Makes values outside their valid range missing; tells which slots they were in.
pub fn mask(values: &mut [f32], rules: &[ChannelRule]) -> Vec<usize> {
    let mut out_of_range = Vec::new();
    for (slot, (value, rule)) in values.iter_mut().zip(rules).enumerate() {
        if *value < rule.valid_min || *value > rule.valid_max {
            *value = f32::NAN;
            out_of_range.push(slot);
        }
    }
    out_of_range
}

/// Evidence of channels out of range is their valid range, and the whole share is theirs.
pub fn put_in_range_bands(
    channels: &mut [ChannelEvidence],
    observed: &[f32],
    out_of_range: &[usize],
    rules: &[ChannelRule],
) {
    if out_of_range.is_empty() {
        return;
    }
    let share = 1.0 / out_of_range.len() as f32;
    for channel in channels.iter_mut() {
        channel.share = 0.0;
        if out_of_range.contains(&channel.slot)
            && let (Some(observed), Some(rule)) = (observed.get(channel.slot), rules.get(channel.slot))
        {
            channel.share = share;
            channel.observed = *observed;
            (channel.low, channel.high) = (rule.valid_min, rule.valid_max);
        }
    }
    channels.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.slot.cmp(&b.slot)));
}
