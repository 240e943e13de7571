//! The command line: a file for each command, and the codes it ends with.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | a file or a broker did not do what was asked of it |
//! | 2 | the command line cannot be understood |
//! | 69 | not while a daemon runs: the group has members |
//! | 70 | a bug of Offkey |
//! | 75 | not now: another instance runs under the same name, or the broker ended the session for good; start it again |
//! | 78 | the configuration cannot be used |

mod bench;
mod check;
#[cfg(feature = "daemon")]
mod demo;
mod draft;
#[cfg(feature = "daemon")]
mod model;
mod replay;
#[cfg(feature = "daemon")]
mod run;
mod schema;
mod version;

use crate::config::{Config, ConfigErrors, Source};
#[cfg(not(feature = "daemon"))]
use crate::config::{ConfigError, Kafka};
#[cfg(feature = "daemon")]
use crate::kafka::properties::not_taken;
pub(crate) use crate::wire::shown::shown;
use clap::{Args, Parser, Subcommand};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Streaming anomaly detection for Kafka: learns what normal is for every machine, tells what is not.
#[derive(Debug, Parser)]
#[command(name = "offkey", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume telemetry, learn, publish alerts.
    #[cfg(feature = "daemon")]
    Run(run::Args),
    /// Show all of it on a simulated fleet, without a Kafka.
    #[cfg(feature = "daemon")]
    Demo(demo::Args),
    /// Run the same detector over CSV files.
    Replay(Box<replay::Args>),
    /// Measure the detection on labelled series.
    Bench(bench::Args),
    /// Check a configuration and say what it means.
    Check(check::Args),
    /// Look at what was learned, take it elsewhere, begin with it, forget it.
    #[cfg(feature = "daemon")]
    Model(model::ModelArgs),
    /// Print the JSON Schema of what Offkey writes.
    Schema(schema::Args),
    /// Print the version, and what was built in.
    Version,
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// TOML or YAML file with what differs from the defaults; without it the defaults hold. OFFKEY__SECTION__KEY variables have the
    /// last word either way.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the file and the environment; to be called again for a reload.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(&self) -> Result<Config, Failed> {
        Config::load_with(self.source(), crate::config::environment(), not_taken)
            .map_err(|errors| self.refused(&errors))
    }

    /// What [`Config::load`] is to read.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        self.config.as_deref().map_or(Source::Default, Source::File)
    }

    fn refused(&self, errors: &ConfigErrors) -> Failed {
        let file = self.config.as_deref().unwrap_or(Path::new("the configuration"));
        let n = errors.0.len();
        let mistakes = if n == 1 { "a mistake".to_owned() } else { format!("{n} mistakes") };
        let lines: Vec<_> = errors.0.iter().map(|error| format!("  {error}")).collect();
        Failed::config(format!("{} has {mistakes}:\n{}", file.display(), lines.join("\n")))
    }
}

/// Without librdkafka nobody knows its properties.
#[cfg(not(feature = "daemon"))]
fn not_taken(_: &Kafka) -> Vec<ConfigError> {
    Vec::new()
}

/// Why a command ends without having done its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    /// A file or a broker did not do what was asked of it.
    pub fn outside(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// A daemon runs that would undo it.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self { code: 69, message: message.into() }
    }

    /// A bug of Offkey.
    pub fn bug(message: impl Into<String>) -> Self {
        Self { code: 70, message: message.into() }
    }

    /// To be started again.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self { code: 75, message: message.into() }
    }

    /// The configuration cannot be used.
    pub fn config(message: impl Into<String>) -> Self {
        Self { code: 78, message: message.into() }
    }
}

/// Runs the command line and says how it ended; a failure goes to stderr.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        #[cfg(feature = "daemon")]
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "daemon")]
        Command::Demo(args) => demo::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args),
        #[cfg(feature = "daemon")]
        Command::Model(args) => model::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Version => version::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, message }) => {
            eprintln!("offkey: {message}");
            ExitCode::from(code)
        }
    }
}

/// Prints to stdout; a reader that has gone (`offkey schema alert | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failed::outside(format!("stdout: {error}"))),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
