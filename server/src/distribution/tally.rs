//! What the sessions of this server have been through, in figures for telemetry.

use std::sync::atomic::{AtomicU64, Ordering};

use super::end::End;

/// Something a session was told that it can do nothing with; the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// An Ack of something that was not under way.
    UnexpectedAck,
    /// A Nack of something that was not under way.
    UnexpectedNack,
    /// A message, or an operation in a report, that is not legal.
    Invalid,
    /// A message of a kind this server does not know.
    Unknown,
    /// An operation beyond those a session may declare, or beyond what is kept of all.
    OverDeclared,
    /// A Hello that says it holds what cannot be.
    DoubtfulHello,
    /// More messages than a session may send; they are read later.
    Flood,
    /// A reset that found no room, because nobody reads.
    LostReset,
}

impl Trouble {
    pub(super) const NAMES: [&'static str; 8] = [
        "unexpected_ack",
        "unexpected_nack",
        "invalid",
        "unknown",
        "over_declared",
        "doubtful_hello",
        "flood",
        "lost_reset",
    ];
}

#[derive(Default)]
pub(super) struct Tally {
    begun: AtomicU64,
    refused: AtomicU64,
    ended: [AtomicU64; End::NAMES.len()],
    troubles: [AtomicU64; Trouble::NAMES.len()],
    snapshots: AtomicU64,
    up_to_dates: AtomicU64,
    acks: AtomicU64,
    skipped_heartbeats: AtomicU64,
    woken: AtomicU64,
    lagged: AtomicU64,
    stalled_pushes: AtomicU64,
}

/// Counts since the server's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionTally {
    /// Sessions whose Hello was accepted.
    pub begun: u64,
    /// Streams turned away for want of a place.
    pub refused: u64,
    /// Streams that have ended, by reason.
    pub ended: Vec<(&'static str, u64)>,
    /// What sessions were told and could do nothing with, by kind.
    pub troubles: Vec<(&'static str, u64)>,
    /// Snapshots sent.
    pub snapshots: u64,
    /// Processes that held the snapshot already.
    pub up_to_dates: u64,
    /// Snapshots acknowledged.
    pub acks: u64,
    /// Heartbeats not sent because there was no room in the stream.
    pub skipped_heartbeats: u64,
    /// Audiences whose snapshot a write changed.
    pub woken: u64,
    /// Times the store's watch fell behind.
    pub lagged: u64,
    /// Times when nobody who was told of a new edition sent it in time, and others were told.
    pub stalled_pushes: u64,
}

// Relaxed throughout: counts for people; nothing is read through them.
impl Tally {
    pub(super) fn begun(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, end: &End) {
        self.ended[end.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        self.troubles[trouble as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn up_to_date(&self) {
        self.up_to_dates.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ack(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn skipped_heartbeat(&self) {
        self.skipped_heartbeats.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn woken(&self, audiences: usize) {
        self.woken.fetch_add(audiences as u64, Ordering::Relaxed);
    }

    pub(super) fn lagged(&self) {
        self.lagged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stalled_push(&self) {
        self.stalled_pushes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> DistributionTally {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DistributionTally {
            begun: of(&self.begun),
            refused: of(&self.refused),
            ended: End::NAMES
                .into_iter()
                .zip(self.ended.iter().map(of))
                .collect(),
            troubles: Trouble::NAMES
                .into_iter()
                .zip(self.troubles.iter().map(of))
                .collect(),
            snapshots: of(&self.snapshots),
            up_to_dates: of(&self.up_to_dates),
            acks: of(&self.acks),
            skipped_heartbeats: of(&self.skipped_heartbeats),
            woken: of(&self.woken),
            lagged: of(&self.lagged),
            stalled_pushes: of(&self.stalled_pushes),
        }
    }
}
