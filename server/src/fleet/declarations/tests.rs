use std::time::Duration;

use fusebox_core::key::{Epoch, InstanceId, Namespace, Service};

use super::*;

fn instance(number: u64) -> InstanceKey {
    InstanceKey {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        instance: InstanceId::new(format!("i-{number}")).unwrap(),
        epoch: Epoch(number),
    }
}

fn pay() -> OperationName {
    OperationName::new("pay").unwrap()
}

/// A call site that bounds attempts.
fn attempt(seconds: u64) -> Declaration {
    let mut rules = Rules::default();
    rules.timeout.attempt = Some(Duration::from_secs(seconds));
    Declaration {
        kind: Kind::Api,
        idempotent: false,
        layers: vec![(Origin::CallSite, rules)],
    }
}

/// Sessions from 1 on that say these attempt timeouts.
fn said(seconds: &[u64]) -> Declarations {
    let mut declarations = Declarations::default();
    for (seconds, number) in seconds.iter().zip(1..) {
        declarations.connect(SessionId(number), instance(number));
        say(&mut declarations, number, *seconds);
    }
    declarations
}

fn say(declarations: &mut Declarations, session: u64, seconds: u64) {
    let told = declarations.declare(SessionId(session), &pay(), attempt(seconds));
    assert_eq!(told, Ok(()));
}

/// The attempt timeout that most say, in seconds, and whether some differ.
fn most(declarations: &Declarations) -> Option<(u64, bool)> {
    let declared = declarations.of(&key(&instance(1), pay()))?;
    let (_, rules) = &declared.layers[0];
    Some((rules.timeout.attempt?.as_secs(), declared.differ))
}

#[test]
fn what_all_say_is_kept_once() {
    let declarations = said(&[5; 100]);
    assert_eq!(most(&declarations), Some((5, false)));
    assert_eq!(declarations.kept, 1);
}

#[test]
fn what_most_say_holds_and_that_some_differ_is_told() {
    assert_eq!(most(&said(&[7, 5, 5])), Some((5, true)));
    assert_eq!(most(&said(&[7, 5, 5, 7])), Some((7, true)), "known longer");
}

#[test]
fn who_differs_in_kind_alone_differs() {
    let mut declarations = said(&[5, 5]);
    let cache = Declaration {
        kind: Kind::Cache,
        ..attempt(5)
    };
    declarations.connect(SessionId(3), instance(3));
    declarations.declare(SessionId(3), &pay(), cache).unwrap();
    assert_eq!(most(&declarations), Some((5, true)));
}

#[test]
fn what_a_session_said_goes_with_it() {
    let mut declarations = said(&[7, 5, 5]);
    declarations.disconnect(SessionId(2));
    declarations.disconnect(SessionId(3));
    assert_eq!(most(&declarations), Some((7, false)));
    declarations.disconnect(SessionId(1));
    declarations.disconnect(SessionId(1));
    assert_eq!(most(&declarations), None);
    assert!(declarations.sessions.is_empty() && declarations.ballots.is_empty());
    assert_eq!(declarations.kept, 0);
}

#[test]
fn who_says_something_else_takes_back_what_it_said() {
    let mut declarations = said(&[7, 5]);
    say(&mut declarations, 1, 5);
    assert_eq!(most(&declarations), Some((5, false)));
    say(&mut declarations, 1, 5);
    declarations.disconnect(SessionId(2));
    assert_eq!(most(&declarations), Some((5, false)), "said once, twice");
}

#[test]
fn whoever_is_not_connected_says_nothing() {
    let mut declarations = Declarations::default();
    say(&mut declarations, 1, 5);
    assert_eq!(most(&declarations), None);
}

#[test]
fn of_too_many_different_things_said_it_is_known_that_they_differ() {
    let variants = MAX_VARIANTS as u64;
    let every: Vec<_> = (1..=variants + 50).collect();
    let mut declarations = said(&every);
    assert_eq!(declarations.kept, MAX_VARIANTS);
    for session in 2..=variants {
        declarations.disconnect(SessionId(session));
    }
    assert_eq!(most(&declarations), Some((1, true)));
    for session in variants + 1..=variants + 50 {
        declarations.disconnect(SessionId(session));
    }
    assert_eq!(most(&declarations), Some((1, false)));
}

#[test]
fn at_the_bound_further_operations_are_passed_over_and_known_ones_are_not() {
    let mut declarations = said(&[5, 5]);
    declarations.kept = MAX_KEPT;
    let other = OperationName::new("other").unwrap();
    let told = declarations.declare(SessionId(1), &other, attempt(1));
    assert_eq!(told, Err(Overfull));
    say(&mut declarations, 1, 6);
    assert_eq!(most(&declarations), Some((5, true)));
    say(&mut declarations, 1, 5);
    assert_eq!(most(&declarations), Some((5, false)));
    declarations.kept = 1;
    declarations.disconnect(SessionId(1));
    declarations.disconnect(SessionId(2));
    assert!(declarations.ballots.is_empty());
}
