//! Writes that meet other writes, and what an operator is told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, Namespace};
use fusebox_core::policy::Draft;
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;

use super::*;
use crate::store::{
    BoxFuture, Changes, ReadError, Retention, Stretch, Version, Vitals, Watch, memory,
};

pub(super) fn id(name: &str) -> PolicyId {
    PolicyId::new("default", name).unwrap()
}

pub(super) fn draft(name: &str) -> Draft {
    let mut rules = Rules::default();
    rules.timeout.attempt = Some(Duration::from_secs(1));
    let everything = Glob::new("*").unwrap();
    Draft {
        id: id(name),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(None, Some(everything), None, Labels::default()).unwrap(),
        rules,
        clear: Vec::new(),
    }
}

pub(super) fn policy(name: &str) -> Policy {
    Policy::new(draft(name)).unwrap()
}

pub(super) fn with_priority(policy: Policy, priority: i32) -> Policy {
    let draft = Draft {
        priority,
        ..policy.into_draft()
    };
    Policy::new(draft).unwrap()
}

pub(super) fn with_description(policy: Policy, description: &str) -> Policy {
    let draft = Draft {
        description: description.into(),
        ..policy.into_draft()
    };
    Policy::new(draft).unwrap()
}

pub(super) fn memory() -> Arc<dyn Store> {
    memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap()
}

pub(super) fn intent() -> Intent {
    Intent {
        author: "ann".into(),
        source: "192.0.2.1".into(),
        validate_only: false,
    }
}

pub(super) fn check() -> Intent {
    Intent {
        validate_only: true,
        ..intent()
    }
}

fn stored(written: &Written) -> &Stored {
    match &written.outcome {
        Outcome::Stored(stored) => stored,
        Outcome::Checked(policy) => panic!("{policy:?} was only checked"),
    }
}

/// A store in which somebody else is faster, `races` times.
pub(super) struct Contested {
    store: Arc<dyn Store>,
    races: AtomicU32,
    rival: Box<dyn Fn() -> Proposal + Send + Sync>,
}

impl Contested {
    pub(super) fn control(
        store: &Arc<dyn Store>,
        races: u32,
        rival: impl Fn() -> Proposal + Send + Sync + 'static,
    ) -> Control {
        Control::new(Arc::new(Self {
            store: Arc::clone(store),
            races: AtomicU32::new(races),
            rival: Box::new(rival),
        }))
    }
}

impl Store for Contested {
    fn incarnation(&self) -> fusebox_core::revision::Incarnation {
        self.store.incarnation()
    }

    fn adopted(&self) -> bool {
        self.store.adopted()
    }

    fn append(&self, proposal: Proposal) -> BoxFuture<'static, Result<Committed, AppendError>> {
        let left = self.races.load(Ordering::Relaxed);
        if left > 0 {
            self.races.store(left - 1, Ordering::Relaxed);
            // Queued by the call; its future need not be awaited.
            drop(self.store.append((self.rival)()));
        }
        self.store.append(proposal)
    }

    fn judge(&self, proposal: Proposal) -> Result<(), AppendError> {
        self.store.judge(proposal)
    }

    fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ReadError> {
        self.store.overrides()
    }

    fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError> {
        self.store.get(id)
    }

    fn list(&self, query: &Query<'_>) -> Result<Page, ReadError> {
        self.store.list(query)
    }

    fn alike(
        &self,
        namespace: &Namespace,
        service: Option<&Glob>,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.store.alike(namespace, service, filter, limit)
    }

    fn versions(
        &self,
        id: &PolicyId,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ReadError> {
        self.store.versions(id, before, limit)
    }

    fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Changes, ReadError> {
        self.store.changes(filter, before, limit)
    }

    fn watch_after(&self, revision: Revision) -> Result<Watch, ReadError> {
        self.store.watch_after(revision)
    }

    fn watch(&self) -> Result<Watch, ReadError> {
        self.store.watch()
    }

    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn vitals(&self) -> Vitals {
        self.store.vitals()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.store.close()
    }
}

pub(super) fn by_rival(step: Step) -> Proposal {
    let by = Provenance {
        author: "rival".into(),
        source: "192.0.2.2".into(),
        cause: Cause::Update,
        reason: String::new(),
    };
    Proposal::one(step, by)
}

/// What a rival writes: the same policy with a higher priority.
fn rival() -> Proposal {
    by_rival(Step::put(with_priority(policy("a"), 9), Expect::Anything))
}

fn describe(existing: Option<Policy>) -> Result<Policy, Violations> {
    Ok(with_description(
        existing.unwrap_or_else(|| policy("a")),
        "described",
    ))
}

fn update(etag: Option<&str>) -> Update<'_> {
    Update {
        id: id("a"),
        etag,
        allow_missing: false,
        make: &describe,
    }
}

