//! The way out of a session: a short queue that never makes its session wait.
//!
//! Whatever does not fit is owed: at most one frame of each kind, because the subscription allows
//! one snapshot under way, and a later report ack says all that an earlier one said; and a few resets. So a peer that
//! does not read costs a bounded amount of memory and nobody's time. Why the session ended needs no
//! place in the queue; it is said behind whatever is in it.
//!
//! The stream's end rings the session's bell when it has made room for what is owed, and when it is
//! gone.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::bell::{Bell, MAX_RESETS};
use super::end::End;
use super::frame::Frame;

/// Frames between a session and its stream.
pub(super) const QUEUE_FRAMES: usize = 8;

/// The session's end of the queue.
pub(super) struct Outbox {
    owed: Owed,
    pipe: Arc<Pipe>,
    /// A place among the streams is taken for as long as either end is there.
    _place: Arc<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct Owed {
    snapshot: Option<Frame>,
    permit: Option<OwnedSemaphorePermit>,
    resets: VecDeque<Frame>,
    report_ack: Option<u64>,
}

/// The stream's end of the queue: what a process is sent, and at last why no more comes.
pub(crate) struct Outgoing {
    pipe: Arc<Pipe>,
    _place: Arc<OwnedSemaphorePermit>,
}

struct Pipe {
    state: Mutex<State>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct State {
    /// With what is free again once a frame is on its way.
    frames: VecDeque<(Frame, Option<OwnedSemaphorePermit>)>,
    /// The session waits for room.
    wanted: bool,
    end: Ending,
    abandoned: bool,
    reader: Option<Waker>,
}

/// What the stream says behind the last frame.
#[derive(Default)]
enum Ending {
    #[default]
    Open,
    Closed(End),
    Told,
}

/// A queue whose ends share `place`; the stream's end rings `bell`.
pub(super) fn outbox(place: Arc<OwnedSemaphorePermit>, bell: Arc<Bell>) -> (Outbox, Outgoing) {
    let pipe = Arc::new(Pipe {
        state: Mutex::default(),
        bell,
    });
    let outbox = Outbox {
        owed: Owed::default(),
        pipe: Arc::clone(&pipe),
        _place: Arc::clone(&place),
    };
    let outgoing = Outgoing {
        pipe,
        _place: place,
    };
    (outbox, outgoing)
}

impl Outbox {
    /// Sends `frame` if there is room now; whether there was.
    pub(super) fn try_send(&self, frame: Frame) -> bool {
        self.pipe.lock().send(frame, None)
    }

    /// Sends a snapshot as soon as there is room. `permit` is free again once it is on its way, or
    /// if there is no room.
    pub(super) fn owe_snapshot(&mut self, frame: Frame, permit: Option<OwnedSemaphorePermit>) {
        self.owed.snapshot = Some(frame);
        self.owed.permit = permit;
    }

    /// Sends a reset as soon as there is room, behind the snapshot; whether it may wait for that.
    pub(super) fn owe_reset(&mut self, frame: Frame) -> bool {
        let room = self.owed.resets.len() < MAX_RESETS;
        if room {
            self.owed.resets.push_back(frame);
        }
        room
    }

    /// Acknowledges reports up to `number` as soon as there is room.
    pub(super) fn owe_report_ack(&mut self, number: u64) {
        self.owed.report_ack = Some(number);
    }

    /// Sends what is owed, as far as there is room; whether anything was sent.
    pub(super) fn flush(&mut self) -> bool {
        if !self.owes() {
            return false;
        }
        let mut state = self.pipe.lock();
        let mut sent = false;
        while state.has_room()
            && let Some((frame, permit)) = self.owed.next()
        {
            sent |= state.send(frame, permit);
        }
        state.wanted = self.owes();
        self.owed.permit = None;
        sent
    }

    /// Whether something waits for room.
    pub(super) fn owes(&self) -> bool {
        let Owed {
            snapshot,
            resets,
            report_ack,
            ..
        } = &self.owed;
        snapshot.is_some() || !resets.is_empty() || report_ack.is_some()
    }

    /// Whether the stream is gone.
    pub(super) fn abandoned(&self) -> bool {
        self.pipe.lock().abandoned
    }

    /// Says why no more comes, behind what is in the queue.
    pub(super) fn close(self, end: End) {
        self.pipe.lock().close(end);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // A session that left no reason has panicked.
        self.pipe.lock().close(End::Crashed);
    }
}

impl Owed {
    fn next(&mut self) -> Option<(Frame, Option<OwnedSemaphorePermit>)> {
        if let Some(snapshot) = self.snapshot.take() {
            return Some((snapshot, self.permit.take()));
        }
        if let Some(reset) = self.resets.pop_front() {
            return Some((reset, None));
        }
        let number = self.report_ack.take()?;
        Some((Frame::report_ack(number), None))
    }
}

impl Pipe {
    // A poisoned lock is taken all the same: no operation leaves a queue half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.frames.len() < QUEUE_FRAMES
    }

