//! What is wrong with the syntax of a configuration, and where; never a word of its text, which may hold a password.

use super::error::ConfigError;
use toml::de::{DeTable, DeValue};

/// Ends of messages about YAML that begin with a word of the text, and what is said instead.
const YAML: [(&str, &str); 5] = [
    ("duplicated key in mapping", "a key stands twice in one table"),
    ("as floating point number failed", "a number is not finite; nan and inf mean nothing here"),
    ("an unsupported hash key type", "a key is neither text nor a number"),
    ("YAML documents, expected 1", "there is more than one document in it; write all sections into one"),
    ("expected a map", "is no table; write sections with keys"),
];

/// A mistake of a text that could not be parsed; `name`: whose text it is.
pub(super) fn mistake(error: &config::ConfigError, text: &str, name: &str) -> ConfigError {
    let config::ConfigError::FileParse { cause, .. } = error else {
        return ConfigError::new(name, "cannot be read as a configuration", "write sections with keys");
    };
    if let Some(error) = cause.downcast_ref::<toml::de::Error>() {
        let place = error.span().map(|span| format!("{}: ", place(text, span.start))).unwrap_or_default();
        return ConfigError::new(name, format!("{place}{}", error.message()), "");
    }
    if let Some(error) = cause.downcast_ref::<yaml_rust2::ScanError>() {
        let (line, column) = (error.marker().line(), error.marker().col() + 1);
        // What stands behind a colon is the character that was not expected.
        let info = error.info().split(": `").next().unwrap_or_default();
        let problem = instead_of(info).unwrap_or(info);
        return ConfigError::new(name, format!("line {line}, column {column}: {problem}"), "");
    }
    if let Some((key, at, hint)) = too_large(text) {
        return ConfigError::new(key, format!("{}: a number that 64 bits do not hold", place(text, at)), hint);
    }
    let problem = instead_of(&cause.to_string()).unwrap_or("cannot be read as a configuration");
    ConfigError::new(name, problem, "")
}

fn instead_of(message: &str) -> Option<&'static str> {
    YAML.iter().find(|(end, _)| message.ends_with(end)).map(|(_, instead)| *instead)
}

/// Where a byte of a text is, as editors count.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}")
}

/// The key of the first number of a TOML text that is beyond 64 bits, where it stands, and what it may be.
fn too_large(text: &str) -> Option<(String, usize, String)> {
    let table = DeTable::parse(text).ok()?;
    too_large_in(&DeValue::Table(table.into_inner()), "", 0)
}

fn too_large_in(value: &DeValue<'_>, key: &str, at: usize) -> Option<(String, usize, String)> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .is_err()
            .then(|| (key.to_owned(), at, format!("write one within {} and {}", i64::MIN, i64::MAX))),
        DeValue::Float(number) => {
            let number = number.as_str();
            (number.parse().is_ok_and(f64::is_infinite) && !number.contains("inf"))
                .then(|| (key.to_owned(), at, format!("write one within -{0:.1e} and {0:.1e}", f32::MAX)))
        }
        DeValue::Table(table) => table.iter().find_map(|(name, value)| {
            let mark = if key.is_empty() { "" } else { "." };
            too_large_in(value.get_ref(), &format!("{key}{mark}{}", name.get_ref()), value.span().start)
        }),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(n, value)| too_large_in(value.get_ref(), &format!("{key}[{n}]"), value.span().start)),
        DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => None,
    }
}