#[tokio::test]
async fn an_update_without_an_etag_that_loses_a_race_is_made_again_upon_the_winner() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let control = Contested::control(&store, 3, rival);
    let written = control.update(update(None), intent()).await.unwrap();
    let stored = stored(&written);
    assert_eq!(stored.policy.description(), "described");
    assert_eq!(stored.policy.priority(), 9, "the rival's change is kept");
    assert_eq!(stored.revision, Revision(5));
}

#[tokio::test]
async fn an_update_that_keeps_losing_gives_up() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let control = Contested::control(&store, u32::MAX, rival);
    let error = control.update(update(None), intent()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy default/a was changed by others 8 times meanwhile; try again"
    );
}

#[tokio::test]
async fn an_update_with_an_etag_that_loses_a_race_is_aborted() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let control = Contested::control(&store, 1, rival);
    let error = control
        .update(update(Some("1")), intent())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "1", Some(Revision(2)))
    );
    assert_eq!(
        error.to_string(),
        "policy default/a: the etag is \"1\", but its revision is 2; read it again and decide anew"
    );
}

#[tokio::test]
async fn an_update_of_a_policy_that_vanishes_meanwhile_finds_none() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let remove = || by_rival(Step::delete(id("a"), Expect::Present));
    let control = Contested::control(&store, 1, remove);
    let error = control.update(update(None), intent()).await.unwrap_err();
    assert_eq!(error, ControlError::NotFound(id("a")));
}

#[tokio::test]
async fn of_two_creations_one_is_told_that_the_policy_exists() {
    let control = Contested::control(&memory(), 1, rival);
    let error = control.create(policy("a"), intent()).await.unwrap_err();
    assert_eq!(error, ControlError::AlreadyExists(id("a")));
}

fn delete(etag: Option<&str>, allow_missing: bool) -> Delete<'_> {
    Delete {
        id: id("a"),
        etag,
        allow_missing,
    }
}

async fn deleted(
    control: &Control,
    delete: Delete<'_>,
    intent: Intent,
) -> Result<Revision, ControlError> {
    let deleted = control.delete(delete, intent).await;
    deleted.map(|deleted| deleted.revision)
}

#[tokio::test]
async fn a_removal_without_an_etag_takes_whatever_is_there() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let control = Contested::control(&store, 1, rival);
    assert_eq!(
        deleted(&control, delete(None, false), intent()).await,
        Ok(Revision(3))
    );
    assert_eq!(control.get(&id("a")), Err(ControlError::NotFound(id("a"))));
}

#[tokio::test]
async fn a_removal_with_an_etag_that_loses_a_race_is_aborted() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let control = Contested::control(&store, 1, rival);
    let error = control
        .delete(delete(Some("1"), false), intent())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "1", Some(Revision(2)))
    );
}

#[tokio::test]
async fn removing_nothing_succeeds_only_if_that_was_allowed_for() {
    let control = Control::new(memory());
    let missing = Err(ControlError::NotFound(id("a")));
    assert_eq!(
        deleted(&control, delete(None, false), intent()).await,
        missing
    );
    assert_eq!(
        deleted(&control, delete(None, true), intent()).await,
        Ok(Revision(0))
    );
    let stale = Err(ControlError::aborted(id("a"), "1", None));
    assert_eq!(
        deleted(&control, delete(Some("1"), true), intent()).await,
        stale
    );
}

#[tokio::test]
async fn what_is_only_validated_is_not_written() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let checked = Outcome::Checked(Box::new(policy("a")));
    assert_eq!(
        control.create(policy("a"), check()).await.unwrap().outcome,
        checked
    );
    assert_eq!(store.revision(), Revision::ZERO);
    control.create(policy("a"), intent()).await.unwrap();
    let described = Outcome::Checked(Box::new(with_description(policy("a"), "described")));
    assert_eq!(
        control.update(update(None), check()).await.unwrap().outcome,
        described
    );
    assert_eq!(
        deleted(&control, delete(None, false), check()).await,
        Ok(Revision(1))
    );
    assert_eq!(store.revision(), Revision(1));
}

#[tokio::test]
async fn what_is_only_validated_is_refused_all_the_same() {
    let control = Control::new(memory());
    control.create(policy("a"), intent()).await.unwrap();
    let error = control.create(policy("a"), check()).await.unwrap_err();
    assert_eq!(error, ControlError::AlreadyExists(id("a")));
    let error = control
        .update(update(Some("9")), check())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "9", Some(Revision(1)))
    );
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    store.close().await;
    let error = control.create(policy("a"), intent()).await.unwrap_err();
    assert!(matches!(error, ControlError::Unavailable(_)), "{error:?}");
}
