//! A look from outside at how long judging and learning take: the core has no clock, whoever has one is told of the moments.

use std::fmt;

/// A moment in a row's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It came in.
    Begun,
    /// It was judged and decided upon. The level streams and the small autoencoders of the channels learn while they look.
    Judged,
    /// The model, the thresholds and the warm-up have learned from it.
    Learned,
}

/// Who is told. A row without a value is not judged: only its beginning is told.
pub struct Probe(Box<dyn FnMut(Moment) + Send>);

impl Probe {
    /// Calls `told` at every moment. It must not change what is learned, so it is given nothing else.
    #[must_use]
    pub fn new(told: impl FnMut(Moment) + Send + 'static) -> Self {
        Self(Box::new(told))
    }

    pub(super) fn tell(&mut self, moment: Moment) {
        (self.0)(moment);
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
