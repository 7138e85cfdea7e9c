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
//! **Settings are arguments.** The breaker keeps state, not rules: thresholds and ratios come with
//! every call. Only what depends on how a state was entered is worked out once and again at a
//! reload: how long the present open state lasts.

mod counted;
mod exchange;
mod figures;
mod forced;
mod probes;
mod settings;
mod window;
mod word;

pub use exchange::{Changes, Observation, Permit, StateView, Step};
pub use forced::{Forced, MAX_OVERRIDES, Override};
pub use settings::Settings;
pub use window::Trace;

use crate::atomics::{AtomicU64, Mutex, Ordering, lock};
use crate::lane::Lane;
use crate::outcome::{Cause, CircuitState, Reason, Rejection, Transition};
use crate::random::Random;
use crate::time::{Instant, Span};
use counted::LastCalls;
use figures::Figures;
use forced::Overrides;
use probes::Probes;
use settings::{RatioSettings, WindowSettings};
use window::{Successes, Troubles};
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

#[derive(Debug)]
struct Inner {
    /// What the present state has seen.
    account: Account,
    /// Open states in a row, with no closed one between.
    openings: u32,
    /// The present opening's jitter.
    draw: u64,
    overrides: Overrides,
    random: Random,
}

/// Starts at zero with each state.
#[derive(Debug, Default)]
struct Account {
    /// Failures in a row.
    run: u32,
    troubles: Troubles,
    last_calls: LastCalls,
    probes: Probes,
    /// What the ramp owes the next caller, in basis points of a call.
    credit: u32,
    ramping: bool,
}

/// A whole call, in basis points.
const WHOLE: u32 = 10_000;
/// What a ramp begins with.
const RAMP_FROM: u32 = 1_000;

