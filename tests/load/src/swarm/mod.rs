//! Very many clients on one thread, told what to do and heard.
//!
//! The thread does nothing but read, write and note the time: what it takes of the two cores the
//! server lacks. Whoever measures reads the events of what has happened.

mod engine;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::Waker;

use crate::Result;
use crate::dialect::{Dialect, Reports};

/// Within this all clients must be in, even on a machine that others use.
const OPEN_WITHIN: Duration = Duration::from_secs(120);

/// Something that happened to a client.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) client: usize,
    pub(crate) at: Instant,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It is in, and holds what it is to hold.
    In,
    /// It was sent a revision, and has acknowledged it where anybody asks.
    Applied { revision: u64 },
    /// What it held is still right, and it has said so.
    UpToDate,
    /// Its session has ended.
    Ended { reason: String },
}

/// What the clients are told.
#[derive(Debug)]
pub(crate) enum Command {
    /// These stop reading, or read on.
    Freeze { clients: usize, frozen: bool },
    /// Whoever loses its session comes back, or not.
    Return(bool),
    /// The first so many report from now on, each once in so long.
    Report {
        clients: usize,
        every: Duration,
        reports: Reports,
    },
    /// Everybody leaves.
    Stop,
}

/// Running clients. Dropping them closes their connections.
pub(crate) struct Swarm {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    events: Receiver<Vec<Event>>,
    tally: Arc<Tally>,
    clients: usize,
    thread: Option<JoinHandle<()>>,
}

/// What the clients count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    read_bytes: AtomicU64,
    /// Reports by where they are; see [`Reported`].
    due: AtomicU64,
    skipped: AtomicU64,
    sent: AtomicU64,
    absorbed: AtomicU64,
    /// By how much the clients themselves were late with a report, at most.
    late_micros: AtomicU64,
}

/// How many reports came how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    /// That it was time for.
    pub(crate) due: u64,
    /// Of these, not made: as many waited as may.
    pub(crate) skipped: u64,
    /// Of these, that the server's windows had room for.
    pub(crate) sent: u64,
    /// Of these, that the server said it absorbed.
    pub(crate) absorbed: u64,
    /// By how much the clients themselves were late with one, at most, in microseconds.
    pub(crate) late_micros: u64,
}

impl Tally {
    // Relaxed throughout: each is a count of its own, read after what it counts was heard of.
    fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    fn late(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.late_micros.fetch_max(micros, Ordering::Relaxed);
    }
}

impl Swarm {
    /// So many clients of the server there, all of them in.
    pub(crate) fn open(addr: SocketAddr, dialect: Dialect, clients: usize) -> Result<Self> {
        let (commands, told) = channel();
        let (tell, events) = channel();
        let tally = Arc::new(Tally::default());
        let counted = Arc::clone(&tally);
        let engine = engine::Engine::new(addr, dialect, clients, told, tell, counted)?;
        let waker = engine.waker();
        let thread = thread::Builder::new().name("clients".into());
        let thread = thread.spawn(move || engine.run())?;
        let swarm = Self {
            commands,
            waker,
            events,
            tally,
            clients,
            thread: Some(thread),
        };
        let mut inside = 0;
        swarm.listen("all clients to be in", OPEN_WITHIN, |event| {
            match event.what {
                What::In => inside += 1,
                What::Ended { reason } => return Err(format!("a client is out: {reason}").into()),
                _ => {}
            }
            Ok(inside == clients)
        })?;
        Ok(swarm)
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients
    }

    pub(crate) fn tell(&self, command: Command) -> Result<()> {
        self.commands
            .send(command)
            .map_err(|_| "the clients have ended")?;
        Ok(self.waker.wake()?)
    }

    /// Bytes that all clients have read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.tally.read_bytes.load(Ordering::Relaxed)
    }

    /// Reports so far.
    pub(crate) fn reports(&self) -> Reported {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        Reported {
            due: count(&tally.due),
            skipped: count(&tally.skipped),
            sent: count(&tally.sent),
            absorbed: count(&tally.absorbed),
            late_micros: count(&tally.late_micros),
        }
    }

    /// Hands over what happens until `enough` says so.
    pub(crate) fn listen(
        &self,
        what: &str,
        within: Duration,
        mut enough: impl FnMut(Event) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut seen = 0_usize;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let batch = match self.events.recv_timeout(left) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("waited {within:?} for {what}; {seen} events came").into());
                }
                Err(RecvTimeoutError::Disconnected) => return Err("the clients have ended".into()),
            };
            seen += batch.len();
            let mut done = false;
            for event in batch {
                done |= enough(event)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// What has happened and nobody listened to.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.try_iter().flatten()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // An error says that they have ended already.
        self.tell(Command::Stop).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
