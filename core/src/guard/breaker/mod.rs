//! The circuit breaker: stops calling a dependency that fails, and finds out when it is back.
//!
//! ```text
//!        consecutive failures, failure ratio, slow-call ratio
//!   CLOSED ------------------------------------------> OPEN <-----------------+
//!   (ramp)                                              |                     |
//!     ^                                 open duration   |   the probes failed,|
//!     |                                 has elapsed,    |      or one hung    |
//!     |                                 next call       v      in time        |
//!     +-------------------------------------------- HALF_OPEN ----------------+
//!                   the probes succeeded
//! ```
//!
//! | state \ event | call | success | failure | neutral | time |
//! |---|---|---|---|---|---|
//! | CLOSED | admit; while ramping, a share | end the run | lengthen the run, may open | - | the ramp ends |
//! | OPEN | refuse until elapsed, then probe | - | - | - | due for a probe |
//! | HALF_OPEN | admit while permits last | may close | may open | permit back | opens if probes hang |
//! | forced open | refuse | as the state says | as the state says | as the state says | the override ends |
//! | forced closed | admit, the state notwithstanding | as the state says | as the state says | as the state says | the override ends |
//!
//! **Cost.** A success in the healthy closed state reads one shared word and writes its own lane
//! of the window. Everything rarer (failures, slow calls, the success that ends a run, transitions,
//! probes, the ramp) takes one mutex: there are no lock-free transitions to get wrong. A refusal
//! reads two words. A window that counts calls puts every outcome in one order, and takes the mutex
//! for each.
//!
//! **Generations.** Every transition starts a new generation. A permit carries the one it was
//! given in; an outcome that comes back in a later one is a straggler and changes nothing. The
//! window's cells are stamped with it too, so that a transition empties all lanes at once.
//!
//! **Rules in force.** What is shared follows the rules in force; what is a call's own (timeouts,
//! attempts, backoff, hedges) follows the plan the call began under. So the breaker keeps its
//! settings, and a call that began under older ones is judged, counted and let in by the present
//! ones; a [`reload`](Breaker::reload) lets them judge the old state. The one thing a caller brings
//! is the [`Trace`] of the window it knows: the word tells whether that is still the window, and a
//! success with the trace of another leaves none.

mod account;
mod counted;
mod exchange;
mod figures;
mod forced;
mod locked;
mod probes;
mod ramp;
mod settings;
mod window;
mod word;

pub use exchange::{Changes, Observation, Permit, StateView, Step};
pub use forced::{MAX_OVERRIDES, Override};
pub use settings::Settings;
pub use window::Trace;

use crate::atomics::{AtomicU64, Mutex, Ordering, lock};
use crate::lane::Lane;
use crate::outcome::{BreakerCounts, Cause, CircuitState, Forced, Reason, Rejection};
use crate::time::Instant;
use account::Inner;
use window::Successes;
use word::{Flags, Word};

/// One operation's breaker. Shared by all its callers.
#[derive(Debug)]
pub struct Breaker {
    /// State, flags and generation. Written under `inner` only, as are the next three.
    word: AtomicU64,
    /// When the state was entered, in nanoseconds. Written before `word`.
    changed_at: AtomicU64,
    /// When the open state or the deciding override ends. Written before `word`.
    ends_at: AtomicU64,
    /// When a success must judge the ratio again.
    judged_until: AtomicU64,
    successes: Successes,
    inner: Mutex<Inner>,
}

impl Breaker {
    /// A closed breaker. `seed` fixes the jitter of its open durations.
    pub fn new(settings: &Settings, seed: u64, now: Instant) -> Self {
        let flags = Flags {
            counted: settings.is_counted(),
            ..Flags::default()
        };
        let word = Word::new(0, settings.shape(), CircuitState::Closed, flags);
        Self {
            word: AtomicU64::new(word.bits()),
            changed_at: AtomicU64::new(now.as_nanos()),
            ends_at: AtomicU64::new(0),
            judged_until: AtomicU64::new(0),
            successes: Successes::default(),
            inner: Mutex::new(Inner::new(settings, seed)),
        }
    }

    /// Leave to make an attempt, if that takes no more than a look: closed, and everybody is let in.
    #[inline]
    pub fn admit_at_once(&self) -> Option<Permit> {
        let word = self.load();
        word.lets_all_in().then(|| Permit {
            generation: word.generation(),
        })
    }

    /// Whether it is closed and lets everybody in.
    #[inline]
    pub fn admits_everybody(&self) -> bool {
        self.load().lets_all_in()
    }

