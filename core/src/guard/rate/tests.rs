use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

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
fn go(limiter: &RateLimiter, now: Instant) -> Result<Instant, Rejection> {
    go_before(limiter, now, Instant::NEVER)
}

fn go_before(limiter: &RateLimiter, now: Instant, deadline: Instant) -> Result<Instant, Rejection> {
    let reserved = limiter.reserve(1, now, deadline);
    reserved.map(|reservation| reservation.at)
}

fn limited(settings: RateSettings) -> RateLimiter {
    RateLimiter::new(Some(&settings))
}

fn refused(retry_after: impl Into<Option<Duration>>) -> Rejection {
    Rejection {
        reason: Reason::RateLimited,
        retry_after: retry_after.into(),
    }
}

#[test]
fn one_per_half_second_and_seven_at_once_makes_the_seventh_wait_three_seconds() {
    let limiter = limited(quota(2, 1, millis(3_000)));
    let moments = [(); 7].map(|()| go(&limiter, at(0)).unwrap());
    assert_eq!(moments, [0, 500, 1_000, 1_500, 2_000, 2_500, 3_000].map(at));
    let eighth = go(&limiter, at(0)).unwrap_err();
    assert_eq!(
        eighth,
        refused(millis(500)),
        "until the wait is short enough"
    );
}

#[test]
fn whoever_would_wait_too_long_is_refused_at_once_and_told_when_to_come_back() {
    let limiter = limited(quota(2, 1, millis(2_999)));
    for _ in 0..6 {
        go(&limiter, at(0)).unwrap();
    }
    let seventh = go(&limiter, at(0)).unwrap_err();
    assert_eq!(seventh, refused(millis(1)));
    assert_eq!(go(&limiter, at(1)), Ok(at(3_000)));
}

#[test]
fn a_refusal_takes_nothing() {
    let limiter = limited(quota(2, 1, NO_WAIT));
    go(&limiter, at(0)).unwrap();
    for _ in 0..100 {
        assert_eq!(go(&limiter, at(1)), Err(refused(millis(499))));
    }
    assert_eq!(go(&limiter, at(500)), Ok(at(500)));
}

#[test]
fn a_pause_saves_up_a_burst_and_no_more() {
    let limiter = limited(quota(10, 3, NO_WAIT));
    for pause in [0, 3_600_000] {
        for _ in 0..3 {
            assert_eq!(go(&limiter, at(pause)), Ok(at(pause)));
        }
        assert_eq!(go(&limiter, at(pause)), Err(refused(millis(100))));
    }
}

#[test]
fn a_call_that_costs_several_permits_takes_as_many() {
    let limiter = limited(quota(10, 4, millis(300)));
    let three = |now| {
        let reserved = limiter.reserve(3, now, Instant::NEVER);
        reserved.map(|taken| taken.at)
    };
    assert_eq!(three(at(0)), Ok(at(0)));
    assert_eq!(three(at(0)), Ok(at(200)), "one is there, two are missing");
    assert_eq!(three(at(0)), Err(refused(millis(200))));
}

#[test]
fn more_than_the_burst_is_refused_for_good() {
    let limiter = limited(quota(10, 4, millis(86_400_000)));
    let five = limiter.reserve(5, at(0), Instant::NEVER).unwrap_err();
    assert_eq!(five, refused(None));
    assert_eq!(go(&limiter, at(0)), Ok(at(0)), "and took nothing");
}

#[test]
fn a_quota_that_does_not_divide_evenly_never_lets_more_through_than_asked_for() {
    let settings = RateSettings::compile(&Quota {
        permits: 3,
        per: Duration::from_nanos(10),
        burst: 1,
        max_wait: Duration::ZERO,
    });
    let limiter = limited(settings);
    let let_through = (0..10_000)
        .filter(|nanos| go(&limiter, Instant::from_nanos(*nanos)).is_ok())
        .count();
    assert_eq!(
        let_through, 2_500,
        "one in four nanoseconds, not in three and a third"
    );
}

