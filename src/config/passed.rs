//! [kafka.properties]: what the user passes on to librdkafka, and what is not the user's to set.

use super::error::{ConfigError, Problems};
use super::units::Secret;
use serde_json::Value;
use std::collections::BTreeMap;

/// A property of [kafka.properties].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What librdkafka calls it.
    pub key: String,
    /// Where it stands in the configuration: under its own name, or under that of a file.
    pub at: String,
    value: Secret,
    is_secret: bool,
}

impl Passed {
    /// Its value, for the client alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.value.reveal()
    }

    /// What a library says of it, without what must not be shown.
    #[must_use]
    pub fn hidden_in(&self, words: &str) -> String {
        match self.reveal() {
            value if self.is_secret && !value.is_empty() => words.replace(value, "<hidden>"),
            _ => words.to_owned(),
        }
    }
}

/// Keys that are refused in [kafka.properties], and what to do instead. A trailing `*` stands for any end.
pub(super) const OWNED: [(&str, &str); 35] = [
    ("bootstrap.servers", "set `kafka.brokers`"),
    ("metadata.broker.list", "set `kafka.brokers`"),
    ("group.id", "set `kafka.group`"),
    ("group.instance.id", "set `kafka.instance`"),
    ("client.id", "it is made of group and instance"),
    ("session.timeout.ms", "set `kafka.session_timeout`"),
    ("transaction.timeout.ms", "set `kafka.transaction_timeout`"),
    ("transactional.id", "it is made of group and instance"),
    ("enable.idempotence", "set `kafka.delivery`"),
    ("acks", "every output waits for all replicas"),
    ("request.required.acks", "every output waits for all replicas"),
    ("enable.auto.commit", "offsets are committed with the epoch"),
    ("auto.commit.*", "offsets are committed with the epoch"),
    ("enable.auto.offset.store", "offsets are committed with the epoch"),
    ("isolation.level", "state and input are read committed"),
    ("auto.offset.reset", "set `input.start`"),
    ("group.protocol*", "the classic protocol keeps its place over a restart"),
    ("group.remote.assignor", "the classic protocol keeps its place over a restart"),
    ("heartbeat.interval.ms", "it follows `kafka.session_timeout`"),
    ("max.poll.interval.ms", "it follows `kafka.session_timeout`"),
    ("allow.auto.create.topics", "set `kafka.create_topics`"),
    ("check.crcs", "records are always checked"),
    ("retry.backoff.ms", "the judgement of a slow commit rests on it"),
    ("socket.timeout.ms", "the judgement of a slow commit rests on it"),
    ("message.timeout.ms", "an epoch has its own deadline"),
    ("delivery.timeout.ms", "an epoch has its own deadline"),
    ("partitioner", "keys go where Java clients would put them"),
    ("max.in.flight*", "it decides the order of what is sent"),
    ("queuing.strategy", "it decides the order of what is sent"),
    ("enable.partition.eof", "recovery rests on it"),
    ("test.mock.*", "the embedded broker is for `offkey demo`"),
    ("plugin.library.paths", "it loads foreign code"),
    ("interceptors", "it loads foreign code"),
    ("ssl.engine*", "it loads foreign code"),
    ("ssl.providers", "it loads foreign code"),
];

/// Whether the value of a property must not be shown.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    ["password", "secret", "passphrase", "token", "key.pem", "oauthbearer.config"].iter().any(|part| key.contains(part))
}

/// [kafka.properties] with nested tables joined by dots, `x_file` read into `x`, and everything refused that is not the user's.
pub(super) fn passed_on(properties: &Value, problems: &mut Problems) -> Vec<Passed> {
    let mut flat = BTreeMap::new();
    flatten(properties, "", &mut flat, problems);
    let mut passed = Vec::new();
    for (key, value) in &flat {
        let at = format!("kafka.properties.{key}");
        if let Some(plain) = key.strip_suffix("_file").filter(|plain| flat.contains_key(*plain)) {
            problems.add(at, format!("and `{plain}` exclude each other"), "take one of them out");
            continue;
        }
        let (key, value, is_secret) = match key.strip_suffix("_file") {
            Some(key) => match secret_file(&at, value) {
                Ok(secret) => (key.to_owned(), secret, true),
                Err(error) => {
                    problems.0.push(error);
                    continue;
                }
            },
            None => {
                let is_secret = is_secret(key);
                (key.clone(), value.clone(), is_secret)
            }
        };
        let owned = OWNED.iter().find(|(owned, _)| match owned.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == *owned,
        });
        match owned {
            Some((_, instead)) => problems.add(at, "is not yours to set", *instead),
            None => passed.push(Passed { key, at, value: Secret::new(value), is_secret }),
        }
    }
    passed
}

fn flatten(value: &Value, key: &str, flat: &mut BTreeMap<String, String>, problems: &mut Problems) {
    let text = match value {
        Value::Object(table) => {
            for (name, value) in table {
                let dot = if key.is_empty() { "" } else { "." };
                flatten(value, &format!("{key}{dot}{name}"), flat, problems);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Null | Value::Array(_) => {
            problems.add(
                format!("kafka.properties.{key}"),
                "is neither text, a number nor a truth value",
                "write it as librdkafka's CONFIGURATION.md has it",
            );
            return;
        }
    };
    flat.insert(key.to_owned(), text);
}

fn secret_file(key: &str, path: &str) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            key,
            format!("cannot read `{path}`: {error}"),
            "the file has to be readable by offkey, with the secret and nothing else in it",
        )
    })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
