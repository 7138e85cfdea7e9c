//! Who has left while somebody watched, and up to which revision they had everything by then.
//!
//! Nothing is noted while nobody watches. Whoever comes back is gone no more. Beyond
//! [`MAX_DEPARTED`] it is no longer known who left with what; each of those counts as gone for
//! everybody who watched by then.

use std::collections::HashMap;

use super::Scope;
use crate::key::InstanceKey;
use crate::revision::Revision;

/// Processes that have left and are remembered.
pub const MAX_DEPARTED: usize = 20_000;

/// A moment in the order of departures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The next to leave and be remembered.
    next: u64,
    /// How many had been overlooked.
    overlooked: usize,
}

/// Those who left.
#[derive(Debug, Default)]
pub(super) struct Departures {
    watchers: usize,
    next: u64,
    left: HashMap<InstanceKey, Departed>,
    /// How many more have left.
    overlooked: usize,
}

#[derive(Debug)]
struct Departed {
    number: u64,
    through: Option<Revision>,
}

impl Departures {
    pub(super) fn watch(&mut self) -> Mark {
        self.watchers += 1;
        Mark {
            next: self.next,
            overlooked: self.overlooked,
        }
    }

    pub(super) fn unwatch(&mut self) {
        self.watchers = self.watchers.saturating_sub(1);
        if self.watchers == 0 {
            self.left = HashMap::new();
            self.overlooked = 0;
        }
    }

    pub(super) fn left(&mut self, key: InstanceKey, through: Option<Revision>) {
        if self.watchers == 0 {
            return;
        }
        if self.left.len() == MAX_DEPARTED {
            self.overlooked += 1;
            return;
        }
        let number = self.next;
        self.next += 1;
        self.left.insert(key, Departed { number, through });
    }

    pub(super) fn back(&mut self, key: &InstanceKey) {
        self.left.remove(key);
    }

    pub(super) fn gone(&self, revision: Revision, scope: &Scope, mark: Mark) -> usize {
        let lacked = |departed: &Departed| {
            departed.number >= mark.next && departed.through.is_none_or(|had| had < revision)
        };
        let left = self.left.iter();
        let gone =
            left.filter(|(key, one)| lacked(one) && scope.takes(&key.namespace, &key.service));
        gone.count() + self.overlooked.saturating_sub(mark.overlooked)
    }
}
