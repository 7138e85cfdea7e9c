//! What breakers did of late, over the whole fleet, in the order in which it was heard of.
//!
//! Bounded: the oldest go first, and whoever asks is told that they have gone. A record is shared with
//! the operation it belongs to, which keeps a few of its own longer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::key::{Epoch, InstanceId};
use crate::outcome::CircuitState;
use crate::revision::Revision;
use crate::time::Instant;

use super::report::OperationKey;
use super::view::Filter;

/// How many transitions of all operations are remembered.
pub const MAX_LOGGED: usize = 10_000;

/// A breaker's change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionRecord {
    /// Counts what this fleet has heard of, from 1.
    pub sequence: u64,
    /// When it happened.
    pub at: Instant,
    /// Of which operation.
    pub operation: OperationKey,
    /// Whose breaker.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
    /// The how manieth of that breaker, from 1.
    pub number: u64,
    /// The state it left.
    pub from: CircuitState,
    /// The state it entered.
    pub to: CircuitState,
    /// Why, in words.
    pub cause: Box<str>,
    /// The override that did it; `None` if it was the breaker itself.
    pub by: Option<Revision>,
}

impl TransitionRecord {
    /// How long ago.
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.at)
    }
}

/// Which transitions are asked for.
#[derive(Clone, Copy, Debug)]
pub struct TransitionQuery<'a> {
    /// Of which operations.
    pub filter: &'a Filter,
    /// Only this instance's.
    pub instance: Option<&'a InstanceId>,
    /// Only those heard of before that one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// What a [`TransitionQuery`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransitionPage {
    /// The newest first.
    pub transitions: Vec<Arc<TransitionRecord>>,
    /// Whether older ones follow.
    pub more: bool,
    /// Whether older ones have been, of whichever operation, and are no longer kept.
    pub truncated: bool,
}

/// What is new since somebody last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreshTransitions {
    /// The oldest first.
    pub transitions: Vec<Arc<TransitionRecord>>,
    /// How many are no longer kept, of whichever operation.
    pub missed: u64,
    /// Up to which sequence that is all.
    pub upto: u64,
}

#[derive(Default)]
pub(super) struct Log {
    /// Their sequences ascend without a gap.
    records: VecDeque<Arc<TransitionRecord>>,
    last: u64,
}

impl Log {
    /// The sequence that the next one gets.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn push(&mut self, record: Arc<TransitionRecord>) {
        if self.records.len() == MAX_LOGGED {
            self.records.pop_front();
        }
        self.last = record.sequence;
        self.records.push_back(record);
    }

    pub(super) fn page(&self, query: &TransitionQuery<'_>) -> TransitionPage {
        let before = query.before.unwrap_or(u64::MAX);
        let wanted = |record: &&Arc<TransitionRecord>| {
            record.sequence < before
                && query.filter.takes(&record.operation)
                && query.instance.is_none_or(|id| *id == record.instance)
        };
        let mut found = self.records.iter().rev().filter(wanted).cloned();
        let transitions = found.by_ref().take(query.limit).collect();
        TransitionPage {
            transitions,
            more: found.next().is_some(),
            truncated: self.last > self.records.len() as u64,
        }
    }

    /// What came behind `after`, at most the latest `limit`.
    pub(super) fn since(&self, filter: &Filter, after: u64, limit: usize) -> FreshTransitions {
        let first = self.next() - self.records.len() as u64;
        let behind = self.records.iter().rev();
        let behind = behind.take_while(|record| record.sequence > after);
        let mut fresh: Vec<_> = behind
            .filter(|record| filter.takes(&record.operation))
            .cloned()
            .collect();
        let over = fresh.len().saturating_sub(limit);
        fresh.truncate(limit);
        fresh.reverse();
        FreshTransitions {
            transitions: fresh,
            missed: first.saturating_sub(after + 1) + over as u64,
            upto: self.last,
        }
    }
}
