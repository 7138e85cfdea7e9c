//! Writing policies down, off everybody's way.
//!
//! A thread of its own writes, because a disk may take as long as it likes. At most one save runs,
//! and behind it waits at most one: the latest, for of two snapshots only the newer is worth
//! keeping. One that failed is tried again, and with it whatever has come since.
//!
//! ```text
//!   put --> waiting --> writing --written--> idle
//!              ^           |
//!              +--failed---+   after RETRY, or at once if something newer waits
//! ```
//!
//! A failure is told in the log once for each cause until a save succeeds, and in health for as long
//! as it lasts.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use fusebox_core::time::Instant;
use tokio::sync::oneshot;

use super::{Cache, Good, Saved};
use crate::{clock, steady};

/// Between two tries to write the same.
const RETRY: Duration = Duration::from_secs(30);
/// A save that takes longer is worth a word in health.
const SLOW: Duration = Duration::from_secs(5);

/// Where to hand in what is to be written. Dropping it ends the thread once nothing waits.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Shared>);

/// A look at how the writing goes.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cache: Cache,
    slot: Mutex<Slot>,
    /// There is something to do.
    handed_in: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    waiting: Option<Good>,
    /// The last save failed and nothing newer has come.
    failed: bool,
    writing_since: Option<Instant>,
    problem: Option<String>,
    /// Causes of failure that the log has heard of since a save last succeeded.
    told: Vec<io::ErrorKind>,
    /// The log has heard that there are no locks.
    told_unlocked: bool,
    /// Answered, by being dropped, as soon as nothing is left to do at once.
    waits: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Writer {
    /// Starts the thread. `problem` is what was wrong with the disk before, until a save succeeds.
    pub(crate) fn start(cache: Cache, problem: Option<String>) -> io::Result<Self> {
        let slot = Slot {
            problem,
            ..Slot::default()
        };
        let shared = Arc::new(Shared {
            cache,
            slot: Mutex::new(slot),
            handed_in: Condvar::new(),
        });
        let working = Arc::clone(&shared);
        thread::Builder::new()
            .name("fusebox-disk".into())
            .spawn(move || working.work())?;
        Ok(Self(shared))
    }

    /// Hands in what is to be written next, in place of what has waited until now.
    pub(crate) fn put(&self, good: Good) {
        let mut slot = self.0.lock();
        slot.waiting = Some(good);
        slot.failed = false;
        self.0.handed_in.notify_one();
    }

    /// Waits until everything handed in is written, or the disk has said that it cannot be.
    pub(crate) async fn settled(&self) {
        let answer = {
            let mut slot = self.0.lock();
            if slot.is_settled() {
                return;
            }
            let (wait, answer) = oneshot::channel();
            slot.waits.push(wait);
            answer
        };
        // Nothing is ever sent: the end of the wait is the answer.
        let _ = answer.await;
    }

    pub(crate) fn disk(&self) -> Disk {
        Disk(Arc::clone(&self.0))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.handed_in.notify_one();
    }
}

impl Disk {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let slot = self.0.lock();
        let slow = |since: Instant| clock::now().since(since) > SLOW;
        let path = self.0.cache.path().display();
        match slot.writing_since {
            Some(since) if slow(since) => Some(format!(
                "{path}: a write has taken over {SLOW:?} and goes on"
            )),
            _ => slot.problem.clone(),
        }
    }
}

impl Slot {
    fn is_settled(&self) -> bool {
        self.writing_since.is_none() && (self.waiting.is_none() || self.failed)
    }
}

impl Shared {
    fn work(&self) {
        while let Some(good) = self.next() {
            let saved = steady::caught(|| self.cache.save(&good));
            let saved = saved.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            self.note(good, saved);
        }
    }

    /// What to write now; waits for it. `None` once nobody can hand anything in any more.
    fn next(&self) -> Option<Good> {
        let mut slot = self.lock();
        loop {
            let due = !slot.failed || slot.closed;
            if due && let Some(good) = slot.waiting.take() {
                slot.writing_since = Some(clock::now());
                return Some(good);
            }
            if slot.closed {
                return None;
            }
            slot = self.wait(slot);
        }
    }

    fn wait<'a>(&'a self, slot: MutexGuard<'a, Slot>) -> MutexGuard<'a, Slot> {
        if !slot.failed {
            let waited = self.handed_in.wait(slot);
            return waited.unwrap_or_else(PoisonError::into_inner);
        }
        let waited = self.handed_in.wait_timeout(slot, RETRY);
        let (mut slot, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            slot.failed = false;
        }
        slot
    }

