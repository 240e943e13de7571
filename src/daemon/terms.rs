//! Under which terms the input is read again: those of the epoch that committed the offset.

use super::recovery::read_state;
use crate::config::Config;
use crate::epoch::Start;
use crate::kafka::failure::Failure;
use crate::kafka::restorer::Restorer;
use crate::lane::record::PartitionId;
use crate::lane::terms::Terms;
use crate::wire::state_record::{Envelope, Key, OffsetMetadata};
use std::sync::Arc;

/// The terms under which the input is to be read again: those that were committed with the offset, from the state topic if they are
/// not ours.
///
/// # Errors
/// Retriable.
pub fn terms_of_replay(
    restorer: &Restorer,
    config: &Config,
    start: &Start,
    ours: &Arc<Terms>,
    nonce: u64,
    cancelled: impl Fn() -> bool,
) -> Result<Arc<Terms>, Failure> {
    let Start { lane, committed, live_from, .. } = start;
    let committed = committed.as_ref().and_then(|committed| OffsetMetadata::decode(&committed.metadata));
    let Some(wanted) = committed.filter(|committed| committed.replay_offset < *live_from).and_then(|found| found.terms)
    else {
        return Ok(Arc::clone(ours));
    };
    if wanted == ours.fingerprint {
        return Ok(Arc::clone(ours));
    }
    let key = Key::Terms { topic: &lane.topic, partition: lane.partition }.encode();
    let state = PartitionId { topic: config.state.topic.as_str().into(), partition: lane.partition };
    let mut text = None;
    let take = |at: &[u8], value: Option<&[u8]>| {
        if at == key
            && let Some(Ok(envelope)) = value.map(Envelope::decode)
            && envelope.fingerprint == wanted
        {
            text = Some(String::from_utf8_lossy(envelope.body).into_owned());
        }
    };
    read_state(restorer, state, nonce, take, cancelled)?;
    let found = text.ok_or_else(|| "they are not in the state topic".to_owned());
    let found = found.and_then(|text| config.terms_of(&text).map_err(|errors| errors.to_string()));
    match found {
        Ok(terms) if terms.fingerprint == wanted => {
            tracing::info!(%lane, "the config has changed since the last commit: what is read again is judged as it was");
            Ok(Arc::new(terms))
        }
        Ok(_) => Ok(not_found(lane, "this version reads them otherwise", ours)),
        Err(why) => Ok(not_found(lane, &why, ours)),
    }
}

fn not_found(lane: &PartitionId, why: &str, ours: &Arc<Terms>) -> Arc<Terms> {
    tracing::error!(%lane, why, "the settings under which the last records were handled cannot be had: what is read again is judged by today's, and alerts that are open may differ from what was told");
    Arc::clone(ours)
}
