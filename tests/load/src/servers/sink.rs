//! A bare tonic server that takes reports and acknowledges them: what they cost before any is counted.
//!
//! It is told the bytes that ours is told, at the same path. Either it looks at a message's first
//! byte alone, which tells a report from the rest, or it decodes the message whole.

use std::convert::Infallible;
use std::env;
use std::future::{Ready, ready};
use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_tests::ports;
use fusebox_tests::process::{Process, hermetic};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(30);
/// Answers that may wait for a client.
const QUEUE: usize = 8;
/// What the process prints once it listens.
const READY: &str = "listening";
/// How a `ConnectRequest` that is a report begins: its field 5, a message.
const REPORT: u8 = 5 << 3 | 2;

/// The process.
pub(crate) struct Sink {
    process: Process,
    addr: SocketAddr,
}

impl Sink {
    pub(crate) fn start(decode: bool) -> Result<Self> {
        let addr = ports::free_addr();
        let mut command = Command::new(env::current_exe()?);
        hermetic(&mut command)
            .arg("sink-server")
            .arg(addr.to_string());
        if decode {
            command.arg("--decode");
        }
        let process = Process::spawn_with_open_input("sink-server", &mut command);
        process.wait_for_line(READY, PATIENCE);
        Ok(Self { process, addr })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The process's own side: serves until its standard input ends.
pub(crate) fn serve(addr: SocketAddr, decode: bool) -> Result<()> {
    let runtime = Runtime::new()?;
    let incoming = runtime.block_on(tokio::net::TcpListener::bind(addr))?;
    let incoming = tonic::transport::server::TcpIncoming::from(incoming).with_nodelay(Some(true));
    let router = tonic::transport::Server::builder().add_service(SinkService { decode });
    runtime.spawn(router.serve_with_incoming(incoming));
    println!("{READY}");
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[derive(Clone, Copy)]
struct SinkService {
    decode: bool,
}

impl NamedService for SinkService {
    const NAME: &'static str = "fusebox.v1.SyncService";
}

impl Service<http::Request<Body>> for SinkService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let connect = *self;
        Box::pin(async move { Ok(Grpc::new(Opaque).streaming(connect, request).await) })
    }
}

type Replies = ReceiverStream<std::result::Result<Vec<u8>, Status>>;

impl StreamingService<Bytes> for SinkService {
    type Response = Vec<u8>;
    type ResponseStream = Replies;
    type Future = Ready<std::result::Result<Response<Replies>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(take(request.into_inner(), sender, self.decode));
        ready(Ok(Response::new(ReceiverStream::new(receiver))))
    }
}

/// Lets a client in, and acknowledges its reports, until either side ends.
async fn take(
    mut inbound: Streaming<Bytes>,
    replies: mpsc::Sender<std::result::Result<Vec<u8>, Status>>,
    decode: bool,
) {
    let up_to_date = v1::UpToDate {
        incarnation: vec![1; 16],
        revision: 1,
    };
    let mut reply = Some(Down::UpToDate(up_to_date));
    let mut reports = 0;
    while let Ok(Some(message)) = inbound.message().await {
        let number = if decode {
            match v1::ConnectRequest::decode(message) {
                Ok(request) => match request.message {
                    Some(Up::StatsReport(report)) => Some(report.number),
                    _ => None,
                },
                Err(_) => return,
            }
        } else {
            (message.first() == Some(&REPORT)).then_some(reports + 1)
        };
        if let Some(number) = number {
            reports = number;
            reply = Some(Down::ReportAck(v1::ReportAck {
                number,
                ..v1::ReportAck::default()
            }));
        }
        if let Some(message) = reply.take() {
            let message = Some(message);
            let bytes = v1::ConnectResponse { message }.encode_to_vec();
            if replies.send(Ok(bytes)).await.is_err() {
                return;
            }
        }
    }
}

/// Messages as the bytes that they are.
struct Opaque;

impl Codec for Opaque {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Opaque {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(
        &mut self,
        item: Vec<u8>,
        out: &mut EncodeBuf<'_>,
    ) -> std::result::Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> std::result::Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}