    fn note(&self, good: Good, saved: io::Result<Saved>) {
        let told = {
            let mut slot = self.lock();
            slot.writing_since = None;
            let told = match saved {
                Ok(saved) => slot.succeed(saved),
                Err(error) => slot.fail(good, error, self.cache.path()),
            };
            if slot.closed {
                // Once more would be too often: whoever closes has little time.
                slot.waiting = slot.waiting.take().filter(|_| !slot.failed);
            }
            if slot.is_settled() {
                slot.waits.clear();
            }
            told
        };
        // Whoever listens may look at everything, so no lock is held.
        steady::tell(|| told.tell(self.cache.path()));
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // Nothing panics while holding it; if something did, the slot is still whole.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log is told of a save.
enum Told {
    Nothing,
    NewerStays(u64),
    Unlocked,
    Recovered,
    Failed(io::Error),
}

impl Slot {
    fn succeed(&mut self, saved: Saved) -> Told {
        self.failed = false;
        self.told.clear();
        match (self.problem.take(), saved) {
            (Some(_), _) => Told::Recovered,
            (None, Saved::NewerStays(revision)) => Told::NewerStays(revision.0),
            (None, Saved::WrittenUnlocked) if !self.told_unlocked => {
                self.told_unlocked = true;
                Told::Unlocked
            }
            (None, Saved::Written | Saved::WrittenUnlocked) => Told::Nothing,
        }
    }

    fn fail(&mut self, good: Good, error: io::Error, path: &std::path::Path) -> Told {
        self.problem = Some(format!("{}: {error}", path.display()));
        if self.waiting.is_none() {
            self.waiting = Some(good);
            self.failed = true;
        }
        if self.told.contains(&error.kind()) {
            return Told::Nothing;
        }
        self.told.push(error.kind());
        Told::Failed(error)
    }
}

impl Told {
    fn tell(&self, path: &std::path::Path) {
        let path = path.display();
        match self {
            Self::Nothing => {}
            Self::NewerStays(revision) => tracing::debug!(
                target: "fusebox", %path, revision,
                "another process has written a newer revision down; it stays"
            ),
            Self::Unlocked => tracing::warn!(
                target: "fusebox", %path,
                "no file can be locked there: of two processes that write at once the older \
                 policies may stay until the next write; told once"
            ),
            Self::Recovered => {
                tracing::info!(target: "fusebox", %path, "policies are written down again");
            }
            Self::Failed(error) => tracing::error!(
                target: "fusebox", %path, %error,
                "cannot write the policies down; tried again, and told once"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::super::tests::{cache, good, saved};
    use super::*;

    /// Takes the lock as another process that hangs would.
    fn hang(directory: &Path) -> File {
        let lock = File::create(directory.join("default%check%2Fout.lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    #[tokio::test]
    async fn whoever_hands_in_does_not_wait_for_a_disk_that_hangs_and_only_the_latest_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let hung = hang(directory.path());
        let writer = Writer::start(cache(directory.path()), None).unwrap();
        for revision in 1..=1000 {
            writer.put(good(7, revision));
        }
        assert!(!cache(directory.path()).path().exists());
        drop(hung);
        writer.settled().await;
        assert_eq!(saved(&cache(directory.path())), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_takes_long_is_a_problem_while_it_lasts() {
        let directory = tempfile::tempdir().unwrap();
        let hung = hang(directory.path());
        let writer = Writer::start(cache(directory.path()), None).unwrap();
        let disk = writer.disk();
        writer.put(good(7, 1));
        while writer.0.lock().writing_since.is_none() {
            thread::yield_now();
        }
        assert_eq!(disk.problem(), None);
        // The thread's clock is not this test's, so its reading is put back by hand.
        tokio::time::advance(Duration::from_secs(3600)).await;
        writer.0.lock().writing_since = Some(Instant::ORIGIN);
        assert!(
            disk.problem()
                .unwrap()
                .contains("a write has taken over 5s")
        );
        drop(hung);
        writer.settled().await;
        assert_eq!(disk.problem(), None);
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_a_problem_until_it_takes_something() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::write(&below, "no directory").unwrap();
        let writer = Writer::start(cache(&below), None).unwrap();
        let disk = writer.disk();
        writer.put(good(7, 1));
        writer.settled().await;
        let problem = disk.problem().unwrap();
        assert!(
            problem.contains("below/default%check%2Fout.policies: "),
            "{problem}"
        );
        fs::remove_file(&below).unwrap();
        writer.put(good(7, 2));
        writer.settled().await;
        assert_eq!(disk.problem(), None);
        assert_eq!(saved(&cache(&below)), 2);
    }

    #[test]
    fn a_cause_of_failure_is_told_once_until_a_save_succeeds() {
        let mut slot = Slot::default();
        let fails = |slot: &mut Slot, kind: io::ErrorKind| {
            let told = slot.fail(good(7, 1), kind.into(), Path::new("/cache"));
            matches!(told, Told::Failed(_))
        };
        assert!(fails(&mut slot, io::ErrorKind::StorageFull));
        assert!(fails(&mut slot, io::ErrorKind::PermissionDenied));
        assert!(!fails(&mut slot, io::ErrorKind::StorageFull));
        assert!(matches!(slot.succeed(Saved::Written), Told::Recovered));
        assert!(fails(&mut slot, io::ErrorKind::StorageFull));
    }

    #[test]
    fn that_there_are_no_locks_is_told_once_and_is_no_problem() {
        let mut slot = Slot::default();
        let told = slot.succeed(Saved::WrittenUnlocked);
        assert!(matches!(told, Told::Unlocked) && slot.problem.is_none());
        let again = slot.succeed(Saved::WrittenUnlocked);
        assert!(matches!(again, Told::Nothing));
    }

    #[test]
    fn what_failed_is_tried_again_unless_something_newer_waits() {
        let mut slot = Slot::default();
        let full = || io::ErrorKind::StorageFull.into();
        slot.fail(good(7, 1), full(), Path::new("/cache"));
        assert!(slot.failed && slot.waiting.as_ref().unwrap().snapshot.revision == 1);
        slot.waiting = Some(good(7, 2));
        slot.failed = false;
        slot.fail(good(7, 1), full(), Path::new("/cache"));
        assert!(!slot.failed && slot.waiting.as_ref().unwrap().snapshot.revision == 2);
    }

    #[tokio::test]
    async fn what_waits_when_the_writer_is_dropped_is_written_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let hung = hang(directory.path());
        let writer = Writer::start(cache(directory.path()), None).unwrap();
        writer.put(good(7, 1));
        let written = {
            let (wait, written) = oneshot::channel();
            writer.0.lock().waits.push(wait);
            written
        };
        drop(writer);
        drop(hung);
        written.await.unwrap_err();
        assert_eq!(saved(&cache(directory.path())), 1);
    }
}
