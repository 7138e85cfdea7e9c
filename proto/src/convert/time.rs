//! Durations and points in time.
//!
//! What an operator writes is checked strictly ([`duration_from_wire`]); what one program tells
//! another of its clock is clamped ([`age_from_wire`], [`timestamp_from_wire`]), because an age that
//! is a little off must not cost the message that carries it.

use std::time::{Duration, SystemTime};

use fusebox_core::policy::Violations;

/// The protobuf's own bound: ten thousand years.
const MAX_SECONDS: u64 = 315_576_000_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;
/// The first second of the year 1 and the last of 9999, the protobuf's own bounds.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

/// A protobuf duration that is no length of time, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// Nanoseconds that are not a part of a second.
    #[error("must have nanos of 0 to 999999999")]
    Nanos,
    /// Beyond what a protobuf duration may be.
    #[error("must be at most 315576000000 s")]
    TooLong,
}

/// A length of time; nothing is normalized.
pub fn duration_from_wire(wire: &prost_types::Duration) -> Result<Duration, InvalidDuration> {
    if !(-NANOS_PER_SECOND < wire.nanos && wire.nanos < NANOS_PER_SECOND) {
        return Err(InvalidDuration::Nanos);
    }
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), _) if seconds > MAX_SECONDS => Err(InvalidDuration::TooLong),
        (Ok(seconds), Ok(nanos)) => Ok(Duration::new(seconds, nanos)),
        // Signs that differ are no amount of nanoseconds less than a second.
        (Ok(1..), Err(_)) => Err(InvalidDuration::Nanos),
        _ => Err(InvalidDuration::Negative),
    }
}

/// A length of time, at most ten thousand years.
pub fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(Duration::from_secs(MAX_SECONDS));
    prost_types::Duration {
        // Both fit: the seconds are at most MAX_SECONDS, the nanoseconds below 10^9.
        seconds: duration.as_secs().cast_signed(),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// How long ago something was; nothing, or nonsense, is "just now".
pub fn age_from_wire(wire: Option<&prost_types::Duration>) -> Duration {
    wire.and_then(|wire| duration_from_wire(wire).ok())
        .unwrap_or_default()
}

/// A point in time, clamped to the years 1 to 9999; nothing is 1970.
pub fn timestamp_from_wire(wire: Option<&prost_types::Timestamp>) -> SystemTime {
    let Some(wire) = wire else {
        return SystemTime::UNIX_EPOCH;
    };
    let seconds = wire.seconds.clamp(FIRST_SECOND, LAST_SECOND);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    let nanos = wire.nanos.clamp(0, NANOS_PER_SECOND - 1).unsigned_abs();
    second
        .and_then(|second| second.checked_add(Duration::from_nanos(nanos.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A point in time, clamped to the years 1 to 9999.
pub fn timestamp_to_wire(time: SystemTime) -> prost_types::Timestamp {
    let (seconds, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).ok(), after.subsec_nanos()),
        Err(before) => floor_before_epoch(before.duration()),
    };
    let limit = if time < SystemTime::UNIX_EPOCH {
        FIRST_SECOND
    } else {
        LAST_SECOND
    };
    prost_types::Timestamp {
        seconds: seconds.unwrap_or(limit).clamp(FIRST_SECOND, LAST_SECOND),
        // Fits: below 10^9.
        nanos: nanos.cast_signed(),
    }
}

/// The whole second before a point that lies `distance` before 1970, and the nanoseconds from there.
fn floor_before_epoch(distance: Duration) -> (Option<i64>, u32) {
    let seconds = i64::try_from(distance.as_secs()).ok();
    match distance.subsec_nanos() {
        0 => (seconds.map(|seconds| -seconds), 0),
        nanos => (
            seconds.map(|seconds| -seconds - 1),
            NANOS_PER_SECOND.unsigned_abs() - nanos,
        ),
    }
}

/// A length of time if there is one, or a finding about `field`.
pub(super) fn optional_duration(
    found: &mut Violations,
    field: &str,
    wire: Option<&prost_types::Duration>,
) -> Option<Duration> {
    let wire = wire?;
    // Not its `Display`, which overflows at the least of all seconds.
    let value = format!("{} s, {} ns", wire.seconds, wire.nanos);
    found.keep(field, value, duration_from_wire(wire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_normal_length_of_time_is_a_duration() {
        use InvalidDuration::{Nanos, Negative, TooLong};
        for (seconds, nanos, result) in [
            (0, 0, Ok(Duration::ZERO)),
            (1, 500_000_000, Ok(Duration::from_millis(1500))),
            (315_576_000_000, 0, Ok(Duration::from_secs(315_576_000_000))),
            (-1, 0, Err(Negative)),
            (0, -1, Err(Negative)),
            (-1, -1, Err(Negative)),
            (i64::MIN, i32::MIN + 1, Err(Nanos)),
            (i64::MIN, 0, Err(Negative)),
            (i64::MAX, 0, Err(TooLong)),
            (0, 1_000_000_000, Err(Nanos)),
            (0, i32::MAX, Err(Nanos)),
            (0, i32::MIN, Err(Nanos)),
            (1, -1, Err(Nanos)),
        ] {
            let wire = prost_types::Duration { seconds, nanos };
            assert_eq!(duration_from_wire(&wire), result, "{seconds} s, {nanos} ns");
        }
    }

    #[test]
    fn a_duration_beyond_the_wires_range_is_clamped_to_it() {
        let wire = duration_to_wire(Duration::MAX);
        assert_eq!((wire.seconds, wire.nanos), (315_576_000_000, 0));
    }

    #[test]
    fn a_nonsensical_age_is_just_now() {
        let wire = prost_types::Duration {
            seconds: -5,
            nanos: 0,
        };
        assert_eq!(age_from_wire(Some(&wire)), Duration::ZERO);
        assert_eq!(age_from_wire(None), Duration::ZERO);
    }

    #[test]
    fn a_point_in_time_survives_the_wire_before_and_after_1970() {
        let step = Duration::new(86_400, 1);
        for time in [
            SystemTime::UNIX_EPOCH,
            SystemTime::UNIX_EPOCH + step,
            SystemTime::UNIX_EPOCH - step,
            SystemTime::UNIX_EPOCH - Duration::from_secs(1),
        ] {
            let wire = timestamp_to_wire(time);
            assert!((0..NANOS_PER_SECOND).contains(&wire.nanos));
            assert_eq!(timestamp_from_wire(Some(&wire)), time);
        }
    }

    #[test]
    fn a_hostile_timestamp_is_clamped_to_the_calendar() {
        for (seconds, nanos, clamped) in [
            (i64::MIN, i32::MIN, (FIRST_SECOND, 0)),
            (i64::MAX, i32::MAX, (LAST_SECOND, 999_999_999)),
        ] {
            let wire = prost_types::Timestamp { seconds, nanos };
            let back = timestamp_to_wire(timestamp_from_wire(Some(&wire)));
            assert_eq!((back.seconds, back.nanos), clamped);
        }
    }
}
