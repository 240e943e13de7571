//! `offkey model`: what was learned, as it lies in the state topic. Looking at it and exporting disturb nobody; importing and
//! resetting happen in the daemon's place, and are refused while it runs.

mod export;
mod import;
mod inspect;
mod list;
mod reset;

use super::{ConfigArgs, Failed};
use crate::config::Config;
use crate::daemon::maintenance::{Done, Refused};
use crate::kafka::failure::Failure;
use crate::kafka::state_topic::{self, HeldBack};
use crate::lane::entity::{Entity, State};
use crate::lane::record::PartitionId;
use crate::wire::channels::{Channels, Selection};
use crate::wire::model_v1::{Detail, DetectorV1, Summary};
use crate::wire::state_record::{Envelope, Key, Kind};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a transaction that hangs in the state topic is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every entity with a snapshot, a line each.
    List(list::Args),
    /// Everything about one entity's state.
    Inspect(inspect::Args),
    /// Write one entity's state to a folder: weights as safetensors, a manifest as JSON, the state itself.
    Export(export::Args),
    /// Begin an entity with a state that was exported, or saved by `offkey replay`. No daemon of the group may run.
    Import(import::Args),
    /// Forget an entity: it starts anew with its next record. No daemon of the group may run.
    Reset(reset::Args),
}

pub(super) fn run(args: &ModelArgs) -> Result<(), Failed> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Reset(args) => reset::run(args),
    }
}

/// Whose state.
#[derive(Debug, Args)]
struct EntityArgs {
    /// The entity's name.
    entity: String,
    /// Input topic and partition, if entities of that name are in several.
    #[arg(long, value_name = "TOPIC/N", value_parser = partition)]
    partition: Option<PartitionId>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn partition(text: &str) -> Result<PartitionId, String> {
    let parsed = text.rsplit_once('/').and_then(|(topic, partition)| Some((topic, partition.parse::<u16>().ok()?)));
    match parsed {
        Some((topic, partition)) if !topic.is_empty() => {
            Ok(PartitionId { topic: topic.into(), partition: i32::from(partition) })
        }
        Some(_) | None => Err("write topic/partition, such as telemetry/3".to_owned()),
    }
}

/// By input partition and entity.
type ByEntity<T> = BTreeMap<(PartitionId, String), T>;

/// Reads the newest snapshot of every entity; `keep` makes of it what is needed, so that not all have to be in memory.
fn snapshots<T>(
    config: &Config,
    mut keep: impl FnMut(&PartitionId, &str, &[u8]) -> Option<T>,
) -> Result<(ByEntity<T>, Vec<HeldBack>), Failed> {
    let mut found = BTreeMap::new();
    let held_back = state_topic::read(config, PATIENCE, |_, key, value| {
        let Ok(Key::Snapshot { topic, partition, entity }) = Key::decode(key) else { return };
        let id = PartitionId { topic: topic.into(), partition };
        let kept = value.and_then(|value| keep(&id, entity, value));
        match kept {
            Some(kept) => drop(found.insert((id, entity.to_owned()), kept)),
            None => drop(found.remove(&(id, entity.to_owned()))),
        }
    })
    .map_err(|failure| outside(config, &failure))?;
    Ok((found, held_back))
}

/// What could not be read belongs to the answer.
fn tell_held_back(held_back: &[HeldBack]) {
    for HeldBack { partition, from, to } in held_back {
        eprintln!(
            "offkey: partition {partition} of the state topic was read up to offset {from} of {to}: behind it is a transaction that nobody has ended in {} s, and what follows it is not shown",
            PATIENCE.as_secs()
        );
    }
}

fn outside(config: &Config, failure: &Failure) -> Failed {
    Failed::outside(format!("{}: {failure}", config.kafka.brokers))
}

/// The newest snapshot of one entity.
fn find(args: &EntityArgs, config: &Config) -> Result<(PartitionId, Vec<u8>), Failed> {
    let wanted = |id: &PartitionId| args.partition.as_ref().is_none_or(|partition| partition == id);
    let (found, held_back) =
        snapshots(config, |id, entity, value| (entity == args.entity && wanted(id)).then(|| value.to_vec()))?;
    tell_held_back(&held_back);
    let places: Vec<String> = found.keys().map(|(id, _)| format!("{}/{}", id.topic, id.partition)).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(((id, _), value)), None) => Ok((id, value)),
        (None, _) => Err(Failed::outside(format!(
            "`{}` has no snapshot in `{}`: `offkey model list` says who has",
            args.entity, config.state.topic
        ))),
        (Some(_), Some(_)) => Err(Failed::outside(format!(
            "`{}` is in several partitions: say --partition with one of {}",
            args.entity,
            places.join(", ")
        ))),
    }
}

