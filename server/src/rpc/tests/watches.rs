//! WatchPolicies: state, changes, and how it ends.

use v1::watch_policies_response::Message as News;

use super::*;

struct Watcher(Streaming<v1::WatchPoliciesResponse>);

impl Watcher {
    async fn of(server: &Server, namespace: &str, after_revision: u64) -> Self {
        let request = v1::WatchPoliciesRequest {
            namespace: namespace.into(),
            after_revision,
        };
        let watch = server.policies().watch_policies(request).await;
        Self(watch.unwrap().into_inner())
    }

    async fn message(&mut self) -> Result<Option<v1::WatchPoliciesResponse>, Status> {
        let next = tokio::time::timeout(SOON, self.0.message());
        next.await.expect("nothing was heard soon")
    }

    async fn changes(&mut self) -> v1::PolicyChanges {
        match self.message().await.unwrap().unwrap().message.unwrap() {
            News::Changes(changes) => changes,
            News::SyncedRevision(revision) => panic!("expected changes, heard {revision}"),
        }
    }

    async fn synced(&mut self) -> u64 {
        match self.message().await.unwrap().unwrap().message.unwrap() {
            News::SyncedRevision(revision) => revision,
            News::Changes(changes) => panic!("expected a revision, heard {changes:?}"),
        }
    }
}

fn within(namespace: &str, name: &str) -> v1::Policy {
    v1::Policy {
        namespace: namespace.into(),
        ..policy(name, "checkout")
    }
}

async fn set(server: &Server, policies: Vec<v1::Policy>) -> u64 {
    let request = v1::ApplyPoliciesRequest {
        policies,
        ..Default::default()
    };
    let applied = server.policies().apply_policies(request).await.unwrap();
    applied.into_inner().revision
}

#[tokio::test]
async fn the_policies_as_they_are_then_every_write_whole() {
    let server = Server::start().await;
    let long = |i| v1::Policy {
        description: "x".repeat(4000),
        ..within("default", &format!("p{i:03}"))
    };
    set(&server, (0..200).map(long).collect()).await;
    server.put(within("other", "z")).await;
    let mut watcher = Watcher::of(&server, "default", 0).await;
    let (mut seen, mut chunks) = (Vec::new(), 0);
    while seen.len() < 200 {
        let chunk = watcher.changes().await;
        assert_eq!(chunk.revision, 0, "nowhere to resume from");
        assert!(chunk.changes.iter().all(|change| change.author.is_empty()));
        seen.extend(chunk.changes.into_iter().map(|change| change.name));
        chunks += 1;
    }
    assert!(chunks > 1 && seen.is_sorted(), "{chunks}");
    assert_eq!(watcher.synced().await, 2);
    let both = vec![
        within("default", "b"),
        within("other", "b"),
        within("default", "a"),
    ];
    let revision = set(&server, both).await;
    let write = watcher.changes().await;
    let told: Vec<_> = write
        .changes
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!((write.revision, told), (revision, vec!["b", "a"]));
    assert_eq!(write.changes[0].cause(), v1::Cause::Apply);
    let delete = v1::DeletePolicyRequest {
        name: "a".into(),
        ..Default::default()
    };
    server.policies().delete_policy(delete).await.unwrap();
    let write = watcher.changes().await;
    assert_eq!(
        (write.changes[0].name.as_str(), &write.changes[0].policy),
        ("a", &None)
    );
}

#[tokio::test]
async fn resumed_it_tells_what_was_missed() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.put(within("default", name)).await;
    }
    let mut watcher = Watcher::of(&server, "", 1).await;
    assert_eq!(watcher.changes().await.revision, 2);
    assert_eq!(watcher.changes().await.revision, 3);
    assert_eq!(watcher.synced().await, 3);
    let ahead = v1::WatchPoliciesRequest {
        after_revision: 4,
        ..Default::default()
    };
    let status = server.policies().watch_policies(ahead).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("the last one is 3"), "{status:?}");
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_says_so_even_to_a_slow_reader() {
    let server = Server::start().await;
    let mut watcher = Watcher::of(&server, "", 0).await;
    assert_eq!(watcher.synced().await, 0);
    let slow = Watcher::of(&server, "", 0).await;
    for i in 0..10 {
        server.put(within("default", &format!("p{i}"))).await;
    }
    server.stop.cancel();
    for mut watcher in [watcher, slow] {
        let status = loop {
            match watcher.message().await {
                Ok(message) => assert_ne!(message, None, "ended without a word"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    tokio::time::timeout(SOON, server.serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn who_goes_away_makes_room_for_another() {
    let server = Server::start().await;
    let channel = server.channel();
    let watch = || async {
        let request = v1::WatchPoliciesRequest::default();
        let mut client = PolicyServiceClient::new(channel.clone());
        client
            .watch_policies(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let mut open = Vec::new();
    let status = loop {
        match watch().await {
            Ok(watch) => open.push(watch),
            Err(status) => break status,
        }
    };
    assert_eq!((open.len(), status.code()), (1000, Code::ResourceExhausted));
    drop(open);
    eventually(|| async {
        tokio::task::yield_now().await;
        watch().await.is_ok()
    })
    .await;
}

/// Longest names, and as many more bytes as are wanted; or everything cleared, which takes more in a
/// policy than in the request.
fn long_named(prefix: char, i: u32, filling: usize, clears: bool) -> v1::Policy {
    let sections = [
        "timeout",
        "retry",
        "circuit_breaker",
        "bulkhead",
        "rate_limit",
        "concurrency_limit",
        "hedge",
    ];
    let paths = sections.iter().map(ToString::to_string).collect();
    v1::Policy {
        namespace: "n".repeat(63),
        name: format!("{prefix}{i:04}{}", "x".repeat(58)),
        owner: "o".into(),
        description: "d".repeat(filling),
        selector: Some(v1::Selector {
            service: format!("s{}", i % 40),
            operation: "*".into(),
            ..Default::default()
        }),
        clear: clears.then_some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

fn pruning(policies: impl Iterator<Item = v1::Policy>) -> Request<v1::ApplyPoliciesRequest> {
    let mut request = Request::new(v1::ApplyPoliciesRequest {
        policies: policies.collect(),
        prune: true,
        owner: "o".into(),
        ..Default::default()
    });
    let author = "a".repeat(300).parse().unwrap();
    request.metadata_mut().insert(AUTHOR, author);
    request
}

/// Full requests, everything else as long as it may be, and as many deletions as a write takes
/// beside it.
#[tokio::test]
async fn whatever_is_written_fits_into_one_message() {
    let server = Server::start().await;
    let mut client = server.policies();
    let first = pruning((0..2000).map(|i| long_named('a', i, 0, false)));
    client.apply_policies(first).await.unwrap();
    let mut watcher = Watcher::of(&server, "", 1).await;
    assert_eq!(watcher.synced().await, 1);
    let full = pruning((0..2000).map(|i| long_named('b', i, 360, false)));
    let made = client.apply_policies(full).await.unwrap();
    assert_eq!(made.into_inner().diffs.len(), 4000);
    assert_eq!(watcher.changes().await.changes.len(), 4000);
    let mut count = 2000;
    let refused = loop {
        let policies = (0..count).map(|i| long_named('c', i, 250, true));
        match client.apply_policies(pruning(policies)).await {
            Ok(_) => break 2000 - count,
            Err(status) => assert!(status.message().contains("split the set"), "{status:?}"),
        }
        count -= 20;
    };
    assert!(refused > 0, "the test wants more bytes");
    assert_eq!(watcher.changes().await.revision, 3);
}
