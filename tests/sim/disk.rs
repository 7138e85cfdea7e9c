//! A process's disk: what it last enforced, as the SDK writes it down.
//!
//! What is written takes a while; a crash may come before it. A file may be damaged by the time it is
//! read, which its checksum shows.

use fusebox_core::policy::Policy;
use fusebox_core::sync::Replica;
use fusebox_proto::convert::last_known_good::{last_known_good_from_wire, last_known_good_to_wire};
use fusebox_proto::store_v1::LastKnownGood;
use fusebox_proto::v1;
use prost::Message;

use super::older;
use super::oracle::Model;

/// A file, and what an onlooker knows of it.
#[derive(Clone, Debug)]
pub(crate) struct File {
    body: Vec<u8>,
    pub(crate) damaged: bool,
    /// What was enforced when it was written.
    pub(crate) model: Model,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) file: Option<File>,
    pub(crate) pending: Option<File>,
}

impl File {
    pub(crate) fn new(
        snapshot: v1::Snapshot,
        stand_ins: &[Policy],
        schema: u32,
        model: Model,
    ) -> Self {
        let body = last_known_good_to_wire(snapshot, stand_ins, schema);
        Self {
            body: body.encode_to_vec(),
            damaged: false,
            model,
        }
    }

    /// What a process that enforces `schema` makes of it.
    pub(crate) fn read(&self, schema: u32) -> Result<Replica, String> {
        if self.damaged {
            return Err("its checksum does not match".into());
        }
        let mut saved = LastKnownGood::decode(&*self.body).map_err(|error| error.to_string())?;
        let policies = saved.snapshot.iter_mut().flat_map(|it| &mut it.policies);
        for policy in policies.chain(&mut saved.stand_ins) {
            older::forget(policy, schema);
        }
        last_known_good_from_wire(&saved, schema).map_err(|unusable| unusable.to_string())
    }
}

impl Disk {
    /// What was pending is now there, unless it was lost.
    pub(crate) fn settle(&mut self, lost: bool) {
        let written = self.pending.take().filter(|_| !lost);
        self.file = written.or_else(|| self.file.take());
    }
}
