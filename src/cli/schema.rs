//! `offkey schema`: what strangers may rely on.

use super::{Failed, print};
use crate::config;
use crate::wire::{alert_v1, dead_letter, score_v1};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of what.
    #[arg(value_enum)]
    of: Of,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Of {
    /// JSON Schema of an alert's value.
    Alert,
    /// JSON Schema of a score's value.
    Score,
    /// JSON Schema of a dead letter's headers; key and value are the record's own.
    DeadLetter,
    /// The reference of every configuration key, which is the default configuration.
    Config,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    print(match args.of {
        Of::Alert => alert_v1::SCHEMA,
        Of::Score => score_v1::SCHEMA,
        Of::DeadLetter => dead_letter::HEADERS,
        Of::Config => config::DEFAULT,
    })
}
