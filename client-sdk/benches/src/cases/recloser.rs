//! recloser: a circuit breaker and nothing else.

use std::error::Error;

use recloser::{AsyncRecloser, Recloser};

use crate::dependency::{
    FAILURE_PERCENT, MINIMUM_CALLS, OPEN, answer, answer_later, fail, input, take,
};
use crate::drive::{block_on, both, insist};
use crate::harness::Case;

pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let (closed, open) = (breaker(), opened()?);
    let cases = [
        both("recloser-ready", &closed, ready)?,
        both("recloser-pending", &closed, pending)?,
        both("recloser-refused", &open, ready)?,
    ];
    Ok(cases.into_iter().flatten().collect())
}

fn breaker() -> AsyncRecloser {
    Recloser::custom()
        .error_rate(FAILURE_PERCENT as f32 / 100.0)
        .closed_len(MINIMUM_CALLS as usize)
        .open_wait(OPEN)
        .build()
        .into()
}

/// A breaker that has seen nothing but failures, one more than it wants.
fn opened() -> Result<AsyncRecloser, Box<dyn Error>> {
    let breaker = breaker();
    for _ in 0..=MINIMUM_CALLS {
        take(block_on(breaker.call(fail(input())))?);
    }
    match block_on(breaker.call(answer(input())))? {
        Err(recloser::Error::Rejected) => Ok(breaker),
        other => Err(format!("recloser's open breaker gave {other:?}").into()),
    }
}

fn ready(breaker: &AsyncRecloser) -> impl AsyncFnMut() + Send + use<> {
    let breaker = breaker.clone();
    async move || take(breaker.call(answer(input())).await)
}

fn pending(breaker: &AsyncRecloser) -> impl AsyncFnMut() + Send + use<> {
    let breaker = breaker.clone();
    async move || take(insist(breaker.call(answer_later(input()))).await)
}
