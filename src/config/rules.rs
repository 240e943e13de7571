//! `[threshold]`, `[alert]`, [[channel]], [[override]] and [[silence]], checked and made into a rulebook.

use super::error::Problems;
use super::raw::{Raw, RawAlert, RawChannel, RawClose, RawDirection, RawMethod, RawOverride, RawSilence, RawThreshold};
use super::tree;
use super::whole;
use crate::detector::rules::{Direction, Silence};
use crate::detector::{episode, threshold};
use crate::lane::rulebook::{ChannelPattern, Override, Rulebook, SilencePattern};
use crate::wire::timestamp::parse_rfc3339;
use globset::{Glob, GlobMatcher};
use serde_json::Value;

/// Level of rarity if none is given: about one alert in ten days of five-minute rows.
const RARITY: f32 = 2.2;
/// Quantile of the scores if none is given.
const QUANTILE: f64 = 0.999;
/// Deviations above median or mean if none are given.
const FACTOR: f32 = 6.0;
/// SPOT's risk if none is given.
const RISK: f64 = 1e-4;

/// Takes the overrides out of the tree, for [`overrides`].
pub(super) fn take_overrides(root: &mut Value) -> Vec<Value> {
    match root.as_object_mut().and_then(|object| object.remove("override")) {
        Some(Value::Array(overrides)) => overrides,
        Some(_) | None => Vec::new(),
    }
}

/// Reads overrides, each with its sections laid on the common ones. Those are read already: a mistake there is told once, and
/// what an override falls back to is none.
pub(super) fn overrides(taken: Vec<Value>, raw: &Raw, problems: &mut Problems) -> Vec<(usize, RawOverride)> {
    let common = serde_json::json!({"threshold": raw.threshold, "alert": raw.alert});
    let mut read = Vec::new();
    for (n, mut over) in taken.into_iter().enumerate() {
        for section in ["threshold", "alert"] {
            let Some(own) = over.get_mut(section) else {
                continue;
            };
            if section == "alert" && own.get("name").is_some() {
                problems.add(format!("override.{n}.alert.name"), "is one for all entities", "set `alert.name`");
            }
            let mut joined = common[section].clone();
            drop_rivals(&mut joined, own);
            tree::merge(&mut joined, own.take());
            *own = joined;
        }
        let over = tree::read_as::<RawOverride>(over, &common, &format!("override.{n}."), problems);
        read.extend(over.map(|over| (n, over)));
    }
    read
}

/// Keys of the common section that mean nothing beside those of an override: another method's, and the other of level and budget.
fn drop_rivals(common: &mut Value, own: &Value) {
    let Some(common) = common.as_object_mut() else { return };
    let has = |key: &str| own.get(key).is_some();
    if has("method") && own.get("method") != common.get("method") {
        common.clear();
    }
    if has("budget") {
        common.remove("level");
    }
    if has("level") {
        common.remove("budget");
    }
}

