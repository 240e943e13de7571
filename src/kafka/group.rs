//! The group as its coordinator tells of it: who subscribes to what, and who was given which partitions (the classic protocol's
//! `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`). And a way to make it share its partitions anew, for which
//! librdkafka has no call.

use super::client::{CountError, GroupContext, Rebalance};
use super::client_config;
use super::failure::Failure;
use crate::config::Kafka;
use crate::lane::record::PartitionId;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::groups::{GroupInfo, GroupMemberInfo};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the group may take to let a member in: it waits for all the others.
const JOIN: Duration = Duration::from_secs(30);

/// A member of a group at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the coordinator calls it.
    pub id: String,
    /// What it calls itself.
    pub client_id: String,
    /// What it subscribes to.
    pub topics: BTreeSet<String>,
    /// What it was given.
    pub lanes: BTreeSet<PartitionId>,
}

/// The members of a group. `None`: it is not at rest, or is no group of consumers, or we may not look.
pub(super) fn at_rest(group: &GroupInfo) -> Option<Vec<Member>> {
    let at_rest = group.state() == "Stable" && group.protocol_type() == "consumer";
    at_rest.then(|| group.members().iter().map(member).collect())?
}

fn member(info: &GroupMemberInfo) -> Option<Member> {
    Some(Member {
        id: info.id().to_owned(),
        client_id: info.client_id().to_owned(),
        topics: subscription(info.metadata().unwrap_or_default())?,
        lanes: assignment(info.assignment().unwrap_or_default())?,
    })
}

/// Version, topics; what follows is the assignor's.
fn subscription(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let mut bytes = Bytes(bytes);
    bytes.take::<2>()?;
    bytes.list(|bytes| bytes.text().map(str::to_owned)).map(BTreeSet::from_iter)
}

/// Version, topics with their partitions; what follows is the assignor's. No byte at all: nothing was given.
fn assignment(bytes: &[u8]) -> Option<BTreeSet<PartitionId>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut bytes = Bytes(bytes);
    bytes.take::<2>()?;
    let topics = bytes.list(|bytes| {
        let topic: Arc<str> = bytes.text()?.into();
        bytes.list(|bytes| Some(PartitionId { topic: Arc::clone(&topic), partition: bytes.number()? }))
    })?;
    Some(topics.into_iter().flatten().collect())
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(i16::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// Nothing is allocated for what is not there.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let len = self.number()?;
        (0..len).map(|_| item(self)).collect()
    }
}

/// Makes the group share its partitions anew, whoever leads it: a member joins, which brings every other to join again, and leaves
/// as soon as it was let in. It subscribes to `topic`, which nobody in the group reads, so that nothing is taken from anybody, and
/// reads nothing of it. A member that leaves and comes back itself would do as well, but all of its lanes would move, and be
/// restored. `is_over` ends it early. False: the group has not let it in.
///
/// # Errors
/// Properties that librdkafka does not take.
pub fn share_anew(
    kafka: &Kafka,
    topic: &str,
    count_error: &CountError,
    is_over: impl Fn() -> bool,
) -> Result<bool, Failure> {
    let is_in = Arc::new(AtomicBool::new(false));
    let tell = {
        let is_in = Arc::clone(&is_in);
        Box::new(move |event| is_in.store(matches!(event, Rebalance::Assigned(_)), Ordering::SeqCst))
    };
    let context = GroupContext::new(Arc::clone(count_error), tell);
    // It has no lanes that a revoke would have to wait for.
    context.close();
    let guest: BaseConsumer<GroupContext> = client_config(&kafka.for_command("sharing").consumer)
        .create_with_context(context)
        .map_err(|error| Failure::Fatal(error.to_string()))?;
    guest.subscribe(&[topic]).map_err(|error| Failure::Fatal(error.to_string()))?;
    let until = Instant::now() + JOIN;
    while !is_in.load(Ordering::SeqCst) && Instant::now() < until && !is_over() {
        // What it has to say is counted where all errors are.
        drop(guest.poll(Duration::from_millis(50)));
    }
    Ok(is_in.load(Ordering::SeqCst))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat()
    }

    fn numbers(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// Two topics, the second without a partition, and no user data.
    fn given() -> Vec<u8> {
        let null = numbers(&[-1]);
        [vec![0, 1], numbers(&[2]), text("a"), numbers(&[3, 0, 2, 7]), text("b.c"), numbers(&[0]), null].concat()
    }

    #[test]
    fn what_a_member_was_given_is_read_and_what_follows_is_passed_over() {
        let lane = |partition| PartitionId { topic: "a".into(), partition };
        assert_eq!(assignment(&given()), Some([0, 2, 7].map(lane).into()));
        assert_eq!(assignment(&[]), Some(BTreeSet::new()), "a member that was given nothing");
        assert_eq!(assignment(&[0, 0, 255, 255, 255, 255]), Some(BTreeSet::new()), "a list that is null");
    }

    #[test]
    fn what_a_member_subscribes_to_is_read() {
        let asked = [vec![0, 3], numbers(&[2]), text("a"), text("b"), numbers(&[0, 0])].concat();
        assert_eq!(subscription(&asked), Some(["a", "b"].map(str::to_owned).into()));
    }

    #[test]
    fn bytes_that_end_too_early_or_lie_are_nothing() {
        let whole = given();
        (1..whole.len() - 4).for_each(|len| assert_eq!(assignment(&whole[..len]), None, "{len} bytes"));
        assert_eq!(assignment(&[vec![0, 0], numbers(&[i32::MAX])].concat()), None);
        assert_eq!(subscription(&[vec![0, 0], numbers(&[1]), vec![255, 255]].concat()), None);
        assert_eq!(subscription(&[vec![0, 0], numbers(&[1]), vec![0, 1, 200]].concat()), None, "no UTF-8");
    }
}
