//! What a client does because it is time to: dial, dial again, say that it is there, report.

use std::cmp::Reverse;
use std::io;
use std::time::{Duration, Instant};

use mio::{Interest, Token};

use super::Engine;
use crate::dialect::HEARTBEAT;
use crate::swarm::session::Session;
use crate::swarm::{Tally, What};

/// Clients that dial at once when all of them come in.
const DIALLING: usize = 256;
/// The pauses between two dials of a client, as the SDK draws them.
const RECONNECT_BASE: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// Reports that are made before sockets are looked at again: who reads late would find the server
/// slow.
const REPORTS_AT_ONCE: usize = 200;

/// Everybody in turn, once in so long.
pub(super) struct Round {
    since: Instant,
    every: Duration,
    clients: usize,
    done: usize,
}

impl Round {
    pub(super) fn new(every: Duration, clients: usize) -> Self {
        Self {
            since: Instant::now(),
            every,
            clients,
            done: 0,
        }
    }

    /// Whose turn it is by now, or so many of them.
    fn due(&mut self, most: usize) -> impl Iterator<Item = usize> + use<> {
        let turns = self.since.elapsed().div_duration_f64(self.every);
        // Positive, and far below the limits of either.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "see above"
        )]
        let until = ((turns * self.clients as f64) as usize).min(self.done.saturating_add(most));
        let clients = self.clients;
        let from = std::mem::replace(&mut self.done, until);
        (from..until).map(move |turn| turn % clients)
    }

    /// By how much the next turn is late.
    fn late(&self) -> Duration {
        let due = self.every.mul_f64(self.done as f64 / self.clients as f64);
        self.since.elapsed().saturating_sub(due)
    }
}

impl Engine {
    /// Dials, says and reports what is due by now.
    pub(super) fn act(&mut self) {
        while self.dialled < self.clients.len() && self.dialling < DIALLING {
            self.dialling += 1;
            self.dial(self.dialled);
            self.dialled += 1;
        }
        let now = Instant::now();
        while let Some(&Reverse((due, client))) = self.pauses.peek()
            && due <= now
        {
            self.pauses.pop();
            self.dial(client);
        }
        self.beat();
        self.report();
    }

    fn dial(&mut self, client: usize) {
        let dialled = Session::dial(self.addr, client).and_then(|mut session| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(session.stream(), Token(client), interest)?;
            Ok(session)
        });
        match dialled {
            Ok(session) => self.clients[client].session = Some(session),
            Err(_) if self.returning => self.pause(client, None),
            Err(error) => {
                let reason = format!("cannot dial: {error}");
                self.note(client, What::Ended { reason });
            }
        }
    }

    fn beat(&mut self) {
        let Some(due) = self.beats.as_mut().map(|beats| beats.due(usize::MAX)) else {
            return;
        };
        for client in due {
            if let Some(session) = self.session_inside(client) {
                let said = session.say(HEARTBEAT);
                self.settle(client, said);
            }
        }
    }

    /// Whether or not the server keeps up, as the SDK does; what finds its session's outbox full is
    /// skipped.
    fn report(&mut self) {
        let Some(round) = &mut self.reporting else {
            return;
        };
        let due = round.due(REPORTS_AT_ONCE);
        self.tally.late(round.late());
        for client in due {
            let Some(session) = self.session_inside(client) else {
                continue;
            };
            let has_room = session.report();
            Tally::add(&self.tally.due, 1);
            Tally::add(&self.tally.skipped, u64::from(!has_room));
            let spoken = self.speak(client);
            self.settle(client, spoken);
        }
    }

    /// Says what waits, as far as the server's windows have room.
    pub(super) fn speak(&mut self, client: usize) -> io::Result<()> {
        if let Some(session) = &mut self.clients[client].session {
            let sent = session.speak(&self.reports)?;
            Tally::add(&self.tally.sent, sent);
        }
        Ok(())
    }

    /// Full jitter, as the SDK does; after a delay that the server asked for, that one.
    pub(super) fn pause(&mut self, client: usize, delay: Option<Duration>) {
        let failures = &mut self.clients[client].failures;
        let longest = RECONNECT_BASE
            .saturating_mul(1 << (*failures).min(16))
            .min(RECONNECT_MAX);
        *failures += 1;
        let random = getrandom::u32().unwrap_or_default();
        let pause = longest.mul_f64(f64::from(random) / f64::from(u32::MAX));
        let pause = delay.unwrap_or(pause);
        self.pauses.push(Reverse((Instant::now() + pause, client)));
    }

    fn session_inside(&mut self, client: usize) -> Option<&mut Session> {
        let session = self.clients[client].session.as_mut();
        session.filter(|session| session.is_in)
    }
}
