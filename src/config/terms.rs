//! How records are read and judged, as a value with its own text: a lane that was under other terms when it crashed has its replay
//! under those, whatever stands in the file by then.

use super::error::{ConfigErrors, Problems};
use super::raw::{Raw, RawAlert, RawChannel, RawInput, RawOverride, RawSilence, RawThreshold};
use super::{Config, Input, rules};
use crate::lane::terms::Terms;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the text holds.
#[derive(Deserialize)]
struct RawTerms {
    input: RawInput,
    probation_rows: u32,
    threshold: RawThreshold,
    alert: RawAlert,
    channel: Vec<RawChannel>,
    silence: Vec<RawSilence>,
    r#override: Vec<RawOverride>,
}

impl Config {
    /// How records are read and judged.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let raw = &self.raw;
        let mut text = json!({
            "input": raw.input, "probation_rows": self.state.probation_rows, "threshold": raw.threshold, "alert": raw.alert,
            "channel": raw.channel, "silence": raw.silence, "override": self.overrides,
        });
        // Which records there are, and what their alerts are called, is another matter.
        for (section, key) in [("input", "topics"), ("input", "start"), ("alert", "name")] {
            text[section].as_object_mut().map(|section| section.remove(key));
        }
        Terms {
            decoder: self.input.decoder.clone(),
            align: self.align(),
            late: self.input.late,
            probation_rows: self.state.probation_rows as usize,
            rulebook: self.rules.clone(),
            fingerprint: fingerprint(&text),
            text: text.to_string(),
        }
    }

    /// The terms with this text.
    ///
    /// # Errors
    /// It is of a version that has other keys.
    pub fn terms_of(&self, text: &str) -> Result<Terms, ConfigErrors> {
        let mut problems = Problems::default();
        match self.under(text, &mut problems) {
            Some(config) if problems.0.is_empty() => Ok(config.terms()),
            _ => Err(ConfigErrors(problems.0)),
        }
    }

    /// This configuration with the terms of that text.
    fn under(&self, text: &str, problems: &mut Problems) -> Option<Self> {
        let read = serde_json::from_str::<Value>(text).and_then(|mut tree| {
            tree["input"]["topics"] = json!(self.raw.input.topics);
            tree["input"]["start"] = json!(self.raw.input.start);
            tree["alert"]["name"] = json!(self.name);
            serde_json::from_value::<RawTerms>(tree)
        });
        let RawTerms { input, probation_rows, threshold, alert, channel, silence, r#override: overrides } =
            read.map_err(|error| problems.add("terms", error.to_string(), "")).ok()?;
        let raw = Raw { input, threshold, alert, channel, silence, ..self.raw.clone() };
        let numbered: Vec<(usize, RawOverride)> = overrides.iter().cloned().enumerate().collect();
        let rules = rules::rulebook(&raw, &numbered, problems)?;
        let input = Input::of(&raw.input, problems)?;
        let mut state = self.state.clone();
        state.probation_rows = probation_rows;
        Some(Self { input, state, rules, raw, overrides, ..self.clone() })
    }
}

/// The first 64 bits of the SHA-256 of a tree, with sorted keys whatever features serde_json was built with.
fn fingerprint(tree: &Value) -> u64 {
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
    hash.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
