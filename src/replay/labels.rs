//! A replay against its labels: point by point, and event by event. The label is never an input.

use crate::detector::row::EventTime;
use std::fmt;

/// Rows after the end of a segment in which an alert still finds it.
const SLACK: usize = 5;

/// Figures of one or several series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    true_positives: u64,
    false_positives: u64,
    false_negatives: u64,
    true_negatives: u64,
    /// Labelled segments.
    pub events: u64,
    /// Segments in which an alert was raised.
    pub found: u64,
    /// Alerts raised.
    pub raised: u64,
    /// Alerts raised in a segment.
    pub right: u64,
    delay_rows: u64,
    days: f64,
    /// Of one series it is not known how far apart its rows are: nothing is told by the day.
    untimed: bool,
}

impl Figures {
    /// Of rows from `scored_from` on. `raised`: the rows on which an alert was raised; `open`: one flag a row;
    /// `times`: of the rows, if it is known how far apart they are.
    #[must_use]
    pub fn of(
        labels: &[bool],
        open: &[bool],
        raised: &[usize],
        times: Option<&[EventTime]>,
        scored_from: usize,
    ) -> Self {
        let mut figures = Self { untimed: times.is_none(), ..Self::default() };
        for (label, open) in labels.iter().zip(open).skip(scored_from) {
            match (label, open) {
                (true, true) => figures.true_positives += 1,
                (false, true) => figures.false_positives += 1,
                (true, false) => figures.false_negatives += 1,
                (false, false) => figures.true_negatives += 1,
            }
        }
        let raised: Vec<usize> = raised.iter().copied().filter(|row| *row >= scored_from).collect();
        let segments = spans(labels.iter().enumerate().map(|(row, label)| *label && row >= scored_from));
        figures.events = segments.len() as u64;
        figures.raised = raised.len() as u64;
        for (from, to) in &segments {
            if let Some(first) = raised.iter().find(|row| (*from..=to + SLACK).contains(row)) {
                figures.found += 1;
                figures.delay_rows += (first - from) as u64;
            }
        }
        let inside = |row: &&usize| segments.iter().any(|(from, to)| (*from..=to + SLACK).contains(*row));
        figures.right = raised.iter().filter(inside).count() as u64;
        if let Some(times) = times
            && let (Some(first), Some(last)) = (times.get(scored_from), times.last())
        {
            figures.days = last.micros().saturating_sub(first.micros()) as f64 / 86_400e6;
        }
        figures
    }

    /// Adds another series.
    pub fn add(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
        self.events += other.events;
        self.found += other.found;
        self.raised += other.raised;
        self.right += other.right;
        self.delay_rows += other.delay_rows;
        self.days += other.days;
        self.untimed |= other.untimed;
    }

    /// Share of the flagged rows that are labelled.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the labelled rows that are flagged.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Harmonic mean of both.
    #[must_use]
    pub fn f1(&self) -> f64 {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// Share of the normal rows that are flagged.
    #[must_use]
    pub fn false_alarm_rate(&self) -> f64 {
        share(self.false_positives, self.false_positives + self.true_negatives)
    }

    /// Share of the segments in which an alert was raised.
    #[must_use]
    pub fn event_recall(&self) -> f64 {
        share(self.found, self.events)
    }

    /// Share of the alerts raised in a segment.
    #[must_use]
    pub fn event_precision(&self) -> f64 {
        share(self.right, self.raised)
    }

    /// Alerts a day and series; `None`: how long a day is in rows is not known.
    #[must_use]
    pub fn alerts_a_day(&self) -> Option<f64> {
        (self.days > 0.0 && !self.untimed).then(|| self.raised as f64 / self.days)
    }

    fn n_rows(&self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rows     precision {:.3}  recall {:.3}  F1 {:.3}  false-alarm rate {:.3}",
            self.precision(),
            self.recall(),
            self.f1(),
            self.false_alarm_rate()
        )?;
        let delay = share(self.delay_rows, self.found);
        write!(
            f,
            "events   found {} of {}  mean delay {delay:.1} rows  alerts {} ({} in an event), ",
            self.found, self.events, self.raised, self.right,
        )?;
        match self.alerts_a_day() {
            Some(alerts) => write!(f, "{alerts:.2} a day"),
            None => write!(f, "{:.2} per 1,000 rows", 1000.0 * share(self.raised, self.n_rows())),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// First and last row of every stretch of flagged rows.
pub fn spans(flags: impl IntoIterator<Item = bool>) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (row, _) in flags.into_iter().enumerate().filter(|(_, on)| *on) {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            Some(_) | None => spans.push((row, row)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_by_an_alert_raised_in_it() {
        let labels = [false, false, true, true, false, false, true, false];
        let open = [false, true, true, false, false, false, false, false];
        let times: Vec<EventTime> = (0..8).map(|day| EventTime::from_micros(day * 86_400_000_000)).collect();
        let figures = Figures::of(&labels, &open, &[1, 3], Some(&times), 0);
        assert_eq!((figures.events, figures.found, figures.raised, figures.right), (2, 1, 2, 1));
        assert_eq!((figures.precision(), figures.recall()), (0.5, 1.0 / 3.0));
        assert!((figures.alerts_a_day().unwrap() - 2.0 / 7.0).abs() < 1e-9);
        assert!(figures.to_string().ends_with("0.29 a day"), "{figures}");
    }

    #[test]
    fn what_has_no_clock_tells_of_no_day() {
        let (labels, open) = ([false; 500], [false; 500]);
        let steps = Figures::of(&labels, &open, &[400], None, 0);
        assert_eq!(steps.alerts_a_day(), None);
        assert!(steps.to_string().ends_with("2.00 per 1,000 rows"), "{steps}");
        let times: Vec<EventTime> = (0..500).map(|hour| EventTime::from_micros(hour * 3_600_000_000)).collect();
        let mut both = Figures::of(&labels, &open, &[400], Some(&times), 0);
        assert!(both.alerts_a_day().is_some());
        both.add(&steps);
        assert!(both.to_string().ends_with("2.00 per 1,000 rows"), "{both}");
    }
}