#[test]
fn a_place_that_is_given_back_goes_to_the_next() {
    let limiter = limited(quota(2, 1, millis(10_000)));
    go(&limiter, at(0)).unwrap();
    let gone = limiter.reserve(1, at(0), Instant::NEVER).unwrap();
    assert_eq!(gone.at, at(500));
    limiter.give_back(gone);
    assert_eq!(go(&limiter, at(0)), Ok(at(500)));
}

#[test]
fn a_place_before_others_passes_unused_and_theirs_stay() {
    let limiter = limited(quota(2, 1, millis(10_000)));
    let gone = limiter.reserve(1, at(0), Instant::NEVER).unwrap();
    assert_eq!(go(&limiter, at(0)), Ok(at(500)));
    limiter.give_back(gone);
    assert_eq!(go(&limiter, at(0)), Ok(at(1_000)));
}

#[test]
fn what_was_used_stays_used_over_a_reload_at_the_new_interval() {
    let (slow, fast) = (quota(2, 4, NO_WAIT), quota(20, 4, NO_WAIT));
    let limiter = limited(slow);
    for _ in 0..3 {
        go(&limiter, at(0)).unwrap();
    }
    limiter.reload(Some(&fast), at(0));
    assert_eq!(go(&limiter, at(0)), Ok(at(0)), "the fourth of four");
    assert_eq!(go(&limiter, at(0)), Err(refused(millis(50))));
}

#[test]
fn what_was_promised_before_a_reload_is_not_promised_again() {
    let (old, new) = (quota(2, 1, millis(9_000)), quota(1, 1, millis(9_000)));
    let limiter = limited(old);
    let promised = [(); 3].map(|()| go(&limiter, at(0)).unwrap());
    assert_eq!(promised, [0, 500, 1_000].map(at));
    limiter.reload(Some(&new), at(0));
    assert_eq!(go(&limiter, at(0)), Ok(at(3_000)), "behind three others");
}

#[test]
fn a_reload_of_an_idle_limiter_leaves_a_whole_burst() {
    let (old, new) = (quota(1, 1, NO_WAIT), quota(10, 5, NO_WAIT));
    let limiter = limited(old);
    go(&limiter, at(0)).unwrap();
    limiter.reload(Some(&new), at(60_000));
    for _ in 0..5 {
        assert_eq!(go(&limiter, at(60_000)), Ok(at(60_000)));
    }
    assert!(go(&limiter, at(60_000)).is_err());
}

#[test]
fn a_call_that_asks_after_a_reload_pays_what_a_permit_costs_now_however_old_its_rules() {
    let (old, new) = (quota(1, 3, NO_WAIT), quota(100, 100, NO_WAIT));
    let limiter = limited(old);
    go(&limiter, at(0)).unwrap();
    limiter.reload(Some(&new), at(0));
    for _ in 0..99 {
        assert_eq!(go(&limiter, at(0)), Ok(at(0)));
    }
    assert_eq!(go(&limiter, at(0)), Err(refused(millis(10))));
}

#[test]
fn a_reload_to_the_same_quota_scales_nothing() {
    let (old, new) = (quota(1_000, 1, NO_WAIT), quota(1, 1, NO_WAIT));
    let limiter = limited(old);
    go(&limiter, at(0)).unwrap();
    for _ in 0..3 {
        limiter.reload(Some(&new), at(0));
        assert_eq!(go(&limiter, at(0)), Err(refused(millis(1_000))));
    }
}

#[test]
fn a_limit_that_was_gone_for_a_while_begins_with_a_whole_burst() {
    let (strict, loose) = (quota(1, 2, NO_WAIT), quota(100, 2, NO_WAIT));
    let limiter = limited(strict);
    for _ in 0..2 {
        go(&limiter, at(0)).unwrap();
    }
    limiter.reload(None, at(1));
    for _ in 0..1_000 {
        assert_eq!(go(&limiter, at(1)), Ok(at(1)), "nothing limits");
    }
    limiter.reload(Some(&loose), at(2));
    for _ in 0..2 {
        assert_eq!(go(&limiter, at(2)), Ok(at(2)));
    }
    assert_eq!(go(&limiter, at(2)), Err(refused(millis(10))));
}

