//! WaitForRevision: who has a revision, who does not and why, and how a wait ends.

use v1::wait_for_revision_response::State;

use super::*;
use crate::distribution::MAX_WAITS;

fn named(service: &str, instance: &str) -> v1::Hello {
    v1::Hello {
        instance_id: instance.into(),
        ..hello(service)
    }
}

/// A process that has applied all there is.
async fn applied(server: &Server, service: &str, instance: &str) -> Peer {
    let mut peer = Peer::with(server, named(service, instance)).await;
    peer.welcome().await;
    peer.apply().await;
    peer.settle(1).await;
    peer
}

fn refusal(policy: &str, revision: u64) -> v1::Refusal {
    v1::Refusal {
        policy: policy.into(),
        revision,
        field: "rules.retry.budget".into(),
        reason: "needs schema 9".into(),
    }
}

fn of(revision: u64) -> v1::WaitForRevisionRequest {
    v1::WaitForRevisionRequest {
        revision,
        ..Default::default()
    }
}

fn within(revision: u64, millis: i32) -> v1::WaitForRevisionRequest {
    v1::WaitForRevisionRequest {
        deadline: Some(prost_types::Duration {
            seconds: 0,
            nanos: millis * 1_000_000,
        }),
        ..of(revision)
    }
}

/// One who waits.
struct Wait(Streaming<v1::WaitForRevisionResponse>);

impl Wait {
    async fn begin(server: &Server, request: v1::WaitForRevisionRequest) -> Self {
        let response = server.fleet().wait_for_revision(request).await;
        Self(response.unwrap().into_inner())
    }

    async fn next(&mut self) -> Result<Option<v1::WaitForRevisionResponse>, Status> {
        let next = tokio::time::timeout(SOON, self.0.message());
        next.await.expect("nothing was told soon")
    }

    /// The first message for which `condition` holds.
    async fn until(
        &mut self,
        condition: impl Fn(&v1::WaitForRevisionResponse) -> bool,
    ) -> v1::WaitForRevisionResponse {
        loop {
            let told = self.next().await.unwrap().expect("it has ended");
            if condition(&told) {
                return told;
            }
        }
    }

    /// The message that says REACHED, behind which nothing comes.
    async fn reached(&mut self) -> v1::WaitForRevisionResponse {
        let told = self.until(|told| told.state() == State::Reached).await;
        assert_eq!(self.next().await.unwrap(), None);
        told
    }

    /// The message that says EXPIRED and the status behind it.
    async fn expired(&mut self) -> (v1::WaitForRevisionResponse, Status) {
        let told = self.until(|told| told.state() == State::Expired).await;
        let status = self.next().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        (told, status)
    }
}

/// Applied, pending, refused, gone.
fn counts(told: &v1::WaitForRevisionResponse) -> (u32, u32, u32, u32) {
    (told.applied, told.pending, told.refused, told.gone)
}