    fn send(&mut self, frame: Frame, permit: Option<OwnedSemaphorePermit>) -> bool {
        let room = self.has_room();
        if room {
            self.frames.push_back((frame, permit));
            self.wake();
        }
        room
    }

    fn close(&mut self, end: End) {
        if matches!(self.end, Ending::Open) {
            self.end = Ending::Closed(end);
            // Nobody watches over who reads any more, and nothing is to wait for it.
            self.frames
                .iter_mut()
                .for_each(|(_, permit)| *permit = None);
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Stream for Outgoing {
    type Item = Result<Frame, End>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.pipe.lock();
        if let Some((frame, _permit)) = state.frames.pop_front() {
            if std::mem::take(&mut state.wanted) {
                self.pipe.bell.ring();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match std::mem::replace(&mut state.end, Ending::Told) {
            Ending::Open => {
                state.end = Ending::Open;
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Ending::Told | Ending::Closed(End::Left | End::Gone) => Poll::Ready(None),
            Ending::Closed(end) => Poll::Ready(Some(Err(end))),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.abandoned = true;
        // Whatever is in it goes nowhere any more.
        state.frames.clear();
        drop(state);
        self.pipe.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio_stream::StreamExt;

    use super::*;

    fn queue() -> (Outbox, Outgoing, Arc<Bell>) {
        let places = Arc::new(Semaphore::new(1));
        let bell: Arc<Bell> = Arc::default();
        let place = Arc::new(places.try_acquire_owned().unwrap());
        let (outbox, outgoing) = outbox(place, Arc::clone(&bell));
        (outbox, outgoing, bell)
    }

    fn fill(outbox: &Outbox) {
        while outbox.try_send(Frame::heartbeat()) {}
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_owed_the_latest_of_each_kind_and_no_more() {
        let (mut outbox, mut outgoing, bell) = queue();
        fill(&outbox);
        for number in 1..=1000 {
            outbox.owe_report_ack(number);
            assert!(!outbox.flush());
        }
        for _ in 0..QUEUE_FRAMES {
            assert_eq!(outgoing.next().await, Some(Ok(Frame::heartbeat())));
        }
        bell.rung().await;
        assert!(outbox.flush());
        assert!(!outbox.owes());
        assert_eq!(outgoing.next().await, Some(Ok(Frame::report_ack(1000))));
    }

    #[tokio::test]
    async fn the_reason_comes_behind_a_full_queue() {
        let (outbox, outgoing, _) = queue();
        fill(&outbox);
        outbox.close(End::Superseded);
        let all: Vec<_> = outgoing.collect().await;
        assert_eq!(all.len(), QUEUE_FRAMES + 1);
        assert_eq!(all.last(), Some(&Err(End::Superseded)));
    }

    #[tokio::test]
    async fn a_session_that_vanishes_without_a_reason_has_crashed() {
        let (outbox, mut outgoing, _) = queue();
        drop(outbox);
        assert_eq!(outgoing.next().await, Some(Err(End::Crashed)));
        assert_eq!(outgoing.next().await, None);
    }

    #[tokio::test]
    async fn a_stream_that_is_gone_rings() {
        let (outbox, outgoing, bell) = queue();
        drop(outgoing);
        bell.rung().await;
        assert!(outbox.abandoned());
    }

    #[tokio::test]
    async fn a_permit_is_free_once_its_frame_is_on_its_way_or_finds_no_room() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = || Some(Arc::clone(&permits).try_acquire_owned().unwrap());
        let (mut outbox, mut outgoing, _) = queue();
        outbox.owe_snapshot(Frame::heartbeat(), permit());
        outbox.flush();
        assert_eq!(permits.available_permits(), 0);
        outgoing.next().await;
        assert_eq!(permits.available_permits(), 1);
        fill(&outbox);
        outbox.owe_snapshot(Frame::heartbeat(), permit());
        outbox.flush();
        assert_eq!(permits.available_permits(), 1);
        assert!(outbox.owes());
    }

    #[tokio::test]
    async fn a_stream_that_outlives_its_session_unread_keeps_no_permit() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let (mut outbox, outgoing, _) = queue();
        outbox.owe_snapshot(Frame::heartbeat(), Some(permit));
        outbox.flush();
        outbox.close(End::Superseded);
        assert_eq!(permits.available_permits(), 1);
        let all: Vec<_> = outgoing.collect().await;
        assert_eq!(all, [Ok(Frame::heartbeat()), Err(End::Superseded)]);
    }
}
