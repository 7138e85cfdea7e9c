//! SyncService: how streams begin, who hears of what, how streams end.

use fusebox_core::policy::field::SCHEMA;

use super::*;

fn impatient() -> Patience {
    Patience {
        hello: Duration::from_millis(50),
        ..Patience::default()
    }
}

#[tokio::test]
async fn a_process_is_welcomed_and_sent_all_that_concerns_it() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    server.put(policy("b", "search")).await;
    let mut peer = Peer::with(&server, hello("checkout")).await;
    let welcome = peer.welcome().await;
    assert_eq!(welcome.report_interval.unwrap().seconds, 5);
    assert_eq!(welcome.heartbeat_interval.unwrap().seconds, 15);
    assert_eq!((welcome.schema, welcome.incarnation.len()), (SCHEMA, 16));
    let snapshot = peer.snapshot().await;
    assert_eq!(snapshot.incarnation, welcome.incarnation);
    assert_eq!(names(&snapshot), ["a"]);
}

#[tokio::test]
async fn a_process_that_holds_everything_is_told_so() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let held = Peer::of(&server, "checkout").await.apply().await;
    let mut again = Peer::with(
        &server,
        v1::Hello {
            epoch: 2,
            incarnation: held.incarnation.clone(),
            revision: held.revision,
            digest: held.digest,
            ..hello("checkout")
        },
    )
    .await;
    again.welcome().await;
    let up_to_date = v1::UpToDate {
        incarnation: held.incarnation,
        revision: held.revision,
    };
    assert_eq!(again.hear().await, Down::UpToDate(up_to_date));
}

#[tokio::test]
async fn a_stream_without_a_hello_in_time_is_ended() {
    let server = Server::start_with(PACE, impatient()).await;
    let status = Peer::silent(&server).await.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "hello expected within 0.05 s");
}

#[tokio::test]
async fn a_stream_that_begins_with_something_else_is_ended() {
    let server = Server::start().await;
    let mut peer = Peer::silent(&server).await;
    peer.ack(1).await;
    let status = peer.end().await;
    assert_eq!(fields(&status), ["hello"]);
    assert_eq!(
        status.message(),
        "the first message must be hello, found ack"
    );
}

#[tokio::test]
async fn a_hello_that_cannot_be_accepted_is_told_everything_that_is_wrong_with_it() {
    let server = Server::start().await;
    let bad = v1::Hello {
        instance_id: String::new(),
        incarnation: vec![1, 2, 3],
        ..hello("check out")
    };
    let status = Peer::with(&server, bad).await.end().await;
    let fields = fields(&status);
    for field in ["hello.service", "hello.instance_id", "hello.incarnation"] {
        assert!(
            fields.iter().any(|found| found == field),
            "{field} in {fields:?}"
        );
    }
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.say(Up::Hello(hello("checkout"))).await;
    assert_eq!(fields(&peer.end().await), ["hello"]);
}

#[tokio::test]
async fn a_write_wakes_only_the_sessions_it_concerns() {
    let server = Server::start().await;
    let mut checkout = Peer::of(&server, "checkout").await;
    let mut search = Peer::of(&server, "search").await;
    checkout.apply().await;
    search.apply().await;
    server.put(policy("a", "search")).await;
    assert_eq!(names(&search.apply().await), ["a"]);
    // The next that the other hears is the answer to what it says now.
    checkout.settle(1).await;
    server.put(policy("b", "*")).await;
    assert_eq!(names(&search.apply().await), ["a", "b"]);
    assert_eq!(names(&checkout.apply().await), ["b"]);
}

#[tokio::test]
async fn writes_that_come_while_a_snapshot_is_under_way_follow_as_one() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    let first = peer.snapshot().await;
    for i in 0..10 {
        server.put(policy(&format!("p{i}"), "checkout")).await;
    }
    peer.settle(1).await;
    peer.ack(first.revision).await;
    let second = peer.apply().await;
    assert_eq!((second.policies.len(), second.revision), (10, 10));
    peer.settle(2).await;
}

#[tokio::test]
async fn what_a_process_applied_and_refused_is_seen() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let mut peer = Peer::of(&server, "checkout").await;
    let snapshot = peer.snapshot().await;
    let refusal = v1::Refusal {
        policy: "a".into(),
        revision: 1,
        field: "rules.retry".into(),
        reason: "not today".into(),
    };
    let nack = v1::Nack {
        revision: snapshot.revision,
        refusals: vec![refusal.clone()],
    };
    peer.say(Up::Nack(nack)).await;
    peer.ack(snapshot.revision).await;
    peer.settle(1).await;
    let instance = server.instances().await.remove(0);
    assert_eq!(
        (instance.applied_revision, instance.refusals),
        (1, vec![refusal])
    );
    assert!(instance.connected);
    server.put(policy("a", "checkout")).await;
    peer.apply().await;
    peer.settle(2).await;
    let instance = server.instances().await.remove(0);
    assert_eq!(
        (instance.applied_revision, instance.refusals),
        (2, Vec::new())
    );
}

