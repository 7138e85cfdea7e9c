//! How long a change takes to reach a connected process: measured and printed, asserted only to
//! arrive.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::io::{self, Write};

use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::clock::{monotonic_us, wall_us};
use fusebox_tests::operator::revision;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use serde_json::json;
use tonic::transport::Channel;

const UPDATES: u32 = 30;

/// One update, in microseconds of the clock that all processes share.
struct Measured {
    /// When it was asked for.
    asked: u64,
    /// When the server had checked it and went to write it to the disk: the policy's update time.
    written: u64,
    /// When its author had the answer.
    answered: u64,
    /// When a process had it in force.
    applied: u64,
}

/// What an update tells: the policy's revision, and its update time as microseconds of a day.
type Updated = (u64, u64);

const DAY_US: u64 = 86_400_000_000;

fn measure(caller: &Caller, update: impl FnOnce() -> Updated) -> Measured {
    let asked = monotonic_us();
    let (revision, update_time) = update();
    let answered = monotonic_us();
    // How long ago by the wall clock, whatever day it is.
    let ago = (wall_us() % DAY_US + DAY_US - update_time) % DAY_US;
    let written = monotonic_us().saturating_sub(ago);
    let applied = caller.wait_for_revision(revision);
    let applied = applied["at_us"].as_u64().unwrap();
    Measured {
        asked,
        written,
        answered,
        applied,
    }
}

/// The time of day in a timestamp such as `2026-11-23T23:40:52.984169148Z`.
fn time_of_day_us(timestamp: &str) -> u64 {
    let (_, time) = timestamp.trim_end_matches('Z').split_once('T').unwrap();
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let seconds = time.split(':').map(|part| part.parse::<u64>().unwrap());
    let seconds = seconds.fold(0, |sum, part| sum * 60 + part);
    seconds * 1_000_000 + format!("{fraction:0<6.6}").parse::<u64>().unwrap()
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
        measure(&caller, || {
            let policy = grpcurl.put(&policy).unwrap();
            let update_time = policy["updateTime"].as_str().unwrap();
            (revision(&policy), time_of_day_us(update_time))
        })
    });
    report("grpcurl", &by_grpcurl.collect::<Vec<_>>());

    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let mut client = runtime.block_on(connect(&server));
    let by_client = (0..UPDATES).map(|i| {
        let request = request(i + 1);
        measure(&caller, || {
            let answer = runtime.block_on(client.update_policy(request)).unwrap();
            let policy = answer.into_inner().policy.unwrap();
            let update_time = policy.update_time.unwrap();
            let of_day = u64::try_from(update_time.seconds).unwrap() % 86_400 * 1_000_000;
            (
                policy.revision,
                of_day + u64::try_from(update_time.nanos).unwrap() / 1_000,
            )
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

/// Prints the distributions. A process may enforce a change before its author has the answer: then
/// it took no time from there.
fn report(author: &str, measured: &[Measured]) {
    assert_eq!(measured.len(), usize::try_from(UPDATES).unwrap());
    type Span = fn(&Measured) -> u64;
    let spans: [(&str, Span); 4] = [
        ("written to applied in a connected SDK", |one| {
            one.applied.saturating_sub(one.written)
        }),
        ("asked to applied in a connected SDK", |one| {
            one.applied - one.asked
        }),
        ("asked to answered", |one| one.answered - one.asked),
        ("answered to applied in a connected SDK", |one| {
            one.applied.saturating_sub(one.answered)
        }),
    ];
    for (what, span) in spans {
        let mut spans: Vec<_> = measured.iter().map(span).collect();
        spans.sort_unstable();
        let at = |share: usize| to_ms(spans[(spans.len() - 1) * share / 100]);
        let (median, p99, max) = (at(50), at(99), at(100));
        // Past the capture of a test's output, so that whoever runs the tests reads it.
        let line = format!(
            "{UPDATES} policies by {author}, {what}: \
             median {median:.2} ms, p99 {p99:.2} ms, max {max:.2} ms\n"
        );
        io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes fit")]
fn to_ms(us: u64) -> f64 {
    us as f64 / 1e3
}
