//! Rules as a script writes them: `key=value`, one table.

use std::collections::BTreeSet;
use std::time::Duration;

use fusebox_core::key::Kind;
use fusebox_core::policy::Violations;
use fusebox_core::policy::defaults;
use fusebox_core::policy::ratio::{Multiplier, OutOfRange, Ratio, Share};
use fusebox_core::policy::rules::{
    BulkheadLimit, ConcurrencyBounds, HalfOpen, HedgeTrigger, Hedging, Jitter, Mode, Quota,
    RatioTrip, RetryBudget, Rules, Trip, Window,
};

use super::amount::{duration, fraction, number, per};
use super::script::Found;

/// What somebody says of an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) rules: Rules,
    /// What is wrong with it.
    pub(super) violations: Violations,
    pub(super) kind: Kind,
    pub(super) idempotent: Option<bool>,
}

impl Said {
    /// Itself, if nothing is wrong with it.
    pub(super) fn legal(self) -> Result<Self, String> {
        let violations = self.violations.clone();
        violations
            .into_result(self)
            .map_err(|violations| violations.to_string())
    }

    /// Whether it is legal; if not, every field that is wrong.
    pub(super) fn judged(&self) -> Found {
        let found = Found::default();
        if self.violations.is_empty() {
            return found.word("valid");
        }
        let fields = self.violations.iter().map(|violation| &violation.field);
        fields.fold(found.word("invalid"), Found::word)
    }
}

/// Rules, and the parts of groups that are not whole yet.
#[derive(Default)]
struct Draft {
    said: Said,
    seen: BTreeSet<String>,
    window: Option<Window>,
    failure_ratio: Option<Ratio>,
    slow_ratio: Option<Ratio>,
    minimum: Option<u32>,
    shadow: bool,
}

/// Reads `words`, each `key=value`.
pub(super) fn read(words: &[&str]) -> Result<Said, String> {
    let mut draft = Draft::default();
    for word in words {
        let expected = || format!("expected a rule such as open=5s, found `{word}`");
        let (key, value) = word.split_once('=').ok_or_else(expected)?;
        if !draft.seen.insert(key.to_owned()) {
            return Err(format!("`{key}` is said twice"));
        }
        draft.set(key, value)?;
    }
    draft.finish()
}

