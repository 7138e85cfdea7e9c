//! A real etcd, and as much of its client as a put takes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fusebox_tests::process::{Process, hermetic};
use fusebox_tests::wait::eventually;
use fusebox_tests::{http, ports};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::Result;
use crate::load::Writer;
use crate::ours::connections;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running etcd of one node. Dropping it kills it.
pub(crate) struct Etcd {
    process: Process,
    addr: SocketAddr,
}

impl Etcd {
    /// Starts one that keeps its data there.
    pub(crate) fn start(data: &Path) -> Self {
        let (addr, peers) = (ports::free_addr(), ports::free_addr());
        let (client, peer) = (format!("http://{addr}"), format!("http://{peers}"));
        let mut command = Command::new("etcd");
        hermetic(&mut command).arg("--data-dir").arg(data);
        command.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let process = Process::spawn("etcd", &mut command);
        eventually("a healthy etcd", PATIENCE, || {
            let answer = http::get(addr, "/health").ok()?;
            (answer.status == 200).then_some(())
        });
        Self { process, addr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// So many writers over so many connections, each with a key of its own, of values that long.
    pub(crate) async fn writers(
        &self,
        writers: usize,
        over: usize,
        value_bytes: usize,
    ) -> Result<Vec<Putter>> {
        let channels = connections(self.addr, over).await?;
        let writer = |index: usize| Putter {
            client: Grpc::new(channels[index % over].clone()),
            key: format!("/policies/default/policy-{index}").into_bytes(),
            value_bytes,
        };
        Ok((0..writers).map(writer).collect())
    }
}

/// `etcdserverpb.PutRequest`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`; what it says is passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// Writes one key.
pub(crate) struct Putter {
    client: Grpc<Channel>,
    key: Vec<u8>,
    value_bytes: usize,
}

impl Writer for Putter {
    async fn write(&mut self, turn: u64) -> std::result::Result<(), Status> {
        let mut value = vec![b'x'; self.value_bytes];
        value[..8].copy_from_slice(&turn.to_be_bytes());
        let key = self.key.clone();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        let ready = self.client.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Request::new(PutRequest { key, value });
        self.client.unary(request, path, codec).await.map(drop)
    }
}
