//! Files and environment to one tree, and the tree to raw types: unknown keys and wrong types are all found in one go.

use super::error::{ConfigError, Problems};
use super::{syntax, whole};
use config::{Environment, File, FileFormat, ValueKind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// The default configuration, which is also the reference of every key.
pub const DEFAULT: &str = include_str!("../../config/offkey.toml");

/// Where a configuration comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The defaults alone.
    Default,
    /// A file; `.yaml` and `.yml` are YAML, all else is TOML.
    File(&'a Path),
    /// TOML.
    Toml(&'a str),
    /// YAML.
    Yaml(&'a str),
}

/// The tree of all sources: defaults, then the file, then the environment (`OFFKEY__SECTION__KEY`).
pub(super) struct Tree {
    pub(super) root: Value,
    environment: Value,
}

impl Tree {
    pub(super) fn of(
        source: Source<'_>,
        environment: HashMap<String, String>,
        problems: &mut Problems,
    ) -> Result<Self, ConfigError> {
        let mut root = defaults();
        let written = match source {
            Source::Default => Value::Null,
            Source::Toml(text) => parse(text, FileFormat::Toml, "config", problems)?,
            Source::Yaml(text) => parse(text, FileFormat::Yaml, "config", problems)?,
            Source::File(path) => read(path, problems)?,
        };
        merge(&mut root, written);
        let source =
            Environment::with_prefix("OFFKEY").prefix_separator("__").separator("__").source(Some(environment));
        let mut environment: Value = config::Config::builder()
            .add_source(source)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| ConfigError::new("environment", error.to_string(), ""))?;
        type_like(&mut environment, &documented());
        merge(&mut root, environment.clone());
        Ok(Self { root, environment })
    }

    /// The environment variable that set this key, if one did.
    pub(super) fn variable(&self, key: &str) -> Option<String> {
        let mut at = &self.environment;
        for name in key.split('.') {
            at = at.get(name)?;
        }
        Some(format!("OFFKEY__{}", key.to_uppercase().replace('.', "__")))
    }
}

fn read(path: &Path, problems: &mut Problems) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            path.display().to_string(),
            format!("cannot be read: {error}"),
            "give the file with -c, or none for the defaults",
        )
    })?;
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let format = if yaml { FileFormat::Yaml } else { FileFormat::Toml };
    parse(&text, format, &path.display().to_string(), problems)
}

/// `name`: what the text is called in a mistake that no key has made.
fn parse(text: &str, format: FileFormat, name: &str, problems: &mut Problems) -> Result<Value, ConfigError> {
    let fault = |error: config::ConfigError| syntax::mistake(&error, text, name);
    let parsed = config::Config::builder().add_source(File::from_str(text, format)).build().map_err(fault)?;
    note_not_finite(&parsed.cache.kind, "", problems);
    parsed.try_deserialize().map_err(fault)
}

/// Notes every number that a tree of JSON cannot hold: there it would be null, which is taken for absent.
fn note_not_finite(value: &ValueKind, key: &str, problems: &mut Problems) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        ValueKind::Float(number) if !number.is_finite() => {
            problems.add(key, "is not a finite number", "nan and inf mean nothing here");
        }
        ValueKind::Table(table) => {
            table.iter().for_each(|(name, value)| note_not_finite(&value.kind, &below(name), problems));
        }
        ValueKind::Array(array) => {
            let places = array.iter().enumerate();
            places.for_each(|(n, value)| note_not_finite(&value.kind, &below(&n.to_string()), problems));
        }
        _ => {}
    }
}

/// Takes out every number that 32 bits do not hold, which is more than any key can mean, and notes it.
pub(super) fn take_out_too_large(root: &mut Value, problems: &mut Problems) {
    let (mut found, fallback) = (Vec::new(), defaults());
    too_large_in(root, &mut Vec::new(), &mut found);
    // From the last of an array on, so that the others keep their places.
    for (path, number) in found.into_iter().rev() {
        problems.add(
            path.join("."),
            format!("{number:e} is more than 32 bits hold"),
            format!("write a number within -{0:.1e} and {0:.1e}", f32::MAX),
        );
        reset(root, &fallback, &path);
    }
}

fn too_large_in(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, f64)>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(array) => array.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if !(number as f32).is_finite() {
                found.push((path.clone(), number));
            }
            return;
        }
        Value::Null | Value::Bool(_) | Value::String(_) => return,
    };
    for (name, value) in below {
        path.push(name);
        too_large_in(value, path, found);
        path.pop();
    }
}

/// Lays `over` on `base`: tables are joined, everything else is replaced.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(below) => merge(below, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over,
    }
}

/// The environment knows only text: what stands as a number or a truth value in the reference becomes one, if it can.
fn type_like(value: &mut Value, reference: &Value) {
    match (value, reference) {
        (Value::Object(object), reference) => {
            for (key, value) in object {
                type_like(value, &reference[key.as_str()]);
            }
        }
        (value, Value::Number(_) | Value::Bool(_)) => {
            let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            if let Some(parsed @ (Value::Number(_) | Value::Bool(_))) = parsed {
                *value = parsed;
            }
        }
        _ => {}
    }
}