pub(super) fn rulebook(raw: &Raw, overrides: &[(usize, RawOverride)], problems: &mut Problems) -> Option<Rulebook> {
    let before = problems.0.len();
    let threshold = threshold(&raw.threshold, "threshold", problems);
    let alert = alert(&raw.alert, "alert", problems);
    problems.require(
        !raw.alert.name.is_empty() && raw.alert.name.len() <= 200,
        "alert.name",
        "is not 1 to 200 bytes long",
    );
    let mut read = Vec::new();
    for (n, over) in overrides {
        let at = format!("override.{n}");
        let entities = glob(&over.r#match, &at, problems);
        let own_threshold = over.threshold.as_ref();
        let own_threshold = own_threshold.map(|own| self::threshold(own, &format!("{at}.threshold"), problems));
        let own_alert = over.alert.as_ref();
        let own_alert = own_alert.map(|own| self::alert(own, &format!("{at}.alert"), problems));
        let channels = channels(&over.channel, &format!("{at}.channel"), problems);
        read.extend(entities.map(|entities| Override {
            entities,
            threshold: own_threshold.flatten(),
            alert: own_alert.flatten(),
            channels,
        }));
    }
    let channels = channels(&raw.channel, "channel", problems);
    let silences = raw.silence.iter().enumerate();
    let silences: Vec<_> = silences.filter_map(|(n, raw)| silence(raw, &format!("silence.{n}"), problems)).collect();
    if problems.0.len() > before {
        return None;
    }
    Some(Rulebook { threshold: threshold?, alert: alert?, channels, overrides: read, silences })
}

fn glob(pattern: &str, at: &str, problems: &mut Problems) -> Option<GlobMatcher> {
    if pattern.is_empty() {
        problems.add(format!("{at}.match"), "is empty, and no name is", "`*` matches every name");
    }
    match Glob::new(pattern) {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => {
            problems.add(format!("{at}.match"), error.to_string(), "`*`, `?`, `[a-z]` and `{a,b}` make patterns");
            None
        }
    }
}

fn channels(raw: &[RawChannel], at: &str, problems: &mut Problems) -> Vec<ChannelPattern> {
    let mut read = Vec::new();
    for (n, raw) in raw.iter().enumerate() {
        let at = format!("{at}.{n}");
        for (key, value) in [
            ("resolution", raw.resolution),
            ("min_deviation", raw.min_deviation),
            ("min_relative_deviation", raw.min_relative_deviation),
        ] {
            let fine = value.is_none_or(|value| value >= 0.0 && value.is_finite());
            problems.require(fine, &format!("{at}.{key}"), "is not 0 or more");
        }
        if let (Some(low), Some(high)) = (raw.valid_min, raw.valid_max) {
            let fine = low < high;
            problems.require(fine, &format!("{at}.valid_min"), format!("{low} is not below valid_max, {high}"));
        }
        read.extend(glob(&raw.r#match, &at, problems).map(|channels| ChannelPattern {
            channels,
            unit: raw.unit.clone(),
            resolution: raw.resolution,
            min_deviation: raw.min_deviation,
            min_relative_deviation: raw.min_relative_deviation,
            direction: raw.direction.map(|direction| match direction {
                RawDirection::Both => Direction::Both,
                RawDirection::Up => Direction::Up,
                RawDirection::Down => Direction::Down,
            }),
            valid_min: raw.valid_min,
            valid_max: raw.valid_max,
        }));
    }
    read
}

