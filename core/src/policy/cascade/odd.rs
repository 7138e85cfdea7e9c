//! What is legal in a whole but may not be what was meant.

use std::fmt;

use super::{Explanation, Origin, Repair};
use crate::policy::defaults;
use crate::policy::field::Field;

/// Something that may surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A value is another than was set.
    GaveWay(Repair),
    /// More than one attempt is asked for where few calls may be repeated.
    IdleRetry,
    /// A hedge is asked for where no call may be repeated.
    IdleHedge,
}

impl Explanation<'_> {
    /// What may surprise, for operations that are `idempotent` or not; unknown, as their kind has
    /// it. That a kind's own retries stay idle is no surprise: nobody asked for them.
    pub fn oddities(&self, idempotent: Option<bool>) -> Vec<Oddity> {
        let idempotent = idempotent.unwrap_or(defaults::of(self.kind).idempotent);
        let effective = &self.resolution.effective;
        let asked = *self.resolution.origins.of(Field::RetryMaxAttempts) != Origin::Kind;
        let idle_retry = asked && effective.max_attempts > 1 && !idempotent;
        let idle_hedge = effective.hedge.is_some() && !idempotent;
        let repairs = self.resolution.repairs.iter().copied();
        repairs
            .map(Oddity::GaveWay)
            .chain(idle_retry.then_some(Oddity::IdleRetry))
            .chain(idle_hedge.then_some(Oddity::IdleHedge))
            .collect()
    }
}

impl Oddity {
    /// The field that it is about.
    pub const fn field(self) -> Field {
        match self {
            Self::GaveWay(repair) => repair.field,
            Self::IdleRetry => Field::RetryMaxAttempts,
            Self::IdleHedge => Field::HedgePlan,
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveWay(repair) => {
                write!(
                    f,
                    "is not what was set: it gave way to rules.{}",
                    repair.because_of
                )
            }
            Self::IdleRetry => f.write_str(
                "mostly idle: the operation is not idempotent, so only calls that provably never \
                 took effect are repeated",
            ),
            Self::IdleHedge => f.write_str(
                "idle: the operation is not idempotent, and what may not be repeated is not hedged",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Kind, Labels, OperationName, Service};
    use crate::policy::cascade::tests::policy;
    use crate::policy::cascade::{Target, explain};
    use crate::policy::ratio::Ratio;
    use crate::policy::rules::{HedgeTrigger, Hedging};
    use crate::policy::tests::secs;
    use crate::policy::{Draft, Policy};

    fn odd(kind: Kind, idempotent: Option<bool>, set: impl FnOnce(&mut Draft)) -> Vec<Oddity> {
        let policies: [Policy; 1] = [policy("a", set)];
        let target = Target {
            service: &Service::new("checkout").unwrap(),
            operation: &OperationName::new("pay").unwrap(),
            kind,
            labels: &Labels::default(),
        };
        explain(&target, &[], &policies).oddities(idempotent)
    }

    #[test]
    fn retries_that_somebody_asked_for_are_idle_where_calls_may_not_be_repeated() {
        let attempts = |most| move |draft: &mut Draft| draft.rules.retry.max_attempts = Some(most);
        let idle = [Oddity::IdleRetry];
        assert_eq!(odd(Kind::Api, None, attempts(4)), idle);
        assert_eq!(odd(Kind::Cache, Some(false), attempts(4)), idle);
        assert_eq!(odd(Kind::Api, Some(true), attempts(4)), []);
        assert_eq!(odd(Kind::Cache, None, attempts(4)), []);
        assert_eq!(odd(Kind::Api, None, attempts(1)), []);
        assert_eq!(odd(Kind::Api, None, |_| ()), [], "the kind's own");
    }

    #[test]
    fn a_hedge_is_idle_where_calls_may_not_be_repeated() {
        let hedge = |draft: &mut Draft| {
            draft.rules.hedge.plan = Some(Hedging {
                trigger: HedgeTrigger::Percentile(Ratio::new(0.9).unwrap()),
                max_hedges: 1,
            });
        };
        assert_eq!(odd(Kind::Api, None, hedge), [Oddity::IdleHedge]);
        assert_eq!(odd(Kind::Ml, None, hedge), []);
    }

    #[test]
    fn a_value_that_gave_way_is_odd_and_says_to_what() {
        let overall = |draft: &mut Draft| draft.rules.timeout.overall = Some(secs(1));
        let odd = odd(Kind::Api, None, overall);
        let told: Vec<_> = odd
            .iter()
            .map(|odd| format!("{}: {odd}", odd.field()))
            .collect();
        assert_eq!(
            told,
            ["timeout.attempt: is not what was set: it gave way to rules.timeout.overall"]
        );
    }
}
