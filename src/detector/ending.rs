//! The end of what was learned of an entity while alerts are open: no row will close them, so the end itself does.

use super::Detector;
use super::alert::{Alert, Cause, Kind, Transition};

impl Detector {
    /// The ends of all alerts that the world knows to be open, should this state end for `cause`. `offset`: of the record that ends
    /// it, or of the last one before. As nothing was scored, there are no figures and no channels.
    #[must_use]
    pub fn endings(&self, cause: Cause, offset: i64) -> Vec<Alert> {
        let known = self.open_alerts().filter(|open| open.told);
        known
            .map(|open| Alert {
                kind: open.kind,
                transition: Transition::Closed,
                cause,
                severity: open.severity,
                onset: open.onset,
                // Rows that are out of range as a whole do not move the newest time.
                at: self.last_at.max(open.onset),
                score: f32::NAN,
                row_score: f32::NAN,
                rarity: f32::NAN,
                threshold: f32::NAN,
                score_ratio: f32::NAN,
                peak_ratio: open.peak_ratio,
                rows: open.rows,
                channels: Vec::new(),
                offset,
                generation: self.generation,
            })
            .collect()
    }

    /// Takes the place of a state with these [`endings`](Self::endings). An alert that is open in both goes on; one that is open here
    /// alone was never told, and will be by its next row over the threshold. Those that remain have ended.
    #[must_use]
    pub fn succeed(&mut self, endings: Vec<Alert>) -> Vec<Alert> {
        let (going_on, ended): (Vec<Alert>, Vec<Alert>) = endings.into_iter().partition(|ending| {
            self.open_alerts().any(|open| (open.kind, open.onset) == (ending.kind, ending.onset) && open.told)
        });
        let goes_on = |kind| going_on.iter().any(|ending| ending.kind == kind);
        if !goes_on(Kind::Anomaly)
            && let Some(open) = self.episode.open_mut()
        {
            open.published = false;
        }
        if !goes_on(Kind::DataQuality) {
            self.quality.unsay();
        }
        ended
    }
}
