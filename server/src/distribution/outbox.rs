//! The way out of a session: a short queue that never makes its session wait.
//!
//! Whatever does not fit is owed: at most one frame of each kind, because the subscription allows
//! one snapshot under way, and a later report ack says all that an earlier one said. So a peer that
//! does not read costs a bounded amount of memory and nobody's time. Why the session ended needs no
//! place in the queue; it is said behind whatever is in it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::end::End;
use super::frame::Frame;

/// Frames between a session and its stream.
pub(super) const QUEUE_FRAMES: usize = 8;

/// The session's end of the queue.
pub(super) struct Outbox {
    owed: Owed,
    end: oneshot::Sender<End>,
    frames: mpsc::Sender<Frame>,
}

#[derive(Default)]
struct Owed {
    snapshot: Option<Frame>,
    report_ack: Option<u64>,
}

/// The stream's end of the queue: what a process is sent, and at last why no more comes.
pub(crate) struct Outgoing {
    frames: mpsc::Receiver<Frame>,
    /// `None` once it has been told.
    end: Option<oneshot::Receiver<End>>,
    /// A place among the streams is taken for as long as either end is there.
    _place: Arc<OwnedSemaphorePermit>,
}

/// A queue whose ends share `place`.
pub(super) fn outbox(place: Arc<OwnedSemaphorePermit>) -> (Outbox, Outgoing) {
    let (frames, receiver) = mpsc::channel(QUEUE_FRAMES);
    let (end, reason) = oneshot::channel();
    let owed = Owed::default();
    let outgoing = Outgoing {
        frames: receiver,
        end: Some(reason),
        _place: place,
    };
    (Outbox { owed, end, frames }, outgoing)
}

impl Outbox {
    /// Sends `frame` if there is room now; whether there was.
    pub(super) fn try_send(&self, frame: Frame) -> bool {
        self.frames.try_send(frame).is_ok()
    }

    /// Sends a snapshot as soon as there is room.
    pub(super) fn owe_snapshot(&mut self, frame: Frame) {
        self.owed.snapshot = Some(frame);
    }

    /// Acknowledges reports up to `number` as soon as there is room.
    pub(super) fn owe_report_ack(&mut self, number: u64) {
        self.owed.report_ack = Some(number);
    }

    /// Sends what is owed, as far as there is room; whether anything was sent.
    pub(super) fn flush(&mut self) -> bool {
        let mut sent = false;
        while let Ok(room) = self.frames.try_reserve() {
            let Some(frame) = self.owed.next() else { break };
            room.send(frame);
            sent = true;
        }
        sent
    }

    /// Whether something waits for room.
    pub(super) fn owes(&self) -> bool {
        self.owed.snapshot.is_some() || self.owed.report_ack.is_some()
    }

    /// Resolves once there is room.
    pub(super) async fn room(&self) {
        // An error says that the stream is gone, for which `abandoned` is there.
        let _ = self.frames.reserve().await;
    }

    /// Resolves once the stream is gone.
    pub(super) async fn abandoned(&self) {
        self.frames.closed().await;
    }

    /// Says why no more comes, behind what is in the queue.
    pub(super) fn close(self, end: End) {
        // An error says that the stream is gone. The reason goes before the queue is closed, so
        // that whoever finds the queue closed finds the reason.
        let _ = self.end.send(end);
        drop(self.frames);
    }
}

impl Owed {
    fn next(&mut self) -> Option<Frame> {
        let snapshot = self.snapshot.take();
        snapshot.or_else(|| self.report_ack.take().map(Frame::report_ack))
    }
}

impl Stream for Outgoing {
    type Item = Result<Frame, End>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(frame) = ready!(self.frames.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        // A session that left no reason has panicked.
        let end = ready!(Pin::new(end).poll(cx)).unwrap_or(End::Crashed);
        self.end = None;
        Poll::Ready(match end {
            End::Left | End::Gone => None,
            end => Some(Err(end)),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio_stream::StreamExt;

    use super::*;

    fn queue() -> (Outbox, Outgoing) {
        let places = Arc::new(Semaphore::new(1));
        outbox(Arc::new(places.try_acquire_owned().unwrap()))
    }

    fn fill(outbox: &Outbox) {
        while outbox.try_send(Frame::heartbeat()) {}
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_owed_the_latest_of_each_kind_and_no_more() {
        let (mut outbox, mut outgoing) = queue();
        fill(&outbox);
        for number in 1..=1000 {
            outbox.owe_report_ack(number);
            assert!(!outbox.flush());
        }
        for _ in 0..QUEUE_FRAMES {
            assert_eq!(outgoing.next().await, Some(Ok(Frame::heartbeat())));
        }
        outbox.room().await;
        assert!(outbox.flush());
        assert!(!outbox.owes());
        assert_eq!(outgoing.next().await, Some(Ok(Frame::report_ack(1000))));
    }

    #[tokio::test]
    async fn the_reason_comes_behind_a_full_queue() {
        let (outbox, outgoing) = queue();
        fill(&outbox);
        outbox.close(End::Superseded);
        let all: Vec<_> = outgoing.collect().await;
        assert_eq!(all.len(), QUEUE_FRAMES + 1);
        assert_eq!(all.last(), Some(&Err(End::Superseded)));
    }

    #[tokio::test]
    async fn a_session_that_vanishes_without_a_reason_has_crashed() {
        let (outbox, mut outgoing) = queue();
        drop(outbox);
        assert_eq!(outgoing.next().await, Some(Err(End::Crashed)));
        assert_eq!(outgoing.next().await, None);
    }
}
