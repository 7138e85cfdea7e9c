//! Which session speaks for a process: the newest.
//!
//! A process that reconnects may be here before its old stream is known to be dead. The newer
//! session takes the seat, the older is told to go. Sessions are numbered in the order they said
//! Hello; of two that race for the seat the higher number wins, whichever comes first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusebox_core::stats::{InstanceKey, SessionId};

use super::bell::Bell;
use super::end::End;

/// Every process that has a session.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<InstanceKey, Seat>>);

struct Seat {
    session: SessionId,
    bell: Arc<Bell>,
}

impl Seats {
    /// Takes the seat of `key`; `bell` is told to end once a newer session has it.
    pub(super) fn take(&self, key: &InstanceKey, session: SessionId, bell: &Arc<Bell>) {
        let seat = Seat {
            session,
            bell: Arc::clone(bell),
        };
        match self.lock().entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(seat);
            }
            Entry::Occupied(mut taken) if taken.get().session < session => {
                taken.insert(seat).bell.end(End::Superseded);
            }
            Entry::Occupied(_) => bell.end(End::Superseded),
        }
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

    fn take(seats: &Seats, epoch: u64, session: u64) -> Arc<Bell> {
        let bell = Arc::default();
        seats.take(&key(epoch), SessionId(session), &bell);
        bell
    }

    fn superseded(bell: &Bell) -> bool {
        bell.take().end == Some(End::Superseded)
    }

    #[test]
    fn the_newer_session_of_a_process_supersedes_the_older() {
        let seats = Seats::default();
        let older = take(&seats, 1, 1);
        let newer = take(&seats, 1, 2);
        assert!(superseded(&older));
        assert!(!superseded(&newer));
    }

    #[test]
    fn a_session_that_comes_late_for_its_number_is_superseded_at_once() {
        let seats = Seats::default();
        let newer = take(&seats, 1, 2);
        assert!(superseded(&take(&seats, 1, 1)));
        assert!(!superseded(&newer));
    }

    #[test]
    fn two_lives_of_one_instance_both_keep_their_seats() {
        let seats = Seats::default();
        let first = take(&seats, 1, 1);
        let second = take(&seats, 2, 2);
        assert!(!superseded(&first) && !superseded(&second));
    }

    #[test]
    fn an_older_session_that_leaves_does_not_take_the_seat_with_it() {
        let seats = Seats::default();
        take(&seats, 1, 1);
        let newer = take(&seats, 1, 2);
        seats.leave(&key(1), SessionId(1));
        take(&seats, 1, 3);
        assert!(superseded(&newer));
    }
}
