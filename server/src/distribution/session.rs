//! One stream, from its Hello to its end.
//!
//! ```text
//!   connect --Hello in time--> accepted --Welcome, snapshot or UpToDate--> serving --> ended
//!      |                                                                      |
//!      +-- NoHello, NotHello, BadHello                  any End: see end.rs --+
//! ```
//!
//! The session is a task of its own. It reads whatever comes, whether or not its peer reads what it
//! is sent: going out, everything passes the [`Outbox`], which never waits. The [`Watchdog`] ticks
//! here, outside the response stream, and so cannot be stopped by a peer that stops reading.
//!
//! What decides is elsewhere and knows neither stream nor clock: [`Standing`] what to send,
//! [`Watchdog`] what is due. A message that makes no sense is counted, logged once for each session
//! and kind, and otherwise ignored; only a Hello out of place ends the stream.

mod allowance;
mod hearing;
mod presence;
mod reports;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::revision::Revision;
use fusebox_core::stats::SessionId;
use fusebox_core::sync::{Known, Snapshot};
use fusebox_proto::convert::session::{Greeting, hello_from_wire};
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message;
use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;
use tracing::{info, warn};

use super::bell::{Bell, News, Push};
use super::end::End;
use super::frame::Frame;
use super::hub::Membership;
use super::outbox::Outbox;
use super::request::Request;
use super::roll::Place;
use super::standing::{Dispatch, Standing};
use super::tally::Trouble;
use super::watchdog::{Due, Watchdog};
use super::{DRAIN_SPREAD, Distribution};
use allowance::Allowance;
use presence::Presence;

/// What comes up a stream.
pub(crate) trait Inbound: Stream<Item = Result<Request, End>> + Send + Unpin {}

impl<S: Stream<Item = Result<Request, End>> + Send + Unpin> Inbound for S {}

/// Serves a stream until it ends.
pub(super) async fn run(
    distribution: Arc<Distribution>,
    mut inbound: impl Inbound,
    outbox: Outbox,
    bell: Arc<Bell>,
    peer: String,
) {
    let tally = Arc::clone(&distribution.tally);
    let (outbox, end) = match greet(&distribution, &mut inbound).await {
        Ok(greeting) => {
            // Boxed, because a future keeps what was moved into it beside where it was moved to.
            let session = Session::open(distribution, inbound, outbox, bell, greeting, &peer);
            let mut session = Box::new(session);
            let end = session.serve().await;
            session.log_end(&end);
            (session.outbox, end)
        }
        Err(end) => {
            warn!(peer, reason = %end, "stream ended before a session began");
            (outbox, end)
        }
    };
    tally.ended(&end);
    outbox.close(end);
}

async fn greet(distribution: &Distribution, inbound: &mut impl Inbound) -> Result<Greeting, End> {
    let within = distribution.patience.hello;
    let first = timeout(within, inbound.next());
    let first = distribution.stop.run_until_cancelled(first).await;
    let first = first.ok_or(End::Draining)?;
    let first = first.map_err(|_| End::NoHello { within })?;
    let message = match first.ok_or(End::Left)?? {
        Request::Report(_) => Some(Message::StatsReport(v1::StatsReport::default())),
        Request::Other(request) => request.message,
    };
    match message {
        Some(Message::Hello(hello)) => hello_from_wire(&hello).map_err(End::BadHello),
        other => Err(End::NotHello {
            found: name(other.as_ref()),
        }),
    }
}

fn name(message: Option<&Message>) -> &'static str {
    match message {
        None => "a message of an unknown kind",
        Some(Message::Hello(_)) => "hello",
        Some(Message::Ack(_)) => "ack",
        Some(Message::Nack(_)) => "nack",
        Some(Message::OperationDeclared(_)) => "operation_declared",
        Some(Message::StatsReport(_)) => "stats_report",
        Some(Message::Transition(_)) => "transition",
        Some(Message::Heartbeat(_)) => "heartbeat",
    }
}

