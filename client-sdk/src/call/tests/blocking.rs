//! Calls that block, on a thread that may; the clock is moved by what they call.

use tokio::runtime::Runtime;
use tokio::time::advance;

use super::*;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn each_failure_after_its_attempt_s_time_is_a_timeout_of_its_own_and_the_caller_s_to_see() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let operation = operation(|o| o.backoff(millis(1), millis(1)).consecutive_failures(3));
    let result = operation.call_blocking(|cx| {
        runtime.block_on(advance(millis(150)));
        Err::<(), _>(cx.attempt())
    });
    assert!(matches!(result, Err(Error::Call(3))), "{result:?}");
    assert_eq!(state(&operation), CircuitState::Open);
    assert_eq!(totals(&operation, Outcome::Timeout), 1);
    assert_eq!(totals(&operation, Outcome::Failure), 0);
}

#[test]
fn failures_in_time_count_once_together() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let operation = operation(|o| o.backoff(millis(1), millis(1)).consecutive_failures(3));
    let result = operation.call_blocking(|cx| {
        runtime.block_on(advance(millis(50)));
        Err::<(), _>(cx.attempt())
    });
    assert!(matches!(result, Err(Error::Call(3))), "{result:?}");
    assert_eq!(state(&operation), CircuitState::Closed);
    assert_eq!(totals(&operation, Outcome::Failure), 1);
}
