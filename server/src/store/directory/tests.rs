//! Data directories that were reopened, copied, cut, flipped and robbed.

mod overrides;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::SystemTime;

use fusebox_core::revision::Incarnation;
use tempfile::TempDir;

use super::super::conformance::conform;
use super::super::fixture::{self, append_all, delete_if, id, put, put_if, revisions, run};
use super::super::{Expect, Page, Proposal, Step};
use super::keeper::{MAX_SET_ASIDE, SET_ASIDE};
use super::*;

conform!({
    let dir = tempfile::tempdir().unwrap();
    (reopen(dir.path()).unwrap(), dir)
});

fn reopen(dir: &Path) -> Result<Arc<dyn Store>, OpenError> {
    open(dir, fixture::clock(), Retention::default())
}

fn contents(store: &Arc<dyn Store>) -> (Incarnation, Page) {
    (store.incarnation(), fixture::all(&**store))
}

/// What a reopened store must hold, and nothing else.
type Truth = (Incarnation, Page);

/// Writes, some of them together, that create, replace and delete.
fn fill(store: &Arc<dyn Store>, names: usize) {
    let name = |n: usize| format!("p{n}");
    run(async {
        append_all(&**store, (0..names).map(|n| put(&name(n)))).await;
        append_all(&**store, (0..names / 2).map(|n| put(&name(n)))).await;
        let every_third = (0..names).step_by(3);
        append_all(
            &**store,
            every_third.map(|n| delete_if(&name(n), Expect::Present)),
        )
        .await;
        for n in 0..5 {
            store.append(put(&name(n))).await.unwrap();
        }
    });
}

/// A closed data directory with something in it.
fn filled(names: usize) -> (TempDir, Truth) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    fill(&store, names);
    let truth = contents(&store);
    run(store.close());
    (dir, truth)
}

/// What goes while a store runs there may be gone.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to);
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => match fs::copy(entry.path(), target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            },
        }
    }
}

fn copied(from: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}

/// Every file below `dir` except the lock, with its bytes.
fn bytes_below(dir: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(bytes_below(&path)),
            false if path.ends_with("LOCK") => {}
            false => {
                let bytes = fs::read(&path).unwrap();
                all.insert((path, bytes));
            }
        }
    }
    all
}

/// The error that opening `dir` ends with.
fn refusal(dir: &Path) -> OpenError {
    match reopen(dir) {
        Ok(_) => panic!("{} opened", dir.display()),
        Err(error) => error,
    }
}

fn index_of(dir: &TempDir) -> PathBuf {
    dir.path().join(INDEX_DIR)
}

fn journal_of(dir: &TempDir) -> PathBuf {
    dir.path().join(JOURNAL_FILE)
}

#[test]
fn reopening_keeps_everything() {
    let (dir, truth) = filled(50);
    for _ in 0..2 {
        let store = reopen(dir.path()).unwrap();
        assert_eq!(contents(&store), truth);
        assert_eq!(store.revision(), truth.1.revision);
    }
}

#[test]
fn revisions_go_on_after_reopening() {
    let (dir, (_, page)) = filled(5);
    let store = reopen(dir.path()).unwrap();
    let next = page.revision.next().0;
    let answers = run(append_all(
        &*store,
        [put("a"), put_if("p4", Expect::Present)],
    ));
    assert_eq!(revisions(answers), [next, next + 1]);
}

#[test]
fn a_directory_copied_from_under_a_running_store_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    for _ in 0..5 {
        fill(&store, 20);
        let copy = copied(dir.path());
        opens_whole(&copy, &contents(&store));
    }
}

#[test]
fn an_index_that_is_behind_is_brought_up_from_the_journal() {
    let (dir, _) = filled(20);
    let behind = copied(&index_of(&dir));
    let store = reopen(dir.path()).unwrap();
    fill(&store, 30);
    let truth = contents(&store);
    drop(store);
    fs::remove_dir_all(index_of(&dir)).unwrap();
    copy(behind.path(), &index_of(&dir));
    assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
    assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
}

#[test]
fn an_index_that_is_gone_or_empty_is_rebuilt_whole() {
    let (dir, truth) = filled(50);
    fs::remove_dir_all(index_of(&dir)).unwrap();
    assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
    fs::remove_dir_all(index_of(&dir)).unwrap();
    fs::create_dir(index_of(&dir)).unwrap();
    assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
}

#[test]
fn a_torn_journal_is_cut_and_written_on() {
    let (dir, (_, page)) = filled(5);
    let whole = fs::read(journal_of(&dir)).unwrap();
    fs::write(journal_of(&dir), [&whole[..], &[7; 100]].concat()).unwrap();
    let store = reopen(dir.path()).unwrap();
    assert_eq!(fs::read(journal_of(&dir)).unwrap(), whole);
    let answer = run(store.append(put("a"))).unwrap();
    assert_eq!(answer.revision, page.revision.next());
    drop(store);
    assert!(reopen(dir.path()).unwrap().get(&id("a")).unwrap().is_some());
}

