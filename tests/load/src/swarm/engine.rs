//! The clients' one thread: sockets that are ready, and commands. What is due is in [`due`].

mod due;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use due::Round;

use super::session::{Client, Part};
use super::{Command, Event, Tally, What};
use crate::Result;
use crate::dialect::{Dialect, Heard, Reports};
use crate::http2::opening;

/// Sockets that are looked at in one turn.
const EVENTS: usize = 1024;
/// The longest that anything due waits.
const TICK: Duration = Duration::from_millis(10);
const WAKER: Token = Token(usize::MAX);

pub(super) struct Engine {
    addr: SocketAddr,
    dialect: Dialect,
    opening: Vec<u8>,
    poll: Poll,
    waker: Arc<Waker>,
    clients: Vec<Client>,
    commands: Receiver<Command>,
    events: Sender<Vec<Event>>,
    batch: Vec<Event>,
    scratch: Vec<u8>,
    tally: Arc<Tally>,
    /// Those below have dialled once.
    dialled: usize,
    /// Those of them that are not in yet.
    dialling: usize,
    returning: bool,
    pauses: BinaryHeap<Reverse<(Instant, usize)>>,
    beats: Option<Round>,
    reporting: Option<Round>,
    reports: Reports,
    stopped: bool,
}

impl Engine {
    pub(super) fn new(
        addr: SocketAddr,
        dialect: Dialect,
        clients: usize,
        commands: Receiver<Command>,
        events: Sender<Vec<Event>>,
        tally: Arc<Tally>,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let client = |_| {
            let epoch = getrandom::u64().map_err(|error| error.to_string())?;
            Ok(Client {
                epoch,
                ..Client::default()
            })
        };
        Ok(Self {
            opening: opening::encode(dialect.path(), &addr.to_string()),
            addr,
            dialect,
            poll,
            waker,
            clients: (0..clients).map(client).collect::<Result<_>>()?,
            commands,
            events,
            batch: Vec::new(),
            scratch: vec![0; 64 * 1024],
            tally,
            dialled: 0,
            dialling: 0,
            returning: false,
            pauses: BinaryHeap::new(),
            beats: None,
            reporting: None,
            reports: Reports::default(),
            stopped: false,
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Until told to stop, or nobody listens any more.
    pub(super) fn run(mut self) {
        let mut ready = Events::with_capacity(EVENTS);
        while !self.stopped {
            let polled = self.poll.poll(&mut ready, Some(TICK));
            if let Err(error) = polled
                && error.kind() != io::ErrorKind::Interrupted
            {
                eprintln!("load: the clients end: {error}");
                return;
            }
            for event in &ready {
                if event.token() != WAKER {
                    self.ready(event);
                }
            }
            self.obey();
            self.act();
            if !self.batch.is_empty() && self.events.send(std::mem::take(&mut self.batch)).is_err()
            {
                return;
            }
        }
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let client = event.token().0;
        if event.is_writable() {
            let written = self.writable(client);
            self.settle(client, written);
        }
        if (event.is_readable() || event.is_read_closed()) && !self.clients[client].frozen {
            let read = self.readable(client);
            self.settle(client, read);
        }
    }

    fn settle(&mut self, client: usize, done: io::Result<()>) {
        if let Err(error) = done {
            self.ended(client, error.to_string(), None);
        }
    }

    fn writable(&mut self, client: usize) -> io::Result<()> {
        let Client {
            session: Some(session),
            held,
            epoch,
            ..
        } = &mut self.clients[client]
        else {
            return Ok(());
        };
        if !session.connected {
            session.dialled()?;
            session.connected = true;
            session.send(&self.opening)?;
            session.say(&self.dialect.hello(client, *epoch, held))?;
        }
        session.flush()
    }

    /// Sockets tell of input only once, so it is read to its end: a read that does not fill the
    /// buffer has reached it.
    fn readable(&mut self, client: usize) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = loop {
            let Some(session) = &mut self.clients[client].session else {
                break Ok(());
            };
            match session.read(&mut scratch) {
                Ok(Some(len)) => {
                    Tally::add(&self.tally.read_bytes, len as u64);
                    if let Err(error) = self.take(client, &scratch[..len]) {
                        break Err(error);
                    }
                    if len < scratch.len() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.scratch = scratch;
        read
    }

    fn take(&mut self, client: usize, bytes: &[u8]) -> io::Result<()> {
        let Client {
            session: Some(session),
            held,
            ..
        } = &mut self.clients[client]
        else {
            return Ok(());
        };
        let (mut reply, mut heard, mut ended) = (Vec::new(), Vec::new(), None);
        let dialect = &self.dialect;
        session.digest(bytes, &mut reply, |part| match part {
            Part::Head if dialect.is_in_by_head() => heard.push(Heard::In { beat: None }),
            Part::Head => {}
            Part::Message(message) => heard.push(dialect.hear(message, held)),
            // A reset follows the end that it belongs to: the first is the reason.
            Part::Ended(reason) => ended = ended.or(Some(reason)),
        });
        if !reply.is_empty() {
            session.send(&reply)?;
        }
        for heard in heard {
            self.heard(client, heard)?;
        }
        // The windows may have grown.
        self.speak(client)?;
        match ended {
            Some(reason) => Err(io::Error::other(reason)),
            None => Ok(()),
        }
    }

    fn heard(&mut self, client: usize, heard: Heard) -> io::Result<()> {
        match heard {
            Heard::In { beat } => {
                if self.beats.is_none() {
                    self.beats = beat.map(|every| Round::new(every, self.clients.len()));
                }
                if !self.dialect.begins_with_a_push() {
                    self.entered(client);
                }
            }
            Heard::Push { revision } => {
                self.acknowledge(client, revision)?;
                self.note(client, What::Applied { revision });
                self.entered(client);
            }
            Heard::UpToDate { revision } => {
                self.acknowledge(client, revision)?;
                self.note(client, What::UpToDate);
                self.entered(client);
            }
            Heard::Absorbed { number } => self.absorbed(client, number),
            Heard::Drain { delay } => {
                self.ended(
                    client,
                    "the server asked to go elsewhere".into(),
                    Some(delay),
                );
            }
            Heard::Other => {}
        }
        Ok(())
    }

    fn absorbed(&mut self, client: usize, number: u64) {
        if let Some(session) = &mut self.clients[client].session {
            let before = std::mem::replace(&mut session.absorbed, number);
            Tally::add(&self.tally.absorbed, number.saturating_sub(before));
        }
    }

    fn acknowledge(&mut self, client: usize, revision: u64) -> io::Result<()> {
        let (Some(session), Some(ack)) = (
            &mut self.clients[client].session,
            self.dialect.ack(revision),
        ) else {
            return Ok(());
        };
        session.say(&ack)
    }

    fn entered(&mut self, client: usize) {
        let Client {
            session: Some(session),
            failures,
            ..
        } = &mut self.clients[client]
        else {
            return;
        };
        if !std::mem::replace(&mut session.is_in, true) {
            *failures = 0;
            self.dialling = self.dialling.saturating_sub(1);
            self.note(client, What::In);
        }
    }

    fn ended(&mut self, client: usize, reason: String, delay: Option<Duration>) {
        let Some(session) = self.clients[client].session.take() else {
            return;
        };
        if session.is_in {
            self.note(client, What::Ended { reason });
        } else if !self.returning {
            let reason = format!("before it was in: {reason}");
            self.note(client, What::Ended { reason });
        }
        if self.returning {
            self.pause(client, delay);
        }
    }

    fn note(&mut self, client: usize, what: What) {
        let at = Instant::now();
        self.batch.push(Event { client, at, what });
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Freeze { clients, frozen } => self.freeze(clients, frozen),
                Command::Return(returning) => self.returning = returning,
                Command::Report {
                    clients,
                    every,
                    reports,
                } => {
                    self.reporting = Some(Round::new(every, clients));
                    self.reports = reports;
                }
                Command::Stop => self.stopped = true,
            }
        }
    }

    fn freeze(&mut self, clients: usize, frozen: bool) {
        for client in 0..clients {
            self.clients[client].frozen = frozen;
            if !frozen {
                // What became readable meanwhile is not told of again.
                let read = self.readable(client);
                self.settle(client, read);
            }
        }
    }
}
