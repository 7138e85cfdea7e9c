//! The writer over a disk that stops, fails or panics when told to.

use std::sync::mpsc::{Receiver, Sender, channel};

use fusebox_core::revision::{Incarnation, Revision};

use super::*;
use crate::store::fixture::{self, append_all, conflict, delete_if, id, put, put_if, run};
use crate::store::live::Table;
use crate::store::local::{CLOSED, Local};
use crate::store::{
    BATCH_WRITES, BoxFuture, Expect, QUEUE_SLOTS, ReadError, Store, Vitals, WatchError, record,
};

/// A disk that announces each commit and waits to be told how it ends.
struct Stage {
    begun: Sender<usize>,
    ends: Receiver<End>,
    index: Result<(), String>,
}

#[derive(Clone, Copy)]
enum End {
    Good,
    Failed,
    Panic,
}

impl Disk for Stage {
    fn commit(&mut self, payload: &[u8]) -> io::Result<()> {
        let entries = record::decode_entries(payload).unwrap().len();
        self.begun.send(entries).unwrap();
        match self.ends.recv().unwrap() {
            End::Good => Ok(()),
            End::Failed => Err(io::Error::other("the disk is on fire")),
            End::Panic => panic!("the disk is gone"),
        }
    }

    fn index(&mut self, _entries: &[Entry]) -> Result<(), String> {
        self.index.clone()
    }

    fn flush(&mut self) {}
}

/// A store, and its disk's strings.
struct Puppet {
    store: Arc<dyn Store>,
    begun: Receiver<usize>,
    ends: Sender<End>,
}

fn puppet_with(index: Result<(), String>) -> Puppet {
    let ((announce, begun), (ends, orders)) = (channel(), channel());
    let stage = Stage {
        begun: announce,
        ends: orders,
        index,
    };
    let clock = fixture::clock();
    let store = Local::start(Incarnation(1), Table::default(), stage, clock).unwrap();
    Puppet { store, begun, ends }
}

fn puppet() -> Puppet {
    puppet_with(Ok(()))
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
    let large = || Proposal {
        author: "x".repeat(WRITE_BYTES / 2 - 1024),
        ..put("a")
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
    let reason = "the journal could not be written: the disk is on fire";
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
fn a_failed_index_loses_nothing_but_is_the_last() {
    let puppet = puppet_with(Err("no room".into()));
    puppet.end(End::Good);
    let answer = run(puppet.store.append(put("a")));
    assert_eq!(answer.unwrap().revision, Revision(1));
    assert!(puppet.store.get(&id("a")).unwrap().is_some());
    let reason = "the index could not be written: no room";
    assert_eq!(run(puppet.store.append(put("a"))), Err(unavailable(reason)));
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
    let Puppet { store, begun, ends } = puppet();
    (0..3).for_each(|_| ends.send(End::Good).unwrap());
    let queued = [put("a"), put("b")].map(|proposal| store.append(proposal));
    drop(store);
    assert_eq!(begun.try_iter().sum::<usize>(), 2);
    for answer in queued {
        assert!(run(answer).is_ok());
    }
}
