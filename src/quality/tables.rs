//! What was measured, as Markdown.

use super::{Measured, nab, scorers};
use crate::replay::labels::Figures;
use std::fmt::Write as _;

/// All tables.
#[must_use]
pub fn markdown(measured: &[Measured]) -> String {
    let mut sets: Vec<&str> = Vec::new();
    for one in measured {
        if !sets.contains(&one.series.dataset.as_str()) {
            sets.push(&one.series.dataset);
        }
    }
    let of = |set: &str| measured.iter().filter(|one| one.series.dataset == set).collect::<Vec<_>>();
    let mut text = format!(
        "### Ranking: VUS-PR, mean over series\n\n| set | {} | even / odd series |\n|---{}|\n",
        scorers().join(" | "),
        "|---".repeat(scorers().len() + 1)
    );
    for set in &sets {
        let with: Vec<&Vec<f64>> = of(set).into_iter().filter_map(|one| one.vus.as_ref()).collect();
        let mean = |k: usize, rows: &mut dyn Iterator<Item = &&Vec<f64>>| {
            let (sum, n) = rows.fold((0.0, 0), |(sum, n), vus| (sum + vus[k], n + 1));
            if n == 0 { f64::NAN } else { sum / f64::from(n) }
        };
        let means: Vec<f64> = (0..scorers().len()).map(|k| mean(k, &mut with.iter())).collect();
        let best = means.iter().copied().fold(f64::NAN, f64::max);
        let shown: Vec<String> = means
            .iter()
            .map(|mean| if *mean == best { format!("**{mean:.3}**") } else { format!("{mean:.3}") })
            .collect();
        let (even, odd) = (mean(0, &mut with.iter().step_by(2)), mean(0, &mut with.iter().skip(1).step_by(2)));
        let _ = writeln!(text, "| {set} | {} | {even:.3} / {odd:.3} |", shown.join(" | "));
    }
    text += "\n### Alerts of the default config\n\n| set | events found | precision of alerts | alerts a day and series | rows: F1 | false-alarm rate | missed |\n|---|---|---|---|---|---|---|\n";
    for set in &sets {
        let (figures, events) = sum(&of(set), |one| &one.figures);
        let _ = writeln!(
            text,
            "| {set} | {events} | {:.3} | {:.1} % | {:.1} % |",
            figures.f1(),
            100.0 * figures.false_alarm_rate(),
            100.0 * (1.0 - figures.recall())
        );
    }
    text += "\n### The same alerts, one on which the rule fires again while it is open counted once more\n\n| set | events found | precision of alerts | alerts a day and series |\n|---|---|---|---|\n";
    for set in &sets {
        let _ = writeln!(text, "| {set} | {} |", sum(&of(set), |one| &one.all_raised).1);
    }
    let points: Vec<&nab::Points> = measured.iter().filter_map(|one| one.nab.as_ref()).collect();
    if !points.is_empty() {
        text += "\n### NAB, from alerts, no threshold chosen in hindsight\n\n| profile | score |\n|---|---|\n";
        for profile in nab::PROFILES {
            let _ = writeln!(text, "| {} | {:.1} |", profile.0, nab::score(points.iter().copied(), profile));
        }
    }
    text
}

/// Figures of a set, and the three columns about its events.
fn sum(set: &[&Measured], of: impl Fn(&Measured) -> &Figures) -> (Figures, String) {
    let mut figures = Figures::default();
    set.iter().for_each(|one| figures.add(of(one)));
    let days: f64 = set.iter().map(|one| one.days).sum();
    let columns = format!(
        "{:.2} ({} of {}) | {:.2} | {:.2}",
        figures.event_recall(),
        figures.found,
        figures.events,
        figures.event_precision(),
        figures.raised as f64 / days
    );
    (figures, columns)
}
