//! What a caller sees of an operation and of an error.

use fusebox_core::guard::breaker::Override;
use fusebox_core::outcome::Forced;

use super::*;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::test(start_paused = true)]
async fn one_plain_error_comes_of_a_failure_a_refusal_and_a_timeout() {
    async fn plainly(operation: &Operation, hangs: bool) -> Result<(), AnyError> {
        let call = operation.call(async |_| match hangs {
            true => pending().await,
            false => Err(AnyError::from("down")),
        });
        call.await.map_err(Error::into_inner)
    }
    let operation = operation(|o| o.max_attempts(1).consecutive_failures(2));
    let failed = plainly(&operation, false).await.unwrap_err();
    assert_eq!(failed.to_string(), "down");
    let stopped = plainly(&operation, true).await.unwrap_err();
    let why = stopped.downcast_ref::<Stopped>();
    assert!(matches!(why, Some(Stopped::TimedOut { .. })), "{stopped}");
    let refused = plainly(&operation, false).await.unwrap_err();
    let why = refused.downcast_ref::<Stopped>();
    assert!(matches!(why, Some(Stopped::Refused { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn the_state_that_is_told_is_the_one_that_callers_meet() {
    use CircuitState::{Closed, HalfOpen, Open};
    let operation = operation(|o| {
        o.max_attempts(1)
            .consecutive_failures(1)
            .open_duration(millis(10))
    });
    assert_eq!(operation.state(), Closed);
    operation
        .call(async |_| Err::<(), _>(()))
        .await
        .unwrap_err();
    assert_eq!(operation.state(), Open);
    sleep(millis(10)).await;
    assert_eq!(operation.state(), Open, "due for a probe");
    let probe = operation.admit().unwrap();
    assert_eq!(operation.state(), HalfOpen);
    let inner = operation.inner();
    let force = |forced| {
        let until = crate::clock::now() + Duration::from_secs(9);
        let overrides = [Override {
            id: 1,
            forced,
            until,
        }];
        let breaker = &inner.guard.breaker;
        let _ = breaker.force(&overrides, crate::clock::now());
    };
    force(Forced::Closed);
    assert_eq!(operation.state(), Closed);
    probe.settle(Verdict::Success);
    force(Forced::Open);
    assert_eq!((operation.state(), state(&operation)), (Open, Closed));
    sleep(Duration::from_secs(9)).await;
    assert_eq!(operation.state(), Closed);
}
