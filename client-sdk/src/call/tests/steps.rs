//! A call made step by step, by a caller who may drop an attempt or ask for one too many.

use tokio::time::timeout;

use super::*;
use crate::call::{Next, Run};
use crate::{Results, Scope, Share};

type Attempt = Next<(), &'static str>;

async fn hang() -> Result<(), &'static str> {
    pending().await
}

fn retries(operation: &Operation) -> u64 {
    operation.inner().recorder.totals().retries()
}

fn ended(next: &Attempt) -> bool {
    matches!(
        next,
        Next::Return(Err(Error::Stopped {
            why: Stopped::Ended {
                operation: "payments"
            },
            last: None
        }))
    )
}

/// Makes attempts that are dropped after 90 ms each, as often as asked, until there is an answer.
async fn impatient(run: &mut Run<'_>, times: u32) -> Option<Attempt> {
    for _ in 0..times {
        let attempt = run.attempt(&Results, hang());
        if let Ok(next) = timeout(millis(90), attempt).await {
            return Some(next);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_dropped_are_attempts_of_the_call() {
    let operation = operation(|o| o.max_attempts(2).consecutive_failures(100));
    let mut run = operation.begin();
    let next = impatient(&mut run, 20).await.unwrap();
    assert!(ended(&next), "{next:?}");
    assert_eq!(retries(&operation), 1);
    assert_eq!(totals(&operation, Outcome::Cancelled), 1);
    drop(run);
    assert_eq!(totals(&operation, Outcome::Cancelled), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_is_followed_by_none_that_nobody_pays_for() {
    let operation = operation(|o| o.consecutive_failures(100).retry_budget(Share::ZERO, 0));
    let next = impatient(&mut operation.begin(), 20).await.unwrap();
    assert!(ended(&next), "{next:?}");
    let rich = super::operation(|o| o.consecutive_failures(100));
    let scope = Scope::new().retries(1);
    let next = impatient(&mut rich.within(&scope).begin(), 20)
        .await
        .unwrap();
    assert!(ended(&next), "{next:?}");
    assert_eq!((retries(&operation), retries(&rich)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_is_not_repeated_where_repeating_does_harm() {
    let operation = operation(|o| o.idempotent(false).consecutive_failures(100));
    let next = impatient(&mut operation.begin(), 20).await.unwrap();
    assert!(ended(&next), "{next:?}");
    assert_eq!(retries(&operation), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_gives_back_what_it_held_at_once_and_was_slow_if_it_was() {
    let operation = operation(|o| {
        o.bulkhead(1, 0, Duration::ZERO)
            .consecutive_failures(1)
            .open_duration(Duration::from_secs(5))
    });
    let mut run = operation.begin();
    for (patience, then) in [(49, CircuitState::Closed), (50, CircuitState::Open)] {
        let attempt = run.attempt(&Results, hang());
        timeout(millis(patience), attempt).await.unwrap_err();
        assert_eq!(operation.inner().guard.bulkhead.occupancy(), (0, 0));
        assert_eq!(state(&operation), then, "after {patience} ms");
        // The backoff is over by then.
        sleep(millis(10)).await;
        run = match then {
            CircuitState::Closed => operation.begin(),
            _ => run,
        };
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_dropped_in_a_queue_was_none_and_leaves_the_queue() {
    let operation = operation(|o| o.bulkhead(1, 1, Duration::from_secs(9)));
    let inside = operation.admit().unwrap();
    let mut run = operation.begin();
    impatient(&mut run, 3).await;
    assert_eq!(operation.inner().guard.bulkhead.occupancy(), (1, 0));
    inside.settle(Verdict::Success);
    let next = run.attempt(&Results, async { Ok::<_, ()>("in time") });
    assert!(matches!(next.await, Next::Return(Ok("in time"))));
    assert_eq!(retries(&operation), 0);
    assert_eq!(totals(&operation, Outcome::Success), 1);
}

#[tokio::test(start_paused = true)]
async fn a_backoff_is_slept_to_its_end_however_often_the_sleeper_is_dropped() {
    let operation = operation(|o| {
        o.jitter(crate::Jitter::None)
            .overall_timeout(Duration::from_secs(9))
            .backoff(millis(300), millis(300))
    });
    let mut run = operation.begin();
    let first = run.attempt(&Results, async { Err("down") }).await;
    assert!(matches!(
        first,
        Attempt::Again {
            answer: Some(Err("down"))
        }
    ));
    let begun = Instant::now();
    assert!(impatient(&mut run, 3).await.is_none());
    assert_eq!((begun.elapsed(), retries(&operation)), (millis(270), 0));
    let next = run.attempt(&Results, async { Ok(()) }).await;
    assert!(matches!(next, Attempt::Return(Ok(()))), "{next:?}");
    assert_eq!((begun.elapsed(), retries(&operation)), (millis(300), 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_returned_calls_nothing_more() {
    let operation = operation(|o| o.max_attempts(1));
    for result in [Ok(()), Err("down")] {
        let mut run = operation.begin();
        let first = run.attempt(&Results, async { result }).await;
        assert!(matches!(first, Attempt::Return(found) if found.is_ok() == result.is_ok()));
        for _ in 0..5 {
            let called = Cell::new(false);
            let further = run.attempt(&Results, async {
                called.set(true);
                Ok(())
            });
            let further = further.await;
            assert!(ended(&further), "{further:?}");
            assert!(!called.get());
        }
    }
    assert_eq!(totals(&operation, Outcome::Success), 1);
    assert_eq!(totals(&operation, Outcome::Failure), 1);
    assert_eq!(
        (
            operation.inner().recorder.first_attempts(),
            retries(&operation)
        ),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_calls_nothing_more() {
    let operation = operation(|o| o.bulkhead(1, 0, Duration::ZERO));
    let inside = operation.admit().unwrap();
    let mut run = operation.begin();
    let refused = run.attempt(&Results, hang()).await;
    assert!(matches!(refused, Attempt::Return(Err(_))) && !ended(&refused));
    drop(inside);
    let further = run.attempt(&Results, hang()).await;
    assert!(ended(&further), "{further:?}");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_its_number_and_what_is_left_of_the_whole_call() {
    let operation = operation(|o| {
        o.jitter(crate::Jitter::None)
            .consecutive_failures(100)
            .overall_timeout(millis(500))
    });
    let told = |run: &mut Run<'_>| {
        let cx = run.cx();
        (cx.attempt(), cx.remaining())
    };
    let mut run = operation.begin();
    assert_eq!(told(&mut run), (1, millis(500)));
    run.attempt(&Results, async {
        sleep(millis(50)).await;
        Err::<(), _>("down")
    })
    .await;
    assert_eq!(told(&mut run), (2, millis(450)));
    impatient(&mut run, 1).await;
    assert_eq!(told(&mut run), (3, millis(360)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_s_work_has_ended_before_its_slot_is_another_s() {
    struct Notes<'a>(&'a Operation, &'a Cell<u32>);
    impl Drop for Notes<'_> {
        fn drop(&mut self) {
            self.1.set(self.0.inner().guard.bulkhead.occupancy().0);
        }
    }
    let operation = operation(|o| o.bulkhead(1, 0, Duration::ZERO));
    let inside = Cell::new(0);
    let notes = Notes(&operation, &inside);
    let mut run = operation.begin();
    let cut = run.attempt(&Results, async move {
        let _notes = notes;
        hang().await
    });
    assert!(matches!(cut.await, Next::Again { answer: None }));
    assert_eq!(inside.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_s_own_time_begins_with_it_and_the_call_s_with_begin() {
    let operation = operation(|o| {
        o.consecutive_failures(1)
            .overall_timeout(millis(250))
            .max_attempts(1)
    });
    let mut run = operation.begin();
    sleep(millis(200)).await;
    let next = run.attempt(&Results, async { Ok::<_, ()>(()) }).await;
    assert!(matches!(next, Next::Return(Ok(()))));
    assert_eq!(totals(&operation, Outcome::Success), 1);
    let mut run = operation.begin();
    sleep(millis(200)).await;
    let begun = Instant::now();
    let cut = run.attempt(&Results, hang()).await;
    assert!(matches!(cut, Next::Return(Err(_))));
    assert_eq!(begun.elapsed(), millis(50));
}
