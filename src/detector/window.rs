//! The last W scaled rows as one flat slice, oldest row first, and which of their cells were missing.

use super::snapshot::{Soundness, all_finite};
use serde::{Deserialize, Serialize};

/// Rows are appended behind one another; when the room is used up, the last window moves to its front.
const ROOM: usize = 4;

/// A sliding window of `rows x channels` cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Window {
    cells: Vec<f32>,
    missing: Vec<bool>,
    any_missing: u32,
    start: usize,
    len: usize,
}

/// What a snapshot keeps of a window: the cells in it, not where they lie in memory.
#[derive(Serialize, Deserialize)]
struct Kept {
    cells: Vec<f32>,
    missing: Vec<bool>,
}

impl From<Window> for Kept {
    fn from(window: Window) -> Self {
        Self { cells: window.cells().to_vec(), missing: window.missing().to_vec() }
    }
}

impl From<Kept> for Window {
    fn from(kept: Kept) -> Self {
        let len = kept.cells.len().min(kept.missing.len());
        let (mut cells, mut missing) = (kept.cells, kept.missing);
        cells.truncate(len);
        missing.truncate(len);
        let any_missing = missing.iter().filter(|missing| **missing).count() as u32;
        Self { cells, missing, any_missing, start: 0, len }
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.cells() == other.cells() && self.missing() == other.missing()
    }
}

impl Window {
    /// A window of zeros: `rows x channels` cells.
    #[must_use]
    pub fn new(rows: usize, channels: usize) -> Self {
        let len = rows * channels;
        Self { cells: vec![0.0; len], missing: vec![false; len], any_missing: 0, start: 0, len }
    }

    /// The cells, oldest row first.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        &self.cells[self.start..self.start + self.len]
    }

    /// Which of [`cells`](Self::cells) were missing.
    #[must_use]
    pub fn missing(&self) -> &[bool] {
        &self.missing[self.start..self.start + self.len]
    }

    /// Is there a missing cell in the window?
    #[must_use]
    pub fn has_missing(&self) -> bool {
        self.any_missing > 0
    }

    /// Drops the oldest row and appends one; a NaN is held at the channel's last value and marked.
    pub fn push(&mut self, row: &[f32]) {
        let channels = row.len();
        if self.start + self.len + channels > self.cells.len() {
            let room = (ROOM + 1) * self.len.max(channels);
            self.cells.resize(room, 0.0);
            self.missing.resize(room, false);
            self.cells.copy_within(self.start..self.start + self.len, 0);
            self.missing.copy_within(self.start..self.start + self.len, 0);
            self.start = 0;
        }
        let end = self.start + self.len;
        for (c, value) in row.iter().enumerate() {
            let missing = value.is_nan();
            self.cells[end + c] = if missing { self.cells[end + c - channels] } else { *value };
            self.any_missing += u32::from(missing);
            self.any_missing -= u32::from(self.missing[self.start + c]);
            self.missing[end + c] = missing;
        }
        self.start += channels;
    }

    pub(super) fn soundness(&self, len: usize) -> Soundness {
        Soundness::of(self.len == len && all_finite(self.cells()), "window")
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
