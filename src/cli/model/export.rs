//! `offkey model export`.

use super::{EntityArgs, Failed, Seen, find, json};
use crate::cli::print;
use crate::config::Config;
use crate::lane::entity::State;
use crate::wire::model_v1::{self, MANIFEST, Manifest, STATE, WEIGHTS};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    entity: EntityArgs,
    /// Folder to write to; it is made if it is not there, and must not hold an export yet.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.entity.config.load()?;
    let (id, value) = find(&args.entity, &config)?;
    let seen = Seen::of(&config, &id, &args.entity.entity, &value);
    let (manifest, weights) = manifest(&config, &seen)?;
    std::fs::create_dir_all(&args.output).map_err(|error| at(&args.output, &error))?;
    for (name, bytes) in [(STATE, &value[..]), (WEIGHTS, &weights), (MANIFEST, json(&manifest)?.as_bytes())] {
        let path = args.output.join(name);
        let file = std::fs::File::options().write(true).create_new(true).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, bytes)).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failed::outside(format!(
                "{} is there already, and an export overwrites nothing: name a folder that holds none",
                path.display()
            )),
            _ => at(&path, &error),
        })?;
    }
    print(&format!(
        "{}: {} rows as of {}/{} offset {}, {} tensors\n",
        args.output.display(),
        seen.summary.rows,
        id.topic,
        id.partition,
        seen.summary.as_of,
        manifest.tensors.len()
    ))?;
    if seen.entity.is_none() {
        eprintln!("offkey: the state is {}: exported as it is, without weights", seen.summary.state);
    }
    Ok(())
}

/// The manifest of a snapshot, and the weights beside it.
pub(super) fn manifest(config: &Config, seen: &Seen) -> Result<(Manifest, Vec<u8>), Failed> {
    let portrait = match seen.entity.as_ref().map(|entity| &entity.state) {
        Some(State::Trained(detector)) => {
            Some(detector.portrait(&config.rules.rules(&seen.summary.entity, detector.schema())))
        }
        Some(State::Probation(_)) | None => None,
    };
    let (weights, tensors) =
        model_v1::weights(portrait.as_ref()).map_err(|error| Failed::bug(format!("weights: {error}")))?;
    let manifest = Manifest {
        format: model_v1::FORMAT.to_owned(),
        version: model_v1::VERSION,
        offkey: env!("CARGO_PKG_VERSION").to_owned(),
        state_file: STATE.to_owned(),
        weights_file: WEIGHTS.to_owned(),
        tensors,
        detail: seen.detail(config),
    };
    Ok((manifest, weights))
}

pub(super) fn at(path: &Path, error: &std::io::Error) -> Failed {
    Failed::outside(format!("{}: {error}", path.display()))
}
