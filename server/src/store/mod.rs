//! Where policies are kept: one trait, and the words its users speak.
//!
//! A store issues revisions: every accepted write takes the next one, whether it changes one policy
//! or a set of them, and what it made of each is a [`Version`]. [`Store::append`] is the only way
//! in, [`Store::watch`] the only way anybody learns of a write, even the server that made it; so
//! one server on a local disk and five on a shared store run the same code above this line.
//!
//! # The local stores
//!
//! [`memory`] (nothing outlives it) and [`directory`] (a data directory) share one writer thread,
//! because one thread that decides and commits in turn needs no transactions. What it does with a
//! batch:
//!
//! ```text
//!   append() ──> queue (QUEUE_SLOTS; full: Busy) ──> writer thread, up to BATCH_WRITES at once
//!                                                      │
//!     1 judge    each write's expectation, seeing the batch's earlier writes; assign revisions
//!     2 commit   one journal frame for the whole batch, one write, one fdatasync
//!                ── from here on it is true ──────────────────────────────────────────────────
//!     3 publish  the live set changes and watchers hear of it, under one lock
//!     4 answer   every caller of the batch
//! ```
//!
//! A commit that fails is taken back by cutting the journal to where it was. If that succeeds
//! nothing was written, and the callers are told so; after a full disk the store is read-only until
//! there is room, after anything else until it is opened anew. If it does not succeed the disk is in
//! doubt: the callers hear [`AppendError::InDoubt`]. Nothing of a failed commit is published.
//!
//! The index follows in a thread of its own, a second behind. If it fails, writes go on without it,
//! and it is built anew.
//!
//! # The past
//!
//! The archive holds what is kept of it, in memory: the last changes of all, without a gap, and
//! the last versions of each live policy. What it lets go, the next compaction leaves out of the
//! journal, so that both follow what is kept, not what was ever written.
//!
//! # The data directory
//!
//! ```text
//!   <dir>/LOCK             an OS lock while a server runs, and that server's process id
//!   <dir>/journal.log      the truth: all that is kept, and every write since, frame by frame
//!   <dir>/journal.log.new  a compaction that has not come to its end
//!   <dir>/sled/            the index: the live policies as of its manifest's revision; a copy, and
//!                          a second witness of what has been acknowledged
//!   <dir>/sled.unfinished  there while an index is being built
//!   <dir>/sled.damaged-*/  an index that was damaged, for people to look at
//! ```
//!
//! # Invariants
//!
//! - Revisions grow by one without gaps; the first write has revision 1. What a write makes of its
//!   policies is seen whole or not at all.
//! - Whatever was acknowledged is in the journal and has been synced.
//! - The index never holds a revision that the journal lacks; if it does, the journal was damaged.
//! - Between the live set and the events of a [`Watch`] there is no gap and no overlap.
//! - Nothing in the data directory is created or changed without the lock, `LOCK` itself excepted.

mod archive;
pub mod directory;
mod error;
mod journal;
mod live;
mod local;
mod lock;
mod record;
mod table;
mod timed;
mod version;
mod watch;
mod weights;
mod writer;

pub mod memory;
pub mod offline;
mod sled;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixture;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::overrides::{BreakerOverride, BreakerTarget, OverrideDraft};
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::{Incarnation, Revision};

pub use archive::Retention;
pub use error::{AppendError, OpenError, ReadError};
pub use timed::Timed;
pub use version::{Cause, Committed, Provenance, Subject, Version, What};
pub use watch::{Watch, WatchError};
pub use weights::{Crowded, CrowdedService};

