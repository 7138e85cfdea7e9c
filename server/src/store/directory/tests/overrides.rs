//! What is decided about breakers outlives the process, a compaction, and a life of the store.

use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::revision::Revision;

use super::super::super::fixture::{force, release, reset};
use super::super::super::{Subject, What, offline};
use super::*;

fn overrides(store: &Arc<dyn Store>) -> Vec<Arc<BreakerOverride>> {
    store.overrides().unwrap()
}

/// Two in force, one that was, and a reset.
fn decided() -> (TempDir, Vec<Arc<BreakerOverride>>) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    let writes = [
        put("a"),
        force("checkout"),
        force("search"),
        release(2),
        reset("checkout"),
        force("checkout"),
    ];
    // Each by a commit of its own.
    let answers = writes.map(|write| run(store.append(write))).into();
    assert_eq!(revisions(answers), [1, 2, 3, 4, 5, 6]);
    let standing = overrides(&store);
    run(store.close());
    (dir, standing)
}

#[test]
fn overrides_in_force_and_what_became_of_others_outlive_the_process() {
    let (dir, standing) = decided();
    let store = reopen(dir.path()).unwrap();
    assert_eq!(overrides(&store), standing);
    assert_eq!(standing.len(), 2);
    let mut watch = store.watch_after(Revision::ZERO).unwrap();
    let told = (1..=6).map(|_| run(watch.next()).unwrap().versions[0].subject());
    let of = |id| Subject::Override(Revision(id));
    let expected = [
        Subject::Policy(id("a")),
        of(2),
        of(3),
        of(2),
        Subject::Reset(Revision(5)),
        of(6),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let revision = run(store.append(release(3))).unwrap().revision;
    assert_eq!(revision, Revision(7));
}

#[test]
fn an_override_that_was_acknowledged_and_is_cut_from_the_journal_is_missed() {
    let (dir, _) = decided();
    let whole = fs::read(journal_of(&dir)).unwrap();
    fs::write(journal_of(&dir), &whole[..whole.len() - 1]).unwrap();
    match refusal(dir.path()) {
        OpenError::JournalBehind {
            journal, applied, ..
        } => assert_eq!((journal, applied), (Revision(5), Revision(6))),
        other => panic!("{other}"),
    }
}

#[test]
fn a_torn_override_was_never_set() {
    let (dir, standing) = decided();
    fs::remove_dir_all(index_of(&dir)).unwrap();
    let whole = fs::read(journal_of(&dir)).unwrap();
    fs::write(journal_of(&dir), &whole[..whole.len() - 1]).unwrap();
    let store = reopen(dir.path()).unwrap();
    assert_eq!(overrides(&store), standing[..1]);
    assert_eq!(
        run(store.append(force("again"))).unwrap().revision,
        Revision(6)
    );
}

#[test]
fn what_is_in_force_stays_in_a_journal_that_keeps_nothing_of_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let short = Retention {
        changes: 2,
        versions: 1,
        bytes: usize::MAX,
    };
    let open = || open(dir.path(), fixture::clock(), short).unwrap();
    let store = open();
    let writes = [force("old"), force("gone"), release(2), reset("any")];
    run(append_all(&*store, writes));
    let standing = overrides(&store);
    let large = || {
        let mut large = put("a");
        large.by.source = "x".repeat(64 * 1024);
        large
    };
    let before = || fs::metadata(journal_of(&dir)).unwrap().len();
    while before() < 2 * COMPACT_SLACK {
        run(append_all(&*store, (0..64).map(|_| large())));
    }
    wait_until(|| before() < COMPACT_SLACK);
    assert_eq!(overrides(&store), standing);
    run(store.close());
    let store = open();
    assert_eq!(overrides(&store), standing);
    let changes = store.changes(&|_| true, None, 9).unwrap();
    let policies = |what: &What| matches!(what, What::Policy { .. });
    assert!(changes.changes.iter().all(|(_, it)| policies(&it.what)));
    assert_eq!(store.vitals().versions, 3);
}

#[test]
fn a_backup_holds_what_is_in_force_and_a_restored_store_goes_on_with_it() {
    let (dir, standing) = decided();
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, place) = (
        elsewhere.path().join("backup"),
        elsewhere.path().join("data"),
    );
    let taken = offline::backup(dir.path(), &file).unwrap();
    assert_eq!((taken.overrides, taken.versions), (2, 6));
    let restored = offline::restore(&file, &place, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(restored.overrides, 2);
    let (verified, _) = offline::verify(&place).unwrap();
    assert_eq!(verified.overrides, 2);
    let store = reopen(&place).unwrap();
    assert_eq!(overrides(&store), standing);
    run(store.append(release(3))).unwrap();
    assert_eq!(overrides(&store), standing[1..]);
}
