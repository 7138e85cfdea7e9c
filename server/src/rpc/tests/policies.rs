//! PolicyService: every code with its details, masks, pages.

use prost_types::FieldMask;

use super::*;

fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(ToString::to_string).collect();
    Some(FieldMask { paths })
}

fn create(policy: v1::Policy) -> v1::CreatePolicyRequest {
    v1::CreatePolicyRequest {
        policy: Some(policy),
        validate_only: false,
    }
}

fn update(policy: v1::Policy) -> v1::UpdatePolicyRequest {
    v1::UpdatePolicyRequest {
        policy: Some(policy),
        ..Default::default()
    }
}

fn named(name: &str) -> v1::GetPolicyRequest {
    v1::GetPolicyRequest {
        name: name.into(),
        ..Default::default()
    }
}

fn delete(name: &str, etag: &str) -> v1::DeletePolicyRequest {
    v1::DeletePolicyRequest {
        name: name.into(),
        etag: etag.into(),
        ..Default::default()
    }
}

fn retrying(name: &str, attempts: u32) -> v1::Policy {
    let mut policy = policy(name, "checkout");
    let rules = policy.rules.as_mut().unwrap();
    rules.timeout = None;
    rules.retry = Some(v1::Retry {
        max_attempts: Some(attempts),
        ..Default::default()
    });
    policy
}

#[tokio::test]
async fn what_was_created_is_read_back_with_its_author_and_its_etag() {
    let server = Server::start().await;
    let mut client = server.policies();
    let request = create(policy("a", "checkout"));
    let created = client
        .create_policy(request)
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    let read = client
        .get_policy(named("a"))
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(created, read);
    assert_eq!((read.namespace.as_str(), read.revision), ("default", 1));
    assert_eq!(
        (read.etag.as_str(), read.updated_by.as_str()),
        ("1", "127.0.0.1")
    );
    assert_eq!(read.rules, policy("a", "checkout").rules);
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let server = Server::start().await;
    let mut bad = policy("Not A Name", "check out");
    let rules = bad.rules.as_mut().unwrap();
    rules.timeout.as_mut().unwrap().attempt = Some(prost_types::Duration {
        seconds: -1,
        nanos: 0,
    });
    rules.retry = Some(v1::Retry {
        max_attempts: Some(0),
        ..Default::default()
    });
    let status = server
        .policies()
        .create_policy(create(bad.clone()))
        .await
        .unwrap_err();
    let as_update = v1::UpdatePolicyRequest {
        allow_missing: true,
        ..update(bad)
    };
    let updated = server.policies().update_policy(as_update).await;
    let fields = fields(&status);
    assert_eq!(super::fields(&updated.unwrap_err()), fields);
    for field in [
        "name",
        "selector.service",
        "rules.timeout.attempt",
        "rules.retry.max_attempts",
    ] {
        assert!(
            fields.iter().any(|found| found == field),
            "{field} in {fields:?}"
        );
    }
    let details = status.get_details_bad_request().unwrap().field_violations;
    let attempts = details
        .iter()
        .find(|found| found.field == "rules.retry.max_attempts")
        .unwrap();
    assert_eq!(attempts.description, "must be 1 to 1000 (found 0)");
}

#[tokio::test]
async fn a_request_without_a_policy_says_so() {
    let server = Server::start().await;
    let request = v1::CreatePolicyRequest::default();
    let status = server.policies().create_policy(request).await.unwrap_err();
    assert_eq!(fields(&status), ["policy"]);
    let request = v1::UpdatePolicyRequest::default();
    let status = server.policies().update_policy(request).await.unwrap_err();
    assert_eq!(fields(&status), ["policy"]);
}

#[tokio::test]
async fn a_second_policy_of_the_same_name_exists_already() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let request = create(policy("a", "checkout"));
    let status = server.policies().create_policy(request).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("default/a"), "{status:?}");
}

#[tokio::test]
async fn an_unknown_policy_is_not_found_by_name() {
    let server = Server::start().await;
    let mut client = server.policies();
    let answers = [
        client.get_policy(named("a")).await.map(drop),
        client
            .update_policy(update(policy("a", "checkout")))
            .await
            .map(drop),
        client.delete_policy(delete("a", "")).await.map(drop),
    ];
    for status in answers.map(Result::unwrap_err) {
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "policy default/a does not exist");
    }
}

