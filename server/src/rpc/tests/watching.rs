//! FleetService for whoever looks on: operations one by one, what breakers did, what changes.

use super::fleet::{operation, report};
use super::*;
use crate::fleet::MAX_ONLOOKERS;

fn transition(number: u64, to: v1::CircuitState) -> Up {
    Up::Transition(v1::Transition {
        operation: "pay".into(),
        number,
        from: v1::CircuitState::Closed.into(),
        to: to.into(),
        cause: "3 consecutive failures".into(),
        ..Default::default()
    })
}

/// A process that has reported `names`, and what it hears.
async fn reporting(server: &Server, service: &str, names: &[&str]) -> Peer {
    let mut peer = Peer::of(server, service).await;
    peer.apply().await;
    let operations = names.iter().map(|name| operation(name, 1, 0));
    report(&mut peer, 1, operations.collect()).await;
    peer
}

struct Watcher(Streaming<v1::WatchFleetResponse>);

impl Watcher {
    async fn of(server: &Server, request: v1::WatchFleetRequest) -> Self {
        let watch = server.fleet().watch_fleet(request).await;
        Self(watch.unwrap().into_inner())
    }

    async fn next(&mut self) -> Result<Option<v1::WatchFleetResponse>, Status> {
        let next = tokio::time::timeout(SOON, self.0.message());
        next.await.expect("nothing was heard soon")
    }

    /// Until a message is as wanted.
    async fn until(
        &mut self,
        wanted: impl Fn(&v1::WatchFleetResponse) -> bool,
    ) -> v1::WatchFleetResponse {
        loop {
            let news = self.next().await.unwrap().expect("the watch has ended");
            if wanted(&news) {
                return news;
            }
        }
    }
}

fn open_in(news: &v1::WatchFleetResponse, operation: &str) -> Option<u32> {
    let mut operations = news.operations.iter();
    let status = operations.find(|status| status.operation == operation)?;
    Some(status.instances.unwrap().open)
}

#[tokio::test]
async fn a_watch_tells_everything_once_and_then_a_breaker_that_opens_and_why() {
    let server = Server::start().await;
    let mut peer = reporting(&server, "checkout", &["pay", "ship"]).await;
    let mut watcher = Watcher::of(&server, Default::default()).await;
    let all = watcher.until(|news| news.synced).await;
    assert_eq!(all.operations.len(), 2);
    peer.say(transition(1, v1::CircuitState::Open)).await;
    peer.settle(2).await;
    let news = watcher.until(|news| !news.transitions.is_empty()).await;
    assert_eq!(open_in(&news, "pay"), Some(1));
    assert_eq!(open_in(&news, "ship"), None, "it is as it was");
    let told = &news.transitions[0];
    assert_eq!((told.operation.as_str(), told.number), ("pay", 1));
    assert_eq!(told.cause, "3 consecutive failures");
}

#[tokio::test]
async fn a_watch_of_an_idle_fleet_is_synced_at_once_and_learns_of_its_first_operation() {
    let server = Server::start().await;
    let mut watcher = Watcher::of(&server, Default::default()).await;
    let nothing = watcher.next().await.unwrap().unwrap();
    assert!(nothing.synced && nothing.operations.is_empty());
    let _peer = reporting(&server, "checkout", &["pay"]).await;
    watcher.until(|news| open_in(news, "pay") == Some(0)).await;
}

#[tokio::test]
async fn a_watch_tells_only_what_it_was_asked_for() {
    let server = Server::start().await;
    let mut peer = reporting(&server, "checkout", &["pay", "ship"]).await;
    let request = v1::WatchFleetRequest {
        service: "check*".into(),
        operation: "ship".into(),
        ..Default::default()
    };
    let mut watcher = Watcher::of(&server, request).await;
    let all = watcher.until(|news| news.synced).await;
    assert_eq!(all.operations.len(), 1);
    peer.say(transition(1, v1::CircuitState::Open)).await;
    report(&mut peer, 2, vec![operation("ship", 5, 0)]).await;
    let calls = |news: &v1::WatchFleetResponse| news.operations.first().map(|it| it.calls_total);
    let news = watcher.until(|news| calls(news) == Some(5)).await;
    assert_eq!(news.transitions, []);
}

#[tokio::test]
async fn whoever_reads_slowly_is_told_all_that_changed_in_few_messages() {
    let server = Server::start().await;
    let mut peer = reporting(&server, "checkout", &["pay"]).await;
    let mut watcher = Watcher::of(&server, Default::default()).await;
    watcher.until(|news| news.synced).await;
    for number in 1..=500 {
        peer.say(transition(number, v1::CircuitState::Open)).await;
    }
    peer.settle(2).await;
    let (mut messages, mut told) = (0, Vec::new());
    while told.len() < 500 {
        let news = watcher.next().await.unwrap().unwrap();
        messages += 1;
        told.extend(news.transitions.iter().map(|record| record.number));
    }
    assert_eq!(told, (1..=500).collect::<Vec<_>>());
    assert!(messages < 50, "{messages}");
}