/// Appends that may wait for the writer thread; one more is refused with [`AppendError::Busy`].
///
/// At ten thousand writes a second a full queue is a tenth of a second of waiting.
pub const QUEUE_SLOTS: usize = 1024;
/// Most writes judged and committed together.
pub const BATCH_WRITES: usize = 256;
/// Events a [`Watch`] may be behind before it is told [`WatchError::Lagged`].
pub const WATCH_EVENTS: usize = 1024;
/// Most bytes one version of a policy may take on the disk; more is refused with
/// [`AppendError::TooLarge`].
///
/// Ten times what the longest legal texts and labels of a policy need.
pub const VERSION_BYTES: usize = 256 * 1024;
/// Most bytes of policies that may concern one service: what its processes are sent at once.
pub const SERVICE_BYTES: usize = 1024 * 1024;
/// Most policies one write may change; more is refused with [`AppendError::TooMany`].
pub const WRITE_VERSIONS: usize = 4000;
/// Most bytes one write may take on the disk; more is refused with [`AppendError::TooMuch`].
pub const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// A future whose type does not matter, so that [`Store`] can stand behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a store gets the time from that it writes into policies.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Keeps policies, issues revisions, tells of every change. Used as `Arc<dyn Store>`.
pub trait Store: Send + Sync + 'static {
    /// The life of this store; revisions of another one mean nothing here.
    fn incarnation(&self) -> Incarnation;

    /// Whether whoever runs it says that processes are to follow this life even while it is empty.
    fn adopted(&self) -> bool;

    /// Proposes a write and resolves once it is durable: the commit point.
    ///
    /// It is queued by this call, not by the first poll: proposals made one after the other are
    /// judged in that order, and dropping the future does not take the proposal back.
    fn append(&self, proposal: Proposal) -> BoxFuture<'static, Result<Committed, AppendError>>;

    /// What [`Self::append`] would say now, without writing anything; it may say another thing by
    /// the time it is asked.
    fn judge(&self, proposal: Proposal) -> Result<(), AppendError>;

    /// One policy as of now; `None` if there is none.
    fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError>;

    /// The overrides in force, by id.
    fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ReadError>;

    /// What `query` asks for, in the order of (namespace, name). With a namespace and a service it
    /// takes as long as there are such policies, not as there are policies.
    fn list(&self, query: &Query<'_>) -> Result<Page, ReadError>;

    /// Up to `limit` policies of `namespace` that `filter` lets through and whose selectors say as
    /// `service` does whom they are for, exactly this one or else many, in the order of the name.
    fn alike(
        &self,
        namespace: &Namespace,
        service: Option<&Glob>,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
        limit: usize,
    ) -> Result<Page, ReadError>;

    /// What is kept of what a policy was, the newest first: up to `limit` versions older than
    /// `before`.
    fn versions(
        &self,
        id: &PolicyId,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ReadError>;

    /// The changes of late, the newest first: up to `limit` of those that `filter` lets through,
    /// older than `before`. A change's place is its revision, and its number within that write.
    fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Changes, ReadError>;

    /// Everything as of one revision, then every later change exactly once and in order.
    fn watch(&self) -> Result<Watch, ReadError>;

    /// Every change after `revision`, exactly once and in order, without the policies as they are.
    /// [`ReadError::Compacted`] if not all of these are kept, [`ReadError::Ahead`] if that revision
    /// has not been yet.
    fn watch_after(&self, revision: Revision) -> Result<Watch, ReadError>;

    /// The revision of the last write that can be read.
    fn revision(&self) -> Revision;

    /// How it is doing; never blocks on the disk.
    fn vitals(&self) -> Vitals;

    /// Commits what is queued, flushes, lets go of the data directory; then resolves.
    ///
    /// From the call on appends fail; once it has resolved reads fail too, and every watch ends
    /// after its last event. Closing twice is harmless. A local store that is dropped closes as
    /// well, and blocks while it does.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A write somebody wants: all of its steps, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// At least one, each about another policy.
    pub steps: Vec<Step>,
    /// Who wants it, from where and why.
    pub by: Provenance,
}

/// What a write does to one policy, or decides about breakers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What must be true of the policy as the write finds it.
    pub expect: Expect,
    /// What to do.
    pub change: Change,
}

impl Proposal {
    /// Of one step.
    pub fn one(step: Step, by: Provenance) -> Self {
        let steps = vec![step];
        Self { steps, by }
    }
}

impl Step {
    /// Create or replace `policy`.
    pub fn put(policy: Policy, expect: Expect) -> Self {
        let change = Change::Put(Box::new(policy));
        Self { expect, change }
    }

    /// Leave the policy `id` as it is.
    pub fn keep(id: PolicyId, expect: Expect) -> Self {
        let change = Change::Keep(id);
        Self { expect, change }
    }

    /// Remove the policy `id`.
    pub fn delete(id: PolicyId, expect: Expect) -> Self {
        let change = Change::Delete(id);
        Self { expect, change }
    }

