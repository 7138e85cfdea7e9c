//! A network of pipes with servers that do as the test says, so that paused time drives both ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, PolicyId};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::revision::{Digest, Revision};
use fusebox_proto::convert::policy::policy_to_wire;
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_proto::v1::sync_service_server::{SyncService, SyncServiceServer};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::super::dial::{Dial, full_text};

const PIPE_BYTES: usize = 1 << 16;
const DAY: Duration = Duration::from_secs(86_400);

/// Who answers where.
#[derive(Clone, Default)]
pub(super) struct Net(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    frozen: watch::Sender<bool>,
    up: HashMap<String, mpsc::UnboundedSender<DuplexStream>>,
    dials: Vec<(String, Instant)>,
}

impl Net {
    /// A server at that host. While nobody accepts its streams, they wait.
    pub(super) fn serve(&self, host: &str) -> Streams {
        let (streams, accepted) = mpsc::unbounded_channel();
        let mut pipes = UnboundedReceiverStream::new(self.listen(host));
        tokio::spawn(async move {
            // Each connection in a task of its own, as over TCP.
            while let Some(pipe) = pipes.next().await {
                let service = SyncServiceServer::new(Service(streams.clone()));
                let one = tokio_stream::once(Ok::<_, std::io::Error>(pipe));
                let end = tokio_stream::pending();
                let serving = Server::builder().add_service(service);
                tokio::spawn(serving.serve_with_incoming(one.chain(end)));
            }
        });
        Streams(accepted)
    }

    /// Somebody at that host who accepts connections and says nothing.
    pub(super) fn listen(&self, host: &str) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (pipes, accepted) = mpsc::unbounded_channel();
        self.0.lock().unwrap().up.insert(host.into(), pipes);
        accepted
    }

    /// Nobody listens there any more.
    pub(super) fn shut(&self, host: &str) {
        self.0.lock().unwrap().up.remove(host);
    }

    /// From now on no byte arrives anywhere, and no end of a connection does.
    pub(super) fn freeze(&self) {
        self.0.lock().unwrap().frozen.send_replace(true);
    }

    /// Whom the link has dialled so far, and when.
    pub(super) fn dials(&self) -> Vec<(String, Instant)> {
        self.0.lock().unwrap().dials.clone()
    }

    /// How the link reaches it.
    pub(super) fn dial(&self) -> Dial {
        let net = self.clone();
        Box::new(move |server| {
            let pipe = net.pipe(server.uri().host().unwrap());
            Box::pin(async move { connect(server, pipe?).await })
        })
    }

    fn pipe(&self, host: &str) -> Result<DuplexStream, String> {
        let mut places = self.0.lock().unwrap();
        places.dials.push((host.into(), Instant::now()));
        let server = places.up.get(host).ok_or("connection refused")?;
        let (near, wire) = tokio::io::duplex(PIPE_BYTES);
        let (far_wire, far) = tokio::io::duplex(PIPE_BYTES);
        server.send(far).map_err(|_| "connection refused")?;
        tokio::spawn(carry(wire, far_wire, places.frozen.subscribe()));
        Ok(near)
    }
}

async fn carry(mut one: DuplexStream, mut other: DuplexStream, mut frozen: watch::Receiver<bool>) {
    let freezes = async {
        let _ = frozen.wait_for(|frozen| *frozen).await;
    };
    let ended = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut one, &mut other) => true,
        () = freezes => false,
    };
    if !ended {
        // Both ends stay open, for ever.
        std::future::pending::<()>().await;
    }
}

async fn connect(server: Endpoint, pipe: DuplexStream) -> Result<Channel, String> {
    let pipe = Arc::new(Mutex::new(Some(pipe)));
    let connector = tower::service_fn(move |_| {
        let pipe = pipe.lock().unwrap().take().map(TokioIo::new);
        async { pipe.ok_or_else(|| std::io::Error::other("the pipe is used up")) }
    });
    let connected = server.connect_with_connector(connector).await;
    connected.map_err(|error| full_text(&error))
}

