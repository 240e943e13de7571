//! Logs to stderr: text for people, JSON for machines. `RUST_LOG` has the last word.

use crate::config::{Log, LogFormat};
use std::io::{IsTerminal as _, stderr};
use tracing_subscriber::EnvFilter;

/// Starts logging. A second call changes nothing.
pub fn start(log: &Log) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{},hyper=warn", log.level)));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Colours are for a terminal that wants them (NO_COLOR): not for a container's log, nor a file.
    let builder = if stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    let started = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    drop(started);
}
