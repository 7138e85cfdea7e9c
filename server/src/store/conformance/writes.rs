//! Which writes are taken, and what they make of a policy.

use super::*;

pub(in crate::store) async fn revisions_grow_by_one_without_gaps(store: Subject) {
    assert_eq!(store.revision(), Revision::ZERO);
    for revision in 1..=5 {
        let committed = store.append(put("a")).await.unwrap();
        assert_eq!(committed.revision, Revision(revision));
        assert_eq!(store.revision(), Revision(revision));
    }
    let many = append_all(&*store, (0..100).map(|n| put(&format!("b{n}")))).await;
    assert_eq!(revisions(many), (6..=105).collect::<Vec<_>>());
}

pub(in crate::store) async fn a_refused_write_takes_no_revision(store: Subject) {
    store.append(put("a")).await.unwrap();
    let refused = store.append(put_if("a", Expect::Absent)).await;
    assert_eq!(refused, conflict("a", Expect::Absent, Some(1)));
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.append(put("a")).await.unwrap().revision, Revision(2));
}

pub(in crate::store) async fn exactly_admits_only_that_revision(store: Subject) {
    append_all(&*store, [put("a"), put("b"), put("a")]).await;
    for stale in [0, 1, 2, 4] {
        let expect = Expect::Exactly(Revision(stale));
        let answer = store.append(put_if("a", expect)).await;
        assert_eq!(answer, conflict("a", expect, Some(3)));
    }
    let current = Expect::Exactly(Revision(3));
    assert!(store.append(put_if("a", current)).await.is_ok());
    let answer = store.append(delete_if("a", current)).await;
    assert_eq!(answer, conflict("a", current, Some(4)));
    let current = Expect::Exactly(Revision(4));
    assert!(store.append(delete_if("a", current)).await.is_ok());
    let answer = store.append(put_if("a", current)).await;
    assert_eq!(answer, conflict("a", current, None));
}

pub(in crate::store) async fn absent_admits_only_a_new_name(store: Subject) {
    let create = || put_if("a", Expect::Absent);
    assert!(store.append(create()).await.is_ok());
    let answer = store.append(create()).await;
    assert_eq!(answer, conflict("a", Expect::Absent, Some(1)));
    store.append(delete_if("a", Expect::Present)).await.unwrap();
    assert!(store.append(create()).await.is_ok());
}

pub(in crate::store) async fn present_admits_only_an_existing_policy(store: Subject) {
    let replace = || put_if("a", Expect::Present);
    let answer = store.append(replace()).await;
    assert_eq!(answer, conflict("a", Expect::Present, None));
    store.append(put("a")).await.unwrap();
    assert!(store.append(replace()).await.is_ok());
}

pub(in crate::store) async fn what_is_absent_cannot_be_deleted(store: Subject) {
    for (expect, told) in [
        (Expect::Anything, Expect::Present),
        (Expect::Present, Expect::Present),
        (Expect::Absent, Expect::Present),
        (Expect::Exactly(Revision(9)), Expect::Exactly(Revision(9))),
    ] {
        let answer = store.append(delete_if("a", expect)).await;
        assert_eq!(answer, conflict("a", told, None));
    }
    assert_eq!(store.revision(), Revision::ZERO);
}

pub(in crate::store) async fn a_conflict_names_both_revisions(store: Subject) {
    append_all(&*store, [put("a"), put("a")]).await;
    let said = |answer: Result<_, AppendError>| answer.unwrap_err().to_string();
    let stale = Expect::Exactly(Revision(1));
    assert_eq!(
        said(store.append(put_if("a", stale)).await),
        "policy default/a: expected revision 1, found revision 2"
    );
    assert_eq!(
        said(store.append(put_if("a", Expect::Absent)).await),
        "policy default/a: expected absent, found revision 2"
    );
    assert_eq!(
        said(store.append(delete_if("b", Expect::Anything)).await),
        "policy default/b: expected present, found absent"
    );
}

