//! A process that links the SDK: core's [`Replica`], a disk, and at most one link at a time.

use fusebox_core::key::{Epoch, InstanceId, Labels};
use fusebox_core::stats::{InstanceFacts, InstanceKey};
use fusebox_core::sync::{Audience, Replica};
use fusebox_proto::convert::session::{Identity, hello_to_wire};
use fusebox_proto::v1;

use super::disk::Disk;
use super::oracle::{Verdict, Witness};

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) audience: Audience,
    labels: Labels,
    number: usize,
    pub(crate) schema: u32,
    pub(crate) up: bool,
    /// Its life, one more with each start; its epoch is made of that.
    pub(crate) run: u32,
    pub(crate) frozen: bool,
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    pub(crate) link: Option<usize>,
    /// Which of the servers is next.
    pub(crate) turn: usize,
    pub(crate) failures: u32,
    pub(crate) witness: Witness,
}

impl Process {
    pub(crate) fn new(number: usize, audience: Audience, labels: Labels, schema: u32) -> Self {
        Self {
            witness: Witness::new(audience.clone(), schema),
            audience,
            labels,
            number,
            schema,
            up: false,
            run: 0,
            frozen: false,
            replica: Replica::default(),
            disk: Disk::default(),
            link: None,
            turn: number,
            failures: 0,
        }
    }

    /// Starts from what its disk holds; a file that is no good is ignored.
    pub(crate) fn start(&mut self) -> Verdict {
        self.run += 1;
        (self.up, self.frozen, self.link, self.failures) = (true, false, None, 0);
        let file = self.disk.file.as_ref();
        let read = file.map(|file| file.read(self.schema));
        let usable = file.filter(|file| !file.damaged);
        self.replica = match read {
            Some(Ok(replica)) => replica,
            Some(Err(reason)) if usable.is_some() => {
                return Err(format!("cannot read its own file: {reason}"));
            }
            _ => Replica::default(),
        };
        let epoch = u64::from(self.run);
        self.witness
            .begin(epoch, self.schema, usable, &self.replica)
    }

    pub(crate) fn hello(&self) -> v1::Hello {
        let instance = InstanceId::new(format!("i-{}", self.number));
        let identity = Identity {
            key: InstanceKey {
                namespace: self.audience.namespace.clone(),
                service: self.audience.service.clone(),
                instance: instance.expect("a legal name"),
                epoch: Epoch(self.run.into()),
            },
            facts: InstanceFacts {
                version: String::new(),
                zone: String::new(),
                labels: self.labels.clone(),
                sdk_version: String::new(),
            },
            schema: self.schema,
        };
        hello_to_wire(&identity, &self.replica.known(), self.replica.refusals())
    }
}