    /// Whether it is open of its own accord, as far as a look can tell.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.load().is_open_unforced()
    }

    /// Asks for leave to make an attempt.
    #[inline]
    pub fn admit(&self, now: Instant) -> Step<Result<Permit, Rejection>> {
        let quiet = |answer| Step {
            answer,
            changes: Changes::NONE,
        };
        match self.admit_at_once() {
            Some(permit) => quiet(Ok(permit)),
            None => match self.refuse_at_once(now) {
                Some(rejection) => quiet(Err(rejection)),
                None => self.admit_slowly(now),
            },
        }
    }

    /// The refusal of a breaker that is open for some time yet.
    #[inline]
    pub fn refuse_at_once(&self, now: Instant) -> Option<Rejection> {
        let word = self.load();
        let ends_at = self.ends_at();
        (word.is_open_unforced() && now < ends_at).then(|| Rejection {
            reason: Reason::CircuitOpen,
            retry_after: Some(ends_at.since(now)),
        })
    }

    /// Settles a success that was not slow, if that takes no more than a trace in its own lane;
    /// otherwise the answer is `false` and it wants to be [settled](Self::settle). `trace` is that
    /// of the window its caller knows; where another is in force by now, it leaves none.
    #[inline]
    pub fn settle_at_once(
        &self,
        permit: Permit,
        trace: Option<Trace>,
        now: Instant,
        lane: Lane,
    ) -> bool {
        let word = self.load();
        if word.generation() != permit.generation {
            return true;
        }
        let is_to_be_judged = !word.is_only_armed() || !self.is_judged(now);
        if !word.is_calm() && is_to_be_judged {
            return false;
        }
        if let Some(trace) = trace.filter(|trace| word.has_shape(trace.shape())) {
            let generation = word.generation();
            return self.successes.record(trace, generation, now, lane);
        }
        true
    }

    /// Gives a permit back with what the attempt showed. `trace`: see
    /// [`settle_at_once`](Self::settle_at_once).
    pub fn settle(
        &self,
        permit: Permit,
        trace: Option<Trace>,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Changes {
        let plain = observation == (Observation::Good { slow: false });
        if plain && self.settle_at_once(permit, trace, now, lane) {
            return Changes::NONE;
        }
        let word = self.load();
        let straggles = word.generation() != permit.generation;
        let says_nothing =
            observation == Observation::Neutral && word.state() == CircuitState::Closed;
        if straggles || says_nothing {
            return Changes::NONE;
        }
        self.settle_slowly(permit, observation, now, lane)
    }

    /// Whether what let an attempt in still would: its state, or the operator who forced it. If
    /// not, whoever waited since gives the permit back and asks again.
    pub fn is_current(&self, permit: Permit, now: Instant) -> bool {
        let word = self.load();
        match word.forced().filter(|_| now < self.ends_at()) {
            Some(Forced::Open) => false,
            Some(Forced::Closed) if permit == Permit::FORCED => true,
            _ => word.generation() == permit.generation,
        }
    }

    /// Whether an attempt at `at` would be let through, as far as can be told now.
    pub fn would_admit(&self, at: Instant) -> bool {
        let word = self.load();
        if word.lets_all_in() {
            return true;
        }
        let inner = lock(&self.inner);
        match (inner.overrides.in_force(at), self.load().state()) {
            (Some(known), _) => known.forced == Forced::Closed,
            (None, CircuitState::Closed) => true,
            (None, CircuitState::Open) => at >= self.open_until(&inner),
            (None, CircuitState::HalfOpen) => match inner.hung_since(at) {
                Some(since) => at >= since + inner.next_opening(),
                None => inner.account.probes.leave_room(&inner.present),
            },
        }
    }

    /// The state as of `now`: what is due is told as due.
    pub fn state_at(&self, now: Instant) -> StateView {
        // Under the lock, so that the state and its age belong together.
        let inner = lock(&self.inner);
        let word = self.load();
        let (state, since, until) = match (word.state(), inner.hung_since(now)) {
            (CircuitState::HalfOpen, Some(since)) => {
                (CircuitState::Open, since, since + inner.next_opening())
            }
            (state, _) => (state, self.changed_at(), self.open_until(&inner)),
        };
        StateView {
            state,
            since,
            probe_due: state == CircuitState::Open && now >= until,
            ramp: self.ramp(&inner, now),
            forced: inner.overrides.in_force(now),
        }
    }

    /// What it judges by at `now`.
    pub fn counts_at(&self, now: Instant) -> BreakerCounts {
        let inner = lock(&self.inner);
        let generation = self.load().generation();
        let ratio = inner.present.ratio.as_ref();
        let window = ratio.map(|ratio| self.figures(&inner, ratio, generation, now));
        let window = window.unwrap_or_default();
        BreakerCounts {
            consecutive_failures: inner.account.run,
            window_calls: window.total,
            window_failures: window.failed,
            window_slow: window.slow,
        }
    }

    /// Puts `settings` in force and lets them judge what is counted already: the next success, the
    /// probes that have settled, and how long the present open state lasts, which elapsed time stays
    /// part of.
    pub fn reload(&self, settings: &Settings, now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        inner.present = *settings;
        let changes = self.catch_up(&mut inner, now);
        // What was judged was judged by the old settings.
        self.judge_anew();
        self.publish(&inner, now);
        changes
    }

    /// Puts `overrides` in the place of those that held. The newest in force decides.
    pub fn force(&self, overrides: &[Override], now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        let before = self.acting();
        inner.overrides.replace(overrides);
        inner.overrides.end(now);
        self.publish(&inner, now);
        let mut changes = Changes::NONE;
        changes.add(self.forced_change(&mut inner, before, now));
        changes
    }

    /// Closes it and forgets what was counted.
    pub fn reset(&self, now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        let mut changes = Changes::NONE;
        changes.add(self.end_overrides(&mut inner, now));
        let closed = CircuitState::Closed;
        let transition = self.enter(&mut inner, closed, Cause::Reset, now);
        changes.add((transition.from != closed).then_some(transition));
        changes
    }

    #[inline]
    fn is_judged(&self, now: Instant) -> bool {
        // Relaxed: see `verdict`.
        now.as_nanos() < self.judged_until.load(Ordering::Relaxed)
    }

    fn judge_anew(&self) {
        // Relaxed: see `verdict`.
        self.judged_until.store(0, Ordering::Relaxed);
    }

    #[inline]
    fn load(&self) -> Word {
        // Acquire: whoever sees a state sees the `changed_at` that was stored before it.
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn changed_at(&self) -> Instant {
        // Relaxed: read under the mutex that it is written under.
        Instant::from_nanos(self.changed_at.load(Ordering::Relaxed))
    }

    #[inline]
    fn ends_at(&self) -> Instant {
        // Relaxed: ordered by the acquire of `word`; a later value than the state's own shifts one
        // refusal's `retry_after`, nothing else.
        Instant::from_nanos(self.ends_at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
