//! Sets: what becomes of each policy, all of it or nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::tests::{
    Contested, by_rival, check, id, intent, memory, policy, with_description, with_priority,
};
use super::*;
use crate::store::Store;

fn asked(policies: Vec<Policy>) -> Vec<Asked> {
    let asked = |(index, policy)| Asked {
        index,
        policy,
        etag: None,
    };
    policies.into_iter().enumerate().map(asked).collect()
}

fn set(policies: Vec<Policy>) -> Set {
    Set::new(&mut Violations::none(), asked(policies), None).unwrap()
}

fn pruned(policies: Vec<Policy>, prune: Prune) -> Set {
    Set::new(&mut Violations::none(), asked(policies), Some(prune)).unwrap()
}

fn prune(owner: &str) -> Prune {
    Prune {
        owner: owner.into(),
        namespace: None,
        allow_empty: false,
    }
}

pub(super) fn owned(policy: Policy, owner: &str) -> Policy {
    let draft = policy.into_draft();
    Policy::new(fusebox_core::policy::Draft {
        owner: owner.into(),
        ..draft
    })
    .unwrap()
}

fn actions(applied: &Applied) -> Vec<(String, Action)> {
    let diffs = applied.diffs.iter();
    diffs
        .map(|diff| (diff.id.name.to_string(), diff.action()))
        .collect()
}

fn names(store: &dyn Store) -> Vec<String> {
    let policies = store.list(&Query::default()).unwrap().policies;
    let names = policies
        .iter()
        .map(|stored| stored.policy.id().name.to_string());
    names.collect()
}

#[tokio::test]
async fn a_set_is_one_write_of_what_differs_and_prunes_its_owners_others() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let first = ["a", "b", "c"].map(|name| owned(policy(name), "ann"));
    control.apply(&set(first.to_vec()), intent()).await.unwrap();
    control
        .create(owned(policy("z"), "bob"), intent())
        .await
        .unwrap();
    let [a, b, _] = first;
    let wanted = vec![owned(policy("d"), "ann"), with_priority(b, 9), a];
    let wanted = pruned(wanted, prune("ann"));
    let applied = control.apply(&wanted, intent()).await.unwrap();
    let told = [
        ("d", Action::Create),
        ("b", Action::Update),
        ("a", Action::Unchanged),
        ("c", Action::Delete),
    ];
    assert_eq!(
        actions(&applied),
        told.map(|(name, action)| (name.into(), action))
    );
    assert_eq!(applied.revision, Revision(3));
    assert_eq!(names(&*store), ["a", "b", "d", "z"]);
    let revision = |name| store.get(&id(name)).unwrap().unwrap().revision;
    assert_eq!(["a", "b", "d"].map(revision).map(|r| r.0), [1, 3, 3]);
}

#[tokio::test]
async fn what_is_only_checked_tells_the_same_and_writes_nothing() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let wanted = set(vec![policy("a"), policy("b")]);
    let checked = control.apply(&wanted, check()).await.unwrap();
    assert_eq!(
        (checked.revision, store.revision()),
        (Revision::ZERO, Revision::ZERO)
    );
    let applied = control.apply(&wanted, intent()).await.unwrap();
    assert_eq!(checked.diffs, applied.diffs);
}

#[tokio::test]
async fn an_empty_set_deletes_everything_only_if_that_is_said() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    let first = ["a", "b"].map(|name| owned(policy(name), "ann"));
    control.apply(&set(first.to_vec()), intent()).await.unwrap();
    let error = control
        .apply(&pruned(vec![], prune("ann")), check())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the set is empty, which would delete all 2 policies of owner \"ann\"; set allow_empty if \
         that is meant"
    );
    assert_eq!(names(&*store), ["a", "b"]);
    let allowed = Prune {
        allow_empty: true,
        ..prune("ann")
    };
    control
        .apply(&pruned(vec![], allowed), intent())
        .await
        .unwrap();
    assert_eq!(names(&*store), [""; 0]);
    let nothing = control
        .apply(&pruned(vec![], prune("ann")), intent())
        .await
        .unwrap();
    assert_eq!((nothing.diffs, nothing.revision), (vec![], Revision(2)));
}

#[tokio::test]
async fn a_set_that_contradicts_itself_is_none() {
    let mut found = Violations::none();
    let twice = vec![policy("a"), policy("b"), policy("a")];
    assert_eq!(Set::new(&mut found, asked(twice), None), None);
    let text = "policies[2].name: is in the set twice, also as policies[0] (default/a)";
    assert_eq!(found.to_string(), text);
    let mut found = Violations::none();
    let elsewhere = Prune {
        namespace: Some(Namespace::new("other").unwrap()),
        ..prune("ann")
    };
    assert_eq!(
        Set::new(&mut found, asked(vec![policy("a")]), Some(elsewhere)),
        None
    );
    let fields: Vec<_> = found.iter().map(|found| found.field.as_str()).collect();
    assert_eq!(fields, ["policies[0].owner", "policies[0].namespace"]);
}

