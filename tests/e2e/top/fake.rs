//! A FleetService that says what it is told to, and remembers what it was ordered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_server::{FleetService, FleetServiceServer};
use fusebox_tests::ports;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What it says of every order it refuses.
pub(crate) const REFUSAL: &str = "not while the moon is full";

#[derive(Default)]
struct Said {
    /// With their authors, those that were only to be judged too.
    orders: Vec<(v1::SetBreakerOverrideRequest, String)>,
    overrides: Vec<v1::OverrideStatus>,
    /// Watches go on as long as these stay.
    watchers: Vec<mpsc::Sender<Result<v1::WatchFleetResponse, Status>>>,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Said>>);

/// It, on an address of its own, until it is dropped.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    script: Script,
    _stop: oneshot::Sender<()>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let listener = ports::listener();
        let addr = listener.local_addr().unwrap();
        Self::on(listener, addr)
    }

    fn on(listener: std::net::TcpListener, addr: SocketAddr) -> Self {
        let script = Script::default();
        let service = FleetServiceServer::new(script.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        thread::spawn(move || {
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let server = Server::builder().add_service(service);
                let server = server.serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    ended = server => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            addr,
            script,
            _stop: stop,
        }
    }

    /// Ends all watches.
    pub(crate) fn end_watches(&self) {
        self.script.0.lock().unwrap().watchers.clear();
    }

    pub(crate) fn orders(&self) -> Vec<(v1::SetBreakerOverrideRequest, String)> {
        self.script.0.lock().unwrap().orders.clone()
    }
}

const COVERAGE: v1::Coverage = v1::Coverage {
    servers_reporting: 1,
    servers_total: 1,
    settling: false,
};

fn operations() -> Vec<v1::OperationStatus> {
    let status = |operation: &str, closed, open, failure_ratio| v1::OperationStatus {
        namespace: "default".to_owned(),
        service: "checkout".to_owned(),
        operation: operation.to_owned(),
        instances: Some(v1::InstancesByState {
            closed,
            open,
            half_open: 1,
            ..v1::InstancesByState::default()
        }),
        calls_per_second: 42.0,
        failure_ratio,
        ratio_sample: 420,
        ..v1::OperationStatus::default()
    };
    vec![
        status("inventory.reserve", 4, 0, 0.0),
        status("payments.charge", 1, 3, 0.25),
    ]
}

#[tonic::async_trait]
impl FleetService for Script {
    type WatchFleetStream = ReceiverStream<Result<v1::WatchFleetResponse, Status>>;
    type WaitForRevisionStream = tokio_stream::Empty<Result<v1::WaitForRevisionResponse, Status>>;

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        // A page holds one.
        let token = request.into_inner().page_token;
        let mut operations = operations();
        let second = operations.pop();
        let (operations, next) = match token.as_str() {
            "" => (second.into_iter().collect(), "more"),
            _ => (operations, ""),
        };
        Ok(Response::new(v1::ListOperationsResponse {
            operations,
            coverage: Some(COVERAGE),
            total_size: 2,
            next_page_token: next.to_owned(),
        }))
    }

    async fn watch_fleet(
        &self,
        _: Request<v1::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let (watcher, told) = mpsc::channel(1);
        let state = v1::WatchFleetResponse {
            operations: operations(),
            synced: true,
            coverage: Some(COVERAGE),
            ..v1::WatchFleetResponse::default()
        };
        watcher.try_send(Ok(state)).unwrap();
        self.0.lock().unwrap().watchers.push(watcher);
        Ok(Response::new(ReceiverStream::new(told)))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        let operation = request.into_inner().operation;
        let status = operations()
            .into_iter()
            .find(|one| one.operation == operation);
        Ok(Response::new(v1::GetOperationResponse {
            operation: status,
            instances: vec![v1::OperationInstance {
                instance_id: "checkout-7f9c".to_owned(),
                connected: true,
                circuit_state: v1::CircuitState::Open.into(),
                ..v1::OperationInstance::default()
            }],
            total_size: 1,
            ..v1::GetOperationResponse::default()
        }))
    }

    async fn list_transitions(
        &self,
        _: Request<v1::ListTransitionsRequest>,
    ) -> Result<Response<v1::ListTransitionsResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_instances(
        &self,
        _: Request<v1::ListInstancesRequest>,
    ) -> Result<Response<v1::ListInstancesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn wait_for_revision(
        &self,
        _: Request<v1::WaitForRevisionRequest>,
    ) -> Result<Response<Self::WaitForRevisionStream>, Status> {
        Err(Status::unimplemented("no waiting here"))
    }

    async fn set_breaker_override(
        &self,
        request: Request<v1::SetBreakerOverrideRequest>,
    ) -> Result<Response<v1::SetBreakerOverrideResponse>, Status> {
        let author = request.metadata().get("fusebox-author");
        let author = author.and_then(|name| name.to_str().ok());
        let author = author.unwrap_or_default().to_owned();
        let request = request.into_inner();
        let mut standing = request.r#override.clone().unwrap_or_default();
        let validate_only = request.validate_only;
        let mut said = self.0.lock().unwrap();
        said.orders.push((request, author));
        if standing.reason.contains("moon") {
            return Err(Status::failed_precondition(REFUSAL));
        }
        let reach = Some(v1::Reach {
            instances: 5,
            too_old: 0,
        });
        if !validate_only {
            standing.id = 41;
            said.overrides.push(v1::OverrideStatus {
                r#override: Some(standing.clone()),
                reach,
                time_left: standing.ttl,
            });
        }
        Ok(Response::new(v1::SetBreakerOverrideResponse {
            r#override: Some(standing),
            reach,
            warnings: vec!["it shadows override 3".to_owned()],
            coverage: Some(COVERAGE),
        }))
    }

    async fn clear_breaker_override(
        &self,
        request: Request<v1::ClearBreakerOverrideRequest>,
    ) -> Result<Response<v1::ClearBreakerOverrideResponse>, Status> {
        let id = request.into_inner().id;
        let all = &mut self.0.lock().unwrap().overrides;
        let is = |one: &v1::OverrideStatus| one.r#override.as_ref().is_some_and(|it| it.id == id);
        let at = all.iter().position(is);
        let at = at.ok_or_else(|| Status::not_found(format!("no override {id} is in force")))?;
        let gone = all.remove(at);
        Ok(Response::new(v1::ClearBreakerOverrideResponse {
            r#override: gone.r#override,
            revision: 42,
            reach: gone.reach,
        }))
    }

    async fn list_breaker_overrides(
        &self,
        _: Request<v1::ListBreakerOverridesRequest>,
    ) -> Result<Response<v1::ListBreakerOverridesResponse>, Status> {
        Ok(Response::new(v1::ListBreakerOverridesResponse {
            overrides: self.0.lock().unwrap().overrides.clone(),
            coverage: Some(COVERAGE),
        }))
    }

    async fn reset_breakers(
        &self,
        request: Request<v1::ResetBreakersRequest>,
    ) -> Result<Response<v1::ResetBreakersResponse>, Status> {
        Ok(Response::new(v1::ResetBreakersResponse {
            id: u64::from(!request.into_inner().validate_only) * 43,
            ..v1::ResetBreakersResponse::default()
        }))
    }
}
