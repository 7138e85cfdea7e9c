//! ApplyPolicies, and what else is asked of many policies at once.

use v1::policy_diff::Action;

use super::*;

fn apply(policies: Vec<v1::Policy>) -> v1::ApplyPoliciesRequest {
    v1::ApplyPoliciesRequest {
        policies,
        ..Default::default()
    }
}

fn pruning(policies: Vec<v1::Policy>, owner: &str) -> v1::ApplyPoliciesRequest {
    v1::ApplyPoliciesRequest {
        prune: true,
        owner: owner.into(),
        ..apply(policies)
    }
}

fn owned(name: &str, owner: &str) -> v1::Policy {
    v1::Policy {
        owner: owner.into(),
        ..policy(name, "checkout")
    }
}

impl Server {
    async fn apply(
        &self,
        request: v1::ApplyPoliciesRequest,
    ) -> Result<v1::ApplyPoliciesResponse, Status> {
        let answer = self.policies().apply_policies(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// The refusal of a set, which must have changed nothing.
    async fn refuses(&self, request: v1::ApplyPoliciesRequest) -> Status {
        let before = self.store.revision();
        let status = self.apply(request).await.unwrap_err();
        assert_eq!(self.store.revision(), before, "{status:?}");
        status
    }

    async fn list(&self, request: v1::ListPoliciesRequest) -> v1::ListPoliciesResponse {
        let answer = self.policies().list_policies(request).await;
        answer.unwrap().into_inner()
    }
}

fn actions(response: &v1::ApplyPoliciesResponse) -> Vec<(&str, Action)> {
    let diffs = response.diffs.iter();
    diffs
        .map(|diff| (diff.name.as_str(), diff.action()))
        .collect()
}

#[tokio::test]
async fn a_set_is_told_field_by_field_before_it_is_made_and_then_it_is_true() {
    let server = Server::start().await;
    let first = vec![owned("a", "ann"), owned("b", "ann"), owned("c", "ann")];
    assert_eq!(server.apply(apply(first)).await.unwrap().revision, 1);
    let mut longer = owned("b", "ann");
    let timeout = longer.rules.as_mut().unwrap().timeout.as_mut().unwrap();
    timeout.attempt.as_mut().unwrap().seconds = 2;
    let wanted = pruning(vec![owned("d", "ann"), longer, owned("a", "ann")], "ann");
    let dry = v1::ApplyPoliciesRequest {
        validate_only: true,
        ..wanted.clone()
    };
    let told = server.apply(dry).await.unwrap();
    assert_eq!(told.revision, 1);
    let made = server.apply(wanted.clone()).await.unwrap();
    assert_eq!((made.revision, &made.diffs), (2, &told.diffs));
    let done = [
        ("d", Action::Create),
        ("b", Action::Update),
        ("a", Action::Unchanged),
        ("c", Action::Delete),
    ];
    assert_eq!(actions(&made), done);
    let change = v1::FieldChange {
        field: "rules.timeout.attempt".into(),
        before: "1s".into(),
        after: "2s".into(),
    };
    assert_eq!(made.diffs[1].changes, [change]);
    assert_eq!(made.diffs[1].replaced_revision, 1);
    let again = server.apply(wanted).await.unwrap();
    assert_eq!(again.revision, 2);
    let left = server
        .list(v1::ListPoliciesRequest::default())
        .await
        .policies;
    let left: Vec<_> = left.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(left, ["a", "b", "d"]);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_set_is_named_at_once_with_its_place() {
    let server = Server::start().await;
    server.put(policy("kept", "checkout")).await;
    let mut bad = owned("c", "ann");
    bad.rules.as_mut().unwrap().retry = Some(v1::Retry {
        max_attempts: Some(0),
        ..Default::default()
    });
    let set = vec![
        owned("a", "bob"),
        bad,
        owned("a", "ann"),
        policy("Ä", "checkout"),
    ];
    let status = server.refuses(pruning(set, "ann")).await;
    let wanted = [
        "policies[1].rules.retry.max_attempts",
        "policies[3].name",
        "policies[2].name",
        "policies[0].owner",
    ];
    assert_eq!(fields(&status), wanted);
    let details = status.get_details_bad_request().unwrap().field_violations;
    let twice = "is in the set twice, also as policies[0] (found default/a)";
    assert_eq!(details[2].description, twice);
}

#[tokio::test]
async fn what_prune_needs_and_what_needs_prune_is_said() {
    let server = Server::start().await;
    let status = server.refuses(pruning(vec![policy("a", "b")], "")).await;
    assert_eq!(fields(&status), ["owner"]);
    let alone = v1::ApplyPoliciesRequest {
        owner: "ann".into(),
        namespace: "default".into(),
        ..apply(vec![owned("a", "ann")])
    };
    assert_eq!(fields(&server.refuses(alone).await), ["owner", "namespace"]);
    let elsewhere = v1::ApplyPoliciesRequest {
        namespace: "other".into(),
        ..pruning(vec![owned("a", "ann")], "ann")
    };
    assert_eq!(
        fields(&server.refuses(elsewhere).await),
        ["policies[0].namespace"]
    );
    let unreadable = v1::ApplyPoliciesRequest {
        namespace: "../other".into(),
        ..pruning(vec![], "ann")
    };
    assert_eq!(fields(&server.refuses(unreadable).await), ["namespace"]);
    server.put(owned("a", "ann")).await;
    let status = server.refuses(pruning(vec![], "ann")).await;
    assert_eq!(fields(&status), ["policies"]);
    assert!(
        status.message().contains("all 1 policies of owner \"ann\""),
        "{status:?}"
    );
}

#[tokio::test]
async fn ten_thousand_policies_are_too_many_and_two_thousand_are_not() {
    let server = Server::start().await;
    let tiny = |i| v1::Policy {
        name: format!("p{i}"),
        selector: Some(v1::Selector {
            operation: "*".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = server.refuses(apply((0..10_000).map(tiny).collect())).await;
    assert_eq!(fields(&status), ["policies"]);
    assert!(
        status.message().contains("at most 2000; split the set"),
        "{status:?}"
    );
    let made = server
        .apply(apply((0..2000).map(tiny).collect()))
        .await
        .unwrap();
    assert_eq!((made.revision, made.diffs.len()), (1, 2000));
}

#[tokio::test]
async fn a_set_beyond_the_limit_of_a_request_is_told_both_sizes() {
    let server = Server::start().await;
    let long = |i| v1::Policy {
        description: "x".repeat(4000),
        ..policy(&format!("p{i}"), "checkout")
    };
    let status = server.refuses(apply((0..300).map(long).collect())).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(
        status.message().contains(&POLICY_RECEIVE_BYTES.to_string()),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_wherever_it_stands() {
    let server = Server::start().await;
    server.put(policy("a", "checkout")).await;
    let long = "x".repeat(10_000);
    for name in ["a/b", "..", "../a", "раyments", "a\0", "A", "", " a", &long] {
        let status = server.refuses(apply(vec![policy(name, "checkout")])).await;
        assert_eq!(fields(&status), ["policies[0].name"], "{name:.20?}");
        let revisions = v1::ListPolicyRevisionsRequest {
            name: name.into(),
            ..Default::default()
        };
        let status = server.policies().list_policy_revisions(revisions).await;
        assert_eq!(fields(&status.unwrap_err()), ["name"], "{name:.20?}");
        let rollback = v1::RollbackPolicyRequest {
            name: name.into(),
            revision: 1,
            ..Default::default()
        };
        let status = server.policies().rollback_policy(rollback).await;
        assert_eq!(fields(&status.unwrap_err()), ["name"], "{name:.20?}");
        if name.is_empty() {
            continue;
        }
        let audit = v1::ListAuditEventsRequest {
            namespace: name.into(),
            name: name.into(),
            ..Default::default()
        };
        let mut wrong = vec!["name", "namespace"];
        wrong.retain(|field| *field == "name" || name != "a");
        let status = server.policies().list_audit_events(audit).await;
        assert_eq!(fields(&status.unwrap_err()), wrong, "{name:.20?}");
        let watch = v1::WatchPoliciesRequest {
            namespace: name.into(),
            ..Default::default()
        };
        let status = server.policies().watch_policies(watch).await;
        assert_eq!(fields(&status.unwrap_err()), ["namespace"], "{name:.20?}");
        let list = v1::ListPoliciesRequest {
            service: name.into(),
            namespace: name.into(),
            ..Default::default()
        };
        let status = server.policies().list_policies(list).await.unwrap_err();
        assert!(fields(&status).contains(&"namespace".into()), "{name:.20?}");
    }
    assert_eq!(server.store.revision().0, 1);
}

#[tokio::test]
async fn a_set_too_large_for_some_processes_names_every_service() {
    let server = Server::start().await;
    let mut peers = vec![
        Peer::of(&server, "checkout").await,
        Peer::of(&server, "search").await,
    ];
    for peer in &mut peers {
        peer.apply().await;
    }
    let service = |i: usize| ["checkout", "search"][i % 2];
    let long = |i| v1::Policy {
        description: "x".repeat(4000),
        owner: "y".repeat(4000),
        ..policy(&format!("p{i}"), service(i))
    };
    // Each set fits into a request, the third into no snapshot any more; whether or not somebody
    // listens.
    for first in [0, 120] {
        let set = (first..first + 120).map(long).collect();
        server.apply(apply(set)).await.unwrap();
        for peer in &mut peers {
            peer.apply().await;
        }
    }
    drop(peers);
    let status = server.refuses(apply((240..360).map(long).collect())).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    for service in ["checkout", "search"] {
        assert!(
            status.message().contains(&format!("service {service} ")),
            "{status:?}"
        );
    }
    let shorter = (0..120).map(|i| policy(&format!("p{i}"), service(i)));
    let swapped = shorter.chain((240..350).map(long)).collect();
    server.apply(apply(swapped)).await.unwrap();
}

#[tokio::test]
async fn however_much_a_set_changes_its_answer_can_be_received() {
    let server = Server::start().await;
    let long = |i| v1::Policy {
        description: "x".repeat(4000),
        owner: "ann".into(),
        ..policy(&format!("p{i}"), &format!("s{}", i % 10))
    };
    for hundreds in 0..9 {
        let set = (hundreds * 200..(hundreds + 1) * 200).map(long).collect();
        server.apply(apply(set)).await.unwrap();
    }
    let all = v1::ApplyPoliciesRequest {
        allow_empty: true,
        ..pruning(vec![], "ann")
    };
    let made = server.apply(all).await.unwrap();
    assert_eq!(made.diffs.len(), 1800);
    let (first, last) = (&made.diffs[0], &made.diffs[1799]);
    assert!(!first.changes.is_empty() && first.warnings.is_empty());
    assert_eq!((last.action(), last.changes.len()), (Action::Delete, 0));
    assert!(
        last.warnings[0].description.contains("left out"),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_list_is_narrowed_to_a_service_and_an_owner_and_its_token_is_of_all_of_that() {
    let server = Server::start().await;
    let set = vec![
        owned("a", "ann"),
        owned("b", "bob"),
        v1::Policy {
            owner: "ann".into(),
            ..policy("c", "check*")
        },
        v1::Policy {
            owner: "ann".into(),
            ..policy("d", "search")
        },
    ];
    server.apply(apply(set)).await.unwrap();
    let request = |service: &str, owner: &str| v1::ListPoliciesRequest {
        service: service.into(),
        owner: owner.into(),
        page_size: 1,
        ..Default::default()
    };
    let mut names = Vec::new();
    let mut next = request("checkout", "ann");
    loop {
        let page = server.list(next).await;
        names.extend(page.policies.into_iter().map(|policy| policy.name));
        if page.next_page_token.is_empty() {
            break;
        }
        for other in [
            request("checkout", ""),
            request("", "ann"),
            request("ann", "checkout"),
        ] {
            let stolen = v1::ListPoliciesRequest {
                page_token: page.next_page_token.clone(),
                ..other
            };
            let status = server.policies().list_policies(stolen).await.unwrap_err();
            assert_eq!(fields(&status), ["page_token"]);
        }
        next = v1::ListPoliciesRequest {
            page_token: page.next_page_token,
            ..request("checkout", "ann")
        };
    }
    assert_eq!(names, ["a", "c"]);
}
