//! A real etcd of one node, and one key of it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusebox_tests::lines::Lines;
use fusebox_tests::process::{Process, hermetic};
use fusebox_tests::wait::poll;
use fusebox_tests::{http, ports};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::{DIES_WITH_US, PAYLOAD_BYTES, Server, Written};
use crate::Result;
use crate::dialect::Dialect;

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "/policies/default/for-all";

/// A running etcd. Dropping it kills it.
pub(crate) struct Etcd {
    process: Process,
    addr: SocketAddr,
    client: Grpc<Channel>,
    runtime: Arc<Runtime>,
    turn: u64,
    /// Removed after the process.
    _data: TempDir,
}

impl Etcd {
    pub(crate) fn start(runtime: &Arc<Runtime>) -> Result<Self> {
        let data = crate::directory()?;
        let (addr, peers) = (ports::free_addr(), ports::free_addr());
        let (client, peer) = (format!("http://{addr}"), format!("http://{peers}"));
        let cluster = format!("default={peer}");
        let [first, words @ ..] = DIES_WITH_US;
        let mut command = Command::new(first);
        hermetic(&mut command).args(words).arg("etcd");
        command.arg("--data-dir").arg(data.path());
        command.args(
            [
                ["--listen-client-urls", &client],
                ["--advertise-client-urls", &client],
                ["--listen-peer-urls", &peer],
                ["--initial-advertise-peer-urls", &peer],
                ["--initial-cluster", &cluster],
            ]
            .concat(),
        );
        let process = Process::spawn("etcd", &mut command);
        let healthy = || http::get(addr, "/health").is_ok_and(|answer| answer.status == 200);
        poll(PATIENCE, || healthy().then_some(()))
            .ok_or_else(|| format!("waited {PATIENCE:?} for a healthy etcd"))?;
        let endpoint = Endpoint::from_shared(client)?.tcp_nodelay(true);
        let channel = runtime.block_on(endpoint.connect())?;
        Ok(Self {
            process,
            addr,
            client: Grpc::new(channel),
            runtime: Arc::clone(runtime),
            turn: 0,
            _data: data,
        })
    }
}

impl Server for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn dialect(&self) -> Dialect {
        Dialect::Etcd { key: KEY }
    }

    fn printed(&self) -> &Lines {
        self.process.lines()
    }

    fn push(&mut self) -> Result<Written> {
        self.turn += 1;
        let mut value = vec![b'x'; PAYLOAD_BYTES];
        value[..8].copy_from_slice(&self.turn.to_be_bytes());
        let sent = Instant::now();
        let answer = self.runtime.block_on(async {
            let put = put(&mut self.client, value);
            tokio::time::timeout(PATIENCE, put).await
        });
        let answered = Instant::now();
        let answer = answer.map_err(|_| format!("waited {PATIENCE:?} for a put's answer"))??;
        Ok(Written {
            revision: answer.header.unwrap_or_default().revision,
            sent,
            answered,
            known: None,
        })
    }
}

async fn put(
    client: &mut Grpc<Channel>,
    value: Vec<u8>,
) -> std::result::Result<PutResponse, Status> {
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let key = KEY.as_bytes().to_vec();
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let codec = ProstCodec::<PutRequest, PutResponse>::default();
    let answer = client.unary(Request::new(PutRequest { key, value }), path, codec);
    answer.await.map(tonic::Response::into_inner)
}

/// `etcdserverpb.PutRequest`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`, likewise.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

/// `etcdserverpb.ResponseHeader`, likewise; a revision is an int64 there, and never below zero.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "3")]
    revision: u64,
}
