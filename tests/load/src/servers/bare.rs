//! A stream of tonic's and nothing else: what a push costs before anything of ours is in it.
//!
//! Per stream a channel, its receiver as the response, and a task that reads what comes in, as
//! tonic's own examples have it.

use std::convert::Infallible;
use std::env;
use std::future::{Ready, ready};
use std::io::BufRead;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fusebox_tests::lines::Lines;
use fusebox_tests::ports;
use fusebox_tests::process::{Process, hermetic};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{PAYLOAD_BYTES, Server, Written};
use crate::Result;
use crate::dialect::{Dialect, Pushed, Received};

const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that may wait for a client.
const QUEUE: usize = 8;
/// What the process prints once it listens.
const READY: &str = "listening";

/// The process.
pub(crate) struct Bare {
    process: Process,
    addr: SocketAddr,
    revision: u64,
}

impl Bare {
    pub(crate) fn start() -> Result<Self> {
        let addr = ports::free_addr();
        let mut command = Command::new(env::current_exe()?);
        hermetic(&mut command)
            .arg("bare-server")
            .arg(addr.to_string());
        let process = Process::spawn_with_open_input("bare-server", &mut command);
        process.wait_for_line(READY, PATIENCE);
        Ok(Self {
            process,
            addr,
            revision: 0,
        })
    }
}

impl Server for Bare {
    fn name(&self) -> &'static str {
        "bare tonic"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn dialect(&self) -> Dialect {
        Dialect::Bare
    }

    fn printed(&self) -> &Lines {
        self.process.lines()
    }

    fn push(&mut self) -> Result<Written> {
        self.revision += 1;
        let sent = Instant::now();
        self.process.write_line(&self.revision.to_string());
        self.process.wait_for_line(&pushed(self.revision), PATIENCE);
        Ok(Written {
            revision: self.revision,
            sent,
            answered: Instant::now(),
            known: None,
        })
    }
}

/// What the process prints once a push is with every stream.
fn pushed(revision: u64) -> String {
    format!("pushed {revision}.")
}

/// The process's own side: serves until its standard input ends, each line of which is a revision
/// to push.
pub(crate) fn serve(addr: SocketAddr) -> Result<()> {
    let runtime = Runtime::new()?;
    let streams = Arc::new(Streams::default());
    let service = BareService(Arc::clone(&streams));
    let incoming = runtime.block_on(tokio::net::TcpListener::bind(addr))?;
    let incoming = tonic::transport::server::TcpIncoming::from(incoming).with_nodelay(Some(true));
    let router = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(router.serve_with_incoming(incoming));
    println!("{READY}");
    for line in std::io::stdin().lock().lines() {
        let revision = line?.parse()?;
        runtime.block_on(streams.push(revision));
        println!("{}", pushed(revision));
    }
    Ok(())
}

/// The open streams, and what their clients acknowledged.
#[derive(Default)]
struct Streams {
    senders: Mutex<Vec<mpsc::Sender<std::result::Result<Pushed, Status>>>>,
    acknowledged: AtomicU64,
}

impl Streams {
    async fn push(&self, revision: u64) {
        let senders = {
            let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
            senders.retain(|sender| !sender.is_closed());
            senders.clone()
        };
        for sender in senders {
            let payload = vec![b'x'; PAYLOAD_BYTES];
            // An error says that the client has left.
            sender.send(Ok(Pushed { revision, payload })).await.ok();
        }
    }
}

#[derive(Clone)]
struct BareService(Arc<Streams>);

impl NamedService for BareService {
    const NAME: &'static str = "load.Bare";
}

impl Service<http::Request<Body>> for BareService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let connect = Connect(Arc::clone(&self.0));
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Pushed, Received>::default());
            Ok(grpc.streaming(connect, request).await)
        })
    }
}

/// The method.
struct Connect(Arc<Streams>);

type Replies = ReceiverStream<std::result::Result<Pushed, Status>>;

impl StreamingService<Received> for Connect {
    type Response = Pushed;
    type ResponseStream = Replies;
    type Future = Ready<std::result::Result<Response<Replies>, Status>>;

    fn call(&mut self, request: Request<Streaming<Received>>) -> Self::Future {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut senders = self
            .0
            .senders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        senders.push(sender);
        drop(senders);
        let (mut inbound, streams) = (request.into_inner(), Arc::clone(&self.0));
        tokio::spawn(async move {
            while let Ok(Some(_received)) = inbound.message().await {
                // Relaxed: a count, read by nobody who needs more.
                streams.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
        ready(Ok(Response::new(ReceiverStream::new(receiver))))
    }
}
