//! What a breaker does under its mutex: everything rarer than a success while all is well.
//!
//! Transitions are made here and nowhere else, by [`enter`](Breaker::enter): it starts all accounts
//! at zero and publishes state, generation and flags in one store. What is due (an override that
//! has ended, probes that hang or have settled) is done by whoever comes first, before anything else.

use super::Breaker;
use super::account::{Account, Inner};
use super::exchange::{Changes, Observation, Permit, Step};
use super::figures::Figures;
use super::ramp::Ramp;
use super::settings::{RatioSettings, WindowSettings};
use super::word::{Flags, Word};
use crate::atomics::{Ordering, lock};
use crate::lane::Lane;
use crate::outcome::{Cause, CircuitState, Forced, Reason, Rejection, Transition};
use crate::time::{Instant, Span};

impl Breaker {
    #[cold]
    pub(super) fn admit_slowly(&self, now: Instant) -> Step<Result<Permit, Rejection>> {
        let mut inner = lock(&self.inner);
        let mut changes = self.catch_up(&mut inner, now);
        let answer = match inner.overrides.in_force(now) {
            Some(known) if known.forced == Forced::Open => Err(Rejection {
                reason: Reason::ForcedOpen,
                retry_after: (known.until < Instant::NEVER).then(|| known.until.since(now)),
            }),
            // The breaker's own opinion is asked all the same: what it lets through it counts.
            Some(_) => Ok(self
                .admit_as_state_says(&mut inner, now, &mut changes)
                .unwrap_or(Permit::FORCED)),
            None => self.admit_as_state_says(&mut inner, now, &mut changes),
        };
        Step { answer, changes }
    }

