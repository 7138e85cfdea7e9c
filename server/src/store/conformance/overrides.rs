//! Decisions about breakers: overrides that stand until they are released, and resets, which only
//! happen.

use fusebox_core::policy::overrides::MAX_STANDING;

use super::*;
use crate::store::What;
use crate::store::fixture::{force, on_breakers, release, reset};

fn ids(overrides: &[Arc<fusebox_core::policy::overrides::BreakerOverride>]) -> Vec<u64> {
    overrides.iter().map(|standing| standing.id.0).collect()
}

fn standing(store: &Subject) -> Vec<u64> {
    ids(&store.overrides().unwrap())
}

pub(in crate::store) async fn an_override_is_named_by_its_write_and_stands_until_it_is_released(
    store: Subject,
) {
    let answers = append_all(&*store, [put("a"), force("checkout"), force("search")]).await;
    assert_eq!(revisions(answers), [1, 2, 3]);
    assert_eq!(standing(&store), [2, 3]);
    let first = store.overrides().unwrap().remove(0);
    assert_eq!((first.id, first.author.as_str()), (Revision(2), AUTHOR));
    let released = store.append(release(2)).await.unwrap();
    let [version] = &*released.versions else {
        panic!("one version");
    };
    assert_eq!(version.replaced, Some(Revision(2)));
    let ended = What::Override {
        standing: first,
        in_force: false,
    };
    assert_eq!((&version.what, &*version.by.reason), (&ended, "it is over"));
    assert_eq!(standing(&store), [3]);
    assert_eq!(all(&*store).policies.len(), 1);
}

pub(in crate::store) async fn what_is_not_in_force_cannot_be_released(store: Subject) {
    let refused = |id| {
        let id = Revision(id);
        Err(AppendError::NotInForce(id))
    };
    append_all(&*store, [put("a"), force("checkout")]).await;
    for never in [0, 1, 3] {
        assert_eq!(store.append(release(never)).await, refused(never));
    }
    let answers = append_all(&*store, [release(2), release(2)]).await;
    assert_eq!(answers[0].as_ref().unwrap().revision, Revision(3));
    assert_eq!(answers[1], refused(2));
    let both = [force("checkout"), release(4)];
    assert_eq!(revisions(append_all(&*store, both).await), [4, 5]);
    // All or nothing.
    store.append(force("checkout")).await.unwrap();
    let steps = [6, 2].map(|id| Step::release(Revision(id)));
    let some = on_breakers(steps, Cause::OverrideCleared);
    assert_eq!(store.judge(some.clone()), refused(2).map(drop));
    assert_eq!(store.append(some).await, refused(2));
    assert_eq!(standing(&store), [6]);
}

pub(in crate::store) async fn a_reset_is_told_and_leaves_everything_as_it_was(store: Subject) {
    append_all(&*store, [put("a"), force("checkout")]).await;
    let before = (standing(&store), all(&*store).policies);
    let mut watch = store.watch().unwrap();
    let committed = store.append(reset("checkout")).await.unwrap();
    assert_eq!(committed.revision, Revision(3));
    assert_eq!((standing(&store), all(&*store).policies), before);
    let told = watch.next().await.unwrap();
    assert_eq!(told, committed);
    match &told.versions[0].what {
        What::Reset(reset) => {
            assert_eq!(
                (reset.id, reset.reason.as_str()),
                (Revision(3), "it is over")
            );
        }
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) async fn no_more_overrides_are_in_force_than_may(store: Subject) {
    let many = (0..=MAX_STANDING).map(|n| force(&format!("s{n}")));
    let mut answers = Vec::new();
    for some in many.collect::<Vec<_>>().chunks(500) {
        answers.extend(append_all(&*store, some.to_vec()).await);
    }
    assert_eq!(answers.pop(), Some(Err(AppendError::TooManyOverrides)));
    assert_eq!(revisions(answers).len(), MAX_STANDING);
    let answers = append_all(&*store, [release(1), force("one"), force("another")]).await;
    assert_eq!(answers[2], Err(AppendError::TooManyOverrides));
    assert_eq!(standing(&store).len(), MAX_STANDING);
}

pub(in crate::store) async fn a_watch_begins_with_the_overrides_in_force_and_hears_what_becomes_of_them(
    store: Subject,
) {
    append_all(&*store, [force("a"), force("b"), release(1), force("c")]).await;
    let mut watch = store.watch().unwrap();
    assert_eq!(ids(&watch.overrides), [2, 4]);
    append_all(&*store, [release(4), force("d")]).await;
    let told = [watch.next().await, watch.next().await];
    let told = told.map(|write| write.unwrap().versions[0].subject());
    let expected = [4, 6].map(|id| crate::store::Subject::Override(Revision(id)));
    assert_eq!(told, expected);
    let later = store.watch_after(Revision(5)).unwrap();
    assert_eq!(later.overrides, []);
}

pub(in crate::store) async fn what_was_decided_about_breakers_is_among_the_changes(store: Subject) {
    append_all(&*store, [force("a"), put("p"), release(1), reset("a")]).await;
    let changes = store.changes(&|_| true, None, 9).unwrap();
    let causes = changes.changes.iter().map(|(_, version)| version.by.cause);
    let expected = [
        Cause::BreakersReset,
        Cause::OverrideCleared,
        Cause::Update,
        Cause::OverrideSet,
    ];
    assert_eq!(causes.collect::<Vec<_>>(), expected);
    let replaced = changes.before[1].as_ref().unwrap();
    assert_eq!(replaced.revision, Revision(1));
}
