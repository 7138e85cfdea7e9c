//! Watches: everything once and in order, however slowly they are read.

use std::time::SystemTime;

use super::super::tests::{id, intent, memory, policy};
use super::super::{Delete, Policy};
use super::*;
use crate::store::{Cause, Expect, Proposal, Provenance, Retention, Step, WATCH_EVENTS, memory};

async fn write(store: &Arc<dyn Store>, policy: Policy) -> Revision {
    let by = Provenance {
        author: "ann".into(),
        source: "192.0.2.1".into(),
        cause: Cause::Update,
        reason: String::new(),
    };
    let put = Step::put(policy, Expect::Anything);
    store.append(Proposal::one(put, by)).await.unwrap().revision
}

fn elsewhere(name: &str) -> Policy {
    let mut draft = policy(name).into_draft();
    draft.id.namespace = Namespace::new("other").unwrap();
    Policy::new(draft).unwrap()
}

/// The revision of the next news, and how many policies they are about.
async fn next(following: &mut Following) -> (u64, usize) {
    match following.next().await.unwrap() {
        News::Write(revision, versions) => (revision.0, versions.len()),
        News::Synced(revision) => (revision.0, 0),
    }
}

#[tokio::test]
async fn first_come_the_policies_then_how_far_they_go_then_every_write() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    for name in ["a", "b"] {
        write(&store, policy(name)).await;
    }
    write(&store, elsewhere("c")).await;
    let only = Some(Namespace::default_namespace());
    let mut following = control.watch(only, None).unwrap();
    write(&store, policy("d")).await;
    let mut names = Vec::new();
    while let Some(stored) = following.next_policy() {
        names.push(stored.policy.id().name.to_string());
    }
    assert_eq!(names, ["a", "b"]);
    write(&store, elsewhere("c")).await;
    let delete = Delete {
        id: id("a"),
        etag: None,
        allow_missing: false,
    };
    control.delete(delete, intent()).await.unwrap();
    let told = [
        next(&mut following).await,
        next(&mut following).await,
        next(&mut following).await,
    ];
    assert_eq!(told, [(3, 0), (4, 1), (6, 1)]);
}

#[tokio::test]
async fn from_behind_a_revision_come_the_writes_since() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    for name in ["a", "b", "c"] {
        write(&store, policy(name)).await;
    }
    let mut following = control.watch(None, Some(Revision(1))).unwrap();
    assert_eq!(following.next_policy(), None);
    for told in [(2, 1), (3, 1), (3, 0)] {
        assert_eq!(next(&mut following).await, told);
    }
    let mut following = control.watch(None, Some(Revision(3))).unwrap();
    assert_eq!(
        next(&mut following).await,
        (3, 0),
        "nothing has been missed"
    );
}

#[tokio::test(start_paused = true)]
async fn without_news_a_watch_says_now_and_then_how_far_it_is() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let only = Some(Namespace::default_namespace());
    let mut following = control.watch(only, None).unwrap();
    assert_eq!(next(&mut following).await, (0, 0));
    let began = Instant::now();
    write(&store, elsewhere("a")).await;
    assert_eq!(
        next(&mut following).await,
        (1, 0),
        "what is not watched counts"
    );
    assert_eq!(began.elapsed().as_secs(), SYNC_INTERVAL.as_secs());
}

#[tokio::test]
async fn one_that_fell_behind_goes_on_from_what_is_kept() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let mut following = control.watch(None, None).unwrap();
    assert_eq!(next(&mut following).await, (0, 0));
    let writes = WATCH_EVENTS as u64 + 10;
    for _ in 0..writes {
        write(&store, policy("a")).await;
    }
    for revision in 1..=writes {
        assert_eq!(next(&mut following).await, (revision, 1));
    }
}

#[tokio::test]
async fn one_that_fell_behind_what_is_kept_ends() {
    let short = Retention {
        changes: 10,
        ..Retention::default()
    };
    let store = memory::open(Arc::new(SystemTime::now), short).unwrap();
    let control = Control::new(Arc::clone(&store));
    let mut following = control.watch(None, None).unwrap();
    assert_eq!(next(&mut following).await, (0, 0));
    for _ in 0..WATCH_EVENTS + 10 {
        write(&store, policy("a")).await;
    }
    let error = following.next().await.unwrap_err();
    assert!(matches!(error, ControlError::OutOfRange(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("watch again from the beginning"),
        "{error}"
    );
}

#[tokio::test]
async fn a_revision_that_has_not_been_yet_is_refused_with_the_last_one() {
    let store = memory();
    write(&store, policy("a")).await;
    let control = Control::new(store);
    let error = control.watch(None, Some(Revision(9))).err().unwrap();
    let text = "revision 9 has not been yet; the last one is 1";
    assert_eq!(error, ControlError::OutOfRange(text.into()));
}

#[tokio::test]
async fn there_are_so_many_watches_and_no_more() {
    let control = Control::new(memory());
    let mut open: Vec<_> = (0..MAX_WATCHES)
        .map(|_| control.watch(None, None).unwrap())
        .collect();
    let error = control.watch(None, None).err();
    assert_eq!(error, Some(ControlError::TooManyWatches));
    open.pop();
    assert!(control.watch(None, None).is_ok());
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_with_the_store() {
    let stop = CancellationToken::new();
    let store = memory();
    let control = Control::new(Arc::clone(&store)).until(stop.clone());
    let mut following = control.watch(None, None).unwrap();
    assert_eq!(next(&mut following).await, (0, 0));
    stop.cancel();
    assert_eq!(following.next().await, Err(ControlError::stopping()));
    assert_eq!(
        control.watch(None, None).err(),
        Some(ControlError::stopping())
    );
    let control = Control::new(Arc::clone(&store));
    let mut following = control.watch(None, None).unwrap();
    assert_eq!(next(&mut following).await, (0, 0));
    store.close().await;
    assert_eq!(following.next().await, Err(ControlError::stopping()));
}
