//! failsafe: a circuit breaker and nothing else.

use std::error::Error;

use failsafe::futures::CircuitBreaker;
use failsafe::{backoff, failure_policy};

use crate::dependency::{FAILURES, OPEN, answer, answer_later, fail, input, take};
use crate::drive::{block_on, both, insist};
use crate::harness::Case;

pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let (closed, open) = (breaker(), opened()?);
    let cases = [
        both("failsafe-ready", &closed, ready)?,
        both("failsafe-pending", &closed, pending)?,
        both("failsafe-refused", &open, ready)?,
    ];
    Ok(cases.into_iter().flatten().collect())
}

/// A breaker that any thread may call through.
trait Shared: CircuitBreaker + Clone + Send + 'static {}

impl<B: CircuitBreaker + Clone + Send + 'static> Shared for B {}

fn breaker() -> impl Shared {
    let policy = failure_policy::consecutive_failures(FAILURES, backoff::constant(OPEN));
    failsafe::Config::new().failure_policy(policy).build()
}

/// A breaker that has seen as many failures as it wants.
fn opened() -> Result<impl Shared, Box<dyn Error>> {
    let breaker = breaker();
    for _ in 0..FAILURES {
        take(block_on(breaker.call(fail(input())))?);
    }
    match block_on(breaker.call(answer(input())))? {
        Err(failsafe::Error::Rejected) => Ok(breaker),
        other => Err(format!("failsafe's open breaker gave {other:?}").into()),
    }
}

fn ready<B: Shared>(breaker: &B) -> impl AsyncFnMut() + Send + use<B> {
    let breaker = breaker.clone();
    async move || take(breaker.call(answer(input())).await)
}

fn pending<B: Shared>(breaker: &B) -> impl AsyncFnMut() + Send + use<B> {
    let breaker = breaker.clone();
    async move || take(insist(breaker.call(answer_later(input()))).await)
}
