//! What is wrong with a configuration: all of it at once.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The key, as `section.key`.
    pub key: String,
    /// What is wrong with it, lower case, no full stop.
    pub problem: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl ConfigError {
    /// A mistake with a hint.
    pub fn new(key: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), hint: hint.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake of one configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, error) in self.0.iter().enumerate() {
            if line > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects mistakes while the good parts are still looked at.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<ConfigError>);

impl Problems {
    pub(super) fn add(&mut self, key: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) {
        self.0.push(ConfigError::new(indexed(&key.into()), problem, hint));
    }

    /// Complains unless `fine`.
    pub(super) fn require(&mut self, fine: bool, key: &str, problem: impl Into<String>) {
        if !fine {
            self.add(key, problem, "");
        }
    }

    /// The value, or the mistake is noted and the value is missing.
    pub(super) fn take<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }
}

/// Numbers of a path as indices, whoever wrote it: `channel.0.unit` is `channel[0].unit`.
fn indexed(key: &str) -> String {
    let mut path = String::with_capacity(key.len());
    for (level, name) in key.split('.').enumerate() {
        if level > 0 && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push('[');
            path.push_str(name);
            path.push(']');
        } else {
            if level > 0 {
                path.push('.');
            }
            path.push_str(name);
        }
    }
    path
}
