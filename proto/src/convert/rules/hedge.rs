//! The section `hedge`.

use std::time::Duration;

use fusebox_core::policy::ratio::Ratio;
use fusebox_core::policy::rules::{Hedge, HedgeTrigger, Hedging};
use fusebox_core::policy::{Violations, defaults};

use super::super::time::{duration_to_wire, optional_duration};
use super::needs;
use crate::v1;
use crate::v1::hedge::Trigger;

/// Stands in for a trigger that is missing or cannot be read.
const ANY_TRIGGER: HedgeTrigger = HedgeTrigger::Delay(Duration::ZERO);

/// One group; inherited if none of its fields is set.
pub(super) fn from_wire(found: &mut Violations, wire: &v1::Hedge) -> Hedge {
    if *wire == v1::Hedge::default() {
        return Hedge::default();
    }
    let trigger = match &wire.trigger {
        Some(trigger) => trigger_from_wire(found, trigger),
        None => {
            let other = "rules.hedge.delay or rules.hedge.percentile";
            needs(found, "rules.hedge.max_hedges", wire.max_hedges, other);
            None
        }
    };
    Hedge {
        plan: Some(Hedging {
            trigger: trigger.unwrap_or(ANY_TRIGGER),
            max_hedges: wire.max_hedges.unwrap_or(defaults::MAX_HEDGES),
        }),
    }
}

pub(super) fn to_wire(hedge: &Hedge) -> v1::Hedge {
    v1::Hedge {
        trigger: hedge.plan.map(|plan| match plan.trigger {
            HedgeTrigger::Delay(delay) => Trigger::Delay(duration_to_wire(delay)),
            HedgeTrigger::Percentile(share) => Trigger::Percentile(share.as_f64()),
        }),
        max_hedges: hedge.plan.map(|plan| plan.max_hedges),
    }
}

fn trigger_from_wire(found: &mut Violations, wire: &Trigger) -> Option<HedgeTrigger> {
    match wire {
        Trigger::Delay(delay) => {
            optional_duration(found, "rules.hedge.delay", Some(delay)).map(HedgeTrigger::Delay)
        }
        Trigger::Percentile(share) => {
            // The bound is not a ratio's own: core refuses the whole as well.
            let ratio = Ratio::new(*share).map_err(|_| HedgeTrigger::PERCENTILE_BOUND);
            let ratio = found.keep("rules.hedge.percentile", *share, ratio);
            ratio.map(HedgeTrigger::Percentile)
        }
    }
}
