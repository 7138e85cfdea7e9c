//! What policies were.

use super::*;

pub(in crate::store) async fn every_version_is_kept_the_newest_first(store: Subject) {
    for attempt_ms in 1..=5 {
        let step = Step::put(policy("a", attempt_ms), Expect::Anything);
        store
            .append(Proposal::one(step, by(Cause::Rollback)))
            .await
            .unwrap();
        store.append(put("b")).await.unwrap();
    }
    let all = store.versions(&id("a"), None, 9).unwrap();
    assert_eq!((all.more, all.pruned), (false, false));
    let versions: Vec<_> = all.versions.iter().map(|version| told(version)).collect();
    let replaced = [Some(7), Some(5), Some(3), Some(1), None];
    let expected = (1..=5)
        .rev()
        .zip(replaced)
        .map(|(ms, replaced)| (id("a"), Some(ms), replaced));
    assert_eq!(versions, expected.collect::<Vec<_>>());
    assert_eq!(*all.versions[0].by, by(Cause::Rollback));
    let older = store.versions(&id("a"), Some(Revision(7)), 2).unwrap();
    let found: Vec<_> = older
        .versions
        .iter()
        .map(|version| version.revision.0)
        .collect();
    assert_eq!((found, older.more), (vec![5, 3], true));
    let none = store.versions(&id("never"), None, 9).unwrap();
    assert_eq!(
        (none.versions.len(), none.more, none.pruned),
        (0, false, false)
    );
}

pub(in crate::store) async fn a_deleted_policy_keeps_its_past_and_a_new_one_of_its_name_goes_on(
    store: Subject,
) {
    store.append(put("a")).await.unwrap();
    store.append(delete_if("a", Expect::Present)).await.unwrap();
    let stretch = store.versions(&id("a"), None, 9).unwrap();
    let versions: Vec<_> = stretch
        .versions
        .iter()
        .map(|version| told(version))
        .collect();
    assert_eq!(
        versions,
        [(id("a"), None, Some(1)), (id("a"), Some(1), None)]
    );
    store.append(put("a")).await.unwrap();
    let stretch = store.versions(&id("a"), None, 9).unwrap();
    let revisions: Vec<_> = stretch
        .versions
        .iter()
        .map(|version| version.revision.0)
        .collect();
    assert_eq!(revisions, [3, 2, 1]);
}

pub(in crate::store) async fn the_changes_of_late_come_with_what_they_replaced(store: Subject) {
    append_all(&*store, [put("a"), put("b"), put("a")]).await;
    let both = [
        Step::delete(id("a"), Expect::Present),
        Step::put(policy("c", 9), Expect::Absent),
    ];
    store.append(set(both)).await.unwrap();
    let everything = store.changes(&|_| true, None, 9).unwrap();
    let places: Vec<_> = everything
        .changes
        .iter()
        .map(|((r, n), _)| (r.0, *n))
        .collect();
    assert_eq!(places, [(4, 1), (4, 0), (3, 0), (2, 0), (1, 0)]);
    let before = everything
        .before
        .iter()
        .map(|before| before.as_ref().map(|v| v.revision.0));
    assert_eq!(
        before.collect::<Vec<_>>(),
        [None, Some(3), Some(1), None, None]
    );
    assert_eq!((everything.more, everything.pruned), (false, false));
    let of_a = |version: &Version| version.policy_id() == Some(&id("a"));
    let first = store.changes(&of_a, None, 2).unwrap();
    assert_eq!((first.changes.len(), first.more), (2, true));
    let rest = store.changes(&of_a, Some(first.changes[1].0), 2).unwrap();
    assert_eq!((rest.changes[0].0, rest.more), ((Revision(1), 0), false));
}
