//! What a guarded call can come back with, besides a value.

use std::fmt;
use std::time::Duration;

use fusebox_core::outcome::Reason;

/// Why there is no value.
#[derive(Debug)]
pub enum Error<E> {
    /// The dependency's own last error.
    Call(E),
    /// The call was refused or cut off on this side.
    Stopped {
        /// By whom.
        why: Stopped,
        /// The dependency's error in an earlier attempt of the same call.
        last: Option<E>,
    },
}

/// Who stopped a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It never reached the dependency.
    Refused {
        /// Which operation.
        operation: &'static str,
        /// Who refused.
        reason: Reason,
        /// When another call can be admitted, as far as anybody knows.
        retry_after: Option<Duration>,
    },
    /// It took too long. Whether it took effect is unknown.
    TimedOut {
        /// Which operation.
        operation: &'static str,
        /// Which limit it ran into.
        limit: Limit,
        /// How long the limit was.
        after: Duration,
    },
    /// It would have blocked a thread that polls tasks; nothing was called. Move it to a thread of
    /// its own, or to `tokio::task::spawn_blocking`.
    WouldBlock {
        /// Which operation.
        operation: &'static str,
    },
    /// It had ended before, and nothing was called: a [`Run`](crate::Run) makes no attempt after it
    /// returned a result, nor after one that was dropped and may not be repeated.
    Ended {
        /// Which operation.
        operation: &'static str,
    },
}

/// The limits in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of one attempt.
    Attempt,
    /// Of the whole call.
    Overall,
    /// Of a scope around it.
    Scope,
}

impl<E> Error<E> {
    /// Stopped, after the dependency had answered so in an earlier attempt.
    pub(crate) fn because<T>(why: Stopped, last: Option<Result<T, E>>) -> Self {
        let last = last.and_then(Result::err);
        Self::Stopped { why, last }
    }

    /// The dependency's error, if it ever gave one.
    pub fn into_call(self) -> Option<E> {
        match self {
            Self::Call(error) => Some(error),
            Self::Stopped { last, .. } => last,
        }
    }

    /// One plain error, for callers whose own can tell of a refusal, too: `Box<dyn Error + Send +
    /// Sync>` and anyhow's fit, and whatever else is made [from](From) a [`Stopped`]. Of a call that
    /// was stopped after the dependency had failed, what the dependency said is left out.
    ///
    /// ```no_run
    /// # async fn charge() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> { Ok(42) }
    /// # async fn example(payments: fusebox::Operation)
    /// # -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    /// let charged = payments.call(async |_| charge().await).await;
    /// let charged = charged.map_err(fusebox::Error::into_inner)?;
    /// # Ok(charged)
    /// # }
    /// ```
    pub fn into_inner(self) -> E
    where
        E: From<Stopped>,
    {
        match self {
            Self::Call(error) => error,
            Self::Stopped { why, .. } => why.into(),
        }
    }

    /// Who stopped the call, if it was stopped on this side.
    pub fn stopped(&self) -> Option<Stopped> {
        match self {
            Self::Call(_) => None,
            Self::Stopped { why, .. } => Some(*why),
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(_) => f.write_str("the call failed"),
            Self::Stopped { .. } => f.write_str("the call was stopped"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Call(error) => Some(error),
            Self::Stopped { why, .. } => Some(why),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused {
                operation,
                reason,
                retry_after: Some(wait),
            } => {
                write!(f, "{operation} refused: {reason}, retry after {wait:?}")
            }
            Self::Refused {
                operation,
                reason,
                retry_after: None,
            } => {
                write!(f, "{operation} refused: {reason}")
            }
            Self::TimedOut {
                operation,
                limit,
                after,
            } => {
                write!(f, "{operation} timed out: {limit} limit of {after:?}")
            }
            Self::WouldBlock { operation } => write!(
                f,
                "{operation} would block a thread that polls tasks: call it from \
                 tokio::task::spawn_blocking or a thread of its own"
            ),
            Self::Ended { operation } => {
                write!(f, "{operation} has ended: it makes no further attempt")
            }
        }
    }
}

impl std::error::Error for Stopped {}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempt => "attempt",
            Self::Overall => "overall",
            Self::Scope => "scope",
        })
    }
}
