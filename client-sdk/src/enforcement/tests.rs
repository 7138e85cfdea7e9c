//! Names: as many as there are, and none that is none. Listeners: free to look at everything.

use std::sync::mpsc;
use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, PolicyId};
use fusebox_core::outcome::CircuitState;
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::sync::{Entry, Received};
use tokio::time::sleep;

use super::MAX_OPERATIONS;
use crate::listener::on_event;
use crate::{Fusebox, InvalidOperation, Operation};

fn fusebox() -> Fusebox {
    Fusebox::builder("checkout").build().unwrap()
}

fn register(fusebox: &Fusebox, name: &str) -> Result<Operation, InvalidOperation> {
    let builder = fusebox.operation(name).max_attempts(1);
    builder.consecutive_failures(1).register()
}

async fn fail(operation: &Operation) {
    operation
        .call(async |_| Err::<(), _>("down"))
        .await
        .unwrap_err();
}

#[test]
fn a_name_that_is_none_is_refused_and_not_thrown_back_whole() {
    let fusebox = fusebox();
    let endless = "a".repeat(10_240);
    for (name, problem) in [
        (endless.as_str(), "10240 bytes"),
        ("pay\u{7}ments\n", "'\\u{7}'"),
        ("pay\u{202e}ments", "at byte 3"),
        ("pay*", "'*'"),
        ("", "must not be empty"),
    ] {
        let refused = register(&fusebox, name).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
        assert!(refused.len() < 400, "{} bytes", refused.len());
        assert!(!refused.contains(char::is_control), "{refused:?}");
    }
    assert!(fusebox.health().operations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn names_beyond_the_bound_are_guarded_together_and_health_says_so() {
    let fusebox = fusebox();
    for name in 0..MAX_OPERATIONS {
        register(&fusebox, &format!("within.{name}")).unwrap();
    }
    assert_eq!(fusebox.health().operations_beyond_bound, 0);
    let beyond = register(&fusebox, "beyond.one").unwrap();
    let another = register(&fusebox, "beyond.another").unwrap();
    assert_eq!(fusebox.health().operations_beyond_bound, 2);
    // Under one breaker, by the kind's defaults: what each said of itself holds for none.
    for _ in 0..5 {
        fail(&beyond).await;
    }
    assert_eq!(another.inner().state().state, CircuitState::Open);
    let refused = another.call(async |_| Ok::<_, ()>(())).await.unwrap_err();
    assert!(refused.stopped().is_some(), "{refused:?}");
    // Those within have one each.
    let within = register(&fusebox, "within.7").unwrap();
    within.call(async |_| Ok::<_, ()>(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_registration_of_a_name_holds() {
    let fusebox = fusebox();
    let first = register(&fusebox, "payments").unwrap();
    let second = fusebox.operation("payments").consecutive_failures(100);
    let second = second.register().unwrap();
    fail(&second).await;
    assert_eq!(first.inner().state().state, CircuitState::Open);
}

/// A snapshot with one policy, for everybody.
fn snapshot(revision: u64, rules: Rules) -> Received {
    let id = PolicyId::new("default", "all").unwrap();
    let revision = Revision(revision);
    let everything = Some(Glob::new("*").unwrap());
    let draft = Draft {
        id: id.clone(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(None, everything, None, Labels::default()).unwrap(),
        rules,
        clear: Vec::new(),
    };
    Received {
        incarnation: Incarnation(1),
        adopted: false,
        revision,
        digest: Digest::of([(&id, revision)]),
        entries: vec![Entry {
            policy: Ok(Policy::new(draft).unwrap()),
            id,
            revision,
        }],
        overrides: Vec::new(),
    }
}

fn attempts(most: u32) -> Rules {
    let mut rules = Rules::default();
    rules.retry.max_attempts = Some(most);
    rules
}

/// Runs `test` on a thread of its own, with a paused clock. What locks itself out never ends.
fn ends<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (tell, hear) = mpsc::channel();
    let tested = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(test());
        tell.send(()).unwrap();
    });
    let ended = hear.recv_timeout(Duration::from_secs(10));
    if ended != Err(mpsc::RecvTimeoutError::Timeout) {
        tested.join().unwrap();
    }
    ended.expect("it locks itself out");
}

/// An operation whose breaker waits for a probe that hangs: the next reload opens it.
async fn with_a_hung_probe(fusebox: &Fusebox, name: &str) -> Operation {
    let moment = Duration::from_millis(10);
    let operation = fusebox
        .operation(name)
        .consecutive_failures(1)
        .open_duration(moment)
        .attempt_timeout(moment)
        .max_attempts(1)
        .register()
        .unwrap();
    fail(&operation).await;
    sleep(moment).await;
    let hung = operation.clone();
    let probe = tokio::spawn(async move {
        let _probe = hung.admit().unwrap();
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    assert_eq!(operation.inner().state().state, CircuitState::HalfOpen);
    drop(probe);
    sleep(moment * 10).await;
    operation
}

#[test]
fn whoever_hears_of_a_reload_s_transitions_may_look_at_everything() {
    ends(async || {
        let fusebox = fusebox();
        with_a_hung_probe(&fusebox, "payments").await;
        let (tell, hear) = mpsc::channel();
        let seen = fusebox.clone();
        let listening = on_event(move |_| {
            seen.operation("another").register().unwrap();
            tell.send(seen.health().revision).unwrap();
        });
        let received = snapshot(3, attempts(2));
        fusebox.enforcement.receive(received).unwrap();
        drop(listening);
        assert_eq!(hear.iter().collect::<Vec<_>>(), [3]);
    });
}

#[test]
fn a_listener_that_panics_leaves_no_reload_half_done_and_stops_nobody() {
    ends(async || {
        let fusebox = fusebox();
        let operation = with_a_hung_probe(&fusebox, "payments").await;
        let mut rules = attempts(2);
        rules.bulkhead.limit = Some(fusebox_core::policy::rules::BulkheadLimit {
            max_concurrent: 1,
            max_queue: 0,
            max_wait: Duration::ZERO,
        });
        let later = fusebox.operation("refunds").register().unwrap();
        let listening = on_event(|_| panic!("the listener's own affair"));
        fusebox.enforcement.receive(snapshot(3, rules)).unwrap();
        drop(listening);
        assert_eq!(later.inner().plans.load().plan.max_attempts, 2);
        sleep(Duration::from_secs(1)).await;
        let _inside = operation.admit().unwrap();
        assert_eq!(
            operation.inner().guard.bulkhead.enter(),
            fusebox_core::guard::slots::Entered::Full
        );
        fusebox
            .enforcement
            .receive(snapshot(4, attempts(3)))
            .unwrap();
    });
}

#[test]
fn whoever_hears_of_a_second_registration_may_look_at_everything() {
    ends(async || {
        let fusebox = fusebox();
        register(&fusebox, "payments").unwrap();
        let (tell, hear) = mpsc::channel();
        let seen = fusebox.clone();
        let listening = on_event(move |_| tell.send(seen.health().operations.len()).unwrap());
        let second = fusebox.operation("payments").max_attempts(7);
        second.register().unwrap();
        drop(listening);
        assert_eq!(hear.iter().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn whoever_hears_that_there_are_too_many_names_may_look_at_everything() {
    ends(async || {
        let fusebox = fusebox();
        for name in 0..MAX_OPERATIONS {
            register(&fusebox, &format!("within.{name}")).unwrap();
        }
        let (tell, hear) = mpsc::channel();
        let seen = fusebox.clone();
        let listening =
            on_event(move |_| tell.send(seen.health().operations_beyond_bound).unwrap());
        register(&fusebox, "beyond.one").unwrap();
        register(&fusebox, "beyond.another").unwrap();
        drop(listening);
        assert_eq!(hear.iter().collect::<Vec<_>>(), [1]);
    });
}

mod forced;
