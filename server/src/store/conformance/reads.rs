//! Policies as they are now, one or in pages.

use super::*;

pub(in crate::store) async fn namespaces_do_not_meet(store: Subject) {
    append_all(&*store, [put("blue/a"), put("red/a")]).await;
    store
        .append(delete_if("blue/a", Expect::Present))
        .await
        .unwrap();
    assert_eq!(store.get(&id("blue/a")), Ok(None));
    assert_eq!(
        store.get(&id("red/a")).unwrap().unwrap().revision,
        Revision(2)
    );
}

pub(in crate::store) async fn pages_come_in_order_without_gap_or_repetition(store: Subject) {
    append_all(&*store, AWKWARD.map(put)).await;
    for limit in 1..=AWKWARD.len() + 1 {
        assert_eq!(
            all_pages(&store, None, limit),
            awkward_ids(),
            "{limit} a page"
        );
    }
    let none = page(&store, None, None, 0);
    assert_eq!((none.policies.len(), none.more), (0, true));
}

pub(in crate::store) async fn a_page_goes_on_behind_a_policy_that_is_gone(store: Subject) {
    append_all(&*store, ["a", "b", "c"].map(put)).await;
    store.append(delete_if("b", Expect::Present)).await.unwrap();
    let page = page(&store, None, Some(&id("b")), 9);
    assert_eq!(ids(&page.policies), [id("c")]);
    assert_eq!((page.revision, page.more), (Revision(4), false));
}

pub(in crate::store) async fn a_namespace_is_listed_alone(store: Subject) {
    append_all(&*store, AWKWARD.map(put)).await;
    for namespace in ["a", "a-b", "a.b", "a0", "ab", "b", "c"] {
        let namespace = Namespace::new(namespace).unwrap();
        let own: Vec<_> = awkward_ids()
            .into_iter()
            .filter(|id| id.namespace == namespace)
            .collect();
        for limit in 1..=4 {
            assert_eq!(all_pages(&store, Some(&namespace), limit), own);
        }
    }
    let b = Namespace::new("b").unwrap();
    let ahead = page(&store, Some(&b), Some(&id("a/z")), 9);
    assert_eq!(ids(&ahead.policies), [id("b/0"), id("b/a")]);
    let behind = page(&store, Some(&b), Some(&id("c/0")), 9);
    assert_eq!((behind.policies.len(), behind.more), (0, false));
}

fn page(
    store: &Subject,
    namespace: Option<&Namespace>,
    after: Option<&PolicyId>,
    limit: usize,
) -> Page {
    let query = Query {
        namespace,
        after,
        limit: Some(limit),
        ..Query::default()
    };
    store.list(&query).unwrap()
}

fn all_pages(store: &Subject, namespace: Option<&Namespace>, limit: usize) -> Vec<PolicyId> {
    let mut all: Vec<PolicyId> = Vec::new();
    loop {
        let page = page(store, namespace, all.last(), limit);
        assert_eq!(page.revision, store.revision());
        assert!(page.policies.len() == limit || !page.more);
        all.extend(ids(&page.policies));
        if !page.more {
            return all;
        }
    }
}

/// A policy of one owner for one service.
fn of(name: &str, owner: &str, service: &str) -> Proposal {
    let mut draft = policy(name, 1).into_draft();
    draft.owner = owner.into();
    let service = Some(Glob::new(service).unwrap());
    draft.selector = Selector::new(service, None, None, Labels::default()).unwrap();
    let step = Step::put(Policy::new(draft).unwrap(), Expect::Anything);
    Proposal::one(step, by(Cause::Update))
}

async fn owned(store: &Subject) {
    let proposals = [
        of("a", "x", "checkout"),
        of("b", "y", "check*"),
        of("c", "x", "search"),
        of("other/d", "x", "checkout"),
        put("e"),
    ];
    append_all(&**store, proposals).await;
}

pub(in crate::store) async fn a_page_holds_only_what_concerns_the_service_and_is_the_owners(
    store: Subject,
) {
    owned(&store).await;
    let default = Namespace::default_namespace();
    let everywhere = (None, Some("checkout"), None);
    let here = (Some(&default), Some("checkout"), None);
    let cases = [
        (everywhere, vec!["a", "b", "e", "other/d"]),
        (here, vec!["a", "b", "e"]),
        ((None, None, Some("x")), vec!["a", "c", "other/d"]),
        ((Some(&default), Some("checkout"), Some("x")), vec!["a"]),
        ((None, None, Some("nobody")), vec![]),
    ];
    for ((namespace, service, owner), expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(id).collect();
        for limit in 1..=4 {
            let mut found: Vec<PolicyId> = Vec::new();
            loop {
                let page = store.list(&Query {
                    namespace,
                    service,
                    owner,
                    after: found.last().cloned().as_ref(),
                    limit: Some(limit),
                });
                let page = page.unwrap();
                found.extend(ids(&page.policies));
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, expected);
        }
    }
}

pub(in crate::store) async fn what_concerns_a_service_is_found_without_a_page(store: Subject) {
    owned(&store).await;
    let page = concerning(&store, "checkout");
    assert_eq!(ids(&page.policies), ["a", "b", "e"].map(id));
    assert_eq!((page.revision, page.more), (Revision(5), false));
}
