//! A policy service that answers as it is told, and what it may answer.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use fusebox_proto::v1;
use fusebox_proto::v1::policy_diff::Action;
use fusebox_proto::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use fusebox_tests::ports;
use tonic::{Request, Response, Status};

/// It answers each ApplyPolicies alike, and keeps what it was asked.
#[derive(Clone)]
pub(crate) struct Told {
    answer: Result<v1::ApplyPoliciesResponse, Status>,
    asked: Arc<Mutex<Vec<(v1::ApplyPoliciesRequest, String)>>>,
}

impl Told {
    pub(crate) fn new(answer: Result<v1::ApplyPoliciesResponse, Status>) -> Self {
        let asked = Arc::default();
        Self { answer, asked }
    }

    /// Serves until the test program ends.
    pub(crate) fn serve(&self) -> SocketAddr {
        let service = PolicyServiceServer::new(self.clone());
        let listener = ports::listener();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder().add_service(service);
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        addr
    }

    pub(crate) fn asked(&self) -> Vec<(v1::ApplyPoliciesRequest, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Methods as `async_trait` would make them of an `async fn`.
macro_rules! answers {
    ($($method:ident($request:ident) -> $response:ty = $answer:expr;)+) => {$(
        fn $method<'a, 'b>(
            &'a self,
            request: Request<v1::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            let answer: fn(&Self, Request<v1::$request>) -> Result<$response, Status> = $answer;
            let answer = answer(self, request).map(Response::new);
            Box::pin(async { answer })
        }
    )+};
}

fn nobody_asks<Q, A>(_: &Told, _: Request<Q>) -> Result<A, Status> {
    Err(Status::unimplemented("nobody asks for it here"))
}

impl PolicyService for Told {
    type WatchPoliciesStream = tokio_stream::Empty<Result<v1::WatchPoliciesResponse, Status>>;

    answers! {
        apply_policies(ApplyPoliciesRequest) -> v1::ApplyPoliciesResponse = |told, request| {
            let author = request.metadata().get("fusebox-author").unwrap();
            let author = author.to_str().unwrap().to_owned();
            told.asked.lock().unwrap().push((request.into_inner(), author));
            told.answer.clone()
        };
        create_policy(CreatePolicyRequest) -> v1::CreatePolicyResponse = nobody_asks;
        get_policy(GetPolicyRequest) -> v1::GetPolicyResponse = nobody_asks;
        list_policies(ListPoliciesRequest) -> v1::ListPoliciesResponse = nobody_asks;
        update_policy(UpdatePolicyRequest) -> v1::UpdatePolicyResponse = nobody_asks;
        delete_policy(DeletePolicyRequest) -> v1::DeletePolicyResponse = nobody_asks;
        list_policy_revisions(ListPolicyRevisionsRequest) -> v1::ListPolicyRevisionsResponse = nobody_asks;
        rollback_policy(RollbackPolicyRequest) -> v1::RollbackPolicyResponse = nobody_asks;
        explain_policy(ExplainPolicyRequest) -> v1::ExplainPolicyResponse = nobody_asks;
        watch_policies(WatchPoliciesRequest) -> Self::WatchPoliciesStream = nobody_asks;
        list_audit_events(ListAuditEventsRequest) -> v1::ListAuditEventsResponse = nobody_asks;
    }
}

pub(crate) fn diff(name: &str, action: Action) -> v1::PolicyDiff {
    let changed = action == Action::Update;
    let change = v1::FieldChange {
        field: "rules.timeout.attempt".to_owned(),
        before: "1s".to_owned(),
        after: "0.800s".to_owned(),
    };
    v1::PolicyDiff {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        action: action.into(),
        changes: changed.then_some(change).into_iter().collect(),
        ..v1::PolicyDiff::default()
    }
}

pub(crate) fn response(diffs: Vec<v1::PolicyDiff>) -> v1::ApplyPoliciesResponse {
    let revision = 12;
    v1::ApplyPoliciesResponse {
        diffs,
        revision,
        reach: None,
    }
}
