//! Why a session ends, and why one is not begun.

use std::fmt;
use std::time::Duration;

use fusebox_core::policy::Violations;

use super::MAX_SESSIONS;

/// Why a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The process closed its side.
    #[error("the process has closed the stream")]
    Left,
    /// Nobody reads what is sent any more.
    #[error("the process is gone")]
    Gone,
    /// No Hello in time.
    #[error("hello expected within {} s", .within.as_secs_f64())]
    NoHello {
        /// The time there was.
        within: Duration,
    },
    /// Another message came first.
    #[error("the first message must be hello, found {found}")]
    NotHello {
        /// What came.
        found: &'static str,
    },
    /// A Hello that cannot be accepted.
    #[error("{0}")]
    BadHello(Violations),
    /// Another Hello.
    #[error("a second hello on one stream; open a new stream to say hello again")]
    SecondHello,
    /// Nothing was heard for too long.
    #[error("nothing heard for {} s, three heartbeat intervals; reconnect", .after.as_secs_f64())]
    Silent {
        /// How long.
        after: Duration,
    },
    /// The process does not keep up.
    #[error("{awaited} for {} s; reconnect", .after.as_secs_f64())]
    Stalled {
        /// What is missing.
        awaited: Awaited,
        /// How long.
        after: Duration,
    },
    /// The same process has a newer session.
    #[error("superseded by a newer session of the same instance and epoch")]
    Superseded,
    /// This server stops.
    #[error("the server is stopping; reconnect")]
    Draining,
    /// The session has lasted as long as one may.
    #[error("the session has lasted {} s, as long as one may; reconnect", .after.as_secs())]
    Retired {
        /// How long.
        after: Duration,
    },
    /// A message beyond the limit.
    #[error("{reason}")]
    Oversized {
        /// With both sizes.
        reason: String,
    },
    /// A message that is none.
    #[error("{reason}")]
    Garbled {
        /// What is wrong with it.
        reason: String,
    },
    /// The stream broke.
    #[error("the stream broke: {reason}")]
    Lost {
        /// What the transport said.
        reason: String,
    },
    /// A bug in this server.
    #[error("the session failed; reconnect")]
    Crashed,
}

/// What a process owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// To read what was sent.
    Room,
    /// To acknowledge a snapshot.
    Ack,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "nothing read",
            Self::Ack => "a snapshot sent and not acknowledged",
        })
    }
}

/// Why no session is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Too many streams.
    #[error("this server has {MAX_SESSIONS} sessions and takes no more; go to another one")]
    Full,
    /// This server stops.
    #[error("the server is stopping; go to another one")]
    Stopping,
}

impl End {
    /// Every reason's name in telemetry, in the order of [`End::index`].
    pub(super) const NAMES: [&'static str; 15] = [
        "left",
        "gone",
        "no_hello",
        "not_hello",
        "bad_hello",
        "second_hello",
        "silent",
        "stalled",
        "superseded",
        "draining",
        "oversized",
        "garbled",
        "lost",
        "crashed",
        "retired",
    ];

    pub(super) const fn index(&self) -> usize {
        match self {
            Self::Left => 0,
            Self::Gone => 1,
            Self::NoHello { .. } => 2,
            Self::NotHello { .. } => 3,
            Self::BadHello(_) => 4,
            Self::SecondHello => 5,
            Self::Silent { .. } => 6,
            Self::Stalled { .. } => 7,
            Self::Superseded => 8,
            Self::Draining => 9,
            Self::Oversized { .. } => 10,
            Self::Garbled { .. } => 11,
            Self::Lost { .. } => 12,
            Self::Crashed => 13,
            Self::Retired { .. } => 14,
        }
    }
}
