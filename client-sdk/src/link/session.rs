//! One session with one server, from the Hello to its end.

use std::time::Duration;

use fusebox_core::outcome::Transition;
use fusebox_core::revision::Revision;
use fusebox_core::stats::TransitionReport;
use fusebox_core::sync::{Applied, Ignored};
use fusebox_proto::convert::session::{Declared, declared_to_wire, hello_to_wire, refusal_to_wire};
use fusebox_proto::convert::snapshot::{required_incarnation, snapshot_from_wire};
use fusebox_proto::convert::statistics::transition_to_wire;
use fusebox_proto::convert::time::duration_from_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_proto::v1::sync_service_client::SyncServiceClient;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::{Event, FAREWELL, Farewell, Keeper, Status};
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
/// The shortest interval a server can ask for.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// The other side is gone after that many heartbeat intervals of silence.
const SILENT_HEARTBEATS: u32 = 3;
/// The largest message accepted: twice the largest snapshot.
const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// How a session ended.
pub(super) struct End {
    /// How long it was up; `None` if the server never accepted it.
    pub(super) lasted: Option<Duration>,
    pub(super) reason: String,
    /// When the server wants it back.
    pub(super) retry_after: Option<Duration>,
}

/// The program wants the link to end.
pub(super) struct Stopped(Option<Farewell>);

impl Stopped {
    /// Tells the program that the link has ended.
    pub(super) fn answer(self) {
        if let Some(farewell) = self.0 {
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

/// Runs one session to its end.
pub(super) async fn run(
    keeper: &mut Keeper,
    server: &Endpoint,
    stop: &mut oneshot::Receiver<Farewell>,
) -> Result<End, Stopped> {
    let opened = tokio::select! {
        opened = open(keeper, server) => opened,
        farewell = &mut *stop => return Err(Stopped(farewell.ok())),
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(reason) => {
            return Ok(End {
                lasted: None,
                reason,
                retry_after: None,
            });
        }
    };
    let connected_to = Some(server.uri().to_string());
    session.keeper.set_status(Status {
        connected_to,
        last_problem: None,
    });
    session.keeper.enforcement.context().metrics.connected(true);
    let welcomed = Instant::now();
    let ended = tokio::select! {
        ended = session.converse() => ended,
        farewell = &mut *stop => {
            // Whoever waits for the farewell waits no longer than this.
            let _ = tokio::time::timeout(FAREWELL, session.say_farewell()).await;
            return Err(Stopped(farewell.ok()));
        }
    };
    let (reason, retry_after) = match ended {
        Break::Lost(reason) => (reason, None),
        Break::Drained(delay) => ("the server asked to go elsewhere".into(), Some(delay)),
    };
    Ok(End {
        lasted: Some(welcomed.elapsed()),
        reason,
        retry_after,
    })
}

struct Session<'a> {
    keeper: &'a mut Keeper,
    outbox: mpsc::Sender<v1::ConnectRequest>,
    inbound: Streaming<v1::ConnectResponse>,
    report: Interval,
    heartbeat: Interval,
    last_heard: Instant,
}

/// Connects, says Hello and waits for the Welcome.
async fn open<'a>(keeper: &'a mut Keeper, server: &Endpoint) -> Result<Session<'a>, String> {
    let channel = server.connect().await.map_err(|error| full_text(&error))?;
    let mut client = SyncServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (outbox, requests) = mpsc::channel(OUTBOX);
    outbox
        .try_send(request(Up::Hello(hello(keeper))))
        .map_err(|error| error.to_string())?;
    let open = async {
        let response = client.connect(ReceiverStream::new(requests)).await?;
        let mut inbound = response.into_inner();
        let first = inbound.message().await?;
        Ok::<_, tonic::Status>((inbound, first))
    };
    let opened = tokio::time::timeout(WELCOME_TIMEOUT, open).await;
    let (inbound, first) = opened
        .map_err(|_| format!("no welcome within {WELCOME_TIMEOUT:?}"))?
        .map_err(|status| describe(&status))?;
    let Some(Down::Welcome(welcome)) = first.and_then(|response| response.message) else {
        return Err("the server's first message was no welcome".into());
    };
    keeper.reports.start_over();
    tracing::info!(target: "fusebox", server = %server.uri(), session = welcome.session, "connected");
    Ok(Session {
        keeper,
        outbox,
        inbound,
        report: ticks(welcome.report_interval.as_ref()),
        heartbeat: ticks(welcome.heartbeat_interval.as_ref()),
        last_heard: Instant::now(),
    })
}

fn hello(keeper: &Keeper) -> v1::Hello {
    let held = keeper.enforcement.held();
    hello_to_wire(&keeper.upstream.identity, &held.known, &held.refusals)
}

