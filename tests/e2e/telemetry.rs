//! What both ends tell OpenTelemetry, as a real receiver gets it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_tests::caller::Options as Calling;
use fusebox_tests::operator::{list, revision};
use fusebox_tests::oteltap::OtelTap;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(30);

/// The standard environment, with what exports soon instead of every minute.
fn environment(tap: &OtelTap) -> [(&'static str, String); 4] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", tap.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ]
}

fn observed(tap: &OtelTap) -> Options {
    let variables = environment(tap).into_iter();
    variables.fold(Options::new(), |options, (name, value)| {
        options.env(name, &value)
    })
}

/// Whether somewhere inside, there is an attribute of that name and text.
fn has(value: &Value, key: &str, text: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has(item, key, text)),
        Value::Object(fields) => {
            let named = fields.get("key").is_some_and(|name| name == key);
            let plain = fields.get(key).is_some_and(|value| value == text);
            let inside = || fields.values().any(|value| has(value, key, text));
            plain || (named && fields["value"]["stringValue"] == text) || inside()
        }
        _ => false,
    }
}

/// A histogram of seconds with buckets for what calls take: milliseconds mostly.
fn assert_tells_latencies_apart(metric: &Value) {
    assert_eq!(metric["unit"], "s", "{metric:#}");
    let points = list(&metric["histogram"], "dataPoints");
    assert!(!points.is_empty(), "{metric:#}");
    for point in points {
        let bounds = list(&point, "explicitBounds")
            .into_iter()
            .filter_map(|bound| bound.as_f64());
        let below_a_second = bounds.filter(|bound| (0.001..1.0).contains(bound)).count();
        assert!(below_a_second >= 5, "{point:#}");
    }
}

fn is_span(value: &Value, name: &str) -> bool {
    value.get("spanId").is_some() && value["name"] == name
}

fn is_metric(value: &Value, name: &str) -> bool {
    value.get("spanId").is_none() && value["name"] == name
}

#[test]
fn the_server_s_spans_and_call_durations_arrive() {
    let tap = OtelTap::start();
    let server = Server::start(observed(&tap));
    server.grpcurl().policy("nobodys").unwrap_err();
    let method = "fusebox.v1.PolicyService/GetPolicy";
    let span = tap.wait_for(LONG, |value| is_span(value, method));
    assert!(
        has(&span, "rpc.response.status_code", "NOT_FOUND"),
        "{span:#}"
    );
    let metric = tap.wait_for(LONG, |value| {
        is_metric(value, "rpc.server.call.duration") && has(value, "rpc.method", method)
    });
    assert_tells_latencies_apart(&metric);
    assert!(has(&metric, "rpc.system.name", "grpc"), "{metric:#}");
    assert!(
        has(&metric, "rpc.response.status_code", "NOT_FOUND"),
        "{metric:#}"
    );
}

#[test]
fn how_long_a_policy_took_to_a_process_that_enforces_it_arrives() {
    let tap = OtelTap::start();
    let (server, upstream) = (Server::start(observed(&tap)), Upstream::start());
    let calling = Calling::new("checkout", "one", OPERATION, &upstream.url("/"));
    let caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_link(true);
    let policy = json!({"name": "payments", "selector": {"service": "checkout"}});
    let written = server.grpcurl().put(&policy).unwrap();
    caller.wait_for_revision(revision(&written));
    let metric = tap.wait_for(LONG, |value| {
        is_metric(value, "fusebox.server.config.propagation.duration")
    });
    assert_tells_latencies_apart(&metric);
    tap.wait_for(LONG, |value| {
        is_metric(value, "fusebox.server.config.pushes") && has(value, "kind", "snapshot")
    });
}

const OPERATION: &str = "payments.charge";

/// What a process tells of a success, two failures that open its breaker, and a refusal.
fn observed_process() -> OtelTap {
    let tap = OtelTap::start();
    let (server, upstream) = (Server::start(Options::new()), Upstream::start());
    let policy = json!({
        "name": "payments",
        "selector": {"service": "checkout"},
        "rules": {
            "retry": {"maxAttempts": 2, "baseDelay": "0.001s", "maxDelay": "0.001s"},
            "circuitBreaker": {"consecutiveFailures": 2, "openDuration": "600s"},
        },
    });
    let written = server.grpcurl().put(&policy).unwrap();
    let calling = Calling::new("checkout", "one", OPERATION, &upstream.url("/"));
    let calling = calling.server(server.grpc_addr()).idempotent();
    let variables = environment(&tap).into_iter();
    let calling = variables.fold(calling, |calling, (name, value)| calling.env(name, &value));
    let mut caller = calling.start();
    caller.wait_for_revision(revision(&written));
    assert_eq!(caller.call()["outcome"], "success");
    upstream.behave(Behaviour::status(503));
    for outcome in ["failure", "failure", "refused"] {
        assert_eq!(caller.call()["outcome"], outcome);
    }
    assert!(caller.quit().success(), "it tells the rest before it ends");
    tap
}

#[test]
fn a_process_s_calls_attempts_and_transitions_arrive() {
    let tap = observed_process();
    let operation = |value: &Value| has(value, "fusebox.operation", OPERATION);
    let outcome = |value: &Value, outcome: &str| has(value, "fusebox.outcome", outcome);
    let failed = tap.wait_for(LONG, |value| {
        is_span(value, "fusebox.execute") && operation(value) && outcome(value, "failure")
    });
    let attempts = tap.received().into_iter().filter(|value| {
        is_span(value, "fusebox.attempt")
            && value["traceId"] == failed["traceId"]
            && value["parentSpanId"] == failed["spanId"]
    });
    assert_eq!(attempts.count(), 2, "two attempts of the first failed call");
    let metric = |name: &str, key: &str, text: &str| {
        tap.wait_for(LONG, |value| {
            is_metric(value, name) && operation(value) && has(value, key, text)
        })
    };
    for outcome in ["success", "failure"] {
        metric(
            "fusebox.client.execution.duration",
            "fusebox.outcome",
            outcome,
        );
    }
    metric(
        "fusebox.client.rejections",
        "fusebox.reason",
        "circuit_open",
    );
    metric(
        "fusebox.client.circuit_breaker.transitions",
        "fusebox.to",
        "open",
    );
}

#[test]
fn a_process_s_latencies_fall_into_buckets_of_milliseconds() {
    let tap = observed_process();
    let name = "fusebox.client.execution.duration";
    assert_tells_latencies_apart(&tap.wait_for(LONG, |value| is_metric(value, name)));
}

#[test]
fn a_refused_call_is_an_error_span_that_says_so() {
    let tap = observed_process();
    let refused = |value: &Value| has(value, "error.type", "circuit_open");
    let span = tap.wait_for(LONG, |value| {
        is_span(value, "fusebox.execute") && refused(value)
    });
    assert_eq!(span["status"]["code"], 2, "{span:#}");
}

#[test]
fn a_receiver_that_is_away_harms_nobody() {
    let gone = OtelTap::start();
    let (options, variables) = (observed(&gone), environment(&gone));
    drop(gone);
    let (mut server, upstream) = (Server::start(options), Upstream::start());
    let calling = Calling::new("checkout", "one", "payments.charge", &upstream.url("/"));
    let calling = calling.server(server.grpc_addr());
    let calling = variables
        .into_iter()
        .fold(calling, |calling, (name, value)| calling.env(name, &value));
    let mut caller = calling.start();
    caller.wait_for_link(true);
    assert_eq!(caller.call()["outcome"], "success");
    assert!(caller.quit().success());
    server.terminate();
    assert_eq!(server.wait_exit(LONG).code(), Some(0));
}