impl Breaker {
    /// A closed breaker. `seed` fixes the jitter of its open durations.
    pub fn new(settings: &Settings, seed: u64, now: Instant) -> Self {
        let flags = Flags {
            counted: settings.is_counted(),
            ..Flags::default()
        };
        Self {
            word: AtomicU64::new(Word::new(0, CircuitState::Closed, flags).bits()),
            changed_at: AtomicU64::new(now.as_nanos()),
            ends_at: AtomicU64::new(0),
            judged_until: AtomicU64::new(0),
            successes: Successes::default(),
            inner: Mutex::new(Inner {
                account: Account::default(),
                openings: 0,
                draw: 0,
                overrides: Overrides::default(),
                random: Random::seeded(seed),
            }),
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

    /// Asks for leave to make an attempt.
    #[inline]
    pub fn admit(&self, settings: &Settings, now: Instant) -> Step<Result<Permit, Rejection>> {
        let quiet = |answer| Step {
            answer,
            changes: Changes::NONE,
        };
        match self.admit_at_once() {
            Some(permit) => quiet(Ok(permit)),
            None => match self.refuse_at_once(now) {
                Some(rejection) => quiet(Err(rejection)),
                None => self.admit_slowly(settings, now),
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
    /// otherwise the answer is `false` and it wants to be [settled](Self::settle).
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
        if !word.is_calm() && !(word.is_only_armed() && self.is_judged(now)) {
            return false;
        }
        if let Some(trace) = trace {
            self.successes.record(trace, word.generation(), now, lane);
        }
        true
    }

    /// Gives a permit back with what the attempt showed.
    pub fn settle(
        &self,
        permit: Permit,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Changes {
        let plain = observation == (Observation::Good { slow: false });
        if plain && self.settle_at_once(permit, settings.trace(), now, lane) {
            return Changes::NONE;
        }
        let word = self.load();
        let straggles = word.generation() != permit.generation;
        let says_nothing =
            observation == Observation::Neutral && word.state() == CircuitState::Closed;
        if straggles || says_nothing {
            return Changes::NONE;
        }
        self.settle_slowly(permit, settings, observation, now, lane)
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
    pub fn would_admit(&self, settings: &Settings, at: Instant) -> bool {
        let word = self.load();
        if word.lets_all_in() {
            return true;
        }
        let inner = lock(&self.inner);
        match (inner.overrides.in_force(at), self.load().state()) {
            (Some(known), _) => known.forced == Forced::Closed,
            (None, CircuitState::Closed) => true,
            (None, CircuitState::Open) => at >= self.open_until(&inner, settings),
            (None, CircuitState::HalfOpen) => match inner.account.probes.hung_since(settings, at) {
                Some(since) => at >= since + settings.opening.length(inner.openings + 1, 0),
                None => inner.account.probes.leave_room(settings),
            },
        }
    }

    /// The state as of `now`: what is due is told as due.
    pub fn state_at(&self, settings: &Settings, now: Instant) -> StateView {
        // Under the lock, so that the state and its age belong together.
        let inner = lock(&self.inner);
        let word = self.load();
        let hung = inner.account.probes.hung_since(settings, now);
        let (state, since, until) = match (word.state(), hung) {
            (CircuitState::HalfOpen, Some(since)) => {
                let length = settings.opening.length(inner.openings + 1, 0);
                (CircuitState::Open, since, since + length)
            }
            (state, _) => (state, self.changed_at(), self.open_until(&inner, settings)),
        };
        StateView {
            state,
            since,
            probe_due: state == CircuitState::Open && now >= until,
            ramp: self.ramp(&inner, settings, now),
            forced: inner.overrides.in_force(now),
        }
    }

    /// Lets new settings judge what is counted already: the next success, the probes that have
    /// settled, and how long the present open state lasts, which elapsed time stays part of.
    pub fn reload(&self, settings: &Settings, now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        let mut changes = Changes::NONE;
        match self.load().state() {
            // What was judged was judged by the old settings.
            CircuitState::Closed => self.judge_anew(),
            CircuitState::Open => {}
            CircuitState::HalfOpen => {
                changes.add(self.judge_probes(&mut inner, settings, now));
            }
        }
        self.publish(&inner, settings, now);
        changes
    }

    /// Puts `overrides` in the place of those that held. The newest in force decides.
    pub fn force(&self, settings: &Settings, overrides: &[Override], now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        let before = self.acting();
        inner.overrides.replace(overrides);
        self.publish(&inner, settings, now);
        let mut changes = Changes::NONE;
        changes.add(self.forced_change(before, now));
        changes
    }

    /// Closes it and forgets what was counted.
    pub fn reset(&self, settings: &Settings, now: Instant) -> Changes {
        let mut inner = lock(&self.inner);
        let before = self.load().state();
        let transition = self.enter(
            &mut inner,
            settings,
            CircuitState::Closed,
            Cause::Reset,
            now,
        );
        let mut changes = Changes::NONE;
        changes.add((before != CircuitState::Closed).then_some(transition));
        changes
    }

    #[cold]
    fn admit_slowly(&self, settings: &Settings, now: Instant) -> Step<Result<Permit, Rejection>> {
        let mut inner = lock(&self.inner);
        let mut changes = self.catch_up(&mut inner, settings, now);
        let answer = match inner.overrides.in_force(now) {
            Some(known) if known.forced == Forced::Open => Err(Rejection {
                reason: Reason::ForcedOpen,
                retry_after: (known.until < Instant::NEVER).then(|| known.until.since(now)),
            }),
            // The breaker's own opinion is asked all the same: what it lets through it counts.
            Some(_) => Ok(self
                .admit_as_state_says(&mut inner, settings, now, &mut changes)
                .unwrap_or(Permit::FORCED)),
            None => self.admit_as_state_says(&mut inner, settings, now, &mut changes),
        };
        Step { answer, changes }
    }

    fn admit_as_state_says(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        now: Instant,
        changes: &mut Changes,
    ) -> Result<Permit, Rejection> {
        if self.load().state() == CircuitState::Open && now >= self.open_until(inner, settings) {
            let to = CircuitState::HalfOpen;
            changes.add(self.enter(inner, settings, to, Cause::OpenElapsed, now));
        }
        let word = self.load();
        let refused = |reason, retry_after| {
            Err(Rejection {
                reason,
                retry_after,
            })
        };
        match word.state() {
            CircuitState::Open => {
                let left = self.open_until(inner, settings).since(now);
                return refused(Reason::CircuitOpen, Some(left));
            }
            CircuitState::HalfOpen if !inner.account.probes.take(settings, now) => {
                return refused(Reason::CircuitOpen, None);
            }
            CircuitState::Closed if !self.ramp_lets_in(inner, settings, now) => {
                return refused(Reason::Recovering, None);
            }
            CircuitState::Closed | CircuitState::HalfOpen => {}
        }
        Ok(Permit {
            generation: word.generation(),
        })
    }

    /// Whether this caller belongs to the share that the ramp lets in: each adds the share, and
    /// whoever completes a whole call goes.
    fn ramp_lets_in(&self, inner: &mut Inner, settings: &Settings, now: Instant) -> bool {
        let Some(share) = self.ramp(inner, settings, now) else {
            if std::mem::take(&mut inner.account.ramping) {
                self.publish(inner, settings, now);
            }
            return true;
        };
        inner.account.credit += share;
        let whole = inner.account.credit >= WHOLE;
        if whole {
            inner.account.credit -= WHOLE;
        }
        whole
    }

    /// The share let in: from a tenth to all, linear over the ramp. `None` once it is over.
    fn ramp(&self, inner: &Inner, settings: &Settings, now: Instant) -> Option<u32> {
        let (elapsed, whole) = (now.span_since(self.changed_at()), settings.ramp);
        if !inner.account.ramping || elapsed >= whole {
            return None;
        }
        let grown = u128::from(WHOLE - RAMP_FROM) * u128::from(elapsed.as_nanos())
            / u128::from(whole.as_nanos());
        // Below WHOLE, because `elapsed` is below `whole`.
        Some(RAMP_FROM + u32::try_from(grown).unwrap_or(0))
    }

    #[cold]
    fn settle_slowly(
        &self,
        permit: Permit,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Changes {
        let mut inner = lock(&self.inner);
        let mut changes = self.catch_up(&mut inner, settings, now);
        let word = self.load();
        if word.generation() != permit.generation {
            return changes;
        }
        changes.add(match word.state() {
            CircuitState::Closed => {
                self.settle_closed(&mut inner, settings, observation, now, lane)
            }
            CircuitState::HalfOpen => {
                inner.account.probes.settle(observation);
                self.judge_probes(&mut inner, settings, now)
            }
            // No permit is ever given in this generation.
            CircuitState::Open => None,
        });
        changes
    }

    fn settle_closed(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Option<Transition> {
        let (failed, slow) = match observation {
            Observation::Good { slow } => {
                inner.account.run = 0;
                (false, slow)
            }
            Observation::Bad { slow, in_run } => {
                let run = &mut inner.account.run;
                *run = run.saturating_add(in_run.into());
                (true, slow)
            }
            Observation::Neutral => return None,
        };
        self.record(inner, settings, failed, slow, now, lane);
        let cause = self.verdict(inner, settings, now);
        if cause.is_none() {
            self.publish(inner, settings, now);
        }
        let open = CircuitState::Open;
        cause.map(|cause| self.enter(inner, settings, open, cause, now))
    }

    fn record(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        failed: bool,
        slow: bool,
        now: Instant,
        lane: Lane,
    ) {
        let Some(ratio) = &settings.ratio else {
            return;
        };
        let account = &mut inner.account;
        match ratio.window {
            WindowSettings::Count(size) => {
                account.last_calls.record(size, ratio.shape, failed, slow);
            }
            WindowSettings::Time(trace) if failed || slow => {
                account.troubles.record(trace, failed, slow, now);
            }
            WindowSettings::Time(trace) => {
                let generation = self.load().generation();
                self.successes.record(trace, generation, now, lane);
            }
        }
    }

    /// Whether the closed state has seen enough.
    fn verdict(&self, inner: &Inner, settings: &Settings, now: Instant) -> Option<Cause> {
        let run = inner.account.run;
        if settings
            .consecutive_failures
            .is_some_and(|limit| run >= limit)
        {
            return Some(Cause::ConsecutiveFailures(run));
        }
        let ratio = settings.ratio.as_ref()?;
        let generation = self.load().generation();
        let figures = self.figures(inner, ratio, generation, now);
        // With enough calls counted, further successes of the same bucket only lower the ratio.
        let trace = ratio.trace().filter(|_| figures.suffice(ratio));
        let until = trace.map_or(Instant::ORIGIN, |trace| trace.bucket_end(now));
        // Relaxed: a success that misses it takes the slow path, which is always right.
        self.judged_until.store(until.as_nanos(), Ordering::Relaxed);
        figures.verdict(ratio)
    }

    /// What the window holds.
    fn figures(
        &self,
        inner: &Inner,
        ratio: &RatioSettings,
        generation: u64,
        now: Instant,
    ) -> Figures {
        match ratio.window {
            WindowSettings::Time(trace) => {
                let mut figures = inner.account.troubles.figures(trace, now);
                figures.total += self.successes.count(trace, generation, now);
                figures
            }
            WindowSettings::Count(size) => inner.account.last_calls.figures(size, ratio.shape),
        }
    }

    /// Tells callers what they must look out for.
    fn publish(&self, inner: &Inner, settings: &Settings, now: Instant) {
        let word = self.load();
        self.publish_state(word.generation(), word.state(), inner, settings, now);
    }

    /// In one store, so that nobody sees a state without its flags.
    fn publish_state(
        &self,
        generation: u64,
        state: CircuitState,
        inner: &Inner,
        settings: &Settings,
        now: Instant,
    ) {
        let forced = inner.overrides.in_force(now);
        let closed = state == CircuitState::Closed;
        let mut flags = Flags {
            in_run: closed && inner.account.run > 0,
            armed: false,
            ramping: inner.account.ramping,
            counted: settings.is_counted(),
            forced: forced.map(|known| known.forced),
        };
        if let Some(ratio) = settings.ratio.as_ref().filter(|_| closed) {
            flags.armed = self.figures(inner, ratio, generation, now).arm(ratio);
        }
        let ends_at = match forced {
            Some(known) => known.until,
            None => self.open_until(inner, settings),
        };
        // Relaxed: published by the release of `word`.
        self.ends_at.store(ends_at.as_nanos(), Ordering::Relaxed);
        // Release: pairs with `load`.
        let word = Word::new(generation, state, flags);
        self.word.store(word.bits(), Ordering::Release);
    }

    fn judge_probes(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        now: Instant,
    ) -> Option<Transition> {
        let (state, cause) = inner.account.probes.verdict(settings)?;
        Some(self.enter(inner, settings, state, cause, now))
    }

    /// Does what has been due: an override that has ended, probes that hang.
    fn catch_up(&self, inner: &mut Inner, settings: &Settings, now: Instant) -> Changes {
        let mut changes = Changes::NONE;
        if self.load().forced() != inner.overrides.in_force(now).map(|known| known.forced) {
            let before = self.acting();
            self.publish(inner, settings, now);
            changes.add(self.forced_change(before, now));
        }
        // A half-open state opens again as of when its probes had hung for too long.
        if let Some(since) = inner.account.probes.hung_since(settings, now) {
            let cause = Cause::HalfOpenExpired;
            changes.add(self.enter(inner, settings, CircuitState::Open, cause, since));
        }
        changes
    }

    /// Changes the state; all accounts start at zero.
    fn enter(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        to: CircuitState,
        cause: Cause,
        now: Instant,
    ) -> Transition {
        let before = self.load();
        let recovered = cause == Cause::ProbesSucceeded && settings.ramp > Span::ZERO;
        inner.account = Account {
            ramping: recovered,
            // The first caller after recovery goes.
            credit: WHOLE - RAMP_FROM,
            ..Account::default()
        };
        match to {
            CircuitState::Closed => inner.openings = 0,
            CircuitState::Open => {
                inner.openings = inner.openings.saturating_add(1);
                inner.draw = inner.random.draw();
            }
            CircuitState::HalfOpen => {}
        }
        // Relaxed: published by the release of `word`.
        self.changed_at.store(now.as_nanos(), Ordering::Relaxed);
        self.judge_anew();
        self.publish_state(before.generation() + 1, to, inner, settings, now);
        Transition {
            at: now,
            from: before.state(),
            to,
            cause,
        }
    }

    /// When the present open state ends.
    fn open_until(&self, inner: &Inner, settings: &Settings) -> Instant {
        self.changed_at() + settings.opening.length(inner.openings, inner.draw)
    }

    /// The state that callers met until now.
    fn acting(&self) -> CircuitState {
        let word = self.load();
        word.forced().map_or(word.state(), Forced::as_state)
    }

    /// What an override's beginning or end changed for callers.
    fn forced_change(&self, before: CircuitState, now: Instant) -> Option<Transition> {
        let after = self.acting();
        let cause = match self.load().forced() {
            Some(_) => Cause::Forced,
            None => Cause::Released,
        };
        (before != after).then_some(Transition {
            at: now,
            from: before,
            to: after,
            cause,
        })
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