    fn admit_as_state_says(
        &self,
        inner: &mut Inner,
        now: Instant,
        changes: &mut Changes,
    ) -> Result<Permit, Rejection> {
        if self.load().state() == CircuitState::Open && now >= self.open_until(inner) {
            let to = CircuitState::HalfOpen;
            changes.add(self.enter(inner, to, Cause::OpenElapsed, now));
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
                let left = self.open_until(inner).since(now);
                return refused(Reason::CircuitOpen, Some(left));
            }
            CircuitState::HalfOpen if !inner.let_probe_out(now) => {
                return refused(Reason::CircuitOpen, None);
            }
            CircuitState::Closed if !self.ramp_lets_in(inner, now) => {
                return refused(Reason::Recovering, None);
            }
            CircuitState::Closed | CircuitState::HalfOpen => {}
        }
        Ok(Permit {
            generation: word.generation(),
        })
    }

    /// Whether this caller belongs to the share that the ramp lets in.
    fn ramp_lets_in(&self, inner: &mut Inner, now: Instant) -> bool {
        if let Some(share) = self.ramp(inner, now) {
            return inner.account.ramp.admits(share);
        }
        if inner.account.ramp.end() {
            self.publish(inner, now);
        }
        true
    }

    /// The share let in, while the ramp lasts.
    pub(super) fn ramp(&self, inner: &Inner, now: Instant) -> Option<u32> {
        let elapsed = now.span_since(self.changed_at());
        inner.account.ramp.share(elapsed, inner.present.ramp)
    }

    #[cold]
    pub(super) fn settle_slowly(
        &self,
        permit: Permit,
        observation: Observation,
        now: Instant,
        lane: Lane,
    ) -> Changes {
        let mut inner = lock(&self.inner);
        let mut changes = self.catch_up(&mut inner, now);
        let word = self.load();
        if word.generation() != permit.generation {
            return changes;
        }
        changes.add(match word.state() {
            CircuitState::Closed => self.settle_closed(&mut inner, observation, now, lane),
            CircuitState::HalfOpen => {
                inner.account.probes.settle(observation);
                self.judge_probes(&mut inner, now)
            }
            // No permit is ever given in this generation.
            CircuitState::Open => None,
        });
        changes
    }

    fn settle_closed(
        &self,
        inner: &mut Inner,
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
        self.record(inner, failed, slow, now, lane);
        let cause = self.verdict(inner, now);
        if cause.is_none() {
            self.publish(inner, now);
        }
        let open = CircuitState::Open;
        cause.map(|cause| self.enter(inner, open, cause, now))
    }

    fn record(&self, inner: &mut Inner, failed: bool, slow: bool, now: Instant, lane: Lane) {
        let Some(ratio) = &inner.present.ratio else {
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
                if !self.successes.record(trace, generation, now, lane) {
                    let moved = self.successes.empty(trace, generation, now, lane);
                    // This one among them.
                    let successes = moved + 1;
                    account.troubles.add_successes(trace, successes, now);
                }
            }
        }
    }

    /// Whether the closed state has seen enough.
    fn verdict(&self, inner: &Inner, now: Instant) -> Option<Cause> {
        let (run, settings) = (inner.account.run, &inner.present);
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
    pub(super) fn figures(
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
    pub(super) fn publish(&self, inner: &Inner, now: Instant) {
        let word = self.load();
        self.publish_state(word.generation(), word.state(), inner, now);
    }

    /// In one store, so that nobody sees a state without its flags.
    fn publish_state(&self, generation: u64, state: CircuitState, inner: &Inner, now: Instant) {
        let settings = &inner.present;
        let forced = inner.overrides.in_force(now);
        let closed = state == CircuitState::Closed;
        let mut flags = Flags {
            in_run: closed && inner.account.run > 0,
            armed: false,
            ramping: inner.account.ramp.is_on(),
            counted: settings.is_counted(),
            forced: forced.map(|known| known.forced),
        };
        if let Some(ratio) = settings.ratio.as_ref().filter(|_| closed) {
            flags.armed = self.figures(inner, ratio, generation, now).arm(ratio);
        }
        let ends_at = match forced {
            Some(known) => known.until,
            None => self.open_until(inner),
        };
        // Relaxed: published by the release of `word`.
        self.ends_at.store(ends_at.as_nanos(), Ordering::Relaxed);
        // Release: pairs with `load`.
        let word = Word::new(generation, settings.shape(), state, flags);
        self.word.store(word.bits(), Ordering::Release);
    }

    fn judge_probes(&self, inner: &mut Inner, now: Instant) -> Option<Transition> {
        let (state, cause) = inner.account.probes.verdict(&inner.present)?;
        Some(self.enter(inner, state, cause, now))
    }

    /// Does what has been due: an override that has ended, probes that hang, probes that suffice by
    /// rules that came after they had settled.
    pub(super) fn catch_up(&self, inner: &mut Inner, now: Instant) -> Changes {
        let mut changes = Changes::NONE;
        changes.add(self.end_overrides(inner, now));
        // A half-open state opens again as of when its probes had hung for too long.
        if let Some(since) = inner.hung_since(now) {
            let cause = Cause::HalfOpenExpired;
            changes.add(self.enter(inner, CircuitState::Open, cause, since));
        } else if self.load().state() == CircuitState::HalfOpen {
            changes.add(self.judge_probes(inner, now));
        }
        changes
    }

    pub(super) fn end_overrides(&self, inner: &mut Inner, now: Instant) -> Option<Transition> {
        if !inner.overrides.end(now) {
            return None;
        }
        let before = self.acting();
        self.publish(inner, now);
        self.forced_change(inner, before, now)
    }

    /// Changes the state; all accounts start at zero.
    pub(super) fn enter(
        &self,
        inner: &mut Inner,
        to: CircuitState,
        cause: Cause,
        now: Instant,
    ) -> Transition {
        let before = self.load();
        let recovered = cause == Cause::ProbesSucceeded && inner.present.ramp > Span::ZERO;
        inner.account = Account {
            ramp: if recovered {
                Ramp::begin()
            } else {
                Ramp::default()
            },
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
        self.publish_state(before.generation() + 1, to, inner, now);
        Transition {
            at: now,
            from: before.state(),
            to,
            cause,
        }
    }

    /// When the present open state ends.
    pub(super) fn open_until(&self, inner: &Inner) -> Instant {
        let opening = &inner.present.opening;
        self.changed_at() + opening.length(inner.openings, inner.draw)
    }

    /// The state that callers met until now.
    pub(super) fn acting(&self) -> CircuitState {
        let word = self.load();
        word.forced().map_or(word.state(), Forced::as_state)
    }

    /// What an override's beginning or end changed for callers.
    pub(super) fn forced_change(
        &self,
        inner: &mut Inner,
        before: CircuitState,
        now: Instant,
    ) -> Option<Transition> {
        let after = self.acting();
        let decides = inner.overrides.in_force(now).map(|known| known.id);
        let decided = std::mem::replace(&mut inner.decides, decides);
        let cause = match decides {
            Some(by) => Cause::Forced { by },
            None => Cause::Released { by: decided? },
        };
        (before != after).then_some(Transition {
            at: now,
            from: before,
            to: after,
            cause,
        })
    }
}
