//! Overrides in a store: set, listed, cleared, over.

use fusebox_core::key::Namespace;
use fusebox_core::outcome::Forced;
use fusebox_core::policy::overrides::MAX_STANDING;

use super::*;
use crate::store::{Retention, What, memory};

fn control() -> Control {
    Control::new(memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap())
}

fn draft(seconds: u64) -> OverrideDraft {
    OverrideDraft {
        target: BreakerTarget::everything(Namespace::default_namespace()),
        forced: Forced::Open,
        ttl: Duration::from_secs(seconds),
        reason: "the database burns".to_owned(),
    }
}

fn by(author: &str) -> Intent {
    Intent {
        author: author.to_owned(),
        source: "127.0.0.1".to_owned(),
        validate_only: false,
    }
}

fn checking() -> Intent {
    Intent {
        validate_only: true,
        ..by("ann")
    }
}

fn ids(control: &Control) -> Vec<u64> {
    let overrides = control.store.overrides().unwrap();
    overrides.iter().map(|one| one.id.0).collect()
}

#[tokio::test]
async fn an_override_is_kept_with_who_set_it_and_why_until_it_is_cleared() {
    let control = control();
    let standing = control.force(draft(60), by("ann")).await.unwrap();
    assert_eq!((standing.id, &*standing.author), (Revision(1), "ann"));
    assert_eq!(ids(&control), [1]);
    let released = control.release(Revision(1), "over".into(), by("bob")).await;
    assert_eq!(released.unwrap().revision, Revision(2));
    assert_eq!(ids(&control), [0_u64; 0]);
    let again = control.release(Revision(1), "over".into(), by("bob")).await;
    assert_eq!(again, Err(ControlError::NotInForce(Revision(1))));
}

#[tokio::test]
async fn what_is_only_checked_changes_nothing() {
    let control = control();
    let checked = control.force(draft(60), checking()).await.unwrap();
    assert_eq!(checked.id, Revision::ZERO);
    let target = draft(60).target;
    let reset = control.reset(target, "why".into(), checking()).await;
    assert_eq!(reset, Ok(Revision::ZERO));
    assert_eq!(ids(&control), [0_u64; 0]);
    assert_eq!(control.revision(), Revision::ZERO);
}

#[tokio::test]
async fn an_override_whose_time_is_over_is_ended_by_a_write_that_says_so() {
    let control = control();
    let short = control.force(draft(1), by("ann")).await.unwrap();
    control.force(draft(60), by("ann")).await.unwrap();
    control.end_overrides(short.create_time).await;
    assert_eq!(ids(&control), [1, 2]);
    for _ in 0..2 {
        control.end_overrides(short.expire_time()).await;
        assert_eq!(ids(&control), [2]);
    }
    let changes = control
        .audit(&Default::default(), None, 10)
        .unwrap()
        .changes;
    let causes: Vec<_> = changes
        .iter()
        .map(|(_, version)| version.by.cause)
        .collect();
    let expected = [
        Cause::OverrideExpired,
        Cause::OverrideSet,
        Cause::OverrideSet,
    ];
    assert_eq!(causes, expected);
}

#[tokio::test]
async fn a_reset_is_told_to_those_who_watch_and_leaves_nothing_but_that_it_was() {
    let control = control();
    let mut watch = control.store.watch().unwrap();
    let id = control
        .reset(draft(60).target, "again".into(), by("ann"))
        .await;
    assert_eq!(id, Ok(Revision(1)));
    let write = watch.next().await.unwrap();
    let What::Reset(reset) = &write.versions[0].what else {
        panic!("{write:?}");
    };
    assert_eq!((reset.id, &*reset.reason), (Revision(1), "again"));
    assert_eq!(ids(&control), [0_u64; 0]);
}

#[tokio::test]
async fn no_more_overrides_than_may_be_are_in_force_at_once() {
    let control = control();
    for _ in 0..MAX_STANDING {
        control.force(draft(60), by("ann")).await.unwrap();
    }
    let refused = control.force(draft(60), by("ann")).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::TooManyOverrides(_)),
        "{refused}"
    );
    control
        .release(Revision(1), "room".into(), by("ann"))
        .await
        .unwrap();
    control.force(draft(60), by("ann")).await.unwrap();
}
