//! Tables and lists that stand where something else belongs. serde would tell of them in Rust's words, and of an override not at all.

use super::error::Problems;
use super::tree::{defaults, documented, merge};
use serde_json::{Map, Value};

/// Puts the default in the place of every table and list that is not what the reference has there, and notes it.
pub(super) fn replace_misplaced(root: &mut Value, problems: &mut Problems) {
    let mut reference = documented();
    // The sections of an override are the common ones.
    for section in ["threshold", "alert", "channel"] {
        reference["override"][0][section] = reference[section].clone();
    }
    if let (Value::Object(table), Value::Object(reference)) = (&mut *root, &reference) {
        take_out_of(table, reference, "", problems);
    }
    let left = std::mem::replace(root, defaults());
    merge(root, left);
}

fn take_out_of(table: &mut Map<String, Value>, reference: &Map<String, Value>, prefix: &str, problems: &mut Problems) {
    table.retain(|name, value| {
        let key = format!("{prefix}{name}");
        let Some(wanted) = reference.get(name) else { return true };
        match (wanted, value) {
            (Value::Object(wanted), Value::Object(below)) => {
                take_out_of(below, wanted, &format!("{key}."), problems);
                return true;
            }
            (Value::Object(_), Value::Null) => return true,
            (Value::Object(_), value) => {
                let problem = format!("is {} where a section belongs", what(value));
                problems.add(&key, problem, format!("write [{}]", header(&key)));
            }
            (Value::Array(several), value) if several.first().is_some_and(Value::is_object) => match value {
                Value::Array(tables) if tables.iter().all(Value::is_object) => {
                    for (n, below) in tables.iter_mut().enumerate() {
                        if let (Value::Object(below), Value::Object(wanted)) = (below, &several[0]) {
                            take_out_of(below, wanted, &format!("{key}.{n}."), problems);
                        }
                    }
                    return true;
                }
                // A YAML key with nothing behind it is absent.
                Value::Null => {}
                value => problems.add(
                    &key,
                    format!("is {} where a list of tables belongs", what(value)),
                    format!("write [[{}]] before each, in YAML a dash", header(&key)),
                ),
            },
            (wanted, Value::Object(_)) => {
                problems.add(&key, "is a table where a value belongs", format!("write it as {name} = {wanted}"));
            }
            // Whether one text may be several is for the types to say.
            _ => return true,
        }
        false
    });
}

/// Not what it says: that may be a secret.
fn what(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "one table",
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_object) => "a list of tables",
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a truth value",
        Value::Null => "nothing",
    }
}

/// A key as a table's header has it: without the places in lists.
fn header(key: &str) -> String {
    let names: Vec<&str> = key.split('.').filter(|name| name.parse::<usize>().is_err()).collect();
    names.join(".")
}