#[tokio::test]
async fn a_revision_that_concerns_nobody_connected_is_reached_at_once() {
    let server = Server::start().await;
    let _peer = applied(&server, "checkout", "i-1").await;
    let revision = server.put(policy("a", "search")).await;
    let mut wait = Wait::begin(&server, of(revision)).await;
    let told = wait.next().await.unwrap().unwrap();
    assert_eq!(
        (told.state(), counts(&told)),
        (State::Reached, (1, 0, 0, 0))
    );
    assert_eq!(told.coverage.unwrap().servers_reporting, 1);
    assert_eq!(wait.next().await.unwrap(), None);
    let elsewhere = v1::WaitForRevisionRequest {
        service: "nobody".into(),
        ..of(revision)
    };
    let told = Wait::begin(&server, elsewhere).await.reached().await;
    assert_eq!(counts(&told), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_process_is_pending_until_it_acknowledges() {
    let server = Server::start().await;
    let mut peer = applied(&server, "checkout", "i-1").await;
    let revision = server.put(policy("a", "checkout")).await;
    let mut wait = Wait::begin(&server, of(revision)).await;
    let told = wait.until(|told| told.pending == 1).await;
    assert_eq!(told.state(), State::Waiting);
    let example = &told.examples[0];
    assert_eq!(
        (example.service.as_str(), example.instance_id.as_str()),
        ("checkout", "i-1")
    );
    assert_eq!((example.applied_revision, example.refusals.len()), (0, 0));
    peer.apply().await;
    let told = wait.reached().await;
    assert_eq!((told.revision, counts(&told)), (revision, (1, 0, 0, 0)));
    assert!(told.examples.is_empty());
}

#[tokio::test]
async fn who_refuses_is_named_with_the_reason() {
    let server = Server::start().await;
    let _other = applied(&server, "search", "i-1").await;
    let mut peer = applied(&server, "checkout", "i-3").await;
    let revision = server.put(policy("payments", "checkout")).await;
    let snapshot = peer.snapshot().await;
    let refusals = vec![refusal("payments", revision)];
    peer.say(Up::Nack(v1::Nack {
        revision: snapshot.revision,
        refusals: refusals.clone(),
    }))
    .await;
    peer.ack(snapshot.revision).await;
    peer.settle(2).await;
    let mut wait = Wait::begin(&server, within(revision, 50)).await;
    let (told, status) = wait.expired().await;
    assert_eq!(counts(&told), (1, 0, 1, 0));
    assert_eq!(told.examples[0].refusals, refusals);
    assert_eq!(told.examples[0].applied_revision, revision);
    assert_eq!(
        status.message(),
        "1 of 2 processes enforce revision 1; 0 pending, 1 refused: checkout/i-3 refuses payments: \
         rules.retry.budget needs schema 9"
    );
    server.put(policy("other", "checkout")).await;
    let snapshot = peer.snapshot().await;
    peer.say(Up::Nack(v1::Nack {
        revision: snapshot.revision,
        refusals,
    }))
    .await;
    peer.ack(snapshot.revision).await;
    let told = Wait::begin(&server, of(snapshot.revision))
        .await
        .reached()
        .await;
    assert_eq!(counts(&told), (2, 0, 0, 0), "what is refused is older");
}

#[tokio::test]
async fn who_leaves_without_it_is_gone_until_it_is_back() {
    let server = Server::start().await;
    let stays = applied(&server, "checkout", "i-1").await;
    let leaves = applied(&server, "checkout", "i-2").await;
    let revision = server.put(policy("a", "checkout")).await;
    let mut wait = Wait::begin(&server, of(revision)).await;
    wait.until(|told| told.pending == 2).await;
    drop(leaves);
    let told = wait.until(|told| told.gone == 1).await;
    assert_eq!(counts(&told), (0, 1, 0, 1));
    let mut back = Peer::with(&server, named("checkout", "i-2")).await;
    back.welcome().await;
    let told = wait.until(|told| told.gone == 0).await;
    assert_eq!(counts(&told), (0, 2, 0, 0));
    back.apply().await;
    stays.ack(revision).await;
    assert_eq!(counts(&wait.reached().await), (2, 0, 0, 0));
}

#[tokio::test]
async fn who_is_gone_hinders_nobody() {
    let server = Server::start().await;
    let peer = applied(&server, "checkout", "i-1").await;
    let revision = server.put(policy("a", "checkout")).await;
    let mut wait = Wait::begin(&server, of(revision)).await;
    wait.until(|told| told.pending == 1).await;
    drop(peer);
    assert_eq!(counts(&wait.reached().await), (0, 0, 0, 1));
}

#[tokio::test]
async fn a_share_is_enough_if_it_is_asked_for() {
    let server = Server::start().await;
    let mut first = applied(&server, "checkout", "i-1").await;
    let _second = applied(&server, "checkout", "i-2").await;
    let revision = server.put(policy("a", "checkout")).await;
    let half = v1::WaitForRevisionRequest {
        share: Some(0.5),
        ..of(revision)
    };
    let more_than_half = v1::WaitForRevisionRequest {
        share: Some(0.51),
        ..within(revision, 200)
    };
    let mut wait = Wait::begin(&server, half).await;
    wait.until(|told| told.pending == 2).await;
    first.apply().await;
    assert_eq!(counts(&wait.reached().await), (1, 1, 0, 0));
    let (told, status) = Wait::begin(&server, more_than_half).await.expired().await;
    assert_eq!(counts(&told), (1, 1, 0, 0));
    assert_eq!(
        status.message(),
        "1 of 2 processes enforce revision 1; 1 pending, 0 refused: checkout/i-2 has not answered"
    );
}

#[tokio::test]
async fn a_server_that_has_just_started_reaches_nothing_yet() {
    let patience = Patience {
        reconnect: Duration::from_millis(400),
        ..Patience::default()
    };
    let server = Server::start_with(PACE, patience).await;
    let mut wait = Wait::begin(&server, of(0)).await;
    let told = wait.next().await.unwrap().unwrap();
    assert_eq!((told.state(), told.settling), (State::Waiting, true));
    let told = wait.reached().await;
    assert!(!told.settling);
}

#[tokio::test]
async fn a_wait_in_vain_on_a_server_that_has_just_started_says_so() {
    let server = Server::start_with(PACE, Patience::default()).await;
    let (told, status) = Wait::begin(&server, within(0, 30)).await.expired().await;
    assert!(told.settling);
    let text = status.message();
    assert!(text.ends_with("may be on their way back to it"), "{text}");
}

#[tokio::test]
async fn zero_is_the_latest_of_the_moment() {
    let server = Server::start().await;
    let mut peer = applied(&server, "checkout", "i-1").await;
    let revision = server.put(policy("a", "checkout")).await;
    let mut wait = Wait::begin(&server, of(0)).await;
    assert_eq!(wait.until(|_| true).await.revision, revision);
    peer.apply().await;
    server.put(policy("a", "checkout")).await;
    assert_eq!(wait.reached().await.revision, revision);
}

#[tokio::test]
async fn a_revision_that_is_not_here_yet_is_waited_for() {
    let server = Server::start().await;
    let mut peer = applied(&server, "checkout", "i-1").await;
    let (told, status) = Wait::begin(&server, within(1, 30)).await.expired().await;
    assert_eq!(counts(&told), (0, 1, 0, 0));
    let text = status.message();
    assert!(text.ends_with("; this server is at revision 0"), "{text}");
    let nobodys = v1::WaitForRevisionRequest {
        service: "nobody".into(),
        ..of(1)
    };
    let mut nobodys = Wait::begin(&server, nobodys).await;
    assert_eq!(nobodys.until(|_| true).await.state(), State::Waiting);
    let mut wait = Wait::begin(&server, of(1)).await;
    wait.until(|told| told.pending == 1).await;
    server.put(policy("a", "checkout")).await;
    peer.apply().await;
    assert_eq!(counts(&wait.reached().await), (1, 0, 0, 0));
    nobodys.reached().await;
}

#[tokio::test]
async fn a_wait_speaks_of_the_service_and_namespace_it_names() {
    let server = Server::start().await;
    let _checkout = applied(&server, "checkout", "i-1").await;
    let mut search = applied(&server, "search", "i-1").await;
    let revision = server.put(policy("a", "*")).await;
    let only = |namespace: &str, service: &str| v1::WaitForRevisionRequest {
        namespace: namespace.into(),
        service: service.into(),
        ..of(revision)
    };
    let mut wait = Wait::begin(&server, only("default", "search")).await;
    assert_eq!(counts(&wait.until(|_| true).await), (0, 1, 0, 0));
    search.apply().await;
    assert_eq!(counts(&wait.reached().await), (1, 0, 0, 0));
    let other = Wait::begin(&server, only("other", ""))
        .await
        .reached()
        .await;
    assert_eq!(counts(&other), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_silent_process_is_stale_in_a_wait_and_in_a_list() {
    let pace = Pace {
        heartbeat_interval: Duration::from_millis(600),
        ..PACE
    };
    let server = Server::start_with(pace, settled()).await;
    let peer = applied(&server, "checkout", "i-1").await;
    let revision = server.put(policy("a", "checkout")).await;
    let told = Wait::begin(&server, of(revision))
        .await
        .until(|_| true)
        .await;
    assert_eq!((told.pending, told.stale), (1, 0));
    eventually(|| async { server.instances().await[0].stale }).await;
    let told = Wait::begin(&server, of(revision))
        .await
        .until(|_| true)
        .await;
    assert_eq!((told.pending, told.stale), (1, 1));
    peer.say(Up::Heartbeat(v1::Heartbeat {})).await;
    eventually(|| async { !server.instances().await[0].stale }).await;
    let told = Wait::begin(&server, of(revision))
        .await
        .until(|_| true)
        .await;
    assert_eq!((told.pending, told.stale), (1, 0));
}

#[tokio::test]
async fn a_wait_for_what_cannot_be_is_told_everything_that_is_wrong_with_it() {
    let server = Server::start().await;
    let bad = v1::WaitForRevisionRequest {
        revision: 1,
        namespace: "Not A Namespace".into(),
        service: "not a service".into(),
        share: Some(0.0),
        deadline: Some(prost_types::Duration {
            seconds: 3601,
            nanos: 0,
        }),
    };
    let status = server.fleet().wait_for_revision(bad).await.unwrap_err();
    assert_eq!(
        fields(&status),
        ["namespace", "service", "share", "deadline"]
    );
    for share in [1.001, -0.5, f64::NAN, f64::INFINITY] {
        let bad = v1::WaitForRevisionRequest {
            share: Some(share),
            ..of(1)
        };
        let status = server.fleet().wait_for_revision(bad).await.unwrap_err();
        assert_eq!(fields(&status), ["share"], "{share}");
    }
    for (seconds, nanos) in [(0, 0), (-1, 0), (0, -1), (i64::MAX, 0), (1, i32::MAX)] {
        let bad = v1::WaitForRevisionRequest {
            deadline: Some(prost_types::Duration { seconds, nanos }),
            ..of(1)
        };
        let status = server.fleet().wait_for_revision(bad).await.unwrap_err();
        assert_eq!(fields(&status), ["deadline"], "{seconds} s {nanos} ns");
    }
}

#[tokio::test]
async fn more_waits_than_there_may_be_are_refused_until_others_go_away() {
    let server = Server::start().await;
    // Fewer on each connection than a connection takes.
    let clients: Vec<_> = (0..4).map(|_| server.fleet()).collect();
    let mut waits = Vec::new();
    for nth in 0..MAX_WAITS {
        let mut client = clients[nth % clients.len()].clone();
        waits.push(client.wait_for_revision(of(9)).await.unwrap());
    }
    let status = server.fleet().wait_for_revision(of(9)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("256 waits"), "{status:?}");
    drop(waits);
    eventually(|| async { server.fleet().wait_for_revision(of(9)).await.is_ok() }).await;
}

#[tokio::test]
async fn a_wait_ends_with_its_server() {
    let server = Server::start().await;
    let mut wait = Wait::begin(&server, of(9)).await;
    wait.until(|_| true).await;
    server.stop.cancel();
    assert_eq!(wait.next().await.unwrap_err().code(), Code::Unavailable);
    let _ = server.serving.await;
}
