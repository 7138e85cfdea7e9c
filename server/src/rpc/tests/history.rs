//! ListPolicyRevisions, RollbackPolicy and ListAuditEvents.

use super::*;

fn revisions(name: &str, token: &str) -> v1::ListPolicyRevisionsRequest {
    v1::ListPolicyRevisionsRequest {
        name: name.into(),
        page_size: 2,
        page_token: token.into(),
        ..Default::default()
    }
}

fn rollback(name: &str, revision: u64) -> v1::RollbackPolicyRequest {
    v1::RollbackPolicyRequest {
        name: name.into(),
        revision,
        ..Default::default()
    }
}

fn with_priority(name: &str, priority: i32) -> v1::Policy {
    v1::Policy {
        priority,
        ..policy(name, "checkout")
    }
}

/// A server on which policy `a` has had priorities 1 to 5.
async fn lived(retention: Retention) -> Server {
    let store = memory::open(Arc::new(SystemTime::now), retention).unwrap();
    let server = Server::start_on(store, PACE, Patience::default()).await;
    for priority in 1..=5 {
        server.put(with_priority("a", priority)).await;
    }
    server
}

#[tokio::test]
async fn revisions_come_in_pages_the_newest_first_with_who_made_them() {
    let server = lived(Retention::default()).await;
    let mut client = server.policies();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.list_policy_revisions(revisions("a", &token)).await;
        let page = page.unwrap().into_inner();
        assert!(!page.pruned);
        seen.extend(page.revisions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = seen.iter().map(|revision| revision.revision).collect();
    assert_eq!(told, [5, 4, 3, 2, 1]);
    let newest = &seen[0];
    assert_eq!(newest.policy.as_ref().unwrap().priority, 5);
    let said = (
        newest.author.as_str(),
        newest.source.as_str(),
        newest.cause(),
    );
    assert_eq!(said, ("127.0.0.1", "127.0.0.1", v1::Cause::Update));
    assert_eq!(
        (newest.namespace.as_str(), newest.name.as_str()),
        ("default", "a")
    );
}

#[tokio::test]
async fn a_token_of_another_policy_or_another_list_is_refused() {
    let server = lived(Retention::default()).await;
    server.put(with_priority("b", 1)).await;
    let mut client = server.policies();
    let page = client.list_policy_revisions(revisions("a", "")).await;
    let token = page.unwrap().into_inner().next_page_token;
    let status = client.list_policy_revisions(revisions("b", &token)).await;
    assert_eq!(fields(&status.unwrap_err()), ["page_token"]);
    let audit = v1::ListAuditEventsRequest {
        page_token: token,
        ..Default::default()
    };
    let status = client.list_audit_events(audit).await;
    assert_eq!(fields(&status.unwrap_err()), ["page_token"]);
}

#[tokio::test]
async fn a_rollback_makes_a_new_revision_of_what_was() {
    let server = lived(Retention::default()).await;
    let mut client = server.policies();
    let dry = v1::RollbackPolicyRequest {
        validate_only: true,
        ..rollback("a", 2)
    };
    let told = client.rollback_policy(dry).await.unwrap().into_inner();
    let told = told.policy.unwrap();
    assert_eq!((told.priority, told.revision), (2, 0));
    let stale = v1::RollbackPolicyRequest {
        etag: "4".into(),
        ..rollback("a", 2)
    };
    let status = client.rollback_policy(stale).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    let made = client.rollback_policy(rollback("a", 2)).await.unwrap();
    let made = made.into_inner().policy.unwrap();
    assert_eq!((made.priority, made.revision), (2, 6));
    let again = client.rollback_policy(rollback("a", 2)).await.unwrap();
    assert_eq!(again.into_inner().policy.unwrap(), made);
    let status = client.rollback_policy(rollback("a", 9)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert!(
        status.message().ends_with("kept are 6, 5, 4, 3, 2, 1"),
        "{status:?}"
    );
    assert_eq!(server.store.revision().0, 6);
}

#[tokio::test]
async fn a_deletion_is_undone_but_not_made_by_a_rollback() {
    let server = lived(Retention::default()).await;
    let mut client = server.policies();
    let delete = v1::DeletePolicyRequest {
        name: "a".into(),
        ..Default::default()
    };
    client.delete_policy(delete).await.unwrap();
    let page = client.list_policy_revisions(revisions("a", "")).await;
    let newest = &page.unwrap().into_inner().revisions[0];
    assert_eq!((newest.cause(), &newest.policy), (v1::Cause::Delete, &None));
    let status = client.rollback_policy(rollback("a", 6)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(
        status.message().contains("deleted at revision 6"),
        "{status:?}"
    );
    let made = client.rollback_policy(rollback("a", 5)).await.unwrap();
    assert_eq!(made.into_inner().policy.unwrap().revision, 7);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_named_as_that() {
    let short = Retention {
        changes: 1,
        versions: 2,
        ..Retention::default()
    };
    let server = lived(short).await;
    let mut client = server.policies();
    let status = client.rollback_policy(rollback("a", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let text =
        "policy default/a: nothing is kept of revision 1, nor of any that old; kept are 5, 4";
    assert_eq!(status.message(), text);
    let one = v1::ListPolicyRevisionsRequest {
        page_size: 1,
        ..revisions("a", "")
    };
    let page = client
        .list_policy_revisions(one.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(page.pruned);
    for priority in 6..=8 {
        server.put(with_priority("a", priority)).await;
    }
    let late = v1::ListPolicyRevisionsRequest {
        page_token: page.next_page_token,
        ..one
    };
    let status = client.list_policy_revisions(late).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let unknown = client.list_policy_revisions(revisions("b", "")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let behind = v1::WatchPoliciesRequest {
        after_revision: 2,
        ..Default::default()
    };
    let status = client.watch_policies(behind).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

#[tokio::test]
async fn an_audit_tells_before_and_after_the_newest_first_and_filters() {
    let server = lived(Retention::default()).await;
    let mut client = server.policies();
    let mut by_ann = Request::new(v1::DeletePolicyRequest {
        name: "a".into(),
        ..Default::default()
    });
    by_ann.metadata_mut().insert(AUTHOR, "ann".parse().unwrap());
    client.delete_policy(by_ann).await.unwrap();
    let mut request = v1::ListAuditEventsRequest {
        page_size: 4,
        ..Default::default()
    };
    let mut events = Vec::new();
    loop {
        let page = client.list_audit_events(request.clone()).await;
        let page = page.unwrap().into_inner();
        events.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = events.iter().map(|event| event.revision).collect();
    assert_eq!(told, [6, 5, 4, 3, 2, 1]);
    let priority = |policy: &Option<v1::Policy>| policy.as_ref().map(|policy| policy.priority);
    let change = |event: &v1::AuditEvent| (priority(&event.before), priority(&event.after));
    assert_eq!(change(&events[0]), (Some(5), None));
    assert_eq!(change(&events[1]), (Some(4), Some(5)));
    assert_eq!(change(&events[5]), (None, Some(1)));
    assert_eq!(
        (events[0].replaced_revision, events[5].replaced_revision),
        (5, 0)
    );
    let of_ann = v1::ListAuditEventsRequest {
        author: "ann".into(),
        name: "a".into(),
        ..Default::default()
    };
    let page = client.list_audit_events(of_ann).await.unwrap().into_inner();
    assert_eq!(page.events, events[..1]);
}
