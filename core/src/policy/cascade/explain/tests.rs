use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::glob::Glob;
use crate::key::{Kind, Labels, OperationName, PolicyId, Service};
use crate::policy::Draft;
use crate::policy::cascade::resolve;
use crate::policy::cascade::tests::{SHADOW, any_policies, any_rules, limit, policy, trip};
use crate::policy::selector::Selector;
use crate::policy::tests::{on, secs};

fn labels(count: usize) -> Labels {
    Labels::new([("zone", "eu"), ("tier", "1")].into_iter().take(count)).unwrap()
}

/// Asks `look` about `payments.charge` of a labelled checkout.
fn with_target<T>(look: impl FnOnce(&Target<'_>) -> T) -> T {
    look(&Target {
        service: &Service::new("checkout").unwrap(),
        operation: &OperationName::new("payments.charge").unwrap(),
        kind: Kind::Api,
        labels: &labels(2),
    })
}

fn explain_all<'a>(locals: &[(Origin, Rules)], policies: &'a [Policy]) -> Explanation<'a> {
    with_target(|target| explain(target, locals, policies))
}

fn of<'a>(explanation: &'a Explanation<'_>, field: Field) -> &'a FieldExplanation {
    let mut fields = explanation.fields.iter();
    fields.find(|explained| explained.field == field).unwrap()
}

fn by(name: &str) -> Origin {
    Origin::Policy(PolicyId::new("default", name).unwrap())
}

/// A policy that sets the attempt timeout.
fn attempt(name: &str, seconds: u64, set: impl FnOnce(&mut Draft)) -> Policy {
    policy(name, |draft| {
        draft.rules.timeout.attempt = Some(secs(seconds));
        set(draft);
    })
}

fn select(
    service: &str,
    operation: &str,
    kind: Option<Kind>,
    labels_wanted: usize,
) -> Option<Selector> {
    let glob = |pattern: &str| (!pattern.is_empty()).then(|| Glob::new(pattern).unwrap());
    Selector::new(glob(service), glob(operation), kind, labels(labels_wanted)).ok()
}

/// The attempt timeouts overruled, each by whom it was set and why it does not hold.
fn overruled_attempts(policies: &[Policy]) -> Vec<(Origin, Reason)> {
    let explanation = explain_all(&[], policies);
    let overruled = &of(&explanation, Field::TimeoutAttempt).overruled;
    let told = overruled
        .iter()
        .map(|loser| (loser.origin.clone(), loser.reason));
    told.collect()
}

#[test]
fn a_field_is_told_with_who_decided_and_who_lost() {
    let mut site = Rules::default();
    site.timeout.attempt = Some(secs(9));
    let mut file = Rules::default();
    file.timeout.attempt = Some(secs(8));
    let locals = [(Origin::File, file), (Origin::CallSite, site)];
    let policies = [attempt("p", 2, |_| ()), attempt("q", 3, |_| ())];
    let explanation = explain_all(&locals, &policies);
    let explained = of(&explanation, Field::TimeoutAttempt);
    assert_eq!(explained.value.timeout.attempt, Some(secs(3)));
    assert_eq!(explained.origin, by("q"));
    assert!(!explained.cleared);
    let losers = explained.overruled.iter();
    let losers: Vec<_> = losers
        .map(|loser| (&loser.origin, loser.value.timeout.attempt, loser.reason))
        .collect();
    assert_eq!(
        losers,
        [
            (&by("p"), Some(secs(2)), Reason::EarlierName),
            (&Origin::CallSite, Some(secs(9)), Reason::LowerLayer),
            (&Origin::File, Some(secs(8)), Reason::LowerLayer),
        ]
    );
    let names = explanation.ranking.iter().map(|policy| policy.id());
    assert!(names.eq([policies[1].id(), policies[0].id()]));
}

