//! How many calls may be under way at once, and who is next.
//!
//! A semaphore with a bounded, fair queue. Whoever leaves hands its slot to the first in the queue
//! before anybody else can take it, so that nobody barges in:
//!
//! ```text
//!            a slot is free            a slot falls free, first in the queue
//!   enter ------------------> inside <-------------------------------------- waiting
//!     |                         |                                             ^  |
//!     |  no slot, room to wait  | leave: the slot goes to the first           |  | gives up
//!     +-------------------------|---------------------------------------------+  v
//!     |  no room                v                                              gone
//!     +---> full
//! ```
//!
//! Invariants: while somebody waits, no slot is free. A ticket that is no longer in the queue has
//! been given a slot: so a waiter that gives up finds out, under the lock, which of the two it was.
//!
//! A waker is somebody's code: to clone or drop one may end a task, and that task may hold another
//! ticket. So both are done while no lock is held.
//!
//! The limit is kept here, not handed in with each call: a call that began under a larger one must
//! not hand a slot on that the smaller one no longer has. Shrinking never blocks and takes nobody's
//! slot away: those inside stay, and the next enters once enough have left.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::atomics::{Mutex, lock};

/// The slots of one operation.
#[derive(Debug)]
pub struct Slots {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: u32,
    room: u32,
    inside: u32,
    waiting: VecDeque<Waiter>,
    next_ticket: u64,
}

/// Ascending by ticket.
#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    waker: Option<Waker>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "a ticket that is neither turned into a slot nor given up occupies the queue"]
pub struct Ticket(u64);

/// The answer to whoever wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// A slot; must be given back by [`Slots::leave`].
    Inside,
    /// A place in the queue.
    Waiting(Ticket),
    /// Neither.
    Full,
}

/// Whom to wake, once no lock is held.
#[derive(Debug, Default)]
#[must_use = "whoever was given a slot waits to be told"]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    /// Wakes them.
    pub fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

impl Slots {
    /// Empty, with `limit` slots and `room` places in the queue.
    pub fn new(limit: u32, room: u32) -> Self {
        Self {
            inner: Mutex::new(Inner {
                limit,
                room,
                inside: 0,
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
        }
    }

    /// Wants in.
    pub fn enter(&self) -> Entered {
        let mut inner = lock(&self.inner);
        if inner.inside < inner.limit {
            inner.inside += 1;
            return Entered::Inside;
        }
        if inner.waiting.len() >= inner.room as usize {
            return Entered::Full;
        }
        let ticket = Ticket(inner.next_ticket);
        inner.next_ticket += 1;
        inner.waiting.push_back(Waiter {
            ticket,
            waker: None,
        });
        Entered::Waiting(ticket)
    }

    /// Whether `ticket` has been turned into a slot; if not, `cx` is woken when it is.
    pub fn poll(&self, ticket: Ticket, cx: &Context<'_>) -> Poll<()> {
        if let Some(ready) = self.look(ticket, cx.waker()) {
            return ready;
        }
        let waker = cx.waker().clone();
        let mut inner = lock(&self.inner);
        // Between the two looks it may have been given its slot.
        let Some(at) = inner.position(ticket) else {
            return Poll::Ready(());
        };
        let stale = inner.waiting[at].waker.replace(waker);
        drop(inner);
        drop(stale);
        Poll::Pending
    }

    /// `None` if `waker` has yet to be left in the queue.
    fn look(&self, ticket: Ticket, waker: &Waker) -> Option<Poll<()>> {
        let inner = lock(&self.inner);
        let Some(at) = inner.position(ticket) else {
            return Some(Poll::Ready(()));
        };
        let known = inner.waiting[at].waker.as_ref();
        known
            .is_some_and(|known| known.will_wake(waker))
            .then_some(Poll::Pending)
    }

    /// Stops waiting. `true` if the ticket had become a slot already, which the caller now holds.
    pub fn give_up(&self, ticket: Ticket) -> bool {
        let mut inner = lock(&self.inner);
        let Some(at) = inner.position(ticket) else {
            return true;
        };
        let gone = inner.waiting.remove(at);
        drop(inner);
        drop(gone);
        false
    }

    /// Gives a slot back.
    pub fn leave(&self) -> Wakes {
        let mut inner = lock(&self.inner);
        inner.inside = inner.inside.saturating_sub(1);
        inner.hand_on()
    }

    /// Takes new bounds. Nobody inside or waiting is sent away.
    pub fn resize(&self, limit: u32, room: u32) -> Wakes {
        let mut inner = lock(&self.inner);
        inner.limit = limit;
        inner.room = room;
        inner.hand_on()
    }

    /// How many are inside, and how many wait.
    pub fn occupancy(&self) -> (u32, usize) {
        let inner = lock(&self.inner);
        (inner.inside, inner.waiting.len())
    }
}

impl Inner {
    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }

    /// Gives free slots to those who wait, in their order.
    fn hand_on(&mut self) -> Wakes {
        let mut wakes = Vec::new();
        while self.inside < self.limit
            && let Some(waiter) = self.waiting.pop_front()
        {
            self.inside += 1;
            wakes.extend(waiter.waker);
        }
        Wakes(wakes)
    }
}

#[cfg(test)]
mod tests;
