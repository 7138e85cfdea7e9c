//! What operators decide, from a snapshot to the calls.

use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::Namespace;
use fusebox_core::outcome::Forced;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerTarget};
use fusebox_core::sync::OverrideEntry;

use super::*;

fn target(operation: &str) -> BreakerTarget {
    BreakerTarget {
        operation: Some(Glob::new(operation).unwrap()),
        ..BreakerTarget::everything(Namespace::default_namespace())
    }
}

/// Without a server's time it lasts as long as it was given.
fn standing(id: u64, operation: &str, forced: Forced, seconds: u64) -> OverrideEntry {
    let standing = BreakerOverride {
        id: Revision(id),
        target: target(operation),
        forced,
        reason: "the database burns".to_owned(),
        author: "ann".to_owned(),
        create_time: SystemTime::UNIX_EPOCH,
        ttl: Duration::from_secs(seconds),
    };
    OverrideEntry {
        id: Revision(id),
        standing: Ok(Arc::new(standing)),
    }
}

fn receive(fusebox: &Fusebox, revision: u64, overrides: Vec<OverrideEntry>) {
    let received = snapshot(revision, Rules::default());
    let ids = overrides.iter().map(|one| one.id);
    let received = Received {
        digest: received.digest.with_overrides(ids),
        overrides,
        ..received
    };
    fusebox.enforcement.receive(received).unwrap();
}

async fn is_let_in(operation: &Operation) -> bool {
    let called = operation.call(async |_| Ok::<_, ()>(())).await;
    called.is_ok()
}

#[tokio::test(start_paused = true)]
async fn an_override_holds_for_those_it_means_also_for_whoever_registers_later_and_ends_by_itself()
{
    let fusebox = fusebox();
    let before = register(&fusebox, "pay.card").unwrap();
    let other = register(&fusebox, "ship").unwrap();
    receive(&fusebox, 1, vec![standing(1, "pay.*", Forced::Open, 60)]);
    let later = register(&fusebox, "pay.cash").unwrap();
    assert!(!is_let_in(&before).await && !is_let_in(&later).await);
    assert!(is_let_in(&other).await);
    let health = fusebox.health();
    let [known] = &health.overrides[..] else {
        panic!("{:?}", health.overrides);
    };
    assert_eq!((known.id, known.state), (1, CircuitState::Open));
    assert_eq!(
        (&*known.reason, &*known.author),
        ("the database burns", "ann")
    );
    assert_eq!(known.time_left, Duration::from_secs(60));
    assert_eq!(health.operations[0].forced_by, Some(1));
    sleep(Duration::from_secs(60)).await;
    assert!(is_let_in(&before).await && is_let_in(&later).await);
    assert!(fusebox.health().overrides.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_overrides_the_newer_decides_and_then_the_older_and_then_the_breaker() {
    let fusebox = fusebox();
    let pay = register(&fusebox, "pay").unwrap();
    fail(&pay).await;
    assert!(!is_let_in(&pay).await, "it is open by itself");
    let older = || standing(1, "pay", Forced::Closed, 600);
    receive(
        &fusebox,
        2,
        vec![older(), standing(2, "*", Forced::Open, 600)],
    );
    assert!(!is_let_in(&pay).await);
    receive(&fusebox, 3, vec![older()]);
    assert!(is_let_in(&pay).await);
    receive(&fusebox, 4, Vec::new());
    assert!(!is_let_in(&pay).await, "it is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_reset_closes_those_it_means_once() {
    let fusebox = fusebox();
    let [pay, ship] = ["pay", "ship"].map(|name| register(&fusebox, name).unwrap());
    for operation in [&pay, &ship] {
        fail(operation).await;
    }
    let reset = |id| fusebox.enforcement.reset(Revision(id), &target("p*"));
    reset(5);
    assert!(is_let_in(&pay).await);
    assert!(!is_let_in(&ship).await);
    fail(&pay).await;
    reset(5);
    assert!(!is_let_in(&pay).await, "it was told of that reset already");
    reset(6);
    assert!(is_let_in(&pay).await);
}