    /// Set an override, whose id will be the write's revision.
    pub fn force(draft: OverrideDraft) -> Self {
        Self {
            expect: Expect::Anything,
            change: Change::Force(Box::new(draft)),
        }
    }

    /// End an override.
    pub fn release(id: Revision) -> Self {
        Self {
            expect: Expect::Anything,
            change: Change::Release(id),
        }
    }

    /// Tell that breakers are reset.
    pub fn reset(target: BreakerTarget) -> Self {
        Self {
            expect: Expect::Anything,
            change: Change::Reset(Box::new(target)),
        }
    }

    /// What it is about, in the write that takes `revision`.
    pub fn subject(&self, revision: Revision) -> Subject {
        match &self.change {
            Change::Put(policy) => Subject::Policy(policy.id().clone()),
            Change::Keep(id) | Change::Delete(id) => Subject::Policy(id.clone()),
            Change::Force(_) => Subject::Override(revision),
            Change::Release(id) => Subject::Override(*id),
            Change::Reset(_) => Subject::Reset(revision),
        }
    }
}

/// What a write does. It carries its policy's id, so that the two cannot disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create or replace. Creation and update times are the store's to say.
    Put(Box<Policy>),
    /// Nothing, as long as it is as expected: for a write that is about other policies, too.
    Keep(PolicyId),
    /// Remove. What is absent cannot be removed: even under [`Expect::Anything`] that conflicts.
    Delete(PolicyId),
    /// Set an override; its id, its times and its author are the store's to say.
    Force(Box<OverrideDraft>),
    /// End an override. One that is not in force is refused with [`AppendError::NotInForce`].
    Release(Revision),
    /// Tell that breakers are reset; nothing is kept but that it was.
    Reset(Box<BreakerTarget>),
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// No policy of that name.
    Absent,
    /// Some policy of that name.
    Present,
    /// The policy as of this revision.
    Exactly(Revision),
}

impl Expect {
    /// Whether `found`, the policy's revision if it exists, is what was expected.
    pub fn admits(self, found: Option<Revision>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Exactly(revision) => found == Some(revision),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::Absent => f.write_str("absent"),
            Self::Present => f.write_str("present"),
            Self::Exactly(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// Which live policies are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    /// Only of this one.
    pub namespace: Option<&'a Namespace>,
    /// Only those that can concern this service.
    pub service: Option<&'a str>,
    /// Only those of exactly this owner.
    pub owner: Option<&'a str>,
    /// Only those behind this one, which need not exist.
    pub after: Option<&'a PolicyId>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
}

/// A stretch of the live policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The revision all of it speaks of.
    pub revision: Revision,
    /// In the order of (namespace, name).
    pub policies: Vec<Arc<Stored>>,
    /// Whether something followed at that revision.
    pub more: bool,
}

/// A stretch of one policy's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The newest first.
    pub versions: Vec<Arc<Version>>,
    /// Whether older ones are kept.
    pub more: bool,
    /// Whether older ones have been and are no longer kept.
    pub pruned: bool,
}

/// A stretch of what happened to all policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The newest first, each with its place.
    pub changes: Vec<((Revision, u32), Arc<Version>)>,
    /// What each of them replaced, if that is kept.
    pub before: Vec<Option<Arc<Version>>>,
    /// Whether older ones pass the filter.
    pub more: bool,
    /// Whether older ones have been and are no longer kept.
    pub pruned: bool,
}

/// How a store is doing, counted since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Writes that became durable.
    pub writes: u64,
    /// Commits they took; for a store on a disk, its fdatasyncs.
    pub commits: u64,
    /// Appends refused because the queue was full.
    pub busy: u64,
    /// Watches that fell behind by more than [`WATCH_EVENTS`].
    pub lagged: u64,
    /// Live policies.
    pub policies: usize,
    /// Versions kept, those of the live policies included.
    pub versions: usize,
    /// Bytes that the kept versions take in a journal.
    pub kept_bytes: u64,
    /// Why no write is taken now, if so.
    pub read_only: Option<Arc<str>>,
    /// What the journal takes on the disk.
    pub journal_bytes: u64,
    /// What the index takes on the disk.
    pub index_bytes: u64,
}
