//! FleetService: what processes reported, counted and bounded.

use fusebox_core::key::{Kind, Namespace, OperationName, Service};
use fusebox_core::policy::Origin;
use fusebox_core::stats::OperationKey;

use super::*;

pub(super) fn operation(name: &str, success: u64, failure: u64) -> v1::OperationStats {
    v1::OperationStats {
        operation: name.into(),
        calls: Some(v1::CallCounts {
            success,
            failure,
            ..Default::default()
        }),
        latency: Some(v1::LatencyHistogram {
            bucket_deltas: vec![100],
            counts: vec![success + failure],
        }),
        circuit_state: v1::CircuitState::Closed.into(),
        ..Default::default()
    }
}

async fn operations(
    server: &Server,
    request: v1::ListOperationsRequest,
) -> v1::ListOperationsResponse {
    server
        .fleet()
        .list_operations(request)
        .await
        .unwrap()
        .into_inner()
}

pub(super) async fn report(peer: &mut Peer, number: u64, operations: Vec<v1::OperationStats>) {
    peer.say(Up::StatsReport(v1::StatsReport {
        number,
        operations,
        span: None,
    }))
    .await;
    assert_eq!(
        peer.hear().await,
        Down::ReportAck(v1::ReportAck {
            number,
            report_interval: None,
        })
    );
}

#[tokio::test]
async fn what_a_process_reports_is_what_an_operator_sees() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    let declared = v1::OperationDeclared {
        operation: "pay".into(),
        kind: v1::Kind::Database.into(),
        ..Default::default()
    };
    peer.say(Up::OperationDeclared(declared)).await;
    report(&mut peer, 1, vec![operation("pay", 3, 1)]).await;
    let answer = operations(&server, Default::default()).await;
    let seen = &answer.operations[0];
    assert_eq!(
        (seen.service.as_str(), seen.operation.as_str()),
        ("checkout", "pay")
    );
    assert_eq!(seen.kind(), v1::Kind::Database);
    assert_eq!(seen.calls_total, 4);
    assert_eq!((seen.failure_ratio, seen.ratio_sample), (0.25, 4));
    assert_eq!(seen.instances.unwrap().closed, 1);
    assert!(seen.p50.is_some());
    assert_eq!(answer.coverage.unwrap().servers_total, 1);
}

#[tokio::test]
async fn what_connected_processes_set_by_themselves_is_known_as_long_as_they_are() {
    let server = Server::start().await;
    let key = OperationKey {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        operation: OperationName::new("pay").unwrap(),
    };
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    peer.say(declared(7)).await;
    peer.settle(1).await;
    let known = server.aggregate.declared(&key).unwrap();
    assert_eq!((known.kind, known.idempotent), (Kind::Database, true));
    let (origin, rules) = &known.layers[0];
    assert_eq!(*origin, Origin::CallSite);
    assert_eq!(rules.timeout.attempt, Some(Duration::from_secs(7)));
    assert!(!known.differ);
    peer.say(declared(-1)).await;
    peer.settle(2).await;
    assert_eq!(server.trouble("invalid"), 1);
    assert_eq!(server.aggregate.declared(&key).as_ref(), Some(&known));
    drop(peer);
    eventually(|| async {
        tokio::task::yield_now().await;
        server.aggregate.declared(&key).is_none()
    })
    .await;
}

#[tokio::test]
async fn a_transition_is_seen_at_once() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    report(&mut peer, 1, vec![operation("pay", 0, 3)]).await;
    let transition = v1::Transition {
        override_id: 0,
        operation: "pay".into(),
        number: 1,
        from: v1::CircuitState::Closed.into(),
        to: v1::CircuitState::Open.into(),
        cause: "3 consecutive failures".into(),
        age: None,
    };
    peer.say(Up::Transition(transition)).await;
    peer.settle(2).await;
    let answer = operations(&server, Default::default()).await;
    assert_eq!(answer.operations[0].instances.unwrap().open, 1);
}

#[tokio::test]
async fn an_illegal_operation_in_a_report_costs_its_siblings_nothing() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    report(
        &mut peer,
        1,
        vec![operation("not a name", 1, 0), operation("pay", 1, 0)],
    )
    .await;
    let answer = operations(&server, Default::default()).await;
    assert_eq!(answer.total_size, 1);
    assert_eq!(server.trouble("invalid"), 1);
}

#[tokio::test]
async fn a_view_is_cut_to_the_page_and_says_how_much_there_is() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    let all = (0..150)
        .map(|i| operation(&format!("op{i}"), 1, 0))
        .collect();
    report(&mut peer, 1, all).await;
    for (page_size, expected) in [(0, 100), (7, 7), (5000, 150)] {
        let request = v1::ListOperationsRequest {
            page_size,
            ..Default::default()
        };
        let answer = operations(&server, request).await;
        assert_eq!(
            (answer.operations.len(), answer.total_size),
            (expected, 150)
        );
    }
}

#[tokio::test]
async fn a_view_of_what_cannot_be_is_refused() {
    let server = Server::start().await;
    let request = v1::ListOperationsRequest {
        namespace: "Not A Namespace".into(),
        service: "not a service".into(),
        page_size: -1,
        ..Default::default()
    };
    let status = server.fleet().list_operations(request).await.unwrap_err();
    assert_eq!(fields(&status), ["namespace", "service", "page_size"]);
    let request = v1::ListInstancesRequest {
        page_size: -1,
        ..Default::default()
    };
    let status = server.fleet().list_instances(request).await.unwrap_err();
    assert_eq!(fields(&status), ["page_size"]);
}
