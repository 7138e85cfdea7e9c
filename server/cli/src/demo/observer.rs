//! What the fleet service says, from one look to the next.
//!
//! The demonstration sees the fleet as any operator does: through the server's own RPCs, which know
//! only what the processes reported.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::DemoError;
use super::script::{Fault, UPSTREAMS};

/// How many lines of news are kept.
const NEWS: usize = 100;

pub(super) struct Observer {
    client: FleetServiceClient<Channel>,
    began: Instant,
    faults: BTreeMap<&'static str, Option<Fault>>,
    open: BTreeMap<String, u32>,
    pub(super) frame: Frame,
    pub(super) tally: Tally,
}

/// What there is to see at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) elapsed: Duration,
    pub(super) operations: Vec<v1::OperationStatus>,
    pub(super) connected: usize,
    pub(super) instances: usize,
    /// The revisions in force, lowest and highest.
    pub(super) revisions: Option<(u64, u64)>,
    pub(super) news: VecDeque<News>,
}

#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) at: Duration,
    pub(super) text: String,
    pub(super) mood: Mood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Bad,
    Good,
    Plain,
}

/// What happened over the whole demonstration.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) opened: u32,
    pub(super) healed: u32,
    pub(super) policy_changes: u32,
}

impl Observer {
    pub(super) fn new(channel: Channel, began: Instant) -> Self {
        Self {
            client: FleetServiceClient::new(channel),
            began,
            faults: BTreeMap::new(),
            open: BTreeMap::new(),
            frame: Frame::default(),
            tally: Tally::default(),
        }
    }

    /// All calls the server knows of, refusals included.
    pub(super) async fn calls_in_total(&mut self) -> Result<u64, DemoError> {
        let operations = self
            .client
            .list_operations(v1::ListOperationsRequest::default());
        let operations = operations.await?.into_inner().operations;
        Ok(operations
            .iter()
            .map(|status| status.calls_total + status.refusals_total)
            .sum())
    }

    /// Takes another look.
    pub(super) async fn look(&mut self) -> Result<(), DemoError> {
        let operations = self
            .client
            .list_operations(v1::ListOperationsRequest::default());
        let operations = operations.await?.into_inner().operations;
        let instances = self
            .client
            .list_instances(v1::ListInstancesRequest::default());
        let instances = instances.await?.into_inner().instances;
        self.frame.elapsed = self.began.elapsed();
        self.note_faults();
        self.note_breakers(&operations);
        self.note_instances(&instances);
        self.frame.operations = operations;
        let place =
            |status: &v1::OperationStatus| (status.service.clone(), status.operation.clone());
        self.frame.operations.sort_by_key(place);
        Ok(())
    }

    fn note_faults(&mut self) {
        for upstream in UPSTREAMS {
            let now = upstream.fault_at(self.frame.elapsed);
            let before = self.faults.insert(upstream.name, now).flatten();
            match now {
                _ if now == before => {}
                Some(fault) => {
                    self.tell(Mood::Bad, format!("{} {}", upstream.name, fault.describe()));
                }
                None => self.tell(Mood::Plain, format!("{} is well again", upstream.name)),
            }
        }
    }

    fn note_breakers(&mut self, operations: &[v1::OperationStatus]) {
        for status in operations {
            let counts = status.instances.unwrap_or_default();
            let name = format!("{}/{}", status.service, status.operation);
            let now = counts.open + counts.half_open;
            let before = self.open.insert(name.clone(), now).unwrap_or(0);
            if now > before {
                self.tally.opened += now - before;
                self.tell(
                    Mood::Bad,
                    format!("{name}: {now} of {} breakers open", total(&counts)),
                );
            } else if now < before {
                self.tally.healed += before - now;
                let text = if now == 0 {
                    format!("{name}: all breakers closed again")
                } else {
                    format!("{name}: {now} of {} breakers still open", total(&counts))
                };
                self.tell(Mood::Good, text);
            }
        }
    }

    fn note_instances(&mut self, instances: &[v1::InstanceStatus]) {
        let connected = instances.iter().filter(|instance| instance.connected);
        let revisions = connected.clone().map(|instance| instance.applied_revision);
        let range = revisions.clone().min().zip(revisions.max());
        if let (Some((_, before)), Some((_, now))) = (self.frame.revisions, range)
            && now > before
        {
            self.tally.policy_changes += 1;
            self.tell(
                Mood::Plain,
                format!("policy revision {now} reached the fleet"),
            );
        }
        self.frame.connected = connected.count();
        self.frame.instances = instances.len();
        self.frame.revisions = range;
    }

    /// Adds a line to the news.
    pub(super) fn tell(&mut self, mood: Mood, text: String) {
        if self.frame.news.len() == NEWS {
            self.frame.news.pop_front();
        }
        self.frame.news.push_back(News {
            at: self.frame.elapsed,
            text,
            mood,
        });
    }
}

/// All instances with a fresh report.
pub(super) fn total(counts: &v1::InstancesByState) -> u32 {
    counts.closed + counts.open + counts.half_open
}
