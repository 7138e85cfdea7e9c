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

mod hearing;
mod presence;

use std::sync::Arc;
use std::time::Duration;

use fusebox_core::stats::SessionId;
use fusebox_proto::convert::session::{Greeting, hello_from_wire};
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message;
use futures_core::Stream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::end::End;
use super::frame::Frame;
use super::hub::{Edition, Membership};
use super::outbox::Outbox;
use super::roll::Place;
use super::standing::{Dispatch, Standing};
use super::tally::Trouble;
use super::watchdog::{Due, Watchdog};
use super::{DRAIN_SPREAD, Distribution};
use presence::Presence;

/// What comes up a stream.
pub(crate) trait Inbound:
    Stream<Item = Result<v1::ConnectRequest, End>> + Send + Unpin
{
}

impl<S: Stream<Item = Result<v1::ConnectRequest, End>> + Send + Unpin> Inbound for S {}

/// Serves a stream until it ends.
pub(super) async fn run(
    distribution: Arc<Distribution>,
    mut inbound: impl Inbound,
    outbox: Outbox,
    peer: String,
) {
    let tally = Arc::clone(&distribution.tally);
    let (outbox, end) = match greet(&distribution, &mut inbound).await {
        Ok(greeting) => {
            let mut session = Session::open(distribution, inbound, outbox, greeting, &peer);
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
    match first.ok_or(End::Left)??.message {
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
    standing: Standing,
    watchdog: Watchdog,
    superseded: CancellationToken,
    /// Before the membership: it is given up first.
    place: Place,
    membership: Membership,
    presence: Presence,
    declared: usize,
    warned: [bool; Trouble::NAMES.len()],
}

/// Something a session must act upon.
#[expect(
    clippy::large_enum_variant,
    reason = "acted upon where it stands, never kept"
)]
enum Event {
    Heard(Option<Result<v1::ConnectRequest, End>>),
    Edition(Arc<Edition>),
    Room,
    Due,
    End(End),
}

impl<I: Inbound> Session<I> {
    fn open(
        distribution: Arc<Distribution>,
        inbound: I,
        outbox: Outbox,
        greeting: Greeting,
        peer: &str,
    ) -> Self {
        let Greeting {
            identity,
            known,
            refusals,
        } = greeting;
        let (presence, superseded) = Presence::enter(distribution, &identity);
        let Presence {
            distribution,
            key,
            session,
        } = &presence;
        info!(
            session = session.0, namespace = %key.namespace, service = %key.service,
            instance = %key.instance, epoch = key.epoch.0, sdk = identity.facts.sdk_version,
            held = known.revision.0, peer, "session begun"
        );
        presence.note_held(&known, &refusals);
        let (pace, drain) = (distribution.pace, distribution.patience.drain);
        // The queue is empty: there is room.
        outbox.try_send(Frame::welcome(
            *session,
            distribution.hub.incarnation(),
            pace,
        ));
        let (membership, edition) = distribution.hub.join(presence.audience());
        let place = presence.take_place(&identity);
        let (standing, first) = Standing::new(known, refusals, edition);
        let mut opened = Self {
            inbound,
            outbox,
            standing,
            watchdog: Watchdog::new(pace.heartbeat_interval, drain, Instant::now()),
            superseded,
            place,
            membership,
            presence,
            declared: 0,
            warned: Default::default(),
        };
        opened.dispatch(first);
        opened.flush();
        opened
    }

    async fn serve(&mut self) -> End {
        loop {
            let until = match self.watchdog.look(Instant::now()) {
                Due::End(end) => return end,
                Due::Beat => {
                    self.beat();
                    continue;
                }
                Due::Wait(until) => until,
            };
            let event = self.event(until).await;
            if let Err(end) = self.act(event) {
                return end;
            }
            self.flush();
        }
    }

    async fn event(&mut self, until: Instant) -> Event {
        let stop = &self.presence.distribution.stop;
        tokio::select! {
            () = stop.cancelled() => Event::End(End::Draining),
            () = self.superseded.cancelled() => Event::End(End::Superseded),
            () = self.outbox.abandoned() => Event::End(End::Gone),
            () = sleep_until(until) => Event::Due,
            () = self.outbox.room(), if self.outbox.owes() => Event::Room,
            edition = self.membership.next() => Event::Edition(edition),
            heard = self.inbound.next() => Event::Heard(heard),
        }
    }

    fn act(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::End(End::Draining) => {
                self.drain();
                Err(End::Draining)
            }
            Event::End(end) => Err(end),
            Event::Heard(None) => Err(End::Left),
            Event::Heard(Some(request)) => self.hear(request?.message),
            Event::Edition(edition) => {
                let dispatch = self.standing.offer(edition);
                self.dispatch(dispatch);
                Ok(())
            }
            // Flushing and the watchdog come after every event.
            Event::Room | Event::Due => Ok(()),
        }
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
    fn dispatch(&mut self, dispatch: Option<Dispatch>) {
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
        self.outbox.owe_snapshot(frame);
        self.watchdog.unacked(Some(Instant::now()));
    }

    fn flush(&mut self) {
        let now = Instant::now();
        if self.outbox.flush() {
            self.watchdog.spoke(now);
        }
        self.watchdog.blocked(self.outbox.owes(), now);
    }

    /// A stream without room has enough to show that this server lives.
    fn beat(&mut self) {
        if !self.outbox.try_send(Frame::heartbeat()) {
            self.presence.distribution.tally.skipped_heartbeat();
        }
        self.watchdog.spoke(Instant::now());
    }

    /// Asks the process to go; if there is no room for that, the stream's end says the same.
    fn drain(&self) {
        self.outbox
            .try_send(Frame::drain(drain_delay(self.presence.session)));
    }
}

/// Spreads the sessions of this server over [`DRAIN_SPREAD`], so that they do not all arrive
/// elsewhere at once. Multiplying by an odd constant (the golden ratio's) scatters neighbours.
fn drain_delay(session: SessionId) -> Duration {
    let scattered = session.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let spread = u64::try_from(DRAIN_SPREAD.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(scattered % spread.max(1))
}
