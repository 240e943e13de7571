//! How well does it detect? The default config over labelled series, beside honest controls. Labels are read by the scorers
//! alone.

pub mod controls;
pub mod nab;
pub mod tables;
pub mod vus;

use crate::config::Config;
use crate::detector::Outcome;
use crate::detector::alert::Transition;
use crate::replay::csv::{self, Table};
use crate::replay::labels::Figures;
use crate::replay::{Request, replay};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A line of `series.csv`.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Series {
    /// Set it belongs to.
    pub dataset: String,
    /// Its name.
    pub series: String,
    /// Its file, below the folder.
    pub file: PathBuf,
    /// Rows that are not scored: the warm-up.
    pub train_rows: usize,
    /// Nominal distance of two rows.
    pub step_seconds: f64,
    /// Widest buffer of VUS-PR, rows.
    pub vus_window: usize,
}

/// What came of one series.
pub struct Measured {
    /// Which.
    pub series: Series,
    /// VUS-PR by scorer, ours first; `None`: no anomaly in the scored rows.
    pub vus: Option<Vec<f64>>,
    /// Figures of our alerts.
    pub figures: Figures,
    /// The same where every row counts on which the rule fires, though an alert be open already.
    pub all_raised: Figures,
    /// Rows scored, in days.
    pub days: f64,
    /// NAB's points, if the set has windows.
    pub nab: Option<nab::Points>,
}

/// Names of the scorers, ours first.
#[must_use]
pub fn scorers() -> Vec<&'static str> {
    let mut names = vec!["offkey"];
    names.extend(controls::ALL.map(|(name, _)| name));
    names
}

/// Measures every series of the folder's `series.csv` whose set is wanted (none named: all), on two threads.
///
/// # Errors
/// A set that is not there, or a file that cannot be read.
pub fn measure(
    folder: &Path,
    sets: &[String],
    config: &Config,
    progress: impl Fn(&str) + Sync,
) -> Result<Vec<Measured>, String> {
    let manifest = folder.join("series.csv");
    let fault = |error: ::csv::Error| format!("{}: {error}", manifest.display());
    let mut reader = ::csv::Reader::from_path(&manifest).map_err(fault)?;
    let all: Vec<Series> = reader.deserialize().collect::<Result<_, _>>().map_err(fault)?;
    refuse_unknown(sets, &all)?;
    let wanted: Vec<Series> =
        all.into_iter().filter(|series| sets.is_empty() || sets.contains(&series.dataset)).collect();
    let windows = nab::read_windows(&folder.join("nab/windows.csv"))?;
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((index, series)) =
            wanted.get(next.fetch_add(1, Ordering::Relaxed)).map(|series| (series.series.clone(), series))
        {
            progress(&index);
            let measured = measure_one(folder, series, config, &windows);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(measured);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut measured = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    measured.sort_by_key(|one| {
        wanted.iter().position(|series| series.series == one.series.series && series.dataset == one.series.dataset)
    });
    Ok(measured)
}

/// A set by a wrong name would be missing from the tables, and nobody would notice.
fn refuse_unknown(sets: &[String], series: &[Series]) -> Result<(), String> {
    let known: BTreeSet<&str> = series.iter().map(|series| series.dataset.as_str()).collect();
    match sets.iter().find(|set| !known.contains(set.as_str())) {
        Some(set) => {
            let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
            Err(format!("there is no set `{set}` (--sets); there are {}", known.join(", ")))
        }
        None => Ok(()),
    }
}

/// The controls are shown the channels that the config takes, and no others.
fn columns<'a>(series: &Series, config: &'a Config) -> csv::Columns<'a> {
    csv::Columns {
        time: "timestamp",
        label: Some("label"),
        channels: &config.input.decoder.channels,
        step: Some((series.step_seconds * 1e6) as i64),
    }
}

fn measure_one(folder: &Path, series: &Series, config: &Config, windows: &nab::Windows) -> Result<Measured, String> {
    let table = csv::read(&folder.join(&series.file), columns(series, config))?;
    let labels = table.labels.clone().ok_or_else(|| format!("{} has no labels", series.file.display()))?;
    let request = Request {
        config,
        entity: &series.series,
        topic: "bench",
        warmup_rows: Some(series.train_rows as u64),
        state: None,
    };
    let replayed = replay(&table, &request, |_| {})?;
    let from = series.train_rows.min(table.n_rows());
    let mut scores = vec![replayed.outcomes.iter().map(|outcome| outcome.score).collect::<Vec<f32>>()];
    scores.extend(controls::ALL.iter().map(|(_, control)| control(&table, from)));
    let any = labels[from..].iter().any(|label| *label);
    let vus = any.then(|| {
        scores.iter().map(|scores| vus::vus_pr(&labels[from..], &scores[from..], series.vus_window)).collect()
    });
    let open: Vec<bool> = replayed.outcomes.iter().map(|outcome| outcome.anomalous).collect();
    let rows_of = |counts: fn(&Outcome) -> bool| -> Vec<usize> {
        replayed.outcomes.iter().enumerate().filter(|(_, outcome)| counts(outcome)).map(|(row, _)| row).collect()
    };
    let opened = rows_of(|outcome| outcome.alerts.iter().any(|alert| alert.transition == Transition::Opened));
    let raised = rows_of(|outcome| outcome.raised);
    Ok(Measured {
        vus,
        figures: Figures::of(&labels, &open, &opened, Some(&table.times), from),
        all_raised: Figures::of(&labels, &open, &raised, Some(&table.times), from),
        days: (table.n_rows() - from) as f64 * series.step_seconds / 86_400.0,
        nab: (series.dataset == "nab").then(|| nab::points(&table, &opened, windows.of(&series.series))),
        series: series.clone(),
    })
}

/// A series' values of one channel.
pub(crate) fn channel(table: &Table, channel: usize) -> impl Iterator<Item = f32> + Clone {
    table.values.iter().copied().skip(channel).step_by(table.channels.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_that_is_not_there_is_told_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let head = "dataset,series,file,train_rows,step_seconds,vus_window\n";
        let lines = "skab,a,a.csv,400,1,10\nnab,b,b.csv,400,1,10\nskab,c,c.csv,400,1,10\n";
        std::fs::write(folder.path().join("series.csv"), format!("{head}{lines}")).unwrap();
        for set in ["nope", "SKAB", "skba"] {
            let sets = ["nab".to_owned(), set.to_owned()];
            let told = measure(folder.path(), &sets, &Config::defaults(), |_| {}).err().unwrap();
            assert_eq!(told, format!("there is no set `{set}` (--sets); there are `nab`, `skab`"));
        }
    }
}
