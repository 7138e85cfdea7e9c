//! How long a change takes to reach a connected process: measured and printed, asserted only to
//! arrive. Run with `--nocapture` to read it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::clock::monotonic_us;
use fusebox_tests::operator::revision;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use serde_json::json;
use tonic::transport::Channel;

const UPDATES: u32 = 30;

/// One update: when it was asked for, when its answer was there, when a process enforced it.
struct Measured {
    asked_us: u64,
    answered_us: u64,
    applied_us: u64,
}

fn measure(caller: &Caller, update: impl FnOnce() -> u64) -> Measured {
    let asked_us = monotonic_us();
    let revision = update();
    let answered_us = monotonic_us();
    let applied = caller.wait_for_revision(revision);
    let applied_us = applied["at_us"].as_u64().unwrap();
    Measured {
        asked_us,
        answered_us,
        applied_us,
    }
}

#[test]
fn every_change_by_grpcurl_or_by_a_connected_client_reaches_a_connected_process() {
    let (server, upstream) = (Server::start(Options::new()), Upstream::start());
    let calling = Calling::new("checkout", "one", "payments.charge", &upstream.url("/"));
    let caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_link(true);

    let grpcurl = server.grpcurl();
    let by_grpcurl = (0..UPDATES).map(|i| {
        let policy = json!({
            "name": "payments",
            "selector": {"service": "checkout"},
            "rules": {"retry": {"maxAttempts": i + 1}},
        });
        measure(&caller, || revision(&grpcurl.put(&policy).unwrap()))
    });
    report("grpcurl", &by_grpcurl.collect::<Vec<_>>());

    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let mut client = runtime.block_on(connect(&server));
    let by_client = (0..UPDATES).map(|i| {
        let request = request(i + 1);
        measure(&caller, || {
            let answer = runtime.block_on(client.update_policy(request)).unwrap();
            answer.into_inner().policy.unwrap().revision
        })
    });
    report("a connected client", &by_client.collect::<Vec<_>>());
}

async fn connect(server: &Server) -> PolicyServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", server.grpc_addr())).unwrap();
    PolicyServiceClient::new(endpoint.connect().await.unwrap())
}

fn request(max_attempts: u32) -> v1::UpdatePolicyRequest {
    let retry = v1::Retry {
        max_attempts: Some(max_attempts),
        ..v1::Retry::default()
    };
    let rules = v1::Rules {
        retry: Some(retry),
        ..v1::Rules::default()
    };
    let policy = v1::Policy {
        name: "payments".into(),
        rules: Some(rules),
        ..v1::Policy::default()
    };
    v1::UpdatePolicyRequest {
        policy: Some(policy),
        ..v1::UpdatePolicyRequest::default()
    }
}

/// Prints the distribution. A process may enforce a change before its author's answer is back:
/// then it took no time from there.
fn report(author: &str, measured: &[Measured]) {
    assert_eq!(measured.len(), usize::try_from(UPDATES).unwrap());
    type Span = fn(&Measured) -> u64;
    let write: Span = |one| one.answered_us - one.asked_us;
    let asked: Span = |one| one.applied_us - one.asked_us;
    let answered: Span = |one| one.applied_us.saturating_sub(one.answered_us);
    for (what, span) in [
        ("asked to answered", write),
        ("asked to applied in a connected SDK", asked),
        ("answered to applied in a connected SDK", answered),
    ] {
        let mut spans: Vec<_> = measured.iter().map(span).collect();
        spans.sort_unstable();
        let at = |share: usize| to_ms(spans[(spans.len() - 1) * share / 100]);
        let (median, p99, max) = (at(50), at(99), at(100));
        println!(
            "policy by {author}, {what}, {UPDATES} updates: \
             median {median:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes fit")]
fn to_ms(us: u64) -> f64 {
    us as f64 / 1e3
}
