//! The account bites: each way in which a store can break its word is told.

use super::*;

fn put(ledger: &Ledger, name: &str, revision: u64) -> u64 {
    let write = ledger.begin(Kind::Put, &[name]);
    let stamp = write.stamp;
    ledger.acknowledge(write, revision);
    stamp
}

fn found(revision: u64, policies: &[(&str, u64, u64)]) -> Found {
    let policies = policies.iter().map(|&(name, revision, stamp)| v1::Policy {
        revision,
        ..stamp::policy(name, stamp)
    });
    Found {
        revision,
        policies: policies.collect(),
    }
}

#[track_caller]
fn assert_breach(ledger: &Ledger, found: &Found, part: &str) {
    let breaches = ledger.settle(found).expect_err("a breach");
    assert!(breaches.contains(part), "no {part:?} in: {breaches}");
}

#[test]
fn what_was_acknowledged_last_is_found() {
    let ledger = Ledger::default();
    put(&ledger, "a", 1);
    let stamp = put(&ledger, "a", 2);
    assert_eq!(ledger.settle(&found(2, &[("a", 2, stamp)])), Ok(()));
    // And is still owed in the next round.
    assert_breach(&ledger, &found(2, &[]), "a: lost");
}

#[test]
fn an_older_write_in_place_of_the_last_is_a_breach() {
    let ledger = Ledger::default();
    let stamp = put(&ledger, "a", 1);
    put(&ledger, "a", 2);
    assert_breach(
        &ledger,
        &found(2, &[("a", 1, stamp)]),
        "not what may be there",
    );
}

#[test]
fn a_write_in_doubt_may_be_found_or_not() {
    for there in [true, false] {
        let ledger = Ledger::default();
        let told = put(&ledger, "a", 1);
        let doubt = ledger.begin(Kind::Put, &["a"]);
        let (revision, stamp) = if there { (2, doubt.stamp) } else { (1, told) };
        let found = found(revision, &[("a", revision, stamp)]);
        assert_eq!(ledger.settle(&found), Ok(()));
    }
}

#[test]
fn a_delete_in_doubt_explains_an_absence_and_a_refused_one_does_not() {
    let ledger = Ledger::default();
    put(&ledger, "a", 1);
    let refused = ledger.begin(Kind::Delete, &["a"]);
    ledger.refuse(refused);
    assert_breach(&ledger, &found(1, &[]), "a: lost");
    let _doubt = ledger.begin(Kind::Delete, &["a"]);
    assert_eq!(ledger.settle(&found(2, &[])), Ok(()));
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let ledger = Ledger::default();
    let stamp = put(&ledger, "a", 1);
    let delete = ledger.begin(Kind::Delete, &["a"]);
    ledger.acknowledge(delete, 2);
    assert_breach(
        &ledger,
        &found(2, &[("a", 1, stamp)]),
        "not what may be there",
    );
    assert_eq!(ledger.settle(&found(2, &[])), Ok(()));
}

#[test]
fn a_store_that_goes_back_or_runs_ahead_is_a_breach() {
    let ledger = Ledger::default();
    let stamp = put(&ledger, "a", 1);
    assert_breach(&ledger, &found(0, &[("a", 1, stamp)]), "the store is at 0");
    assert_breach(&ledger, &found(2, &[("a", 1, stamp)]), "the store is at 2");
}

#[test]
#[should_panic(expected = "revision 1 is write 2's too")]
fn a_revision_told_twice_is_a_breach() {
    let ledger = Ledger::default();
    put(&ledger, "a", 1);
    put(&ledger, "b", 1);
}

#[test]
fn what_nobody_wrote_is_a_breach() {
    let ledger = Ledger::default();
    assert_breach(&ledger, &found(0, &[("a", 1, 1)]), "nobody wrote it");
}

#[test]
fn a_set_is_found_whole_or_not_at_all() {
    for (names, torn) in [(&["a", "b"][..], false), (&[], false), (&["b"], true)] {
        let ledger = Ledger::default();
        let set = ledger.begin(Kind::Put, &["a", "b"]);
        let policies: Vec<_> = names.iter().map(|&name| (name, 1, set.stamp)).collect();
        let settled = ledger.settle(&found(u64::from(!names.is_empty()), &policies));
        assert_eq!(settled.is_err(), torn, "{names:?}: {settled:?}");
    }
}

#[test]
fn a_part_of_a_set_may_have_been_written_or_deleted_since() {
    let ledger = Ledger::default();
    let set = ledger.begin(Kind::Put, &["a", "b", "c"]);
    let stamp = set.stamp;
    ledger.acknowledge(set, 1);
    let newer = put(&ledger, "b", 2);
    let delete = ledger.begin(Kind::Delete, &["c"]);
    ledger.acknowledge(delete, 3);
    let settled = ledger.settle(&found(3, &[("a", 1, stamp), ("b", 2, newer)]));
    assert_eq!(settled, Ok(()));
    // The next round remembers.
    let settled = ledger.settle(&found(3, &[("a", 1, stamp), ("b", 2, newer)]));
    assert_eq!(settled, Ok(()));
}