#[tokio::test]
async fn a_process_that_reconnects_up_to_date_still_refuses_what_it_refused() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let held = Peer::of(&server, "checkout").await.apply().await;
    let refusal = v1::Refusal {
        policy: "a".into(),
        revision: 1,
        ..Default::default()
    };
    let mut again = Peer::with(
        &server,
        v1::Hello {
            incarnation: held.incarnation,
            revision: held.revision,
            digest: held.digest,
            refusals: vec![refusal.clone()],
            ..hello("checkout")
        },
    )
    .await;
    again.welcome().await;
    again.hear().await;
    again.ack(held.revision).await;
    again.settle(2).await;
    assert_eq!(server.instances().await[0].refusals, [refusal]);
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_and_the_session_goes_on() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    for _ in 0..3 {
        peer.ack(99).await;
    }
    peer.say(Up::Nack(v1::Nack {
        revision: 99,
        refusals: Vec::new(),
    }))
    .await;
    peer.say(Up::OperationDeclared(v1::OperationDeclared::default()))
        .await;
    peer.up
        .send(v1::ConnectRequest { message: None })
        .await
        .unwrap();
    peer.settle(1).await;
    let troubles = ["unexpected_ack", "unexpected_nack", "invalid", "unknown"];
    assert_eq!(troubles.map(|name| server.trouble(name)), [3, 1, 1, 1]);
    assert_eq!(server.instances().await[0].applied_revision, 0);
}

#[tokio::test]
async fn operations_beyond_those_a_session_may_declare_are_counted_and_dropped() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    for i in 0..=crate::distribution::MAX_DECLARED {
        let operation = format!("op{i}");
        let declared = v1::OperationDeclared {
            operation,
            ..Default::default()
        };
        peer.say(Up::OperationDeclared(declared)).await;
    }
    peer.settle(1).await;
    assert_eq!(server.trouble("over_declared"), 1);
}

/// An SDK takes 10,000 operations, and declares all of them before it looks at what it was sent.
#[tokio::test]
async fn a_process_of_as_many_operations_as_there_may_be_is_heard_out_at_once() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    for i in 0..10_000 {
        let operation = format!("op{i}");
        let declared = v1::OperationDeclared {
            operation,
            ..Default::default()
        };
        peer.say(Up::OperationDeclared(declared)).await;
    }
    peer.apply().await;
    peer.settle(1).await;
    assert_eq!(server.trouble("flood"), 0);
}

#[tokio::test]
async fn the_newer_session_of_a_process_supersedes_the_older() {
    let server = Server::start().await;
    let mut older = Peer::of(&server, "checkout").await;
    let mut newer = Peer::of(&server, "checkout").await;
    let status = older.end().await;
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().starts_with("superseded"), "{status:?}");
    newer.apply().await;
    newer.settle(1).await;
    let instances = server.instances().await;
    assert_eq!(instances.len(), 1);
    assert!(instances[0].connected);
}

#[tokio::test]
async fn two_lives_of_one_instance_are_both_there_and_marked() {
    let server = Server::start().await;
    let _first = Peer::of(&server, "checkout").await;
    let _second = Peer::with(
        &server,
        v1::Hello {
            epoch: 2,
            ..hello("checkout")
        },
    )
    .await;
    eventually(|| async {
        let instances = server.instances().await;
        instances.len() == 2 && instances.iter().all(|instance| instance.duplicate)
    })
    .await;
}

#[tokio::test]
async fn a_process_that_leaves_is_gone() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    let Peer { up, mut down } = peer;
    drop(up);
    assert_eq!(down.message().await.unwrap(), None);
    assert!(!server.instances().await[0].connected);
}

#[tokio::test]
async fn a_process_whose_connection_breaks_is_gone() {
    let server = Server::start().await;
    drop(Peer::of(&server, "checkout").await);
    eventually(|| async {
        let instances = server.instances().await;
        instances.iter().all(|instance| !instance.connected)
    })
    .await;
}

/// Fills the stream of a process that does not read: its snapshot is larger than its window.
async fn deaf(server: &Server) -> Peer {
    let large = "d".repeat(4000);
    for i in 0..40 {
        let description = large.clone();
        server
            .put(v1::Policy {
                description,
                ..policy(&format!("p{i}"), "deaf")
            })
            .await;
    }
    Peer::with(server, hello("deaf")).await
}

#[tokio::test]
async fn a_process_that_never_reads_is_still_heard_and_holds_up_nobody() {
    let server = Server::start().await;
    let deaf = deaf(&server).await;
    // More than its stream can take: the acks are owed, the reports count all the same.
    for number in 1..=100 {
        let operation = v1::OperationStats {
            operation: format!("op{number}"),
            circuit_state: v1::CircuitState::Closed.into(),
            ..Default::default()
        };
        let operations = vec![operation];
        deaf.say(Up::StatsReport(v1::StatsReport {
            number,
            operations,
            span: None,
        }))
        .await;
    }
    eventually(|| async {
        server
            .instances()
            .await
            .iter()
            .any(|seen| seen.operations == 100)
    })
    .await;
    let mut other = Peer::of(&server, "checkout").await;
    other.apply().await;
    server.put(policy("a", "checkout")).await;
    assert_eq!(names(&other.apply().await), ["a"]);
}

