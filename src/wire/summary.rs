//! An alert in one line for a person.

use super::shown::shown;
use crate::detector::alert::{Alert, Cause, ChannelEvidence, Kind, Severity};
use crate::detector::schema::Channel;
use std::fmt::Write as _;

/// Channels named at most.
const NAMED: usize = 3;
/// Share from which a second and third channel are worth naming.
const WORTH: f32 = 0.15;

/// Such as `pump-1: critical anomaly: vibration 9.3 mm/s, expected 4.1 (3.9 to 4.4); 2.4 times the threshold`.
pub(super) fn of(entity: &str, schema: &[Channel], alert: &Alert) -> String {
    let entity = shown(entity);
    let severity = match alert.severity {
        Severity::Info => "slight",
        Severity::Warning => "marked",
        Severity::Critical => "critical",
    };
    let mut line = match (alert.kind, alert.cause) {
        (Kind::Anomaly, Cause::Threshold) => format!("{entity}: {severity} anomaly"),
        (Kind::Anomaly, Cause::BreakThrough) => format!("{entity}: the anomaly has become far rarer"),
        (Kind::Anomaly, Cause::Escalation) => format!("{entity}: the anomaly is now {severity} after {}", rows(alert)),
        (Kind::Anomaly, Cause::Adapting) => {
            format!("{entity}: the anomaly has lasted {}, a new level is being learned", rows(alert))
        }
        (Kind::Anomaly, Cause::NewNormal) => format!("{entity}: the new level is normal now, after {}", rows(alert)),
        (Kind::Anomaly, Cause::Cleared) => format!("{entity}: the anomaly is over after {}", rows(alert)),
        (_, Cause::Ended) => return format!("{entity}: the alert ends after {} with the entity itself", rows(alert)),
        (_, Cause::Replaced) => {
            return format!("{entity}: the alert ends after {}, for what was learned was replaced", rows(alert));
        }
        (Kind::DataQuality, Cause::BackInRange | Cause::Cleared | Cause::NewNormal) => {
            return format!("{entity}: every value is back in its valid range after {}", rows(alert));
        }
        (Kind::DataQuality, Cause::Escalation | Cause::Adapting) => {
            format!("{entity}: still outside the valid range after {}", rows(alert))
        }
        (Kind::DataQuality, Cause::OutOfRange | Cause::Threshold | Cause::BreakThrough)
        | (Kind::Anomaly, Cause::OutOfRange | Cause::BackInRange) => format!("{entity}: outside the valid range"),
    };
    if matches!(alert.cause, Cause::Cleared | Cause::NewNormal) {
        push(&mut line, format_args!("; it reached {} times the threshold", short(alert.peak_ratio)));
        return line;
    }
    for (n, evidence) in alert.channels.iter().take(NAMED).enumerate() {
        let worth = n == 0 || evidence.share >= WORTH;
        let Some(channel) = schema.get(evidence.slot).filter(|_| worth && evidence.share > 0.0) else {
            break;
        };
        line.push_str(if n == 0 { ": " } else { ", " });
        name(&mut line, channel, evidence, alert.kind);
    }
    if alert.kind == Kind::Anomaly {
        push(&mut line, format_args!("; {} times the threshold", short(alert.score_ratio)));
    }
    line
}

fn name(line: &mut String, channel: &Channel, evidence: &ChannelEvidence, kind: Kind) {
    let unit = channel.unit.as_ref().map(|unit| format!(" {}", shown(unit))).unwrap_or_default();
    let name = shown(&channel.name);
    if evidence.observed.is_nan() {
        push(line, format_args!("{name} is missing"));
        return;
    }
    push(line, format_args!("{name} {}{unit}", short(evidence.observed)));
    match kind {
        Kind::Anomaly if evidence.expected.is_finite() => {
            push(line, format_args!(" (expected {}", short(evidence.expected)));
            if evidence.low.is_finite() && evidence.high.is_finite() {
                push(line, format_args!(", usually {} to {}", short(evidence.low), short(evidence.high)));
            }
            line.push(')');
        }
        Kind::Anomaly => {}
        Kind::DataQuality => match (evidence.low.is_finite(), evidence.high.is_finite()) {
            (true, true) => push(line, format_args!(" (valid: {} to {})", short(evidence.low), short(evidence.high))),
            (true, false) => push(line, format_args!(" (valid: from {})", short(evidence.low))),
            (false, true) => push(line, format_args!(" (valid: to {})", short(evidence.high))),
            (false, false) => {}
        },
    }
}

fn rows(alert: &Alert) -> String {
    match alert.rows {
        1 => "1 row".to_owned(),
        n => format!("{n} rows"),
    }
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a String takes everything");
}

/// Three significant digits before the point or more, as people write numbers.
fn short(value: f32) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = match size {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_written_as_people_do() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (9.346, "9.35"),
            (93.46, "93.5"),
            (934.6, "935"),
            (-0.5, "-0.5"),
            (0.012_345, "0.0123"),
            (1e-9, "1.00e-9"),
            (1.5e12, "1.50e12"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
