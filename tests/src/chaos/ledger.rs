//! The account of every write: begun, acknowledged, refused, or left in doubt by a kill.
//!
//! A write counts as in doubt from before it is sent, so that nothing the server may have heard of
//! is ever missing here. What may be found of a name after a restart:
//!
//! ```text
//!   the newest acknowledged write of it                  as of exactly the revision that was told
//!   or one in doubt, at a newer revision than that       nobody was told of it: it may have been last
//!   anything else                                        lost, half, or come back from the dead
//! ```
//!
//! Once compared, doubts are over: a server that was killed writes no more. What was found is from
//! then on owed like an acknowledged write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusebox_proto::v1;

use super::stamp;

/// A handle; clones share the account.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    names: BTreeMap<String, Name>,
    /// Which write each acknowledged revision belongs to, over all rounds.
    revisions: BTreeMap<u64, u64>,
    /// The names of each write to several, for as long as one of them may show it.
    sets: BTreeMap<u64, Vec<String>>,
    last_stamp: u64,
    /// The store's revision when it was last compared.
    settled: u64,
    /// Since then.
    acknowledged: usize,
    /// Since then.
    doubts: usize,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Name {
    owed: Option<Owed>,
    /// The stamps of puts nobody answered.
    puts: BTreeSet<u64>,
    /// The stamps of deletes nobody answered.
    deletes: BTreeSet<u64>,
}

/// The newest write that must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owed {
    revision: u64,
    /// The put; none if the write was a delete.
    stamp: Option<u64>,
}

/// What a write does to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Creates or replaces.
    Put,
    /// Removes.
    Delete,
}

/// A write that has begun. Dropped without an answer it stays in doubt.
#[must_use]
#[derive(Debug)]
pub struct Write {
    /// Its number, no other write's.
    pub stamp: u64,
    kind: Kind,
    names: Vec<String>,
}

/// What a server shows of its store.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The store's revision.
    pub revision: u64,
    /// Every policy.
    pub policies: Vec<v1::Policy>,
}

impl Ledger {
    /// Before a write is sent: to several names if it is one write to all of them.
    pub fn begin(&self, kind: Kind, names: &[&str]) -> Write {
        let mut account = self.account();
        account.last_stamp += 1;
        account.doubts += 1;
        let stamp = account.last_stamp;
        for &name in names {
            let name = account.names.entry(name.to_owned()).or_default();
            name.doubts(kind).insert(stamp);
        }
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        if names.len() > 1 {
            account.sets.insert(stamp, names.clone());
        }
        Write { stamp, kind, names }
    }

    /// The write was acknowledged at that revision.
    ///
    /// # Panics
    /// If the revision was another write's, or is none that the store could be at.
    pub fn acknowledge(&self, write: Write, revision: u64) {
        let mut account = self.account();
        let settled = account.settled;
        let stamp = write.stamp;
        let earlier = account.revisions.insert(revision, stamp);
        assert_eq!(earlier, None, "revision {revision} is write {stamp}'s too");
        assert!(
            revision > settled,
            "write {stamp} got revision {revision}, but the store was at {settled} before it"
        );
        let put = (write.kind == Kind::Put).then_some(stamp);
        for name in account.close(write) {
            if name.owed.is_none_or(|owed| owed.revision < revision) {
                let stamp = put;
                name.owed = Some(Owed { revision, stamp });
            }
        }
        account.acknowledged += 1;
    }

    /// The server said that it did not make the write.
    pub fn refuse(&self, write: Write) {
        self.account().close(write).for_each(drop);
    }

    /// Writes acknowledged since the last comparison.
    pub fn acknowledged(&self) -> usize {
        self.account().acknowledged
    }

    /// The newest revision that anybody was told.
    pub fn newest(&self) -> u64 {
        let account = self.account();
        let told = account.revisions.last_key_value();
        told.map_or(account.settled, |(told, _)| account.settled.max(*told))
    }

    /// Compares with what a server shows once it is back and nobody writes; one line a breach.
    pub fn settle(&self, found: &Found) -> Result<(), String> {
        let mut account = self.account();
        let mut breaches = account.revision_breaches(found.revision);
        let mut whole = BTreeMap::new();
        for policy in &found.policies {
            match stamp::read(policy) {
                Ok(stamp) => drop(whole.insert(policy.name.as_str(), (policy.revision, stamp))),
                Err(breach) => breaches.push(breach),
            }
        }
        for name in whole
            .keys()
            .filter(|name| !account.names.contains_key(**name))
        {
            breaches.push(format!("{name}: found, and nobody wrote it"));
        }
        for (name, known) in &account.names {
            let found = whole.get(name.as_str()).copied();
            let breach = known.check(found, &account.revisions);
            breaches.extend(breach.err().map(|breach| format!("{name}: {breach}")));
        }
        breaches.extend(account.torn_sets(&whole));
        if !breaches.is_empty() {
            return Err(breaches.join("\n"));
        }
        account.settle(found.revision, &whole);
        Ok(())
    }

