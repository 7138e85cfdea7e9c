//! Whom a write concerns: those that its policy selects, by what it was or what it is.

use super::*;

fn canary(policy: v1::Policy) -> v1::Policy {
    let mut policy = policy;
    let selector = policy.selector.get_or_insert_default();
    selector.instance_labels = [("canary".to_owned(), "true".to_owned())].into();
    policy
}

/// Five of checkout, two of them canaries, of which one is of an older schema; one of search.
async fn fleet(server: &Server) -> Vec<Peer> {
    let mut peers = Vec::new();
    for nth in 0..5 {
        let mut hello = v1::Hello {
            instance_id: format!("i-{nth}"),
            schema: if nth == 0 { 0 } else { 1 },
            zone: if nth < 3 { "a" } else { "b" }.into(),
            version: format!("1.{}", nth % 2),
            ..hello("checkout")
        };
        if nth < 2 {
            hello.labels = [("canary".to_owned(), "true".to_owned())].into();
        }
        peers.push(Peer::with(server, hello).await);
    }
    peers.push(Peer::with(server, hello("search")).await);
    for peer in &mut peers {
        peer.welcome().await;
        peer.apply().await;
        peer.settle(1).await;
    }
    peers
}

async fn update(server: &Server, policy: v1::Policy, validate_only: bool) -> (u32, u32) {
    let request = v1::UpdatePolicyRequest {
        policy: Some(policy),
        allow_missing: true,
        validate_only,
        ..Default::default()
    };
    let response = server.policies().update_policy(request).await.unwrap();
    told(response.into_inner().reach)
}

fn told(reach: Option<v1::Reach>) -> (u32, u32) {
    let reach = reach.expect("a reach");
    (reach.instances, reach.too_old)
}

#[tokio::test]
async fn an_update_says_how_many_processes_it_concerns_by_what_was_and_what_is() {
    let server = Server::start().await;
    let _peers = fleet(&server).await;
    for validate_only in [true, false] {
        let canaries = canary(policy("a", "checkout"));
        assert_eq!(update(&server, canaries, validate_only).await, (2, 1));
    }
    for validate_only in [true, false] {
        let moved = policy("a", "search");
        assert_eq!(update(&server, moved, validate_only).await, (3, 0));
    }
    assert_eq!(update(&server, policy("b", "nobody"), false).await, (0, 0));
}

#[tokio::test]
async fn a_zone_and_a_version_select_as_labels_do() {
    let server = Server::start().await;
    let _peers = fleet(&server).await;
    for (key, value, expected) in [("zone", "b", 2), ("version", "1.0", 3), ("zone", "c", 0)] {
        let mut policy = policy("a", "checkout");
        let selector = policy.selector.get_or_insert_default();
        selector.instance_labels = [(key.to_owned(), value.to_owned())].into();
        assert_eq!(
            update(&server, policy, true).await.0,
            expected,
            "{key} {value}"
        );
    }
}

#[tokio::test]
async fn a_creation_a_rollback_and_a_removal_say_whom_they_concern() {
    let server = Server::start().await;
    let mut peers = fleet(&server).await;
    let create = v1::CreatePolicyRequest {
        policy: Some(canary(policy("a", "checkout"))),
        ..Default::default()
    };
    let created = server.policies().create_policy(create).await.unwrap();
    let created = created.into_inner();
    assert_eq!(told(created.reach), (2, 1));
    update(&server, policy("a", "search"), false).await;
    let rollback = v1::RollbackPolicyRequest {
        name: "a".into(),
        revision: created.policy.unwrap().revision,
        ..Default::default()
    };
    let rolled = server.policies().rollback_policy(rollback).await.unwrap();
    assert_eq!(told(rolled.into_inner().reach), (3, 1));
    // Who has left is concerned no more.
    drop(peers.remove(0));
    eventually(|| async { !server.instances().await[0].connected }).await;
    for validate_only in [true, false] {
        let delete = v1::DeletePolicyRequest {
            name: "a".into(),
            validate_only,
            ..Default::default()
        };
        let deleted = server.policies().delete_policy(delete).await.unwrap();
        assert_eq!(told(deleted.into_inner().reach), (1, 0));
    }
}

#[tokio::test]
async fn a_set_says_how_many_distinct_processes_its_changes_concern() {
    let server = Server::start().await;
    let _peers = fleet(&server).await;
    update(&server, policy("kept", "search"), false).await;
    let set = v1::ApplyPoliciesRequest {
        policies: vec![
            policy("kept", "search"),
            policy("all", "checkout"),
            canary(policy("some", "checkout")),
        ],
        ..Default::default()
    };
    for validate_only in [true, false] {
        let request = v1::ApplyPoliciesRequest {
            validate_only,
            ..set.clone()
        };
        let response = server.policies().apply_policies(request).await.unwrap();
        assert_eq!(told(response.into_inner().reach), (5, 1));
    }
    let again = server.policies().apply_policies(set).await.unwrap();
    assert_eq!(told(again.into_inner().reach), (0, 0), "nothing changes");
}
