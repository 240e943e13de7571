//! `[input]`, `[output]` and `[state]`, checked.

use super::error::Problems;
use super::fields;
use super::raw::{RawFormat, RawInput, RawOutput, RawState, RawUnit};
use super::whole;
use crate::detector::row::EventTime;
use crate::lane::align::Late;
use crate::wire::channels::Selection;
use crate::wire::format::{self, EntityFrom, Format, MAX_ENTITY_PARTS, TimeFrom};
use crate::wire::path::Path;
use crate::wire::timestamp::{Unit, parse_rfc3339};
use std::time::Duration;

/// Where a group without offsets and without state begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    Earliest,
    /// With the next record.
    Latest,
    /// With the first record of this instant or later.
    At(EventTime),
}

/// What a record means.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Where the records are.
    pub topics: Vec<String>,
    /// Where to begin.
    pub start: Start,
    /// How to read them.
    pub decoder: format::Settings,
    /// Step of the grid in microseconds; `None`: rows as they come.
    pub interval: Option<i64>,
    /// How far behind its entity's newest row a row may be before it is late, in microseconds of event time.
    pub max_lateness: i64,
    /// What becomes of later ones.
    pub late: Late,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Topic of the alerts.
    pub alerts: String,
    /// Topic of the scores; `None`: off.
    pub scores: Option<String>,
    /// Topic of the dead letters.
    pub dead_letters: String,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The compacted topic.
    pub topic: String,
    /// No snapshot of a live entity is older.
    pub snapshot_interval: Duration,
    /// Entities with a detector in memory, and as many again on probation.
    pub max_entities: usize,
    /// Bytes of them all.
    pub max_memory: usize,
    /// Rows before a new entity gets a model.
    pub probation_rows: u32,
}

/// Less than this is no memory for entities of any width.
const LEAST_MEMORY: usize = 16 << 20;

impl Input {
    pub(super) fn of(raw: &RawInput, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        problems.require(!raw.topics.0.is_empty(), "input.topics", "names no topic");
        for name in &raw.topics.0 {
            topic(name, "input.topics", problems);
        }
        let format = match raw.format {
            RawFormat::JsonWide => values(&raw.values, problems).map(|values| Format::JsonWide { values }),
            RawFormat::JsonLong => {
                let (channel, value) =
                    (field(&raw.sensor, "input.sensor", "", problems), field(&raw.value, "input.value", "", problems));
                channel.zip(value).map(|(channel, value)| Format::JsonLong { channel, value })
            }
        };
        let entity = match raw.entity.0.as_slice() {
            [one] if one == "key" => Some(EntityFrom::Key),
            several => {
                let paths: Vec<_> =
                    several.iter().map(|text| field(text, "input.entity", ", or \"key\"", problems)).collect();
                paths.into_iter().collect::<Option<Vec<_>>>().map(EntityFrom::Fields)
            }
        };
        let timestamp = match raw.timestamp.as_str() {
            "record" => Some(TimeFrom::Record),
            text => field(text, "input.timestamp", ", or \"record\"", problems)
                .map(|path| TimeFrom::Field { path, unit: unit(raw.timestamp_unit) }),
        };
        let most = MAX_ENTITY_PARTS;
        if raw.entity.0.is_empty() || raw.entity.0.len() > most {
            problems.add(
                "input.entity",
                format!("is not \"key\" and not 1 to {most} fields"),
                "write \"key\", a field's path, or a list of paths",
            );
        }
        if let (Some(format), Some(entity), Some(timestamp)) = (&format, &entity, &timestamp) {
            fields::check(format, entity, timestamp, &raw.channels.0, problems);
        }
        if raw.channels.0.iter().any(String::is_empty) {
            problems.add(
                "input.channels",
                "one of them is empty",
                "leave the list empty, or write \"*\", for all of them",
            );
        }
        let channels = Selection::new(&raw.channels.0);
        if let Err(problem) = &channels {
            problems.add("input.channels", problem, "`*`, `?`, `[a-z]` and `{a,b}` make patterns");
        }
        let start = start(&raw.start, problems);
        if let Some(interval) = raw.interval {
            problems.require(
                interval.0 >= Duration::from_millis(1),
                "input.interval",
                format!("`{interval}` is shorter than 1ms"),
            );
        }
        problems.require(
            (1 << 10..=1 << 28).contains(&raw.max_record_size.0),
            "input.max_record_size",
            format!("`{}` is not within 1KiB and 256MiB", raw.max_record_size),
        );
        if problems.0.len() > before {
            return None;
        }
        Some(Self {
            topics: raw.topics.0.clone(),
            start: start?,
            decoder: format::Settings {
                format: format?,
                entity: entity?,
                timestamp: timestamp?,
                channels: channels.ok()?,
                max_future: raw.max_future.micros(),
                max_record_size: usize::try_from(raw.max_record_size.0).ok()?,
            },
            interval: raw.interval.map(super::units::Span::micros),
            max_lateness: raw.max_lateness.micros(),
            late: raw.late,
        })
    }
}

