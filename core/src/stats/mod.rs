//! How outcomes are counted in a process and added up over a fleet.
//!
//! ```text
//! call ends -> Recorder -> Totals (absolute, since the process's start) -> wire
//!                                                                           |
//!    page, RPC, telemetry <- views <- Fleet (subtracts, adds up) <----------+
//! ```
//!
//! A process reports what it has counted since it started, never what has changed: a report that
//! is lost, repeated or overtaken does no harm, because the fleet subtracts for itself. Everything
//! that is added up (counts, histograms) merges associatively and commutatively, so that neither
//! the order of reports nor the way they are grouped can show in a total.
//!
//! Invariants: nothing here knows policies, breakers or sessions' streams; nothing reads a clock;
//! every map, ring and list has a named bound, and reaching it is counted in the fleet's [`Ledger`].

mod fleet;
mod histogram;
mod recorder;
mod totals;

pub use fleet::{
    Filter, Fleet, ForcedReport, FreshTransitions, ImpossibleFigures, InstanceFacts, InstanceKey,
    InstancePage, InstancePlace, InstanceQuery, InstanceView, InstancesOf, Ledger, Limits,
    MAX_LOGGED, MAX_REFUSED_POLICIES, MAX_TEXT, MAX_TRANSITIONS, OVERFLOW, OperationDetail,
    OperationFigures, OperationInstanceView, OperationKey, OperationPage, OperationPlace,
    OperationQuery, OperationReport, OperationView, Order, Rates, Ratio, RefusedPolicy, Report,
    ReportHead, SessionId, StateCounts, TransitionPage, TransitionQuery, TransitionRecord,
    TransitionReport,
};
pub use histogram::{BUCKETS, Histogram, InvalidHistogram, MAX_COUNT, bucket_midpoint, bucket_of};
pub use recorder::Recorder;
pub use totals::{Counts, InvalidTotals, Totals};