fn silence(raw: &RawSilence, at: &str, problems: &mut Problems) -> Option<SilencePattern> {
    let mut instant = |text: &Option<String>, key: &str| {
        let text = text.as_ref()?;
        let instant = parse_rfc3339(text.as_bytes());
        if instant.is_none() {
            problems.add(
                format!("{at}.{key}"),
                format!("`{text}` is no instant"),
                "write it as \"2026-01-01T00:00:00Z\"",
            );
        }
        instant
    };
    let (from, until) = (instant(&raw.from, "from"), instant(&raw.until, "until"));
    if let (Some(from), Some(until)) = (from, until) {
        problems.require(from < until, &format!("{at}.until"), "is not after `from`");
    }
    Some(SilencePattern {
        entities: glob(&raw.r#match, at, problems)?,
        silence: Silence { from, until, mute: raw.mute, learn: raw.learn },
    })
}

fn threshold(raw: &RawThreshold, at: &str, problems: &mut Problems) -> Option<threshold::Settings> {
    let before = problems.0.len();
    let used: &[&str] = match raw.method {
        RawMethod::Rarity => &["level", "budget"],
        RawMethod::Fixed => &["level"],
        RawMethod::Quantile => &["quantile"],
        RawMethod::Mad | RawMethod::MeanSd => &["factor"],
        RawMethod::Spot => &["risk"],
    };
    for (key, value, low, high) in [
        ("level", raw.level.map(f64::from), 0.0, 1e6),
        ("budget", raw.budget, 0.0, 1e4),
        ("quantile", raw.quantile, 0.5, 1.0),
        ("factor", raw.factor.map(f64::from), 0.0, 1e3),
        ("risk", raw.risk, 0.0, 0.1),
    ] {
        let Some(value) = value else { continue };
        let fine = value > low && value < high;
        let key = format!("{at}.{key}");
        problems.require(fine, &key, format!("{value} is not above {low} and below {high}"));
        if !used.iter().any(|used| key.ends_with(used)) {
            let method = serde_json::json!(raw.method);
            problems.add(&key, format!("has no meaning for method {method}"), "take it out, or take another method");
        }
    }
    if raw.level.is_some() && raw.budget.is_some() {
        problems.add(format!("{at}.budget"), "and `level` exclude each other", "take one of them out");
    }
    if raw.method == RawMethod::Fixed && raw.level.is_none() {
        problems.add(format!("{at}.level"), "is missing", "method \"fixed\" needs the level of the score");
    }
    (problems.0.len() == before).then_some(match (raw.method, raw.budget) {
        (RawMethod::Rarity, Some(budget)) => threshold::Settings::Budget { alerts_a_day: budget },
        (RawMethod::Rarity, None) => threshold::Settings::Rarity { level: raw.level.unwrap_or(RARITY) },
        (RawMethod::Fixed, _) => threshold::Settings::Fixed { level: raw.level? },
        (RawMethod::Quantile, _) => threshold::Settings::Quantile { q: raw.quantile.unwrap_or(QUANTILE) },
        (RawMethod::Mad, _) => threshold::Settings::Mad { k: raw.factor.unwrap_or(FACTOR) },
        (RawMethod::MeanSd, _) => threshold::Settings::MeanSd { k: raw.factor.unwrap_or(FACTOR) },
        (RawMethod::Spot, _) => threshold::Settings::Spot { q: raw.risk.unwrap_or(RISK) },
    })
}

fn alert(raw: &RawAlert, at: &str, problems: &mut Problems) -> Option<episode::Settings> {
    let before = problems.0.len();
    whole::require(problems, &format!("{at}.open_of"), raw.open_of);
    whole::require(problems, &format!("{at}.clear_rows"), raw.clear_rows);
    let mut require = |fine: bool, key: &str, problem: String| problems.require(fine, &format!("{at}.{key}"), problem);
    require(
        (1..=raw.open_of).contains(&raw.open_rows),
        "open_rows",
        format!("{} is not within 1 and open_of, {}", raw.open_rows, raw.open_of),
    );
    let share = raw.close_share;
    require(share > 0.0 && share < 1.0, "close_share", format!("{share} is not between 0 and 1"));
    let clear = raw.clear_ratio;
    require(clear > 0.0 && clear <= 1.0, "clear_ratio", format!("{clear} is not above 0 and at most 1"));
    require(raw.break_through >= 0.0, "break_through", format!("{} is not 0 or more", raw.break_through));
    let (warning, critical) = (raw.warning_ratio, raw.critical_ratio);
    require(warning >= 1.0, "warning_ratio", format!("{warning} is below 1, where no alert is open"));
    require(critical >= warning, "critical_ratio", format!("{critical} is below warning_ratio, {warning}"));
    let (warning, critical) = (raw.warning_rows, raw.critical_rows);
    require(critical >= warning, "critical_rows", format!("{critical} is below warning_rows, {warning}"));
    (problems.0.len() == before).then_some(episode::Settings {
        open: raw.open_rows,
        of: raw.open_of,
        refractory: raw.refractory_rows,
        break_through: raw.break_through,
        close: match raw.close {
            RawClose::Relative => episode::Close::Relative { share },
            RawClose::Clear => episode::Close::Clear { below: clear, rows: raw.clear_rows },
        },
        warning_ratio: raw.warning_ratio,
        critical_ratio: raw.critical_ratio,
        warning_rows: raw.warning_rows,
        critical_rows: raw.critical_rows,
    })
}
