//! The variables of the environment that are ours, looked at before anything walks down their levels.

use super::error::{ConfigError, Problems};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

/// How the names of ours begin, in any case.
const OURS: &str = "offkey__";
/// More levels than any key has; the deepest are names of librdkafka's properties, word by word.
const MAX_LEVELS: usize = 16;
/// Characters of a name that are told.
const TOLD: usize = 64;

/// Every variable of this process, as it is.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// The variables that are text. One of ours that is none, or has more levels than a key can have, is noted and left out.
pub(super) fn texts(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Problems,
) -> HashMap<String, String> {
    let mut texts = HashMap::new();
    for (name, value) in variables {
        let is_ours = name.to_string_lossy().to_lowercase().starts_with(OURS);
        if let Some((problem, hint)) = is_ours.then(|| problem(&name, &value)).flatten() {
            problems.0.push(ConfigError::new(short(&name), problem, hint));
        } else if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            texts.insert(name, value);
        }
    }
    texts
}

/// What is wrong with a variable of ours, and what would be right; never its value, which may be a secret.
fn problem(name: &OsStr, value: &OsStr) -> Option<(String, String)> {
    let Some(name) = name.to_str() else {
        return Some(("the name is not UTF-8".to_owned(), "write it as OFFKEY__SECTION__KEY".to_owned()));
    };
    let levels = name.replace("__", ".").matches(['.', '[']).count();
    if levels > MAX_LEVELS {
        let problem = format!("has {levels} levels, more than the {MAX_LEVELS} that a key may have");
        return Some((problem, "write it as OFFKEY__SECTION__KEY".to_owned()));
    }
    value.to_str().is_none().then(|| ("the value is not UTF-8".to_owned(), "write it as UTF-8".to_owned()))
}

/// A name as it can be told.
fn short(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let mut told: String = name.chars().take(TOLD).collect();
    if told.len() < name.len() {
        told.push_str("..");
    }
    told
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    /// What is told of one variable.
    fn told(name: &[u8], value: &[u8]) -> Vec<String> {
        let mut problems = Problems::default();
        let variable = (OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned());
        let texts = texts([variable], &mut problems);
        assert!(texts.is_empty() || problems.0.is_empty(), "what is noted is left out");
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_utf_8_is_told_with_its_name_and_without_its_value() {
        assert_eq!(
            told(b"OFFKEY__KAFKA__GROUP", b"canary\xff"),
            ["OFFKEY__KAFKA__GROUP: the value is not UTF-8; write it as UTF-8"]
        );
        assert_eq!(
            told(b"offkey__kafka__gr\xff", b"canary"),
            ["offkey__kafka__gr\u{fffd}: the name is not UTF-8; write it as OFFKEY__SECTION__KEY"]
        );
        assert!(told(b"OTHER", b"\xff").is_empty());
        assert!(told(b"OFFKEY_\xff", b"").is_empty());
    }

    #[test]
    fn no_key_has_thousands_of_levels() {
        for mark in ["__A", ".a", "[0]"] {
            let told = told(format!("OFFKEY__KAFKA{}", mark.repeat(20_000)).as_bytes(), b"canary");
            assert!(told[0].contains("has 20001 levels") && told[0].len() < 200, "{told:?}");
        }
        let deepest = b"OFFKEY__KAFKA__PROPERTIES__TOPIC__METADATA__REFRESH__FAST__INTERVAL__MS";
        assert!(told(deepest, b"1").is_empty());
    }
}
