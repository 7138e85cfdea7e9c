//! Waiting for a condition, with a bound.
//!
//! A sleep that hopes is too short on a busy machine and too long on every other. These ask again
//! every few milliseconds and return at the first yes.

use std::thread;
use std::time::{Duration, Instant};

/// Between two questions. Short beside anything that a test waits for.
const INTERVAL: Duration = Duration::from_millis(5);

/// Asks until the answer is `Some`, for at most `within`. Asks at least once, and a last time at
/// the end.
pub fn poll<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let last = Instant::now() >= deadline;
        match ask() {
            None if !last => thread::sleep(INTERVAL),
            answer => return answer,
        }
    }
}

/// [`poll`] that panics when the time is up; `what` completes "waited ... for".
pub fn eventually<T>(what: &str, within: Duration, ask: impl FnMut() -> Option<T>) -> T {
    poll(within, ask).unwrap_or_else(|| panic!("waited {within:?} for {what}, in vain"))
}

/// [`eventually`] for a test inside a runtime: other tasks run between two questions.
pub async fn eventually_async<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        let last = Instant::now() >= deadline;
        match ask().await {
            Some(answer) => return answer,
            None if last => panic!("waited {within:?} for {what}, in vain"),
            None => tokio::time::sleep(INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_the_first_yes() {
        let mut left = 3;
        let answer = poll(Duration::from_secs(60), || {
            left -= 1;
            (left == 0).then_some("yes")
        });
        assert_eq!(answer, Some("yes"));
    }

    #[test]
    fn a_wait_without_time_still_asks_once() {
        assert_eq!(poll(Duration::ZERO, || Some(1)), Some(1));
        assert_eq!(poll(Duration::ZERO, || None::<u8>), None);
    }

    #[test]
    fn a_wait_inside_a_runtime_lets_other_tasks_run() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(async {
            let task = tokio::spawn(async {});
            let ended = async || task.is_finished().then_some(());
            eventually_async("the task", Duration::from_secs(60), ended).await;
        });
    }

    #[test]
    #[should_panic(expected = "waited 1ms for a miracle, in vain")]
    fn a_wait_in_vain_says_for_what() {
        eventually("a miracle", Duration::from_millis(1), || None::<()>);
    }
}
