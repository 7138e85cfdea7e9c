//! ListInstances: pages, and who is on them.

use super::*;

async fn connect(server: &Server, hello: v1::Hello) -> Peer {
    let mut peer = Peer::with(server, hello).await;
    peer.welcome().await;
    peer.apply().await;
    peer.settle(1).await;
    peer
}

fn named(service: &str, instance: &str) -> v1::Hello {
    v1::Hello {
        instance_id: instance.into(),
        ..hello(service)
    }
}

async fn list(
    server: &Server,
    request: v1::ListInstancesRequest,
) -> Result<v1::ListInstancesResponse, Status> {
    let response = server.fleet().list_instances(request).await;
    response.map(tonic::Response::into_inner)
}

fn ids(response: &v1::ListInstancesResponse) -> Vec<String> {
    let instances = response.instances.iter();
    instances
        .map(|one| format!("{}/{}", one.service, one.instance_id))
        .collect()
}

#[tokio::test]
async fn pages_follow_each_other_in_the_order_of_the_keys_and_know_how_many_there_are() {
    let server = Server::start().await;
    let mut peers = Vec::new();
    for (service, instance) in [("search", "i-1"), ("checkout", "i-2"), ("checkout", "i-1")] {
        peers.push(connect(&server, named(service, instance)).await);
    }
    let mut request = v1::ListInstancesRequest {
        page_size: 2,
        ..Default::default()
    };
    let first = list(&server, request.clone()).await.unwrap();
    assert_eq!(ids(&first), ["checkout/i-1", "checkout/i-2"]);
    assert_eq!(first.total_size, 3);
    request.page_token = first.next_page_token;
    let second = list(&server, request.clone()).await.unwrap();
    assert_eq!(ids(&second), ["search/i-1"]);
    assert_eq!(
        (second.total_size, second.next_page_token.as_str()),
        (3, "")
    );
    request.service = "checkout".into();
    let other = list(&server, request).await.unwrap_err();
    assert_eq!(fields(&other), ["page_token"]);
}

#[tokio::test]
async fn labels_find_whom_selectors_find_zone_and_version_among_them() {
    let server = Server::start().await;
    let in_zone = v1::Hello {
        zone: "a".into(),
        version: "1.2".into(),
        labels: [("canary".to_owned(), "true".to_owned())].into(),
        ..named("checkout", "i-1")
    };
    let overridden = v1::Hello {
        zone: "a".into(),
        labels: [("zone".to_owned(), "b".to_owned())].into(),
        ..named("checkout", "i-2")
    };
    let _peers = (
        connect(&server, in_zone).await,
        connect(&server, overridden).await,
    );
    for (labels, expected) in [
        (vec![("zone", "a")], vec!["checkout/i-1"]),
        (vec![("zone", "b")], vec!["checkout/i-2"]),
        (
            vec![("version", "1.2"), ("canary", "true")],
            vec!["checkout/i-1"],
        ),
        (vec![("canary", "false")], vec![]),
        (vec![], vec!["checkout/i-1", "checkout/i-2"]),
    ] {
        let of = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let request = v1::ListInstancesRequest {
            labels: labels.iter().map(of).collect(),
            ..Default::default()
        };
        let found = list(&server, request).await.unwrap();
        assert_eq!(ids(&found), expected, "{labels:?}");
        assert_eq!(found.total_size as usize, expected.len());
    }
    let bad = v1::ListInstancesRequest {
        labels: [("not a label".to_owned(), "x".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(fields(&list(&server, bad).await.unwrap_err()), ["labels"]);
}

#[tokio::test]
async fn who_lacks_a_revision_is_found_and_told_what_is_wanted() {
    let server = Server::start().await;
    let mut up_to_date = connect(&server, named("checkout", "i-1")).await;
    let _behind = connect(&server, named("checkout", "i-2")).await;
    let mut refuses = connect(&server, named("checkout", "i-3")).await;
    drop(connect(&server, named("checkout", "i-4")).await);
    let _unconcerned = connect(&server, named("search", "i-1")).await;
    let revision = server.put(policy("a", "checkout")).await;
    up_to_date.apply().await;
    up_to_date.settle(2).await;
    let snapshot = refuses.snapshot().await;
    let refusal = v1::Refusal {
        policy: "a".into(),
        revision,
        ..Default::default()
    };
    refuses
        .say(Up::Nack(v1::Nack {
            revision: snapshot.revision,
            refusals: vec![refusal],
        }))
        .await;
    refuses.ack(snapshot.revision).await;
    refuses.settle(2).await;
    let request = v1::ListInstancesRequest {
        lacking_revision: revision,
        ..Default::default()
    };
    let found = list(&server, request).await.unwrap();
    assert_eq!(ids(&found), ["checkout/i-2", "checkout/i-3"]);
    assert_eq!(found.total_size, 2);
    let behind = &found.instances[0];
    assert_eq!(
        (behind.applied_revision, behind.wanted_revision),
        (0, revision)
    );
    assert_eq!((behind.schema, behind.connected_for.is_some()), (1, true));
    assert!(!behind.stale);
}

#[tokio::test]
async fn of_one_who_has_left_nothing_is_wanted() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    drop(connect(&server, hello("checkout")).await);
    eventually(|| async { !server.instances().await[0].connected }).await;
    let gone = server.instances().await.remove(0);
    assert_eq!((gone.schema, gone.wanted_revision), (0, 0));
    assert_eq!((gone.connected_for, gone.stale), (None, false));
}
