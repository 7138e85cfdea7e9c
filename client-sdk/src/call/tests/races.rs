//! What each contender of a race comes to.

use std::sync::{Arc, Mutex};

use super::*;
use crate::listener::Attempts;

fn hedged(set: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>) -> Operation {
    operation(|o| set(o.hedge_after(millis(10), 2)))
}

/// The outcomes that the spans of a call's attempts are told.
async fn spans<F: Future<Output = Result<(), &'static str>>>(
    operation: &Operation,
    attempt: impl Fn(u32) -> F,
) -> Vec<(u64, String)> {
    let attempts = Attempts::default();
    let noted = attempts.noted();
    let _ = operation.call(|cx| attempt(cx.attempt())).await;
    drop(noted);
    attempts.outcomes()
}

fn told(outcomes: &[(u64, &str)]) -> Vec<(u64, String)> {
    let owned = outcomes.iter().map(|&(at, outcome)| (at, outcome.into()));
    owned.collect()
}

#[tokio::test(start_paused = true)]
async fn the_winner_s_span_is_a_success_and_the_losers_are_cancelled() {
    let operation = hedged(|o| o);
    let found = spans(&operation, async |attempt| match attempt {
        2 => {
            sleep(millis(15)).await;
            Ok(())
        }
        _ => pending().await,
    });
    let expected = [(1, "cancelled"), (2, "success"), (3, "cancelled")];
    assert_eq!(found.await, told(&expected));
}

#[tokio::test(start_paused = true)]
async fn spans_of_contenders_that_fail_or_run_out_of_time_say_so() {
    let operation = hedged(|o| o.consecutive_failures(100));
    let found = spans(&operation, async |attempt| match attempt {
        1 => {
            sleep(millis(15)).await;
            Err("down")
        }
        2 => pending().await,
        _ => {
            sleep(millis(95)).await;
            Ok(())
        }
    });
    let expected = [(1, "failure"), (2, "timeout"), (3, "success")];
    assert_eq!(found.await, told(&expected));
    let found = spans(&operation, async |_| pending().await);
    let expected = [(1, "timeout"), (2, "timeout"), (3, "timeout")];
    assert_eq!(found.await, told(&expected));
}

/// Notes how many are inside at the moment it is dropped.
struct Notes(Operation, Arc<Mutex<Vec<u32>>>);

impl Drop for Notes {
    fn drop(&mut self) {
        let (inside, _) = self.0.inner().guard.bulkhead.occupancy();
        self.1.lock().unwrap().push(inside);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loser_s_work_has_ended_before_its_slot_is_another_s() {
    let operation = hedged(|o| o.bulkhead(3, 0, Duration::ZERO));
    let noted = Arc::new(Mutex::new(Vec::new()));
    let call = operation.call(|cx| {
        let notes = Notes(operation.clone(), Arc::clone(&noted));
        async move {
            let _notes = notes;
            if cx.attempt() < 3 {
                pending::<()>().await;
            }
            Ok::<_, ()>(())
        }
    });
    call.await.unwrap();
    // The winner's own first, whose value is there; then one loser after the other.
    assert_eq!(*noted.lock().unwrap(), [3, 3, 2]);
    assert_eq!(operation.inner().guard.bulkhead.occupancy(), (0, 0));
}
