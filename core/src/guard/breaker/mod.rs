//! The circuit breaker: stops calling a dependency that fails, and finds out when it is back.
//!
//! ```text
//!            consecutive failures, or failure ratio
//!   CLOSED ------------------------------------------> OPEN <-----------------+
//!     ^                                                 |                     |
//!     |                                 open duration   |      a probe failed,|
//!     |                                 has elapsed,    |      or one hung    |
//!     |                                 next call       v      in time        |
//!     +-------------------------------------------- HALF_OPEN ----------------+
//!                   the probes succeeded
//! ```
//!
//! | state \ event | call | success | failure | neutral | time |
//! |---|---|---|---|---|---|
//! | CLOSED | admit | end the run | lengthen the run, may open | - | - |
//! | OPEN | refuse until elapsed, then probe | - | - | - | due for a probe |
//! | HALF_OPEN | admit while permits last | may close | may open | permit back | opens if probes hang |
//!
//! **Cost.** A success in the healthy closed state reads one shared word and writes its own lane
//! of the window. Everything rarer (failures, the success that ends a run, transitions, probes)
//! takes one mutex: there are no lock-free transitions to get wrong. A refusal reads two words.
//!
//! **Generations.** Every transition starts a new generation. A permit carries the one it was
//! given in; an outcome that comes back in a later one is a straggler and changes nothing. The
//! window's cells are stamped with it too, so that a transition empties all lanes at once.
//!
//! **Settings are arguments.** The breaker keeps state, not rules: thresholds, durations and ratios
//! come with every call, and so a reload needs no step of its own. Open-until is *opened at* plus
//! the open duration of the moment.

mod exchange;
mod probes;
mod settings;
mod window;
mod word;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use exchange::{Observation, Permit, StateView, Step};
pub use settings::Settings;

use crate::lane::Lane;
use crate::outcome::{Cause, CircuitState, Reason, Rejection, Transition};
use crate::time::Instant;
use probes::Probes;
use window::{Failures, Successes};
use word::{Flags, Word};

/// One operation's breaker. Shared by all its callers.
#[derive(Debug)]
pub struct Breaker {
    /// State, flags and generation. Written under `inner` only.
    word: AtomicU64,
    /// When the state was entered, in nanoseconds. Written under `inner`, before `word`.
    changed_at: AtomicU64,
    /// The bucket in which the ratio was last judged with enough calls. Written under `inner`.
    judged_bucket: AtomicU64,
    successes: Successes,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Failures in a row.
    run: u32,
    failures: Failures,
    probes: Probes,
}

const NOT_JUDGED: u64 = u64::MAX;

impl Breaker {
    /// A closed breaker.
    pub fn new(now: Instant) -> Self {
        Self {
            word: AtomicU64::new(Word::closed(0).bits()),
            changed_at: AtomicU64::new(now.as_nanos()),
            judged_bucket: AtomicU64::new(NOT_JUDGED),
            successes: Successes::default(),
            inner: Mutex::default(),
        }
    }

    /// Asks for leave to make an attempt.
    #[inline]
    pub fn admit(&self, settings: &Settings, now: Instant) -> Step<Result<Permit, Rejection>> {
        let word = self.load();
        match word.state() {
            CircuitState::Closed => Step::quiet(Ok(Permit {
                generation: word.generation(),
            })),
            CircuitState::Open if now < self.changed_at() + settings.open_duration => {
                Step::quiet(Err(self.refusal(settings, now)))
            }
            _ => self.admit_probe(settings, now),
        }
    }

