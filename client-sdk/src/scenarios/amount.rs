//! How much: times, shares and numbers, as a script writes them.

use std::str::FromStr;
use std::time::Duration;

/// Most that one line may ask for.
const MOST_TIMES: u32 = 100_000;

const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A time: a number and its unit, such as `3s`, `1.5s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 3s or 500ms, found `{text}`");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, nanos) = known.ok_or_else(expected)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    let places = u32::try_from(fraction.len()).map_err(|_| expected())?;
    let parts: u64 = fraction.parse().map_err(|_| expected())?;
    let scale = 10_u64.checked_pow(places).ok_or_else(expected)?;
    let nanos = whole
        .checked_mul(*nanos)
        .zip(parts.checked_mul(*nanos))
        .map(|(whole, parts)| whole + parts / scale);
    nanos.map(Duration::from_nanos).ok_or_else(expected)
}

/// A time, in the largest unit that leaves it whole; hours and minutes are told in seconds.
pub(super) fn show(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (unit, size) = UNITS[..4]
        .iter()
        .rev()
        .find(|(_, size)| nanos.is_multiple_of(u128::from(*size)))
        .unwrap_or(&UNITS[0]);
    format!("{}{unit}", nanos / u128::from(*size))
}

/// A whole number.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("expected a number, found `{text}`"))
}

/// So many times.
pub(super) fn many(text: &str) -> Result<u32, String> {
    match number(text.trim())? {
        many @ 1..=MOST_TIMES => Ok(many),
        many => Err(format!("expected 1 to {MOST_TIMES} times, found {many}")),
    }
}

/// A fraction: `50%`, `2/3` or `1.5`.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    let float = |text: &str| {
        let expected = || format!("expected a share such as 50% or 2/3, found `{text}`");
        text.parse::<f64>().map_err(|_| expected())
    };
    match (text.strip_suffix('%'), text.split_once('/')) {
        (Some(percent), _) => Ok(float(percent)? / 100.0),
        (None, Some((part, whole))) => Ok(float(part)? / float(whole)?),
        (None, None) => float(text),
    }
}

/// So many in a time: `1/500ms`, or `3/s`.
pub(super) fn per(text: &str) -> Result<(u32, Duration), String> {
    let expected = || format!("expected a rate such as 1/500ms or 3/s, found `{text}`");
    let (many, time) = text.split_once('/').ok_or_else(expected)?;
    let one = format!("1{time}");
    let time = duration(time).or_else(|_| duration(&one));
    Ok((number(many)?, time.map_err(|_| expected())?))
}

/// Whether `found` is what `expected` says: the same text or amount, or within `least..most`.
pub(super) fn fits(expected: &str, found: &str) -> bool {
    let amount = |text: &str| {
        let nanos = duration(text).map(|time| time.as_nanos());
        nanos.or_else(|_| number(text.trim_end_matches('%'))).ok()
    };
    if expected == found {
        return true;
    }
    let Some(found) = amount(found) else {
        return false;
    };
    match expected.split_once("..") {
        None => amount(expected) == Some(found),
        Some((least, most)) => {
            let within = |least, most| (least..=most).contains(&found);
            amount(least)
                .zip(amount(most))
                .is_some_and(|(least, most)| within(least, most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for text in ["0s", "3s", "500ms", "1500ms", "7us", "1ns", "3600s"] {
            let shown = show(duration(text).unwrap());
            assert_eq!(duration(&shown), duration(text), "{text} as {shown}");
        }
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "3", "s", "3 s", "3d", "-1s", "1.s", "1e3s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_amount_fits_itself_however_written_and_a_range_it_is_in() {
        for (expected, found) in [
            ("1500ms", "1500ms"),
            ("1.5s", "1500ms"),
            ("1s..2s", "1500ms"),
            ("5..7", "7"),
            ("a", "a"),
        ] {
            assert!(fits(expected, found), "{expected} of {found}");
        }
        for (expected, found) in [("1s", "2s"), ("5..7", "8"), ("1s..2s", "3s"), ("a", "b")] {
            assert!(!fits(expected, found), "{expected} of {found}");
        }
    }
}