    /// A writer that panicked under the lock has failed the test already.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has come since the last comparison.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account();
        let (told, doubts, settled) = (account.acknowledged, account.doubts, account.settled);
        write!(
            f,
            "after revision {settled}: {told} acknowledged, {doubts} in doubt"
        )
    }
}

impl Account {
    /// The names of a write that is in doubt no more.
    fn close(&mut self, write: Write) -> impl Iterator<Item = &mut Name> {
        let Write { stamp, kind, names } = write;
        self.doubts -= 1;
        let known = self.names.iter_mut();
        let concerned = known.filter(move |(name, _)| names.contains(name));
        concerned.map(move |(_, name)| {
            name.doubts(kind).remove(&stamp);
            name
        })
    }

    /// Each write takes one revision, and nothing but a write takes any.
    fn revision_breaches(&self, found: u64) -> Vec<String> {
        let (settled, told) = (self.settled, self.acknowledged as u64);
        let doubts = self.doubts as u64;
        let may = settled + told..=settled + told + doubts;
        let newest = self.revisions.last_key_value().map_or(0, |(last, _)| *last);
        let mut breaches = Vec::new();
        if !may.contains(&found) {
            breaches.push(format!(
                "the store is at {found}: it was at {settled}, then came {told} acknowledged writes \
                 and {doubts} in doubt"
            ));
        }
        if found < newest {
            breaches.push(format!(
                "the store is at {found}, and {newest} was acknowledged"
            ));
        }
        breaches
    }

    /// Where one name shows a write to several, each of them shows it, or a newer one.
    fn torn_sets(&self, whole: &BTreeMap<&str, (u64, u64)>) -> Vec<String> {
        let mut breaches = Vec::new();
        for (name, &(revision, stamp)) in whole {
            for other in self.sets.get(&stamp).into_iter().flatten() {
                let there = match whole.get(other.as_str()) {
                    Some((found, _)) => *found >= revision,
                    None => self.names[other].may_be_gone(revision),
                };
                if !there {
                    breaches.push(format!("write {stamp}: {name} has it, and {other} not"));
                }
            }
        }
        breaches
    }

    fn settle(&mut self, revision: u64, whole: &BTreeMap<&str, (u64, u64)>) {
        for (name, known) in &mut self.names {
            known.owed = Some(match whole.get(name.as_str()) {
                Some(&(revision, stamp)) => Owed {
                    revision,
                    stamp: Some(stamp),
                },
                None => Owed {
                    revision,
                    stamp: None,
                },
            });
            known.puts.clear();
            known.deletes.clear();
        }
        let shown: BTreeSet<_> = whole.values().map(|(_, stamp)| *stamp).collect();
        self.sets.retain(|stamp, _| shown.contains(stamp));
        self.settled = revision;
        self.acknowledged = 0;
        self.doubts = 0;
    }
}

impl Name {
    fn doubts(&mut self, kind: Kind) -> &mut BTreeSet<u64> {
        match kind {
            Kind::Put => &mut self.puts,
            Kind::Delete => &mut self.deletes,
        }
    }

    /// Whether it may have been deleted after `revision`.
    fn may_be_gone(&self, revision: u64) -> bool {
        let owed = |owed: Owed| owed.stamp.is_none() && owed.revision > revision;
        !self.deletes.is_empty() || self.owed.is_some_and(owed)
    }

    /// `found`: revision and stamp.
    fn check(
        &self,
        found: Option<(u64, u64)>,
        revisions: &BTreeMap<u64, u64>,
    ) -> Result<(), String> {
        let Some((revision, stamp)) = found else {
            return match self.owed {
                Some(Owed { stamp: Some(_), .. }) if self.deletes.is_empty() => {
                    Err(format!("lost: {self:?}"))
                }
                _ => Ok(()),
            };
        };
        let owed = self.owed.map_or(0, |owed| owed.revision);
        let as_told = self.owed
            == Some(Owed {
                revision,
                stamp: Some(stamp),
            });
        let doubted = self.puts.contains(&stamp)
            && revision > owed
            && revisions.get(&revision).is_none_or(|told| *told == stamp);
        if as_told || doubted {
            return Ok(());
        }
        Err(format!(
            "write {stamp} at revision {revision} is not what may be there: {self:?}"
        ))
    }
}

#[cfg(test)]
mod tests;
