//! A real OTLP receiver, and what it was sent.
//!
//! It speaks HTTP with protobuf and prints each span, metric and log record as a line of JSON.
//! Resource and scope are not printed: a test that cares for them needs another witness.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lines::{Line, Stream};
use crate::process::Process;
use crate::{ports, tools};

const START: Duration = Duration::from_secs(30);
const PORT_TRIES: usize = 5;

/// A running receiver. Dropping it ends it.
pub struct OtelTap {
    process: Process,
    addr: SocketAddr,
}

impl OtelTap {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let started = (0..PORT_TRIES).find_map(|_| Self::try_start());
        started.unwrap_or_else(|| panic!("oteltap started on none of {PORT_TRIES} ports"))
    }

    fn try_start() -> Option<Self> {
        let addr = ports::free_addr();
        let mut command = Command::new(tools::oteltap());
        command.arg("--port").arg(addr.port().to_string());
        // Otherwise it says that it listens only when some buffer is full.
        command.env("PYTHONUNBUFFERED", "1");
        let process = Process::spawn("oteltap", &mut command);
        let listens = |line: &Line| line.text.starts_with("Listening");
        process.lines().wait_for(START, listens)?;
        Some(Self { process, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` wants; the protocol is `http/protobuf`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All that it has received, in order.
    pub fn received(&self) -> Vec<Value> {
        self.process.lines().all().iter().filter_map(json).collect()
    }

    /// The first span, metric or log record that `matches`, from the beginning.
    ///
    /// # Panics
    /// If none comes `within` the time, with all that has come.
    pub fn wait_for(&self, within: Duration, matches: impl Fn(&Value) -> bool) -> Value {
        let read = |line: &Line| json(line).filter(&matches);
        let found = self.process.lines().wait_for_some(within, read);
        found.unwrap_or_else(|| {
            self.process
                .fail(&format!("got no match within {within:?}"))
        })
    }

    /// The first span of that name.
    ///
    /// # Panics
    /// As [`OtelTap::wait_for`].
    pub fn wait_for_span(&self, name: &str, within: Duration) -> Value {
        self.wait_for(within, |value| is_span(value) && value["name"] == name)
    }

    /// The first report of the metric of that name.
    ///
    /// # Panics
    /// As [`OtelTap::wait_for`].
    pub fn wait_for_metric(&self, name: &str, within: Duration) -> Value {
        self.wait_for(within, |value| !is_span(value) && value["name"] == name)
    }
}

fn json(line: &Line) -> Option<Value> {
    let value = serde_json::from_str(&line.text).ok()?;
    (line.stream == Stream::Out && Value::is_object(&value)).then_some(value)
}

/// Of the three kinds only spans and metrics have a name, and only spans a span id beside it.
fn is_span(value: &Value) -> bool {
    value.get("spanId").is_some()
}
