//! A call dropped after any of its polls gives everything back: nobody inside, nobody waiting, no
//! probe out, and the next call goes through.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use fusebox_core::outcome::CircuitState;
use tokio::time::{advance, sleep};

use crate::{Fusebox, Kind, Operation, OperationBuilder};

/// How much the clock moves between two polls.
const STEP: Duration = Duration::from_millis(7);
/// More polls than any of these calls takes.
const POLLS: u32 = 200;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn operation(set: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>) -> Operation {
    let fusebox = Fusebox::builder("checkout").jitter_seed(7).build().unwrap();
    let builder = fusebox
        .operation("payments")
        .kind(Kind::Cache)
        .attempt_timeout(millis(100))
        .backoff(millis(20), millis(40))
        .max_attempts(3);
    set(builder).register().unwrap()
}

/// What nobody may be left holding.
fn assert_idle(operation: &Operation, what: &str) {
    let inner = operation.inner();
    assert_eq!(inner.guard.bulkhead.occupancy(), (0, 0), "{what}");
    assert_eq!(inner.guard.adaptive.view().1, 0, "{what}");
    if inner.state().state == CircuitState::HalfOpen {
        let now = crate::clock::now();
        assert!(inner.guard.breaker.would_admit(now), "{what}");
    }
}

/// Polls a call so often, with time between, and drops it; the answer is whether it had ended.
async fn drop_after<F: Future>(polls: u32, call: F) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let mut cx = Context::from_waker(Waker::noop());
        if call.as_mut().poll(&mut cx).is_ready() {
            return true;
        }
        advance(STEP).await;
    }
    false
}

/// Drops a call after each number of polls in turn, until it ends before that.
async fn drop_everywhere(
    what: &str,
    make: impl Fn() -> Operation,
    prepare: impl AsyncFn(&Operation),
    call: impl AsyncFn(&Operation),
) {
    for polls in 0..POLLS {
        let operation = make();
        prepare(&operation).await;
        let ended = drop_after(polls, call(&operation)).await;
        let what = format!("{what}, dropped after {polls} polls");
        assert_idle(&operation, &what);
        // Long enough for an open breaker to probe, and for a rate limit to be free again.
        sleep(Duration::from_secs(60)).await;
        let next = operation.call(async |_| Ok::<_, ()>(()));
        assert!(next.await.is_ok(), "{what}: the next call");
        assert_idle(&operation, &what);
        if ended {
            return;
        }
    }
    panic!("{what}: the call never ended");
}

async fn slowly(operation: &Operation) {
    let call = operation.call(async |_| {
        sleep(millis(30)).await;
        Ok::<_, ()>(())
    });
    let _ = call.await;
}

async fn failing(operation: &Operation) {
    let call = operation.call(async |_| {
        sleep(millis(10)).await;
        Err::<(), _>(())
    });
    let _ = call.await;
}

async fn hanging(operation: &Operation) {
    let _ = operation
        .call(async |_| std::future::pending::<Result<(), ()>>().await)
        .await;
}

async fn nothing(_: &Operation) {}

#[tokio::test(start_paused = true)]
async fn between_attempts_and_within_them() {
    drop_everywhere("success", || operation(|o| o), nothing, slowly).await;
    drop_everywhere("retries", || operation(|o| o), nothing, failing).await;
    drop_everywhere("timeouts", || operation(|o| o), nothing, hanging).await;
}

#[tokio::test(start_paused = true)]
async fn while_probing() {
    let make = || {
        operation(|o| {
            o.consecutive_failures(1)
                .open_duration(millis(50))
                .half_open(1, None)
        })
    };
    let open = async |operation: &Operation| {
        failing(operation).await;
        assert_eq!(operation.inner().state().state, CircuitState::Open);
        sleep(millis(60)).await;
    };
    drop_everywhere("probe", make, open, slowly).await;
    drop_everywhere("failing probe", make, open, failing).await;
}

#[tokio::test(start_paused = true)]
async fn while_waiting_for_a_rate_limit() {
    let make = || operation(|o| o.rate_limit(1, millis(50), 1, Duration::from_secs(1)));
    drop_everywhere("rate limit", make, slowly, slowly).await;
    drop_everywhere("rate limit, failing", make, slowly, failing).await;
}

#[tokio::test(start_paused = true)]
async fn while_waiting_in_a_bulkheads_queue() {
    let make = || operation(|o| o.bulkhead(1, 2, Duration::from_secs(1)));
    // One inside for some time, and another in the queue behind the call.
    let crowded = async |operation: &Operation| {
        let first = slowly(operation);
        let behind = async {
            tokio::task::yield_now().await;
            slowly(operation).await;
        };
        tokio::join!(first, slowly(operation), behind);
    };
    drop_everywhere("bulkhead", make, nothing, crowded).await;
}

#[tokio::test(start_paused = true)]
async fn while_an_adaptive_limit_counts_it() {
    let make = || operation(|o| o.concurrency_limit(1, 10));
    drop_everywhere("adaptive", make, nothing, slowly).await;
    drop_everywhere("adaptive, hanging", make, nothing, hanging).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_hedge_runs_beside_it() {
    let make = || {
        operation(|o| {
            o.hedge_after(millis(20), 2)
                .bulkhead(3, 0, Duration::ZERO)
                .concurrency_limit(3, 10)
        })
    };
    drop_everywhere("hedge", make, nothing, slowly).await;
    drop_everywhere("hedge, failing", make, nothing, failing).await;
    drop_everywhere("hedge, hanging", make, nothing, hanging).await;
}
