//! What `grpc.health.v1` says: whether this server takes requests, by service.
//!
//! A load balancer asks for "" or for the service it routes to. Whoever wires calls
//! [`Health::serving`] before the first request can come, and [`Health::not_serving`] before streams
//! are ended.

use fusebox_proto::v1::fleet_service_server::SERVICE_NAME as FLEET;
use fusebox_proto::v1::policy_service_server::SERVICE_NAME as POLICY;
use fusebox_proto::v1::sync_service_server::SERVICE_NAME as SYNC;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The services that are spoken of; "" is the server as a whole.
const SERVICES: [&str; 4] = ["", POLICY, SYNC, FLEET];

/// A handle on what is said; clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Health(HealthReporter);

impl Health {
    /// Knows no service yet.
    pub fn new() -> Self {
        Self(HealthReporter::new())
    }

    /// Says SERVING of every service.
    pub async fn serving(&self) {
        self.all(ServingStatus::Serving).await;
    }

    /// Says NOT_SERVING of every service.
    pub async fn not_serving(&self) {
        self.all(ServingStatus::NotServing).await;
    }

    /// Says of PolicyService alone whether it takes requests: not, once its store is read-only.
    pub async fn policies(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.0.set_service_status(POLICY, status).await;
    }

    async fn all(&self, status: ServingStatus) {
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }

    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }
}
