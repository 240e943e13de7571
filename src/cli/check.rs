//! `offkey check`: is this configuration one, and what does it mean?

use super::{ConfigArgs, Failed, print};
use crate::config::{Config, Delivery, Input, Start};
use crate::detector::warmup::Length;
use crate::lane::align::Late;
use crate::wire::format::{EntityFrom, Format, TimeFrom};
use crate::wire::{timestamp, words};
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print every key with the value it has, defaults and environment included, secrets hidden.
    #[arg(long)]
    dump: bool,
    /// Try at the brokers what the daemon will do. Nothing is left behind, and a running daemon does not notice.
    #[cfg(feature = "daemon")]
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.config.load()?;
    if args.dump {
        let dump = serde_json::to_string_pretty(&config.dump()).map_err(|error| Failed::bug(error.to_string()))?;
        return print(&(dump + "\n"));
    }
    print(&summary(&config))?;
    #[cfg(feature = "daemon")]
    if args.connect {
        return connect(&config);
    }
    Ok(())
}

#[cfg(feature = "daemon")]
fn connect(config: &Config) -> Result<(), Failed> {
    let found = crate::kafka::check::connect(config)
        .map_err(|failure| Failed::outside(format!("{}: {failure}", config.kafka.brokers)))?;
    for line in found.fine {
        print(&format!("ok           {line}\n"))?;
    }
    if found.wrong.is_empty() {
        return Ok(());
    }
    Err(Failed::outside(found.wrong.join("\n        ")))
}

/// What a configuration means, one line for each step of a record's way.
fn summary(config: &Config) -> String {
    let Config { kafka, input, output, state, detector, rules, .. } = config;
    let format = match &input.decoder.format {
        Format::JsonWide { values } => format!("rows as JSON, channels in `{values}`"),
        Format::JsonLong { channel, value } => {
            format!("single measurements as JSON, name in `{channel}`, value in `{value}`")
        }
    };
    let entity = match &input.decoder.entity {
        EntityFrom::Key => "the record's key".to_owned(),
        EntityFrom::Fields(paths) => paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" / "),
    };
    let time = match &input.decoder.timestamp {
        TimeFrom::Record => "the record's own".to_owned(),
        TimeFrom::Field { path, unit } => format!("`{path}` ({unit:?})").to_lowercase(),
    };
    let start = match input.start {
        Start::Earliest => "the oldest record".to_owned(),
        Start::Latest => "the next record".to_owned(),
        Start::At(at) => timestamp::to_rfc3339(at),
    };
    let delivery = match kafka.delivery {
        Delivery::ExactlyOnce => "exactly once",
        Delivery::AtLeastOnce => "at least once",
    };
    let warmup = match detector.warmup {
        Length::Rows(rows) => format!("{rows} rows"),
        Length::Micros(micros) => format!("{} s", micros / 1_000_000),
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<12} {value}").expect("a String takes everything");
    };
    line("brokers", kafka.brokers.clone());
    line("group", format!("{} as {}, {delivery}, every {:?}", kafka.group, kafka.instance, kafka.commit_interval));
    line("input", format!("{}: {format}; a new group begins with {start}", input.topics.join(", ")));
    line("entity", format!("{entity}; timestamp {time}"));
    line("rows", rows(input));
    line("alerts", format!("{} (detector `{}`)", output.alerts, config.name));
    line("scores", output.scores.clone().unwrap_or_else(|| "off".to_owned()));
    line("dead letters", output.dead_letters.clone());
    let memory = state.max_memory >> 20;
    let held = format!("{} entities or {memory} MiB in memory", state.max_entities);
    line("state", format!("{}, every {:?}, {held}", state.topic, state.snapshot_interval));
    line(
        "model",
        format!(
            "{}, up to {} units, windows of {} rows, warm-up {warmup}",
            words::model(detector),
            detector.model.hidden,
            detector.window_rows
        ),
    );
    line(
        "rules",
        format!(
            "{:?}, {} channel rules, {} overrides, {} silences",
            rules.threshold,
            rules.channels.len(),
            rules.overrides.len(),
            rules.silences.len()
        ),
    );
    line("http", format!("http://{}/", config.listen));
    text
}

/// How records become rows, and in which order.
fn rows(input: &Input) -> String {
    let row = match (input.interval, &input.decoder.format) {
        (Some(step), _) => format!("one for every {:?}, gaps filled", span(step)),
        (None, Format::JsonLong { .. }) => "one for every timestamp".to_owned(),
        (None, Format::JsonWide { .. }) => "one for every record".to_owned(),
    };
    let order = match input.max_lateness {
        0 => "as they come".to_owned(),
        micros => format!("in order of time, up to {:?} late", span(micros)),
    };
    let late = match input.late {
        Late::Keep => "kept",
        Late::Drop => "dropped",
        Late::DeadLetter => "dead letters",
    };
    format!("{row}, {order}; late ones are {late}")
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
