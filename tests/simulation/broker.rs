//! A broker in memory. Transactions are seen whole or not at all; a newer producer of the same name fences the older ones; the
//! group's coordinator fences members by their generation, not by their partitions; and (KIP-890 is missing in the client) an
//! EndTxn of a producer that is still in use may come late, into its next transaction.

use crate::plan::{Log, PARTITIONS};
use offkey::epoch::{Committed, Failure, Found};
use offkey::lane::effects::Stream;
use offkey::lane::record::PartitionId;
use std::collections::{BTreeMap, BTreeSet};

pub const MEMBERS: usize = 2;

pub type Output = (Stream, Vec<u8>, Option<Vec<u8>>);
/// A transaction that has not ended.
#[derive(Default)]
pub struct Transaction {
    pub outputs: Vec<(usize, Output)>,
    pub offsets: BTreeMap<usize, Committed>,
}

/// What the brokers know.
#[derive(Default)]
pub struct Broker {
    pub committed: BTreeMap<usize, Committed>,
    /// In the order in which they were committed.
    pub history: Vec<(usize, Committed)>,
    pub outputs: Vec<Output>,
    pub state: BTreeMap<usize, Log>,
    pub open: BTreeMap<usize, Transaction>,
    pub producer_epochs: [u32; MEMBERS],
    pub owner: [usize; PARTITIONS],
    /// Generation in which each partition was given to its owner.
    pub since: [u32; PARTITIONS],
    pub generation: u32,
    /// Partitions that their owner was asked to give up.
    pub revoking: BTreeSet<usize>,
    /// An EndTxn(abort) that is late, by member and producer epoch.
    pub late_abort: Option<(usize, u32)>,
}

pub struct Fenced;

impl From<Fenced> for Failure {
    fn from(_: Fenced) -> Self {
        Self::Fenced("a newer one has come".to_owned())
    }
}

impl Broker {
    /// A new producer of this name: what the older one has under way is aborted.
    pub fn init_producer(&mut self, member: usize) -> u32 {
        self.open.remove(&member);
        self.producer_epochs[member] += 1;
        self.producer_epochs[member]
    }

    pub fn send(&mut self, member: usize, producer: u32, partition: usize, output: Output) -> Result<(), Fenced> {
        if self.producer_epochs[member] != producer {
            return Err(Fenced);
        }
        self.open.entry(member).or_default().outputs.push((partition, output));
        Ok(())
    }

    /// The coordinator looks at the member and its generation, not at whose the partitions are.
    pub fn send_offsets(&mut self, member: usize, producer: u32, place: u32, offsets: Offsets) -> Result<(), Failure> {
        if self.producer_epochs[member] != producer {
            return Err(Fenced.into());
        }
        if self.generation != place {
            return Err(Failure::Unknown("an older generation".to_owned()));
        }
        self.open.entry(member).or_default().offsets.extend(offsets);
        Ok(())
    }

    pub fn end(&mut self, member: usize, producer: u32, commit: bool) -> Result<(), Fenced> {
        if self.producer_epochs[member] != producer {
            return Err(Fenced);
        }
        let Some(transaction) = self.open.remove(&member) else { return Ok(()) };
        if commit {
            for (partition, output) in transaction.outputs {
                match output {
                    (Stream::State, key, value) => self.state.entry(partition).or_default().push((key, value)),
                    output => self.outputs.push(output),
                }
            }
            self.history.extend(transaction.offsets.clone());
            self.committed.extend(transaction.offsets);
        }
        Ok(())
    }

    /// Somebody's pending offsets: whoever asks for committed ones has to wait.
    pub fn found(&self, lanes: &[PartitionId]) -> Result<Found, Failure> {
        let partition = |lane: &PartitionId| lane.partition as usize;
        let is_pending =
            |lane| self.open.values().any(|transaction| transaction.offsets.contains_key(&partition(lane)));
        if lanes.iter().any(is_pending) {
            return Err(Failure::Retriable("a transaction is pending".to_owned()));
        }
        Ok(lanes.iter().map(|lane| (lane.clone(), self.committed.get(&partition(lane)).cloned())).collect())
    }

    /// A partition goes to its next owner.
    pub fn move_on(&mut self, partition: usize) {
        self.generation += 1;
        self.owner[partition] = (self.owner[partition] + 1) % MEMBERS;
        self.since[partition] = self.generation;
        self.revoking.remove(&partition);
    }
}

pub type Offsets = BTreeMap<usize, Committed>;
