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
async fn a_watch_ends_with_the_server_whether_or_not_it_is_read() {
    let server = Server::start().await;
    let mut watcher = Watcher::of(&server, "", 0).await;
    assert_eq!(watcher.synced().await, 0);
    server.stop.cancel();
    let status = watcher.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    drop(watcher);
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

/// The largest write there can be: a full request, everything else as long as it may be, and as
/// many deletions as a write takes beside it.
#[tokio::test]
async fn the_largest_write_fits_into_one_message() {
    let server = Server::start().await;
    let name = |prefix: char, i: u32| format!("{prefix}{i:04}{}", "x".repeat(58));
    let tenant = "n".repeat(63);
    let tiny = |prefix: char, i: u32| v1::Policy {
        namespace: tenant.clone(),
        name: name(prefix, i),
        owner: "o".into(),
        selector: Some(v1::Selector {
            operation: "*".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let pruning = |prefix: char, filling: usize| {
        let description = "d".repeat(filling);
        let policies = (0..2000).map(|i| v1::Policy {
            description: description.clone(),
            ..tiny(prefix, i)
        });
        let mut request = Request::new(v1::ApplyPoliciesRequest {
            policies: policies.collect(),
            prune: true,
            owner: "o".into(),
            ..Default::default()
        });
        let author = "a".repeat(300).parse().unwrap();
        request.metadata_mut().insert(AUTHOR, author);
        request
    };
    server
        .policies()
        .apply_policies(pruning('a', 0))
        .await
        .unwrap();
    let mut watcher = Watcher::of(&server, "", 1).await;
    assert_eq!(watcher.synced().await, 1);
    let made = server
        .policies()
        .apply_policies(pruning('b', 360))
        .await
        .unwrap();
    assert_eq!(made.into_inner().diffs.len(), 4000);
    assert_eq!(watcher.changes().await.changes.len(), 4000);
}
