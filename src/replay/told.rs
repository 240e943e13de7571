//! Outcomes come in the order of event time, and one may be of several rows of a file, or of none: here they find their rows.

use super::csv::Table;
use crate::detector::Outcome;
use crate::detector::row::EventTime;
use crate::lane::align::Settings;
use std::collections::HashMap;

/// What was told of a table so far.
pub(super) struct Told<'a> {
    table: &'a Table,
    align: Settings,
    /// By the row that completed it.
    outcomes: Vec<Option<Outcome>>,
    /// Rows that came too late to be part of the row of their time.
    late: Vec<bool>,
}

impl<'a> Told<'a> {
    pub fn new(table: &'a Table, align: Settings) -> Self {
        let n = table.n_rows();
        Self { table, align, outcomes: (0..n).map(|_| None).collect(), late: vec![false; n] }
    }

    /// An outcome; a second one of a row is of a filled step after it.
    pub fn take(&mut self, outcome: Outcome) {
        match &mut self.outcomes[outcome.offset as usize] {
            Some(before) => before.alerts.extend(outcome.alerts),
            none => *none = Some(outcome),
        }
    }

    /// A row was handed in.
    pub fn note(&mut self, row: usize, is_late: bool) {
        self.late[row] = is_late;
    }

    /// One outcome per row.
    pub fn by_row(self) -> Vec<Outcome> {
        let Self { table, align, mut outcomes, late } = self;
        let in_time = (0..table.n_rows()).filter(|row| !late[*row]);
        let completed_by: HashMap<EventTime, usize> =
            in_time.clone().filter_map(|row| Some((outcomes[row].as_ref()?.at, row))).collect();
        for row in in_time {
            if outcomes[row].is_none()
                && let Some(by) = completed_by.get(&align.row_time(table.times[row]))
            {
                // Its alerts were told once.
                outcomes[row] = outcomes[*by].clone().map(|outcome| Outcome { alerts: Vec::new(), ..outcome });
            }
        }
        let mut told: Vec<Outcome> = Vec::with_capacity(table.n_rows());
        for (row, outcome) in outcomes.into_iter().enumerate() {
            let nothing = || {
                let nothing = Outcome::on_probation(table.times[row], row as i64);
                let before = told.last().map(|before| (before.state, before.anomalous));
                let (state, anomalous) = before.unwrap_or((nothing.state, nothing.anomalous));
                Outcome { state, anomalous, ..nothing }
            };
            let outcome = outcome.unwrap_or_else(nothing);
            told.push(outcome);
        }
        told
    }
}
