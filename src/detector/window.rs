//! The last W scaled rows as one flat slice, oldest row first, and which of their cells were missing.

use super::autoencoder::aligned::Aligned;
use super::snapshot::{Soundness, all_finite};
use serde::{Deserialize, Serialize};

/// A sliding window of `rows x channels` cells. It moves in memory with every row, so that it always begins where the loops
/// over it like it: on a cache line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Window {
    cells: Aligned,
    missing: Vec<bool>,
    #[serde(skip)]
    n_missing: u32,
}

/// What a snapshot keeps of a window.
#[derive(Deserialize)]
struct Kept {
    cells: Aligned,
    missing: Vec<bool>,
}

impl From<Kept> for Window {
    fn from(kept: Kept) -> Self {
        let n_missing = kept.missing.iter().filter(|missing| **missing).count() as u32;
        Self { cells: kept.cells, missing: kept.missing, n_missing }
    }
}

impl Window {
    /// A window of zeros: `rows x channels` cells.
    #[must_use]
    pub fn new(rows: usize, channels: usize) -> Self {
        let len = rows * channels;
        Self { cells: vec![0.0; len].into(), missing: vec![false; len], n_missing: 0 }
    }

    /// The cells, oldest row first.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        &self.cells
    }

    /// Which of [`cells`](Self::cells) were missing.
    #[must_use]
    pub fn missing(&self) -> &[bool] {
        &self.missing
    }

    /// Is there a missing cell in the window?
    #[must_use]
    pub fn has_missing(&self) -> bool {
        self.n_missing > 0
    }

    /// Drops the oldest row and appends one; a NaN is held at the channel's last value and marked.
    pub fn push(&mut self, row: &[f32]) {
        let channels = row.len();
        let newest = self.cells.len() - channels;
        if self.has_missing() {
            self.n_missing -= self.missing[..channels].iter().filter(|missing| **missing).count() as u32;
            self.missing.copy_within(channels.., 0);
            self.missing[newest..].fill(false);
        }
        // The last row stays where it was until it is written over: what is missing keeps its value.
        self.cells.copy_within(channels.., 0);
        for (c, value) in row.iter().enumerate() {
            if value.is_nan() {
                self.missing[newest + c] = true;
                self.n_missing += 1;
            } else {
                self.cells[newest + c] = *value;
            }
        }
    }

    pub(super) fn soundness(&self, len: usize) -> Soundness {
        Soundness::of([self.cells.len(), self.missing.len()] == [len; 2] && all_finite(&self.cells), "window")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_last_rows_however_many_came() {
        let mut window = Window::new(3, 2);
        for i in 0..100 {
            window.push(&[i as f32, -(i as f32)]);
            if i >= 2 {
                let i = i as f32;
                assert_eq!(window.cells(), [i - 2.0, 2.0 - i, i - 1.0, 1.0 - i, i, -i]);
            }
        }
    }

    #[test]
    fn a_missing_value_is_held_marked_and_forgotten_with_its_row() {
        let mut window = Window::new(2, 1);
        window.push(&[4.0]);
        window.push(&[f32::NAN]);
        assert_eq!((window.cells(), window.missing()), (&[4.0, 4.0][..], &[false, true][..]));
        window.push(&[5.0]);
        window.push(&[6.0]);
        assert!(!window.has_missing());
    }
}