#[test]
fn a_byte_flipped_amid_the_journal_stops_the_start_and_changes_nothing() {
    let (dir, _) = filled(5);
    let mut journal = fs::read(journal_of(&dir)).unwrap();
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    fs::write(journal_of(&dir), journal).unwrap();
    let before = bytes_below(dir.path());
    assert!(matches!(refusal(dir.path()), OpenError::Damaged { .. }));
    assert_eq!(bytes_below(dir.path()), before);
}

#[test]
fn acknowledged_writes_cut_from_the_journal_are_missed() {
    let (dir, (_, page)) = filled(5);
    let whole = fs::read(journal_of(&dir)).unwrap();
    let torn = &whole[..whole.len() - 1];
    fs::write(journal_of(&dir), torn).unwrap();
    match refusal(dir.path()) {
        OpenError::JournalBehind {
            journal, applied, ..
        } => assert_eq!((journal.next(), applied), (page.revision, page.revision)),
        other => panic!("{other}"),
    }
    assert_eq!(fs::read(journal_of(&dir)).unwrap(), torn);
}

#[test]
fn an_index_without_its_journal_is_no_new_store() {
    let (dir, _) = filled(5);
    fs::remove_file(journal_of(&dir)).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        OpenError::JournalMissing { .. }
    ));
    assert!(!journal_of(&dir).exists());
}

#[test]
fn an_index_of_another_journal_is_set_aside() {
    let ((dir, truth), (other, _)) = (filled(5), filled(5));
    fs::remove_dir_all(index_of(&dir)).unwrap();
    copy(&index_of(&other), &index_of(&dir));
    assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
    assert_eq!(set_aside(dir.path()), 1);
}

/// How many damaged indexes have been kept.
fn set_aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(SET_ASIDE))
        .count()
}

/// Everything is there, now and at the next start; whether an index was set aside for it.
fn opens_whole(dir: &TempDir, truth: &Truth) -> bool {
    let journal = without_room(fs::read(journal_of(dir)).unwrap());
    assert_eq!(contents(&reopen(dir.path()).unwrap()), *truth);
    let aside = set_aside(dir.path());
    assert_eq!(contents(&reopen(dir.path()).unwrap()), *truth);
    assert_eq!(set_aside(dir.path()), aside, "the new index is whole");
    assert_eq!(fs::read(journal_of(dir)).unwrap(), journal);
    aside > 0
}

/// A journal's bytes without the room made ahead, as a store that closes leaves it. No frame ends
/// with a zero here.
fn without_room(mut journal: Vec<u8>) -> Vec<u8> {
    let used = journal.iter().rposition(|&byte| byte != 0);
    journal.truncate(used.map_or(0, |last| last + 1));
    journal
}

/// Positions spread over `length` bytes, the same at every run.
fn positions(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = length / count;
    // The odd stride keeps them from falling on the same place of every sled page.
    (0..count).map(move |n| (n * step + n * 37) % length)
}

/// How many of `count` changes to each of sled's files had it set aside; all must end well.
fn damages(count: usize, change: impl Fn(&mut Vec<u8>, usize)) -> usize {
    let (dir, truth) = filled(60);
    let mut aside = 0;
    for (path, bytes) in bytes_below(&index_of(&dir)) {
        let Some(used) = bytes.iter().rposition(|&byte| byte != 0) else {
            continue;
        };
        for at in positions(used, count) {
            let copy = copied(dir.path());
            let mut changed = bytes.clone();
            change(&mut changed, at);
            let target = index_of(&copy).join(path.file_name().unwrap());
            fs::write(target, changed).unwrap();
            aside += usize::from(opens_whole(&copy, &truth));
        }
    }
    aside
}

#[test]
fn an_index_with_a_flipped_byte_is_read_or_set_aside_and_nothing_is_lost() {
    assert_ne!(damages(24, |bytes, at| bytes[at] ^= 0x40), 0);
}

#[test]
fn an_index_cut_short_is_read_or_set_aside_and_nothing_is_lost() {
    assert_ne!(damages(12, Vec::truncate), 0);
}

#[test]
fn an_index_that_is_a_file_is_set_aside() {
    let (dir, truth) = filled(5);
    fs::remove_dir_all(index_of(&dir)).unwrap();
    fs::write(index_of(&dir), "not sled").unwrap();
    assert!(opens_whole(&dir, &truth));
}

#[test]
fn a_directory_in_use_is_refused_with_the_process_that_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    match refusal(dir.path()) {
        OpenError::InUse { dir: named, pid } => {
            assert_eq!(
                (named.as_path(), pid),
                (dir.path(), Some(std::process::id()))
            );
        }
        other => panic!("{other}"),
    }
    run(store.close());
    assert!(reopen(dir.path()).is_ok(), "closing lets go of it");
}

#[test]
fn a_store_closed_and_opened_at_once_is_never_refused() {
    let (dir, truth) = filled(5);
    for _ in 0..50 {
        let store = reopen(dir.path()).unwrap();
        assert_eq!(contents(&store), truth);
    }
}

