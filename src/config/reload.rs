//! What a reload may change, and what it may not.

use super::Config;
use super::error::{ConfigError, ConfigErrors};
use crate::lane::terms::Terms;
use serde_json::{Value, json};

impl Config {
    /// The terms of a new configuration, if nothing but its rules is new.
    ///
    /// # Errors
    /// Every key that differs and needs a restart; the old configuration stays.
    pub fn reload(&self, new: &Self) -> Result<Terms, ConfigErrors> {
        let mut changed = Vec::new();
        differences(&self.fixed(), &new.fixed(), "", &mut changed);
        let keys = changed
            .into_iter()
            .map(|key| ConfigError::new(key, "cannot change while running", "restart offkey to change it"));
        let errors: Vec<_> = keys.collect();
        if errors.is_empty() { Ok(new.terms()) } else { Err(ConfigErrors(errors)) }
    }

    /// Everything that needs a restart.
    fn fixed(&self) -> Value {
        let raw = &self.raw;
        let mut fixed = json!({
            "kafka": raw.kafka, "input": raw.input, "output": raw.output, "state": raw.state, "warmup": raw.warmup,
            "window": raw.window, "model": raw.model, "http": raw.http, "log": raw.log, "alert": {"name": raw.alert.name},
        });
        // A secret that was rotated in its file is a change too: librdkafka reads it at its creation.
        fixed["kafka"]["properties"] = json!(format!("{:x}", self.kafka.secret_fingerprint()));
        for (n, channel) in raw.channel.iter().enumerate() {
            if channel.unit.is_some() || channel.resolution.is_some() {
                fixed["channel"][format!("{n}")] =
                    json!({"match": channel.r#match, "unit": channel.unit, "resolution": channel.resolution});
            }
        }
        fixed
    }

    /// The configuration as it is used, defaults and environment included, secrets hidden.
    #[must_use]
    pub fn dump(&self) -> Value {
        let mut all = json!(self.raw);
        all["override"] = json!(self.overrides);
        hide(&mut all["kafka"]["properties"], "");
        all
    }
}

fn hide(properties: &mut Value, key: &str) {
    match properties {
        Value::Object(table) => {
            for (name, value) in table {
                hide(value, &format!("{key}.{name}"));
            }
        }
        value if super::passed::is_secret(key) && !key.ends_with("_file") => *value = json!("<hidden>"),
        _ => {}
    }
}

fn differences(old: &Value, new: &Value, key: &str, changed: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<_> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let dot = if key.is_empty() { "" } else { "." };
                differences(&old[name], &new[name], &format!("{key}{dot}{name}"), changed);
            }
        }
        _ if old == new => {}
        _ => changed.push(key.to_owned()),
    }
}
