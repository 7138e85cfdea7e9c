//! The words for how calls end, why they are refused and what a circuit does.
//!
//! [`Verdict`] is what a classifier says of one attempt's result. [`Outcome`] is how that attempt,
//! or the whole call, is counted. [`Rejection`] is a refusal as a value. [`CircuitState`] and
//! [`Transition`] describe a breaker to whoever watches it.

use std::fmt;
use std::time::Duration;

use crate::time::Instant;

/// What an attempt's result says about the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The dependency did its job.
    Success,
    /// Says nothing about the dependency: neither counted for it nor against it, never retried.
    Ignored,
    /// The dependency failed; [`Again`] tells whether another try is allowed.
    Failure(Again),
}

/// Whether a failed attempt may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Never: trying again cannot help, or must not happen.
    No,
    /// Always: the request provably never took effect (a refused connection, a refused stream).
    NeverSent,
    /// Only if the operation is idempotent; a delay given by the server replaces the backoff.
    IfIdempotent(Option<Duration>),
}

/// How an attempt or a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The dependency answered, in time.
    Success = 0,
    /// The dependency answered with a failure.
    Failure = 1,
    /// Cut off by the attempt timeout or by the overall deadline.
    Timeout = 2,
    /// The result says nothing about the dependency.
    Ignored = 3,
    /// The caller dropped the call.
    Cancelled = 4,
    /// A value that came after its deadline and was handed over all the same; counted as failed.
    Late = 5,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::Failure,
        Self::Timeout,
        Self::Ignored,
        Self::Cancelled,
        Self::Late,
    ];

    /// The outcome's name in telemetry and in views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Ignored => "ignored",
            Self::Cancelled => "cancelled",
            Self::Late => "late",
        }
    }

    /// Whether it speaks against the dependency.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failure | Self::Timeout | Self::Late)
    }
}

/// Why a call was refused before it reached the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The circuit breaker is open, or half-open with all its probes out.
    CircuitOpen = 0,
    /// An operator holds the circuit breaker open.
    ForcedOpen = 1,
    /// The circuit breaker has closed again and does not let everybody in yet.
    Recovering = 2,
    /// More calls than the rate limit allows.
    RateLimited = 3,
    /// The bulkhead is full, its queue too, or the wait in it was too long.
    BulkheadFull = 4,
    /// As many calls are under way as the dependency was found to carry.
    ConcurrencyLimited = 5,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::CircuitOpen,
        Self::ForcedOpen,
        Self::Recovering,
        Self::RateLimited,
        Self::BulkheadFull,
        Self::ConcurrencyLimited,
    ];

    /// The reason's name in telemetry, errors and views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::ForcedOpen => "forced_open",
            Self::Recovering => "recovering",
            Self::RateLimited => "rate_limited",
            Self::BulkheadFull => "bulkhead_full",
            Self::ConcurrencyLimited => "concurrency_limited",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal: a value that says when it makes sense to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Who refused.
    pub reason: Reason,
    /// How long until another try can be admitted; `None` if nobody knows.
    pub retry_after: Option<Duration>,
}

/// What a circuit breaker lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CircuitState {
    /// Everything.
    #[default]
    Closed = 0,
    /// Nothing.
    Open = 1,
    /// A few probes.
    HalfOpen = 2,
}

impl CircuitState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The state's name in telemetry and in views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an override makes of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forced {
    /// Refuse everything.
    Open,
    /// Admit everything; the breaker goes on counting and deciding for itself meanwhile.
    Closed,
}

impl Forced {
    /// The state that callers meet.
    pub const fn as_state(self) -> CircuitState {
        match self {
            Self::Open => CircuitState::Open,
            Self::Closed => CircuitState::Closed,
        }
    }
}

/// What a breaker judges by at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerCounts {
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Outcomes in its window; 0 if no rule asks for one.
    pub window_calls: u64,
    /// Of those, failures.
    pub window_failures: u64,
    /// Of those, slow ones, failed or not.
    pub window_slow: u64,
}

/// Why a circuit changed its state, with the figures that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// That many failures in a row.
    ConsecutiveFailures(u32),
    /// `bad` of `total` outcomes in the window were failures.
    FailureRatio {
        /// Outcomes against the dependency.
        bad: u64,
        /// All outcomes counted.
        total: u64,
    },
    /// `slow` of `total` outcomes in the window took at least the slow-call threshold.
    SlowCallRatio {
        /// Slow outcomes, failed or not.
        slow: u64,
        /// All outcomes counted.
        total: u64,
    },
    /// The open duration has passed.
    OpenElapsed,
    /// The probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// No probe was settled within `max_half_open`.
    HalfOpenExpired,
    /// Somebody reset the breaker.
    Reset,
    /// An operator's override decides.
    Forced {
        /// Its id.
        by: u64,
    },
    /// An operator's override has ended, and the breaker decides for itself again.
    Released {
        /// Its id.
        by: u64,
    },
}

impl Cause {
    /// The override that did it, if one did.
    pub const fn by(self) -> Option<u64> {
        match self {
            Self::Forced { by } | Self::Released { by } => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsecutiveFailures(n) => write!(f, "{n} consecutive failures"),
            Self::FailureRatio { bad, total } => write!(f, "{bad} of {total} calls failed"),
            Self::SlowCallRatio { slow, total } => write!(f, "{slow} of {total} calls were slow"),
            Self::OpenElapsed => f.write_str("open duration elapsed"),
            Self::ProbesSucceeded => f.write_str("probes succeeded"),
            Self::ProbeFailed => f.write_str("a probe failed"),
            Self::HalfOpenExpired => f.write_str("no probe settled in time"),
            Self::Reset => f.write_str("reset"),
            Self::Forced { .. } => f.write_str("forced by an override"),
            Self::Released { .. } => f.write_str("override ended"),
        }
    }
}

/// A circuit's change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// The state it left.
    pub from: CircuitState,
    /// The state it entered.
    pub to: CircuitState,
    /// Why.
    pub cause: Cause,
}
