//! Which session speaks for a process: the newest.
//!
//! A process that reconnects may be here before its old stream is known to be dead. The newer
//! session takes the seat, the older is told to go. Sessions are numbered in the order they said
//! Hello; of two that race for the seat the higher number wins, whichever comes first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fusebox_core::stats::{InstanceKey, SessionId};
use tokio_util::sync::CancellationToken;

/// Every process that has a session.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<InstanceKey, Seat>>);

struct Seat {
    session: SessionId,
    superseded: CancellationToken,
}

impl Seats {
    /// Takes the seat of `key`; the answer is cancelled once a newer session has it.
    pub(super) fn take(&self, key: &InstanceKey, session: SessionId) -> CancellationToken {
        let superseded = CancellationToken::new();
        let seat = Seat {
            session,
            superseded: superseded.clone(),
        };
        match self.lock().entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(seat);
            }
            Entry::Occupied(mut taken) if taken.get().session < session => {
                taken.insert(seat).superseded.cancel();
            }
            Entry::Occupied(_) => superseded.cancel(),
        }
        superseded
    }

    /// Leaves the seat, unless a newer session has it.
    pub(super) fn leave(&self, key: &InstanceKey, session: SessionId) {
        let mut seats = self.lock();
        if seats.get(key).is_some_and(|seat| seat.session == session) {
            seats.remove(key);
        }
    }

    // A poisoned lock is taken all the same: no map operation leaves a map half-changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::{Epoch, InstanceId, Namespace, Service};

    use super::*;

    fn key(epoch: u64) -> InstanceKey {
        InstanceKey {
            namespace: Namespace::default_namespace(),
            service: Service::new("checkout").unwrap(),
            instance: InstanceId::new("i-1").unwrap(),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn the_newer_session_of_a_process_supersedes_the_older() {
        let seats = Seats::default();
        let older = seats.take(&key(1), SessionId(1));
        let newer = seats.take(&key(1), SessionId(2));
        assert!(older.is_cancelled());
        assert!(!newer.is_cancelled());
    }

    #[test]
    fn a_session_that_comes_late_for_its_number_is_superseded_at_once() {
        let seats = Seats::default();
        let newer = seats.take(&key(1), SessionId(2));
        assert!(seats.take(&key(1), SessionId(1)).is_cancelled());
        assert!(!newer.is_cancelled());
    }

    #[test]
    fn two_lives_of_one_instance_both_keep_their_seats() {
        let seats = Seats::default();
        let first = seats.take(&key(1), SessionId(1));
        let second = seats.take(&key(2), SessionId(2));
        assert!(!first.is_cancelled() && !second.is_cancelled());
    }

    #[test]
    fn an_older_session_that_leaves_does_not_take_the_seat_with_it() {
        let seats = Seats::default();
        seats.take(&key(1), SessionId(1));
        let newer = seats.take(&key(1), SessionId(2));
        seats.leave(&key(1), SessionId(1));
        seats.take(&key(1), SessionId(3));
        assert!(newer.is_cancelled());
    }
}
