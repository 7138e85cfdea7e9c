//! What every store promises, as claims: a new store is done when it passes them all.
//!
//! [`conform!`] turns the claims into tests of one store. Each claim gets an empty store of its
//! own, opened with [`fixture::clock`], so that even times are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use fusebox_core::key::{Labels, Namespace, PolicyId};
use fusebox_core::policy::selector::{Glob, Selector};
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::Revision;

use super::fixture::{
    AUTHOR, append_all, by, conflict, delete_if, id, policy, put, put_if, revisions, run, set,
};
use super::{
    AppendError, Cause, Expect, Page, Proposal, Query, ReadError, Step, Store, VERSION_BYTES,
    Version, WATCH_EVENTS, WRITE_BYTES, WRITE_VERSIONS, Watch, WatchError,
};

/// One test a claim: `$open` returns a store and whatever must outlive it.
macro_rules! conform {
    ($open:expr) => {
        conform! { $open;
            revisions_grow_by_one_without_gaps
            a_refused_write_takes_no_revision
            exactly_admits_only_that_revision
            absent_admits_only_a_new_name
            present_admits_only_an_existing_policy
            what_is_absent_cannot_be_deleted
            a_conflict_names_both_revisions
            a_write_sees_those_before_it_in_its_batch
            of_concurrent_creations_of_one_name_exactly_one_wins
            get_after_append_sees_it
            a_dropped_append_is_committed_all_the_same
            creation_time_stays_while_update_time_and_author_move
            delete_then_create_starts_anew
            namespaces_do_not_meet
            pages_come_in_order_without_gap_or_repetition
            a_page_goes_on_behind_a_policy_that_is_gone
            a_namespace_is_listed_alone
            a_write_too_large_for_the_disk_is_refused_and_named
            a_watch_begins_with_everything
            a_watch_hears_each_change_once_and_in_order_from_concurrent_writers
            a_watch_begun_amid_writes_has_neither_gap_nor_overlap
            a_watch_that_lags_is_told_and_stays_ended
            a_set_takes_one_revision_and_is_seen_whole
            a_set_is_refused_whole_over_one_conflict
            a_set_that_names_a_policy_twice_or_none_is_refused
            a_set_beyond_its_bounds_is_refused
            what_is_to_be_kept_is_only_held_to_its_expectation
            what_would_be_refused_is_told_without_a_write
            a_service_is_never_made_to_hold_more_than_it_can_be_sent
            a_page_holds_only_what_concerns_the_service_and_is_the_owners
            what_concerns_a_service_is_found_without_a_page
            every_version_is_kept_the_newest_first
            a_deleted_policy_keeps_its_past_and_a_new_one_of_its_name_goes_on
            the_changes_of_late_come_with_what_they_replaced
            a_watch_goes_on_from_any_revision_that_has_been
            closing_commits_what_is_queued_and_ends_reads_and_watches
            closing_twice_is_harmless
        }
    };
    ($open:expr; $($claim:ident)+) => {$(
        #[test]
        fn $claim() {
            let (store, _outlives) = $open;
            $crate::store::fixture::run($crate::store::conformance::$claim(store));
        }
    )+};
}
pub(super) use conform;

type Subject = Arc<dyn Store>;

pub(super) async fn revisions_grow_by_one_without_gaps(store: Subject) {
    assert_eq!(store.revision(), Revision::ZERO);
    for revision in 1..=5 {
        let committed = store.append(put("a")).await.unwrap();
        assert_eq!(committed.revision, Revision(revision));
        assert_eq!(store.revision(), Revision(revision));
    }
    let many = append_all(&*store, (0..100).map(|n| put(&format!("b{n}")))).await;
    assert_eq!(revisions(many), (6..=105).collect::<Vec<_>>());
}

pub(super) async fn a_refused_write_takes_no_revision(store: Subject) {
    store.append(put("a")).await.unwrap();
    let refused = store.append(put_if("a", Expect::Absent)).await;
    assert_eq!(refused, conflict("a", Expect::Absent, Some(1)));
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.append(put("a")).await.unwrap().revision, Revision(2));
}