/// What a rival does to policy `a` in between.
fn rival() -> Proposal {
    by_rival(Step::put(with_priority(policy("a"), 9), Expect::Anything))
}

#[tokio::test]
async fn a_set_that_loses_a_race_is_planned_anew_and_one_that_keeps_losing_gives_up() {
    let store = memory();
    let control = Contested::control(&store, 3, rival);
    let wanted = set(vec![policy("a"), policy("b")]);
    let applied = control.apply(&wanted, intent()).await.unwrap();
    let told = [("a", Action::Update), ("b", Action::Create)];
    assert_eq!(
        actions(&applied),
        told.map(|(name, action)| (name.into(), action))
    );
    let now = applied.diffs[0].before.as_ref().unwrap();
    assert_eq!(now.policy.priority(), 9, "the rival's is what it replaced");
    let control = Contested::control(&store, u32::MAX, rival);
    let wanted = set(vec![with_description(policy("a"), "new")]);
    let error = control.apply(&wanted, intent()).await.unwrap_err();
    assert_eq!(error, ControlError::Contended(id("a")));
}

#[tokio::test]
async fn an_etag_of_the_set_aborts_all_of_it_at_once() {
    let store = memory();
    Control::new(Arc::clone(&store))
        .create(policy("a"), intent())
        .await
        .unwrap();
    let with_etag = |etag: &str| {
        let mut asked = asked(vec![policy("b"), with_description(policy("a"), "new")]);
        asked[1].etag = Some(etag.into());
        Set::new(&mut Violations::none(), asked, None).unwrap()
    };
    let control = Control::new(Arc::clone(&store));
    let error = control.apply(&with_etag("7"), intent()).await.unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "7", Some(Revision(1)))
    );
    let contested = Contested::control(&store, 1, rival);
    let error = contested
        .apply(&with_etag("1"), intent())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ControlError::aborted(id("a"), "1", Some(Revision(2)))
    );
    assert_eq!(names(&*store), ["a"]);
    control.apply(&with_etag("2"), intent()).await.unwrap();
}

#[tokio::test]
async fn warnings_speak_of_the_namespace_as_it_will_be() {
    let store = memory();
    let control = Control::new(Arc::clone(&store));
    control
        .create(owned(policy("old"), "ann"), intent())
        .await
        .unwrap();
    let first = pruned(vec![owned(policy("a"), "ann")], prune("ann"));
    let applied = control.apply(&first, check()).await.unwrap();
    assert_eq!(
        applied.diffs[0].warnings,
        [],
        "the one it would tie with goes"
    );
    let two = ["a", "b"].map(|name| owned(policy(name), "ann"));
    let applied = control
        .apply(&pruned(two.to_vec(), prune("ann")), check())
        .await
        .unwrap();
    for diff in &applied.diffs[..2] {
        assert_eq!(
            diff.warnings.len(),
            1,
            "each ties with the other alone: {diff:?}"
        );
    }
    let taken = set(vec![policy("old")]);
    let applied = control.apply(&taken, check()).await.unwrap();
    assert_eq!(applied.diffs[0].warnings[0].field, "owner");
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    (name, 0..3).prop_map(|(name, priority)| owned(with_priority(policy(name), priority), "ann"))
}

fn any_set() -> impl Strategy<Value = Vec<Policy>> {
    prop::collection::vec(any_policy(), 0..5).prop_map(|mut policies| {
        let mut seen = BTreeSet::new();
        policies.retain(|policy| seen.insert(policy.id().clone()));
        policies
    })
}

proptest! {
    #[test]
    fn applied_twice_a_set_changes_nothing_the_second_time_and_prune_leaves_exactly_it(
        before in any_set(),
        wanted in any_set(),
        others in any_set(),
    ) {
        let store = memory();
        let control = Control::new(Arc::clone(&store));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let others = others.into_iter().map(|policy| owned(policy, "bob")).collect();
            control.apply(&set(others), intent()).await.unwrap();
            control.apply(&set(before), intent()).await.unwrap();
            let prune = Prune { allow_empty: true, ..prune("ann") };
            let wanted_set = pruned(wanted.clone(), prune);
            let first = control.apply(&wanted_set, intent()).await.unwrap();
            let again = control.apply(&wanted_set, intent()).await.unwrap();
            assert_eq!(first.revision, again.revision);
            assert!(again.diffs.iter().all(|diff| diff.action() == Action::Unchanged));
        });
        let query = Query { owner: Some("ann"), ..Query::default() };
        let kept = store.list(&query).unwrap().policies;
        let kept: BTreeSet<_> = kept.iter().map(|stored| format!("{:?}", stored.policy)).collect();
        let wanted: BTreeSet<_> = wanted.iter().map(|policy| format!("{policy:?}")).collect();
        prop_assert_eq!(kept, wanted);
    }
}
