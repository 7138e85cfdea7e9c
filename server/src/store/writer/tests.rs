//! The writer over a disk that stops, fails or panics when told to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use fusebox_core::revision::{Incarnation, Revision};

use super::*;
use crate::store::fixture::{self, append_all, conflict, delete_if, id, put, put_if, run};
use crate::store::local::{CLOSED, Life, Local};
use crate::store::table::Table;
use crate::store::{
    BATCH_WRITES, BoxFuture, Expect, QUEUE_SLOTS, ReadError, Retention, Store, VERSION_BYTES,
    Vitals, WatchError, record,
};

/// A disk that announces each commit and waits to be told how it ends.
struct Stage {
    begun: Sender<usize>,
    ends: Receiver<End>,
    room: Arc<AtomicBool>,
}

#[derive(Clone, Copy)]
enum End {
    Good,
    Failed,
    Full,
    Panic,
}

impl Disk for Stage {
    fn begin(&mut self, _live: &Arc<Live>) {}

    fn commit(&mut self, payload: &[u8]) -> Result<(), CommitError> {
        let entries = record::decode_entries(payload).unwrap().len();
        self.begun.send(entries).unwrap();
        match self.ends.recv().unwrap() {
            End::Good => Ok(()),
            End::Failed => Err(CommitError {
                source: io::Error::other("the disk is on fire"),
                undone: false,
            }),
            End::Full => Err(CommitError {
                source: io::ErrorKind::StorageFull.into(),
                undone: true,
            }),
            End::Panic => panic!("the disk is gone"),
        }
    }

    fn tend(&mut self, _live: &Live) -> Result<(), Halt> {
        Ok(())
    }

    fn has_room(&self) -> bool {
        // Relaxed: a test sets it before it asks for anything else.
        self.room.load(Ordering::Relaxed)
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn end(&mut self) {}
}

/// A store, and its disk's strings.
struct Puppet {
    store: Arc<dyn Store>,
    begun: Receiver<usize>,
    ends: Sender<End>,
    room: Arc<AtomicBool>,
}

fn puppet() -> Puppet {
    let ((announce, begun), (ends, orders)) = (channel(), channel());
    let room = Arc::new(AtomicBool::new(false));
    let stage = Stage {
        begun: announce,
        ends: orders,
        room: Arc::clone(&room),
    };
    let life = Life {
        incarnation: Incarnation(1),
        adopted: false,
    };
    let table = Table::new(Retention::default());
    let store = Local::start(life, table, stage, fixture::clock()).unwrap();
    Puppet {
        store,
        begun,
        ends,
        room,
    }
}

impl Puppet {
    /// Begins a commit of one write, and returns once the writer waits for its disk.
    fn occupy(&self) -> BoxFuture<'static, Answer> {
        let answer = self.store.append(put("first"));
        assert_eq!(self.begun.recv().unwrap(), 1);
        answer
    }

    fn end(&self, end: End) {
        self.ends.send(end).unwrap();
    }
}

#[test]
fn what_queues_up_during_a_commit_shares_the_next_one() {
    let puppet = puppet();
    let first = puppet.occupy();
    let others: Vec<_> = (1..64).map(|_| puppet.store.append(put("a"))).collect();
    puppet.end(End::Good);
    puppet.end(End::Good);
    run(async {
        assert!(first.await.is_ok());
        for other in others {
            assert!(other.await.is_ok());
        }
    });
    assert_eq!(puppet.begun.recv().unwrap(), 63);
    let vitals = puppet.store.vitals();
    assert_eq!((vitals.writes, vitals.commits), (64, 2));
}

#[test]
fn a_batch_is_bounded_in_writes() {
    let puppet = puppet();
    let _first = puppet.occupy();
    let _others: Vec<_> = (0..=BATCH_WRITES)
        .map(|_| puppet.store.append(put("a")))
        .collect();
    (0..3).for_each(|_| puppet.end(End::Good));
    assert_eq!(puppet.begun.recv().unwrap(), BATCH_WRITES);
    assert_eq!(puppet.begun.recv().unwrap(), 1);
}

#[test]
fn a_batch_is_bounded_in_bytes() {
    let puppet = puppet();
    let _first = puppet.occupy();
    let large = || {
        let mut large = put("a");
        large.by.author = "x".repeat(VERSION_BYTES / 2 - 1024);
        large
    };
    let _others: Vec<_> = (0..20).map(|_| puppet.store.append(large())).collect();
    (0..3).for_each(|_| puppet.end(End::Good));
    let (one, other) = (puppet.begun.recv().unwrap(), puppet.begun.recv().unwrap());
    assert_eq!(one + other, 20);
    assert!((16..20).contains(&one), "{one}");
}