pub(super) async fn exactly_admits_only_that_revision(store: Subject) {
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

pub(super) async fn absent_admits_only_a_new_name(store: Subject) {
    let create = || put_if("a", Expect::Absent);
    assert!(store.append(create()).await.is_ok());
    let answer = store.append(create()).await;
    assert_eq!(answer, conflict("a", Expect::Absent, Some(1)));
    store.append(delete_if("a", Expect::Present)).await.unwrap();
    assert!(store.append(create()).await.is_ok());
}

pub(super) async fn present_admits_only_an_existing_policy(store: Subject) {
    let replace = || put_if("a", Expect::Present);
    let answer = store.append(replace()).await;
    assert_eq!(answer, conflict("a", Expect::Present, None));
    store.append(put("a")).await.unwrap();
    assert!(store.append(replace()).await.is_ok());
}

pub(super) async fn what_is_absent_cannot_be_deleted(store: Subject) {
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

pub(super) async fn a_conflict_names_both_revisions(store: Subject) {
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

pub(super) async fn a_write_sees_those_before_it_in_its_batch(store: Subject) {
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

pub(super) async fn of_concurrent_creations_of_one_name_exactly_one_wins(store: Subject) {
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

pub(super) async fn get_after_append_sees_it(store: Subject) {
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

pub(super) async fn a_dropped_append_is_committed_all_the_same(store: Subject) {
    drop(store.append(put("a")));
    let answer = store.append(put_if("a", Expect::Absent)).await;
    assert_eq!(answer, conflict("a", Expect::Absent, Some(1)));
}

pub(super) async fn creation_time_stays_while_update_time_and_author_move(store: Subject) {
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

pub(super) async fn delete_then_create_starts_anew(store: Subject) {
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

pub(super) async fn namespaces_do_not_meet(store: Subject) {
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

/// Names whose order as text, as bytes and as (namespace, name) could differ.
const AWKWARD: [&str; 10] = [
    "b/0", "b/a", "a/z", "a.b/m", "a-b/m", "ab/m", "a/a-b", "a/a.b", "a/a", "a0/x",
];

fn awkward_ids() -> Vec<PolicyId> {
    let sorted: BTreeSet<_> = AWKWARD.into_iter().map(id).collect();
    sorted.into_iter().collect()
}

pub(super) async fn pages_come_in_order_without_gap_or_repetition(store: Subject) {
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

pub(super) async fn a_page_goes_on_behind_a_policy_that_is_gone(store: Subject) {
    append_all(&*store, ["a", "b", "c"].map(put)).await;
    store.append(delete_if("b", Expect::Present)).await.unwrap();
    let page = page(&store, None, Some(&id("b")), 9);
    assert_eq!(ids(&page.policies), [id("c")]);
    assert_eq!((page.revision, page.more), (Revision(4), false));
}

pub(super) async fn a_namespace_is_listed_alone(store: Subject) {
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

fn ids(policies: &[Arc<Stored>]) -> Vec<PolicyId> {
    policies.iter().map(|s| s.policy.id().clone()).collect()
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

pub(super) async fn a_write_too_large_for_the_disk_is_refused_and_named(store: Subject) {
    let mut too_large = put("a");
    too_large.by.author = "x".repeat(VERSION_BYTES);
    match store.append(too_large).await {
        Err(AppendError::TooLarge { id: named, bytes }) => {
            assert_eq!(named, id("a"));
            assert!(bytes > VERSION_BYTES);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get(&id("a")), Ok(None));
    assert_eq!(revisions(vec![store.append(put("a")).await]), [1]);
}

pub(super) async fn a_watch_begins_with_everything(store: Subject) {
    let empty = store.watch().unwrap();
    assert_eq!((empty.revision, empty.policies.len()), (Revision::ZERO, 0));
    append_all(&*store, AWKWARD.map(put)).await;
    store
        .append(delete_if("a/z", Expect::Present))
        .await
        .unwrap();
    let watch = store.watch().unwrap();
    assert_eq!(watch.revision, Revision(11));
    let mut expected = awkward_ids();
    expected.retain(|have| *have != id("a/z"));
    assert_eq!(ids(&watch.policies), expected);
}

const WRITERS: u64 = 4;
const WRITES_EACH: u64 = 50;

/// Writers that put and delete a few shared names, each write whatever it finds.
fn write_concurrently(store: &Subject, meanwhile: impl FnOnce()) -> Vec<Revision> {
    let write = |writer| move || run(write_some(store, writer));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|w| scope.spawn(write(w))).collect();
        meanwhile();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    })
}

async fn write_some(store: &Subject, writer: u64) -> Vec<Revision> {
    let mut taken = Vec::new();
    for write in 0..WRITES_EACH {
        let name = format!("p{}", (write + writer) % 5);
        let proposal = match write % 3 {
            2 => delete_if(&name, Expect::Anything),
            _ => put(&name),
        };
        match store.append(proposal).await {
            Ok(committed) => taken.push(committed.revision),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

/// What a reader of `watch` knows once it has heard of `until`.
async fn follow(mut watch: Watch, until: Revision) -> BTreeMap<PolicyId, Arc<Stored>> {
    let mut known: BTreeMap<_, _> = watch
        .policies
        .drain(..)
        .map(|stored| (stored.policy.id().clone(), stored))
        .collect();
    let mut at = watch.revision;
    while at < until {
        let write = watch.next().await.unwrap();
        assert_eq!(write.revision, at.next());
        at = write.revision;
        for version in &*write.versions {
            match &version.stored {
                Some(stored) => known.insert(version.id.clone(), Arc::clone(stored)),
                None => Some(
                    known
                        .remove(&version.id)
                        .expect("only what is there is deleted"),
                ),
            };
        }
    }
    known
}

fn everything(store: &Subject) -> BTreeMap<PolicyId, Arc<Stored>> {
    super::fixture::all(&**store)
        .policies
        .into_iter()
        .map(|stored| (stored.policy.id().clone(), stored))
        .collect()
}

pub(super) async fn a_watch_hears_each_change_once_and_in_order_from_concurrent_writers(
    store: Subject,
) {
    let (first, second) = (store.watch().unwrap(), store.watch().unwrap());
    let mut taken = write_concurrently(&store, || ());
    taken.sort();
    let gapless: Vec<_> = (1..=store.revision().0).map(Revision).collect();
    assert_eq!(taken, gapless);
    assert_eq!(follow(first, store.revision()).await, everything(&store));
    assert_eq!(follow(second, store.revision()).await, everything(&store));
}

pub(super) async fn a_watch_begun_amid_writes_has_neither_gap_nor_overlap(store: Subject) {
    let mut watches = Vec::new();
    write_concurrently(&store, || {
        watches.extend((0..100).map(|_| store.watch().unwrap()));
    });
    for watch in watches {
        assert_eq!(follow(watch, store.revision()).await, everything(&store));
    }
}

pub(super) async fn a_watch_that_lags_is_told_and_stays_ended(store: Subject) {
    let mut watch = store.watch().unwrap();
    let events = WATCH_EVENTS as u64;
    for _ in 0..(events + 3).div_ceil(100) {
        append_all(&*store, (0..100).map(|_| put("a"))).await;
    }
    let missed = store.revision().0 - events;
    let lagged = Err(WatchError::Lagged { missed });
    assert_eq!(watch.next().await, lagged);
    assert_eq!(watch.next().await, lagged);
    assert_eq!(store.vitals().lagged, 1);
    let again = store.watch().unwrap();
    assert_eq!(follow(again, store.revision()).await, everything(&store));
}

pub(super) async fn closing_commits_what_is_queued_and_ends_reads_and_watches(store: Subject) {
    let mut watch = store.watch().unwrap();
    let queued: Vec<_> = (0..10).map(|_| store.append(put("a"))).collect();
    store.close().await;
    for (answer, revision) in queued.into_iter().zip(1..) {
        assert_eq!(answer.await.unwrap().revision, Revision(revision));
        assert_eq!(watch.next().await.unwrap().revision, Revision(revision));
    }
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    let refused = store.append(put("a")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })));
    assert_eq!(store.get(&id("a")), Err(ReadError::Closed));
    assert_eq!(store.list(&Query::default()), Err(ReadError::Closed));
    assert_eq!(store.watch().unwrap_err(), ReadError::Closed);
}

pub(super) async fn closing_twice_is_harmless(store: Subject) {
    let (first, second) = (store.close(), store.close());
    first.await;
    second.await;
    store.close().await;
}

pub(super) async fn a_set_takes_one_revision_and_is_seen_whole(store: Subject) {
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
    let page = super::fixture::all(&*store);
    assert_eq!(ids(&page.policies), [id("a"), id("c")]);
    assert!(
        page.policies
            .iter()
            .all(|stored| stored.revision == Revision(3))
    );
    assert_eq!(revisions(vec![store.append(put("a")).await]), [4]);
}

/// Whose version, its attempt timeout in milliseconds, the revision it replaced.
fn told(version: &Version) -> (PolicyId, Option<u64>, Option<u64>) {
    let attempt = |stored: &Arc<Stored>| stored.policy.rules().timeout.attempt.unwrap();
    let milliseconds = version.stored.as_ref().map(attempt);
    let milliseconds = milliseconds.map(|attempt| u64::try_from(attempt.as_millis()).unwrap());
    (
        version.id.clone(),
        milliseconds,
        version.replaced.map(|revision| revision.0),
    )
}

pub(super) async fn a_set_is_refused_whole_over_one_conflict(store: Subject) {
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

pub(super) async fn a_set_that_names_a_policy_twice_or_none_is_refused(store: Subject) {
    let twice = ["a", "b", "a"].map(|name| Step::put(policy(name, 1), Expect::Anything));
    for malformed in [set(twice), set([])] {
        assert_eq!(store.append(malformed).await, Err(AppendError::Malformed));
    }
    assert_eq!(store.revision(), Revision::ZERO);
    assert_eq!(super::fixture::all(&*store).policies, []);
}

pub(super) async fn a_set_beyond_its_bounds_is_refused(store: Subject) {
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

pub(super) async fn what_is_to_be_kept_is_only_held_to_its_expectation(store: Subject) {
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

pub(super) async fn what_would_be_refused_is_told_without_a_write(store: Subject) {
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

/// A policy of about eight thousand bytes.
fn heavy(name: &str, service: &str) -> Step {
    let mut draft = policy(name, 1).into_draft();
    (draft.owner, draft.description) = ("o".repeat(4000), "d".repeat(4000));
    let service = Some(Glob::new(service).unwrap());
    draft.selector = Selector::new(service, None, None, Labels::default()).unwrap();
    Step::put(Policy::new(draft).unwrap(), Expect::Anything)
}

pub(super) async fn a_service_is_never_made_to_hold_more_than_it_can_be_sent(store: Subject) {
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
    let held = store
        .concerning(&Namespace::default_namespace(), "checkout")
        .unwrap();
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

pub(super) async fn a_page_holds_only_what_concerns_the_service_and_is_the_owners(store: Subject) {
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

pub(super) async fn what_concerns_a_service_is_found_without_a_page(store: Subject) {
    owned(&store).await;
    let default = Namespace::default_namespace();
    let page = store.concerning(&default, "checkout").unwrap();
    assert_eq!(ids(&page.policies), ["a", "b", "e"].map(id));
    assert_eq!((page.revision, page.more), (Revision(5), false));
}

pub(super) async fn every_version_is_kept_the_newest_first(store: Subject) {
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

pub(super) async fn a_deleted_policy_keeps_its_past_and_a_new_one_of_its_name_goes_on(
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

pub(super) async fn the_changes_of_late_come_with_what_they_replaced(store: Subject) {
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
    let of_a = |version: &Version| version.id == id("a");
    let first = store.changes(&of_a, None, 2).unwrap();
    assert_eq!((first.changes.len(), first.more), (2, true));
    let rest = store.changes(&of_a, Some(first.changes[1].0), 2).unwrap();
    assert_eq!((rest.changes[0].0, rest.more), ((Revision(1), 0), false));
}

pub(super) async fn a_watch_goes_on_from_any_revision_that_has_been(store: Subject) {
    append_all(&*store, [put("a"), put("b"), put("a")]).await;
    for after in 0..=3 {
        let mut watch = store.watch_after(Revision(after)).unwrap();
        assert_eq!((watch.revision, watch.policies.len()), (Revision(after), 0));
        for revision in after + 1..=3 {
            assert_eq!(watch.next().await.unwrap().revision, Revision(revision));
        }
    }
    let mut watch = store.watch_after(Revision(2)).unwrap();
    store.append(put("c")).await.unwrap();
    for revision in [3, 4] {
        assert_eq!(watch.next().await.unwrap().revision, Revision(revision));
    }
    let (asked, last) = (Revision(5), Revision(4));
    let ahead = store.watch_after(asked).unwrap_err();
    assert_eq!(ahead, ReadError::Ahead { asked, last });
}
