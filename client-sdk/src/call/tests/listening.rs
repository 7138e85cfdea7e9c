//! Whoever listens may panic: nothing stays taken.

use super::*;
use crate::listener::on_event;

fn inside(operation: &Operation) -> (u32, usize) {
    operation.inner().guard.bulkhead.occupancy()
}

/// With one slot, opened by one failure, and due for a probe 10 ms later.
fn narrow() -> Operation {
    operation(|o| {
        o.max_attempts(1)
            .bulkhead(1, 1, Duration::from_secs(9))
            .consecutive_failures(1)
            .open_duration(millis(10))
    })
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_at_the_end_of_a_call_leaves_no_slot_taken() {
    let operation = narrow();
    let listening = on_event(|_| panic!("the listener's own affair"));
    let guarded = operation.clone();
    let call = async move { guarded.call(async |_| Err::<(), _>("down")).await };
    assert!(tokio::spawn(call).await.unwrap_err().is_panic());
    drop(listening);
    assert_eq!(inside(&operation), (0, 0));
    sleep(millis(10)).await;
    operation.call(async |_| Ok::<_, ()>(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_on_the_way_in_leaves_no_slot_taken() {
    let operation = narrow();
    let first = operation.admit().unwrap();
    let guarded = operation.clone();
    let queued = tokio::spawn(async move { guarded.call(async |_| Ok::<_, ()>(())).await });
    tokio::task::yield_now().await;
    assert_eq!(inside(&operation), (1, 1));
    first.settle(Verdict::Failure(Again::No));
    // The one in the queue wakes to a breaker that is due for a probe, and makes it half-open.
    let listening = on_event(|_| panic!("the listener's own affair"));
    tokio::time::advance(millis(10)).await;
    assert!(queued.await.unwrap_err().is_panic());
    drop(listening);
    assert_eq!(inside(&operation), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_while_a_race_ends_leaves_no_contender_s_slot_taken() {
    let operation = operation(|o| {
        o.max_attempts(3)
            .hedge_after(millis(10), 2)
            .bulkhead(3, 0, Duration::ZERO)
            .consecutive_failures(1)
    });
    let listening = on_event(|_| panic!("the listener's own affair"));
    let guarded = operation.clone();
    let call = async move {
        guarded
            .call(async |cx| match cx.attempt() {
                1 => {
                    sleep(millis(50)).await;
                    Err::<(), _>("down")
                }
                _ => pending().await,
            })
            .await
    };
    assert!(tokio::spawn(call).await.unwrap_err().is_panic());
    drop(listening);
    assert_eq!(inside(&operation), (0, 0));
}
