//! Whether a call may go now, when to try again, and what its outcome means.
//!
//! A [`Plan`] is an operation's rules compiled for the path of every call; it is replaced whole when
//! rules change. What lives longer than any rules is kept apart: the [`Breaker`]
//! takes the plan's settings as an argument at every step, so a new rule judges the old state, and
//! nothing is lost by a reload. [`Execution`] walks one call through its attempts.
//!
//! ```text
//! overall deadline > retry > circuit breaker > attempt timeout > the call
//! ```

pub mod breaker;
pub mod execution;
pub mod plan;
pub mod retry;

pub use breaker::{Breaker, Observation, Permit};
pub use execution::{Execution, Next};
pub use plan::Plan;
