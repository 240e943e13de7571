//! Fields of a message that get in each other's way: a configuration of which no record could ever be read, or none that means
//! anything.

use super::error::Problems;
use crate::wire::format::{EntityFrom, Format, TimeFrom};
use crate::wire::path::Path;

const ENTITY: &str = "input.entity";
const TIMESTAMP: &str = "input.timestamp";
const VALUES: &str = "input.values";
const SENSOR: &str = "input.sensor";
const VALUE: &str = "input.value";

pub(super) fn check(
    format: &Format,
    entity: &EntityFrom,
    timestamp: &TimeFrom,
    channels: &[String],
    problems: &mut Problems,
) {
    let mut uses: Vec<(&str, &Path)> = Vec::new();
    match entity {
        EntityFrom::Key => {}
        EntityFrom::Fields(paths) => uses.extend(paths.iter().map(|path| (ENTITY, path))),
    }
    match timestamp {
        TimeFrom::Record => {}
        TimeFrom::Field { path, .. } => uses.push((TIMESTAMP, path)),
    }
    match format {
        Format::JsonWide { values } => {
            not_measured(values, &uses, channels, problems);
            uses.push((VALUES, values));
        }
        Format::JsonLong { channel, value } => uses.extend([(SENSOR, channel), (VALUE, value)]),
    }
    for (n, (key, path)) in uses.iter().enumerate() {
        let found = uses[..n].iter().find_map(|(other, earlier)| conflict((key, path), (other, earlier)));
        if let Some((problem, hint)) = found {
            problems.add(*key, problem, hint);
        }
    }
}

/// What is wrong with the first of two, if they do not go together. Only the values are an object.
fn conflict((key, path): (&str, &Path), (other, earlier): (&str, &Path)) -> Option<(String, &'static str)> {
    // Sensors without machines are entities of one channel.
    let may_be_one = other == ENTITY && (key == ENTITY || key == SENSOR);
    if path == earlier && !may_be_one {
        return Some((format!("`{path}` is `{other}` already"), "every use needs a field of its own"));
    }
    let hint = "a field is an object or a value, and not both";
    if earlier.contains(path) {
        return Some((format!("`{path}` lies within `{earlier}`, which is `{other}`"), hint));
    }
    (path.contains(earlier) && key != VALUES)
        .then(|| (format!("`{path}` is the object around `{earlier}`, which is `{other}`"), hint))
}

/// Channels by the name of a field with another use, which is never measured.
fn not_measured(values: &Path, uses: &[(&str, &Path)], channels: &[String], problems: &mut Problems) {
    for name in channels {
        let path = values.join(name);
        if let Some((key, _)) = uses.iter().find(|(_, used)| used.to_string() == path) {
            problems.add("input.channels", format!("`{name}` is `{key}`, and no channel"), "take it out");
        }
    }
}
