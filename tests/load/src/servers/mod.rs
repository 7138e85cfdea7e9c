//! The three servers, each a process of its own that is told to push something to everybody.

mod bare;
mod etcd;
mod ours;

use std::net::SocketAddr;
use std::time::Instant;

use fusebox_tests::lines::Lines;

pub(crate) use bare::{Bare, serve as serve_bare};
pub(crate) use etcd::Etcd;
pub(crate) use ours::{Ours, SERVICES, Target};

use crate::Result;
use crate::dialect::Dialect;

/// What each push carries, in bytes.
pub(crate) const PAYLOAD_BYTES: usize = 2048;

/// Put before a server's command, which it becomes: a drop ends each server, and this one also when
/// this process is killed before anything is dropped.
const DIES_WITH_US: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// A server under load.
pub(crate) trait Server {
    /// What the report calls it.
    fn name(&self) -> &'static str;
    fn pid(&self) -> u32;
    /// Where its clients dial.
    fn addr(&self) -> SocketAddr;
    fn dialect(&self) -> Dialect;
    /// What it has printed, for whoever must find out why something failed.
    fn printed(&self) -> &Lines;
    /// Makes a write that every client is pushed.
    fn push(&mut self) -> Result<Written>;
}

/// A write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// As its clients are told it.
    pub(crate) revision: u64,
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
}