/// The reference with every key that is commented out (`#key = value`, no space after the `#`) switched on.
pub(super) fn documented() -> Value {
    let text: Vec<&str> = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[' || c == '"') => key,
            _ => line,
        })
        .collect();
    ours(&text.join("\n"))
}

/// Reads `tree` as `T`. What is unknown or of the wrong type is noted under `prefix`, and replaced by what `fallback` has there, so
/// that the next mistake is found too. `None`: the whole of it cannot be read.
pub(super) fn read_as<T: DeserializeOwned>(
    mut tree: Value,
    fallback: &Value,
    prefix: &str,
    problems: &mut Problems,
) -> Option<T> {
    let mut unknown = Vec::new();
    loop {
        unknown.clear();
        let ignored = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let mut ignored = ignored;
        let reader = serde_ignored::Deserializer::new(tree.clone(), &mut ignored);
        match serde_path_to_error::deserialize::<_, T>(reader) {
            Ok(read) => {
                for key in &unknown {
                    let key = key.replace(".?", "");
                    problems.add(format!("{prefix}{key}"), "unknown key", did_you_mean(&format!("{prefix}{key}")));
                }
                return Some(read);
            }
            Err(error) => {
                let path = error.path().to_string();
                let key = match path.as_str() {
                    "." => prefix.trim_end_matches('.').to_owned(),
                    path => format!("{prefix}{path}"),
                };
                let words = error.inner().to_string();
                let words = whole::of_no_type(&words, &key).unwrap_or_else(|| plain(&words));
                problems.add(key, words, "");
                let names: Vec<_> = error.path().iter().map(ToString::to_string).collect();
                if names.is_empty() || !reset(&mut tree, fallback, &names) {
                    return None;
                }
            }
        }
    }
}

/// serde's words without a position, which is none in a tree, and with types that are no Rust.
fn plain(error: &str) -> String {
    let error = error.split(" at line ").next().unwrap_or(error);
    let error = &error.replacen("invalid type: sequence", "invalid type: list", 1);
    let typed = error.rsplit_once("expected ");
    let plainer = typed.and_then(|(start, expected)| {
        let expected = match expected {
            "string or map" | "a string" => "a text",
            "f32" | "f64" => "a number",
            "u32" | "u64" | "usize" => "a whole number",
            "a map" => "sections with keys",
            _ => return None,
        };
        Some(format!("{start}expected {expected}"))
    });
    plainer.unwrap_or_else(|| error.to_owned())
}

/// Puts the fallback's value at a path, or takes the value out where there is none. `false`: there was nothing to change.
fn reset(tree: &mut Value, fallback: &Value, path: &[String]) -> bool {
    let [name, rest @ ..] = path else {
        return false;
    };
    let below = fallback.get(name).unwrap_or(&Value::Null);
    match tree {
        Value::Object(object) if rest.is_empty() || !deeper(object.get(name)) => {
            let old = object.remove(name);
            if !below.is_null() && old.as_ref() != Some(below) {
                object.insert(name.clone(), below.clone());
                return true;
            }
            old.is_some()
        }
        Value::Object(object) => object.get_mut(name).is_some_and(|next| reset(next, below, rest)),
        Value::Array(array) => {
            let index = name.trim_matches(['[', ']']).parse::<usize>();
            let Ok(index) = index else { return false };
            if index >= array.len() {
                return false;
            }
            if rest.is_empty() || !deeper(array.get(index)) {
                array.remove(index);
                return true;
            }
            reset(&mut array[index], &Value::Null, rest)
        }
        _ => false,
    }
}

fn deeper(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Object(_) | Value::Array(_)))
}

/// The nearest key of the same table, or the section that has this key.
fn did_you_mean(key: &str) -> String {
    let reference = documented();
    let mut names: Vec<&str> = key.split('.').filter(|name| !name.bytes().all(|byte| byte.is_ascii_digit())).collect();
    let Some(name) = names.pop() else {
        return String::new();
    };
    // The sections of an override are the common ones.
    if let ["override", section] = names[..] {
        names = vec![section];
    }
    let mut table = &reference;
    for section in names {
        table = &table[section];
        if let Value::Array(tables) = table {
            table = tables.first().unwrap_or(&Value::Null);
        }
    }
    let empty = Map::new();
    let nearest = table
        .as_object()
        .unwrap_or(&empty)
        .keys()
        .map(|sibling| (strsim::damerau_levenshtein(name, sibling), sibling))
        .filter(|(distance, sibling)| *distance <= sibling.len().max(name.len()) / 3 + 1)
        .min();
    if let Some((_, nearest)) = nearest {
        return format!("did you mean `{nearest}`?");
    }
    let sections = reference.as_object().unwrap_or(&empty);
    let elsewhere = sections.iter().find(|(_, section)| section.get(name).is_some());
    elsewhere.map_or_else(
        || "`offkey schema config` lists every key".to_owned(),
        |(section, _)| format!("did you mean it in [{section}]?"),
    )
}

/// The tree of the defaults.
pub(super) fn defaults() -> Value {
    ours(DEFAULT)
}

fn ours(text: &str) -> Value {
    parse(text, FileFormat::Toml, "config", &mut Problems::default())
        .expect("config/offkey.toml is tested with all its keys")
}
