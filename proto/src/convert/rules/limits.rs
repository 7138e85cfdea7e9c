//! The sections `bulkhead`, `rate_limit` and `concurrency_limit`.

use std::time::Duration;

use fusebox_core::policy::Violations;
use fusebox_core::policy::rules::{
    Bulkhead, BulkheadLimit, ConcurrencyBounds, ConcurrencyLimit, Quota, RateLimit,
};

use super::super::time::{duration_to_wire, optional_duration};
use super::{mode_from_wire, mode_to_wire, needs};
use crate::v1;

pub(super) fn bulkhead_from_wire(found: &mut Violations, wire: &v1::Bulkhead) -> Bulkhead {
    Bulkhead {
        limit: bulkhead_limit_from_wire(found, wire),
        mode: mode_from_wire(found, "rules.bulkhead.mode", wire.mode),
    }
}

pub(super) fn bulkhead_to_wire(bulkhead: &Bulkhead) -> v1::Bulkhead {
    let limit = bulkhead.limit;
    v1::Bulkhead {
        max_concurrent: limit.map(|limit| limit.max_concurrent),
        max_queue: limit.map(|limit| limit.max_queue),
        max_wait: limit.map(|limit| duration_to_wire(limit.max_wait)),
        mode: mode_to_wire(bulkhead.mode),
    }
}

pub(super) fn rate_from_wire(found: &mut Violations, wire: &v1::RateLimit) -> RateLimit {
    RateLimit {
        quota: quota_from_wire(found, wire),
        mode: mode_from_wire(found, "rules.rate_limit.mode", wire.mode),
    }
}

pub(super) fn rate_to_wire(limit: &RateLimit) -> v1::RateLimit {
    let quota = limit.quota;
    v1::RateLimit {
        permits: quota.map(|quota| quota.permits),
        per: quota.map(|quota| duration_to_wire(quota.per)),
        burst: quota.map(|quota| quota.burst),
        max_wait: quota.map(|quota| duration_to_wire(quota.max_wait)),
        mode: mode_to_wire(limit.mode),
    }
}

pub(super) fn concurrency_from_wire(
    found: &mut Violations,
    wire: &v1::ConcurrencyLimit,
) -> ConcurrencyLimit {
    let (min_field, max_field) = ("rules.concurrency_limit.min", "rules.concurrency_limit.max");
    let (min, max) = (wire.min, wire.max);
    if max.is_none() {
        needs(found, min_field, min, max_field);
    }
    if min.is_none() {
        needs(found, max_field, max, min_field);
    }
    let widest = ConcurrencyBounds::WIDEST;
    // The group of both; inherited if neither is set.
    let bounds = min.or(max).map(|_| ConcurrencyBounds {
        min: min.unwrap_or(widest.min),
        max: max.unwrap_or(widest.max),
    });
    ConcurrencyLimit {
        bounds,
        mode: mode_from_wire(found, "rules.concurrency_limit.mode", wire.mode),
    }
}

pub(super) fn concurrency_to_wire(limit: &ConcurrencyLimit) -> v1::ConcurrencyLimit {
    v1::ConcurrencyLimit {
        min: limit.bounds.map(|bounds| bounds.min),
        max: limit.bounds.map(|bounds| bounds.max),
        mode: mode_to_wire(limit.mode),
    }
}

/// The group of the limit and its queue; inherited if none of its fields is set.
fn bulkhead_limit_from_wire(found: &mut Violations, wire: &v1::Bulkhead) -> Option<BulkheadLimit> {
    if (v1::Bulkhead { mode: 0, ..*wire }) == v1::Bulkhead::default() {
        return None;
    }
    let wait_field = "rules.bulkhead.max_wait";
    let max_wait = optional_duration(found, wait_field, wire.max_wait.as_ref());
    if wire.max_concurrent.is_none() {
        let other = "rules.bulkhead.max_concurrent";
        needs(found, "rules.bulkhead.max_queue", wire.max_queue, other);
        needs(found, wait_field, max_wait.map(shown), other);
    }
    Some(BulkheadLimit {
        max_concurrent: wire.max_concurrent.unwrap_or(1),
        max_queue: wire.max_queue.unwrap_or_default(),
        max_wait: max_wait.unwrap_or_default(),
    })
}

/// The group of the quota; inherited if none of its fields is set.
fn quota_from_wire(found: &mut Violations, wire: &v1::RateLimit) -> Option<Quota> {
    if (v1::RateLimit { mode: 0, ..*wire }) == v1::RateLimit::default() {
        return None;
    }
    let (permits_field, per_field) = ("rules.rate_limit.permits", "rules.rate_limit.per");
    let wait_field = "rules.rate_limit.max_wait";
    let per = optional_duration(found, per_field, wire.per.as_ref());
    let max_wait = optional_duration(found, wait_field, wire.max_wait.as_ref());
    if wire.permits.is_none() {
        needs(found, per_field, per.map(shown), permits_field);
        needs(found, "rules.rate_limit.burst", wire.burst, permits_field);
        needs(found, wait_field, max_wait.map(shown), permits_field);
    }
    if wire.per.is_none() {
        needs(found, permits_field, wire.permits, per_field);
    }
    let permits = wire.permits.unwrap_or(1);
    Some(Quota {
        permits,
        per: per.unwrap_or(Duration::from_secs(1)),
        burst: wire.burst.unwrap_or_else(|| Quota::default_burst(permits)),
        max_wait: max_wait.unwrap_or_default(),
    })
}

fn shown(duration: Duration) -> String {
    format!("{duration:?}")
}
