//! `offkey bench`: how well the config detects on labelled series, beside simple controls.

use super::{ConfigArgs, Failed, print};
use crate::quality::{measure, tables};
use indicatif::ProgressBar;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with `series.csv` (dataset, series, file, train_rows, step_seconds, vus_window) and the files it names.
    data: PathBuf,
    /// Only these sets.
    #[arg(long, value_delimiter = ',')]
    sets: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.config.load()?;
    let spinner = ProgressBar::new_spinner();
    let measured = measure(&args.data, &args.sets, &config, |series| {
        spinner.set_message(series.to_owned());
        spinner.tick();
    })
    .map_err(Failed::outside)?;
    spinner.finish_and_clear();
    print(&tables::markdown(&measured))
}
