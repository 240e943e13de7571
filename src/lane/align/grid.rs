//! The last values of a grid's channels, and the steps in which nothing came.

use super::Settings;
use crate::detector::row::EventTime;
use crate::wire::channels::ChannelId;

/// A channel's last value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub channel: ChannelId,
    pub value: f32,
    /// When it was measured.
    pub at: EventTime,
}

/// Where a grid is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Grid {
    /// Time and offset of the last row given out.
    pub last: Option<(EventTime, i64)>,
    /// Each channel once.
    pub held: Vec<Held>,
}

impl Grid {
    /// The step to fill before the row at `next`, if there is one: it becomes the last row. Behind a gap that is too long
    /// nothing is held any more.
    pub fn fill(&mut self, next: EventTime, settings: &Settings) -> Option<(EventTime, i64)> {
        let step = settings.interval.filter(|step| *step > 0)?;
        let (last, offset) = self.last?;
        let last = settings.row_time(last);
        let n_missing = (next.micros().saturating_sub(last.micros()) / step).saturating_sub(1);
        if n_missing > settings.max_fill {
            self.held.clear();
        }
        if !(1..=settings.max_fill).contains(&n_missing) {
            return None;
        }
        let filled = (EventTime::from_micros(last.micros().saturating_add(step)), offset);
        self.last = Some(filled);
        Some(filled)
    }

    /// A row is given out.
    pub fn advance(&mut self, at: EventTime, offset: i64) {
        self.last = Some((at, offset));
    }

    /// Holds measurements from now on; of two of a channel the newer one, of equally old ones the later.
    pub fn hold(&mut self, measurements: impl Iterator<Item = (ChannelId, f32, EventTime)>) {
        for (guess, (channel, value, at)) in measurements.enumerate() {
            let is_it = |held: &Held| held.channel == channel;
            let known =
                if self.held.get(guess).is_some_and(is_it) { Some(guess) } else { self.held.iter().position(is_it) };
            match known {
                Some(index) if at >= self.held[index].at => self.held[index] = Held { channel, value, at },
                Some(_) => {}
                None => self.held.push(Held { channel, value, at }),
            }
        }
    }

    /// What is held.
    pub fn values(&self) -> impl Iterator<Item = (ChannelId, f32)> {
        self.held.iter().map(|held| (held.channel, held.value))
    }
}
