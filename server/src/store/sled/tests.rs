//! Indexes that were tampered with behind their owner's back.

use tempfile::TempDir;

use super::super::fixture::{id, policy};
use super::*;

const LIFE: Incarnation = Incarnation(7);

fn stored(name: &str, revision: u64) -> Arc<Stored> {
    Arc::new(Stored {
        policy: policy(name, 1),
        revision: Revision(revision),
        create_time: std::time::UNIX_EPOCH,
        update_time: std::time::UNIX_EPOCH,
        updated_by: String::new(),
    })
}

/// What an index of `policies` as of a revision must hold.
fn summary(revision: u64, policies: &[Arc<Stored>]) -> Summary {
    Summary {
        revision: Revision(revision),
        count: policies.len() as u64,
        sum: policies
            .iter()
            .fold(0, |sum, stored| sum.wrapping_add(digest(stored))),
    }
}

fn place(dir: &TempDir) -> PathBuf {
    dir.path().join("index")
}

fn open(dir: &TempDir) -> Result<Index, Trouble> {
    Index::wait_until_free(&place(dir)).unwrap();
    Index::open(place(dir))
}

/// Of policies p1 to p7, and of p8 until it was deleted.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let first = [stored("p1", 1), stored("p8", 8)];
    let mut index = Index::build(place(&dir), LIFE, summary(8, &first), &first).unwrap();
    let mut changes: Vec<_> = policies()[1..]
        .iter()
        .map(|stored| (stored.policy.id().clone(), Some(Arc::clone(stored))))
        .collect();
    changes.push((id("p8"), None));
    let summary = summary(9, &policies());
    index.apply(&Unindexed { summary, changes }).unwrap();
    dir
}

fn policies() -> Vec<Arc<Stored>> {
    (1..=7).map(|n| stored(&format!("p{n}"), n)).collect()
}

#[test]
fn an_index_holds_what_was_applied_to_it_and_says_as_of_when() {
    let dir = filled();
    let index = open(&dir).unwrap();
    assert_eq!((index.applied(), index.incarnation()), (Revision(9), LIFE));
    assert_eq!(index.summary(), summary(9, &policies()));
}

#[test]
fn an_index_is_built_at_once_from_any_number_of_policies() {
    let dir = tempfile::tempdir().unwrap();
    let many = 2 * BUILD_RECORDS as u64 + 10;
    let all: Vec<_> = (1..=many).map(|n| stored(&format!("p{n}"), n)).collect();
    let summary = summary(many, &all);
    drop(Index::build(place(&dir), LIFE, summary, &all).unwrap());
    assert_eq!(open(&dir).unwrap().summary(), summary);
}

fn database(dir: &TempDir) -> ::sled::Db {
    Index::wait_until_free(&place(dir)).unwrap();
    ::sled::open(place(dir)).unwrap()
}

#[test]
fn a_record_that_is_missing_old_forged_or_misplaced_is_noticed() {
    let key = |name: &str| key(&id(name)).into_bytes();
    type Change<'a> = (&'a str, Box<dyn Fn(&::sled::Db) + 'a>);
    let changes: [Change<'_>; 6] = [
        (
            "it has 6 records, its manifest says 7",
            Box::new(|db| {
                db.remove(key("p7")).unwrap();
            }),
        ),
        (
            "its 7 records are not those of revision ",
            Box::new(|db| {
                let stored = decode_stored(
                    record::unwrap(&key("p7"), &db.get(key("p7")).unwrap().unwrap()).unwrap(),
                )
                .unwrap();
                let older = Stored {
                    revision: Revision(1),
                    ..stored
                };
                db.insert(key("p7"), record::wrap(&key("p7"), &encode_stored(&older)))
                    .unwrap();
            }),
        ),
        (
            "has checksum",
            Box::new(|db| {
                db.insert(key("p7"), db.get(key("p5")).unwrap().unwrap())
                    .unwrap();
            }),
        ),
        (
            "has checksum",
            Box::new(|db| {
                let mut value = db.get(MANIFEST_KEY).unwrap().unwrap().to_vec();
                *value.last_mut().unwrap() ^= 1;
                db.insert(MANIFEST_KEY, value).unwrap();
            }),
        ),
        (
            "it has 7 records and no manifest",
            Box::new(|db| {
                db.remove(MANIFEST_KEY).unwrap();
            }),
        ),
        (
            "has version 9",
            Box::new(|db| {
                let mut value = db.get(key("p7")).unwrap().unwrap().to_vec();
                value[4] = 9;
                let mut crc = crc32fast::Hasher::new();
                crc.update(&key("p7"));
                crc.update(&value[4..]);
                value[..4].copy_from_slice(&crc.finalize().to_le_bytes());
                db.insert(key("p7"), value).unwrap();
            }),
        ),
    ];
    for (problem, change) in changes {
        let dir = filled();
        let db = database(&dir);
        change(&db);
        drop(db);
        let trouble = open(&dir).unwrap_err();
        assert!(!trouble.is_of_the_disk());
        let said = trouble.line();
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn an_index_that_somebody_else_has_open_is_in_use() {
    let dir = filled();
    let elsewhere = database(&dir);
    let in_use = wait_for(&place(&dir), 1).unwrap_err();
    assert!(matches!(in_use, OpenError::InUse { dir: named, .. } if named == place(&dir)));
    drop(elsewhere);
    assert!(open(&dir).is_ok());
}
