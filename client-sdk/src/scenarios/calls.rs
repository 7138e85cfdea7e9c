//! A call of a script: a task, and what became of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox_core::outcome::Verdict;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::amount::show;
use super::dependency::{Dependency, Told};
use super::script::{Asking, Expected, Fallback, Found};
use crate::error::{Error, Stopped};
use crate::operation::Operation;
use crate::scope::Scope;

/// The longest that a rule can make a call last.
pub(super) const LONGEST_CALL: Duration = Duration::from_secs(30 * 86_400);

type Ended = Result<Told, Error<Told>>;

/// A call, under way or over.
pub(super) struct Call {
    pub(super) dependency: Arc<Dependency>,
    /// Whether the script has said how it ended.
    pub(super) looked_at: bool,
    task: Option<JoinHandle<Ended>>,
    began: Instant,
    ended_at: Arc<Mutex<Option<Instant>>>,
    found: Option<Found>,
}

/// Notes when a call ended, however that came.
struct Notes(Arc<Mutex<Option<Instant>>>);

impl Drop for Notes {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Call {
    pub(super) fn begin(
        operation: &Operation,
        asking: &Asking,
        within: Option<Scope>,
        inside: Option<Scope>,
    ) -> Self {
        let dependency = Arc::new(Dependency::new(asking.attempts.clone()));
        let ended_at = Arc::new(Mutex::new(None));
        let notes = Notes(Arc::clone(&ended_at));
        let called = called(
            operation.clone(),
            Arc::clone(&dependency),
            asking.clone(),
            within,
        );
        let task = tokio::spawn(async move {
            let _notes = notes;
            match inside {
                None => called.await,
                Some(scope) => scope.run(called).await,
            }
        });
        Self {
            dependency,
            looked_at: false,
            task: Some(task),
            began: Instant::now(),
            ended_at,
            found: None,
        }
    }

    /// Until it has ended.
    pub(super) async fn wait(&mut self) {
        let Some(task) = &mut self.task else { return };
        let found = match task.await {
            Ok(Ok(told)) => answered("ok", told),
            Ok(Err(Error::Call(told))) => match told.verdict {
                Verdict::Ignored => answered("ignored", told),
                _ => answered("failed", told),
            },
            Ok(Err(Error::Stopped { why, last })) => {
                let last = last.and_then(|told| told.by);
                stopped(why).maybe("last", last)
            }
            Err(error) if error.is_panic() => Found::default().word("panicked"),
            Err(_) => Found::default().word("dropped"),
        };
        self.task = None;
        self.found = Some(found);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Drops it, wherever it is; `false` if it is over.
    pub(super) fn drop_it(&mut self) -> bool {
        let under_way = self.task.as_ref().filter(|task| !task.is_finished());
        if let Some(task) = under_way {
            task.abort();
        }
        self.looked_at |= under_way.is_some();
        under_way.is_some()
    }

    /// How it ended, if it has by now.
    pub(super) async fn found(&mut self) -> Found {
        if !self.has_ended() {
            return Found::default().word("under way");
        }
        self.looked_at = true;
        self.wait().await;
        let left = self.dependency.under_way();
        let found = self.found.clone().unwrap_or_default();
        let found = found.maybe("left_under_way", Some(left).filter(|&left| left > 0));
        // One that was dropped has not made all its attempts.
        let dropped = found.to_string() == "dropped";
        let surprise = self.dependency.surprise().filter(|_| !dropped);
        found
            .maybe("attempts", surprise)
            .aside("took", show(self.took()))
    }

    /// The same for a script whose clock has moved with the call: it must say how far.
    pub(super) fn with_time(&self, found: Found, expected: &Expected) -> Found {
        let took = self.took();
        let silent = took.is_zero() || expected.names("took");
        found.maybe("took", (!silent).then(|| show(took)))
    }

    /// How it ends if the dependency decides.
    pub(super) fn as_told(&self) -> Expected {
        Expected::of(self.dependency.outcome())
    }

    fn took(&self) -> Duration {
        let ended = *self.ended_at.lock().unwrap_or_else(PoisonError::into_inner);
        ended.map_or(Duration::ZERO, |ended| ended - self.began)
    }
}

async fn called(
    operation: Operation,
    dependency: Arc<Dependency>,
    asking: Asking,
    within: Option<Scope>,
) -> Ended {
    let classify = |result: Result<&Told, &Told>| match result {
        Ok(told) | Err(told) => told.verdict,
    };
    let guarded = operation.with(classify).cost(asking.cost.unwrap_or(1));
    let guarded = match &within {
        None => guarded,
        Some(scope) => guarded.within(scope),
    };
    let attempt = |_| dependency.attempt();
    let Some(fallback) = asking.fallback else {
        return guarded.call(attempt).await;
    };
    let told = |verdict| Told { by: None, verdict };
    let fall_back = async |error| {
        tokio::time::sleep(asking.fallback_takes).await;
        match fallback {
            Fallback::Succeeds => Ok(told(Verdict::Success)),
            Fallback::Fails => {
                let verdict = Verdict::Failure(fusebox_core::outcome::Again::No);
                Err(Error::Call(told(verdict)))
            }
            Fallback::Hands => Err(error),
            Fallback::Calls => operation.with(classify).call(attempt).await,
        }
    };
    guarded.call_or(attempt, fall_back).await
}

fn answered(outcome: &str, told: Told) -> Found {
    match told.by {
        None => Found::default().word("fell back").word(outcome),
        Some(by) => Found::default().word(outcome).aside("by", by),
    }
}

fn stopped(why: Stopped) -> Found {
    let found = Found::default();
    match why {
        Stopped::Refused {
            reason,
            retry_after,
            ..
        } => {
            let found = found.word("refused").word(reason);
            found.maybe("retry_after", retry_after.map(show))
        }
        Stopped::TimedOut { limit, after, .. } => {
            let found = found.word("timed out").word(limit);
            found.aside("after", show(after))
        }
        Stopped::WouldBlock { .. } => found.word("would block"),
        Stopped::Ended { .. } => found.word("ended"),
    }
}
