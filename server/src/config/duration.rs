//! Durations as people write them: `500ms`, `2s`, `1m`, or bare seconds such as `0.5`.

use std::time::Duration;

/// Reads `text`; `None` if it is no duration, negative, or beyond what a [`Duration`] holds.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit_secs) = split(text.trim());
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(value * unit_secs).ok()
}

fn split(text: &str) -> (&str, f64) {
    const UNITS: [(&str, f64); 3] = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let stripped =
        |(suffix, secs): (&str, f64)| Some((text.strip_suffix(suffix)?.trim_end(), secs));
    UNITS.into_iter().find_map(stripped).unwrap_or((text, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit_or_bare_seconds() {
        let table = [
            ("500ms", 500),
            ("2s", 2_000),
            ("2", 2_000),
            ("0.5", 500),
            ("1.5 s", 1_500),
            ("1m", 60_000),
            ("0", 0),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_finite_positive_length_is_none() {
        for text in [
            "",
            "s",
            "-1s",
            "1h",
            "inf",
            "NaN",
            "1e3",
            "2 seconds",
            ".",
            "9e99",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
