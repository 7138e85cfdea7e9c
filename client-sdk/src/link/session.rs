//! One session with one server, from the Hello to its end.
//!
//! A server is left when it has been silent for three heartbeat intervals, when it no longer reads,
//! when it sends what is none, and when it belongs to another store than this process does: then
//! before anything that it sends is looked at.

mod hearing;

use std::time::Duration;

use fusebox_core::revision::Incarnation;
use fusebox_proto::convert::session::{Declared, declared_to_wire, hello_to_wire};
use fusebox_proto::convert::snapshot::required_incarnation;
use fusebox_proto::convert::statistics::transition_to_wire;
use fusebox_proto::convert::time::{duration_from_wire, timestamp_from_wire};
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_proto::v1::sync_service_client::SyncServiceClient;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::allegiance::Verdict;
use super::recent::Told;
use super::route::Ending;
use super::{Event, FAREWELL, Farewell, Keeper};
use crate::clock;
use crate::enforcement::local_layers;
use crate::operation::Inner;

/// Messages that may wait for the connection.
const OUTBOX: usize = 256;
/// How long a server has to answer the Hello.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// What holds when a server's Welcome names no interval.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a server may leave a full outbox unread.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest interval a server can ask for, and the longest.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MAX_INTERVAL: Duration = Duration::from_secs(300);
/// The other side is gone after that many heartbeat intervals of silence.
const SILENT_HEARTBEATS: u32 = 3;
/// The largest message accepted: twice the largest snapshot.
const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// How a session ended, or why there was none.
pub(super) struct End {
    pub(super) ending: Ending,
    pub(super) reason: String,
}

/// The program wants the link to end.
pub(super) struct Stopped {
    farewell: Option<Farewell>,
    /// Nobody waits for the end beyond it.
    pub(super) deadline: Instant,
}

impl Stopped {
    /// Just now; `None` if nobody waits for the end.
    pub(super) fn by(farewell: Option<Farewell>) -> Self {
        Self {
            farewell,
            deadline: Instant::now() + FAREWELL,
        }
    }

    /// Tells the program that the link has ended.
    pub(super) fn answer(self) {
        if let Some(farewell) = self.farewell {
            // Nobody may be waiting any more.
            let _ = farewell.send(());
        }
    }
}

/// Why the body of a session came to an end.
enum Break {
    Lost(String),
    Drained(Duration),
}

type Flow = Result<(), Break>;

/// Runs one session with the server at that place to its end.
pub(super) async fn run(
    keeper: &mut Keeper,
    at: usize,
    server: &Endpoint,
    stop: &mut oneshot::Receiver<Farewell>,
) -> Result<End, Stopped> {
    let opened = tokio::select! {
        opened = open(keeper, at, server) => opened,
        farewell = &mut *stop => return Err(Stopped::by(farewell.ok())),
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(reason) => {
            return Ok(End {
                ending: Ending::Failed,
                reason,
            });
        }
    };
    let welcomed = Instant::now();
    let ended = tokio::select! {
        ended = session.converse() => ended,
        farewell = &mut *stop => {
            let stopped = Stopped::by(farewell.ok());
            let _ = timeout_at(stopped.deadline, session.say_farewell()).await;
            return Err(stopped);
        }
    };
    keeper.allegiance.reached(at, clock::now());
    let lasted = welcomed.elapsed();
    Ok(match ended {
        Break::Lost(reason) => End {
            ending: Ending::Lost { lasted },
            reason,
        },
        Break::Drained(delay) => End {
            ending: Ending::Drained { lasted, delay },
            reason: "the server asked to go elsewhere".into(),
        },
    })
}

struct Session<'a> {
    keeper: &'a mut Keeper,
    outbox: mpsc::Sender<v1::ConnectRequest>,
    inbound: Streaming<v1::ConnectResponse>,
    report: Interval,
    heartbeat: Interval,
    last_heard: Instant,
    /// The store that the Welcome showed and that was judged.
    shows: Incarnation,
    /// What is held is what this server has: it has said so, and has sent nothing else since.
    in_step: bool,
}

/// Connects, says Hello, waits for the Welcome and judges it.
async fn open<'a>(
    keeper: &'a mut Keeper,
    at: usize,
    server: &Endpoint,
) -> Result<Session<'a>, String> {
    let greeted = greet(keeper, server).await;
    let (outbox, inbound, welcome, shows) =
        greeted.inspect_err(|_| keeper.allegiance.missed(at))?;
    if keeper.judge(at, shows) == Verdict::Leave {
        return Err(format!(
            "it has store {shows}, and another address has the one that is followed"
        ));
    }
    keeper.reports.start_over();
    if let Some(time) = &welcome.server_time {
        let time = timestamp_from_wire(Some(time));
        keeper.enforcement.server_shows(time);
    }
    keeper.upstream.board.connected(server.uri().to_string());
    keeper.set_connected(true);
    tracing::info!(target: "fusebox", server = %server.uri(), session = welcome.session, "connected");
    Ok(Session {
        keeper,
        outbox,
        inbound,
        report: ticks(welcome.report_interval.as_ref()),
        heartbeat: ticks(welcome.heartbeat_interval.as_ref()),
        last_heard: Instant::now(),
        shows,
        in_step: false,
    })
}

