//! How writes come to be known, and how that ends.

use super::*;

pub(in crate::store) async fn a_watch_begins_with_everything(store: Subject) {
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
            let id = version.policy_id().unwrap();
            match version.stored() {
                Some(stored) => known.insert(id.clone(), Arc::clone(stored)),
                None => Some(known.remove(id).expect("only what is there is deleted")),
            };
        }
    }
    known
}

fn everything(store: &Subject) -> BTreeMap<PolicyId, Arc<Stored>> {
    all(&**store)
        .policies
        .into_iter()
        .map(|stored| (stored.policy.id().clone(), stored))
        .collect()
}

pub(in crate::store) async fn a_watch_hears_each_change_once_and_in_order_from_concurrent_writers(
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

pub(in crate::store) async fn a_watch_begun_amid_writes_has_neither_gap_nor_overlap(
    store: Subject,
) {
    let mut watches = Vec::new();
    write_concurrently(&store, || {
        watches.extend((0..100).map(|_| store.watch().unwrap()));
    });
    for watch in watches {
        assert_eq!(follow(watch, store.revision()).await, everything(&store));
    }
}

pub(in crate::store) async fn a_watch_that_lags_is_told_and_stays_ended(store: Subject) {
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

pub(in crate::store) async fn closing_commits_what_is_queued_and_ends_reads_and_watches(
    store: Subject,
) {
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

pub(in crate::store) async fn closing_twice_is_harmless(store: Subject) {
    let (first, second) = (store.close(), store.close());
    first.await;
    second.await;
    store.close().await;
}

pub(in crate::store) async fn a_watch_goes_on_from_any_revision_that_has_been(store: Subject) {
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