#[test]
fn where_nobody_spoke_the_kind_decided_and_nobody_lost() {
    let explanation = explain_all(&[], &[]);
    for explained in &explanation.fields {
        assert_eq!(explained.origin, Origin::Kind);
        assert_eq!(explained.overruled, []);
        assert!(!explained.cleared);
    }
    let bulkhead = of(&explanation, Field::BulkheadLimit);
    assert!(bulkhead.value.is_empty(), "nothing limits");
}

#[test]
fn a_policy_loses_by_the_first_thing_in_which_it_is_less() {
    let selectors = [
        (Reason::LessSpecificOperation, ("checkout", "", None, 0)),
        (Reason::LessSpecificOperation, ("checkout", "pay*", None, 0)),
        (
            Reason::LessSpecificService,
            ("check*", "payments.*", None, 0),
        ),
        (
            Reason::LessSpecificKind,
            ("checkout", "payments.*", None, 2),
        ),
        (
            Reason::FewerLabels,
            ("checkout", "payments.*", Some(Kind::Api), 1),
        ),
        (
            Reason::EarlierName,
            ("checkout", "payments.*", Some(Kind::Api), 2),
        ),
    ];
    let full = select("checkout", "payments.*", Some(Kind::Api), 2).unwrap();
    let winner = attempt("m", 1, |draft| draft.selector = full);
    for (reason, (service, operation, kind, count)) in selectors {
        let selector = select(service, operation, kind, count).unwrap();
        let loser = attempt("a", 2, |draft| draft.selector = selector);
        let told = overruled_attempts(&[winner.clone(), loser]);
        assert_eq!(told, [(by("a"), reason)]);
    }
    let urgent = attempt("a", 2, |draft| draft.priority = 1);
    let told = overruled_attempts(&[winner, urgent]);
    assert_eq!(told, [(by("m"), Reason::LowerPriority)]);
}

#[test]
fn each_loser_is_compared_with_the_one_that_decides() {
    let exact = |draft: &mut Draft| draft.selector = on("payments.charge");
    let policies = [
        attempt("a", 1, |_| ()),
        attempt("b", 2, |_| ()),
        attempt("c", 3, exact),
    ];
    assert_eq!(
        overruled_attempts(&policies),
        [
            (by("b"), Reason::LessSpecificOperation),
            (by("a"), Reason::LessSpecificOperation)
        ]
    );
}

#[test]
fn who_only_tries_a_section_out_speaks_of_it_in_vain_however_high() {
    let enforced = policy("a", |draft| draft.rules.bulkhead.limit = limit(3));
    let tried = policy("b", |draft| {
        draft.rules.bulkhead.limit = limit(1);
        draft.rules.bulkhead.mode = SHADOW;
    });
    let cleared = policy("c", |draft| {
        draft.rules.bulkhead.mode = SHADOW;
        draft.clear = vec![Field::BulkheadLimit];
    });
    let policies = [enforced, tried, cleared];
    let explanation = explain_all(&[], &policies);
    let explained = of(&explanation, Field::BulkheadLimit);
    assert_eq!(explained.origin, by("a"));
    assert_eq!(explained.value.bulkhead.limit, limit(3));
    let losers = explained.overruled.iter();
    let losers: Vec<_> = losers
        .map(|loser| {
            let Overruled {
                reason, cleared, ..
            } = loser;
            (&loser.origin, loser.value.bulkhead.limit, *cleared, *reason)
        })
        .collect();
    assert_eq!(
        losers,
        [
            (&by("c"), None, true, Reason::Shadow),
            (&by("b"), limit(1), false, Reason::Shadow),
        ]
    );
}

#[test]
fn a_field_that_was_cleared_holds_what_the_kind_has() {
    let policies = [
        policy("a", |draft| draft.rules.circuit_breaker.trip = trip(1)),
        policy("b", |draft| draft.clear = vec![Field::BreakerTrip]),
    ];
    let explanation = explain_all(&[], &policies);
    let explained = of(&explanation, Field::BreakerTrip);
    assert_eq!(explained.value.circuit_breaker.trip, trip(5));
    assert_eq!((&explained.origin, explained.cleared), (&by("b"), true));
    assert_eq!(explained.overruled.len(), 1);
}