/// A session that was welcomed.
struct Session<I> {
    inbound: I,
    outbox: Outbox,
    bell: Arc<Bell>,
    standing: Standing,
    watchdog: Watchdog,
    allowance: Allowance,
    /// Before the membership: it is given up first.
    place: Place,
    presence: Presence,
    /// Since when there has been what was pushed and is not acknowledged yet.
    pushed: Option<Instant>,
    declared: usize,
    warned: [bool; Trouble::NAMES.len()],
    _membership: Membership,
}

impl<I: Inbound> Session<I> {
    fn open(
        distribution: Arc<Distribution>,
        inbound: I,
        outbox: Outbox,
        bell: Arc<Bell>,
        greeting: Greeting,
        peer: &str,
    ) -> Self {
        let Greeting {
            identity,
            known,
            refusals,
        } = greeting;
        let presence = Presence::enter(distribution, &identity, &bell);
        presence.log_begin(&identity, &known, peer);
        presence.note_held(&known, &refusals);
        let Presence {
            distribution,
            session,
            ..
        } = &presence;
        let (pace, patience, now) = (distribution.pace, distribution.patience, Instant::now());
        let (drain, age) = (patience.drain, aged(pace.max_session_age, *session));
        let watchdog = Watchdog::new(pace.heartbeat_interval, drain, age, now);
        // The queue is empty: there is room.
        outbox.try_send(Frame::welcome(
            *session,
            distribution.hub.incarnation(),
            pace,
        ));
        let hub = &distribution.hub;
        let (membership, edition) = hub.join(presence.audience(), Arc::clone(&bell));
        let doubt = doubt(&known, &edition.snapshot, hub.revision());
        let place = presence.take_place(&identity);
        let (standing, first) = Standing::new(known, refusals, edition);
        let mut opened = Self {
            inbound,
            outbox,
            bell,
            standing,
            watchdog,
            allowance: Allowance::new(now),
            place,
            presence,
            pushed: None,
            declared: 0,
            warned: Default::default(),
            _membership: membership,
        };
        if let Some(doubt) = doubt {
            opened.trouble(Trouble::DoubtfulHello, doubt);
        }
        opened.dispatch(first, None);
        opened
    }

    async fn serve(&mut self) -> End {
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            if let Err(end) = self.attend() {
                return end;
            }
            self.flush();
            let now = Instant::now();
            let until = match self.watchdog.look(now) {
                Due::End(end) => return self.expire(end),
                Due::Beat => {
                    self.beat();
                    continue;
                }
                Due::Wait(until) => until,
            };
            let spent_until = self.allowance.spent_until(now);
            let until = spent_until.map_or(until, |spent| spent.min(until));
            // An alarm that goes off too early costs less than setting it at each message.
            if alarm.is_elapsed() || alarm.deadline() > until {
                alarm.as_mut().reset(until);
            }
            let heard = tokio::select! {
                biased;
                () = self.bell.rung() => continue,
                () = alarm.as_mut() => continue,
                heard = self.inbound.next(), if spent_until.is_none() => heard,
            };
            if let Err(end) = self.heard(heard) {
                return end;
            }
        }
    }

    /// Acts upon what was left beside the bell.
    fn attend(&mut self) -> Result<(), End> {
        let News { push, resets, end } = self.bell.take();
        if let Some(end) = end {
            if end == End::Draining {
                self.drain(drain_delay(self.presence.session));
            }
            return Err(end);
        }
        if self.outbox.abandoned() {
            return Err(End::Gone);
        }
        if let Some(Push { edition, permit }) = push {
            let dispatch = self.standing.offer(edition);
            self.push(dispatch, Some(permit));
        }
        for reset in resets {
            if !self.outbox.owe_reset(reset) {
                self.trouble(
                    Trouble::LostReset,
                    "it does not read, and a reset is lost on it",
                );
            }
        }
        Ok(())
    }

    fn heard(&mut self, heard: Option<Result<Request, End>>) -> Result<(), End> {
        let request = heard.ok_or(End::Left)??;
        let now = Instant::now();
        self.watchdog.heard(now);
        self.allowance.spend(now);
        if self.allowance.spent_until(now).is_some() {
            self.trouble(Trouble::Flood, "more messages than a session may send");
        }
        self.hear(request)
    }

    /// Its time is over; a process that may come back is asked to.
    fn expire(&self, end: End) -> End {
        if let End::Retired { .. } = end {
            self.drain(Duration::ZERO);
        }
        end
    }

    fn log_end(&self, reason: &End) {
        let Presence { key, session, .. } = &self.presence;
        info!(
            session = session.0, namespace = %key.namespace, service = %key.service,
            instance = %key.instance, epoch = key.epoch.0, %reason, "session ended"
        );
    }
}

