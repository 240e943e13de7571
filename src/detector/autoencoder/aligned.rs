//! Numbers that begin on a cache line. A register of sixteen floats that lies across two lines costs two loads; where the
//! rows of a matrix begin on a line each, none does.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};

/// Floats in a cache line.
const LINE: usize = 16;

/// A slice of numbers on the heap, the first of them at the beginning of a cache line. Written like a `Vec<f32>`.
#[derive(Debug, Default)]
pub struct Aligned {
    /// The numbers, and up to a line of zeros before and behind them.
    cells: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Makes room for `len` numbers, which are to be written before they are read. Allocates only to grow beyond what it was.
    pub fn resize(&mut self, len: usize) {
        if self.cells.len() < len + LINE {
            *self = Self::zeros(len);
        }
        self.len = len;
    }

    fn zeros(len: usize) -> Self {
        let cells = vec![0.0; len + LINE];
        // The offset is a matter of speed alone: without one the numbers begin where they are.
        let start = cells.as_ptr().align_offset(LINE * size_of::<f32>());
        Self { start: if start < LINE { start } else { 0 }, cells, len }
    }
}

impl From<&[f32]> for Aligned {
    fn from(numbers: &[f32]) -> Self {
        let mut aligned = Self::zeros(numbers.len());
        aligned.copy_from_slice(numbers);
        aligned
    }
}

impl From<Vec<f32>> for Aligned {
    fn from(numbers: Vec<f32>) -> Self {
        Self::from(&numbers[..])
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        Self::from(&self[..])
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.cells[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.cells[self.start..self.start + self.len]
    }
}

impl PartialEq for Aligned {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Serialize for Aligned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self[..].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Aligned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_on_a_line_whatever_is_done_to_it() {
        for len in [0, 1, 15, 16, 17, 500] {
            let numbers: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let aligned = Aligned::from(numbers.clone());
            let bytes = postcard::to_stdvec(&aligned).unwrap();
            assert_eq!(bytes, postcard::to_stdvec(&numbers).unwrap(), "a snapshot shows nothing of it");
            let restored: Aligned = postcard::from_bytes(&bytes).unwrap();
            for other in [aligned.clone(), restored, aligned] {
                assert_eq!(other[..], numbers[..]);
                assert_eq!(other.as_ptr().align_offset(64), 0);
            }
        }
    }
}
