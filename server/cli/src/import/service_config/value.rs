//! Values as proto3 JSON writes them, and what keeps them within a policy's bounds.

use std::fmt::Debug;
use std::time::Duration;

use fusebox_proto::convert::time::duration_to_wire;

use super::{Field, Reader};
use crate::files::{Is, Word};

/// The shortest and the longest time that a policy may name.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Reader<'_> {
    /// A number, or its text.
    pub(super) fn number(&mut self, field: &Field<'_>) -> Option<f64> {
        let number = match &field.node.is {
            is @ Is::Scalar { text, .. } if is.word() != Some(Word::OddNumber) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.error(field.node.at, &field.path, "must be a number");
        }
        number
    }

    /// A whole number that is not negative; what is beyond 32 bits is the greatest.
    pub(super) fn whole(&mut self, field: &Field<'_>) -> Option<u32> {
        let number = self.number(field)?;
        if number < 0.0 || number.fract() != 0.0 {
            self.error(
                field.node.at,
                &field.path,
                "must be a whole number, not negative",
            );
            return None;
        }
        // A cast of a float saturates.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(number as u32)
    }

    /// A time, within the bounds of a policy's times.
    pub(super) fn time(&mut self, field: &Field<'_>, may_be_zero: bool) -> Option<Duration> {
        let text = field
            .node
            .is
            .text()
            .filter(|_| field.node.is.word() == Some(Word::Text));
        let Some(time) = text.and_then(duration) else {
            let message = "must be a time in seconds such as \"1.5s\", not negative";
            self.error(field.node.at, &field.path, message);
            return None;
        };
        let shortest = if may_be_zero {
            Duration::ZERO
        } else {
            SHORTEST
        };
        Some(self.clamp(field, time, shortest, LONGEST))
    }

    /// The nearest value that a policy may have; another one is told.
    pub(super) fn clamp<T: PartialOrd + Copy + Debug>(
        &mut self,
        field: &Field<'_>,
        value: T,
        least: T,
        most: T,
    ) -> T {
        let nearest = match value {
            value if value < least => least,
            value if value > most => most,
            value => return value,
        };
        let why = format!("{value:?} is beyond {least:?} to {most:?}; taken as {nearest:?}");
        self.nearly(field, why);
        nearest
    }
}

/// `1.5s`: seconds with up to nine digits behind the point.
fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds.parse().ok()?, nanos))
}

pub(super) fn wire(time: Duration) -> prost_types::Duration {
    duration_to_wire(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_and_nothing_else() {
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("3.000000001s"), Some(Duration::new(3, 1)));
        for bad in [
            "",
            "s",
            "1",
            "-1s",
            "1.s",
            ".5s",
            "1ms",
            "1.0000000001s",
            "1e3s",
            " 1s",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
