//! Calls on a paused clock: only sleeps move time.

mod blocking;
mod listening;
mod looks;
mod races;
mod steps;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::time::Duration;

use fusebox_core::outcome::{Again, CircuitState, Outcome, Reason, Verdict};
use tokio::time::{Instant, sleep};

use crate::{Error, Fusebox, Kind, Limit, Operation, OperationBuilder, Stopped};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn fusebox() -> Fusebox {
    Fusebox::builder("checkout").jitter_seed(7).build().unwrap()
}

fn operation(set: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>) -> Operation {
    let fusebox = fusebox();
    let builder = fusebox
        .operation("payments")
        .attempt_timeout(millis(100))
        .idempotent(true);
    set(builder.backoff(millis(10), millis(50)).max_attempts(3))
        .register()
        .unwrap()
}

fn totals(operation: &Operation, outcome: Outcome) -> u64 {
    operation.inner().recorder.totals().calls(outcome)
}

fn state(operation: &Operation) -> CircuitState {
    operation.inner().state().state
}

#[tokio::test(start_paused = true)]
async fn a_value_goes_through_and_the_closure_is_told_its_attempt_and_time() {
    let operation = operation(|o| o);
    let seen = Cell::new(None);
    let value = operation.call(async |cx| {
        seen.set(Some((cx.attempt(), cx.remaining())));
        Ok::<_, ()>("value")
    });
    assert_eq!(value.await.unwrap(), "value");
    assert_eq!(seen.get(), Some((1, millis(100))));
    assert_eq!(totals(&operation, Outcome::Success), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_failure_is_tried_again_with_a_fresh_future() {
    let operation = operation(|o| o);
    let attempts = RefCell::new(Vec::new());
    let result = operation.call(async |cx| {
        attempts.borrow_mut().push(cx.attempt());
        if cx.attempt() < 3 {
            Err("down")
        } else {
            Ok("up")
        }
    });
    assert_eq!(result.await.unwrap(), "up");
    assert_eq!(*attempts.borrow(), [1, 2, 3]);
    assert_eq!(totals(&operation, Outcome::Success), 1);
    assert_eq!(operation.inner().recorder.totals().retries(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_dependencys_own_last_error_comes_back() {
    let operation = operation(|o| o);
    let result = operation
        .call(async |cx| Err::<(), _>(format!("error {}", cx.attempt())))
        .await;
    assert!(matches!(result, Err(Error::Call(error)) if error == "error 3"));
    assert_eq!(totals(&operation, Outcome::Failure), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_tried_once_unless_it_was_never_sent() {
    let operation = operation(|o| o.idempotent(false));
    let tries = Cell::new(0);
    let fail = async |_| {
        tries.set(tries.get() + 1);
        Err::<(), _>("refused")
    };
    operation.call(fail).await.unwrap_err();
    assert_eq!(tries.replace(0), 1);
    let never_sent = |_: Result<&(), &&str>| Verdict::Failure(Again::NeverSent);
    operation.with(never_sent).call(fail).await.unwrap_err();
    assert_eq!(tries.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_cut_at_the_attempt_timeout_and_tried_again() {
    let operation = operation(|o| o);
    let begun = Instant::now();
    let result = operation.call(async |cx| {
        if cx.attempt() == 1 {
            pending::<()>().await;
        }
        Ok::<_, ()>(cx.attempt())
    });
    assert_eq!(result.await.unwrap(), 2);
    assert!(begun.elapsed() >= millis(100));
    assert!(begun.elapsed() < millis(120));
}

#[tokio::test(start_paused = true)]
async fn the_last_attempts_timeout_is_told_with_its_limit_and_the_earlier_error() {
    let operation = operation(|o| o.max_attempts(2));
    let result = operation.call(async |cx| match cx.attempt() {
        1 => Err("first"),
        _ => pending::<Result<(), _>>().await,
    });
    let Err(Error::Stopped { why, last }) = result.await else {
        panic!("not stopped");
    };
    let (limit, after) = (Limit::Attempt, millis(100));
    assert_eq!(
        why,
        Stopped::TimedOut {
            operation: "payments",
            limit,
            after
        }
    );
    assert_eq!(last, Some("first"));
    assert_eq!(totals(&operation, Outcome::Timeout), 1);
}

#[tokio::test(start_paused = true)]
async fn the_overall_deadline_cuts_the_attempt_it_falls_into() {
    let operation = operation(|o| o.overall_timeout(millis(130)));
    let begun = Instant::now();
    let result = operation
        .call(async |_| pending::<Result<(), ()>>().await)
        .await;
    assert_eq!(begun.elapsed(), millis(130));
    let why = result.unwrap_err().stopped().unwrap();
    assert!(
        matches!(
            why,
            Stopped::TimedOut {
                limit: Limit::Overall,
                ..
            }
        ),
        "{why:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_at_once_and_says_when_to_come_back() {
    let operation = operation(|o| {
        o.max_attempts(1)
            .consecutive_failures(2)
            .open_duration(Duration::from_secs(5))
    });
    for _ in 0..2 {
        operation
            .call(async |_| Err::<(), _>("down"))
            .await
            .unwrap_err();
    }
    assert_eq!(state(&operation), CircuitState::Open);
    let error = operation
        .call(async |_| Ok::<_, &str>(()))
        .await
        .unwrap_err();
    let refused = Stopped::Refused {
        operation: "payments",
        reason: Reason::CircuitOpen,
        retry_after: Some(Duration::from_secs(5)),
    };
    assert_eq!(error.stopped(), Some(refused));
    assert_eq!(
        error.stopped().unwrap().to_string(),
        "payments refused: circuit_open, retry after 5s"
    );
    sleep(Duration::from_secs(5)).await;
    operation.call(async |_| Ok::<_, &str>(())).await.unwrap();
    assert_eq!(state(&operation), CircuitState::Closed);
    assert_eq!(
        operation
            .inner()
            .recorder
            .totals()
            .refusals(Reason::CircuitOpen),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_on_the_way_ends_the_retries_without_a_sleep() {
    let operation = operation(|o| o.consecutive_failures(1));
    let tries = Cell::new(0);
    let begun = Instant::now();
    let result = operation.call(async |_| {
        tries.set(tries.get() + 1);
        Err::<(), _>("own error")
    });
    assert!(matches!(result.await, Err(Error::Call("own error"))));
    assert_eq!((tries.get(), begun.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn each_timeout_counts_in_the_run_but_a_calls_fast_failures_count_once() {
    let hanging = operation(|o| o.consecutive_failures(3));
    hanging
        .call(async |_| pending::<Result<(), ()>>().await)
        .await
        .unwrap_err();
    assert_eq!(state(&hanging), CircuitState::Open);
    let failing = operation(|o| o.consecutive_failures(3));
    for opened in [
        CircuitState::Closed,
        CircuitState::Closed,
        CircuitState::Open,
    ] {
        failing
            .call(async |_| Err::<(), _>("down"))
            .await
            .unwrap_err();
        assert_eq!(state(&failing), opened);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_says_nothing_unless_it_was_slow() {
    let operation = operation(|o| o.consecutive_failures(1));
    let hang = async |_| pending::<Result<(), ()>>().await;
    tokio::time::timeout(millis(49), operation.call(hang))
        .await
        .unwrap_err();
    assert_eq!(state(&operation), CircuitState::Closed);
    tokio::time::timeout(millis(50), operation.call(hang))
        .await
        .unwrap_err();
    assert_eq!(state(&operation), CircuitState::Open);
    assert_eq!(totals(&operation, Outcome::Cancelled), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_permit_back() {
    let operation = operation(|o| {
        o.max_attempts(1)
            .consecutive_failures(1)
            .open_duration(Duration::from_secs(1))
    });
    operation
        .call(async |_| Err::<(), _>(()))
        .await
        .unwrap_err();
    sleep(Duration::from_secs(1)).await;
    let hang = async |_| pending::<Result<(), ()>>().await;
    tokio::time::timeout(millis(10), operation.call(hang))
        .await
        .unwrap_err();
    assert_eq!(state(&operation), CircuitState::HalfOpen);
    operation.call(async |_| Ok::<_, ()>(())).await.unwrap();
    assert_eq!(state(&operation), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_sleeps_makes_no_further_attempt() {
    let operation = operation(|o| {
        o.backoff(Duration::from_secs(10), Duration::from_secs(10))
            .overall_timeout(Duration::from_secs(60))
    });
    let tries = Cell::new(0);
    let call = operation.call(async |_| {
        tries.set(tries.get() + 1);
        Err::<(), _>(())
    });
    tokio::time::timeout(millis(1), call).await.unwrap_err();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(tries.get(), 1);
    assert_eq!(totals(&operation, Outcome::Cancelled), 1);
}

#[tokio::test]
async fn a_panic_propagates_and_counts_as_a_failure() {
    let operation = operation(|o| o.consecutive_failures(1));
    let guarded = operation.clone();
    let panicked = tokio::spawn(async move {
        guarded
            .call(async |_| -> Result<(), ()> { panic!("boom") })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(state(&operation), CircuitState::Open);
    assert_eq!(totals(&operation, Outcome::Failure), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_comes_late_goes_to_the_caller_and_counts_as_failed() {
    let operation = operation(|o| o.consecutive_failures(1));
    // A future that blocks its thread past the deadline, and is ready when asked next.
    let late = async |_| {
        tokio::time::advance(millis(150)).await;
        Ok::<_, ()>("late")
    };
    let value = operation.call(async |cx| {
        let blocked = late(cx);
        let waker = std::task::Waker::noop();
        let mut blocked = std::pin::pin!(blocked);
        let mut context = std::task::Context::from_waker(waker);
        loop {
            if let std::task::Poll::Ready(value) = blocked.as_mut().poll(&mut context) {
                return value;
            }
        }
    });
    assert_eq!(value.await.unwrap(), "late");
    assert_eq!(totals(&operation, Outcome::Late), 1);
    assert_eq!(state(&operation), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_result_counts_for_nothing_and_is_not_repeated() {
    let operation = operation(|o| o.consecutive_failures(1));
    let not_found = |_: Result<&(), &&str>| Verdict::Ignored;
    let result = operation
        .with(not_found)
        .call(async |_| Err::<(), _>("not found"))
        .await;
    assert!(matches!(result, Err(Error::Call("not found"))));
    assert_eq!(state(&operation), CircuitState::Closed);
    assert_eq!(totals(&operation, Outcome::Ignored), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_always_uses_up_its_budget_is_cut_off_all_the_same() {
    let operation = operation(|o| o.max_attempts(1));
    let result = operation.call(async |_| -> Result<(), ()> {
        loop {
            tokio::task::consume_budget().await;
            tokio::time::sleep(millis(1)).await;
        }
    });
    assert!(result.await.unwrap_err().stopped().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_first_registration_of_a_name_holds() {
    let fusebox = fusebox();
    let first = fusebox.operation("x").kind(Kind::Cache).register().unwrap();
    let second = fusebox.operation("x").kind(Kind::Ml).register().unwrap();
    assert!(std::sync::Arc::ptr_eq(first.inner(), second.inner()));
    assert_eq!(fusebox.health().operations[0].kind, Kind::Cache);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_cannot_be_is_refused_with_everything_that_is_wrong() {
    let fusebox = fusebox();
    let long = fusebox
        .operation("x".repeat(10_000))
        .register()
        .unwrap_err();
    assert!(long.to_string().len() < 300, "{long}");
    assert!(
        long.to_string()
            .contains("has 10000 bytes; at most 200 are allowed")
    );
    let control = fusebox.operation("a\u{7}b").register().unwrap_err();
    assert!(
        control.to_string().contains(r"has '\u{7}' at byte 1"),
        "{control}"
    );
    let rules = fusebox
        .operation("x")
        .max_attempts(0)
        .attempt_timeout(Duration::ZERO);
    let rules = rules.register().unwrap_err().to_string();
    assert!(
        rules.contains("max_attempts") && rules.contains("timeout.attempt"),
        "{rules}"
    );
}

#[tokio::test(start_paused = true)]
async fn reset_closes_and_forgets() {
    let fusebox = fusebox();
    let operation = fusebox
        .operation("x")
        .consecutive_failures(1)
        .register()
        .unwrap();
    operation
        .call(async |_| Err::<(), _>(()))
        .await
        .unwrap_err();
    assert_eq!(state(&operation), CircuitState::Open);
    fusebox.reset();
    assert_eq!(state(&operation), CircuitState::Closed);
}

/// The signature's promises: no `'static`, no `Clone`, `Send` wherever the parts are.
mod signature {
    use super::*;
    use std::pin::Pin;

    struct Client;

    #[derive(Debug)]
    struct NotClone(#[expect(dead_code)] String);

    impl Client {
        async fn get(&self, key: &str) -> Result<String, NotClone> {
            ready(()).await;
            Ok(key.to_owned())
        }
    }

    struct Guarded<C> {
        operation: Operation,
        client: C,
    }

    trait Fetch: Send + Sync {
        fn fetch<'a>(
            &'a self,
            key: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<String, Error<NotClone>>> + Send + 'a>>;
    }

    impl Fetch for Guarded<Client> {
        fn fetch<'a>(
            &'a self,
            key: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<String, Error<NotClone>>> + Send + 'a>> {
            Box::pin(
                self.operation
                    .call(async move |_| self.client.get(key).await),
            )
        }
    }

    impl<C: Sync> Guarded<C> {
        async fn generic<T: Send, F>(&self, make: F) -> Result<T, Error<NotClone>>
        where
            F: Fn(&C) -> T + Sync,
        {
            self.operation.call(async |_| Ok(make(&self.client))).await
        }
    }

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test]
    async fn borrows_generics_boxes_and_spawned_tasks_compile_and_run() {
        let guarded = Guarded {
            operation: operation(|o| o),
            client: Client,
        };
        let key = String::from("key");
        let borrowed = guarded
            .operation
            .call(async |_| guarded.client.get(&key).await);
        assert_eq!(is_send(borrowed).await.unwrap(), "key");
        let boxed: Box<dyn Fetch> = Box::new(guarded);
        let spawned = tokio::spawn(async move { boxed.fetch("boxed").await });
        assert_eq!(spawned.await.unwrap().unwrap(), "boxed");
        let guarded = Guarded {
            operation: operation(|o| o),
            client: Client,
        };
        assert_eq!(is_send(guarded.generic(|_| 42)).await.unwrap(), 42);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_classifier_counts_as_one_of_the_call() {
    let operation = operation(|o| o.consecutive_failures(1));
    let guarded = operation.clone();
    let panicked = tokio::spawn(async move {
        let judge = |_: Result<&(), &()>| -> Verdict { panic!("boom") };
        guarded.with(judge).call(async |_| Ok(())).await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(state(&operation), CircuitState::Open);
    assert_eq!(totals(&operation, Outcome::Failure), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_judged_a_failure_comes_back_if_its_retry_is_not_made_after_all() {
    let operation = operation(|o| {
        o.backoff(millis(50), millis(50))
            .jitter(crate::Jitter::None)
            .consecutive_failures(2)
    });
    let failed = |_: Result<&u32, &()>| Verdict::Failure(Again::IfIdempotent(None));
    let guarded = operation.with(failed);
    let call = guarded.call(async |_| Ok(7));
    // Another call's failure opens the breaker while this one sleeps.
    let other = async {
        sleep(millis(10)).await;
        operation.call(async |_| Err::<(), _>("down")).await
    };
    let (value, _) = tokio::join!(call, other);
    assert_eq!(value.unwrap(), 7);
    assert_eq!(state(&operation), CircuitState::Open);
}