#[test]
fn a_reservation_from_before_a_limit_went_gives_nothing_back_to_its_successor() {
    let limiter = limited(quota(1, 1, millis(10_000)));
    go(&limiter, at(0)).unwrap();
    let waits = limiter.reserve(1, at(0), Instant::NEVER).unwrap();
    limiter.reload(None, at(1));
    limiter.reload(Some(&quota(1, 1, NO_WAIT)), at(2));
    go(&limiter, at(2)).unwrap();
    limiter.give_back(waits);
    assert_eq!(go(&limiter, at(2)), Err(refused(millis(1_000))));
}

#[test]
fn nobody_is_given_a_moment_that_he_does_not_live_to_see() {
    let limiter = limited(quota(2, 1, millis(10_000)));
    go(&limiter, at(0)).unwrap();
    let too_late = go_before(&limiter, at(0), at(400)).unwrap_err();
    assert_eq!(too_late, refused(millis(100)));
    let just_then = go_before(&limiter, at(0), at(500)).unwrap_err();
    assert_eq!(just_then, refused(NO_WAIT), "a moment later it is in time");
    assert_eq!(go_before(&limiter, at(0), at(501)), Ok(at(500)));
}

#[test]
fn twice_as_many_as_the_rate_allows_use_it_to_the_full() {
    let limiter = limited(quota(10, 1, millis(10_000)));
    let mut moments: Vec<_> = (0..800)
        .map(|number| at(number * 50))
        .filter_map(|now| go_before(&limiter, now, now + millis(1_000)).ok())
        .collect();
    moments.dedup();
    assert!(
        moments
            .into_iter()
            .take(400)
            .eq((0..400).map(|number| at(number * 100)))
    );
}