#[tokio::test]
async fn a_process_that_never_reads_is_ended_outside_its_stream() {
    let patience = Patience {
        drain: Duration::from_millis(100),
        ..Patience::default()
    };
    let server = Server::start_with(PACE, patience).await;
    let mut deaf = deaf(&server).await;
    eventually(|| async { !server.instances().await.is_empty() }).await;
    eventually(|| async { server.instances().await.iter().all(|seen| !seen.connected) }).await;
    let status = deaf.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(
        status.message(),
        "a snapshot sent and not acknowledged for 0.1 s; reconnect"
    );
}

#[tokio::test]
async fn a_process_that_says_nothing_hears_heartbeats_and_is_ended_after_three() {
    let heartbeat_interval = Duration::from_millis(50);
    let server = Server::start_with(
        Pace {
            heartbeat_interval,
            ..PACE
        },
        Patience::default(),
    )
    .await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.snapshot().await;
    assert_eq!(peer.hear().await, Down::Heartbeat(v1::Heartbeat {}));
    let status = peer.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(
        status.message().contains("three heartbeat intervals"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_session_that_has_lasted_long_enough_is_asked_to_begin_another() {
    let max_session_age = Duration::from_millis(100);
    let server = Server::start_with(
        Pace {
            max_session_age,
            ..PACE
        },
        settled(),
    )
    .await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    let delay = Some(prost_types::Duration::default());
    assert_eq!(peer.hear().await, Down::Drain(v1::Drain { delay }));
    let status = peer.end().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("as long as one may"),
        "{status:?}"
    );
}

#[tokio::test]
async fn who_says_more_than_a_session_may_is_read_no_faster_and_loses_nothing() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    // Told often enough that what is said meanwhile cannot make up for it.
    while server.trouble("flood") == 0 {
        peer.say(Up::Heartbeat(v1::Heartbeat {})).await;
        tokio::task::yield_now().await;
    }
    peer.settle(1).await;
    server.put(policy("a", "checkout")).await;
    assert_eq!(names(&peer.apply().await), ["a"]);
}

#[tokio::test]
async fn a_hello_that_says_what_cannot_be_is_counted_and_served() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let held = Peer::of(&server, "checkout").await.apply().await;
    let claim = |epoch, revision, digest| v1::Hello {
        epoch,
        incarnation: held.incarnation.clone(),
        revision,
        digest,
        ..hello("checkout")
    };
    let other = claim(2, held.revision, held.digest ^ 1);
    let mut other = Peer::with(&server, other).await;
    other.welcome().await;
    assert_eq!(names(&other.apply().await), ["a"]);
    let ahead = claim(3, held.revision + 1, held.digest ^ 1);
    let mut ahead = Peer::with(&server, ahead).await;
    ahead.welcome().await;
    assert_eq!(server.trouble("doubtful_hello"), 2);
    server.put(policy("b", "checkout")).await;
    assert_eq!(names(&ahead.apply().await), ["a", "b"]);
}

#[tokio::test]
async fn more_streams_than_there_are_places_for_are_turned_away() {
    let patience = Patience {
        sessions: 1,
        ..Patience::default()
    };
    let server = Server::start_with(PACE, patience).await;
    let _first = Peer::of(&server, "checkout").await;
    let (_up, requests) = mpsc::channel(1);
    let mut client = SyncServiceClient::new(server.channel());
    let status = client
        .connect(ReceiverStream::new(requests))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(server.distribution.tally().refused, 1);
}

#[tokio::test]
async fn a_server_that_stops_ends_every_stream_even_of_who_does_not_read() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    peer.settle(1).await;
    let deaf = deaf(&server).await;
    eventually(|| async { server.instances().await.len() == 2 }).await;
    server.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), server.distribution.ended());
    ended.await.expect("sessions ended in time");
    assert!(matches!(peer.hear().await, Down::Drain(_)));
    let status = peer.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    drop((peer, deaf));
    let served = tokio::time::timeout(SOON, server.serving);
    served.await.expect("connections ended in time").unwrap();
}

#[tokio::test]
async fn a_store_that_closes_ends_every_stream() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    server.store.close().await;
    assert_eq!(peer.end().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_stream_with_both_sizes() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    let refusal = v1::Refusal {
        reason: "x".repeat(SYNC_RECEIVE_BYTES),
        ..Default::default()
    };
    peer.say(Up::Nack(v1::Nack {
        revision: 0,
        refusals: vec![refusal],
    }))
    .await;
    let status = peer.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains(&SYNC_RECEIVE_BYTES.to_string()),
        "{status:?}"
    );
}