impl Draft {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let rules = &mut self.said.rules;
        match key {
            "kind" => self.said.kind = kind(value)?,
            "idempotent" => self.said.idempotent = Some(yes(value)?),
            "enabled" => rules.enabled = Some(yes(value)?),
            "timeout" => rules.timeout.attempt = Some(duration(value)?),
            "overall" => rules.timeout.overall = Some(duration(value)?),
            "attempts" => rules.retry.max_attempts = Some(number(value)?),
            "base" => rules.retry.base_delay = Some(duration(value)?),
            "max" => rules.retry.max_delay = Some(duration(value)?),
            "jitter" => rules.retry.jitter = Some(jitter(value)?),
            "hints" => rules.retry.honor_retry_after = Some(yes(value)?),
            "floor" => self.budget().min_per_second = floor(value)?,
            "consecutive_failures" => self.trip().consecutive_failures = Some(number(value)?),
            "slow" => self.trip().slow_call_threshold = Some(duration(value)?),
            "window" => self.window = Some(window(value)?),
            "minimum" => self.minimum = Some(number(value)?),
            "open" => rules.circuit_breaker.open_duration = Some(duration(value)?),
            "max_open" => rules.circuit_breaker.max_open_duration = Some(duration(value)?),
            "ramp" => rules.circuit_breaker.recovery_ramp = Some(duration(value)?),
            "permits" => self.half_open().permits = number(value)?,
            "successes" => self.half_open().successes = Some(number(value)?),
            "max_half_open" => self.half_open().max = Some(duration(value)?),
            "bulkhead" => self.bulkhead().max_concurrent = number(value)?,
            "queue" => self.bulkhead().max_queue = number(value)?,
            "queue_wait" => self.bulkhead().max_wait = duration(value)?,
            "rate" => {
                let (permits, span) = per(value)?;
                let quota = self.quota();
                (quota.permits, quota.per, quota.burst) =
                    (permits, span, Quota::default_burst(permits));
            }
            "burst" => self.quota().burst = number(value)?,
            "rate_wait" => self.quota().max_wait = duration(value)?,
            "concurrency" => rules.concurrency_limit.bounds = Some(bounds(value)?),
            "max_hedges" => self.hedging().max_hedges = number(value)?,
            "mode" => self.shadow = shadow(value)?,
            _ => return self.set_fraction(key, value),
        }
        Ok(())
    }

    /// Numbers that have a range by their type.
    fn set_fraction(&mut self, key: &str, value: &str) -> Result<(), String> {
        let breaker = "rules.circuit_breaker";
        match key {
            "multiplier" => {
                let factor = self.keep("rules.retry.multiplier", value, Multiplier::new)?;
                self.said.rules.retry.multiplier = factor;
            }
            "budget" => {
                let share = self.keep("rules.retry.budget.ratio", value, Share::new)?;
                self.budget().ratio = share.unwrap_or(Share::ZERO);
            }
            "ratio" => {
                let field = format!("{breaker}.failure_ratio");
                self.failure_ratio = self.keep(&field, value, Ratio::new)?;
            }
            "slow_ratio" => {
                let field = format!("{breaker}.slow_call_ratio");
                self.slow_ratio = self.keep(&field, value, Ratio::new)?;
            }
            "open_multiplier" => {
                let field = format!("{breaker}.open_multiplier");
                let factor = self.keep(&field, value, Multiplier::new)?;
                self.said.rules.circuit_breaker.open_multiplier = factor;
            }
            "open_jitter" => {
                let field = format!("{breaker}.open_jitter");
                let share = self.keep(&field, value, Share::new)?;
                self.said.rules.circuit_breaker.open_jitter = share;
            }
            "hedge" => self.set_hedge(value)?,
            _ => return Err(format!("there is no rule `{key}`")),
        }
        Ok(())
    }

    fn set_hedge(&mut self, value: &str) -> Result<(), String> {
        self.hedging().trigger = match value.strip_prefix('p') {
            None => HedgeTrigger::Delay(duration(value)?),
            Some(percent) => {
                let percent = format!("{percent}%");
                let share = self.keep("rules.hedge.percentile", &percent, Ratio::new)?;
                HedgeTrigger::Percentile(share.unwrap_or(Ratio::ONE))
            }
        };
        Ok(())
    }

    /// What `new` makes of a fraction; what it refuses is a violation, not a mistake.
    fn keep<T>(
        &mut self,
        field: &str,
        value: &str,
        new: impl FnOnce(f64) -> Result<T, OutOfRange>,
    ) -> Result<Option<T>, String> {
        let made = new(fraction(value)?);
        Ok(self.said.violations.keep(field, value, made))
    }

    fn finish(mut self) -> Result<Said, String> {
        self.finish_ratio()?;
        if self.shadow {
            self.said.rules = tried_out(self.said.rules);
        }
        self.said.violations.extend(self.said.rules.violations());
        Ok(self.said)
    }

    fn finish_ratio(&mut self) -> Result<(), String> {
        let parts = ["ratio", "slow_ratio", "minimum"];
        let Some(window) = self.window else {
            return match parts.iter().find(|part| self.seen.contains(**part)) {
                Some(part) => Err(format!("`{part}` needs `window` beside it")),
                None => Ok(()),
            };
        };
        let ratio = RatioTrip {
            window,
            failure_ratio: self.failure_ratio,
            slow_call_ratio: self.slow_ratio,
            minimum_calls: self
                .minimum
                .unwrap_or_else(|| window.default_minimum_calls()),
        };
        // A ratio that is none has been told already.
        if self.said.violations.is_empty() {
            self.trip().ratio = Some(ratio);
        }
        Ok(())
    }

    fn budget(&mut self) -> &mut RetryBudget {
        self.said.rules.retry.budget.get_or_insert(defaults::BUDGET)
    }

    fn trip(&mut self) -> &mut Trip {
        self.said.rules.circuit_breaker.trip.get_or_insert_default()
    }

    fn half_open(&mut self) -> &mut HalfOpen {
        let group = &mut self.said.rules.circuit_breaker.half_open;
        group.get_or_insert(HalfOpen {
            permits: defaults::HALF_OPEN_PERMITS,
            successes: None,
            max: None,
        })
    }

    fn bulkhead(&mut self) -> &mut BulkheadLimit {
        self.said.rules.bulkhead.limit.get_or_insert(BulkheadLimit {
            max_concurrent: 1,
            max_queue: 0,
            max_wait: Duration::ZERO,
        })
    }

    fn quota(&mut self) -> &mut Quota {
        self.said.rules.rate_limit.quota.get_or_insert(Quota {
            permits: 1,
            per: Duration::from_secs(1),
            burst: 1,
            max_wait: Duration::ZERO,
        })
    }

    fn hedging(&mut self) -> &mut Hedging {
        self.said.rules.hedge.plan.get_or_insert(Hedging {
            trigger: HedgeTrigger::Delay(Duration::ZERO),
            max_hedges: defaults::MAX_HEDGES,
        })
    }
}

/// Every section that can refuse, where something is said of it, in shadow mode.
fn tried_out(mut rules: Rules) -> Rules {
    let nothing = Rules::default();
    let mode = |is_set: bool| is_set.then_some(Mode::Shadow);
    rules.circuit_breaker.mode = mode(rules.circuit_breaker != nothing.circuit_breaker);
    rules.bulkhead.mode = mode(rules.bulkhead != nothing.bulkhead);
    rules.rate_limit.mode = mode(rules.rate_limit != nothing.rate_limit);
    rules.concurrency_limit.mode = mode(rules.concurrency_limit != nothing.concurrency_limit);
    rules
}

fn kind(value: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == value);
    known.ok_or_else(|| format!("there is no kind `{value}`"))
}

fn yes(value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("expected yes or no, found `{value}`")),
    }
}

fn jitter(value: &str) -> Result<Jitter, String> {
    match value {
        "full" => Ok(Jitter::Full),
        "equal" => Ok(Jitter::Equal),
        "none" => Ok(Jitter::None),
        _ => Err(format!("expected full, equal or none, found `{value}`")),
    }
}

fn shadow(value: &str) -> Result<bool, String> {
    match value {
        "shadow" => Ok(true),
        "enforce" => Ok(false),
        _ => Err(format!("expected shadow or enforce, found `{value}`")),
    }
}

/// A time, or a number of calls.
fn window(value: &str) -> Result<Window, String> {
    number(value)
        .map(Window::Calls)
        .or_else(|_| duration(value).map(Window::Span))
}

fn floor(value: &str) -> Result<u32, String> {
    match per(value)? {
        (many, time) if time == Duration::from_secs(1) => Ok(many),
        _ => Err(format!("expected so many a second, found `{value}`")),
    }
}

fn bounds(value: &str) -> Result<ConcurrencyBounds, String> {
    let expected = || format!("expected a range such as 1..100, found `{value}`");
    let (min, max) = value.split_once("..").ok_or_else(expected)?;
    Ok(ConcurrencyBounds {
        min: number(min)?,
        max: number(max)?,
    })
}