#[test]
fn threads_that_ask_at_once_get_a_moment_each_and_no_moment_twice() {
    let limiter = limited(quota(1_000, 1, millis(60_000)));
    let ask = || -> Vec<_> {
        let moments = (0..1_000).map(|_| go(&limiter, at(0)).unwrap());
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

#[test]
fn a_reload_that_races_with_callers_scales_nothing_twice() {
    let (old, new) = (quota(1_000, 1_000, NO_WAIT), quota(1, 1_000, NO_WAIT));
    for _ in 0..100 {
        let limiter = limited(old);
        std::thread::scope(|scope| {
            let ask = || (0..2_000).filter(|_| go(&limiter, at(0)).is_ok()).count();
            let asks = scope.spawn(ask);
            limiter.reload(Some(&new), at(0));
            assert_eq!(asks.join().unwrap(), 1_000);
        });
        assert_eq!(go(&limiter, at(0)), Err(refused(millis(1_000))));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// After so many nanoseconds, for so many permits, by a caller with so many left.
    Ask(u64, u32, u64),
    /// The last one's place, if nobody has it back yet.
    GiveBack,
    /// The quota of that number is in force from now on, or none.
    Reload(Option<Index>),
}

fn ask() -> impl Strategy<Value = Step> {
    let left = prop_oneof![0_u64..60, Just(u64::MAX)];
    (0_u64..40, 1_u32..6, left).prop_map(|(wait, permits, left)| Step::Ask(wait, permits, left))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![5 => ask(), 1 => Just(Step::GiveBack)]
}

fn step_or_reload() -> impl Strategy<Value = Step> {
    let reload = prop::option::weighted(0.8, any::<Index>()).prop_map(Step::Reload);
    prop_oneof![10 => ask(), 2 => Just(Step::GiveBack), 1 => reload]
}

fn settings() -> impl Strategy<Value = RateSettings> {
    (1_u64..20, 1_u32..6, 0_u64..60).prop_map(|(interval, burst, max_wait)| RateSettings {
        interval: Span::from_nanos(interval),
        burst,
        max_wait: Span::from_nanos(max_wait),
    })
}

/// What whoever has `left` nanoseconds is told if he must wait for `wait`.
fn answer(settings: &RateSettings, now: u64, wait: u64, left: u64) -> Result<Instant, Rejection> {
    let patience = settings.max_wait.as_nanos().min(left);
    if wait > patience || wait > 0 && wait == left {
        return Err(refused(Duration::from_nanos(wait - patience)));
    }
    Ok(Instant::from_nanos(now + wait))
}

/// Another slow way, in which quotas can change: a bucket that leaks.
#[derive(Default)]
struct Bucket {
    settings: Option<RateSettings>,
    /// In nanoseconds of the present interval.
    level: u64,
}

impl Bucket {
    fn ask(&mut self, permits: u32, now: u64, left: u64) -> Result<Instant, Rejection> {
        let Some(settings) = &self.settings else {
            return Ok(Instant::from_nanos(now));
        };
        if permits > settings.burst {
            return Err(refused(None));
        }
        let level = self.level + settings.cost(permits);
        let wait = level.saturating_sub(settings.cost(settings.burst));
        let answer = answer(settings, now, wait, left);
        if answer.is_ok() {
            self.level = level;
        }
        answer
    }

    fn reload(&mut self, new: Option<RateSettings>) {
        self.level = match (self.settings, new) {
            (Some(old), Some(new)) => {
                self.level * new.interval.as_nanos() / old.interval.as_nanos()
            }
            _ => 0,
        };
        self.settings = new;
    }
}

proptest! {
    /// The slow, obvious way: of every permit, the instant it is good for. Between any of them and
    /// now there may be a burst, and one more for each interval.
    #[test]
    fn any_span_of_time_holds_a_burst_and_one_more_for_each_interval(
        settings in settings(),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let (interval, burst) = (settings.interval.as_nanos(), settings.burst);
        let limiter = limited(settings);
        let mut permitted: Vec<u64> = Vec::new();
        let (mut now, mut last) = (0, None);
        for step in steps {
            let Step::Ask(wait, permits, left) = step else {
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
            } else {
                answer(&settings, now, moment - now, left)
            };
            let deadline = Instant::from_nanos(now.saturating_add(left));
            let got = limiter.reserve(permits, Instant::from_nanos(now), deadline);
            prop_assert_eq!(got.map(|reservation| reservation.at), expected);
            if let Ok(reservation) = got {
                last = Some(reservation);
                permitted.extend(std::iter::repeat_n(moment, permits as usize));
            }
        }
    }

    /// Whoever asks pays by the quota in force, whatever was in force when he came.
    #[test]
    fn whatever_quotas_come_and_go_what_was_used_stays_used_and_no_more(
        quotas in prop::collection::vec(settings(), 1..4),
        steps in prop::collection::vec(step_or_reload(), 0..100),
    ) {
        let (limiter, mut bucket) = (limited(quotas[0]), Bucket::default());
        bucket.reload(Some(quotas[0]));
        let (mut now, mut last) = (0, None);
        for step in steps {
            match step {
                Step::Ask(wait, permits, left) => {
                    now += wait;
                    bucket.level = bucket.level.saturating_sub(wait);
                    let deadline = Instant::from_nanos(now.saturating_add(left));
                    let got = limiter.reserve(permits, Instant::from_nanos(now), deadline);
                    let expected = bucket.ask(permits, now, left);
                    prop_assert_eq!(got.map(|reservation| reservation.at), expected);
                    last = got.ok().or(last);
                }
                Step::GiveBack => {
                    if let Some(reservation) = last.take() {
                        limiter.give_back(reservation);
                        // Time may have paid for it since.
                        bucket.level = bucket.level.saturating_sub(reservation.cost);
                    }
                }
                Step::Reload(which) => {
                    let new = which.map(|which| *which.get(&quotas));
                    limiter.reload(new.as_ref(), Instant::from_nanos(now));
                    bucket.reload(new);
                    // A place from before it is nobody's to give back.
                    last = None;
                }
            }
        }
    }
}
