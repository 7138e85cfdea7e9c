//! Fusebox, as it is meant to be used: both timeouts, retry with budget, breaker, statistics.
//!
//! The handle is resolved once, calls go through [`Operation::call`]. Each case is first shown to
//! be what its name says, because a call that fails fast would look like a fast call.

use std::error::Error;

use fusebox::{Fusebox, Kind, Operation, OperationBuilder, Stopped};

use crate::dependency::{
    ATTEMPT_TIMEOUT, BASE_DELAY, Broken, FAILURES, MAX_ATTEMPTS, MAX_DELAY, OPEN, OVERALL_TIMEOUT,
    answer, answer_later, fail, input, take,
};
use crate::drive::{block_on, both, insist};
use crate::harness::Case;

pub(crate) fn cases(fusebox: &Fusebox) -> Result<Vec<Case>, Box<dyn Error>> {
    let closed = closed(consecutive(fusebox, "closed"))?;
    let open = opened(consecutive(fusebox, "open"))?;
    let cases = [
        both("ours-ready", &closed, ready)?,
        both("ours-pending", &closed, pending)?,
        both("ours-refused", &open, ready)?,
    ];
    Ok(cases.into_iter().flatten().collect())
}

/// The full stack, but for what opens its breaker.
pub(crate) fn guarded<'a>(fusebox: &'a Fusebox, name: &str) -> OperationBuilder<'a> {
    fusebox
        .operation(name)
        .kind(Kind::Api)
        .idempotent(true)
        .attempt_timeout(ATTEMPT_TIMEOUT)
        .overall_timeout(OVERALL_TIMEOUT)
        .max_attempts(MAX_ATTEMPTS)
        .backoff(BASE_DELAY, MAX_DELAY)
        .open_duration(OPEN)
}

/// The full stack.
pub(crate) fn consecutive<'a>(fusebox: &'a Fusebox, name: &str) -> OperationBuilder<'a> {
    guarded(fusebox, name).consecutive_failures(FAILURES)
}

/// An operation that lets its calls through.
pub(crate) fn closed(builder: OperationBuilder<'_>) -> Result<Operation, Box<dyn Error>> {
    let operation = builder.register()?;
    match block_on(operation.call(async |_| answer(input()).await))? {
        Ok(_) => Ok(operation),
        Err(error) => Err(format!("a healthy call of {} gave {error:?}", operation.name()).into()),
    }
}

/// An operation whose breaker is open: one failure was enough, and nothing was tried again.
fn opened(builder: OperationBuilder<'_>) -> Result<Operation, Box<dyn Error>> {
    let operation = builder.consecutive_failures(1).max_attempts(1).register()?;
    match block_on(operation.call(async |_| fail(input()).await))? {
        Err(fusebox::Error::Call(Broken)) => {}
        other => return Err(format!("a failure came back as {other:?}").into()),
    }
    match block_on(operation.call(async |_| answer(input()).await))? {
        Err(fusebox::Error::Stopped {
            why: Stopped::Refused { .. },
            ..
        }) => Ok(operation),
        other => Err(format!("an open breaker gave {other:?}").into()),
    }
}

pub(crate) fn ready(operation: &Operation) -> impl AsyncFnMut() + Send + use<> {
    let operation = operation.clone();
    async move || take(operation.call(async |_| answer(input()).await).await)
}

fn pending(operation: &Operation) -> impl AsyncFnMut() + Send + use<> {
    let operation = operation.clone();
    async move || {
        let call = operation.call(async |_| answer_later(input()).await);
        take(insist(call).await);
    }
}
