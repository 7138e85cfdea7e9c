//! The archive beside a model that keeps everything and looks through it.

use proptest::prelude::*;

use super::super::fixture::{self, by, id};
use super::super::{Cause, Provenance, What};
use super::*;

const BYTES: usize = 100;

fn retention(changes: usize, versions: usize) -> Retention {
    Retention {
        changes,
        versions,
        bytes: usize::MAX,
    }
}

/// A version of `name`; `put` or deleted.
fn version(revision: u64, name: &str, put: bool, replaced: Option<u64>) -> Arc<Version> {
    let stored = fusebox_core::policy::Stored {
        policy: fixture::policy(name, 1),
        revision: Revision(revision),
        create_time: std::time::SystemTime::UNIX_EPOCH,
        update_time: std::time::SystemTime::UNIX_EPOCH,
        updated_by: String::new(),
    };
    Arc::new(Version {
        revision: Revision(revision),
        what: What::Policy {
            id: id(name),
            stored: put.then(|| Arc::new(stored)),
        },
        replaced: replaced.map(Revision),
        time: std::time::SystemTime::UNIX_EPOCH,
        by: Arc::new(Provenance {
            ..by(Cause::Update)
        }),
    })
}

fn subject(name: &str) -> Subject {
    Subject::Policy(id(name))
}

/// Adds versions as a store would: each write its policies, `put` or deleted.
struct Filled {
    archive: Archive,
    live: HashMap<String, u64>,
    revision: u64,
}

impl Filled {
    fn new(retention: Retention) -> Self {
        Self {
            archive: Archive::new(retention, Revision::ZERO),
            live: HashMap::new(),
            revision: 0,
        }
    }

    fn write(&mut self, changes: &[(&str, bool)]) -> Vec<Arc<Version>> {
        let mut made = Vec::new();
        for &(name, put) in changes {
            let replaced = self.live.get(name).copied();
            if (!put && replaced.is_none())
                || made
                    .iter()
                    .any(|v: &Arc<Version>| v.subject() == subject(name))
            {
                continue;
            }
            made.push(version(self.revision + 1, name, put, replaced));
        }
        if made.is_empty() {
            return made;
        }
        self.revision += 1;
        for (index, version) in (0..).zip(&made) {
            let name = version.policy_id().unwrap().name.to_string();
            if version.is_live() {
                self.live.insert(name, self.revision);
            } else {
                self.live.remove(&name);
            }
            self.archive.add(index, Arc::clone(version), BYTES);
        }
        made
    }

    fn put(&mut self, name: &str) {
        self.write(&[(name, true)]);
    }

    fn revisions_of(&self, name: &str) -> Vec<u64> {
        let stretch = self.archive.stretch(&subject(name), None, usize::MAX);
        stretch.versions.iter().map(|v| v.revision.0).collect()
    }
}

#[test]
fn a_quiet_policy_keeps_its_last_versions_however_busy_its_neighbour_is() {
    let mut filled = Filled::new(retention(10, 3));
    for _ in 0..5 {
        filled.put("quiet");
    }
    for _ in 0..1000 {
        filled.put("busy");
    }
    assert_eq!(filled.revisions_of("quiet"), [5, 4, 3]);
    assert_eq!(filled.revisions_of("busy").len(), 10);
    let stretch = filled.archive.stretch(&subject("quiet"), None, 2);
    assert_eq!((stretch.more, stretch.pruned), (true, true));
    assert_eq!(filled.archive.len(), 13);
}

#[test]
fn a_deleted_policy_goes_with_its_last_change() {
    let mut filled = Filled::new(retention(4, 3));
    filled.put("gone");
    filled.put("gone");
    filled.write(&[("gone", false)]);
    for revisions in [vec![3, 2, 1], vec![3, 2, 1], vec![3, 2, 1]] {
        filled.put("other");
        assert_eq!(filled.revisions_of("gone"), revisions);
    }
    filled.put("other");
    assert_eq!(filled.revisions_of("gone"), [0; 0]);
}