impl Session<'_> {
    /// Listens and reports until the session breaks.
    async fn converse(&mut self) -> Break {
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
                _ = self.heartbeat.tick() => self.beat().await,
            };
        }
    }

    /// What a server that may never have heard of this process has to know.
    async fn introduce(&mut self) -> Flow {
        for inner in self.keeper.enforcement.operations() {
            self.declare(&inner).await?;
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

    async fn hear(&mut self, message: Result<Option<v1::ConnectResponse>, tonic::Status>) -> Flow {
        self.last_heard = Instant::now();
        let response = message.map_err(|status| Break::Lost(describe(&status)))?;
        let response = response.ok_or_else(|| Break::Lost("the server ended the stream".into()))?;
        match response.message {
            Some(Down::Snapshot(snapshot)) => self.take_over(snapshot).await,
            Some(Down::UpToDate(current)) => self.confirm(&current).await,
            Some(Down::Drain(drain)) => {
                let delay = drain
                    .delay
                    .as_ref()
                    .and_then(|delay| duration_from_wire(delay).ok());
                Err(Break::Drained(delay.unwrap_or_default()))
            }
            // A message this SDK does not know is for a newer one.
            Some(Down::Welcome(_) | Down::ReportAck(_) | Down::Heartbeat(_)) | None => Ok(()),
        }
    }

    async fn take_over(&mut self, snapshot: v1::Snapshot) -> Flow {
        let received = match snapshot_from_wire(&snapshot) {
            Ok(received) => received,
            Err(violations) => return Err(Break::Lost(format!("bad snapshot: {violations}"))),
        };
        match self.keeper.enforcement.receive(received) {
            Ok(applied) => {
                let acknowledged = self.acknowledge(&applied).await;
                // Even if the server has just gone: it is in force, and will not be sent again.
                self.keep(snapshot);
                acknowledged
            }
            Err(ignored) => self.pass_over(&ignored),
        }
    }

    async fn confirm(&mut self, current: &v1::UpToDate) -> Flow {
        let incarnation = required_incarnation(&current.incarnation)
            .map_err(|violations| Break::Lost(format!("bad up-to-date: {violations}")))?;
        match self
            .keeper
            .enforcement
            .confirm(incarnation, Revision(current.revision))
        {
            Ok(applied) => {
                self.send(Up::Ack(v1::Ack {
                    revision: applied.revision.0,
                }))
                .await
            }
            Err(ignored) => self.pass_over(&ignored),
        }
    }

    /// Tells what is not enforced, then that the rest is.
    async fn acknowledge(&mut self, applied: &Applied) -> Flow {
        let revision = applied.revision.0;
        let refusals = self.keeper.enforcement.held().refusals;
        for refusal in &refusals {
            tracing::error!(
                target: "fusebox",
                policy = refusal.policy, field = refusal.field, reason = refusal.reason, revision,
                "cannot enforce a policy; its last good version stays"
            );
        }
        if applied.new_incarnation {
            tracing::warn!(target: "fusebox", revision, "the server's store is another one now; followed");
        }
        self.keeper
            .enforcement
            .context()
            .metrics
            .config_update(refusals.is_empty());
        if !refusals.is_empty() {
            let refusals = refusals.iter().map(refusal_to_wire).collect();
            self.send(Up::Nack(v1::Nack { revision, refusals })).await?;
        }
        self.send(Up::Ack(v1::Ack { revision })).await
    }

    /// What was held stays in force. It is not acknowledged, so the server sees it, too, and ends
    /// the session in time.
    fn pass_over(&self, ignored: &Ignored) -> Flow {
        tracing::error!(target: "fusebox", reason = %ignored, "passed over a snapshot");
        self.keeper.note_problem(ignored.to_string());
        Ok(())
    }

    fn keep(&self, snapshot: v1::Snapshot) {
        let Some(cache) = &self.keeper.upstream.cache else {
            return;
        };
        let stand_ins = self.keeper.enforcement.stand_ins();
        if let Err(error) = cache.save(snapshot, &stand_ins) {
            let path = cache.path().display();
            tracing::error!(target: "fusebox", %path, %error, "cannot write the policies down");
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
                let Transition {
                    at,
                    from,
                    to,
                    cause,
                } = transition;
                let report = TransitionReport {
                    operation,
                    number,
                    from,
                    to,
                    cause: cause.to_string(),
                    age: clock::now().since(at),
                };
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

    async fn beat(&mut self) -> Flow {
        let patience = self.heartbeat.period() * SILENT_HEARTBEATS;
        if self.last_heard.elapsed() > patience {
            return Err(Break::Lost(format!("silent for {patience:?}")));
        }
        self.send(Up::Heartbeat(v1::Heartbeat {})).await
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

fn ticks(period: Option<&prost_types::Duration>) -> Interval {
    let period = period.and_then(|period| duration_from_wire(period).ok());
    let mut ticks = interval(period.unwrap_or(DEFAULT_INTERVAL).max(MIN_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

fn describe(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// An error with its causes, which is where transport errors keep what happened.
fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