type Greeted = (
    mpsc::Sender<v1::ConnectRequest>,
    Streaming<v1::ConnectResponse>,
    v1::Welcome,
    Incarnation,
);

async fn greet(keeper: &Keeper, server: &Endpoint) -> Result<Greeted, String> {
    let channel = (keeper.dial)(server.clone()).await?;
    let mut client = SyncServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (outbox, requests) = mpsc::channel(OUTBOX);
    outbox
        .try_send(request(Up::Hello(hello(keeper))))
        .map_err(|error| error.to_string())?;
    let greet = async {
        let response = client.connect(ReceiverStream::new(requests)).await?;
        let mut inbound = response.into_inner();
        let first = inbound.message().await?;
        Ok::<_, tonic::Status>((inbound, first))
    };
    let greeted = tokio::time::timeout(WELCOME_TIMEOUT, greet).await;
    let (inbound, first) = greeted
        .map_err(|_| format!("no welcome within {WELCOME_TIMEOUT:?}"))?
        .map_err(|status| describe(&status))?;
    let Some(Down::Welcome(welcome)) = first.and_then(|response| response.message) else {
        return Err("the server's first message was no welcome".into());
    };
    let shows = required_incarnation(&welcome.incarnation);
    let shows = shows.map_err(|violations| format!("bad welcome: {violations}"))?;
    Ok((outbox, inbound, welcome, shows))
}

fn hello(keeper: &Keeper) -> v1::Hello {
    let held = keeper.enforcement.held();
    hello_to_wire(&keeper.upstream.identity, &held.known, &held.refusals)
}

impl Session<'_> {
    /// Listens and reports until the session breaks.
    async fn converse(&mut self) -> Break {
        let patience = self.heartbeat.period() * SILENT_HEARTBEATS;
        let mut flow = self.introduce().await;
        loop {
            if let Err(broken) = flow {
                return broken;
            }
            flow = tokio::select! {
                // What has arrived comes first, so that a stall here is not taken for silence there.
                biased;
                message = self.inbound.message() => self.hear(message).await,
                event = self.keeper.inbox.recv() => self.tell(event).await,
                _ = self.report.tick() => self.send_report().await,
                _ = self.heartbeat.tick() => self.send(Up::Heartbeat(v1::Heartbeat {})).await,
                () = sleep_until(self.last_heard + patience) => {
                    Err(Break::Lost(format!("silent for {patience:?}")))
                }
            };
        }
    }

    /// What a server that may never have heard of this process has to know.
    async fn introduce(&mut self) -> Flow {
        for inner in self.keeper.enforcement.operations() {
            self.declare(&inner).await?;
        }
        for transition in self.keeper.recent.again(clock::now()) {
            let transition = transition_to_wire(&transition);
            self.send(Up::Transition(transition)).await?;
        }
        self.send_report().await
    }

    /// Sends what is left to tell, then waits for the server to end its side: only then has it
    /// read everything.
    async fn say_farewell(mut self) {
        while let Ok(event) = self.keeper.inbox.try_recv() {
            if self.tell(Some(event)).await.is_err() {
                return;
            }
        }
        if self.send_report().await.is_ok() {
            drop(self.outbox);
            while let Ok(Some(_)) = self.inbound.message().await {}
        }
    }

    async fn declare(&self, inner: &Inner) -> Flow {
        let declared = Declared {
            operation: inner.id.clone(),
            kind: inner.kind,
            idempotent: inner.idempotent,
            local_layers: local_layers(&inner.local).into(),
        };
        self.send(Up::OperationDeclared(declared_to_wire(&declared)))
            .await
    }

    async fn tell(&mut self, event: Option<Event>) -> Flow {
        match event {
            Some(Event::Declared(inner)) => self.declare(&inner).await,
            Some(Event::Transition {
                operation,
                number,
                transition,
            }) => {
                let told = Told {
                    operation,
                    number,
                    transition,
                };
                let report = told.report(clock::now());
                self.keeper.recent.keep(told);
                self.send(Up::Transition(transition_to_wire(&report))).await
            }
            None => Err(Break::Lost("no operation is left to speak for".into())),
        }
    }

    async fn send_report(&mut self) -> Flow {
        let operations = self.keeper.enforcement.operations();
        let report = self.keeper.reports.next(&operations);
        self.send(Up::StatsReport(report)).await
    }

    /// A server that does not read for so long is as good as gone.
    async fn send(&self, message: Up) -> Flow {
        let sent = self
            .outbox
            .send_timeout(request(message), READ_TIMEOUT)
            .await;
        sent.map_err(|_| Break::Lost("the server does not read any more".into()))
    }
}

const fn request(message: Up) -> v1::ConnectRequest {
    v1::ConnectRequest {
        message: Some(message),
    }
}

/// What a server asks for, within bounds.
fn period(wire: Option<&prost_types::Duration>) -> Duration {
    let period = wire.and_then(|period| duration_from_wire(period).ok());
    let period = period.unwrap_or(DEFAULT_INTERVAL);
    period.clamp(MIN_INTERVAL, MAX_INTERVAL)
}

/// The first after one period.
fn ticks(wire: Option<&prost_types::Duration>) -> Interval {
    let mut ticks = interval(period(wire));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

fn describe(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