#[test]
fn a_repaired_field_holds_what_it_was_repaired_to_and_names_what_it_gave_way_to() {
    let policies = [
        policy("a", |draft| draft.rules.timeout.overall = Some(secs(1))),
        attempt("b", 5, |_| ()),
    ];
    let explanation = explain_all(&[], &policies);
    let explained = of(&explanation, Field::TimeoutAttempt);
    assert_eq!(explained.value.timeout.attempt, Some(secs(1)));
    assert_eq!(explained.gave_way_to, Some(Field::TimeoutOverall));
    assert_eq!(explained.origin, by("b"));
    let overall = of(&explanation, Field::TimeoutOverall);
    assert_eq!(overall.gave_way_to, None);
}

prop_compose! {
    fn any_selector()(
        service in prop::sample::select(vec!["", "*", "check*", "checkout"]),
        operation in prop::sample::select(vec!["", "*", "payments.*", "payments.charge", "x"]),
        kind in prop::option::of(Just(Kind::Api)),
        count in 0_usize..3,
    ) -> Selector {
        select(service, operation, kind, count).unwrap_or_else(|| on("*"))
    }
}

/// Policies that differ in all that can decide between two.
fn any_rivals() -> impl Strategy<Value = Vec<Policy>> {
    let selectors = prop::collection::vec(any_selector(), 8);
    (any_policies(), selectors).prop_map(|(policies, selectors)| {
        let pairs = policies.into_iter().zip(selectors);
        let rival = |(policy, selector): (Policy, Selector)| {
            Policy::new(Draft {
                selector,
                ..policy.into_draft()
            })
            .unwrap()
        };
        pairs.map(rival).collect()
    })
}

fn any_locals() -> impl Strategy<Value = Vec<(Origin, Rules)>> {
    let origins = [Origin::File, Origin::Environment, Origin::CallSite];
    prop::collection::vec(any_rules(), 0..4)
        .prop_map(move |rules| origins.clone().into_iter().zip(rules).collect())
}

/// Whether `loser` is less than `winner` for exactly that `reason`, told from the selectors' parts.
fn loses_by(reason: Reason, loser: &Policy, winner: &Policy) -> bool {
    let specific = |glob: Option<&Glob>| {
        glob.map(|glob| (glob.is_exact(), glob.as_str().replace('*', "").len()))
    };
    let parts = |policy: &Policy| {
        let selector = policy.selector();
        let operation = specific(selector.operation());
        let service = specific(selector.service());
        (
            operation,
            service,
            selector.kind().is_some(),
            selector.labels().len(),
        )
    };
    let (a, b) = (parts(loser), parts(winner));
    let compared = [
        (
            Reason::LowerPriority,
            loser.priority().cmp(&winner.priority()),
        ),
        (Reason::LessSpecificOperation, a.0.cmp(&b.0)),
        (Reason::LessSpecificService, a.1.cmp(&b.1)),
        (Reason::LessSpecificKind, a.2.cmp(&b.2)),
        (Reason::FewerLabels, a.3.cmp(&b.3)),
        (Reason::EarlierName, loser.id().cmp(winner.id())),
    ];
    let first = compared.into_iter().find(|(_, ordering)| ordering.is_ne());
    first == Some((reason, Ordering::Less))
}