/// A path that is not the message itself. `or`: what may stand there instead.
fn field(text: &str, key: &str, or: &str, problems: &mut Problems) -> Option<Path> {
    let hint = format!("write a field's path with dots: machine.id{or}");
    match Path::new(text) {
        Ok(path) if !path.is_root() => return Some(path),
        Ok(_) if text.is_empty() => problems.add(key, "is empty", hint),
        Ok(_) => problems.add(key, format!("`{text}` is the message itself, and no field of it"), hint),
        Err(problem) => problems.add(key, format!("`{text}`: {problem}"), hint),
    }
    None
}

/// The message itself has to be meant: an empty text may be a variable that nobody has set.
fn values(text: &str, problems: &mut Problems) -> Option<Path> {
    if text == "." {
        return Path::new(text).ok();
    }
    if text.is_empty() {
        problems.add("input.values", "is empty", "write the path of an object, or \".\" for the message itself");
        return None;
    }
    field(text, "input.values", "", problems)
}

fn start(text: &str, problems: &mut Problems) -> Option<Start> {
    match text {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        instant => {
            let at = parse_rfc3339(instant.as_bytes());
            if at.is_none() {
                problems.add(
                    "input.start",
                    format!("`{instant}` is no beginning"),
                    "write \"earliest\", \"latest\" or an instant such as \"2026-01-01T00:00:00Z\"",
                );
            }
            at.map(Start::At)
        }
    }
}

const fn unit(raw: RawUnit) -> Unit {
    match raw {
        RawUnit::Auto => Unit::Auto,
        RawUnit::Seconds => Unit::Seconds,
        RawUnit::Millis => Unit::Millis,
        RawUnit::Micros => Unit::Micros,
        RawUnit::Nanos => Unit::Nanos,
        RawUnit::Rfc3339 => Unit::Rfc3339,
    }
}

impl Output {
    pub(super) fn of(raw: &RawOutput, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        topic(&raw.alerts, "output.alerts", problems);
        topic(&raw.dead_letters, "output.dead_letters", problems);
        if let Some(scores) = &raw.scores {
            topic(scores, "output.scores", problems);
        }
        (problems.0.len() == before).then(|| Self {
            alerts: raw.alerts.clone(),
            scores: raw.scores.clone(),
            dead_letters: raw.dead_letters.clone(),
        })
    }
}

impl State {
    pub(super) fn of(raw: &RawState, group: &str, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let name = raw.topic.clone().unwrap_or_else(|| format!("{group}-state"));
        topic(&name, "state.topic", problems);
        let interval = raw.snapshot_interval;
        if interval.0 < Duration::from_secs(1) || interval.0 > Duration::from_secs(86_400) {
            problems.add(
                "state.snapshot_interval",
                format!("`{interval}` is not within 1s and 1d"),
                "it bounds the replay after a crash; 30s is a good start",
            );
        }
        whole::require(problems, "state.max_entities", raw.max_entities as u64);
        let memory = usize::try_from(raw.max_memory.0).ok().filter(|bytes| *bytes >= LEAST_MEMORY);
        if memory.is_none() {
            problems.add(
                "state.max_memory",
                format!("`{}` is less than 16MiB", raw.max_memory),
                "an entity of 8 channels takes 50kB to 150kB; write what the machine can spare for them",
            );
        }
        whole::require(problems, "state.probation_rows", raw.probation_rows);
        (problems.0.len() == before).then_some(Self {
            topic: name,
            snapshot_interval: interval.0,
            max_entities: raw.max_entities,
            max_memory: memory?,
            probation_rows: raw.probation_rows,
        })
    }
}

fn topic(name: &str, key: &str, problems: &mut Problems) {
    if let Err(hint) = topic_name(name) {
        problems.add(key, format!("`{name}` is no topic name"), hint);
    }
}

/// Kafka's own rule for topic names.
///
/// # Errors
/// What would be one.
pub fn topic_name(name: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = !name.is_empty() && name.len() <= 249 && name.chars().all(plain);
    if !fine || name == "." || name == ".." {
        return Err("use 1 to 249 letters, digits, `.`, `_` and `-`");
    }
    Ok(())
}

/// No topic has two uses: an output read as input would feed itself, a state topic must be compacted and nothing else may be.
pub(super) fn distinct(input: &Input, output: &Output, state: &State, problems: &mut Problems) {
    let mut uses: Vec<(&str, &str)> = input.topics.iter().map(|topic| ("input.topics", topic.as_str())).collect();
    uses.push(("output.alerts", &output.alerts));
    uses.push(("output.dead_letters", &output.dead_letters));
    uses.extend(output.scores.iter().map(|topic| ("output.scores", topic.as_str())));
    uses.push(("state.topic", &state.topic));
    for (n, (key, topic)) in uses.iter().enumerate() {
        if let Some((other, _)) = uses[..n].iter().find(|(_, earlier)| earlier == topic) {
            problems.add(*key, format!("`{topic}` is `{other}` already"), "every use needs a topic of its own");
        }
    }
}
