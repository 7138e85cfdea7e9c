//! Whose overrides hold here, and until when.

use fusebox_core::glob::Glob;
use fusebox_core::outcome::Forced;

use super::*;

const STORE: Option<Incarnation> = Some(Incarnation(7));

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(1000 + seconds)
}

/// By the server's clock.
fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(5000 + seconds)
}

fn everybody() -> BreakerTarget {
    BreakerTarget::everything(Namespace::default_namespace())
}

/// Set at the server's second 0, for a minute.
fn standing(id: u64, target: BreakerTarget) -> Arc<BreakerOverride> {
    Arc::new(BreakerOverride {
        id: Revision(id),
        target,
        forced: Forced::Open,
        reason: "tried".to_owned(),
        author: String::new(),
        create_time: time(0),
        ttl: Duration::from_secs(60),
    })
}

fn forcing() -> Forcing {
    Forcing::new(Whoami {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        instance: InstanceId::new("checkout-1").unwrap(),
        labels: Labels::new([("zone", "eu")]).unwrap(),
    })
}

fn pay() -> OperationName {
    OperationName::new("pay").unwrap()
}

fn ends(forcing: &Forcing) -> Vec<Instant> {
    forcing.of(&pay()).iter().map(|one| one.until).collect()
}

#[test]
fn an_override_ends_when_the_servers_clock_says_however_late_it_came() {
    let mut forcing = forcing();
    forcing.server_shows(time(10), at(0));
    assert!(forcing.replace(STORE, [&standing(1, everybody())], at(20)));
    // 30 s have passed by the server's clock.
    assert_eq!(ends(&forcing), [at(50)]);
    assert_eq!(forcing.in_force(at(49)).count(), 1);
    assert_eq!(forcing.in_force(at(50)).count(), 0);
}

#[test]
fn an_override_never_lasts_longer_than_it_was_given_nor_ends_later_than_it_was_to() {
    let mut forcing = forcing();
    let one = standing(1, everybody());
    // A clock that is wrong.
    forcing.server_shows(SystemTime::UNIX_EPOCH, at(0));
    forcing.replace(STORE, [&one], at(0));
    assert_eq!(ends(&forcing), [at(60)]);
    forcing.server_shows(time(30), at(5));
    assert!(forcing.replace(STORE, [&one], at(5)));
    assert_eq!(ends(&forcing), [at(35)]);
    forcing.server_shows(time(0), at(6));
    assert!(!forcing.replace(STORE, [&one], at(6)));
    assert_eq!(ends(&forcing), [at(35)]);
}

#[test]
fn what_was_on_the_disk_has_what_was_left_of_it() {
    let mut forcing = forcing();
    let both = [standing(1, everybody()), standing(2, everybody())];
    let left = BTreeMap::from([(Revision(1), Duration::from_secs(7))]);
    forcing.restore(STORE, &both, &left, at(0));
    assert_eq!(
        ends(&forcing),
        [at(7), at(0)],
        "what is not known of is over"
    );
    assert_eq!(
        forcing.time_left(at(3))[&Revision(1)],
        Duration::from_secs(4)
    );
}

#[test]
fn a_file_that_processes_share_says_how_long_an_override_of_another_process_holds() {
    let target = |id: &str| BreakerTarget {
        instance: Some(InstanceId::new(id).unwrap()),
        ..everybody()
    };
    let theirs = standing(1, target("checkout-2"));
    let mut writer = forcing();
    writer.server_shows(time(0), at(0));
    writer.replace(STORE, [&theirs], at(0));
    assert!(ends(&writer).is_empty());
    assert_eq!(writer.in_force(at(0)).count(), 0);
    let written = writer.time_left(at(10));

    let mut reader = Forcing::new(Whoami {
        instance: InstanceId::new("checkout-2").unwrap(),
        ..writer.whoami
    });
    reader.restore(STORE, [&theirs], &written, at(10));
    assert_eq!(ends(&reader), [at(60)]);
}

#[test]
fn only_what_means_this_process_and_this_operation_holds() {
    let mut forcing = forcing();
    let glob = |pattern: &str| Some(Glob::new(pattern).unwrap());
    let labels = |zone| Labels::new([("zone", zone)]).unwrap();
    let id = |id| Some(InstanceId::new(id).unwrap());
    let targets = [
        (everybody(), true),
        (
            BreakerTarget {
                service: glob("check*"),
                ..everybody()
            },
            true,
        ),
        (
            BreakerTarget {
                service: glob("search"),
                ..everybody()
            },
            false,
        ),
        (
            BreakerTarget {
                operation: glob("p*"),
                ..everybody()
            },
            true,
        ),
        (
            BreakerTarget {
                operation: glob("ship"),
                ..everybody()
            },
            false,
        ),
        (
            BreakerTarget {
                instance: id("checkout-1"),
                ..everybody()
            },
            true,
        ),
        (
            BreakerTarget {
                instance: id("checkout-2"),
                ..everybody()
            },
            false,
        ),
        (
            BreakerTarget {
                labels: labels("eu"),
                ..everybody()
            },
            true,
        ),
        (
            BreakerTarget {
                labels: labels("us"),
                ..everybody()
            },
            false,
        ),
        (
            BreakerTarget {
                namespace: Namespace::new("other").unwrap(),
                ..everybody()
            },
            false,
        ),
    ];
    for (target, mine) in targets {
        forcing.replace(STORE, [&standing(1, target.clone())], at(0));
        assert_eq!(!forcing.of(&pay()).is_empty(), mine, "{target}");
    }
}

#[test]
fn another_stores_ids_mean_others() {
    let mut forcing = forcing();
    forcing.server_shows(time(50), at(0));
    forcing.replace(STORE, [&standing(1, everybody())], at(0));
    assert!(forcing.is_reset(Revision(9), &everybody()));
    forcing.server_shows(time(0), at(0));
    forcing.replace(Some(Incarnation(8)), [&standing(1, everybody())], at(0));
    assert_eq!(ends(&forcing), [at(60)]);
    assert!(forcing.is_reset(Revision(2), &everybody()));
}

#[test]
fn a_reset_is_obeyed_once_and_only_by_those_it_means() {
    let mut forcing = forcing();
    let other = BreakerTarget {
        service: Some(Glob::new("search").unwrap()),
        ..everybody()
    };
    assert!(forcing.is_reset(Revision(5), &everybody()));
    assert!(!forcing.is_reset(Revision(5), &everybody()));
    assert!(!forcing.is_reset(Revision(4), &everybody()));
    assert!(!forcing.is_reset(Revision(6), &other));
    assert!(forcing.is_reset(Revision(7), &everybody()));
}
