//! The attempt's deadline, on its way to the callee.

use std::time::Duration;

use tonic::Request;

use crate::Cx;

/// The longest limit a policy can set; beyond it there is none, and nothing to tell.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The resolution of the timers that run on both sides.
const TICK: Duration = Duration::from_millis(1);

/// Tells the callee how long this attempt still has: sets `grpc-timeout`, in place of one that was
/// set before. Where calls have no limit the request stays as it is.
///
/// A callee that passes it on bounds everything beneath it, and stops working when nobody waits any
/// more.
///
/// What is left is rounded *up* to a whole millisecond, and one more. The callee must not give up on
/// a result that would still be in time. And tonic arms a timer of its own for the same header: it
/// must not run out before the attempt's, which counts as what it is, a timeout. So a deadline that
/// has passed reads 1 ms: legal, as the protocol knows only positive timeouts ("positive integer as
/// ASCII string of at most 8 digits", gRPC over HTTP/2; tonic picks the unit that fits).
pub fn with_deadline<T>(cx: Cx, mut request: Request<T>) -> Request<T> {
    if let Some(timeout) = timeout(cx.remaining()) {
        request.set_timeout(timeout);
    }
    request
}

fn timeout(remaining: Duration) -> Option<Duration> {
    if remaining > LONGEST {
        return None;
    }
    let ticks = remaining.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    // At most a day of them.
    u32::try_from(ticks).ok().map(|ticks| TICK * ticks)
}

#[cfg(test)]
mod tests {
    use fusebox_core::time::Instant;
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn header(remaining: Duration) -> Option<String> {
        let mut request = Request::new(());
        request.set_timeout(timeout(remaining)?);
        let value = request.metadata().get("grpc-timeout")?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// As the protocol reads it.
    fn read(header: &str) -> Duration {
        let (value, unit) = header.split_at(header.len() - 1);
        let unit = match unit {
            "n" => Duration::from_nanos(1),
            "u" => Duration::from_micros(1),
            "m" => Duration::from_millis(1),
            other => panic!("unit {other:?}"),
        };
        unit * value.parse::<u32>().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_callee_is_told_what_is_left_and_one_tick() {
        let cx = Cx::new(1, clock::now() + Duration::from_millis(1500));
        let request = with_deadline(cx, Request::new("message"));
        assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "1501000u");
        assert_eq!(request.into_inner(), "message");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_still_a_positive_timeout() {
        let cx = Cx::new(1, Instant::ORIGIN);
        let request = with_deadline(cx, Request::new(()));
        assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "1000000n");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_the_request_keeps_the_timeout_it_had() {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_secs(7));
        let request = with_deadline(Cx::new(1, Instant::NEVER), request);
        assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "7000000u");
    }

    proptest! {
        #[test]
        fn no_callee_is_told_less_than_is_left_nor_two_ticks_more(
            nanos in 0..=u64::try_from(LONGEST.as_nanos()).unwrap(),
        ) {
            let remaining = Duration::from_nanos(nanos);
            let header = header(remaining).unwrap();
            let told = read(&header);
            prop_assert!(header.len() <= 9, "{header}");
            prop_assert!(remaining + TICK <= told, "{remaining:?} {header}");
            prop_assert!(told < remaining + 2 * TICK, "{remaining:?} {header}");
        }
    }
}
