//! `Retry-After`: a number of seconds, or a date (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How long the server wants to be left alone, seen from `now`; `None` if it does not say so
/// readably.
pub(super) fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds(value).or_else(|| until(value, now))
}

/// `delay-seconds = 1*DIGIT`, however many: what does not fit is as long as can be.
fn seconds(value: &str) -> Option<Duration> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)))
}

/// `HTTP-date`, in any of its three forms (RFC 9110, 5.6.7).
fn until(value: &str, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const EXAMPLE: Duration = Duration::from_secs(784_111_777);

    fn at(value: &[u8], now: Duration) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        wait(&headers, SystemTime::UNIX_EPOCH + now)
    }

    #[test]
    fn a_number_is_seconds_from_now() {
        assert_eq!(at(b"120", EXAMPLE), Some(Duration::from_secs(120)));
        assert_eq!(at(b"0", EXAMPLE), Some(Duration::ZERO));
        assert_eq!(at(b" 7 ", EXAMPLE), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_date_in_any_of_its_three_forms_is_waited_for() {
        let now = EXAMPLE - Duration::from_millis(1500);
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let wait = at(date.as_bytes(), now);
            assert_eq!(wait, Some(Duration::from_millis(1500)), "{date}");
        }
    }

    #[test]
    fn a_date_that_has_passed_is_no_wait() {
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(at(date, EXAMPLE), Some(Duration::ZERO));
        assert_eq!(at(date, EXAMPLE * 2), Some(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_read_is_as_if_it_were_not_there() {
        let unreadable: [&[u8]; 9] = [
            b"",
            b"soon",
            b"-1",
            b"+1",
            b"1.5",
            b"1e3",
            b"\xff\xfe",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 CET",
        ];
        for value in unreadable {
            assert_eq!(at(value, EXAMPLE), None, "{value:?}");
        }
        assert_eq!(wait(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }

    #[test]
    fn a_number_beyond_all_bounds_is_the_longest_wait_not_an_overflow() {
        let longest = Duration::from_secs(u64::MAX);
        assert_eq!(at(b"18446744073709551615", EXAMPLE), Some(longest));
        assert_eq!(at(b"18446744073709551616", EXAMPLE), Some(longest));
        assert_eq!(at(&[b'9'; 5000], EXAMPLE), Some(longest));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                // Close to what it reads.
                "[A-Z][a-z]{2,8},? [0-9]{1,2}[- ][A-Z][a-z]{2}[- ][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2}( GMT| [0-9]{4})?"
                    .prop_map(String::into_bytes),
            ],
            now in 0..=4_000_000_000_u64,
        ) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            let _ = wait(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        }

        #[test]
        fn every_date_is_waited_for_to_the_second(
            date in 0..253_402_300_800_u64,
            now in 0..253_402_300_800_u64,
        ) {
            let date = Duration::from_secs(date);
            let now = Duration::from_secs(now);
            let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + date);
            prop_assert_eq!(at(text.as_bytes(), now), Some(date.saturating_sub(now)));
        }
    }
}
