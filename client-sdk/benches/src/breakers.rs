//! Libraries that are a circuit breaker and nothing else: recloser and failsafe.
//!
//! No timeouts, no retry, no statistics. They stand here for the price of a breaker alone.

use std::io;

use failsafe::futures::CircuitBreaker as _;
use failsafe::{backoff, failure_policy};
use recloser::{AsyncRecloser, Recloser};

use crate::dependency::{FAILURE_PERCENT, FAILURES, MINIMUM_CALLS, OPEN, answer, input, take};
use crate::drive::{alone, pair};
use crate::harness::Case;

pub(crate) fn cases() -> io::Result<Vec<Case>> {
    let (recloser, failsafe) = (recloser(), failsafe());
    let recloser_pair = pair({
        let recloser = recloser.clone();
        move || {
            let recloser = recloser.clone();
            async move || take(recloser.call(answer(input())).await)
        }
    })?;
    let failsafe_pair = pair({
        let failsafe = failsafe.clone();
        move || {
            let failsafe = failsafe.clone();
            async move || take(failsafe.call(answer(input())).await)
        }
    })?;
    let recloser = alone(async move || take(recloser.call(answer(input())).await))?;
    let failsafe = alone(async move || take(failsafe.call(answer(input())).await))?;
    Ok(vec![
        Case::new("recloser-ready", recloser),
        Case::new("recloser-two", recloser_pair),
        Case::new("failsafe-ready", failsafe),
        Case::new("failsafe-two", failsafe_pair),
    ])
}

fn recloser() -> AsyncRecloser {
    Recloser::custom()
        .error_rate(FAILURE_PERCENT as f32 / 100.0)
        .closed_len(MINIMUM_CALLS as usize)
        .open_wait(OPEN)
        .build()
        .into()
}

/// A breaker that any thread may call through.
fn failsafe() -> impl failsafe::futures::CircuitBreaker + Clone + Send + 'static {
    let policy = failure_policy::consecutive_failures(FAILURES, backoff::constant(OPEN));
    failsafe::Config::new().failure_policy(policy).build()
}
