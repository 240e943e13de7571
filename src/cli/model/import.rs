//! `offkey model import`.

use super::export::at;
use super::{ConfigArgs, Failed, Seen, partition, snapshots, tell_held_back, told, waiting};
use crate::cli::{print, shown};
use crate::config::Config;
use crate::daemon::maintenance;
use crate::kafka::partitioner::partition_of;
use crate::kafka::state_topic::n_partitions;
use crate::lane::record::PartitionId;
use crate::wire::bounds::check_entity;
use crate::wire::format::EntityFrom;
use crate::wire::model_v1::{FORMAT, MANIFEST, Manifest, VERSION, checksum};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of an export, or a file that `offkey replay --save-state` wrote.
    source: PathBuf,
    /// Whose state it becomes; default: the exported entity's name.
    #[arg(long)]
    entity: Option<String>,
    /// Input topic and partition; default: where the entity is already, or where Java's default partitioner puts its key.
    #[arg(long, value_name = "TOPIC/N", value_parser = partition)]
    partition: Option<PartitionId>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.config.load()?;
    let (value, manifest) = read(&args.source)?;
    let exported = manifest.as_ref().map(|manifest| manifest.detail.summary.entity.clone());
    let entity = args.entity.clone().or(exported).ok_or_else(|| {
        Failed::outside(format!("{} does not say whose state it is: say --entity", args.source.display()))
    })?;
    check_entity(&entity).map_err(|rejected| Failed::outside(rejected.error))?;
    let id = match &args.partition {
        Some(id) => id.clone(),
        None => place(&config, &entity)?,
    };
    check(&config, &id)?;
    let seen = Seen::of(&config, &id, &entity, &value);
    if seen.entity.is_none() {
        return Err(Failed::outside(unusable(&config, &args.source, &seen)));
    }
    if let Some(manifest) = &manifest {
        check_weights(&config, &args.source, manifest, &seen)?;
    }
    let changed = maintenance::change(&config, &id, &entity, waiting(&config), |lane| {
        lane.import(&entity, &value).map_err(|why| format!("{why:?}"))
    });
    let done = told(changed, &config, "Stop every instance of the group and import again.")?;
    print(&format!(
        "{}: {}, {} rows, goes on at {}/{} offset {}\n",
        shown(&entity),
        seen.summary.state,
        seen.summary.rows,
        id.topic,
        id.partition,
        done.next_offset
    ))
}

/// The state, and the manifest if it is an export.
fn read(source: &Path) -> Result<(Vec<u8>, Option<Manifest>), Failed> {
    if !source.is_dir() {
        return Ok((std::fs::read(source).map_err(|error| at(source, &error))?, None));
    }
    let path = source.join(MANIFEST);
    let text = std::fs::read(&path).map_err(|error| at(&path, &error))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| Failed::outside(format!("{}: {error}", path.display())))?;
    if manifest.format != FORMAT || manifest.version != VERSION {
        return Err(Failed::outside(format!(
            "{}: format {} version {}, this version of offkey reads {FORMAT} version {VERSION}",
            path.display(),
            manifest.format,
            manifest.version
        )));
    }
    let path = inside(source, &manifest.state_file)?;
    let value = std::fs::read(&path).map_err(|error| at(&path, &error))?;
    if checksum(&value) != manifest.detail.summary.sha256 {
        return Err(Failed::outside(format!("{}: its checksum is not the manifest's", path.display())));
    }
    Ok((value, Some(manifest)))
}

/// A manifest names files of its own folder and no others.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, Failed> {
    if Path::new(name).file_name().is_none_or(|plain| plain != name) {
        return Err(Failed::outside(format!("{}: `{name}` is no file's name", folder.join(MANIFEST).display())));
    }
    Ok(folder.join(name))
}

/// Where the entity is already; else where its key goes, unless what is there says that the producers have a way of their own.
fn place(config: &Config, entity: &str) -> Result<PartitionId, Failed> {
    let ask = |why: String| Failed::outside(format!("{why}: say --partition TOPIC/N"));
    let (found, held_back) = match snapshots(config, |_, _, _| Some(())) {
        Ok(found) => found,
        // No daemon has run yet, and nothing is there.
        Err(_) if n_partitions(config, &config.state.topic).is_err() => Default::default(),
        Err(failed) => return Err(failed),
    };
    tell_held_back(&held_back);
    let mut there = found.keys().filter(|(_, name)| name == entity).map(|(id, _)| id);
    match (there.next(), there.next()) {
        (Some(id), None) => return Ok(id.clone()),
        (Some(_), Some(_)) => return Err(ask(format!("`{}` is in several partitions", shown(entity)))),
        (None, _) => {}
    }
    if config.input.decoder.entity != EntityFrom::Key {
        return Err(ask("which partition the entity comes by is not told by its name (`input.entity`)".to_owned()));
    }
    let [topic] = &config.input.topics[..] else { return Err(ask("there are several input topics".to_owned())) };
    let n = n_partitions(config, topic).map_err(|failure| super::outside(config, &failure))?;
    let elsewhere =
        found.keys().find(|(id, name)| *id.topic == **topic && id.partition != partition_of(name.as_bytes(), n));
    if let Some((id, name)) = elsewhere {
        return Err(ask(format!(
            "`{}` is in partition {} and not where Java's default partitioner puts it, so where `{}` will be is not known",
            shown(name),
            id.partition,
            shown(entity)
        )));
    }
    Ok(PartitionId { topic: topic.as_str().into(), partition: partition_of(entity.as_bytes(), n) })
}

fn check(config: &Config, id: &PartitionId) -> Result<(), Failed> {
    if !config.input.topics.iter().any(|topic| **topic == *id.topic) {
        return Err(Failed::outside(format!("`{}` is none of `input.topics`", id.topic)));
    }
    let n = n_partitions(config, &id.topic).map_err(|failure| super::outside(config, &failure))?;
    if id.partition >= n {
        return Err(Failed::outside(format!("`{}` has {n} partitions, there is no {}", id.topic, id.partition)));
    }
    Ok(())
}

/// Weights are read back by nobody: one who has changed them has to know it.
fn check_weights(config: &Config, source: &Path, manifest: &Manifest, seen: &Seen) -> Result<(), Failed> {
    let path = inside(source, &manifest.weights_file)?;
    let (_, weights) = super::export::manifest(config, seen)?;
    match std::fs::read(&path) {
        Ok(found) if found == weights => Ok(()),
        Ok(_) => Err(Failed::outside(format!(
            "{}: these are not the weights of the state beside them. The state alone is imported; remove the file if that is wanted",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(&path, &error)),
    }
}

fn unusable(config: &Config, source: &Path, seen: &Seen) -> String {
    let file = source.display();
    match seen.summary.state.as_str() {
        "other_settings" => format!(
            "{file}: learned under other settings than this configuration's (fingerprint {}, here {:016x}): [model], [window] and [warmup] have to be the same, --warmup-rows of a replay counts as well, and files whose time is a step learn nothing of the time of day",
            seen.summary.fingerprint,
            config.detector.fingerprint()
        ),
        why => match std::fs::metadata(source).map(|found| found.len()) {
            Ok(0) => format!("{file}: empty"),
            Ok(_) | Err(_) => format!("{file}: no state that this version of offkey can use ({why})"),
        },
    }
}
