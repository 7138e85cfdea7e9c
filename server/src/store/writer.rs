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
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::oneshot;

use self::batch::Batch;
use super::live::Live;
use super::record::Entry;
use super::{AppendError, Clock, Committed, Proposal, WRITE_BYTES};

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
    /// The commit: once it returns, `payload` survives a power cut. After an error nobody knows
    /// what is on the disk, and it is not called again.
    fn commit(&mut self, payload: &[u8]) -> io::Result<()>;

    /// Brings what makes the next start quick up to the entries just committed and acknowledged.
    /// Not called again after an error, which says what happened in one line.
    fn index(&mut self, entries: &[Entry]) -> Result<(), String>;

    /// The last call.
    fn flush(&mut self);
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
    read_only: Option<Arc<str>>,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(disk: D, live: Arc<Live>, clock: Clock, requests: Receiver<Request>) -> Self {
        Self {
            disk,
            live,
            clock,
            requests,
            read_only: None,
        }
    }

    /// Works until the queue is closed and empty; then flushes and lets go of the disk.
    pub(super) fn run(mut self) {
        let closing = CloseOnDrop(Arc::clone(&self.live));
        while let Ok(first) = self.requests.recv() {
            match &self.read_only {
                Some(reason) => answer(first.answer, Err(unavailable(Arc::clone(reason)))),
                None => self.take_batch(first),
            }
        }
        self.disk.flush();
        drop(self.disk);
        drop(closing);
    }

    /// Steps 1 to 5, for `first` and whatever has queued up behind it.
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
            entries,
            payload,
            verdicts,
            ..
        } = batch;
        match self.commit(&payload) {
            Ok(()) => self.acknowledge(&entries, verdicts),
            // Conflicts too: they may have been with a write of this very batch.
            Err(reason) => verdicts
                .into_iter()
                .for_each(|(to, _)| answer(to, Err(in_doubt(Arc::clone(&reason))))),
        }
    }

    /// Step 2. Refusals alone need none.
    fn commit(&mut self, payload: &[u8]) -> Result<(), Arc<str>> {
        if payload.is_empty() {
            return Ok(());
        }
        self.disk.commit(payload).map_err(|error| {
            self.become_read_only(format!("the journal could not be written: {error}"))
        })
    }

    /// Steps 3 to 5.
    fn acknowledge(&mut self, entries: &[Entry], verdicts: Vec<Verdict>) {
        let events = entries.iter().map(|entry| entry.event.clone());
        self.live.publish(events);
        for (to, verdict) in verdicts {
            answer(to, verdict);
        }
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.disk.index(entries) {
            self.become_read_only(format!("the index could not be written: {error}"));
        }
    }

    fn become_read_only(&mut self, reason: String) -> Arc<str> {
        tracing::error!(%reason, "the store takes no more writes until it is started anew");
        let reason: Arc<str> = reason.into();
        self.read_only = Some(Arc::clone(&reason));
        self.live.set_read_only(Arc::clone(&reason));
        reason
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