#[tokio::test]
async fn a_stale_etag_is_aborted_with_both_revisions() {
    let server = Server::start().await;
    let mut client = server.policies();
    for _ in 0..7 {
        server.put(policy("a", "checkout")).await;
    }
    let stale = v1::Policy {
        etag: "3".into(),
        ..policy("a", "checkout")
    };
    let answers = [
        client.update_policy(update(stale)).await.map(drop),
        client.delete_policy(delete("a", "3")).await.map(drop),
    ];
    for status in answers.map(Result::unwrap_err) {
        assert_eq!(status.code(), Code::Aborted);
        assert!(status.message().contains("\"3\""), "{status:?}");
        assert!(status.message().contains("revision is 7"), "{status:?}");
    }
    client.delete_policy(delete("a", "7")).await.unwrap();
}

#[tokio::test]
async fn a_mask_replaces_what_it_names_and_nothing_else() {
    let server = Server::start().await;
    let first = v1::Policy {
        priority: 3,
        owner: "ann".into(),
        ..policy("a", "checkout")
    };
    server.put(first.clone()).await;
    let request = v1::UpdatePolicyRequest {
        update_mask: mask(&["rules.retry.max_attempts", "owner"]),
        ..update(retrying("a", 4))
    };
    let response = server.policies().update_policy(request).await.unwrap();
    let updated = response.into_inner().policy.unwrap();
    let rules = updated.rules.unwrap();
    assert_eq!(rules.timeout, first.rules.unwrap().timeout);
    assert_eq!(rules.retry.unwrap().max_attempts, Some(4));
    assert_eq!((updated.priority, updated.owner.as_str()), (3, ""));
}

#[tokio::test]
async fn without_a_mask_what_is_set_is_replaced_and_rules_whole() {
    let server = Server::start().await;
    server
        .put(v1::Policy {
            priority: 3,
            ..policy("a", "checkout")
        })
        .await;
    let response = server
        .policies()
        .update_policy(update(retrying("a", 4)))
        .await
        .unwrap();
    let updated = response.into_inner().policy.unwrap();
    assert_eq!(updated.rules.unwrap().timeout, None);
    assert_eq!(updated.priority, 3);
}

#[tokio::test]
async fn the_mask_of_everything_replaces_everything() {
    let server = Server::start().await;
    server
        .put(v1::Policy {
            priority: 3,
            ..policy("a", "checkout")
        })
        .await;
    let request = v1::UpdatePolicyRequest {
        update_mask: mask(&["*"]),
        ..update(retrying("a", 4))
    };
    let response = server.policies().update_policy(request).await.unwrap();
    let updated = response.into_inner().policy.unwrap();
    assert_eq!(
        (updated.rules, updated.priority),
        (retrying("a", 4).rules, 0)
    );
}

#[tokio::test]
async fn a_mask_that_names_what_cannot_be_set_is_refused() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let request = v1::UpdatePolicyRequest {
        update_mask: mask(&["revision", "rules.nonsense"]),
        ..update(policy("a", "checkout"))
    };
    let status = server.policies().update_policy(request).await.unwrap_err();
    assert_eq!(fields(&status), ["update_mask", "update_mask"]);
    let nothing = v1::UpdatePolicyRequest {
        update_mask: mask(&[""]),
        ..update(policy("a", "checkout"))
    };
    let status = server.policies().update_policy(nothing).await.unwrap_err();
    assert_eq!(fields(&status), ["update_mask"]);
    assert_eq!(server.store.revision().0, 1);
}