#[tokio::test]
async fn watchers_are_bounded_and_one_that_leaves_makes_room() {
    let server = Server::start().await;
    let mut watchers = Vec::new();
    for _ in 0..MAX_ONLOOKERS {
        watchers.push(Watcher::of(&server, Default::default()).await);
    }
    let mut fleet = server.fleet();
    let refused = fleet.watch_fleet(v1::WatchFleetRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    watchers.pop();
    eventually(|| async {
        let watch = server
            .fleet()
            .watch_fleet(v1::WatchFleetRequest::default())
            .await;
        watch.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_watch_ends_with_unavailable_when_the_server_stops() {
    let server = Server::start().await;
    let mut watcher = Watcher::of(&server, Default::default()).await;
    watcher.until(|news| news.synced).await;
    server.stop.cancel();
    let ended = loop {
        match watcher.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_watch_that_makes_no_sense_is_refused_with_every_field() {
    let server = Server::start().await;
    let request = v1::WatchFleetRequest {
        namespace: "No Namespace".into(),
        service: "no service".into(),
        operation: "no operation".into(),
        refresh_interval: Some(prost_types::Duration {
            seconds: 61,
            nanos: 0,
        }),
    };
    let status = server.fleet().watch_fleet(request).await.unwrap_err();
    let expected = ["namespace", "service", "operation", "refresh_interval"];
    assert_eq!(fields(&status), expected);
}

#[tokio::test]
async fn an_operation_is_told_with_its_instances_its_rules_and_its_transitions() {
    let server = Server::start().await;
    server.put(policy("payments", "checkout")).await;
    let mut peer = reporting(&server, "checkout", &["pay"]).await;
    peer.say(transition(1, v1::CircuitState::Open)).await;
    peer.settle(2).await;
    let request = v1::GetOperationRequest {
        service: "checkout".into(),
        operation: "pay".into(),
        ..Default::default()
    };
    let found = server.fleet().get_operation(request).await.unwrap();
    let found = found.into_inner();
    assert_eq!(found.operation.unwrap().instances.unwrap().open, 1);
    let [instance] = &found.instances[..] else {
        panic!("{:?}", found.instances);
    };
    assert_eq!(instance.instance_id, "i-1");
    assert_eq!(instance.circuit_state(), v1::CircuitState::Open);
    assert!(instance.connected && !instance.stale);
    assert_eq!(found.transitions[0].number, 1);
    let effective = found.effective.unwrap();
    let fields: Vec<_> = effective
        .fields
        .iter()
        .filter(|field| field.policy == "payments")
        .collect();
    assert_eq!(fields.len(), 1, "{effective:?}");
}

#[tokio::test]
async fn an_operation_that_nobody_knows_is_not_found_and_one_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut fleet = server.fleet();
    let request = v1::GetOperationRequest {
        service: "checkout".into(),
        operation: "pay".into(),
        ..Default::default()
    };
    let unknown = fleet.get_operation(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let bad = v1::GetOperationRequest {
        namespace: "No Namespace".into(),
        page_size: -1,
        page_token: "x".into(),
        ..Default::default()
    };
    let status = fleet.get_operation(bad).await.unwrap_err();
    let expected = [
        "namespace",
        "service",
        "operation",
        "page_size",
        "page_token",
    ];
    assert_eq!(fields(&status), expected);
}

#[tokio::test]
async fn transitions_come_newest_first_and_page_by_page() {
    let server = Server::start().await;
    let mut peer = reporting(&server, "checkout", &["pay"]).await;
    for number in 1..=5 {
        peer.say(transition(number, v1::CircuitState::Open)).await;
    }
    peer.settle(2).await;
    let (mut page_token, mut numbers) = (String::new(), Vec::new());
    loop {
        let request = v1::ListTransitionsRequest {
            operation: "p*".into(),
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = server
            .fleet()
            .list_transitions(request)
            .await
            .unwrap()
            .into_inner();
        numbers.extend(page.transitions.iter().map(|record| record.number));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            assert!(!page.truncated);
            break;
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    let elsewhere = v1::ListTransitionsRequest {
        instance_id: "i-2".into(),
        ..Default::default()
    };
    let page = server.fleet().list_transitions(elsewhere).await.unwrap();
    assert_eq!(page.into_inner().transitions, []);
}

#[tokio::test]
async fn operations_are_listed_by_state_in_the_order_asked_for_and_page_by_page() {
    let server = Server::start().await;
    let mut peer = reporting(&server, "checkout", &["pay", "a", "b", "c"]).await;
    peer.say(transition(1, v1::CircuitState::Open)).await;
    peer.settle(2).await;
    let mut fleet = server.fleet();
    let mut names = async |request: v1::ListOperationsRequest| {
        let page = fleet.list_operations(request).await.unwrap().into_inner();
        let names = page.operations.into_iter().map(|status| status.operation);
        (names.collect::<Vec<_>>(), page.next_page_token)
    };
    let worst = v1::ListOperationsRequest {
        page_size: 1,
        ..Default::default()
    };
    let (first, token) = names(worst.clone()).await;
    assert_eq!(first, ["pay"]);
    let (next, _) = names(v1::ListOperationsRequest {
        page_token: token.clone(),
        page_size: 3,
        ..worst
    })
    .await;
    assert_eq!(next, ["a", "b", "c"]);
    let open = v1::ListOperationsRequest {
        states: vec![v1::CircuitState::Open.into()],
        ..Default::default()
    };
    assert_eq!(names(open).await.0, ["pay"]);
    let other = v1::ListOperationsRequest {
        page_token: token,
        order: 2,
        states: vec![0],
        kind: 99,
        ..Default::default()
    };
    let status = server.fleet().list_operations(other).await.unwrap_err();
    assert_eq!(fields(&status), ["kind", "states[0]", "page_token"]);
}
