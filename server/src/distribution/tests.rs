//! The hub and its follower, without a stream.

use std::time::SystemTime;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, Namespace, PolicyId, Service};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy, Stored};
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::sync::{Audience, Known};

use super::hub::{Edition, Membership};
use super::standing::{Dispatch, Standing};
use super::*;
use crate::store::{
    Cause, Committed, Expect, Proposal, Provenance, Retention, Step, Version, WATCH_EVENTS, What,
    memory,
};

const PACE: Pace = Pace {
    report_interval: Duration::from_secs(5),
    heartbeat_interval: Duration::from_secs(15),
    max_session_age: Duration::from_secs(3600),
};

fn audience(service: &str) -> Audience {
    Audience {
        namespace: Namespace::default_namespace(),
        service: Service::new(service).unwrap(),
    }
}

fn policy(name: &str, service: &str) -> Policy {
    let service = Glob::new(service).unwrap();
    Policy::new(Draft {
        id: PolicyId::new("default", name).unwrap(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(Some(service), None, None, Labels::default()).unwrap(),
        rules: Rules::default(),
        clear: Vec::new(),
    })
    .unwrap()
}

fn stored(name: &str, service: &str, revision: u64) -> Arc<Stored> {
    Arc::new(Stored {
        policy: policy(name, service),
        revision: Revision(revision),
        create_time: SystemTime::UNIX_EPOCH,
        update_time: SystemTime::UNIX_EPOCH,
        updated_by: String::new(),
    })
}

fn by() -> Provenance {
    Provenance {
        author: "test".into(),
        source: "192.0.2.1".into(),
        cause: Cause::Create,
        reason: String::new(),
    }
}

fn event(stored: &Arc<Stored>) -> Committed {
    let version = Version {
        revision: stored.revision,
        what: What::Policy {
            id: stored.policy.id().clone(),
            stored: Some(Arc::clone(stored)),
        },
        replaced: None,
        time: SystemTime::UNIX_EPOCH,
        by: Arc::new(by()),
    };
    Committed {
        revision: stored.revision,
        versions: [Arc::new(version)].into(),
    }
}

fn hub() -> Arc<Hub> {
    let policies = vec![stored("a", "checkout", 1)];
    Arc::new(Hub::new(
        Incarnation(7),
        false,
        Revision(1),
        policies,
        Vec::new(),
    ))
}

async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

/// A place in the hub, and the edition it was told of at once.
fn join(hub: &Arc<Hub>, service: &str) -> (Membership, Arc<Edition>) {
    hub.join(audience(service), Arc::default())
}

#[test]
fn all_sessions_of_an_audience_share_the_bytes_of_their_snapshot() {
    let hub = hub();
    let (_one, first) = join(&hub, "checkout");
    let (_other, second) = join(&hub, "checkout");
    assert_eq!(
        first.frame().into_bytes().as_ptr(),
        second.frame().into_bytes().as_ptr()
    );
}

#[tokio::test]
async fn a_member_hears_of_the_latest_of_several_changes_only() {
    let hub = hub();
    let _member = join(&hub, "checkout");
    for revision in 2..=9 {
        assert_eq!(hub.apply(&event(&stored("a", "checkout", revision))), 1);
    }
    let (_bell, edition) = hub.next().await;
    assert_eq!(edition.snapshot.revision, Revision(9));
    assert!(poll_once(hub.next()).await.is_none());
}

#[test]
fn a_change_wakes_no_audience_it_does_not_concern() {
    let hub = hub();
    let _member = join(&hub, "checkout");
    assert_eq!(hub.apply(&event(&stored("b", "search", 2))), 0);
}

#[test]
fn an_audience_that_nobody_listens_for_is_forgotten() {
    let hub = hub();
    let (member, _) = join(&hub, "checkout");
    let (other, _) = join(&hub, "checkout");
    drop(member);
    assert_eq!(hub.apply(&event(&stored("a", "checkout", 2))), 1);
    drop(other);
    assert_eq!(hub.apply(&event(&stored("a", "checkout", 3))), 0);
    let (_again, edition) = join(&hub, "checkout");
    assert_eq!(edition.snapshot.policies[0].revision, Revision(3));
}

#[tokio::test]
async fn taken_anew_the_state_is_told_to_those_for_whom_it_is_news() {
    let hub = hub();
    let (_checkout, before) = join(&hub, "checkout");
    let (_search, _) = join(&hub, "search");
    let policies = vec![stored("a", "checkout", 5), stored("b", "other", 6)];
    assert_eq!(hub.rebuild(Revision(6), policies.clone(), Vec::new()), 2);
    assert_eq!(hub.rebuild(Revision(6), policies, Vec::new()), 0, "no news");
    let (_bell, after) = hub.next().await;
    assert_ne!(after.snapshot.digest, before.snapshot.digest);
    assert_eq!(
        hub.apply(&event(&stored("c", "search", 7))),
        1,
        "audiences are kept"
    );
}

/// `b` came and went while this server was not looking, and the process was elsewhere meanwhile.
#[tokio::test]
async fn taken_anew_a_set_that_is_as_before_still_reaches_who_has_seen_another_one_since() {
    let hub = hub();
    let (_member, edition) = join(&hub, "checkout");
    let ahead = Known {
        incarnation: Some(Incarnation(7)),
        revision: Revision(2),
        digest: Digest(99),
    };
    let (mut standing, first) = Standing::new(ahead, Vec::new(), edition);
    assert_eq!(first, None, "this server is behind");
    hub.rebuild(Revision(3), vec![stored("a", "checkout", 1)], Vec::new());
    let (_bell, news) = hub.next().await;
    let sent = standing.offer(news);
    assert!(matches!(sent, Some(Dispatch::Snapshot(_))));
}

#[test]
fn an_adopted_store_says_so_to_all_also_when_its_state_was_taken_anew() {
    let hub = Arc::new(Hub::new(
        Incarnation(7),
        true,
        Revision(0),
        Vec::new(),
        Vec::new(),
    ));
    let (_member, edition) = join(&hub, "checkout");
    assert!(edition.snapshot.adopted);
    hub.rebuild(Revision(1), vec![stored("a", "checkout", 1)], Vec::new());
    let (_other, edition) = join(&hub, "checkout");
    assert!(edition.snapshot.adopted);
    assert_eq!(edition.snapshot.revision, Revision(1));
}

/// On one thread, so that the follower stands still while this test does not wait.
#[tokio::test(flavor = "current_thread")]
async fn a_follower_that_fell_behind_misses_no_change() {
    let store = memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap();
    let fleet = Arc::new(FleetWatch::new(PACE.report_interval));
    let stop = CancellationToken::new();
    let distribution = Distribution::start(Arc::clone(&store), PACE, fleet, stop).unwrap();
    let bell: Arc<Bell> = Arc::default();
    let _member = distribution
        .hub
        .join(audience("checkout"), Arc::clone(&bell));
    let writes = WATCH_EVENTS as u64 + 10;
    for i in 1..=writes {
        let name = format!("p{i}");
        let put = Step::put(policy(&name, "checkout"), Expect::Absent);
        drop(store.append(Proposal::one(put, by())));
        while store.revision() < Revision(i) {
            std::thread::yield_now();
        }
    }
    let edition = loop {
        bell.rung().await;
        let edition = bell.take().push.map(|push| push.edition);
        if let Some(edition) = edition
            && edition.snapshot.revision == Revision(writes)
        {
            break edition;
        }
    };
    assert_eq!(edition.snapshot.policies.len() as u64, writes);
    assert_eq!(distribution.tally().lagged, 1);
}

#[tokio::test]
async fn a_store_that_is_closed_cannot_be_followed() {
    let store = memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap();
    store.close().await;
    let fleet = Arc::new(FleetWatch::new(PACE.report_interval));
    let started = Distribution::start(store, PACE, fleet, CancellationToken::new());
    assert_eq!(started.err(), Some(ReadError::Closed));
}