#[tokio::test]
async fn what_is_only_validated_is_answered_and_not_stored() {
    let server = Server::start().await;
    let mut client = server.policies();
    let request = v1::UpdatePolicyRequest {
        allow_missing: true,
        validate_only: true,
        ..update(policy("a", "checkout"))
    };
    let answer = client
        .update_policy(request)
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(answer.rules, policy("a", "checkout").rules);
    assert_eq!((answer.revision, answer.etag.as_str()), (0, ""));
    assert_eq!(
        client.get_policy(named("a")).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_policy_without_an_effect_comes_with_a_warning() {
    let server = Server::start().await;
    let idle = v1::Policy {
        rules: None,
        ..policy("a", "checkout")
    };
    let response = server.policies().create_policy(create(idle)).await.unwrap();
    assert_eq!(response.into_inner().warnings[0].field, "rules");
}

#[tokio::test]
async fn a_deletion_answers_with_the_revision_it_took() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let response = server
        .policies()
        .delete_policy(delete("a", ""))
        .await
        .unwrap();
    assert_eq!(response.into_inner().revision, 2);
    let again = v1::DeletePolicyRequest {
        allow_missing: true,
        ..delete("a", "")
    };
    assert_eq!(
        server
            .policies()
            .delete_policy(again)
            .await
            .unwrap()
            .into_inner()
            .revision,
        2
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let server = Server::start().await;
    for name in ["e", "b", "d", "a", "c"] {
        server.put(policy(name, "checkout")).await;
    }
    let mut client = server.policies();
    let mut request = v1::ListPoliciesRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = client
            .list_policies(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.revision, 5);
        pages.push(
            page.policies
                .into_iter()
                .map(|policy| policy.name)
                .collect::<Vec<_>>(),
        );
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}

#[tokio::test]
async fn a_page_token_of_another_query_and_a_negative_size_are_refused() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.put(policy(name, "checkout")).await;
    }
    let mut client = server.policies();
    let request = v1::ListPoliciesRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = client.list_policies(request).await.unwrap().into_inner();
    let of_another_query = v1::ListPoliciesRequest {
        namespace: "default".into(),
        page_size: -1,
        page_token: page.next_page_token,
        ..Default::default()
    };
    let status = client.list_policies(of_another_query).await.unwrap_err();
    assert_eq!(fields(&status), ["page_size", "page_token"]);
    let garbage = v1::ListPoliciesRequest {
        page_token: "garbage".into(),
        ..Default::default()
    };
    let status = client.list_policies(garbage).await.unwrap_err();
    assert_eq!(fields(&status), ["page_token"]);
}

#[tokio::test]
async fn a_page_of_large_policies_ends_before_it_is_too_large_to_receive() {
    let server = Server::start().await;
    for i in 0..200 {
        server.put(large(&format!("p{i}"), &format!("s{i}"))).await;
    }
    let request = v1::ListPoliciesRequest {
        page_size: 1000,
        ..Default::default()
    };
    let page = server
        .policies()
        .list_policies(request)
        .await
        .unwrap()
        .into_inner();
    assert!(
        (1..200).contains(&page.policies.len()),
        "{}",
        page.policies.len()
    );
    assert!(!page.next_page_token.is_empty());
}

/// A policy of some 20 KiB.
fn large(name: &str, service: &str) -> v1::Policy {
    let label = |i| (format!("{i:0>200}"), "v".repeat(200));
    let mut large = v1::Policy {
        owner: "o".repeat(4096),
        description: "d".repeat(4096),
        ..policy(name, service)
    };
    large.selector.as_mut().unwrap().instance_labels = (0..32).map(label).collect();
    large
}

#[tokio::test]
async fn a_write_that_would_make_a_snapshot_too_large_is_refused_with_the_services_name() {
    let server = Server::start().await;
    let mut peer = Peer::of(&server, "checkout").await;
    peer.apply().await;
    let refused = async {
        for i in 0..100 {
            let request = create(large(&format!("p{i}"), "checkout"));
            if let Err(status) = server.policies().create_policy(request).await {
                return status;
            }
            peer.apply().await;
        }
        panic!("no write was refused");
    };
    let status = refused.await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("service checkout"), "{status:?}");
    assert!(status.message().contains("1048576"), "{status:?}");
    server.put(large("other", "search")).await;
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_told_both_sizes() {
    let server = Server::start().await;
    let huge = v1::Policy {
        description: "x".repeat(POLICY_RECEIVE_BYTES),
        ..policy("a", "checkout")
    };
    let status = server
        .policies()
        .create_policy(create(huge))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(
        status.message().contains(&POLICY_RECEIVE_BYTES.to_string()),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_store_that_is_closed_is_unavailable() {
    let server = Server::start().await;
    server.store.close().await;
    let status = server
        .policies()
        .create_policy(create(policy("a", "b")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
