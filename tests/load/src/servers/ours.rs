//! The real `fusebox serve`, and an operator of it.

mod policy;
mod proof;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fusebox_tests::lines::Lines;
use fusebox_tests::server::{Options, Server as Process};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use super::{DIES_WITH_US, Server, Written};
use crate::Result;
use crate::dialect::Dialect;

pub(crate) use policy::Target;
pub(crate) use proof::Proof;
pub(crate) use writer::Writer;

/// The clients are spread over so many services.
pub(crate) const SERVICES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of ours, with a directory of its own.
pub(crate) struct Ours {
    process: Process,
    writer: Writer,
    /// Removed after the server.
    _data: TempDir,
}

impl Ours {
    /// Starts one that holds a policy for all already.
    pub(crate) fn start(runtime: &Arc<Runtime>) -> Result<Self> {
        let data = crate::directory()?;
        let options = Options::new()
            .data_dir(data.path())
            .inside(DIES_WITH_US.map(Into::into).to_vec())
            .ready_within(PATIENCE);
        let process = Process::start(options);
        let mut writer = Writer::connect(runtime, process.grpc_addr())?;
        writer.write(Target::All)?;
        Ok(Self {
            process,
            writer,
            _data: data,
        })
    }

    pub(crate) fn write(&mut self, target: Target) -> Result<Written> {
        self.writer.write(target)
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server for Ours {
    fn name(&self) -> &'static str {
        "fusebox"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn addr(&self) -> SocketAddr {
        self.process.grpc_addr()
    }

    fn dialect(&self) -> Dialect {
        Dialect::Fusebox { services: SERVICES }
    }

    fn printed(&self) -> &Lines {
        self.process.lines()
    }

    fn push(&mut self) -> Result<Written> {
        self.write(Target::All)
    }
}

fn connect(runtime: &Runtime, addr: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
    Ok(runtime.block_on(endpoint.tcp_nodelay(true).connect())?)
}
