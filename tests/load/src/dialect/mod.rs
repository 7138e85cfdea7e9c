//! What is said over the stream: three servers, one shape of conversation.
//!
//! Each client opens with one message, hears that it is in, and from then on is pushed revisions,
//! which it acknowledges where the server listens for that.

mod bare;
mod etcd;
mod fusebox;

pub(crate) use fusebox::{HEARTBEAT, Reports, service};

use std::time::Duration;

pub(crate) use bare::{Pushed, Received};

/// A server's way to speak.
#[derive(Clone, Debug)]
pub(crate) enum Dialect {
    /// Ours: so many services share the clients.
    Fusebox { services: usize },
    /// The bare stream of tonic.
    Bare,
    /// The watch of etcd, upon one key.
    Etcd { key: &'static str },
}

/// What a client has: what it would tell in its next Hello.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) incarnation: [u8; 16],
    pub(crate) revision: u64,
    pub(crate) digest: u64,
}

/// What a message of the server's was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The client is in; how often it has to say that it is there.
    In { beat: Option<Duration> },
    /// Something new to apply.
    Push { revision: u64 },
    /// What the client has is still right.
    UpToDate { revision: u64 },
    /// Reports up to this one were absorbed.
    Absorbed { number: u64 },
    /// The server wants its clients elsewhere, after that.
    Drain { delay: Duration },
    /// Nothing that matters.
    Other,
}

impl Dialect {
    /// The method's path.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::Fusebox { .. } => fusebox::PATH,
            Self::Bare => bare::PATH,
            Self::Etcd { .. } => etcd::PATH,
        }
    }

    /// The first message of the client of that number.
    pub(crate) fn hello(&self, client: usize, epoch: u64, held: &Held) -> Vec<u8> {
        match self {
            Self::Fusebox { services } => fusebox::hello(client, *services, epoch, held),
            Self::Bare => bare::ack(0),
            Self::Etcd { key } => etcd::watch(key),
        }
    }

    /// Whether the head of the server's response says already that a client is in.
    pub(crate) fn is_in_by_head(&self) -> bool {
        matches!(self, Self::Bare)
    }

    /// Understands a message, and keeps what it says.
    pub(crate) fn hear(&self, message: &[u8], held: &mut Held) -> Heard {
        match self {
            Self::Fusebox { .. } => fusebox::hear(message, held),
            Self::Bare => bare::hear(message),
            Self::Etcd { .. } => etcd::hear(message),
        }
    }

    /// Whether a client is only in once it has been sent something to hold.
    pub(crate) fn begins_with_a_push(&self) -> bool {
        matches!(self, Self::Fusebox { .. })
    }

    /// Says that a revision is applied, where anybody asks.
    pub(crate) fn ack(&self, revision: u64) -> Option<Vec<u8>> {
        match self {
            Self::Fusebox { .. } => Some(fusebox::ack(revision)),
            Self::Bare => Some(bare::ack(revision)),
            Self::Etcd { .. } => None,
        }
    }
}
