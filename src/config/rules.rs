//! [threshold], [alert], [[channel]], [[override]] and [[silence]], checked and made into a rulebook.

use super::error::Problems;
use super::raw::{
    Raw, RawAlert, RawChannel, RawDirection, RawMethod, RawOverride, RawSilence, RawThreshold,
};
use super::tree;
use crate::detector::rules::{Direction, Silence};
use crate::detector::{episode, threshold};
use crate::lane::rulebook::{ChannelPattern, Override, Rulebook, SilencePattern};
use crate::wire::timestamp::parse_rfc3339;
use globset::{Glob, GlobMatcher};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Takes the overrides out of the tree, each with its sections laid on the common ones.
pub(super) fn take_overrides(root: &mut Value, problems: &mut Problems) -> Vec<RawOverride> {
    let Some(object) = root.as_object_mut() else {
        return Vec::new();
    };
    let Some(Value::Array(overrides)) = object.remove("override") else {
        return Vec::new();
    };
    let mut read = Vec::new();
    for (n, mut over) in overrides.into_iter().enumerate() {
        for section in ["threshold", "alert"] {
            let Some(own) = over.get_mut(section) else {
                continue;
            };
            if section == "alert" && own.get("name").is_some() {
                problems.add(
                    format!("override.{n}.alert.name"),
                    "is one for all entities",
                    "set `alert.name`",
                );
            }
            let mut joined = root[section].clone();
            tree::merge(&mut joined, own.take());
            *own = joined;
        }
        read.extend(tree::read_as::<RawOverride>(
            over,
            root,
            &format!("override.{n}."),
            problems,
        ));
    }
    read
}

pub(super) fn rulebook(
    raw: &Raw,
    overrides: &[RawOverride],
    problems: &mut Problems,
) -> Option<Rulebook> {
    let before = problems.0.len();
    let threshold = threshold(&raw.threshold, "threshold", problems);
    let alert = alert(&raw.alert, "alert", problems);
    problems.require(
        !raw.alert.name.is_empty() && raw.alert.name.len() <= 200,
        "alert.name",
        "is not 1 to 200 bytes long",
    );
    let mut read = Vec::new();
    for (n, over) in overrides.iter().enumerate() {
        let at = format!("override.{n}");
        let entities = glob(&over.r#match, &at, problems);
        let own_threshold = over.threshold.as_ref();
        let own_threshold =
            own_threshold.map(|own| self::threshold(own, &format!("{at}.threshold"), problems));
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
    let silences: Vec<_> = silences
        .filter_map(|(n, raw)| silence(raw, &format!("silence.{n}"), problems))
        .collect();
    if problems.0.len() > before {
        return None;
    }
    Some(Rulebook {
        threshold: threshold?,
        alert: alert?,
        channels,
        overrides: read,
        silences,
        fingerprint: fingerprint(&reloadable(raw, overrides)),
    })
}

/// What may change while running, as it stands in the file.
pub(super) fn reloadable(raw: &Raw, overrides: &[RawOverride]) -> Value {
    serde_json::json!({
        "threshold": raw.threshold, "alert": raw.alert, "channel": raw.channel, "silence": raw.silence, "override": overrides,
    })
}

/// The first 64 bits of the SHA-256 of a tree, with sorted keys whatever features serde_json was built with.
pub(super) fn fingerprint(tree: &Value) -> u64 {
    fn feed(tree: &Value, hash: &mut Sha256) {
        match tree {
            Value::Object(table) => {
                let mut names: Vec<_> = table.keys().collect();
                names.sort();
                hash.update(b"{");
                for name in names {
                    hash.update(name.as_bytes());
                    hash.update(b"=");
                    feed(&table[name], hash);
                }
                hash.update(b"}");
            }
            Value::Array(array) => {
                hash.update(b"[");
                for value in array {
                    feed(value, hash);
                }
                hash.update(b"]");
            }
            leaf => hash.update(leaf.to_string().as_bytes()),
        }
        hash.update(b";");
    }
    let mut hash = Sha256::new();
    feed(tree, &mut hash);
    let hash = hash.finalize();
    hash.iter()
        .take(8)
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

fn glob(pattern: &str, at: &str, problems: &mut Problems) -> Option<GlobMatcher> {
    match Glob::new(pattern) {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => {
            problems.add(
                format!("{at}.match"),
                error.to_string(),
                "`*`, `?`, `[a-z]` and `{a,b}` make patterns",
            );
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
            problems.require(
                fine,
                &format!("{at}.valid_min"),
                format!("{low} is not below valid_max, {high}"),
            );
        }
        read.extend(
            glob(&raw.r#match, &at, problems).map(|channels| ChannelPattern {
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
            }),
        );
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
        silence: Silence {
            from,
            until,
            mute: raw.mute,
            learn: raw.learn,
        },
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
    for (key, value, fine) in [
        (
            "level",
            raw.level,
            raw.level
                .is_none_or(|level| level > 0.0 && level.is_finite()),
        ),
        (
            "budget",
            raw.budget,
            raw.budget
                .is_none_or(|budget| budget > 0.0 && budget <= 1e4),
        ),
        (
            "quantile",
            raw.quantile,
            raw.quantile.is_none_or(|q| q > 0.5 && q < 1.0),
        ),
        (
            "factor",
            raw.factor,
            raw.factor
                .is_none_or(|factor| factor > 0.0 && factor <= 1e3),
        ),
        (
            "risk",
            raw.risk,
            raw.risk.is_none_or(|risk| risk > 0.0 && risk <= 0.1),
        ),
    ] {
        let Some(value) = value else { continue };
        let key = format!("{at}.{key}");
        problems.require(fine, &key, format!("{value} is out of range"));
        if !used.iter().any(|used| key.ends_with(used)) {
            let method = serde_json::json!(raw.method);
            problems.add(
                &key,
                format!("has no meaning for method {method}"),
                "take it out, or take another method",
            );
        }
    }
    if raw.level.is_some() && raw.budget.is_some() {
        problems.add(
            format!("{at}.budget"),
            "and `level` exclude each other",
            "take one of them out",
        );
    }
    if raw.method == RawMethod::Fixed && raw.level.is_none() {
        problems.add(
            format!("{at}.level"),
            "is missing",
            "method \"fixed\" needs the level of the score",
        );
    }
    (problems.0.len() == before).then_some(threshold::Settings {})
}

fn alert(_raw: &RawAlert, _at: &str, _problems: &mut Problems) -> Option<episode::Settings> {
    Some(episode::Settings {})
}
