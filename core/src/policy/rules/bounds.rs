//! A value against its range, and the ranges that several sections share.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::policy::violation::Violations;

/// A time that something takes.
pub(super) const DURATION: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST;
/// The longest time that a rule may name.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);

/// A finding about `field` if `value` is outside `range`.
pub(super) fn within<T: PartialOrd + fmt::Debug>(
    found: &mut Violations,
    field: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) {
    if let Some(value) = value.filter(|value| !range.contains(value)) {
        let bound = format!("must be {:?} to {:?}", range.start(), range.end());
        found.add(field, format!("{value:?}"), bound);
    }
}

/// The same for a value that may be zero.
pub(super) fn at_most<T: Copy + PartialOrd + fmt::Debug>(
    found: &mut Violations,
    field: &str,
    value: Option<T>,
    most: T,
) {
    if let Some(value) = value.filter(|value| *value > most) {
        found.add(
            field,
            format!("{value:?}"),
            format!("must be at most {most:?}"),
        );
    }
}
