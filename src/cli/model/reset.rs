//! `offkey model reset`.

use super::{EntityArgs, Failed, find, told, waiting};
use crate::cli::print;
use crate::daemon::maintenance;
use crate::wire::format::EntityFrom;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    entity: EntityArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.entity.config.load()?;
    let entity = &args.entity.entity;
    let (id, _) = find(&args.entity, &config)?;
    let changed = maintenance::change(&config, &id, entity, waiting(&config), |lane| {
        lane.forget(entity);
        Ok(())
    });
    let instead = match config.input.decoder.entity {
        EntityFrom::Key => {
            "Stop every instance of the group and reset again, or write a tombstone to the input: a record with the entity as its key and no value makes a running daemon forget it."
        }
        EntityFrom::Fields(_) => "Stop every instance of the group and reset again.",
    };
    let done = told(changed, &config, instead)?;
    print(&format!("{entity}: starts anew at {}/{} offset {}\n", id.topic, id.partition, done.next_offset))
}
