//! VUS-PR: the volume under the surface of precision, recall and buffer width (Paparrizos et al., PVLDB 15, 2022): average
//! precision of ranges whose borders are softened over ever wider buffers, so that a score that comes a little early or late
//! is no miss.

use crate::replay::labels::spans;

/// Thresholds between the highest and the lowest score.
const THRESHOLDS: usize = 250;

/// Volume for buffers of 0 to `widest` rows. 0 without a label.
#[must_use]
pub fn vus_pr(labels: &[bool], scores: &[f32], widest: usize) -> f64 {
    let segments = spans(labels.iter().copied());
    if segments.is_empty() {
        return 0.0;
    }
    let levels = Levels::of(scores);
    let inside: Vec<usize> = segments.iter().flat_map(|(from, to)| *from..=*to).collect();
    let inside_by_level = levels.count(inside.iter().map(|row| (*row, 1.0)));
    let best_inside: Vec<usize> = segments.iter().map(|(from, to)| levels.best(*from..=*to)).collect();
    let volume: f64 = (0..=widest)
        .map(|width| {
            average_precision(scores.len(), &segments, &inside_by_level, &best_inside, inside.len(), &levels, width)
        })
        .sum();
    volume / (widest + 1) as f64
}

/// For every row the first of the falling thresholds that it reaches.
struct Levels {
    level: Vec<u16>,
    predicted: Vec<f64>,
}

impl Levels {
    fn of(scores: &[f32]) -> Self {
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let step = (scores.len() - 1) as f64 / (THRESHOLDS - 1) as f64;
        let thresholds: Vec<f32> = (0..THRESHOLDS).map(|k| sorted[(k as f64 * step) as usize]).collect();
        let level =
            scores.iter().map(|score| thresholds.partition_point(|threshold| threshold > score) as u16).collect();
        let mut levels = Self { level, predicted: Vec::new() };
        levels.predicted = levels.count((0..scores.len()).map(|row| (row, 1.0)));
        levels
    }

    /// Summed weight of the rows that reach each threshold.
    fn count(&self, rows: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
        let mut sums = vec![0.0; THRESHOLDS + 1];
        rows.for_each(|(row, weight)| sums[self.level[row] as usize] += weight);
        for k in 1..sums.len() {
            sums[k] += sums[k - 1];
        }
        sums.truncate(THRESHOLDS);
        sums
    }

    fn best(&self, rows: impl Iterator<Item = usize>) -> usize {
        rows.map(|row| self.level[row] as usize).min().unwrap_or(THRESHOLDS)
    }
}

#[allow(clippy::too_many_arguments)] // what does not depend on the width is worked out once
fn average_precision(
    n: usize,
    segments: &[(usize, usize)],
    inside_by_level: &[f64],
    best_inside: &[usize],
    n_inside: usize,
    levels: &Levels,
    width: usize,
) -> f64 {
    let reach = width / 2;
    let mut softened: Vec<(usize, f64)> = Vec::new();
    for (k, (from, to)) in segments.iter().enumerate() {
        let soft = |distance: usize| (1.0 - distance as f64 / width as f64).sqrt();
        let next = segments.get(k + 1).map_or(n, |next| next.0);
        let previous = if k == 0 { 0 } else { segments[k - 1].1 + 1 };
        softened.extend((to + 1..(to + reach + 1).min(next)).map(|row| (row, soft(row - to))));
        softened.extend((from.saturating_sub(reach).max(previous)..*from).map(|row| (row, soft(from - row))));
    }
    // Between two close segments a row is in the buffer of both: its weights add up, to 1 at most.
    softened.sort_by_key(|(row, _)| *row);
    let mut merged: Vec<(usize, f64)> = Vec::with_capacity(softened.len());
    for (row, weight) in softened {
        match merged.last_mut() {
            Some((last, sum)) if *last == row => *sum = (*sum + weight).min(1.0),
            Some(_) | None => merged.push((row, weight)),
        }
    }
    let buffered = levels.count(merged.iter().copied());
    // Neighbouring segments whose buffers touch count as one.
    let mut groups: Vec<usize> = Vec::new();
    let mut last_end: Option<usize> = None;
    for ((from, to), best) in segments.iter().zip(best_inside) {
        let around = from.saturating_sub(reach)..(to + reach + 1).min(n);
        let best = (*best).min(levels.best((around.start..*from).chain(*to + 1..around.end)));
        match (last_end, groups.last_mut()) {
            (Some(end), Some(group)) if end + reach >= from.saturating_sub(reach) => *group = (*group).min(best),
            _ => groups.push(best),
        }
        last_end = Some(*to);
    }
    let (mut area, mut last_recall) = (0.0, 0.0);
    for k in 0..THRESHOLDS {
        let hits = inside_by_level[k] + buffered[k];
        let positives = (n_inside as f64 + n_inside as f64 + buffered[k]) / 2.0;
        let found = groups.iter().filter(|best| **best <= k).count() as f64 / groups.len() as f64;
        let recall = (hits / positives).min(1.0) * found;
        area += (recall - last_recall) * (hits / levels.predicted[k]);
        last_recall = recall;
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_score_beats_a_late_one_and_that_beats_a_wrong_one() {
        let labels: Vec<bool> = (0..1000).map(|row| (300..340).contains(&row)).collect();
        let score = |from: usize, to: usize| -> Vec<f32> {
            (0..1000).map(|row| if (from..to).contains(&row) { 1.0 } else { 0.001 * (row % 7) as f32 }).collect()
        };
        let [perfect, late, wrong] =
            [score(300, 340), score(310, 350), score(700, 740)].map(|scores| vus_pr(&labels, &scores, 50));
        assert!(perfect > 0.8 && perfect > late && late > wrong && wrong < 0.2, "{perfect} {late} {wrong}");
    }
}
