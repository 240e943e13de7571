//! `offkey replay`: the same detector over CSV files.

use super::draft::Draft;
use super::{ConfigArgs, Failed, print, shown};
use crate::config::{topic_name, whole};
use crate::detector::State;
use crate::detector::alert::Transition;
use crate::replay::csv::{self, Table};
use crate::replay::labels::Figures;
use crate::replay::{Replayed, Request, replay, report};
use crate::wire::bounds::check_entity;
use crate::wire::words;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CSV files, gzipped or not, with a header `timestamp,<channels...>[,label]`; each is an entity. What
    /// `[input] channels` does not select is left out.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Column with the time of the row: RFC 3339, with or without zone; seconds to nanoseconds since 1970; or steps 0, 1, 2 ...
    #[arg(long, default_value = "timestamp")]
    time_column: String,
    /// How far apart rows are, where the time column counts steps: 1m. Without it nothing is told by the day, and a configuration
    /// that asks for time (`[warmup] duration`, `[threshold] budget`) is refused.
    #[arg(long, value_name = "DURATION", value_parser = step)]
    step: Option<i64>,
    /// Column with the label: 1 or true, 0, false or nothing. Never an input; with it the figures are printed. Default: `label`, if
    /// there is one.
    #[arg(long, value_name = "LABEL_COLUMN")]
    label_column: Option<String>,
    /// Instead of `[warmup]`, and as many as its `rows` may be.
    #[arg(long, value_name = "N", value_parser = warmup_rows)]
    warmup_rows: Option<u64>,
    /// The entity's name; default: the file's name up to its first `.csv`.
    #[arg(long, value_parser = entity)]
    entity: Option<String>,
    /// The topic that the rows would have come by; default: the first of `input.topics`.
    #[arg(long, value_parser = topic)]
    topic: Option<String>,
    /// One line per row.
    #[arg(long, value_name = "OUT.csv")]
    scores: Option<PathBuf>,
    /// The alerts as the topic would have them.
    #[arg(long, value_name = "OUT.jsonl")]
    alerts: Option<PathBuf>,
    /// One page with plots and every alert.
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// Write what was learned, to begin another replay with.
    #[arg(long, value_name = "FILE")]
    save_state: Option<PathBuf>,
    /// Begin with what another replay has learned.
    #[arg(long, value_name = "FILE")]
    load_state: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    if args.files.len() > 1 && (args.save_state.is_some() || args.load_state.is_some() || args.entity.is_some()) {
        return Err(Failed::outside("--entity, --save-state and --load-state are for one file at a time"));
    }
    let config = args.config.load()?;
    let topic = args.topic.clone().unwrap_or_else(|| config.input.topics[0].clone());
    let state =
        args.load_state.as_ref().map(|file| std::fs::read(file).map_err(|error| outside(file, &error))).transpose()?;
    let names = names(args)?;
    refuse_to_overwrite(args)?;
    let draft = |path: &Option<PathBuf>| path.as_deref().map(Draft::create).transpose();
    let (mut scores, mut alerts) = (draft(&args.scores)?, draft(&args.alerts)?);
    let (mut page, mut saved) = (draft(&args.report)?, draft(&args.save_state)?);
    if let Some(scores) = &mut scores {
        scores
            .write(|out| writeln!(out, "row,timestamp,score,row_score,rarity,threshold,score_ratio,anomalous,state"))?;
    }
    let columns = csv::Columns {
        time: &args.time_column,
        label: args.label_column.as_deref(),
        channels: &config.input.decoder.channels,
        step: args.step,
    };
    let (mut total, mut all) = (Figures::default(), Vec::new());
    for (file, entity) in args.files.iter().zip(names) {
        let table = csv::read(file, columns).map_err(Failed::outside)?;
        if table.clock && args.step.is_some() {
            let (file, column) = (file.display(), &args.time_column);
            return Err(Failed::outside(format!(
                "{file}: `{column}` is a clock: --step is for files whose time counts steps"
            )));
        }
        let request = Request {
            config: &config,
            entity: &entity,
            topic: &topic,
            warmup_rows: args.warmup_rows,
            state: state.as_deref(),
        };
        let bar = bar(table.n_rows(), &entity);
        let replayed = replay(&table, &request, |row| {
            if row % 1024 == 0 {
                bar.set_position(row as u64);
            }
        })
        .map_err(|error| Failed::outside(format!("{}: {error}", file.display())))?;
        bar.finish_and_clear();
        if let Some(scores) = &mut scores {
            scores.write(|out| write_scores(out, &table, &replayed))?;
        }
        if let Some(alerts) = &mut alerts {
            alerts.write(|out| replayed.alerts.iter().try_for_each(|(_, json)| writeln!(out, "{json}")))?;
        }
        if let Some(saved) = &mut saved {
            saved.write(|out| out.write_all(&replayed.save()))?;
        }
        tell(&entity, &table, &replayed, &mut total)?;
        if args.report.is_some() {
            all.push((entity, table, replayed));
        }
    }
    if let Some(page) = &mut page {
        let series: Vec<_> = all.iter().map(|(name, table, replayed)| (name.clone(), table, replayed)).collect();
        page.write(|out| out.write_all(report::page(&series).as_bytes()))?;
    }
    for draft in [scores, alerts, page, saved].into_iter().flatten() {
        draft.keep()?;
    }
    if args.files.len() > 1 && total.events > 0 {
        print(&format!("all {} files\n{total}\n", args.files.len()))?;
    }
    Ok(())
}

