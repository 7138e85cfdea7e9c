//! The edge to gRPC: every service decodes, asks, encodes, and decides nothing.
//!
//! | service | asks |
//! |---|---|
//! | `fusebox.v1.PolicyService` | [`Control`], and [`Distribution`] whom it concerns |
//! | `fusebox.v1.SyncService` | [`Distribution`] |
//! | `fusebox.v1.FleetService` | [`FleetWatch`], and [`Distribution`] how far everybody is |
//! | `grpc.health.v1.Health` | [`health::Health`] |
//! | `grpc.reflection.v1` and `v1alpha` | the descriptors, those of error details included |
//!
//! For whoever wires:
//! ```text
//! let fleet        = Arc::new(FleetWatch::new(pace.report_interval));
//! let distribution = Distribution::start(store, pace, fleet, stop)?;       // spawns its follower
//! let control      = Control::new(store)
//!                        .until(stop);                                     // watches end
//! let health       = Health::new();
//! let routes       = rpc::routes(Parts { control, distribution, fleet, health: health.clone() });
//! health.serving().await;
//!   ... serve `routes` until told to stop ...
//! health.not_serving().await;
//! stop.cancel();                 // sessions are sent Drain and end; open health watches do not
//! distribution.ended().await;    // at once; still bound the wait for the connections themselves
//! ```
//! The author of a write is who the metadata `fusebox-author` names, or else the peer's address,
//! which tonic knows if the connection's
//! `Connected::ConnectInfo` is a `TcpConnectInfo`. Message sizes are bound here; connections,
//! keepalive, TLS and timeouts are the acceptor's.

mod explain;
mod fleet;
pub mod health;
mod page;
mod policy;
mod status;
mod sync;

use std::sync::Arc;

use fusebox_proto::FILE_DESCRIPTOR_SET;
use fusebox_proto::v1::fleet_service_server::FleetServiceServer;
use fusebox_proto::v1::policy_service_server::PolicyServiceServer;
use tonic::Request;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::control::Control;
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// The largest request about policies: a set of them, of which one with the longest legal texts
/// takes 30 KiB.
pub const POLICY_RECEIVE_BYTES: usize = 1024 * 1024;
/// The largest request about the fleet: a few names.
pub const FLEET_RECEIVE_BYTES: usize = 64 * 1024;
/// The largest message of a process: a report of a thousand operations.
pub const SYNC_RECEIVE_BYTES: usize = 4 * 1024 * 1024;
/// The largest answer of any service; what a gRPC client receives unless told otherwise.
pub const SEND_BYTES: usize = 4 * 1024 * 1024;

/// What the services stand on.
pub struct Parts {
    /// Policies.
    pub control: Arc<Control>,
    /// Sessions.
    pub distribution: Arc<Distribution>,
    /// The aggregate.
    pub fleet: Arc<FleetWatch>,
    /// What `grpc.health.v1` says.
    pub health: health::Health,
}

/// Every service of the server.
pub fn routes(parts: Parts) -> Routes {
    let policies = policy::Policies {
        control: Arc::clone(&parts.control),
        fleet: Arc::clone(&parts.fleet),
        distribution: Arc::clone(&parts.distribution),
    };
    let views = fleet::Views {
        fleet: parts.fleet,
        distribution: Arc::clone(&parts.distribution),
        control: parts.control,
    };
    let policies = PolicyServiceServer::new(policies)
        .max_decoding_message_size(POLICY_RECEIVE_BYTES)
        .max_encoding_message_size(SEND_BYTES);
    let views = FleetServiceServer::new(views)
        .max_decoding_message_size(FLEET_RECEIVE_BYTES)
        .max_encoding_message_size(SEND_BYTES);
    let mut routes = Routes::builder();
    routes
        .add_service(policies)
        .add_service(sync::SyncServer::new(parts.distribution))
        .add_service(views)
        .add_service(parts.health.service());
    // Neither can fail: the descriptors are constants, and every test of this room builds them.
    routes
        .add_service(reflection().build_v1().expect("legal descriptors"))
        .add_service(reflection().build_v1alpha().expect("legal descriptors"));
    routes.routes()
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Of errors' details, so that grpcurl can print them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// The metadata in which a client says who writes.
const AUTHOR: &str = "fusebox-author";
/// Longest author that is kept, in bytes.
const AUTHOR_BYTES: usize = 256;

/// Who sent a request, as it says itself or else by its address; and that address.
fn author<T>(request: &Request<T>) -> (String, String) {
    let address = request.remote_addr();
    let source = address.map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string());
    let said = request.metadata().get(AUTHOR);
    let said = said.and_then(|said| said.to_str().ok()).map(str::trim);
    let author = said.filter(|said| !said.is_empty()).unwrap_or(&source);
    let author = author[..author.floor_char_boundary(AUTHOR_BYTES)].replace(char::is_control, " ");
    (author, source)
}

#[cfg(test)]
mod tests;
