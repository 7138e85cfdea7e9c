//! Judging `Ok` values, on a paused clock.

use std::cell::Cell;
use std::io;

use fusebox_core::outcome::{Again, CircuitState, Outcome, Verdict};

use super::loopback::not_idempotent;
use super::{Classify, REPEATABLE, Results};
use crate::{Error, Stopped};

fn even_is_good(outcome: Result<&u32, &io::Error>) -> Verdict {
    match outcome {
        Ok(value) if value.is_multiple_of(2) => Verdict::Success,
        Ok(_) | Err(_) => REPEATABLE,
    }
}

#[test]
fn results_knows_ok_from_err_and_nothing_else() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(Results.classify(Ok::<_, &()>(&1)), Verdict::Success);
    assert_eq!(Results.classify(Err::<&(), _>(&refused)), REPEATABLE);
}

#[tokio::test(start_paused = true)]
async fn an_ok_value_that_a_closure_calls_a_failure_is_retried() {
    let operation = not_idempotent(|o| o.idempotent(true));
    let value = operation
        .with(even_is_good)
        .call(async |cx| Ok(cx.attempt()))
        .await;
    assert_eq!(value.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_ok_value_reaches_the_caller_though_it_counts_as_a_failure() {
    let operation = not_idempotent(|o| o);
    let value = operation.with(even_is_good).call(async |_| Ok(7)).await;
    assert_eq!(value.unwrap(), 7);
    let totals = operation.inner().recorder.totals();
    assert_eq!(totals.calls(Outcome::Failure), 1);
    assert_eq!(totals.calls(Outcome::Success), 0);
}

#[tokio::test(start_paused = true)]
async fn ok_values_that_a_closure_calls_failures_open_the_breaker() {
    let operation = not_idempotent(|o| o.consecutive_failures(2));
    for _ in 0..2 {
        let value = operation.with(even_is_good).call(async |_| Ok(7)).await;
        assert_eq!(value.unwrap(), 7);
    }
    let called = Cell::new(false);
    let refused = operation
        .with(even_is_good)
        .call(async |_| {
            called.set(true);
            Ok(8)
        })
        .await;
    let why = refused.unwrap_err().stopped();
    assert!(matches!(why, Some(Stopped::Refused { .. })), "{why:?}");
    assert!(!called.get());
}

#[tokio::test(start_paused = true)]
async fn an_error_that_a_closure_calls_a_success_is_returned_and_counts_for_the_dependency() {
    let operation = not_idempotent(|o| o.consecutive_failures(1));
    let not_found = |_: Result<&(), &io::Error>| Verdict::Success;
    let result = operation
        .with(not_found)
        .call(async |_| Err(io::Error::from(io::ErrorKind::NotFound)))
        .await;
    assert!(matches!(result, Err(Error::Call(_))), "{result:?}");
    let inner = operation.inner();
    assert_eq!(inner.recorder.totals().calls(Outcome::Success), 1);
    let state = inner.state().state;
    assert_eq!(state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_forbids_to_repeat_is_not_repeated() {
    let operation = not_idempotent(|o| o.idempotent(true));
    let attempts = Cell::new(0);
    let never = |_: Result<&(), &io::Error>| Verdict::Failure(Again::No);
    let result = operation
        .with(never)
        .call(async |_| {
            attempts.set(attempts.get() + 1);
            Ok(())
        })
        .await;
    assert!(result.is_ok());
    assert_eq!(attempts.get(), 1);
}
