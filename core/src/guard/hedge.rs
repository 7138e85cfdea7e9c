//! When to ask a second time without waiting for the first answer.
//!
//! A hedge is another attempt beside one that is slow (Dean and Barroso, *The Tail at Scale*, CACM
//! 2013): the first success wins, the others are dropped. Only for operations that may be repeated,
//! only while the breaker is closed, within the call's attempts and paid from the retry budget.
//!
//! The delay is given, or a percentile of what the operation was seen to take; as long as too
//! little was seen there is none.

use crate::policy::ratio::Ratio;
use crate::policy::rules::{HedgeTrigger, Hedging};
use crate::time::{Instant, Span};

/// Samples below which no percentile is believed.
pub const MINIMUM_SAMPLES: u64 = 100;

/// A hedging rule, compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeSettings {
    trigger: Trigger,
    /// Hedges beside one first attempt.
    pub max_hedges: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Delay(Span),
    Percentile(Ratio),
}

impl HedgeSettings {
    /// Compiles a rule.
    pub fn compile(hedging: &Hedging) -> Self {
        let trigger = match hedging.trigger {
            HedgeTrigger::Delay(delay) => Trigger::Delay(delay.into()),
            HedgeTrigger::Percentile(share) => Trigger::Percentile(share),
        };
        Self {
            trigger,
            max_hedges: hedging.max_hedges,
        }
    }

    /// The share of calls whose latency is the delay; `None` if the delay is given.
    pub const fn percentile(&self) -> Option<Ratio> {
        match self.trigger {
            Trigger::Delay(_) => None,
            Trigger::Percentile(share) => Some(share),
        }
    }

    /// When hedge `number` (from 1) is due beside an attempt that began at `began`: one delay after
    /// the one before. `observed` is the latency at [`percentile`](Self::percentile), if enough was
    /// seen to tell.
    pub fn due(&self, number: u32, began: Instant, observed: Option<Span>) -> Option<Instant> {
        if number > self.max_hedges {
            return None;
        }
        let delay = match self.trigger {
            Trigger::Delay(delay) => delay,
            Trigger::Percentile(_) => observed?,
        };
        Some(began + Span::from_nanos(delay.as_nanos().saturating_mul(number.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hedging(trigger: HedgeTrigger, max_hedges: u32) -> HedgeSettings {
        HedgeSettings::compile(&Hedging {
            trigger,
            max_hedges,
        })
    }

    #[test]
    fn hedges_follow_each_other_by_the_delay_and_end_at_their_number() {
        let settings = hedging(HedgeTrigger::Delay(Duration::from_nanos(7)), 2);
        let due = |number| settings.due(number, Instant::from_nanos(100), None);
        assert_eq!(due(1), Some(Instant::from_nanos(107)));
        assert_eq!(due(2), Some(Instant::from_nanos(114)));
        assert_eq!(due(3), None);
    }

    #[test]
    fn without_a_delay_all_are_due_at_once() {
        let settings = hedging(HedgeTrigger::Delay(Duration::ZERO), 3);
        let began = Instant::from_nanos(5);
        assert!((1..=3).all(|number| settings.due(number, began, None) == Some(began)));
    }

    #[test]
    fn a_percentile_hedges_nothing_until_it_has_samples() {
        let share = Ratio::new(0.95).unwrap();
        let settings = hedging(HedgeTrigger::Percentile(share), 1);
        assert_eq!(settings.percentile(), Some(share));
        assert_eq!(settings.due(1, Instant::ORIGIN, None), None);
        let observed = Some(Span::from_nanos(30));
        let due = settings.due(1, Instant::ORIGIN, observed);
        assert_eq!(due, Some(Instant::from_nanos(30)));
    }
}
