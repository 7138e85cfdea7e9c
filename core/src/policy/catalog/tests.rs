use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::key::Labels;
use crate::policy::selector::Selector;
use crate::policy::tests::draft;
use crate::policy::{Draft, Policy};
use crate::revision::Revision;

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const SERVICES: [&str; 5] = ["", "checkout", "check*", "search", "*"];

/// A policy for `service` (none if empty).
fn stored(namespace: &str, name: &str, service: &str, revision: u64) -> Arc<Stored> {
    let service = (!service.is_empty()).then(|| Glob::new(service).unwrap());
    let operation = Some(Glob::new("*").unwrap());
    let policy = Policy::new(Draft {
        id: PolicyId::new(namespace, name).unwrap(),
        selector: Selector::new(service, operation, None, Labels::default()).unwrap(),
        ..draft(name)
    });
    Arc::new(Stored {
        policy: policy.unwrap(),
        revision: Revision(revision),
        create_time: SystemTime::UNIX_EPOCH,
        update_time: SystemTime::UNIX_EPOCH,
        updated_by: String::new(),
    })
}

fn catalog(policies: &[(&str, &str)]) -> Catalog {
    let mut catalog = Catalog::default();
    for (name, service) in policies {
        catalog.insert(stored("default", name, service, 1));
    }
    catalog
}

fn names<'a>(policies: impl Iterator<Item = &'a Arc<Stored>>) -> Vec<&'a str> {
    policies
        .map(|stored| stored.policy.id().name.as_str())
        .collect()
}

#[test]
fn alike_are_those_for_the_same_one_service_and_those_for_many() {
    let catalog = catalog(&[
        ("a", "check*"),
        ("b", "checkout"),
        ("c", "search"),
        ("d", ""),
        ("e", "checkout"),
    ]);
    let namespace = Namespace::default_namespace();
    let alike = |service: Option<&str>| {
        let service = service.map(|service| Glob::new(service).unwrap());
        names(catalog.alike(&namespace, service.as_ref()))
    };
    assert_eq!(alike(Some("checkout")), ["b", "e"]);
    assert_eq!(alike(Some("s*")), ["a", "d"]);
    assert_eq!(alike(None), ["a", "d"]);
    assert_eq!(alike(Some("unknown")), [""; 0]);
}

#[test]
fn what_concerns_a_service_names_it_or_many_or_none_and_comes_by_name() {
    let catalog = catalog(&[
        ("a", "check*"),
        ("b", "checkout"),
        ("c", "search"),
        ("d", ""),
        ("e", "checkout"),
        ("f", "s*"),
    ]);
    let namespace = Namespace::default_namespace();
    let concerning = |service| names(catalog.concerning(&namespace, service));
    assert_eq!(concerning("checkout"), ["a", "b", "d", "e"]);
    assert_eq!(concerning("search"), ["c", "d", "f"]);
    assert_eq!(concerning("other"), ["d"]);
    let elsewhere = Namespace::new("elsewhere").unwrap();
    assert_eq!(catalog.concerning(&elsewhere, "checkout").count(), 0);
}

#[test]
fn a_policy_that_moves_to_another_service_is_found_there_only() {
    let mut catalog = catalog(&[("a", "checkout")]);
    let moved = stored("default", "a", "search", 2);
    let replaced = catalog.insert(Arc::clone(&moved)).unwrap();
    assert_eq!(replaced.revision, Revision(1));
    let namespace = Namespace::default_namespace();
    assert_eq!(catalog.concerning(&namespace, "checkout").count(), 0);
    assert_eq!(names(catalog.concerning(&namespace, "search")), ["a"]);
    assert_eq!(catalog.get(moved.policy.id()), Some(&moved));
    assert_eq!(catalog.len(), 1);
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    let mut catalog = catalog(&[("a", "checkout"), ("b", "*")]);
    for name in ["a", "b"] {
        let id = PolicyId::new("default", name).unwrap();
        assert!(catalog.remove(&id).is_some());
        assert!(catalog.remove(&id).is_none());
    }
    assert!(catalog.is_empty());
    assert!(catalog.tenants.is_empty());
}

#[test]
fn one_may_go_on_behind_a_policy_that_is_gone() {
    let mut catalog = catalog(&[("a", ""), ("c", ""), ("e", "")]);
    let gone = stored("default", "b", "", 1);
    let behind = |catalog: &Catalog| {
        let found = catalog.after(None, Some(gone.policy.id()));
        found.cloned().collect::<Vec<_>>()
    };
    let without = behind(&catalog);
    assert_eq!(names(without.iter()), ["c", "e"]);
    catalog.insert(Arc::clone(&gone));
    assert_eq!(behind(&catalog), without);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Arc<Stored>),
    Remove(PolicyId),
}

fn any_id() -> impl Strategy<Value = PolicyId> {
    (prop::sample::select(NAMESPACES.to_vec()), 0_u8..6)
        .prop_map(|(namespace, name)| PolicyId::new(namespace, format!("p{name}")).unwrap())
}

fn any_step() -> impl Strategy<Value = Step> {
    let service = prop::sample::select(SERVICES.to_vec());
    let insert = (any_id(), service, 0_u64..9).prop_map(|(id, service, revision)| {
        let (namespace, name) = (id.namespace.as_str(), id.name.as_str());
        Step::Insert(stored(namespace, name, service, revision))
    });
    prop_oneof![3 => insert, 1 => any_id().prop_map(Step::Remove)]
}

proptest! {
    #[test]
    fn a_catalog_answers_as_if_it_went_through_all(
        steps in prop::collection::vec(any_step(), 0..40),
        after in prop::option::of(any_id()),
        only in prop::option::of(prop::sample::select(NAMESPACES.to_vec())),
    ) {
        let (mut catalog, mut all) = (Catalog::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(stored) => {
                    let id = stored.policy.id().clone();
                    let replaced = all.insert(id, Arc::clone(&stored));
                    prop_assert_eq!(catalog.insert(stored), replaced);
                }
                Step::Remove(id) => prop_assert_eq!(catalog.remove(&id), all.remove(&id)),
            }
        }
        prop_assert_eq!(catalog.len(), all.len());
        prop_assert_eq!(catalog.is_empty(), all.is_empty());
        prop_assert!(catalog.iter().eq(all.values()));
        prop_assert!(all.iter().all(|(id, stored)| catalog.get(id) == Some(stored)));
        for namespace in NAMESPACES.map(|name| Namespace::new(name).unwrap()) {
            for service in ["checkout", "checkin", "search", "other"] {
                let concerned = all.values().filter(|stored| {
                    stored.policy.id().namespace == namespace
                        && stored.policy.selector().concerns(service)
                });
                prop_assert!(catalog.concerning(&namespace, service).eq(concerned));
            }
        }
        let only = only.map(|name| Namespace::new(name).unwrap());
        let behind = all.values().filter(|stored| {
            let id = stored.policy.id();
            only.as_ref().is_none_or(|only| id.namespace == *only)
                && after.as_ref().is_none_or(|after| id > after)
        });
        prop_assert!(catalog.after(only.as_ref(), after.as_ref()).eq(behind));
    }
}
