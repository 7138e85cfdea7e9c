//! The demonstration's fleet: instances that call their dependencies through the SDK.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusebox::{Again, Error, Fusebox, Operation, Verdict};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::DemoError;
use super::script::{Call, SERVICES, Service};

/// What the callers themselves counted.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// All instances; they call until it is dropped.
pub(super) struct Fleet {
    instances: Vec<Fusebox>,
    callers: JoinSet<()>,
    stop: watch::Sender<bool>,
    pub(super) outcomes: Arc<Outcomes>,
}

impl Fleet {
    /// Starts every instance of the script against the server at `server`.
    pub(super) fn start(
        server: SocketAddr,
        upstreams: &HashMap<&'static str, SocketAddr>,
    ) -> Result<Self, DemoError> {
        let mut fleet = Self {
            instances: Vec::new(),
            callers: JoinSet::new(),
            stop: watch::Sender::new(false),
            outcomes: Arc::default(),
        };
        for service in SERVICES {
            for number in 1..=service.instances {
                fleet.add(server, service, number, upstreams)?;
            }
        }
        Ok(fleet)
    }

    pub(super) fn size(&self) -> usize {
        self.instances.len()
    }

    /// Begins no further call, waits for those under way, and sends each instance's last report.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.callers.join_all().await;
        for instance in self.instances {
            instance.shutdown().await;
        }
    }

    fn add(
        &mut self,
        server: SocketAddr,
        service: &Service,
        number: usize,
        upstreams: &HashMap<&'static str, SocketAddr>,
    ) -> Result<(), DemoError> {
        let fusebox = Fusebox::builder(service.name)
            .server(format!("http://{server}"))
            .instance_id(format!("{}-{number}", service.name))
            .zone(if number.is_multiple_of(2) { "b" } else { "a" })
            .version(env!("CARGO_PKG_VERSION"))
            .build()?;
        for call in service.calls {
            let operation = fusebox
                .operation(call.operation)
                .kind(call.kind)
                .idempotent(true)
                .register()?;
            let url = format!("http://{}/", upstreams[call.upstream]);
            let outcomes = Arc::clone(&self.outcomes);
            let stop = self.stop.subscribe();
            self.callers
                .spawn(keep_calling(*call, operation, url, outcomes, stop));
        }
        self.instances.push(fusebox);
        Ok(())
    }
}

/// Calls at a steady rate, each call on its own: a slow dependency does not slow its callers down.
async fn keep_calling(
    call: Call,
    operation: Operation,
    url: String,
    outcomes: Arc<Outcomes>,
    mut stop: watch::Receiver<bool>,
) {
    let client = reqwest::Client::new();
    let mut ticks = interval(Duration::from_secs(1) / call.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            // Sent, or dropped with the fleet.
            _ = stop.changed() => break,
            _ = ticks.tick() => {}
        }
        while calls.try_join_next().is_some() {}
        let (operation, url) = (operation.clone(), url.clone());
        let (client, outcomes) = (client.clone(), Arc::clone(&outcomes));
        calls.spawn(async move {
            let result = operation
                .with(by_status)
                .call(async |_| client.get(&url).send().await);
            outcomes.count(&result.await);
        });
    }
    calls.join_all().await;
}

/// A server's error is a failure of the dependency; a request that never left may be repeated by
/// anybody.
fn by_status(outcome: Result<&reqwest::Response, &reqwest::Error>) -> Verdict {
    match outcome {
        Ok(response) if response.status().is_server_error() => {
            Verdict::Failure(Again::IfIdempotent(None))
        }
        Ok(_) => Verdict::Success,
        Err(error) if error.is_connect() => Verdict::Failure(Again::NeverSent),
        Err(_) => Verdict::Failure(Again::IfIdempotent(None)),
    }
}

impl Outcomes {
    fn count(&self, result: &Result<reqwest::Response, Error<reqwest::Error>>) {
        let counter = match result {
            Ok(response) if !response.status().is_server_error() => &self.answered,
            Err(Error::Stopped {
                why: fusebox::Stopped::Refused { .. },
                ..
            }) => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