/// A snapshot as this configuration sees it.
struct Seen {
    summary: Summary,
    entity: Option<Entity>,
}

impl Seen {
    fn of(config: &Config, id: &PartitionId, name: &str, value: &[u8]) -> Self {
        let place = (&*id.topic, id.partition, name);
        let envelope = match Envelope::decode(value) {
            Ok(envelope) if envelope.kind == Kind::Snapshot => envelope,
            Ok(_) => return Self { summary: Summary::unreadable(place, value, "not_ours"), entity: None },
            Err(why) => return Self { summary: Summary::unreadable(place, value, why.reason()), entity: None },
        };
        if envelope.fingerprint != config.detector.fingerprint() {
            return Self { summary: Summary::of(place, value, &envelope, "other_settings", None), entity: None };
        }
        let mut channels = Channels::new(Selection::all());
        let entity =
            Entity::decode(name, envelope.as_of, envelope.body, &config.detector, &config.rules, &mut channels);
        match entity {
            Ok(entity) => {
                let detector = match &entity.state {
                    State::Trained(detector) => Some(&**detector),
                    State::Probation(_) => None,
                };
                let summary = Summary::of(place, value, &envelope, "probation", detector);
                Self { summary, entity: Some(entity) }
            }
            Err(_) => Self { summary: Summary::of(place, value, &envelope, "corrupt", None), entity: None },
        }
    }

    fn detail(&self, config: &Config) -> Detail {
        let detector = match self.entity.as_ref().map(|entity| &entity.state) {
            Some(State::Trained(detector)) => {
                let rules = config.rules.rules(&self.summary.entity, detector.schema());
                Some(DetectorV1::of(&detector.portrait(&rules), &config.detector))
            }
            Some(State::Probation(_)) | None => None,
        };
        Detail { summary: self.summary.clone(), fits_this_config: self.entity.is_some(), detector }
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failed> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| Failed::bug(error.to_string()))
}

/// Says whom a change waits for.
fn waiting(config: &Config) -> impl FnOnce(&[String]) {
    let (group, session) = (config.kafka.group.clone(), config.kafka.session_timeout);
    move |members| {
        eprintln!(
            "offkey: group `{group}` has members ({}); one that was stopped leaves within its session: waiting up to {} s",
            members.join(", "),
            session.as_secs() + 5
        );
    }
}

/// The end of a change as the command line tells it.
fn told(changed: Result<Done, Refused>, config: &Config, instead: &str) -> Result<Done, Failed> {
    match changed {
        Ok(done) => {
            if done.report.diverged {
                eprintln!(
                    "offkey: the replay of the partition did not give the scores that were committed; see `offkey_replay_divergence_total`"
                );
            }
            Ok(done)
        }
        Err(Refused::InUse(members)) => Err(Failed::in_use(format!(
            "group `{}` is in use by {}: a running daemon holds the state in memory and would write it over this change. Nothing was changed. {instead}",
            config.kafka.group,
            members.join(", ")
        ))),
        Err(Refused::Outside(why)) => Err(Failed::outside(format!("nothing was changed: {why}"))),
        Err(Refused::InDoubt(why)) => Err(Failed::outside(format!(
            "it is not known whether the change was committed; `offkey model inspect` tells once the brokers answer: {why}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_written_with_its_topic() {
        let id = partition("telemetry/3").expect("a partition");
        assert_eq!((&*id.topic, id.partition), ("telemetry", 3));
        for text in ["telemetry", "/3", "telemetry/", "telemetry/-1", "telemetry/x"] {
            assert!(partition(text).is_err(), "{text}");
        }
    }
}
