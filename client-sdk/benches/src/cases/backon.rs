//! backon: a retry and nothing else, around a call that never needs it.

use std::io;

use backon::{ExponentialBuilder, Retryable};

use crate::dependency::{BASE_DELAY, MAX_ATTEMPTS, MAX_DELAY, answer, answer_later, input, take};
use crate::drive::{both, insist};
use crate::harness::Case;

pub(crate) fn cases() -> io::Result<Vec<Case>> {
    let backoff = backoff();
    let cases = [
        both("backon-ready", &backoff, ready)?,
        both("backon-pending", &backoff, pending)?,
    ];
    Ok(cases.into_iter().flatten().collect())
}

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(BASE_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_max_times(MAX_ATTEMPTS as usize - 1)
        .with_jitter()
}

fn ready(backoff: &ExponentialBuilder) -> impl AsyncFnMut() + Send + use<> {
    let backoff = *backoff;
    async move || take((|| answer(input())).retry(backoff).await)
}

fn pending(backoff: &ExponentialBuilder) -> impl AsyncFnMut() + Send + use<> {
    let backoff = *backoff;
    async move || take(insist((|| answer_later(input())).retry(backoff)).await)
}