#[test]
fn a_full_queue_refuses_and_counts_what_it_refused() {
    let puppet = puppet();
    let first = puppet.occupy();
    let queued: Vec<_> = (0..QUEUE_SLOTS)
        .map(|_| puppet.store.append(put("a")))
        .collect();
    assert_eq!(run(puppet.store.append(put("a"))), Err(AppendError::Busy));
    assert_eq!(puppet.store.vitals().busy, 1);
    (0..=QUEUE_SLOTS).for_each(|_| puppet.end(End::Good));
    run(async {
        assert!(first.await.is_ok());
        for queued in queued {
            assert!(queued.await.is_ok());
        }
        assert!(puppet.store.append(put("a")).await.is_ok());
    });
}

#[test]
fn nothing_is_visible_before_its_commit() {
    let puppet = puppet();
    let first = puppet.occupy();
    assert_eq!(puppet.store.revision(), Revision::ZERO);
    assert_eq!(puppet.store.get(&id("first")), Ok(None));
    puppet.end(End::Good);
    assert_eq!(run(first).unwrap().revision, Revision(1));
    assert_eq!(puppet.store.revision(), Revision(1));
}

#[test]
fn a_failed_commit_is_in_doubt_unseen_and_the_last() {
    let puppet = puppet();
    let mut watch = puppet.store.watch().unwrap();
    let first = puppet.occupy();
    let behind = puppet.store.append(put("a"));
    puppet.end(End::Failed);
    let reason = "the journal could not be written: the disk is on fire; start the server anew \
                  once the disk is well";
    assert_eq!(run(first), Err(in_doubt(reason)));
    assert_eq!(run(behind), Err(unavailable(reason)));
    assert_eq!(run(puppet.store.append(put("b"))), Err(unavailable(reason)));
    assert_eq!(puppet.store.vitals().read_only.as_deref(), Some(reason));
    assert_eq!(puppet.store.get(&id("first")), Ok(None));
    run(async {
        puppet.store.close().await;
        assert_eq!(watch.next().await, Err(WatchError::Closed));
    });
    assert_eq!(puppet.begun.try_iter().count(), 0);
}

#[test]
fn a_conflict_with_a_write_in_doubt_is_in_doubt_too() {
    let puppet = puppet();
    let first = puppet.occupy();
    let both = [put_if("a", Expect::Absent), put_if("a", Expect::Absent)];
    let both = both.map(|proposal| puppet.store.append(proposal));
    puppet.end(End::Good);
    puppet.end(End::Failed);
    assert!(run(first).is_ok());
    for answer in both {
        assert!(matches!(run(answer), Err(AppendError::InDoubt { .. })));
    }
}

#[test]
fn a_full_disk_keeps_nothing_of_a_write_and_takes_the_next_once_it_has_room() {
    let puppet = puppet();
    let first = puppet.occupy();
    puppet.end(End::Full);
    let refused = run(first).unwrap_err();
    assert!(
        matches!(refused, AppendError::Unavailable { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("the disk is full"),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("once there is room"),
        "{refused}"
    );
    assert_eq!(run(puppet.store.append(put("a"))), Err(refused));
    assert!(puppet.store.vitals().read_only.is_some());
    assert_eq!(puppet.store.get(&id("first")), Ok(None));
    // Relaxed: the next append is handed over through a channel.
    puppet.room.store(true, Ordering::Relaxed);
    puppet.end(End::Good);
    let answer = run(puppet.store.append(put("a")));
    assert_eq!(answer.unwrap().revision, Revision(1));
    assert_eq!(puppet.store.vitals().read_only, None);
}

#[test]
fn a_batch_of_refusals_costs_no_commit() {
    let puppet = puppet();
    let answers = run(append_all(
        &*puppet.store,
        [
            delete_if("a", Expect::Present),
            put_if("a", Expect::Present),
        ],
    ));
    assert_eq!(
        answers,
        [(); 2].map(|()| conflict("a", Expect::Present, None))
    );
    assert_eq!(puppet.store.vitals(), Vitals::default());
}

#[test]
fn a_writer_that_panics_leaves_doubt_and_no_one_waiting() {
    let puppet = puppet();
    let mut watch = puppet.store.watch().unwrap();
    let first = puppet.occupy();
    let behind = puppet.store.append(put("a"));
    puppet.end(End::Panic);
    for answer in [first, behind] {
        assert!(matches!(run(answer), Err(AppendError::InDoubt { .. })));
    }
    run(async {
        puppet.store.close().await;
        assert_eq!(watch.next().await, Err(WatchError::Closed));
        let refused = puppet.store.append(put("a")).await;
        assert_eq!(refused, Err(unavailable(CLOSED)));
        assert_eq!(puppet.store.get(&id("a")), Err(ReadError::Closed));
    });
}

#[test]
fn dropping_the_store_commits_what_is_queued() {
    let Puppet {
        store, begun, ends, ..
    } = puppet();
    (0..3).for_each(|_| ends.send(End::Good).unwrap());
    let queued = [put("a"), put("b")].map(|proposal| store.append(proposal));
    drop(store);
    assert_eq!(begun.try_iter().sum::<usize>(), 2);
    for answer in queued {
        assert!(run(answer).is_ok());
    }
}