proptest! {
    #[test]
    fn every_field_is_explained_once_and_together_they_are_the_whole(
        locals in any_locals(),
        policies in any_rivals(),
    ) {
        let explanation = explain_all(&locals, &policies);
        let explained = explanation.fields.iter().map(|explained| explained.field);
        let fields = Field::ALL.iter().copied().filter(|field| !field.is_mode());
        prop_assert!(explained.eq(fields));
        let mut sum = Rules::default();
        for explained in &explanation.fields {
            explained.field.copy(&explained.value, &mut sum);
        }
        prop_assert_eq!(sum, explanation.resolution.effective.to_rules());
    }

    #[test]
    fn an_explanation_does_not_depend_on_the_order_of_arrival(
        policies in any_rivals(),
        turn in 0_usize..8,
    ) {
        let mut turned = policies.clone();
        turned.rotate_left(turn.min(policies.len()));
        prop_assert_eq!(explain_all(&[], &policies), explain_all(&[], &turned));
    }

    #[test]
    fn an_explanation_is_of_what_was_resolved(
        locals in any_locals(),
        policies in any_rivals(),
    ) {
        let resolution = with_target(|target| resolve(target, &locals, &policies));
        let explanation = explain_all(&locals, &policies);
        for explained in &explanation.fields {
            prop_assert_eq!(&explained.origin, resolution.origins.of(explained.field));
            let repaired = resolution.repairs.iter().find(|repair| repair.field == explained.field);
            prop_assert_eq!(explained.gave_way_to, repaired.map(|repair| repair.because_of));
        }
        prop_assert_eq!(explanation.resolution, resolution);
    }

    #[test]
    fn the_one_that_decides_beats_every_other_by_the_reason_told(
        locals in any_locals(),
        policies in any_rivals(),
    ) {
        let explanation = explain_all(&locals, &policies);
        let policy = |origin: &Origin| match origin {
            Origin::Policy(id) => policies.iter().find(|policy| policy.id() == id),
            _ => None,
        };
        let local = |origin: &Origin| locals.iter().position(|(local, _)| local == origin);
        for explained in &explanation.fields {
            let winner = policy(&explained.origin);
            for loser in &explained.overruled {
                let beaten = match (loser.reason, policy(&loser.origin), winner) {
                    (Reason::Shadow, ..) => true,
                    (Reason::LowerLayer, None, Some(_)) => true,
                    (Reason::LowerLayer, None, None) => {
                        local(&loser.origin) < local(&explained.origin)
                    }
                    (reason, Some(loser), Some(winner)) => loses_by(reason, loser, winner),
                    _ => false,
                };
                prop_assert!(beaten, "{:?} of {:?}", loser, explained);
            }
        }
    }

    #[test]
    fn without_the_one_that_decides_the_next_in_line_does(
        locals in any_locals(),
        policies in any_rivals(),
    ) {
        for explained in explain_all(&locals, &policies).fields {
            let (mut locals, mut policies) = (locals.clone(), policies.clone());
            locals.retain(|(origin, _)| *origin != explained.origin);
            policies.retain(|policy| Origin::Policy(policy.id().clone()) != explained.origin);
            let mut losers = explained.overruled.into_iter();
            let next = losers.find(|loser| loser.reason != Reason::Shadow);
            let now = with_target(|target| resolve(target, &locals, &policies));
            let expected = next.map_or(Origin::Kind, |next| next.origin);
            prop_assert_eq!(now.origins.of(explained.field), &expected);
        }
    }

    #[test]
    fn the_whole_as_rules_comes_to_the_same_whole_for_any_kind(
        policies in any_rivals(),
        kind in prop::sample::select(Kind::ALL.to_vec()),
    ) {
        let explanation = explain_all(&[], &policies);
        let effective = explanation.resolution.effective;
        let rules = [(Origin::CallSite, effective.to_rules())];
        let again = with_target(|target| resolve(&Target { kind, ..*target }, &rules, &[]));
        let shadow = effective.shadow;
        prop_assert_eq!(crate::policy::Effective { shadow, ..again.effective }, effective);
        prop_assert_eq!(again.repairs, []);
        let [breaker, bulkhead] = [Field::BreakerTrip, Field::BulkheadLimit]
            .map(|field| field.is_set(&shadow.to_rules()));
        prop_assert_eq!(breaker, shadow.breaker.is_some());
        prop_assert_eq!(bulkhead, shadow.bulkhead.is_some());
    }
}
