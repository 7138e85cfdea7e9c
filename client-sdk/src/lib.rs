//! Resilience for outbound calls, steered from one place.
//!
//! Wrap a call to a dependency in an [`Operation`], and it has timeouts, retries and a circuit
//! breaker. Which ones, a policy in the Fusebox server decides: a change applies to the next call,
//! without a restart and without losing what the breaker knows. No call ever waits for the server;
//! without it, what it last said goes on to hold, and before it ever said anything the defaults of
//! the operation's [`Kind`] do.
//!
//! ```no_run
//! use fusebox::{Fusebox, Kind};
//!
//! # async fn charge(amount: u32) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let fusebox = Fusebox::builder("checkout")
//!     .server("http://127.0.0.1:7070")
//!     .cache_dir("/var/lib/checkout/fusebox")
//!     .build()?;
//! let payments = fusebox.operation("payments.charge").kind(Kind::Api).register()?;
//!
//! payments.call(async |_| charge(42).await).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The closure makes a fresh future for every attempt, and nothing needs to be `'static` or
//! `Clone`. What went wrong comes back as [`Error`]: the dependency's own error, or [`Stopped`]
//! with who stopped the call and when it makes sense to come back.
//!
//! An `Err` is a failure unless [`Operation::with`] is given another judge: [`grpc::Grpc`],
//! [`http::Http`], [`transport::Transport`], or a closure.

mod builder;
mod cache;
mod call;
mod classify;
mod clock;
mod enforcement;
mod error;
mod forcing;
mod health;
mod jitter;
mod lanes;
mod link;
#[cfg(test)]
mod listener;
mod metrics;
mod observed;
mod operation;
mod plans;
#[cfg(test)]
mod scenarios;
mod scope;
mod steady;
pub mod telemetry;

use std::sync::Arc;

pub use builder::{Builder, InvalidSetup};
pub use call::permit::Permit;
pub use call::{Next, Run};
pub use classify::{Classify, Results, grpc, http, transport};
pub use error::{Error, Limit, Stopped};
pub use fusebox_core::key::{InvalidName, Kind};
pub use fusebox_core::outcome::{Again, CircuitState, Reason, Verdict};
pub use fusebox_core::policy::ratio::{Multiplier, OutOfRange, Ratio, Share};
pub use fusebox_core::policy::rules::{Jitter, Window};
pub use health::{Health, OperationHealth, PolicySource, RefusedPolicy};
pub use operation::{Cx, Guarded, InvalidOperation, Operation, OperationBuilder};
pub use scope::Scope;

use enforcement::Enforcement;
use link::Link;

/// A process's connection to the control plane, and the home of its operations. Cheap to clone;
/// the last clone to go ends the link, operations live on as they are.
#[derive(Clone, Debug)]
pub struct Fusebox {
    enforcement: Arc<Enforcement>,
    link: Arc<Link>,
}

impl Fusebox {
    /// Begins a set-up for the service of that name.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }

    /// Begins an operation: an outbound dependency under a name of 1 to 200 printable ASCII
    /// characters without spaces and `*`. The first to register a name decides its kind and rules.
    pub fn operation(&self, name: impl Into<String>) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.enforcement, name.into())
    }

    /// How it is doing: the link, the policies, the operations.
    pub fn health(&self) -> Health {
        health::of(&self.enforcement, self.link.status())
    }

    /// Closes every breaker and forgets what they counted.
    pub fn reset(&self) {
        for operation in self.enforcement.operations() {
            operation.reset();
        }
    }

    /// Sends a last report, lets the policies that are being written down reach the disk, and ends
    /// the link; bounded, one second at most.
    pub async fn shutdown(self) {
        self.link.shutdown().await;
    }
}
