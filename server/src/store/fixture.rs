//! What the tests of every store need: a clock that steps, policies that differ, a runtime.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, Namespace, PolicyId};
use fusebox_core::outcome::Forced;
use fusebox_core::policy::overrides::{BreakerTarget, OverrideDraft};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::revision::Revision;

use super::{
    AppendError, Cause, Clock, Committed, Expect, Page, Proposal, Provenance, Query, Step, Store,
};

/// Who writes in tests.
pub(super) const AUTHOR: &str = "ann";

/// A clock that is a second later at each look.
pub(super) fn clock() -> Clock {
    let second = AtomicU64::new(1_000_000);
    Arc::new(move || {
        let second = second.fetch_add(1, Ordering::Relaxed);
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    })
}

/// Runs a test's future to its end.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(test)
}

/// A policy's id in the namespace `default`, or "namespace/name".
pub(super) fn id(text: &str) -> PolicyId {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    PolicyId::new(namespace, name).unwrap()
}

/// A policy, with an attempt timeout to tell one version from another.
pub(super) fn policy(name: &str, attempt_ms: u64) -> Policy {
    let mut rules = Rules::default();
    rules.timeout.attempt = Some(Duration::from_millis(attempt_ms));
    let everything = Glob::new("*").unwrap();
    let draft = Draft {
        id: id(name),
        owner: "platform".into(),
        description: format!("the policy {name}"),
        priority: 7,
        selector: Selector::new(None, Some(everything), None, Labels::default()).unwrap(),
        rules,
        clear: Vec::new(),
    };
    Policy::new(draft).unwrap()
}

/// A put of `name` whatever is there.
pub(super) fn put(name: &str) -> Proposal {
    put_if(name, Expect::Anything)
}

/// Who writes in tests, on some occasion.
pub(super) fn by(cause: Cause) -> Provenance {
    Provenance {
        author: AUTHOR.into(),
        source: "192.0.2.1".into(),
        cause,
        reason: String::new(),
    }
}

/// A write of several steps.
pub(super) fn set(steps: impl IntoIterator<Item = Step>) -> Proposal {
    Proposal {
        steps: steps.into_iter().collect(),
        by: by(Cause::Apply),
    }
}

/// A decision about breakers.
pub(super) fn on_breakers(steps: impl IntoIterator<Item = Step>, cause: Cause) -> Proposal {
    Proposal {
        steps: steps.into_iter().collect(),
        by: Provenance {
            reason: "it is over".into(),
            ..by(cause)
        },
    }
}

fn target(service: &str) -> BreakerTarget {
    BreakerTarget {
        service: Some(Glob::new(service).unwrap()),
        ..BreakerTarget::everything(Namespace::default_namespace())
    }
}

/// Opens the breakers of `service` for a minute.
pub(super) fn force(service: &str) -> Proposal {
    let draft = OverrideDraft {
        target: target(service),
        forced: Forced::Open,
        ttl: Duration::from_secs(60),
        reason: "it burns".into(),
    };
    on_breakers([Step::force(draft)], Cause::OverrideSet)
}

/// Ends the override `id`.
pub(super) fn release(id: u64) -> Proposal {
    on_breakers([Step::release(Revision(id))], Cause::OverrideCleared)
}

/// Resets the breakers of `service`.
pub(super) fn reset(service: &str) -> Proposal {
    on_breakers([Step::reset(target(service))], Cause::BreakersReset)
}

/// Everything live.
pub(super) fn all(store: &dyn Store) -> Page {
    store.list(&Query::default()).unwrap()
}

/// A put of `name` where `expect` holds.
pub(super) fn put_if(name: &str, expect: Expect) -> Proposal {
    Proposal::one(Step::put(policy(name, 1), expect), by(Cause::Update))
}

/// A delete of `name` where `expect` holds.
pub(super) fn delete_if(name: &str, expect: Expect) -> Proposal {
    Proposal::one(Step::delete(id(name), expect), by(Cause::Delete))
}

/// What a write that finds something else is told.
pub(super) fn conflict(
    name: &str,
    expected: Expect,
    found: Option<u64>,
) -> Result<Committed, AppendError> {
    Err(AppendError::Conflict {
        id: id(name),
        expected,
        found: found.map(Revision),
    })
}

/// Appends all of them, in order and without waiting in between; then waits for all.
pub(super) async fn append_all(
    store: &dyn Store,
    proposals: impl IntoIterator<Item = Proposal>,
) -> Vec<Result<Committed, AppendError>> {
    let queued: Vec<_> = proposals.into_iter().map(|p| store.append(p)).collect();
    let mut answers = Vec::new();
    for answer in queued {
        answers.push(answer.await);
    }
    answers
}

/// The revisions that were taken, in order; panics over a refusal.
pub(super) fn revisions(answers: Vec<Result<Committed, AppendError>>) -> Vec<u64> {
    answers
        .into_iter()
        .map(|answer| answer.unwrap().revision.0)
        .collect()
}
