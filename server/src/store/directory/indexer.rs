//! The thread that keeps the index; nobody waits for it.
//!
//! Sled is slow beside a journal's commit, writes to the same disk, and has been seen to wait for
//! itself for ever. So no writer calls it: every [`TURN`] this thread takes what has changed since
//! its last turn, each policy as it is by then, and puts it into the index in one batch. Whatever
//! happens to sled, even if it never answers again, costs the store its second witness and nothing
//! else.
//!
//! ```text
//!   no index ── there is room ──> build ──┐
//!      ^                                  v
//!      └── trouble, or grown too big ── index ── each turn: bring up
//! ```

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::keeper::{Beside, Keeper};
use crate::store::live::Live;
use crate::store::sled::{Index, Trouble};

/// Between two looks at what has changed. What is acknowledged is in the journal by then; the index
/// is a witness that is so much behind.
const TURN: Duration = Duration::from_secs(1);
/// How long after a failure an index is built again.
const PAUSE: Duration = Duration::from_secs(10);
/// A turn that takes longer will never end.
const STUCK: Duration = Duration::from_secs(60);
/// For the last turn, when the store closes.
const LAST_TURN: Duration = Duration::from_millis(1500);
/// Bytes by which an index may exceed four times what is kept, so that a small one is left alone.
pub(super) const SLACK_BYTES: u64 = 64 * 1024 * 1024;

/// The thread, as its owner sees it.
pub(super) struct Indexer {
    state: Arc<Mutex<State>>,
    /// Dropped, it asks the thread to end.
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

/// How the index is.
#[derive(Debug, Default)]
struct State {
    bytes: u64,
    turn_began: Option<Instant>,
    /// It has been said that this turn does not end.
    stuck: bool,
}

impl Indexer {
    /// Keeps the index of `live` from now on, beginning with what is `beside` its journal.
    pub(super) fn begin(keeper: Keeper, beside: Beside, live: Arc<Live>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let ((stop, stopped), (ending, ended)) = (channel(), channel());
        let mut work = Work {
            keeper,
            live,
            state: Arc::clone(&state),
            index: None,
            rest_until: None,
            failed: false,
        };
        let started = thread::Builder::new()
            .name("fusebox-index".into())
            .spawn(move || {
                work.take_on(beside);
                work.run(&stopped);
                drop(work);
                drop(ending);
            });
        if let Err(error) = started {
            tracing::error!(%error, "no thread for the index; writes go on without it");
        }
        Self {
            state,
            stop: Some(stop),
            ended,
        }
    }

    /// What the index takes on the disk, in bytes. Whoever asks finds out, too, if its thread will
    /// never answer again, and says so.
    pub(super) fn bytes(&self) -> u64 {
        let mut state = locked(&self.state);
        let long = |began: Instant| began.elapsed() > STUCK;
        if !state.stuck && state.turn_began.is_some_and(long) {
            state.stuck = true;
            tracing::error!(
                "the index's database does not answer; writes go on, the journal holds everything"
            );
        }
        state.bytes
    }

    /// Waits for the last turn, but not for ever.
    pub(super) fn end(&mut self) {
        self.stop = None;
        if self.ended.recv_timeout(LAST_TURN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the index's database does not answer; it is left behind");
        }
    }
}

/// A poisoned lock is taken all the same: its fields are only ever set.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Work {
    keeper: Keeper,
    live: Arc<Live>,
    state: Arc<Mutex<State>>,
    index: Option<Index>,
    /// No index is built before.
    rest_until: Option<Instant>,
    /// It has been said that there is none.
    failed: bool,
}

impl Work {
    fn take_on(&mut self, beside: Beside) {
        match beside {
            Beside::Index(index) => {
                let (from, to) = (index.applied(), self.live.revision());
                if from < to {
                    tracing::info!(index = %index.dir().display(), %from, %to, "indexing the journal");
                }
                match self.live.follow_from(from) {
                    true => self.index = Some(index),
                    // Too far behind to be brought up: the first turn builds another.
                    false => drop(index),
                }
            }
            Beside::Nothing => {}
            Beside::Trouble(reason) => self.fail(&*reason),
        }
    }

    /// A turn at once, then one now and then, and one at the end.
    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            locked(&self.state).turn_began = Some(Instant::now());
            let bytes = self.turn();
            *locked(&self.state) = State {
                bytes,
                ..State::default()
            };
            if stopped.recv_timeout(TURN) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        self.turn();
    }

    /// Brings the index up, or builds one; what it takes then, in bytes.
    fn turn(&mut self) -> u64 {
        if let Some(index) = &mut self.index
            && let Some(lacking) = self.live.unindexed()
            && let Err(trouble) = index.apply(&lacking)
        {
            self.lose(&trouble);
        }
        let bytes = self.index.as_ref().and_then(Index::bytes);
        if bytes.is_some_and(|bytes| bytes > self.most_bytes()) {
            tracing::info!(bytes, "the index has grown; it is built anew");
            self.index = None;
        }
        let rested = self.rest_until.is_none_or(|until| Instant::now() >= until);
        if self.index.is_none() && rested && self.keeper.has_room() {
            self.build();
        }
        bytes.unwrap_or(0)
    }

    fn most_bytes(&self) -> u64 {
        let kept = self.live.with_table(|table| table.archive().bytes());
        4 * kept as u64 + SLACK_BYTES
    }

    fn lose(&mut self, trouble: &Trouble) {
        self.index = None;
        self.live.stop_following();
        let line = trouble.line();
        match trouble.is_of_the_disk() {
            // It may hold the very room that is missing. Should it stay, the next build says so.
            true => drop(self.keeper.clear()),
            false => drop(self.keeper.set_aside(&line)),
        }
        self.fail(&line);
    }

    fn build(&mut self) {
        if let Beside::Trouble(reason) = self.keeper.clear() {
            return self.fail(&*reason);
        }
        let (summary, policies) = self.live.follow_from_now();
        match self.keeper.build(summary, &policies) {
            Ok(index) => {
                if self.failed {
                    tracing::info!(index = %index.dir().display(), "there is an index again");
                }
                self.index = Some(index);
                (self.rest_until, self.failed) = (None, false);
            }
            Err(trouble) => {
                self.live.stop_following();
                self.keeper.clear();
                self.fail(&trouble.line());
            }
        }
    }

    fn fail(&mut self, reason: &(impl fmt::Display + ?Sized)) {
        tracing::error!(
            %reason, again_in = ?PAUSE,
            "no index for now; writes go on, the journal holds everything"
        );
        self.failed = true;
        self.rest_until = Some(Instant::now() + PAUSE);
    }
}
