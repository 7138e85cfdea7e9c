//! Fusebox, with everything on: both timeouts, retry, breaker, statistics.
//!
//! The handle is resolved once, calls go through [`Operation::call`]. Each case is first shown to
//! be what its name says, because a call that fails fast would look like a fast call.

use std::error::Error;

use fusebox::{Fusebox, Kind, Operation, OperationBuilder, Ratio, Stopped};
use tokio::runtime::Builder;

use crate::dependency::{
    ATTEMPT_TIMEOUT, BASE_DELAY, Broken, FAILURE_PERCENT, FAILURES, MAX_ATTEMPTS, MAX_DELAY,
    MINIMUM_CALLS, OPEN, OVERALL_TIMEOUT, WINDOW, answer, answer_later, input, take,
};
use crate::drive::{alone, insist, pair};
use crate::harness::Case;

pub(crate) fn cases(fusebox: &Fusebox) -> Result<Vec<Case>, Box<dyn Error>> {
    let consecutive = consecutive(fusebox, "consecutive").register()?;
    let window = window(fusebox)?;
    let open = open(fusebox)?;
    prove_closed(&consecutive)?;
    prove_closed(&window)?;
    prove_open(&open)?;
    Ok(vec![
        Case::new("ours-ready", alone(ready(&consecutive))?),
        Case::new("ours-window", alone(ready(&window))?),
        Case::new("ours-pending", alone(pending(&consecutive))?),
        Case::new("ours-refused", alone(ready(&open))?),
        Case::new("ours-two", pair(move || ready(&consecutive))?),
        Case::new("ours-window-two", pair(move || ready(&window))?),
    ])
}

fn ready(operation: &Operation) -> impl AsyncFnMut() + Send + use<> {
    let operation = operation.clone();
    async move || take(operation.call(async |_| answer(input()).await).await)
}

fn pending(operation: &Operation) -> impl AsyncFnMut() + use<> {
    let operation = operation.clone();
    async move || {
        let call = operation.call(async |_| answer_later(input()).await);
        take(insist(call).await);
    }
}

fn guarded<'a>(fusebox: &'a Fusebox, name: &str) -> OperationBuilder<'a> {
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

fn consecutive<'a>(fusebox: &'a Fusebox, name: &str) -> OperationBuilder<'a> {
    guarded(fusebox, name).consecutive_failures(FAILURES)
}

fn window(fusebox: &Fusebox) -> Result<Operation, Box<dyn Error>> {
    let ratio = Ratio::new(f64::from(FAILURE_PERCENT) / 100.0)?;
    let builder = guarded(fusebox, "window").failure_ratio(ratio, WINDOW, Some(MINIMUM_CALLS));
    Ok(builder.register()?)
}

/// An operation whose breaker is open: one failure was enough, and nothing was tried again.
fn open(fusebox: &Fusebox) -> Result<Operation, Box<dyn Error>> {
    let operation = guarded(fusebox, "open")
        .consecutive_failures(1)
        .max_attempts(1)
        .register()?;
    let failed = block_on(operation.call(async |_| Err::<u64, _>(Broken)))?;
    match failed {
        Err(fusebox::Error::Call(Broken)) => Ok(operation),
        other => Err(format!("a failure came back as {other:?}").into()),
    }
}

fn prove_closed(operation: &Operation) -> Result<(), Box<dyn Error>> {
    match block_on(operation.call(async |_| answer(input()).await))? {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("a healthy call of {} gave {error:?}", operation.name()).into()),
    }
}

fn prove_open(operation: &Operation) -> Result<(), Box<dyn Error>> {
    match block_on(operation.call(async |_| answer(input()).await))? {
        Err(fusebox::Error::Stopped {
            why: Stopped::Refused { .. },
            ..
        }) => Ok(()),
        other => Err(format!("an open breaker gave {other:?}").into()),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(future))
}
