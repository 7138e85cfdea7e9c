//! When a wait tells what, by a clock that stands still.

use std::time::SystemTime;

use fusebox_core::key::{Epoch, InstanceId, Namespace, Service};
use fusebox_core::stats::{InstanceFacts, InstanceKey, SessionId};
use fusebox_core::sync::Audience;

use super::super::hub::Membership;
use super::super::roll::Place;
use super::super::{Pace, Patience};
use super::*;
use crate::fleet::FleetWatch;
use crate::store::{Retention, memory};

const PACE: Pace = Pace {
    report_interval: Duration::from_secs(5),
    heartbeat_interval: Duration::from_secs(10),
    max_session_age: Duration::from_secs(3600),
};

fn server(reconnect: Duration) -> Arc<Distribution> {
    let store = memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap();
    let fleet = Arc::new(FleetWatch::new(PACE.report_interval));
    let patience = Patience {
        reconnect,
        ..Patience::default()
    };
    Distribution::start_with(store, PACE, patience, fleet, CancellationToken::new()).unwrap()
}

/// Given up in this order.
struct Process {
    place: Place,
    _membership: Membership,
}

fn process(server: &Distribution, number: u64) -> Process {
    let key = InstanceKey {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        instance: InstanceId::new(format!("i-{number}")).unwrap(),
        epoch: Epoch(1),
    };
    let audience = Audience {
        namespace: key.namespace.clone(),
        service: key.service.clone(),
    };
    let (membership, _) = server.hub.join(audience, Arc::default());
    let (facts, session) = (InstanceFacts::default(), SessionId(number));
    Process {
        place: Place::take(server.hub.roll(), session, &key, &facts, 1),
        _membership: membership,
    }
}

fn quest(within: Duration) -> Quest {
    Quest {
        revision: Revision::ZERO,
        scope: Scope::default(),
        share: Share::ALL,
        within,
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn the_end_is_told_within_a_spacing_of_the_last_acknowledgement() {
    let server = server(Duration::ZERO);
    let processes = [process(&server, 1), process(&server, 2)];
    let mut wait = server.wait_for(quest(LONG)).unwrap();
    assert_eq!(wait.next().await.unwrap().state, State::Waiting);
    let acknowledge = async {
        tokio::time::sleep(VIGIL / 3).await;
        processes[0].place.acked(Revision::ZERO, &[]);
        processes[1].place.acked(Revision::ZERO, &[]);
        Instant::now()
    };
    let (end, last) = tokio::join!(wait.next(), acknowledge);
    assert_eq!(end.unwrap().state, State::Reached);
    assert!(last.elapsed() <= SPACING, "{:?}", last.elapsed());
}

#[tokio::test(start_paused = true)]
async fn counts_that_change_are_told_once_an_interval() {
    let server = server(Duration::ZERO);
    let processes: Vec<_> = (1..=9).map(|number| process(&server, number)).collect();
    let mut wait = server.wait_for(quest(LONG)).unwrap();
    wait.next().await.unwrap();
    let mut told = Instant::now();
    for process in &processes[..8] {
        process.place.acked(Revision::ZERO, &[]);
        assert_eq!(wait.next().await.unwrap().state, State::Waiting);
        assert!(told.elapsed() >= TELL_INTERVAL, "{:?}", told.elapsed());
        told = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn without_news_nothing_is_told_before_the_deadline() {
    let server = server(Duration::ZERO);
    let _process = process(&server, 1);
    let begun = Instant::now();
    let mut wait = server.wait_for(quest(Duration::from_secs(7))).unwrap();
    assert_eq!(wait.next().await.unwrap().state, State::Waiting);
    assert_eq!(wait.next().await.unwrap().state, State::Expired);
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reached_before_the_reconnect_window_is_over() {
    let begun = Instant::now();
    let server = server(Duration::from_secs(10));
    let mut wait = server.wait_for(quest(LONG)).unwrap();
    let first = wait.next().await.unwrap();
    assert_eq!((first.state, first.counts.settling), (State::Waiting, true));
    assert_eq!(wait.next().await.unwrap().state, State::Reached);
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_without_any_news() {
    let server = server(Duration::ZERO);
    let process = process(&server, 1);
    let mut wait = server.wait_for(quest(LONG)).unwrap();
    assert_eq!(wait.next().await.unwrap().counts.standing.stale, 0);
    let begun = Instant::now();
    assert_eq!(wait.next().await.unwrap().counts.standing.stale, 1);
    let (after, patience) = (begun.elapsed(), server.stale_after());
    assert!(
        after > patience && after <= patience + 2 * VIGIL,
        "{after:?}"
    );
    process.place.heard();
    assert_eq!(wait.next().await.unwrap().counts.standing.stale, 0);
}

#[tokio::test(start_paused = true)]
async fn the_more_wait_the_more_seldom_each_looks() {
    let server = server(Duration::ZERO);
    let waits: Vec<_> = (0..MAX_WAITS)
        .map(|_| server.wait_for(quest(LONG)).unwrap())
        .collect();
    assert_eq!(waits[0].spacing(), SPACING * 32);
    assert_eq!(server.wait_for(quest(LONG)).err(), Some(Unawaited::TooMany));
    drop(waits);
    assert_eq!(server.wait_for(quest(LONG)).unwrap().spacing(), SPACING);
}

#[tokio::test(start_paused = true)]
async fn all_looks_together_take_a_small_share_of_the_time_however_long_one_takes() {
    let server = server(Duration::ZERO);
    let cost = Duration::from_millis(10);
    let mut waits: Vec<_> = (0..4)
        .map(|_| server.wait_for(quest(LONG)).unwrap())
        .collect();
    waits[0].cost = cost;
    assert_eq!(waits[0].spacing(), cost * 4 * REST);
    waits.truncate(1);
    assert_eq!(waits[0].spacing(), cost * REST);
}

#[test]
fn a_share_is_above_nothing_and_at_most_all() {
    for bad in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(Share::new(bad), None, "{bad}");
    }
    let nearly_all = Share::new(0.99).unwrap();
    assert!(nearly_all.is_met(99, 100) && !nearly_all.is_met(98, 100));
    assert!(!nearly_all.is_met(9, 10), "of ten, nine are less");
    assert!(Share::new(f64::MIN_POSITIVE).unwrap().is_met(1, 10_000));
    assert!(Share::ALL.is_met(0, 0));
}
