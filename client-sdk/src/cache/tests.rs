//! What is on the disk: whole, never older than it was, and worth nothing once damaged.

use std::sync::Barrier;
use std::thread;

use super::*;
use fusebox_core::key::PolicyId;
use fusebox_core::revision::Digest;

pub(super) fn cache(directory: &Path) -> Cache {
    let service = Service::new("check/out").unwrap();
    Cache::new(directory, &Namespace::default_namespace(), &service)
}

pub(super) fn good(incarnation: u8, revision: u64) -> Good {
    Good {
        snapshot: v1::Snapshot {
            overrides: Vec::new(),
            incarnation: vec![incarnation; 16],
            revision,
            digest: Digest::EMPTY.0,
            policies: Vec::new(),
            adopted: false,
        },
        stand_ins: Vec::new(),
        override_time_left: BTreeMap::new(),
        at: SystemTime::UNIX_EPOCH,
    }
}

/// Whose revision is on the disk.
pub(super) fn saved(cache: &Cache) -> u64 {
    cache.load().unwrap().unwrap().replica.known().revision.0
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn what_was_saved_last_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path());
    assert!(cache.load().unwrap().is_none());
    assert_eq!(cache.save(&good(7, 3)).unwrap(), Saved::Written);
    assert_eq!(cache.save(&good(7, 4)).unwrap(), Saved::Written);
    assert_eq!(saved(&cache), 4);
}

#[test]
fn beside_the_file_only_its_lock_is_left_even_by_a_process_that_was_killed_while_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path());
    fs::write(directory.path().join("default%check%2Fout.new"), "half").unwrap();
    cache.save(&good(7, 3)).unwrap();
    assert_eq!(saved(&cache), 3);
    assert_eq!(
        names(directory.path()),
        ["default%check%2Fout.lock", "default%check%2Fout.policies"]
    );
}

#[test]
fn an_older_revision_never_replaces_a_newer_one_of_the_same_store() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (cache(directory.path()), cache(directory.path()));
    one.save(&good(7, 9)).unwrap();
    let late = other.save(&good(7, 8)).unwrap();
    assert_eq!(late, Saved::NewerStays(Revision(9)));
    assert_eq!(saved(&one), 9);
    assert_eq!(other.save(&good(7, 9)).unwrap(), Saved::Written, "no older");
}

#[test]
fn nor_where_an_older_build_wrote_the_newer_one_down_as_far_as_it_could_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path());
    let id = PolicyId::new("default", "new").unwrap();
    let mut newer = good(7, 9).snapshot;
    newer.digest = Digest::of([(&id, Revision(9))]).0;
    newer.policies = vec![v1::Policy {
        namespace: "default".into(),
        name: "new".into(),
        revision: 9,
        schema: SCHEMA,
        ..v1::Policy::default()
    }];
    let body = last_known_good_to_wire(newer, [], SCHEMA - 1);
    write(cache.path(), &body.encode_to_vec()).unwrap();
    let late = cache.save(&good(7, 8)).unwrap();
    assert_eq!(late, Saved::NewerStays(Revision(9)));
}

#[test]
fn a_file_of_another_incarnation_is_replaced_whatever_its_revision() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path());
    cache.save(&good(7, 9)).unwrap();
    assert_eq!(cache.save(&good(8, 1)).unwrap(), Saved::Written);
    assert_eq!(saved(&cache), 1);
}

#[test]
fn of_many_that_save_at_once_the_newest_stays() {
    const PROCESSES: u64 = 4;
    const EACH: u64 = 8;
    let directory = tempfile::tempdir().unwrap();
    let start = Barrier::new(usize::try_from(PROCESSES).unwrap());
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (start, directory) = (&start, directory.path());
            scope.spawn(move || {
                // A lock belongs to an open file, so threads that open their own are as processes.
                let cache = cache(directory);
                start.wait();
                for step in 0..EACH {
                    cache
                        .save(&good(7, 1 + step * PROCESSES + process))
                        .unwrap();
                    assert!(saved(&cache) > step * PROCESSES + process);
                }
            });
        }
    });
    assert_eq!(saved(&cache(directory.path())), PROCESSES * EACH);
}

#[test]
fn a_file_system_without_locks_is_written_to_all_the_same_and_never_by_one_name_for_two() {
    let directory = tempfile::tempdir().unwrap();
    let lockless = || Cache {
        lock: |_| Err(io::ErrorKind::Unsupported.into()),
        ..cache(directory.path())
    };
    // Where another process is writing: not to be touched.
    let other = directory.path().join("default%check%2Fout.new");
    fs::write(&other, "half").unwrap();
    assert_eq!(
        lockless().save(&good(7, 3)).unwrap(),
        Saved::WrittenUnlocked
    );
    let late = lockless().save(&good(7, 2)).unwrap();
    assert_eq!(late, Saved::NewerStays(Revision(3)));
    assert_eq!(saved(&lockless()), 3);
    assert_eq!(fs::read(other).unwrap(), b"half");
    assert_eq!(names(directory.path()).len(), 3, "nothing is left about");
}

#[test]
fn a_directory_that_is_gone_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory.path().join("below"));
    cache.save(&good(7, 1)).unwrap();
    fs::remove_dir_all(directory.path().join("below")).unwrap();
    cache.save(&good(7, 2)).unwrap();
    assert_eq!(saved(&cache), 2);
}

#[test]
fn a_service_name_cannot_leave_the_directory() {
    assert_eq!(escaped("../a b"), "%2E%2E%2Fa%20b");
}

#[test]
fn any_damage_is_noticed_and_the_next_save_heals_it_even_with_an_older_revision() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path());
    cache.save(&good(7, 3)).unwrap();
    let whole = fs::read(cache.path()).unwrap();
    let damaged = || matches!(cache.load(), Err(Unreadable::Damaged(_)));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(cache.path(), &flipped).unwrap();
        assert!(damaged(), "byte {at}");
        fs::write(cache.path(), &whole[..at]).unwrap();
        assert!(damaged(), "cut at {at}");
    }
    assert_eq!(cache.save(&good(7, 2)).unwrap(), Saved::Written);
    assert_eq!(saved(&cache), 2);
}