    /// Gives a permit back with what the attempt showed.
    #[inline]
    pub fn settle(
        &self,
        permit: Permit,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Option<Transition> {
        let word = self.load();
        if word.generation() != permit.generation {
            return None;
        }
        match observation {
            Observation::Good if word.is_calm() => self.record_success(settings, word, now, lane),
            Observation::Good if self.is_judged(settings, word, now) => {
                self.record_success(settings, word, now, lane);
            }
            Observation::Neutral if word.state() == CircuitState::Closed => {}
            _ => return self.settle_slowly(permit, settings, observation, now, lane),
        }
        None
    }

    /// Whether an attempt at `at` would be let through, as far as can be told now.
    pub fn would_admit(&self, settings: &Settings, at: Instant) -> bool {
        match self.load().state() {
            CircuitState::Closed => true,
            CircuitState::Open => at >= self.changed_at() + settings.open_duration,
            CircuitState::HalfOpen => {
                let inner = self.lock();
                match inner.probes.hung_since(settings, at) {
                    Some(since) => at >= since + settings.open_duration,
                    None => inner.probes.leave_room(settings),
                }
            }
        }
    }

    /// The state as of `now`: what is due is told as due.
    pub fn state_at(&self, settings: &Settings, now: Instant) -> StateView {
        // Under the lock, so that the state and its age belong together.
        let inner = self.lock();
        let (state, since) = match (self.load().state(), inner.probes.hung_since(settings, now)) {
            (CircuitState::HalfOpen, Some(since)) => (CircuitState::Open, since),
            (state, _) => (state, self.changed_at()),
        };
        let probe_due = state == CircuitState::Open && now >= since + settings.open_duration;
        StateView {
            state,
            since,
            probe_due,
        }
    }

    /// Lets new settings judge what is counted already: the next success, and the probes that have
    /// settled.
    pub fn reload(&self, settings: &Settings, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        match self.load().state() {
            CircuitState::Closed => {
                self.publish_flags(&inner, settings, now);
                // What was judged was judged by the old settings. Relaxed: see `publish_flags`.
                self.judged_bucket.store(NOT_JUDGED, Ordering::Relaxed);
                None
            }
            CircuitState::Open => None,
            CircuitState::HalfOpen => self.judge_probes(&mut inner, settings, now),
        }
    }

    /// Closes it and forgets what was counted.
    pub fn reset(&self, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let before = self.load().state();
        let transition = self.enter(&mut inner, CircuitState::Closed, Cause::Reset, now);
        (before != CircuitState::Closed).then_some(transition)
    }

    #[cold]
    fn admit_probe(&self, settings: &Settings, now: Instant) -> Step<Result<Permit, Rejection>> {
        let mut inner = self.lock();
        let overdue = self.expire(&mut inner, settings, now);
        let due = self.load().state() == CircuitState::Open
            && now >= self.changed_at() + settings.open_duration;
        let transition =
            due.then(|| self.enter(&mut inner, CircuitState::HalfOpen, Cause::OpenElapsed, now));
        let word = self.load();
        let admitted = match word.state() {
            CircuitState::Closed => true,
            CircuitState::Open => false,
            CircuitState::HalfOpen => inner.probes.take(settings, now),
        };
        let answer = if admitted {
            Ok(Permit {
                generation: word.generation(),
            })
        } else {
            Err(self.refusal(settings, now))
        };
        Step {
            answer,
            overdue,
            transition,
        }
    }

    #[cold]
    fn settle_slowly(
        &self,
        permit: Permit,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Option<Transition> {
        let mut inner = self.lock();
        let expired = self.expire(&mut inner, settings, now);
        let word = self.load();
        if word.generation() != permit.generation {
            return expired;
        }
        match word.state() {
            CircuitState::Closed => {
                self.settle_closed(&mut inner, settings, observation, now, lane)
            }
            CircuitState::HalfOpen => self.settle_probe(&mut inner, settings, observation, now),
            // No permit is ever given in this generation.
            CircuitState::Open => None,
        }
    }

    fn settle_closed(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Option<Transition> {
        let word = self.load();
        match observation {
            Observation::Good => {
                inner.run = 0;
                self.record_success(settings, word, now, lane);
            }
            Observation::Bad { in_run } => {
                inner.run = inner.run.saturating_add(u32::from(in_run));
                inner.failures.record(settings, now);
            }
            Observation::Neutral => return None,
        }
        match self.verdict(inner, settings, now) {
            Some(cause) => Some(self.enter(inner, CircuitState::Open, cause, now)),
            None => {
                self.publish_flags(inner, settings, now);
                None
            }
        }
    }

    /// Whether the closed state has seen enough.
    fn verdict(&self, inner: &Inner, settings: &Settings, now: Instant) -> Option<Cause> {
        if settings
            .consecutive_failures
            .is_some_and(|limit| inner.run >= limit)
        {
            return Some(Cause::ConsecutiveFailures(inner.run));
        }
        let ratio = settings.ratio.as_ref()?;
        let bad = inner.failures.count(settings, now);
        let total = bad + self.successes.count(ratio, self.load().generation(), now);
        let reached = total >= ratio.minimum_calls && ratio.failure_ratio.is_reached(bad, total);
        reached.then_some(Cause::FailureRatio { bad, total })
    }

    /// Tells successes whether they may take the fast path.
    fn publish_flags(&self, inner: &Inner, settings: &Settings, now: Instant) {
        let word = self.load();
        let mut flags = Flags {
            in_run: inner.run > 0,
            armed: false,
        };
        if let Some(ratio) = &settings.ratio {
            let bad = inner.failures.count(settings, now);
            let total = bad + self.successes.count(ratio, word.generation(), now);
            // Below this many failures no number of calls can reach the ratio.
            flags.armed = bad >= ratio.least_bad;
            // With enough calls counted, further successes of the same bucket only lower the ratio.
            let judged = if total >= ratio.minimum_calls {
                ratio.bucket(now)
            } else {
                NOT_JUDGED
            };
            // Relaxed: a success that misses it takes the slow path, which is always right.
            self.judged_bucket.store(judged, Ordering::Relaxed);
        }
        self.store(word.with_flags(flags));
    }

    fn settle_probe(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        observation: Observation,
        now: Instant,
    ) -> Option<Transition> {
        inner.probes.settle(observation);
        self.judge_probes(inner, settings, now)
    }

    fn judge_probes(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        now: Instant,
    ) -> Option<Transition> {
        let (state, cause) = inner.probes.verdict(settings)?;
        Some(self.enter(inner, state, cause, now))
    }

    /// A half-open state whose probes hang opens again, as of when they had hung for too long.
    fn expire(&self, inner: &mut Inner, settings: &Settings, now: Instant) -> Option<Transition> {
        let since = inner.probes.hung_since(settings, now)?;
        Some(self.enter(inner, CircuitState::Open, Cause::HalfOpenExpired, since))
    }

    /// Changes the state; all accounts start at zero.
    fn enter(&self, inner: &mut Inner, to: CircuitState, cause: Cause, now: Instant) -> Transition {
        let before = self.load();
        *inner = Inner::default();
        // Relaxed: published by the release of `word` below.
        self.changed_at.store(now.as_nanos(), Ordering::Relaxed);
        self.judged_bucket.store(NOT_JUDGED, Ordering::Relaxed);
        self.store(before.entering(to));
        Transition {
            at: now,
            from: before.state(),
            to,
            cause,
        }
    }

    fn refusal(&self, settings: &Settings, now: Instant) -> Rejection {
        let retry_after = match self.load().state() {
            CircuitState::Open => Some((self.changed_at() + settings.open_duration).since(now)),
            _ => None,
        };
        Rejection {
            reason: Reason::CircuitOpen,
            retry_after,
        }
    }

    #[inline]
    fn record_success(&self, settings: &Settings, word: Word, now: Instant, lane: Lane) {
        if let Some(ratio) = &settings.ratio {
            self.successes.record(ratio, word.generation(), now, lane);
        }
    }

    #[inline]
    fn is_judged(&self, settings: &Settings, word: Word, now: Instant) -> bool {
        word.is_only_armed()
            && settings.ratio.as_ref().is_some_and(|ratio| {
                // Relaxed: see `publish_flags`.
                self.judged_bucket.load(Ordering::Relaxed) == ratio.bucket(now)
            })
    }

    #[inline]
    fn load(&self) -> Word {
        // Acquire: whoever sees a state sees the `changed_at` that was stored before it.
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn store(&self, word: Word) {
        // Release: pairs with `load`.
        self.word.store(word.bits(), Ordering::Release);
    }

    #[inline]
    fn changed_at(&self) -> Instant {
        // Relaxed: ordered by the acquire of `word`; a later value than the state's own shifts one
        // refusal's `retry_after`, nothing else.
        Instant::from_nanos(self.changed_at.load(Ordering::Relaxed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing panics while holding it; if something did, the counts are still usable.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
