use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// `permits` in each second.
fn quota(permits: u32, burst: u32, max_wait: Duration) -> RateSettings {
    RateSettings::compile(&Quota {
        permits,
        per: Duration::from_secs(1),
        burst,
        max_wait,
    })
}

const NO_WAIT: Duration = Duration::ZERO;

/// When one call that asks at `now` may go.
fn go(limiter: &RateLimiter, settings: &RateSettings, now: Instant) -> Result<Instant, Rejection> {
    limiter
        .reserve(settings, 1, now)
        .map(|reservation| reservation.at)
}

fn refused(retry_after: impl Into<Option<Duration>>) -> Rejection {
    Rejection {
        reason: Reason::RateLimited,
        retry_after: retry_after.into(),
    }
}

#[test]
fn one_per_half_second_and_seven_at_once_makes_the_seventh_wait_three_seconds() {
    let (limiter, settings) = (RateLimiter::new(), quota(2, 1, millis(3_000)));
    let moments = [(); 7].map(|()| go(&limiter, &settings, at(0)).unwrap());
    assert_eq!(moments, [0, 500, 1_000, 1_500, 2_000, 2_500, 3_000].map(at));
    let eighth = go(&limiter, &settings, at(0)).unwrap_err();
    assert_eq!(
        eighth,
        refused(millis(500)),
        "until the wait is short enough"
    );
}

#[test]
fn whoever_would_wait_too_long_is_refused_at_once_and_told_when_to_come_back() {
    let (limiter, settings) = (RateLimiter::new(), quota(2, 1, millis(2_999)));
    for _ in 0..6 {
        go(&limiter, &settings, at(0)).unwrap();
    }
    let seventh = go(&limiter, &settings, at(0)).unwrap_err();
    assert_eq!(seventh, refused(millis(1)));
    assert_eq!(go(&limiter, &settings, at(1)), Ok(at(3_000)));
}

#[test]
fn a_refusal_takes_nothing() {
    let (limiter, settings) = (RateLimiter::new(), quota(2, 1, NO_WAIT));
    go(&limiter, &settings, at(0)).unwrap();
    for _ in 0..100 {
        assert_eq!(go(&limiter, &settings, at(1)), Err(refused(millis(499))));
    }
    assert_eq!(go(&limiter, &settings, at(500)), Ok(at(500)));
}

#[test]
fn a_pause_saves_up_a_burst_and_no_more() {
    let (limiter, settings) = (RateLimiter::new(), quota(10, 3, NO_WAIT));
    for pause in [0, 3_600_000] {
        for _ in 0..3 {
            assert_eq!(go(&limiter, &settings, at(pause)), Ok(at(pause)));
        }
        assert_eq!(
            go(&limiter, &settings, at(pause)),
            Err(refused(millis(100)))
        );
    }
}

#[test]
fn a_call_that_costs_several_permits_takes_as_many() {
    let (limiter, settings) = (RateLimiter::new(), quota(10, 4, millis(300)));
    let three = |now| limiter.reserve(&settings, 3, now).map(|taken| taken.at);
    assert_eq!(three(at(0)), Ok(at(0)));
    assert_eq!(three(at(0)), Ok(at(200)), "one is there, two are missing");
    assert_eq!(three(at(0)), Err(refused(millis(200))));
}

#[test]
fn more_than_the_burst_is_refused_for_good() {
    let (limiter, settings) = (RateLimiter::new(), quota(10, 4, millis(86_400_000)));
    let five = limiter.reserve(&settings, 5, at(0)).unwrap_err();
    assert_eq!(five, refused(None));
    assert_eq!(
        go(&limiter, &settings, at(0)),
        Ok(at(0)),
        "and took nothing"
    );
}

#[test]
fn a_quota_that_does_not_divide_evenly_never_lets_more_through_than_asked_for() {
    let settings = RateSettings::compile(&Quota {
        permits: 3,
        per: Duration::from_nanos(10),
        burst: 1,
        max_wait: Duration::ZERO,
    });
    let limiter = RateLimiter::new();
    let let_through = (0..10_000)
        .filter(|nanos| go(&limiter, &settings, Instant::from_nanos(*nanos)).is_ok())
        .count();
    assert_eq!(
        let_through, 2_500,
        "one in four nanoseconds, not in three and a third"
    );
}

#[test]
fn a_place_that_is_given_back_goes_to_the_next() {
    let (limiter, settings) = (RateLimiter::new(), quota(2, 1, millis(10_000)));
    go(&limiter, &settings, at(0)).unwrap();
    let gone = limiter.reserve(&settings, 1, at(0)).unwrap();
    assert_eq!(gone.at, at(500));
    limiter.give_back(gone);
    assert_eq!(go(&limiter, &settings, at(0)), Ok(at(500)));
}