/// The streams that processes open to a server.
pub(super) struct Streams(mpsc::UnboundedReceiver<Stream>);

/// One of them, from the server's side. Dropping it ends it.
pub(super) struct Stream {
    up: Streaming<v1::ConnectRequest>,
    down: mpsc::Sender<Result<v1::ConnectResponse, Status>>,
}

impl Streams {
    /// The next one, as it is.
    pub(super) async fn next(&mut self) -> Stream {
        let next = tokio::time::timeout(DAY, self.0.recv()).await;
        next.expect("nobody has come in a day").unwrap()
    }

    /// The next one, welcomed after its Hello.
    pub(super) async fn welcome(&mut self, incarnation: u8, heartbeat: Duration) -> Stream {
        self.welcome_showing(vec![incarnation; 16], heartbeat).await
    }

    pub(super) async fn welcome_showing(
        &mut self,
        incarnation: Vec<u8>,
        heartbeat: Duration,
    ) -> Stream {
        let mut stream = self.next().await;
        assert!(matches!(stream.hear().await, Some(Up::Hello(_))));
        let interval = Some(duration_to_wire(heartbeat));
        let welcome = v1::Welcome {
            session: 1,
            incarnation,
            heartbeat_interval: interval,
            report_interval: interval,
            ..v1::Welcome::default()
        };
        stream.say(Down::Welcome(welcome)).await;
        stream
    }
}

impl Stream {
    pub(super) async fn say(&self, message: Down) {
        let message = Some(message);
        // Whoever has left hears nothing.
        let _ = self.down.send(Ok(v1::ConnectResponse { message })).await;
    }

    pub(super) async fn refuse(self, status: Status) {
        self.down.send(Err(status)).await.unwrap();
    }

    /// The next message; `None` once the process has left.
    pub(super) async fn hear(&mut self) -> Option<Up> {
        self.up.message().await.ok().flatten()?.message
    }

    /// Passes over all else until the process acknowledges; `None` if it leaves before.
    pub(super) async fn hear_ack(&mut self) -> Option<u64> {
        loop {
            if let Up::Ack(ack) = self.hear().await? {
                return Some(ack.revision);
            }
        }
    }

    /// Keeps the session alive for so long, and hears whatever comes.
    pub(super) async fn beat(&mut self, interval: Duration, beats: u32) {
        for _ in 0..beats {
            self.say(Down::Heartbeat(v1::Heartbeat {})).await;
            let silence = tokio::time::sleep(interval);
            tokio::pin!(silence);
            loop {
                tokio::select! {
                    () = &mut silence => break,
                    heard = self.hear() => assert!(heard.is_some(), "the process has left"),
                }
            }
        }
    }
}

struct Service(mpsc::UnboundedSender<Stream>);

#[tonic::async_trait]
impl SyncService for Service {
    type ConnectStream = ReceiverStream<Result<v1::ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (down, sent) = mpsc::channel(16);
        let up = request.into_inner();
        let stream = Stream { up, down };
        self.0
            .send(stream)
            .map_err(|_| Status::unavailable("shut"))?;
        Ok(Response::new(ReceiverStream::new(sent)))
    }
}

/// A snapshot with one policy, by which every operation makes that many attempts.
pub(super) fn attempts(incarnation: u8, revision: u64, most: u32) -> v1::Snapshot {
    let id = PolicyId::new("default", "all").unwrap();
    let mut rules = Rules::default();
    rules.retry.max_attempts = Some(most);
    let everything = Some(Glob::new("*").unwrap());
    let policy = Policy::new(Draft {
        id: id.clone(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(None, everything, None, Labels::default()).unwrap(),
        rules,
        clear: Vec::new(),
    });
    let wire = v1::Policy {
        revision,
        ..policy_to_wire(&policy.unwrap())
    };
    v1::Snapshot {
        overrides: Vec::new(),
        incarnation: vec![incarnation; 16],
        revision,
        digest: Digest::of([(&id, Revision(revision))]).0,
        policies: vec![wire],
        adopted: false,
    }
}
