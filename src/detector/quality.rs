//! Values outside their valid range: masked before anything sees them, and told of in an alert of their own.

use super::alert::{Cause, ChannelEvidence, Kind, OpenAlert, Severity, Transition};
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
    published: bool,
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
    /// Takes one row. What it tells while `muted` is for the caller to hold back: an alert that began in a silence is told of
    /// by the first row out of range after it, or never.
    pub fn observe(&mut self, at: EventTime, out_of_range: bool, muted: bool) -> Option<Told> {
        let severity = Severity::Warning;
        let Some(open) = &mut self.open else {
            if !out_of_range {
                return None;
            }
            self.open = Some(Open { onset: at, rows: 1, calm: 0, published: !muted });
            return Some(Told {
                transition: Transition::Opened,
                cause: Cause::OutOfRange,
                severity,
                onset: at,
                rows: 1,
            });
        };
        open.rows = open.rows.saturating_add(1);
        open.calm = if out_of_range { 0 } else { open.calm.saturating_add(1) };
        if open.calm < CALM_ROWS {
            if open.published || muted || !out_of_range {
                return None;
            }
            open.published = true;
            return Some(Told {
                transition: Transition::Opened,
                cause: Cause::OutOfRange,
                severity,
                onset: open.onset,
                rows: open.rows,
            });
        }
        let told = Told {
            transition: Transition::Closed,
            cause: Cause::BackInRange,
            severity,
            onset: open.onset,
            rows: open.rows,
        };
        let published = open.published;
        self.open = None;
        published.then_some(told)
    }

    /// Is it open?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The open alert.
    #[must_use]
    pub fn open_alert(&self) -> Option<OpenAlert> {
        self.open.as_ref().map(|open| OpenAlert {
            kind: Kind::DataQuality,
            severity: Severity::Warning,
            onset: open.onset,
            rows: open.rows,
            peak_ratio: 0.0,
            told: open.published,
        })
    }

    /// The world was not told of the open alert.
    pub fn unsay(&mut self) {
        if let Some(open) = &mut self.open {
            open.published = false;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(out_of_range: &[bool], muted: impl Fn(usize) -> bool) -> Vec<(usize, Transition, u64)> {
        let mut quality = Quality::default();
        let row = |i: usize| quality.observe(EventTime::from_micros(i as i64), out_of_range[i], muted(i));
        let told: Vec<Option<Told>> = (0..out_of_range.len()).map(row).collect();
        told.iter().enumerate().filter_map(|(i, told)| told.map(|told| (i, told.transition, told.rows))).collect()
    }

    #[test]
    fn sixteen_rows_in_range_close_it() {
        let mut rows = vec![false, true, false, true];
        rows.extend([false; 20]);
        assert_eq!(check(&rows, |_| false), [(1, Transition::Opened, 1), (19, Transition::Closed, 19)]);
    }

    #[test]
    fn what_was_opened_in_a_silence_is_not_closed_after_it() {
        let mut rows = vec![true];
        rows.extend([false; 20]);
        let told = check(&rows, |i| i < 5);
        assert_eq!(told, [(0, Transition::Opened, 1)], "the caller holds it back, for it is muted");
    }

    #[test]
    fn what_outlasts_a_silence_is_told_of_after_it() {
        let mut rows = vec![true; 8];
        rows.extend([false; 20]);
        let told = check(&rows, |i| i < 5);
        assert_eq!(told, [(0, Transition::Opened, 1), (5, Transition::Opened, 6), (23, Transition::Closed, 24)]);
    }

    #[test]
    fn values_out_of_range_are_missing_for_all_that_learns() {
        let rule = ChannelRule { valid_min: 0.0, valid_max: 10.0, ..ChannelRule::default() };
        let mut values = [5.0, -1.0, f32::NAN, 11.0];
        assert_eq!(mask(&mut values, &[rule; 4]), [1, 3]);
        assert!(values[0] == 5.0 && values[1..].iter().all(|value| value.is_nan()));
    }
}
