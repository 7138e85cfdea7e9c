//! The one thread that decides and commits.
//!
//! One thread, because a decision then sees everything decided before it and needs no lock; a
//! batch at a time, because one fdatasync makes many writes durable as fast as one. While a commit
//! waits for the disk the next batch gathers in the queue, so the batch grows with the load and a
//! lone write never waits for company.
//!
//! What makes a commit last is a [`Disk`]: the data directory's, or none. The sequence and the
//! meaning of a failure are the same for both and drawn in [`super`].
//!
//! Invariant: only this thread changes [`Live`], and only by what a disk has committed.

mod batch;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub(super) use self::batch::{Batch, Staged};
use super::journal::CommitError;
use super::live::Live;
use super::{AppendError, Clock, Committed, Proposal, WRITE_BYTES};

/// How often upkeep is looked after, at least, and a full disk for room.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// A batch takes no further write once it holds this many bytes, so that a commit stays short.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes one commit can have: the last write a batch takes may reach beyond [`BATCH_BYTES`].
pub(super) const COMMIT_BYTES: usize = BATCH_BYTES + WRITE_BYTES;

/// What a caller of `append` hears.
pub(super) type Answer = Result<Committed, AppendError>;
/// An answer, and who waits for it.
type Verdict = (oneshot::Sender<Answer>, Answer);

/// What makes a commit outlive the process.
pub(super) trait Disk: Send + 'static {
    /// The first call, with what it is to keep.
    fn begin(&mut self, live: &Arc<Live>);

    /// The commit: once it returns, `payload` survives a power cut. Not called again after an error
    /// that is not undone.
    fn commit(&mut self, payload: &[u8]) -> Result<(), CommitError>;

    /// Upkeep, now and then while nobody waits. Over an error no more writes are taken.
    fn tend(&mut self, live: &Live) -> Result<(), Halt>;

    /// Whether it is worth trying to write again after the disk was full.
    fn has_room(&self) -> bool;

    /// How it is doing.
    fn figures(&self) -> Figures;

    /// The last call.
    fn end(&mut self);
}

/// What a disk tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) journal_bytes: u64,
    pub(super) index_bytes: u64,
}

/// Why no writes are taken, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Halt {
    reason: Arc<str>,
    /// It ends by itself once the disk has room.
    for_room: bool,
}

impl Halt {
    pub(super) fn until_restart(reason: impl Into<Arc<str>>) -> Self {
        let reason = reason.into();
        Self {
            reason,
            for_room: false,
        }
    }

    fn after(error: &CommitError) -> Self {
        let source = &error.source;
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        match error.undone && full {
            true => Self {
                reason: format!("the disk is full ({source}); writes go on once there is room")
                    .into(),
                for_room: true,
            },
            false => Self::until_restart(format!(
                "the journal could not be written: {source}; start the server anew once the disk is well"
            )),
        }
    }
}

/// A proposal, and who waits for its answer.
pub(super) struct Request {
    pub(super) proposal: Proposal,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The thread's own: whatever it needs to turn requests into commits.
pub(super) struct Writer<D> {
    disk: D,
    live: Arc<Live>,
    clock: Clock,
    requests: Receiver<Request>,
    halt: Option<Halt>,
    /// When upkeep is due again.
    tend_at: Instant,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(disk: D, live: Arc<Live>, clock: Clock, requests: Receiver<Request>) -> Self {
        Self {
            disk,
            live,
            clock,
            requests,
            halt: None,
            tend_at: Instant::now(),
        }
    }

    /// Works until the queue is closed and empty; then flushes and lets go of the disk.
    pub(super) fn run(mut self) {
        let closing = CloseOnDrop(Arc::clone(&self.live));
        self.disk.begin(&self.live);
        self.tend();
        loop {
            match self.requests.recv_timeout(TEND_EVERY) {
                Ok(first) => self.take(first),
                Err(RecvTimeoutError::Timeout) => self.resume(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= self.tend_at {
                self.tend();
            }
        }
        self.disk.end();
        drop(self.disk);
        drop(closing);
    }

    fn take(&mut self, first: Request) {
        self.resume();
        match &self.halt {
            Some(halt) => answer(first.answer, Err(unavailable(Arc::clone(&halt.reason)))),
            None => self.take_batch(first),
        }
    }

    /// Goes on taking writes if what stopped it was a full disk that has room again.
    fn resume(&mut self) {
        if self.halt.as_ref().is_some_and(|halt| halt.for_room) && self.disk.has_room() {
            tracing::info!("the disk has room again; the store takes writes");
            self.halt = None;
            self.live.set_read_only(None);
        }
    }

    fn tend(&mut self) {
        if let Err(halt) = self.disk.tend(&self.live) {
            self.stop_at(halt);
        }
        self.live.set_figures(self.disk.figures());
        self.tend_at = Instant::now() + TEND_EVERY;
    }

    /// Steps 1 to 4, for `first` and whatever has queued up behind it.
    fn take_batch(&mut self, first: Request) {
        let mut batch = Batch::new(&self.live, (self.clock)());
        batch.judge(first);
        while batch.has_room() {
            match self.requests.try_recv() {
                Ok(request) => batch.judge(request),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let Batch {
            writes,
            payload,
            verdicts,
            ..
        } = batch;
        match self.commit(&payload) {
            Ok(()) => self.acknowledge(&writes, verdicts),
            // Conflicts too: they may have been with a write of this very batch.
            Err(error) => verdicts
                .into_iter()
                .for_each(|(to, _)| answer(to, Err(error.clone()))),
        }
    }

    /// Step 2. Refusals alone need none.
    fn commit(&mut self, payload: &[u8]) -> Result<(), AppendError> {
        if payload.is_empty() {
            return Ok(());
        }
        self.disk.commit(payload).map_err(|error| {
            let halt = Halt::after(&error);
            let reason = Arc::clone(&halt.reason);
            self.stop_at(halt);
            match error.undone {
                true => unavailable(reason),
                false => in_doubt(reason),
            }
        })
    }

    /// Steps 3 and 4.
    fn acknowledge(&mut self, writes: &[Staged], verdicts: Vec<Verdict>) {
        self.live.publish(writes);
        for (to, verdict) in verdicts {
            answer(to, verdict);
        }
    }

    fn stop_at(&mut self, halt: Halt) {
        tracing::error!(reason = %halt.reason, "the store takes no writes");
        self.live.set_read_only(Some(Arc::clone(&halt.reason)));
        self.halt = Some(halt);
    }
}

/// Ends reads and watches with the writer, even if it panics: nothing would ever change again.
struct CloseOnDrop(Arc<Live>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn answer(to: oneshot::Sender<Answer>, answer: Answer) {
    // An error says that the caller went away; the write stands all the same.
    let _ = to.send(answer);
}

pub(super) fn unavailable(reason: impl Into<Arc<str>>) -> AppendError {
    AppendError::Unavailable {
        reason: reason.into(),
    }
}

pub(super) fn in_doubt(reason: impl Into<Arc<str>>) -> AppendError {
    AppendError::InDoubt {
        reason: reason.into(),
    }
}
