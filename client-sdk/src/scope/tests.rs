//! Scopes on a paused clock: only sleeps move time.

use std::cell::Cell;
use std::future::pending;

use tokio::time::sleep;

use super::*;
use crate::{Error, Fusebox, Limit, Operation, OperationBuilder, Stopped};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn operation(set: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>) -> Operation {
    let fusebox = Fusebox::builder("checkout").jitter_seed(7).build().unwrap();
    let builder = fusebox
        .operation("payments")
        .attempt_timeout(millis(100))
        .backoff(millis(1), millis(1))
        .consecutive_failures(1000)
        .max_attempts(4)
        .idempotent(true);
    set(builder).register().unwrap()
}

/// How long a hanging call was let hang, and which limit cut it off.
async fn hangs_for<C>(call: C) -> (Duration, Limit)
where
    C: Future<Output = Result<(), Error<()>>>,
{
    let begun = tokio::time::Instant::now();
    let Some(Stopped::TimedOut { limit, .. }) = call.await.unwrap_err().stopped() else {
        panic!("not timed out");
    };
    (begun.elapsed(), limit)
}

/// How many attempts a call makes that always fails.
async fn attempts_within(operation: &Operation, scope: &Scope) -> u32 {
    let attempts = AtomicU32::new(0);
    let failing = operation.within(scope).call(async |_| {
        attempts.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>("down")
    });
    let error = failing.await.unwrap_err();
    assert!(matches!(error, Error::Call("down")), "{error:?}");
    attempts.load(Ordering::Relaxed)
}

fn paid(scope: &Scope, of: u32) -> u32 {
    let left = scope.retries.as_ref().unwrap().load(Ordering::Relaxed);
    of - left
}