#[test]
fn a_place_before_others_passes_unused_and_theirs_stay() {
    let (limiter, settings) = (RateLimiter::new(), quota(2, 1, millis(10_000)));
    let gone = limiter.reserve(&settings, 1, at(0)).unwrap();
    assert_eq!(go(&limiter, &settings, at(0)), Ok(at(500)));
    limiter.give_back(gone);
    assert_eq!(go(&limiter, &settings, at(0)), Ok(at(1_000)));
}

#[test]
fn what_was_used_stays_used_over_a_reload_at_the_new_interval() {
    let (slow, fast) = (quota(2, 4, NO_WAIT), quota(20, 4, NO_WAIT));
    let limiter = RateLimiter::new();
    for _ in 0..3 {
        go(&limiter, &slow, at(0)).unwrap();
    }
    limiter.reload(&slow, &fast, at(0));
    assert_eq!(go(&limiter, &fast, at(0)), Ok(at(0)), "the fourth of four");
    assert_eq!(go(&limiter, &fast, at(0)), Err(refused(millis(50))));
}

#[test]
fn what_was_promised_before_a_reload_is_not_promised_again() {
    let (old, new) = (quota(2, 1, millis(9_000)), quota(1, 1, millis(9_000)));
    let limiter = RateLimiter::new();
    let promised = [(); 3].map(|()| go(&limiter, &old, at(0)).unwrap());
    assert_eq!(promised, [0, 500, 1_000].map(at));
    limiter.reload(&old, &new, at(0));
    assert_eq!(
        go(&limiter, &new, at(0)),
        Ok(at(3_000)),
        "behind three others"
    );
}

#[test]
fn a_reload_of_an_idle_limiter_leaves_a_whole_burst() {
    let (old, new) = (quota(1, 1, NO_WAIT), quota(10, 5, NO_WAIT));
    let limiter = RateLimiter::new();
    go(&limiter, &old, at(0)).unwrap();
    limiter.reload(&old, &new, at(60_000));
    for _ in 0..5 {
        assert_eq!(go(&limiter, &new, at(60_000)), Ok(at(60_000)));
    }
    assert!(go(&limiter, &new, at(60_000)).is_err());
}

#[test]
fn threads_that_ask_at_once_get_a_moment_each_and_no_moment_twice() {
    let (limiter, settings) = (RateLimiter::new(), quota(1_000, 1, millis(60_000)));
    let ask = || -> Vec<_> {
        let moments = (0..1_000).map(|_| go(&limiter, &settings, at(0)).unwrap());
        moments.collect()
    };
    let mut moments: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(ask));
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    moments.sort_unstable();
    assert!(moments.into_iter().eq((0..4_000).map(at)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// After so many nanoseconds, for so many permits.
    Ask(u64, u32),
    /// The last one's place, if nobody has it back yet.
    GiveBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u64..40, 1_u32..6).prop_map(|(wait, permits)| Step::Ask(wait, permits)),
        1 => Just(Step::GiveBack),
    ]
}

proptest! {
    /// The slow, obvious way: of every permit, the instant it is good for. Between any of them and
    /// now there may be a burst, and one more for each interval.
    #[test]
    fn any_span_of_time_holds_a_burst_and_one_more_for_each_interval(
        (interval, burst, max_wait) in (1_u64..20, 1_u32..6, 0_u64..60),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let settings = RateSettings {
            interval: Span::from_nanos(interval),
            burst,
            max_wait: Span::from_nanos(max_wait),
        };
        let limiter = RateLimiter::new();
        let mut permitted: Vec<u64> = Vec::new();
        let (mut now, mut last) = (0, None);
        for step in steps {
            let Step::Ask(wait, permits) = step else {
                if let Some(reservation) = last.take() {
                    let Reservation { cost, .. } = reservation;
                    limiter.give_back(reservation);
                    permitted.truncate(permitted.len() - usize::try_from(cost / interval).unwrap());
                }
                continue;
            };
            now += wait;
            let all = (permitted.len() + permits as usize) as u64;
            let earliest = |(before, since): (usize, &u64)| {
                let beyond = (all - before as u64).saturating_sub(burst.into());
                if beyond > 0 { since + beyond * interval } else { 0 }
            };
            let earliest = permitted.iter().enumerate().map(earliest).max();
            let moment = earliest.unwrap_or(0).max(now);
            let expected = if permits > burst {
                Err(refused(None))
            } else if moment - now > max_wait {
                Err(refused(Duration::from_nanos(moment - now - max_wait)))
            } else {
                Ok(Instant::from_nanos(moment))
            };
            let got = limiter.reserve(&settings, permits, Instant::from_nanos(now));
            prop_assert_eq!(got.map(|reservation| reservation.at), expected);
            if let Ok(reservation) = got {
                last = Some(reservation);
                permitted.extend(std::iter::repeat_n(moment, permits as usize));
            }
        }
    }
}