pub(in crate::store) async fn a_write_sees_those_before_it_in_its_batch(store: Subject) {
    let answers = append_all(
        &*store,
        [
            put_if("a", Expect::Absent),
            put_if("a", Expect::Exactly(Revision(1))),
            put_if("a", Expect::Exactly(Revision(1))),
            delete_if("a", Expect::Exactly(Revision(2))),
            put_if("a", Expect::Present),
            put_if("a", Expect::Absent),
        ],
    )
    .await;
    let taken: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().ok().map(|committed| committed.revision.0))
        .collect();
    assert_eq!(taken, [Some(1), Some(2), None, Some(3), None, Some(4)]);
    let stale = Expect::Exactly(Revision(1));
    assert_eq!(answers[2], conflict("a", stale, Some(2)));
    assert_eq!(answers[4], conflict("a", Expect::Present, None));
}

pub(in crate::store) async fn of_concurrent_creations_of_one_name_exactly_one_wins(store: Subject) {
    let create = || run(store.append(put_if("a", Expect::Absent)));
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for answer in lost {
        assert_eq!(answer, conflict("a", Expect::Absent, Some(1)));
    }
}

pub(in crate::store) async fn get_after_append_sees_it(store: Subject) {
    assert_eq!(store.get(&id("a")), Ok(None));
    for attempt_ms in 1..=20 {
        let step = Step::put(policy("a", attempt_ms), Expect::Anything);
        let proposal = Proposal::one(step, by(Cause::Update));
        let committed = store.append(proposal).await.unwrap();
        let found = store.get(&id("a")).unwrap().unwrap();
        assert_eq!(found.policy, policy("a", attempt_ms));
        assert_eq!(found.revision, committed.revision);
        assert_eq!(Some(&found), committed.stored());
    }
    let committed = store
        .append(delete_if("a", Expect::Anything))
        .await
        .unwrap();
    assert_eq!(committed.stored(), None);
    assert_eq!(store.get(&id("a")), Ok(None));
}

pub(in crate::store) async fn a_dropped_append_is_committed_all_the_same(store: Subject) {
    drop(store.append(put("a")));
    let answer = store.append(put_if("a", Expect::Absent)).await;
    assert_eq!(answer, conflict("a", Expect::Absent, Some(1)));
}

pub(in crate::store) async fn creation_time_stays_while_update_time_and_author_move(
    store: Subject,
) {
    let first = stored(&store, put("a")).await;
    assert_eq!(first.create_time, first.update_time);
    assert_eq!(first.updated_by, AUTHOR);
    let mut by_bob = put("a");
    by_bob.by.author = "bob".into();
    let second = stored(&store, by_bob).await;
    assert_eq!(second.create_time, first.create_time);
    assert!(second.update_time > first.update_time);
    assert_eq!(second.updated_by, "bob");
    assert_eq!(second.etag(), "2");
}

pub(in crate::store) async fn delete_then_create_starts_anew(store: Subject) {
    let first = stored(&store, put("a")).await;
    store.append(delete_if("a", Expect::Present)).await.unwrap();
    let second = stored(&store, put_if("a", Expect::Absent)).await;
    assert_eq!(second.revision, Revision(3));
    assert_eq!(second.create_time, second.update_time);
    assert!(second.create_time > first.create_time);
}

async fn stored(store: &Subject, proposal: Proposal) -> Arc<Stored> {
    Arc::clone(store.append(proposal).await.unwrap().stored().unwrap())
}

pub(in crate::store) async fn a_write_too_large_for_the_disk_is_refused_and_named(store: Subject) {
    let mut too_large = put("a");
    too_large.by.author = "x".repeat(VERSION_BYTES);
    match store.append(too_large).await {
        Err(AppendError::TooLarge { subject, bytes }) => {
            assert_eq!(subject.to_string(), "policy default/a");
            assert!(bytes > VERSION_BYTES);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get(&id("a")), Ok(None));
    assert_eq!(revisions(vec![store.append(put("a")).await]), [1]);
}

pub(in crate::store) async fn what_would_be_refused_is_told_without_a_write(store: Subject) {
    store.append(put("a")).await.unwrap();
    let create = || put_if("a", Expect::Absent);
    let refused = store.append(create()).await.unwrap_err();
    assert_eq!(store.judge(create()), Err(refused));
    assert_eq!(store.judge(put("b")), Ok(()));
    assert_eq!(
        (store.revision(), store.get(&id("b"))),
        (Revision(1), Ok(None))
    );
}