#[test]
fn a_live_policy_is_kept_whatever_the_bounds_say() {
    let bounds = Retention {
        changes: 1,
        versions: 1,
        bytes: 1,
    };
    let mut filled = Filled::new(bounds);
    for name in ["a", "b", "c", "a", "b", "c"] {
        filled.put(name);
    }
    assert_eq!(
        ["a", "b", "c"].map(|name| filled.revisions_of(name)),
        [[4], [5], [6]]
    );
    assert_eq!(
        (filled.archive.len(), filled.archive.bytes()),
        (3, 3 * BYTES)
    );
}

#[test]
fn what_is_kept_is_bounded_in_bytes_the_oldest_go_first() {
    let bounds = Retention {
        changes: 1000,
        versions: 1000,
        bytes: 5 * BYTES,
    };
    let mut filled = Filled::new(bounds);
    for _ in 0..20 {
        filled.put("a");
    }
    // Five in the window, five beyond it.
    assert_eq!(
        filled.revisions_of("a"),
        (11..=20).rev().collect::<Vec<_>>()
    );
    assert_eq!(filled.archive.floor(), Revision(15));
}

#[test]
fn an_archive_read_back_from_what_it_kept_keeps_the_same() {
    let mut filled = Filled::new(retention(5, 2));
    for round in 0..20 {
        filled.write(&[("a", true), ("b", round % 3 != 0)]);
        filled.put(["c", "d", "e"][round % 3]);
    }
    let kept = &filled.archive;
    let mut again = Archive::new(retention(5, 2), kept.floor());
    for (place, version) in &kept.versions {
        again.add(place.1, Arc::clone(&version.version), version.bytes);
    }
    again.settle();
    let places = |archive: &Archive| archive.versions.keys().copied().collect::<Vec<_>>();
    assert_eq!(places(&again), places(kept));
    assert_eq!((again.floor(), again.bytes()), (kept.floor(), kept.bytes()));
}

proptest! {
    #[test]
    fn it_keeps_what_a_model_that_looks_through_everything_would_keep(
        changes in 1_usize..12,
        versions in 1_usize..5,
        writes in prop::collection::vec(
            prop::collection::vec((0_usize..4, prop::bool::weighted(0.7)), 1..4),
            1..80,
        ),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let mut filled = Filled::new(retention(changes, versions));
        let mut all: Vec<Arc<Version>> = Vec::new();
        // Places in `all`. What has once been dropped does not come back.
        let mut held: Vec<usize> = Vec::new();
        for write in &writes {
            let write: Vec<_> = write.iter().map(|&(name, put)| (NAMES[name], put)).collect();
            let mut window = all.len().saturating_sub(changes);
            for version in filled.write(&write) {
                held.push(all.len());
                all.push(version);
                window = all.len().saturating_sub(changes);
                let is_wanted = |&at: &usize| {
                    let own = |other: &&usize| all[**other].subject() == all[at].subject();
                    let newest = *held.iter().rfind(own).unwrap();
                    let newer = held.iter().filter(own).filter(|other| **other > at).count();
                    // A policy that is gone stays as long as its last change.
                    let is_kept = all[newest].is_live() || newest >= window;
                    at >= window || (is_kept && newer < versions)
                };
                held = held.iter().copied().filter(is_wanted).collect();
            }
            let wanted: Vec<_> = held.iter().map(|&at| Arc::clone(&all[at])).collect();
            let kept: Vec<_> = filled.archive.iter().cloned().collect();
            prop_assert_eq!(kept, wanted);
            let floor = window.checked_sub(1).map_or(0, |last| all[last].revision.0);
            prop_assert_eq!(filled.archive.floor(), Revision(floor));
            for after in 0..=filled.revision {
                let since = filled.archive.since(Revision(after));
                prop_assert_eq!(since.is_some(), after >= floor);
                let told: Vec<_> = since.into_iter().flatten().flat_map(|w| w.versions.to_vec()).collect();
                let expected: Vec<_> = all.iter().filter(|v| v.revision.0 > after && after >= floor).cloned().collect();
                prop_assert_eq!(told, expected);
            }
        }
    }
}
