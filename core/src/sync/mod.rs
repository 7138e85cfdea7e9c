//! What a server sends to a process, and what that process makes of it.
//!
//! State of the world, not deltas: a [`Snapshot`] is everything that can concern one
//! (namespace, service). On the server a [`History`] follows the store and knows whose snapshot a
//! write changes; a [`Subscription`] decides for one session what to send when. In the process a
//! [`Replica`] decides what to apply, refuse and acknowledge; a [`Roster`] knows how far each of them
//! is. None knows a wire or a clock.
//!
//! Invariants, for any loss, repetition or reordering between the two:
//! - within one incarnation a replica never goes back to an older revision;
//! - a policy it cannot enforce leaves that policy's last good version in place and touches no
//!   other;
//! - a session has at most one unacknowledged snapshot under way; of those that come meanwhile
//!   only the latest is kept.

#[cfg(test)]
mod fixtures;
mod history;
mod replica;
mod roster;
mod subscription;

pub use history::{Audience, Change, History, Snapshot};
pub use replica::{Applied, Entry, Ignored, Known, OverrideEntry, Received, Refusal, Replica};
pub use roster::{
    Census, Laggard, MAX_CHANGES, MAX_DEPARTED, MAX_EXAMPLES, Mark, Member, Pulse, Reach, Rewrite,
    Roster, Scope, Standing, Wanted,
};
pub use subscription::{Command, Subscription, UnexpectedAck};
