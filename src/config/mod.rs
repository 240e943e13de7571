//! Files and environment to types. `Config` is what the rest of Offkey uses: everything in it was checked. Raw types are what
//! stands in the file; [`Config::load`] is the one place that can refuse, and it names every mistake at once.

mod environment;
mod error;
mod fields;
mod input;
pub mod kafka;
mod model;
mod passed;
mod raw;
mod reload;
mod rules;
mod shape;
mod syntax;
mod terms;
mod tree;
pub mod units;
pub mod whole;

pub use environment::environment;
pub use error::{ConfigError, ConfigErrors};
pub use input::{Input, Output, Start, State, topic_name};
pub use kafka::{Kafka, Properties};
pub use passed::Passed;
pub use raw::Delivery;
pub use raw::LogFormat;
pub use tree::{DEFAULT, Source};

use crate::detector;
use crate::lane::align;
use crate::lane::rulebook::Rulebook;
use crate::wire::format::Format;
use error::Problems;
use raw::Raw;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// What a record means.
    pub input: Input,
    /// What comes out.
    pub output: Output,
    /// What is kept.
    pub state: State,
    /// What shapes every detector.
    pub detector: Arc<detector::Settings>,
    /// Name of the detector: part of every alert's identity.
    pub name: String,
    /// What may change while running.
    pub rules: Rulebook,
    /// Where metrics and health are served.
    pub listen: SocketAddr,
    /// How the log is written.
    pub log: Log,
    raw: Raw,
    overrides: Vec<raw::RawOverride>,
}

/// How the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For whom.
    pub format: LogFormat,
    /// From which level on.
    pub level: tracing::Level,
}

impl Config {
    /// The defaults, then the source, then those variables of the environment that begin with `OFFKEY__`.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn load(
        source: Source<'_>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_with(source, environment, |_| Vec::new())
    }

    /// The same, and `library` has its say: what the Kafka client does not take. Nothing here knows its properties.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn load_with(
        source: Source<'_>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        library: impl Fn(&Kafka) -> Vec<ConfigError>,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        let environment = environment::texts(environment, &mut problems);
        let host = host(&environment);
        let tree = tree::Tree::of(source, environment, &mut problems);
        let tree = problems.take(tree);
        let config = tree.and_then(|mut tree| {
            let config = Self::of(&mut tree.root, &host, &library, &mut problems);
            for problem in &mut problems.0 {
                if let Some(variable) = tree.variable(&problem.key) {
                    let mark = if problem.hint.is_empty() { "" } else { "; " };
                    problem.hint = format!("{}{mark}set by {variable}", problem.hint);
                }
            }
            config
        });
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => {
                problems.0.sort();
                problems.0.dedup();
                Err(ConfigErrors(problems.0))
            }
        }
    }

    /// The compiled-in defaults.
    ///
    /// # Panics
    /// Never: the defaults are tested.
    #[must_use]
    pub fn defaults() -> Self {
        Self::load(Source::Default, []).expect("config/offkey.toml is tested")
    }

    /// How records become rows. A gap of more steps than a window has rows would fill it with nothing but held values: it is
    /// a break.
    #[must_use]
    pub fn align(&self) -> align::Settings {
        align::Settings {
            merge: matches!(self.input.decoder.format, Format::JsonLong { .. }),
            interval: self.input.interval,
            max_lateness: self.input.max_lateness,
            max_fill: i64::try_from(self.detector.window_rows).unwrap_or(i64::MAX),
        }
    }

    fn of(
        root: &mut Value,
        host: &str,
        library: impl Fn(&Kafka) -> Vec<ConfigError>,
        problems: &mut Problems,
    ) -> Option<Self> {
        shape::replace_misplaced(root, problems);
        tree::take_out_too_large(root, problems);
        let overrides = rules::take_overrides(root);
        let raw: Raw = tree::read_as(root.clone(), &tree::defaults(), "", problems)?;
        let overrides = rules::overrides(overrides, &raw, problems);
        let kafka = Kafka::of(&raw.kafka, host, problems);
        problems.0.extend(kafka.iter().flat_map(library));
        let input = Input::of(&raw.input, problems);
        let output = Output::of(&raw.output, problems);
        let state = State::of(&raw.state, &raw.kafka.group, problems);
        let detector = model::settings(&raw, problems);
        let rules = rules::rulebook(&raw, &overrides, problems);
        let listen = raw.http.listen.parse().ok();
        if listen.is_none() {
            problems.add(
                "http.listen",
                format!("`{}` is no address", raw.http.listen),
                "write address:port, such as 127.0.0.1:9464",
            );
        }
        // A level may be a number to tracing; nobody would know what it means.
        let is_word = raw.log.level.chars().all(char::is_alphabetic);
        let level = raw.log.level.parse().ok().filter(|_| is_word);
        if level.is_none() {
            problems.add(
                "log.level",
                format!("`{}` is no level", raw.log.level),
                "write error, warn, info, debug or trace",
            );
        }
        if let (Some(input), Some(output), Some(state)) = (&input, &output, &state) {
            input::distinct(input, output, state, problems);
        }
        Some(Self {
            kafka: kafka?,
            input: input?,
            output: output?,
            state: state?,
            detector: Arc::new(detector?),
            name: raw.alert.name.clone(),
            rules: rules?,
            listen: listen?,
            log: Log { format: raw.log.format, level: level? },
            raw,
            overrides: overrides.into_iter().map(|(_, over)| over).collect(),
        })
    }
}

/// What an instance is called that was not given a name.
fn host(environment: &HashMap<String, String>) -> String {
    let named = environment.get("HOSTNAME").cloned();
    let named = named.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let named = named.map(|name| name.trim().to_owned());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "offkey".to_owned())
}

#[cfg(test)]
mod tests;
