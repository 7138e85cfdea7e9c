//! The past: what is kept of it, and how it becomes the present again.

use std::time::SystemTime;

use super::super::tests::{check, id, intent, memory, policy, with_priority};
use super::super::{Delete, Outcome, Set};
use super::*;
use crate::control::Asked;
use crate::store::{Retention, Store, memory};
use fusebox_core::policy::Violations;

/// A store with four versions of a policy, the third of which deletes it.
async fn lived() -> (Arc<dyn Store>, Control) {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    control.create(policy("a"), intent()).await.unwrap();
    write(&control, "a", 2).await;
    delete(&control, "a").await;
    write(&control, "a", 4).await;
    (store, control)
}

/// Writes a policy with a priority that tells it from others.
async fn write(control: &Control, name: &str, priority: i32) {
    let asked = Asked {
        index: 0,
        policy: with_priority(policy(name), priority),
        etag: None,
    };
    let set = Set::new(&mut Violations::none(), vec![asked], None).unwrap();
    control.apply(&set, intent()).await.unwrap();
}

async fn delete(control: &Control, name: &str) {
    let delete = Delete {
        id: id(name),
        etag: None,
        allow_missing: false,
    };
    control.delete(delete, intent()).await.unwrap();
}

fn to(revision: u64) -> Rollback<'static> {
    Rollback {
        id: id("a"),
        revision: Revision(revision),
        etag: None,
    }
}

fn revisions(stretch: &Stretch) -> Vec<u64> {
    stretch
        .versions
        .iter()
        .map(|version| version.revision.0)
        .collect()
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_of_what_was() {
    let (store, control) = lived().await;
    let checked = control.rollback(to(2), check()).await.unwrap();
    assert!(matches!(checked.outcome, Outcome::Checked(_)));
    assert_eq!(store.revision(), Revision(4));
    let written = control.rollback(to(2), intent()).await.unwrap();
    let Outcome::Stored(stored) = written.outcome else {
        panic!("only checked")
    };
    assert_eq!(
        (stored.revision, stored.policy.priority()),
        (Revision(5), 2)
    );
    let kept = control.revisions(&id("a"), None, 10).unwrap();
    assert_eq!(revisions(&kept), [5, 4, 3, 2, 1]);
    let causes: Vec<_> = kept
        .versions
        .iter()
        .map(|version| version.by.cause)
        .collect();
    let told = [
        Cause::Rollback,
        Cause::Apply,
        Cause::Delete,
        Cause::Apply,
        Cause::Create,
    ];
    assert_eq!(causes, told);
}

#[tokio::test]
async fn to_what_is_there_already_nothing_is_written() {
    let (store, control) = lived().await;
    let written = control.rollback(to(4), intent()).await.unwrap();
    let Outcome::Stored(stored) = written.outcome else {
        panic!("only checked")
    };
    assert_eq!(
        (stored.revision, store.revision()),
        (Revision(4), Revision(4))
    );
}

#[tokio::test]
async fn what_was_deleted_can_be_had_again_but_a_deletion_is_no_version_to_go_back_to() {
    let (_, control) = lived().await;
    let error = control.rollback(to(3), intent()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy default/a was deleted at revision 3; to have it so, delete it, or name the \
         revision before to have it as it was"
    );
    delete(&control, "a").await;
    let written = control.rollback(to(1), intent()).await.unwrap();
    assert!(matches!(written.outcome, Outcome::Stored(_)));
    assert_eq!(control.get(&id("a")).unwrap().policy, policy("a"));
}

#[tokio::test]
async fn an_etag_that_is_not_the_stored_one_aborts() {
    let (_, control) = lived().await;
    let stale = Rollback {
        etag: Some("2"),
        ..to(1)
    };
    let error = control.rollback(stale, intent()).await.unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "2", Some(Revision(4)))
    );
}

#[tokio::test]
async fn whoever_names_another_revision_is_told_which_there_are() {
    let (_, control) = lived().await;
    for unknown in [0, 7, u64::MAX] {
        let error = control.rollback(to(unknown), intent()).await.unwrap_err();
        let text =
            format!("policy default/a: nothing is kept of revision {unknown}; kept are 4, 3, 2, 1");
        assert_eq!(error.to_string(), text);
    }
    let nobody = Rollback {
        id: id("b"),
        ..to(1)
    };
    let error = control.rollback(nobody, intent()).await.unwrap_err();
    assert_eq!(error, ControlError::NotFound(id("b")));
}

#[tokio::test]
async fn of_a_revision_that_is_no_longer_kept_that_is_told() {
    let short = Retention {
        changes: 1,
        versions: 2,
        ..Retention::default()
    };
    let store = memory::open(Arc::new(SystemTime::now), short).unwrap();
    let control = Control::new(Arc::clone(&store));
    for priority in 1..=5 {
        write(&control, "a", priority).await;
    }
    let error = control.rollback(to(1), intent()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy default/a: nothing is kept of revision 1, nor of any that old; kept are 5, 4"
    );
    assert_eq!(store.revision(), Revision(5));
    let gone = control
        .revisions(&id("a"), Some(Revision(2)), 10)
        .unwrap_err();
    assert!(matches!(gone, ControlError::OutOfRange(_)), "{gone:?}");
    let kept = control.revisions(&id("a"), Some(Revision(5)), 10).unwrap();
    assert_eq!((revisions(&kept), kept.pruned), (vec![4], true));
}

#[tokio::test]
async fn nothing_is_known_of_a_policy_that_never_was() {
    let error = Control::new(memory())
        .revisions(&id("a"), None, 1)
        .unwrap_err();
    assert_eq!(error, ControlError::NotFound(id("a")));
}

#[tokio::test]
async fn an_audit_tells_who_did_what_to_whom() {
    let (_, control) = lived().await;
    write(&control, "b", 1).await;
    let of = |name: Option<&str>, author| AuditQuery {
        namespace: None,
        name: name.map(|name| PolicyName::new(name).unwrap()),
        author,
    };
    let count = |query| control.audit(&query, None, 100).unwrap().changes.len();
    assert_eq!(count(of(None, None)), 5);
    assert_eq!(count(of(Some("b"), None)), 1);
    assert_eq!(count(of(None, Some("ann"))), 5);
    assert_eq!(count(of(None, Some("bob"))), 0);
}
