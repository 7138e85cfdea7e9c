//! Backups of stores that run, and what can be made of them.

use std::time::Duration;

use tempfile::TempDir;

use super::super::fixture::{self, append_all, delete_if, id, put, run};
use super::super::{Expect, Page, ReadError, Store, directory};
use super::*;

fn open(dir: &Path) -> Arc<dyn Store> {
    directory::open(dir, fixture::clock(), Retention::default()).unwrap()
}

fn fill(store: &Arc<dyn Store>) {
    run(append_all(&**store, ["a", "b", "a", "c"].map(put)));
    run(store.append(delete_if("b", Expect::Present))).unwrap();
}

/// A data directory whose server still runs.
fn running() -> (TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    (dir, store)
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(9)
}

fn page(store: &Arc<dyn Store>) -> Page {
    fixture::all(&**store)
}

#[test]
fn a_running_store_is_backed_up_and_restored_with_its_past_in_a_new_life() {
    let (dir, store) = running();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let backed_up = backup(dir.path(), &file).unwrap();
    assert_eq!((backed_up.revision, backed_up.policies), (Revision(5), 2));
    assert_eq!(
        (backed_up.versions, backed_up.incarnation),
        (5, store.incarnation())
    );
    run(store.append(put("later"))).unwrap();
    let place = elsewhere.path().join("data");
    let restored = restore(&file, &place, now()).unwrap();
    assert_eq!(
        (restored.revision, restored.created),
        (Revision(5 + LOST_REVISIONS), now())
    );
    assert_ne!(restored.incarnation, store.incarnation());
    let again = open(&place);
    assert_eq!(again.incarnation(), restored.incarnation);
    assert_eq!(page(&again).policies.len(), 2);
    let of = |store: &Arc<dyn Store>| store.versions(&id("a"), None, 9).unwrap();
    assert_eq!(of(&again), of(&store));
    let next = Revision(6 + LOST_REVISIONS);
    assert_eq!(run(again.append(put("d"))).unwrap().revision, next);
    run(again.close());
    let again = open(&place);
    assert_eq!(again.revision(), next);
    // What another life called by a revision has never been here.
    let watch = |revision| again.watch_after(Revision(revision)).map(drop);
    assert_eq!((watch(5), watch(LOST_REVISIONS + 5)), (Ok(()), Ok(())));
    assert!(matches!(watch(6), Err(ReadError::Compacted { .. })));
}

#[test]
fn a_backup_taken_amid_writes_holds_all_that_had_been_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let files = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..300 {
                run(append_all(
                    &*store,
                    (0..5).map(|m| put(&format!("p{}", (n + m) % 40))),
                ));
            }
        });
        let mut number = 0;
        while !writer.is_finished() {
            number += 1;
            let acknowledged = store.revision();
            let taken = backup(dir.path(), &files.path().join(number.to_string())).unwrap();
            assert!(taken.revision >= acknowledged, "{taken:?}");
        }
    });
}

#[test]
fn nothing_is_written_over() {
    let (dir, store) = running();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    fs::write(&file, "mine").unwrap();
    let occupied = backup(dir.path(), &file).unwrap_err();
    assert!(matches!(occupied, OpenError::Occupied { path } if path == file));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    fs::remove_file(&file).unwrap();
    backup(dir.path(), &file).unwrap();
    assert!(matches!(
        restore(&file, dir.path(), now()),
        Err(OpenError::InUse { .. })
    ));
    run(store.close());
    let occupied = restore(&file, dir.path(), now()).unwrap_err();
    assert!(
        matches!(occupied, OpenError::Occupied { path } if path == dir.path().join(JOURNAL_FILE))
    );
    assert_eq!(page(&open(dir.path())).policies.len(), 2);
}

#[test]
fn a_backup_that_is_damaged_is_not_restored() {
    let (dir, _store) = running();
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, place) = (
        elsewhere.path().join("backup"),
        elsewhere.path().join("data"),
    );
    backup(dir.path(), &file).unwrap();
    let whole = fs::read(&file).unwrap();
    for end in 0..whole.len() {
        fs::write(&file, &whole[..end]).unwrap();
        if let Ok(restored) = restore(&file, &place, now()) {
            panic!("{end} of {}: {restored:?}", whole.len());
        }
        assert!(!place.join(JOURNAL_FILE).exists());
    }
}

#[test]
fn what_holds_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join(JOURNAL_FILE);
    let file = dir.path().join("nothing");
    for error in [
        backup(dir.path(), &file).unwrap_err(),
        adopt(dir.path()).unwrap_err(),
        verify(dir.path()).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::NoStore { file } if file == journal));
    }
    assert!(matches!(verify(&file), Err(OpenError::NoStore { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_store_is_adopted_for_the_rest_of_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(!store.adopted());
    assert!(matches!(adopt(dir.path()), Err(OpenError::InUse { .. })));
    run(store.append(put("a"))).unwrap();
    run(store.close());
    let incarnation = store.incarnation();
    for _ in 0..2 {
        assert!(adopt(dir.path()).unwrap().adopted);
        let store = open(dir.path());
        assert!(store.adopted());
        assert_eq!(
            (store.incarnation(), store.revision()),
            (incarnation, Revision(1))
        );
        run(store.close());
    }
}

#[test]
fn verifying_reads_everything_and_changes_nothing() {
    let (dir, store) = running();
    let (found, index) = verify(dir.path()).unwrap();
    assert_eq!((found.revision, found.torn), (Revision(5), None));
    assert_eq!(index, IndexState::InUse(Some(std::process::id())));
    run(store.close());
    let (_, index) = verify(dir.path()).unwrap();
    assert_eq!(index, IndexState::Whole(Revision(5)));
    let database = dir.path().join(INDEX_DIR).join("db");
    let whole = fs::read(&database).unwrap();
    fs::write(&database, &whole[..whole.len() / 3]).unwrap();
    let cut = fs::read(&database).unwrap();
    let (_, index) = verify(dir.path()).unwrap();
    assert_ne!(index, IndexState::Whole(Revision(5)));
    assert_eq!(fs::read(&database).unwrap(), cut);
    fs::remove_dir_all(dir.path().join(INDEX_DIR)).unwrap();
    assert_eq!(verify(dir.path()).unwrap().1, IndexState::Absent);
}

#[test]
fn what_the_index_knows_the_journal_has_lost_is_neither_cut_nor_backed_up() {
    let (dir, store) = running();
    run(store.close());
    let journal = dir.path().join(JOURNAL_FILE);
    let mut bytes = fs::read(&journal).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let to = dir.path().join("backup");
    for refused in [adopt(dir.path()), backup(dir.path(), &to)] {
        assert!(
            matches!(refused, Err(OpenError::JournalBehind { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(fs::read(&journal).unwrap(), bytes);
    assert!(!to.exists());
}

#[test]
fn a_backup_tells_what_it_left_out_and_leaves_other_files_alone() {
    let (dir, _store) = running();
    let copy = tempfile::tempdir().unwrap();
    let bytes = fs::read(dir.path().join(JOURNAL_FILE)).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    fs::write(copy.path().join(JOURNAL_FILE), &bytes[..used]).unwrap();
    let (to, other) = (copy.path().join("backup"), copy.path().join("backup.new"));
    fs::write(&other, "mine").unwrap();
    let taken = backup(copy.path(), &to).unwrap();
    assert!(taken.torn.is_some(), "{taken:?}");
    assert_eq!(fs::read(&other).unwrap(), b"mine");
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 3);
}
