//! Writes of many policies, and what they may weigh.

use super::*;

pub(in crate::store) async fn a_set_takes_one_revision_and_is_seen_whole(store: Subject) {
    append_all(&*store, [put("a"), put("b")]).await;
    let mut watch = store.watch().unwrap();
    let steps = [
        Step::put(policy("a", 2), Expect::Exactly(Revision(1))),
        Step::delete(id("b"), Expect::Present),
        Step::put(policy("c", 2), Expect::Absent),
    ];
    let committed = store.append(set(steps)).await.unwrap();
    assert_eq!(committed.revision, Revision(3));
    let made: Vec<_> = committed.versions.iter().map(|v| told(v)).collect();
    let expected = [
        ("a", Some(2), Some(1)),
        ("b", None, Some(2)),
        ("c", Some(2), None),
    ];
    assert_eq!(
        made,
        expected.map(|(name, ms, replaced)| (id(name), ms, replaced))
    );
    assert_eq!(watch.next().await, Ok(committed));
    assert_eq!(store.revision(), Revision(3));
    let page = all(&*store);
    assert_eq!(ids(&page.policies), [id("a"), id("c")]);
    assert!(
        page.policies
            .iter()
            .all(|stored| stored.revision == Revision(3))
    );
    assert_eq!(revisions(vec![store.append(put("a")).await]), [4]);
}

pub(in crate::store) async fn a_set_is_refused_whole_over_one_conflict(store: Subject) {
    store.append(put("a")).await.unwrap();
    let steps = [
        Step::put(policy("b", 1), Expect::Absent),
        Step::put(policy("a", 1), Expect::Absent),
        Step::put(policy("c", 1), Expect::Absent),
    ];
    let answers = append_all(&*store, [set(steps), put_if("b", Expect::Absent)]).await;
    assert_eq!(answers[0], conflict("a", Expect::Absent, Some(1)));
    assert_eq!(answers[1].as_ref().unwrap().revision, Revision(2));
    assert_eq!(store.get(&id("c")), Ok(None));
}

pub(in crate::store) async fn a_set_that_names_a_policy_twice_or_none_is_refused(store: Subject) {
    let twice = ["a", "b", "a"].map(|name| Step::put(policy(name, 1), Expect::Anything));
    for malformed in [set(twice), set([])] {
        assert_eq!(store.append(malformed).await, Err(AppendError::Malformed));
    }
    assert_eq!(store.revision(), Revision::ZERO);
    assert_eq!(all(&*store).policies, []);
}

pub(in crate::store) async fn a_set_beyond_its_bounds_is_refused(store: Subject) {
    let named = |n: usize| Step::put(policy(&format!("p{n}"), 1), Expect::Anything);
    let many = set((0..=WRITE_VERSIONS).map(named));
    let count = WRITE_VERSIONS + 1;
    assert_eq!(
        store.append(many).await,
        Err(AppendError::TooMany { count })
    );
    let mut much = set((0..20).map(named));
    much.by.author = "x".repeat(VERSION_BYTES / 2 - 4096);
    much.by.source = "x".repeat(4000);
    much.steps.extend((20..80).map(named));
    match store.append(much).await {
        Err(AppendError::TooMuch { bytes }) => assert!(bytes > WRITE_BYTES),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.revision(), Revision::ZERO);
    let most = set((0..WRITE_VERSIONS).map(named));
    assert_eq!(revisions(vec![store.append(most).await]), [1]);
}

pub(in crate::store) async fn what_is_to_be_kept_is_only_held_to_its_expectation(store: Subject) {
    append_all(&*store, [put("a"), put("b")]).await;
    let with = |expect| {
        let put = Step::put(policy("c", 1), Expect::Anything);
        set([Step::keep(id("a"), expect), put])
    };
    let stale = Expect::Exactly(Revision(2));
    let answer = store.append(with(stale)).await;
    assert_eq!(answer, conflict("a", stale, Some(1)));
    assert_eq!(store.get(&id("c")), Ok(None));
    let kept = store.append(with(Expect::Exactly(Revision(1)))).await;
    assert_eq!(kept.unwrap().versions.len(), 1);
    assert_eq!(store.get(&id("a")).unwrap().unwrap().revision, Revision(1));
    let nothing = set([Step::keep(id("a"), Expect::Present)]);
    assert_eq!(store.append(nothing).await, Err(AppendError::Malformed));
}

/// A policy of about eight thousand bytes.
fn heavy(name: &str, service: &str) -> Step {
    let mut draft = policy(name, 1).into_draft();
    (draft.owner, draft.description) = ("o".repeat(4000), "d".repeat(4000));
    let service = Some(Glob::new(service).unwrap());
    draft.selector = Selector::new(service, None, None, Labels::default()).unwrap();
    Step::put(Policy::new(draft).unwrap(), Expect::Anything)
}

pub(in crate::store) async fn a_service_is_never_made_to_hold_more_than_it_can_be_sent(
    store: Subject,
) {
    let names: Vec<_> = (0..200).map(|n| format!("p{n}")).collect();
    let one = |name: &String| set([heavy(name, "checkout")]);
    let answers = append_all(&*store, names.iter().map(one)).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((100..150).contains(&taken), "{taken}");
    let crowded = answers[taken].clone().unwrap_err();
    assert!(matches!(crowded, AppendError::Crowded(_)), "{crowded}");
    assert!(
        crowded
            .to_string()
            .contains("service checkout of namespace default"),
        "{crowded}"
    );
    let held = concerning(&store, "checkout");
    assert_eq!(held.policies.len(), taken);
    // It takes the place of its older version, somebody else's place, or that of one that goes.
    assert!(store.append(one(&names[0])).await.is_ok());
    assert!(store.append(set([heavy("other", "search")])).await.is_ok());
    let everywhere = || heavy("everywhere", "*");
    let swap = set([everywhere(), Step::delete(id("p0"), Expect::Present)]);
    let for_all = store.append(set([everywhere()])).await.unwrap_err();
    assert!(matches!(for_all, AppendError::Crowded(_)), "{for_all}");
    assert!(store.append(swap).await.is_ok());
    let too_much = names.iter().map(|name| heavy(name, "new"));
    let too_much = store.append(set(too_much)).await.unwrap_err();
    assert!(matches!(too_much, AppendError::Crowded(_)), "{too_much}");
}