#[test]
fn a_data_directory_is_created_with_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("a/b");
    assert!(reopen(&nested).is_ok());
    assert!(nested.join(JOURNAL_FILE).exists());
}

#[test]
fn what_is_no_directory_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "kept").unwrap();
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(refusal(&path), OpenError::NotADirectory { dir } if dir == path));
    }
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    // Even root cannot write to a file where a directory is.
    fs::create_dir(dir.path().join("LOCK")).unwrap();
    let said = refusal(dir.path()).to_string();
    assert!(
        said.starts_with("cannot write to the data directory "),
        "{said}"
    );
    assert!(
        said.contains("let this process's user write to it"),
        "{said}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_where_no_directory_can_be_made_is_refused_and_named() {
    let place = Path::new("/proc/fusebox-test");
    assert!(matches!(refusal(place), OpenError::Unwritable { dir, .. } if dir == place));
}

/// The frames in a journal, its header included.
fn frames(journal: &[u8]) -> usize {
    let mut rest = &journal[b"fusebox journal\n".len()..];
    let mut frames = 0;
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        rest = &rest[8 + u32::from_le_bytes(*length) as usize..];
        frames += 1;
    }
    frames
}

#[test]
fn sixty_four_appends_that_wait_together_take_one_sync() {
    let (dir, _) = filled(5);
    let before = frames(&fs::read(journal_of(&dir)).unwrap());
    let ((looked, looks), (go, gone)) = (channel(), channel::<()>());
    let (looked, gone) = (Mutex::new(looked), Mutex::new(gone));
    // The writer looks at the clock once a batch; here it then waits until `go` is dropped.
    let clock: Clock = Arc::new(move || {
        looked.lock().unwrap().send(()).unwrap();
        let _ = gone.lock().unwrap().recv();
        SystemTime::UNIX_EPOCH
    });
    let store = open(dir.path(), clock, Retention::default()).unwrap();
    let first = store.append(put("a"));
    looks.recv().unwrap();
    let others: Vec<_> = (1..64).map(|_| store.append(put("a"))).collect();
    drop(go);
    run(async {
        assert!(first.await.is_ok());
        for other in others {
            assert!(other.await.is_ok());
        }
    });
    let vitals = store.vitals();
    assert_eq!((vitals.writes, vitals.commits), (64, 1));
    drop(store);
    assert_eq!(frames(&fs::read(journal_of(&dir)).unwrap()), before + 1);
}

#[test]
fn an_index_that_was_not_built_to_its_end_is_built_anew_without_alarm() {
    let (dir, truth) = filled(5);
    fs::write(dir.path().join(UNFINISHED_FILE), "").unwrap();
    fs::write(index_of(&dir).join("db"), "half").unwrap();
    assert!(!opens_whole(&dir, &truth));
    assert!(!dir.path().join(UNFINISHED_FILE).exists());
}

#[test]
fn few_damaged_indexes_are_kept() {
    let (dir, truth) = filled(5);
    for _ in 0..MAX_SET_ASIDE + 2 {
        fs::remove_dir_all(index_of(&dir)).unwrap();
        fs::write(index_of(&dir), "not sled").unwrap();
        assert_eq!(contents(&reopen(dir.path()).unwrap()), truth);
    }
    assert_eq!(set_aside(dir.path()), MAX_SET_ASIDE);
}

/// A directory's size on the disk as an operator sees it, in bytes.
fn size_of(dir: &Path) -> usize {
    bytes_below(dir).iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn the_journals_size_follows_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let few = Retention {
        changes: 100,
        versions: 2,
        ..Retention::default()
    };
    let store = open(dir.path(), fixture::clock(), few).unwrap();
    let long = |n: usize| {
        let mut draft = fixture::policy(&format!("p{}", n % 10), 1).into_draft();
        draft.description = "x".repeat(4000);
        let policy = fusebox_core::policy::Policy::new(draft).unwrap();
        let step = Step::put(policy, Expect::Anything);
        Proposal::one(step, fixture::by(crate::store::Cause::Update))
    };
    let kept = 120 * 5000;
    let mut written = 0;
    let bound = 2 * kept + usize::try_from(COMPACT_SLACK).unwrap();
    // Twenty times as much as is kept; upkeep has its turns meanwhile.
    while written < 20 * bound {
        run(append_all(&*store, (0..200).map(long)));
        written += 200 * 4000;
    }
    let length = || fs::metadata(journal_of(&dir)).unwrap().len();
    wait_until(|| length() < bound as u64);
    let truth = contents(&store);
    let past = store.versions(&id("p3"), None, 99).unwrap();
    run(store.close());
    assert!(size_of(&index_of(&dir)) < usize::try_from(indexer::SLACK_BYTES).unwrap());
    let store = open(dir.path(), fixture::clock(), few).unwrap();
    assert_eq!(contents(&store), truth);
    assert_eq!(store.versions(&id("p3"), None, 99).unwrap(), past);
}

/// Bounded, and long enough for upkeep on a busy machine.
fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("upkeep did not come to its end");
}
