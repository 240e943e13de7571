//! How a lane comes back: snapshots from the state topic, then the input read again, silently, from the lowest offset whose
//! effect is in none of them. The input log is the write-ahead log.

use super::Lane;
use super::entity::Entity;
use crate::detector::alert::{Alert, Cause};
use crate::detector::snapshot::SnapshotError;
use crate::wire::state_record::{Envelope, Key, OffsetMetadata, Unreadable};
use std::collections::BTreeMap;

/// Records that are read again at most when snapshots are missing: so many are a matter of seconds, and a lane without its state
/// learns from them what would take it hours.
const REBUILT: i64 = 1_000_000;

/// Why a snapshot is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The state record cannot be read.
    Unreadable(Unreadable),
    /// It was made under settings of another shape.
    OtherShape,
    /// Its contents contradict the settings.
    Unsound(&'static str),
}

/// What came of the state records, by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records restored: an entity has as many as compaction has left.
    pub restored: u64,
    /// Entities that there are in the end.
    pub entities: u64,
    /// Records that are damaged or not ours.
    pub corrupt: u64,
    /// Records of a format this version does not know.
    pub foreign_version: u64,
    /// Records made under other settings.
    pub other_shape: u64,
    /// Snapshots newer than the committed offset: that was set back, the input is another one, or a transaction was torn.
    pub torn: u64,
    /// The accumulator after the replay is not the one that was committed.
    pub diverged: bool,
    /// Something of what was learned is missing. Where snapshots may be newer than the committed offset no accumulator can tell;
    /// there it is what became of the state records.
    pub lost: bool,
}

impl Report {
    /// Where to read the input again from, once more, to learn anew what is missing; `None`: nothing is missing, or the log has no
    /// more than was `read_from` already. Entities that have their snapshots pass over the rows that are in them.
    #[must_use]
    pub fn rebuild_from(&self, read_from: i64, log_start: i64, live_from: i64) -> Option<i64> {
        let from = log_start.max(live_from - REBUILT);
        (self.lost && from < read_from).then_some(from)
    }

    /// Records that are of no use to this version and this config.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.corrupt + self.foreign_version + self.other_shape
    }
}

/// A recovery under way.
#[derive(Debug, Default)]
pub struct Recovery {
    report: Report,
    committed: Option<OffsetMetadata>,
    /// Entities whose newest snapshot is of no use.
    replaced: BTreeMap<String, Replaced>,
}

/// A snapshot that something else will take the place of.
#[derive(Debug)]
pub(super) struct Replaced {
    /// Of the alerts that are open in it.
    pub endings: Vec<Alert>,
    /// It is newer than the committed offset, and must be gone before that passes it.
    pub is_ahead: bool,
}

impl Lane {
    /// Takes one record of the state topic, in the topic's order. `None` as value: the entity is gone.
    pub fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        let (topic, lane) = (&*self.id.topic, self.id.partition);
        let entity = match Key::decode(key) {
            Ok(Key::Snapshot { topic: of, partition, entity }) if of == topic && partition == lane => entity,
            Ok(Key::Terms { topic: of, partition }) if of == topic && partition == lane => {
                let stored = value.and_then(|value| Envelope::decode(value).ok());
                self.are_terms_stored = stored.is_some_and(|stored| stored.fingerprint == self.terms.fingerprint);
                return;
            }
            Ok(_) | Err(_) => return,
        };
        if let Some(recovery) = &mut self.recovery {
            recovery.replaced.remove(entity);
        }
        let Some(value) = value else {
            self.entities.remove(entity);
            return;
        };
        match self.read_snapshot(entity, value) {
            Ok(restored) if restored.as_of >= self.live_from && !self.settings.snapshots_lead => {
                self.entities.remove(entity);
                self.keep_open_alerts(entity, value, true);
                self.count(|report| report.torn += 1);
            }
            Ok(restored) => {
                let used = restored.as_of;
                self.entities.insert(restored, used);
                self.count(|report| report.restored += 1);
                self.make_room();
            }
            Err(why) => {
                if why == Unusable::OtherShape {
                    self.keep_open_alerts(entity, value, false);
                }
                self.count(|report| match why {
                    Unusable::Unreadable(Unreadable::ForeignVersion { .. }) | Unusable::Unsound("format") => {
                        report.foreign_version += 1
                    }
                    Unusable::OtherShape => report.other_shape += 1,
                    Unusable::Unreadable(_) | Unusable::Unsound(_) => report.corrupt += 1,
                })
            }
        }
    }

    /// What was learned under other settings, or from records that are to come, is of no use but for one thing: which alerts the world
    /// knows to be open.
    fn keep_open_alerts(&mut self, entity: &str, value: &[u8], is_ahead: bool) {
        let Ok(envelope) = Envelope::decode(value) else { return };
        if let (Ok(endings), Some(recovery)) =
            (Entity::endings(envelope.body, Cause::Replaced, self.live_from - 1), &mut self.recovery)
        {
            recovery.replaced.insert(entity.to_owned(), Replaced { endings, is_ahead });
        }
    }

    fn count(&mut self, note: impl FnOnce(&mut Report)) {
        if let Some(recovery) = &mut self.recovery {
            note(&mut recovery.report);
        }
    }

    /// All state records were given. The offset to read the input again from; `metadata` is what was committed beside the
    /// offset. Nothing of ours: an operator set the offset, or there was none, and nothing is replayed.
    pub fn replay_from(&mut self, metadata: Option<&str>) -> i64 {
        let committed = metadata.and_then(OffsetMetadata::decode);
        if let Some(recovery) = &mut self.recovery {
            recovery.committed = committed;
        }
        self.are_terms_new = committed.and_then(|committed| committed.terms) != Some(self.terms.fingerprint);
        let from = committed.map_or(self.live_from, |committed| committed.replay_offset.clamp(0, self.live_from));
        self.next_offset = self.live_from;
        from
    }

    /// The input was read again up to `live_from`.
    pub fn finish_recovery(&mut self) -> Report {
        let Some(Recovery { report, committed, replaced }) = self.recovery.take() else { return Report::default() };
        let sum = self.entities.accumulator();
        let differs = committed.is_some_and(|committed| committed.accumulator != sum);
        self.next_offset = self.live_from;
        self.reported_offset = self.live_from;
        let lead = self.settings.snapshots_lead;
        let lost = differs && (!lead || report.restored == 0 || report.unusable() > 0);
        // A model of another shape gives other scores.
        let diverged = differs && !lead && report.other_shape == 0;
        if lead {
            self.find_nothing();
        }
        for (entity, before) in replaced {
            self.replace(&entity, before);
        }
        Report { entities: self.entities.n_entities() as u64, diverged, lost, ..report }
    }
}

impl From<SnapshotError> for Unusable {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Malformed => Self::Unsound("body"),
            SnapshotError::Unsound(part) => Self::Unsound(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_learned_again_from_what_the_log_has_within_bounds() {
        let report = |lost| Report { lost, ..Report::default() };
        assert_eq!(report(false).rebuild_from(500, 0, 600), None);
        assert_eq!(report(true).rebuild_from(500, 0, 600), Some(0));
        assert_eq!(report(true).rebuild_from(500, 400, 600), Some(400));
        assert_eq!(report(true).rebuild_from(500, 500, 600), None, "the log has no more");
        assert_eq!(report(true).rebuild_from(3_000_500, 400, 3_000_600), Some(2_000_600));
    }
}
