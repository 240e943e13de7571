//! The same core over files: scores, alerts, figures against labels, a report. What a replay tells is what the daemon tells of
//! the same rows, to the bit.

pub mod csv;
pub mod labels;
pub mod report;
mod told;

use crate::config::Config;
use crate::detector::schema::{MAX_CHANNELS, Schema};
use crate::detector::threshold;
use crate::detector::warmup::Length;
use crate::detector::{Outcome, Scratch, Settings};
use crate::lane::align::{Aligner, Late};
use crate::lane::entity::{Entity, State, Surroundings};
use crate::lane::intake::Measured;
use crate::wire::alert_v1::{AlertV1, Source};
use crate::wire::channels::{Channels, Lookup};
use crate::wire::state_record::{Envelope, Kind};
use csv::Table;
use std::sync::Arc;
use told::Told;

/// One series, replayed.
pub struct Replayed {
    /// One outcome per row of the file, in its order: what the row came to that it is part of. A late row that is part of none
    /// carries no score. What a filled step raised stands with the last row before it.
    pub outcomes: Vec<Outcome>,
    /// Alert records as the topic would have them and in its order, one JSON text each, with the row that caused them.
    pub alerts: Vec<(usize, String)>,
    /// The entity as it is at the end.
    pub entity: Entity,
    channels: Channels,
    settings: Arc<Settings>,
}

/// What a replay is given besides its rows.
pub struct Request<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Whose rows they are.
    pub entity: &'a str,
    /// The topic that they would have come by: part of every alert's identity.
    pub topic: &'a str,
    /// Instead of `[warmup]`.
    pub warmup_rows: Option<u64>,
    /// A state to begin with, as [`Replayed::save`] wrote it.
    pub state: Option<&'a [u8]>,
}

/// Replays a table. `progress` is told after every row.
///
/// # Errors
/// The state to begin with is of no use, or the configuration asks for time where the rows have none.
pub fn replay(table: &Table, request: &Request<'_>, mut progress: impl FnMut(usize)) -> Result<Replayed, String> {
    let config = request.config;
    let mut settings = Settings::clone(&config.detector);
    settings.clock = table.clock;
    if let Some(rows) = request.warmup_rows {
        settings.warmup = Length::Rows(rows);
    }
    if !table.timed {
        refuse_time(&settings, config, request.entity)?;
    }
    let settings = Arc::new(settings);
    let n_channels = table.channels.len();
    if n_channels > MAX_CHANNELS {
        return Err(format!("{n_channels} channels, more than the {MAX_CHANNELS} that an entity may have"));
    }
    let mut channels = Channels::new(config.input.decoder.channels.clone());
    let mut entity = match request.state {
        None => Entity::new(request.entity),
        Some(bytes) => {
            let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
            if envelope.fingerprint != settings.fingerprint() {
                return Err("the state was learned under other settings".to_owned());
            }
            let mut learned =
                Entity::decode(request.entity, -1, envelope.body, &settings, &config.rules, &mut channels)
                    .map_err(|error| error.to_string())?;
            // Another file is another stream: it may well be of an earlier time.
            learned.aligner = Aligner::default();
            refuse_strangers(&learned, &channels, table)?;
            learned
        }
    };
    let ids: Vec<_> = table
        .channels
        .iter()
        .map(|name| match channels.intern(name) {
            Lookup::Channel(id) => Ok(id),
            Lookup::Ignored => Err(format!("channel `{name}` is none that input.channels selects")),
            Lookup::Full => Err(format!("channel `{name}` is one too many")),
        })
        .collect::<Result<_, _>>()?;
    let align = config.align();
    let (mut scratch, mut values, mut measurements) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut told, mut alerts) = (Told::new(table, align), Vec::new());
    let source = Source { detector: &config.name, settings: &settings, topic: request.topic, partition: 0 };
    let mut tell = |told: &mut Told<'_>, entity: &Entity, outcome: Outcome| {
        if let State::Trained(detector) = &entity.state {
            for alert in &outcome.alerts {
                let mut json = Vec::new();
                AlertV1::of(&source, request.entity, detector.schema().channels(), alert).write(&mut json);
                alerts.push((outcome.offset as usize, String::from_utf8_lossy(&json).into_owned()));
            }
        }
        told.take(outcome);
    };
    let mut around = Surroundings {
        channels: &channels,
        rulebook: &config.rules,
        settings: &settings,
        probation_rows: config.state.probation_rows as usize,
        scratch: &mut scratch,
        values: &mut values,
    };
    for (row, at) in table.times.iter().enumerate() {
        measurements.clear();
        let cells = &table.values[row * ids.len()..(row + 1) * ids.len()];
        measurements.extend(ids.iter().copied().zip(cells.iter().copied()).filter(|(_, value)| !value.is_nan()));
        let is_late = entity.aligner.lateness(*at, &align).is_some();
        if !is_late || config.input.late == Late::Keep {
            let record = Measured { at: *at, offset: row as i64, measurements: &measurements };
            entity.take_record(&record, &align, &mut around, |entity, outcome| tell(&mut told, entity, outcome));
        }
        told.note(row, is_late);
        progress(row);
    }
    // A file ends, unlike a topic: nothing will come for the rows that wait.
    entity.take_rest(&align, &mut around, |entity, outcome| tell(&mut told, entity, outcome));
    let outcomes = told.by_row();
    Ok(Replayed { outcomes, alerts, entity, channels, settings })
}

/// What was learned of other channels alone is of no use to a file: most likely it is another machine's.
fn refuse_strangers(learned: &Entity, channels: &Channels, table: &Table) -> Result<(), String> {
    let known: Vec<&str> = match &learned.state {
        State::Trained(detector) => detector.schema().channels().iter().map(|channel| channel.name.as_str()).collect(),
        State::Probation(_) => (0..channels.len()).filter_map(|n| channels.id(n)).map(|id| channels.name(id)).collect(),
    };
    let (Some(first), Some(there)) = (known.first(), table.channels.first()) else { return Ok(()) };
    if table.channels.iter().any(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    Err(format!("the state knows none of the file's channels: it has `{first}`, the file has `{there}`"))
}

/// Rows of unknown distance: nothing that is said by the day has a meaning.
fn refuse_time(settings: &Settings, config: &Config, entity: &str) -> Result<(), String> {
    let say = |key: &str| {
        Err(format!(
            "{key} needs to know how far apart rows are, and the time column counts steps: say --step, such as --step 1m"
        ))
    };
    if matches!(settings.warmup, Length::Micros(_)) {
        return say("[warmup] duration");
    }
    let threshold = config.rules.rules(entity, &Schema::new(Vec::new())).threshold;
    if matches!(threshold, threshold::Settings::Budget { .. }) {
        return say("[threshold] budget");
    }
    Ok(())
}

impl Replayed {
    /// The state as bytes: what the state topic would hold.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let (mut body, mut value) = (Vec::new(), Vec::new());
        self.entity.encode(&self.channels, &mut body);
        let fingerprint = self.settings.fingerprint();
        Envelope { kind: Kind::Snapshot, fingerprint, as_of: -1, rows: self.entity.n_rows(), body: &body }
            .encode(&mut value);
        value
    }
}

#[cfg(test)]
mod tests;