/// What is said.
impl<I: Inbound> Session<I> {
    /// Sends what there is to send, if anything; `permit` is free again once it is on its way.
    fn dispatch(&mut self, dispatch: Option<Dispatch>, permit: Option<OwnedSemaphorePermit>) {
        let tally = &self.presence.distribution.tally;
        let frame = match dispatch {
            None => return,
            Some(Dispatch::Snapshot(frame)) => {
                tally.snapshot();
                frame
            }
            Some(Dispatch::UpToDate(frame)) => {
                tally.up_to_date();
                frame
            }
        };
        self.outbox.owe_snapshot(frame, permit);
        self.watchdog.unacked(Some(Instant::now()));
    }

    /// The same for what is news, not the first word of a session.
    fn push(&mut self, dispatch: Option<Dispatch>, permit: Option<OwnedSemaphorePermit>) {
        if dispatch.is_some() {
            self.pushed = Some(self.standing.latest().since);
        }
        self.dispatch(dispatch, permit);
    }

    fn flush(&mut self) {
        if self.outbox.owes() {
            let now = Instant::now();
            if self.outbox.flush() {
                self.watchdog.spoke(now);
            }
            self.watchdog.blocked(self.outbox.owes(), now);
        }
    }

    /// A stream without room has enough to show that this server lives.
    fn beat(&mut self) {
        if !self.outbox.try_send(Frame::heartbeat()) {
            self.presence.distribution.tally.skipped_heartbeat();
        }
        self.watchdog.spoke(Instant::now());
    }

    /// Asks the process to go; if there is no room for that, the stream's end says the same.
    fn drain(&self, delay: Duration) {
        self.outbox.try_send(Frame::drain(delay));
    }
}

/// What makes a Hello hard to believe, if anything does; it is served all the same.
fn doubt(known: &Known, snapshot: &Snapshot, revision: Revision) -> Option<String> {
    if known.incarnation != Some(snapshot.incarnation) {
        return None;
    }
    let held = known.revision;
    if held > revision {
        return Some(format!(
            "it says that it holds revision {held}, this server has seen {revision}; \
             nothing is sent before that is passed"
        ));
    }
    (held == snapshot.revision && known.digest != snapshot.digest)
        .then(|| format!("what it says that it holds of revision {held} is not what that was"))
}

/// Spreads the sessions of this server over [`DRAIN_SPREAD`], so that they do not all arrive
/// elsewhere at once.
fn drain_delay(session: SessionId) -> Duration {
    DRAIN_SPREAD.mul_f64(scattered(session))
}

/// How long a session may last: up to a fifth less than `longest`, so that those that came together
/// do not leave together.
fn aged(longest: Duration, session: SessionId) -> Duration {
    longest.mul_f64(1.0 - scattered(session) / 5.0)
}

/// From 0 to 1, far apart for neighbours: multiplying by an odd constant (the golden ratio's)
/// scatters them.
fn scattered(session: SessionId) -> f64 {
    let scattered = session.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    #[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
    let share = scattered as f64 / (1_u64 << 32) as f64;
    share
}