#[tokio::test(start_paused = true)]
async fn of_two_deadlines_of_one_scope_the_nearer_holds_whichever_was_set_first() {
    let (near, far) = (millis(10), millis(20));
    for (first, second) in [(near, far), (far, near)] {
        let scope = Scope::new().deadline(first).deadline(second);
        assert_eq!(scope.remaining(), Some(near));
    }
    assert_eq!(Scope::new().remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_runs_from_when_it_was_set() {
    let scope = Scope::new().deadline(millis(10));
    sleep(millis(4)).await;
    assert_eq!(scope.remaining(), Some(millis(6)));
    sleep(millis(20)).await;
    assert_eq!(scope.remaining(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn of_scopes_inside_each_other_the_nearer_deadline_cuts_the_call() {
    let operation = operation(|o| o.max_attempts(1));
    for (outer, inner) in [(30, 60), (60, 30)] {
        let nested = Scope::new().deadline(millis(outer)).run(async {
            let inner = Scope::new().deadline(millis(inner));
            hangs_for(inner.run(operation.call(async |_| pending().await))).await
        });
        assert_eq!(nested.await, (millis(30), Limit::Scope), "{outer}, {inner}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_given_a_scope_inside_another_is_cut_by_the_nearer() {
    let operation = operation(|o| o.max_attempts(1));
    for (around, given) in [(30, 60), (60, 30)] {
        let call = Scope::new().deadline(millis(around)).run(async {
            let given = Scope::new().deadline(millis(given));
            let call = operation.within(&given).call(async |_| pending().await);
            hangs_for(call).await
        });
        assert_eq!(call.await, (millis(30), Limit::Scope), "{around}, {given}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_begins_after_the_deadline_is_not_made() {
    let operation = operation(|o| o);
    let scope = Scope::new().deadline(millis(10));
    sleep(millis(10)).await;
    let called = Cell::new(false);
    let call = operation.within(&scope).call(async |_| {
        called.set(true);
        Ok(())
    });
    assert_eq!(hangs_for(call).await, (Duration::ZERO, Limit::Scope));
    assert!(!called.get());
}

#[tokio::test(start_paused = true)]
async fn a_scopes_retries_are_shared_by_all_calls_in_it() {
    let operation = operation(|o| o);
    let scope = Scope::new().retries(4);
    assert_eq!(attempts_within(&operation, &scope).await, 4);
    assert_eq!(attempts_within(&operation, &scope).await, 2);
    assert_eq!(attempts_within(&operation, &scope).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_paid_for_in_all_scopes() {
    let operation = operation(|o| o);
    let (outer, middle, given) = (
        Scope::new().retries(10),
        Scope::new().retries(10),
        Scope::new().retries(10),
    );
    let inside = middle.clone().run(attempts_within(&operation, &given));
    assert_eq!(outer.clone().run(inside).await, 4);
    for scope in [outer, middle, given] {
        assert_eq!(paid(&scope, 10), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_one_scope_cannot_pay_for_is_paid_for_in_none() {
    let operation = operation(|o| o);
    for poor in 0..3 {
        let retries = |at| if at == poor { 1 } else { 10 };
        let scopes = [0, 1, 2].map(|at| Scope::new().retries(retries(at)));
        let [outer, middle, given] = &scopes;
        let inside = middle.clone().run(attempts_within(&operation, given));
        assert_eq!(outer.clone().run(inside).await, 2, "{poor}");
        for (at, scope) in scopes.iter().enumerate() {
            assert_eq!(paid(scope, retries(at)), 1, "{poor}, {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_not_made_after_all_costs_no_scope_anything() {
    let breaking = operation(|o| o.consecutive_failures(1));
    let (around, given) = (Scope::new().retries(5), Scope::new().retries(5));
    let call = attempts_within(&breaking, &given);
    assert_eq!(around.clone().run(call).await, 1);
    assert_eq!((paid(&around, 5), paid(&given, 5)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_inherits_no_scope_unless_it_is_handed_one() {
    let operation = operation(|o| o.max_attempts(1));
    let scope = Scope::new().deadline(millis(10));
    let hang = |operation: Operation| async move {
        hangs_for(operation.call(async |_| pending().await)).await
    };
    let (alone, handed) = (hang(operation.clone()), hang(operation));
    let inside = scope.clone();
    let (alone, handed) = scope
        .run(async move {
            let alone = tokio::spawn(alone);
            let handed = tokio::spawn(inside.run(handed));
            (alone.await.unwrap(), handed.await.unwrap())
        })
        .await;
    assert_eq!(alone, (millis(100), Limit::Attempt));
    assert_eq!(handed, (millis(10), Limit::Scope));
}

#[tokio::test(start_paused = true)]
async fn a_scope_ends_with_the_future_that_ran_inside_it() {
    let operation = operation(|o| o.max_attempts(1));
    let scope = Scope::new().deadline(millis(10));
    scope.run(async {}).await;
    let after = hangs_for(operation.call(async |_| pending().await)).await;
    assert_eq!(after, (millis(100), Limit::Attempt));
}

#[tokio::test(start_paused = true)]
async fn the_future_itself_is_not_cut_off() {
    let scope = Scope::new().deadline(millis(10));
    let value = scope.run(async {
        sleep(millis(50)).await;
        "done"
    });
    assert_eq!(value.await, "done");
}

#[tokio::test(start_paused = true)]
async fn a_scope_around_a_call_that_is_given_it_too_pays_once() {
    let operation = operation(|o| o);
    let scope = Scope::new().retries(3);
    let attempts = scope.clone().run(attempts_within(&operation, &scope));
    assert_eq!(attempts.await, 4);
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_that_runs_in_the_current_scope_has_all_its_bounds() {
    assert!(Scope::current().is_none());
    let operation = operation(|o| o);
    let (outer, inner) = (Scope::new().retries(5), Scope::new().retries(10));
    let inside = inner.clone().run(async {
        let handed = Scope::current().unwrap();
        let operation = operation.clone();
        let spawned = handed.run(async move {
            assert_eq!(Scope::current().unwrap().remaining(), Some(millis(50)));
            attempts_within(&operation, &Scope::new()).await
        });
        tokio::spawn(spawned).await.unwrap()
    });
    let bounded = outer.clone().deadline(millis(50));
    assert_eq!(bounded.run(inside).await, 4);
    assert_eq!((paid(&outer, 5), paid(&inner, 10)), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_current_scope_given_run_or_run_elsewhere_pays_once_in_each() {
    let operation = operation(|o| o);
    let (outer, inner, other) = (
        Scope::new().retries(10),
        Scope::new().retries(10),
        Scope::new().retries(10),
    );
    let given = inner.clone().run(async {
        let current = Scope::current().unwrap();
        let attempts = attempts_within(&operation, &current).await;
        let nested = current.clone().run(attempts_within(&operation, &current));
        assert_eq!(nested.await, attempts);
        current
    });
    let current = outer.clone().run(given).await;
    assert_eq!((paid(&outer, 10), paid(&inner, 10)), (6, 6));
    let elsewhere = current.clone().run(attempts_within(&operation, &current));
    assert_eq!(other.clone().run(elsewhere).await, 4);
    assert_eq!(
        (paid(&outer, 10), paid(&inner, 10), paid(&other, 10)),
        (9, 9, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_scope_run_inside_itself_over_and_over_grows_by_no_more_than_itself() {
    fn depth(scope: &Scope) -> usize {
        1 + scope.outer.as_deref().map_or(0, depth)
    }
    let mut scope = Scope::new().retries(1);
    for _ in 0..20 {
        let inside = scope.clone().run(async { Scope::current().unwrap() });
        scope = scope.clone().run(inside).await;
    }
    assert!(depth(&scope) < 50, "{}", depth(&scope));
}
