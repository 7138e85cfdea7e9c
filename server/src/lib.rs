//! The server of Fusebox: keeps policies, hands them to every process that runs the SDK, and adds up
//! what those processes report.
//!
//! | room | its duty |
//! |---|---|
//! | [`app`] | wires all of them, starts and stops |
//! | [`config`] | what a server is told, from which source |
//! | [`store`] | keeps policies and issues revisions |
//! | [`control`] | judges what an operator wants changed |
//! | [`distribution`] | brings every change to the processes it concerns |
//! | [`fleet`] | the aggregate of what they report |
//! | [`rpc`] | gRPC in and out of these three |
//! | `accept` | who may connect to the gRPC port |
//! | `http` | the HTTP port |
//! | `sparing` | how often the log hears of the same trouble |
//! | [`telemetry`] | logs, traces and metrics of the server itself |
//!
//! `rpc` sees `control`, `distribution` and `fleet`; `control` and `distribution` see `store`; sled
//! stays inside its own file; only `app` sees everybody.

pub mod app;
pub mod config;
pub mod control;
pub mod distribution;
pub mod fleet;
pub mod rpc;
pub mod store;
pub mod telemetry;

mod accept;
mod http;
mod sparing;