/// Whose rows each of the files holds; what the daemon would refuse as an entity is refused here too.
fn names(args: &Args) -> Result<Vec<String>, Failed> {
    let name = |file: &PathBuf| {
        let name = args.entity.clone().unwrap_or_else(|| stem(file));
        check_entity(&name).map(|()| name).map_err(|rejected| {
            Failed::outside(format!("{}: {}: give it a name with --entity", file.display(), rejected.error))
        })
    };
    args.files.iter().map(name).collect()
}

fn tell(entity: &str, table: &Table, replayed: &Replayed, total: &mut Figures) -> Result<(), Failed> {
    let opened = replayed
        .outcomes
        .iter()
        .flat_map(|outcome| &outcome.alerts)
        .filter(|alert| alert.transition == Transition::Opened)
        .count();
    let (entity, n_channels) = (shown(entity), table.channels.len());
    print(&format!("{entity}: {} rows, {n_channels} channels, {opened} alerts\n", table.n_rows()))?;
    if let Some(labels) = &table.labels {
        let figures = figures(table, labels, replayed);
        print(&format!("{figures}\n"))?;
        total.add(&figures);
    }
    Ok(())
}

fn figures(table: &Table, labels: &[bool], replayed: &Replayed) -> Figures {
    let scored_from =
        replayed.outcomes.iter().position(|outcome| outcome.state != State::Warming).unwrap_or(table.n_rows());
    let open: Vec<bool> = replayed.outcomes.iter().map(|outcome| outcome.anomalous).collect();
    let raises =
        |outcome: &crate::detector::Outcome| outcome.alerts.iter().any(|alert| alert.transition == Transition::Opened);
    let raised: Vec<usize> =
        replayed.outcomes.iter().enumerate().filter(|(_, outcome)| raises(outcome)).map(|(row, _)| row).collect();
    Figures::of(labels, &open, &raised, table.timed.then_some(&table.times[..]), scored_from)
}

/// No output may be an input, nor two outputs one file.
fn refuse_to_overwrite(args: &Args) -> Result<(), Failed> {
    let Args { files, config, scores, alerts, report, save_state, load_state, .. } = args;
    let same = |a: &Path, b: &Path| place(a) == place(b);
    let outputs: Vec<&PathBuf> = [scores, alerts, report, save_state].into_iter().flatten().collect();
    for (i, output) in outputs.iter().enumerate() {
        if files
            .iter()
            .chain(&config.config)
            .chain(load_state.iter().filter(|_| save_state.as_ref() != Some(*output)))
            .any(|input| same(input, output))
        {
            return Err(Failed::outside(format!("{}: it is an input, and would be overwritten", output.display())));
        }
        if outputs[..i].iter().any(|other| same(other, output)) {
            return Err(Failed::outside(format!("{}: two outputs cannot be one file", output.display())));
        }
    }
    Ok(())
}

/// Where a path leads, whether something is there already or not.
fn place(path: &Path) -> PathBuf {
    let new = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().ok().zip(path.file_name()).map(|(folder, name)| folder.join(name))
    };
    path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.to_owned())
}

fn write_scores(out: &mut impl Write, table: &Table, replayed: &Replayed) -> std::io::Result<()> {
    for (row, (outcome, time)) in replayed.outcomes.iter().zip(&table.time_texts).enumerate() {
        let crate::detector::Outcome { score, row_score, rarity, threshold, score_ratio, anomalous, state, .. } =
            outcome;
        let (anomalous, state) = (u8::from(*anomalous), words::state(*state));
        writeln!(out, "{row},{time},{score},{row_score},{rarity},{threshold},{score_ratio},{anomalous},{state}")?;
    }
    Ok(())
}

fn outside(path: &Path, error: &std::io::Error) -> Failed {
    Failed::outside(format!("{}: {error}", path.display()))
}

fn entity(text: &str) -> Result<String, String> {
    check_entity(text).map(|()| text.to_owned()).map_err(|rejected| rejected.error)
}

fn topic(text: &str) -> Result<String, String> {
    topic_name(text).map(|()| text.to_owned()).map_err(|hint| format!("is no topic name: {hint}"))
}

fn warmup_rows(text: &str) -> Result<u64, String> {
    let rows = text.parse().map_err(|_| "is no whole number".to_owned())?;
    whole::within("warmup.rows", rows).map(|()| rows)
}

/// In microseconds.
fn step(text: &str) -> Result<i64, String> {
    let step = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match i64::try_from(step.as_micros()) {
        Ok(micros) if micros > 0 => Ok(micros),
        Ok(_) | Err(_) => Err("a step is longer than nothing, and not for ever".to_owned()),
    }
}

/// `pump.csv.gz` is `pump`.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split_once(".csv").map_or(name.clone(), |(stem, _)| stem.to_owned())
}

/// On stderr, and only if that is a terminal.
fn bar(rows: usize, entity: &str) -> ProgressBar {
    let bar = ProgressBar::new(rows as u64);
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} rows {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(entity.to_owned());
    bar
}
