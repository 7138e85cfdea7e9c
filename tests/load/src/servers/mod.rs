//! The servers, each a process of its own: three that are told to push something to everybody, one
//! that only takes reports.

mod bare;
mod etcd;
mod ours;
mod sink;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use fusebox_tests::lines::Lines;

pub(crate) use bare::{Bare, serve as serve_bare};
pub(crate) use etcd::Etcd;
pub(crate) use ours::{Ours, Proof, SERVICES, Target};
pub(crate) use sink::{Sink, serve as serve_sink};

use crate::Result;
use crate::dialect::Dialect;

/// What each push carries, in bytes.
pub(crate) const PAYLOAD_BYTES: usize = 2048;

/// Put before a server's command, which it becomes: a drop ends each server, and this one also when
/// this process is killed before anything is dropped. The kernel means the thread that started it,
/// so only one that lasts may: the main one.
const DIES_WITH_US: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// Sees that servers can be started so.
pub(crate) fn check_leash() -> Result<()> {
    let [program, words @ ..] = DIES_WITH_US;
    let tried = Command::new(program).args(words).arg("true").status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{} true` ended with {status}", DIES_WITH_US.join(" ")).into()),
        Err(error) => Err(format!(
            "cannot run {program}, which ends servers with this process: {error}; \
             install util-linux, 2.33 or later"
        )
        .into()),
    }
}

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
    /// When the server knew that every client had it, if it was asked.
    pub(crate) known: Option<Instant>,
}
