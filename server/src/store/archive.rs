//! What is kept of what has been: bounded, and in memory, for the journal holds it all.
//!
//! ```text
//!      older                                         floor                        newest
//!   ... x . . x . . . x . . x . . . . x . . . x . x . | x x x x x x x x x x x x x x x x x
//!       kept: live, or among its policy's newest      |  the window: every change, no gap
//! ```
//!
//! Every change of late is kept, so that a watch can be resumed and an audit has no gap; and of
//! each live policy the last few versions, however long ago they were, so that a policy nobody has
//! touched for a year can be rolled back though its neighbour changes every minute. Both are
//! bounded in number and in bytes. A policy that is gone leaves with its last change.
//!
//! Overrides are kept as policies are; a reset is a change that leaves nothing. Versions of what is live
//! are always here, whatever the bounds say: the archive is what a compacted journal holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use fusebox_core::revision::Revision;

use super::{Changes, Committed, Stretch, Subject, Version};

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Changes of late that are all kept, whatever they changed.
    pub changes: usize,
    /// Versions of each live policy that are kept beyond these, the live one included; at least 1.
    pub versions: usize,
    /// Bytes that either of the two may take, in a journal.
    pub bytes: usize,
}

impl Retention {
    /// Everything, for ever.
    pub const ALL: Self = Self {
        changes: usize::MAX,
        versions: usize::MAX,
        bytes: usize::MAX,
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            changes: 10_000,
            versions: 10,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// A change's place: its revision, and its number within that write.
pub(super) type Place = (Revision, u32);

/// A version, and the bytes it takes in a journal.
#[derive(Clone, Debug)]
struct Kept {
    version: Arc<Version>,
    bytes: usize,
}

/// All versions that are kept.
#[derive(Debug)]
pub(super) struct Archive {
    retention: Retention,
    versions: BTreeMap<Place, Kept>,
    /// Of each policy and override, the oldest first.
    by_subject: HashMap<Subject, VecDeque<Place>>,
    window: VecDeque<Place>,
    window_bytes: usize,
    /// Older than the window and not live.
    surplus: BTreeSet<Place>,
    surplus_bytes: usize,
    bytes: usize,
    /// The floor when this began.
    begun_at: Revision,
    floor: Revision,
}

impl Archive {
    /// An empty one, of a store that has not kept everything up to `floor`.
    pub(super) fn new(retention: Retention, floor: Revision) -> Self {
        Self {
            retention,
            versions: BTreeMap::new(),
            by_subject: HashMap::new(),
            window: VecDeque::new(),
            window_bytes: 0,
            surplus: BTreeSet::new(),
            surplus_bytes: 0,
            bytes: 0,
            begun_at: floor,
            floor,
        }
    }

    /// Behind this revision every change is kept.
    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    /// How many versions are kept.
    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    /// What all of them take in a journal.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions.values().map(|kept| &kept.version)
    }

    /// Adds the newest version, which is number `index` of its write and takes `bytes`.
    pub(super) fn add(&mut self, index: u32, version: Arc<Version>, bytes: usize) {
        let place = (version.revision, index);
        let id = version.subject();
        self.versions.insert(place, Kept { version, bytes });
        self.bytes += bytes;
        let own = self.by_subject.entry(id.clone()).or_default();
        let replaced = own.back().copied();
        own.push_back(place);
        let of_late = place.0 > self.begun_at;
        if of_late {
            self.window.push_back(place);
            self.window_bytes += bytes;
        } else {
            self.age(place);
        }
        if let Some(replaced) = replaced {
            self.age(replaced);
        }
        // What comes from below the floor is still to be followed by what makes sense of it.
        if of_late {
            self.trim(&id);
        }
        while self.window.len() > self.retention.changes || self.window_bytes > self.retention.bytes
        {
            self.let_out();
        }
    }

    /// Drops what is not wanted of versions from below the floor; once all of these are in.
    pub(super) fn settle(&mut self) {
        let ids: Vec<_> = self.by_subject.keys().cloned().collect();
        for id in ids {
            self.trim(&id);
        }
    }

    /// Lets the oldest change out of the window.
    fn let_out(&mut self) {
        let Some(place) = self.window.pop_front() else {
            return;
        };
        self.floor = place.0;
        self.window_bytes -= self.versions[&place].bytes;
        let id = self.versions[&place].version.subject();
        self.age(place);
        self.trim(&id);
    }

    /// Counts a version among the surplus, if that is what it has become.
    fn age(&mut self, place: Place) {
        if self.window_holds(place) || self.is_live(place) {
            return;
        }
        if self.surplus.insert(place) {
            self.surplus_bytes += self.versions[&place].bytes;
        }
        while self.surplus_bytes > self.retention.bytes {
            let Some(&oldest) = self.surplus.first() else {
                return;
            };
            let id = self.versions[&oldest].version.subject();
            self.drop_oldest_of(&id);
        }
    }

    fn is_live(&self, place: Place) -> bool {
        let version = &self.versions[&place].version;
        version.is_live() && self.by_subject[&version.subject()].back() == Some(&place)
    }

    /// Drops what a policy or an override has too many of outside the window.
    fn trim(&mut self, id: &Subject) {
        while let Some(own) = self.by_subject.get(id) {
            let (Some(&oldest), Some(&newest)) = (own.front(), own.back()) else {
                return;
            };
            let gone = !self.versions[&newest].version.is_live();
            // Once its deletion has left the window nothing of a policy is wanted.
            let too_many =
                own.len() > self.retention.versions.max(1) || (gone && !self.window_holds(newest));
            if !too_many || !self.surplus.contains(&oldest) {
                return;
            }
            self.drop_oldest_of(id);
        }
    }

    fn window_holds(&self, place: Place) -> bool {
        self.window.front().is_some_and(|&first| first <= place)
    }

    fn drop_oldest_of(&mut self, id: &Subject) {
        let Some(own) = self.by_subject.get_mut(id) else {
            return;
        };
        let oldest = own.pop_front();
        if own.is_empty() {
            self.by_subject.remove(id);
        }
        let Some(place) = oldest else { return };
        if let Some(kept) = self.versions.remove(&place) {
            self.bytes -= kept.bytes;
            if self.surplus.remove(&place) {
                self.surplus_bytes -= kept.bytes;
            }
        }
    }

    /// What a policy's newest version takes in a journal; 0 if it has none.
    pub(super) fn newest_bytes(&self, id: &Subject) -> usize {
        let newest = self.by_subject.get(id).and_then(VecDeque::back);
        newest.map_or(0, |place| self.versions[place].bytes)
    }

    /// A policy's past, the newest first: up to `limit` versions older than `before`.
    pub(super) fn stretch(&self, id: &Subject, before: Option<Revision>, limit: usize) -> Stretch {
        let own = self.by_subject.get(id).into_iter().flatten();
        let older = |place: &&Place| before.is_none_or(|before| place.0 < before);
        let mut places = own.clone().rev().filter(older);
        let versions = places
            .by_ref()
            .take(limit)
            .map(|place| Arc::clone(&self.versions[place].version))
            .collect();
        let oldest = own
            .clone()
            .next()
            .map(|place| &self.versions[place].version);
        Stretch {
            versions,
            more: places.next().is_some(),
            pruned: oldest.is_some_and(|oldest| oldest.replaced.is_some()),
        }
    }

    /// The window's changes that `filter` lets through, the newest first.
    pub(super) fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<Place>,
        limit: usize,
    ) -> Changes {
        let end = before.map_or(self.window.len(), |before| {
            self.window.partition_point(|&place| place < before)
        });
        let mut passing = self
            .window
            .range(..end)
            .rev()
            .map(|place| (*place, &self.versions[place].version))
            .filter(|(_, version)| filter(version));
        let changes: Vec<_> = passing
            .by_ref()
            .take(limit)
            .map(|(place, version)| (place, Arc::clone(version)))
            .collect();
        let replaced = |(_, version): &(Place, Arc<Version>)| {
            self.at(&version.subject(), version.replaced?).cloned()
        };
        Changes {
            before: changes.iter().map(replaced).collect(),
            more: passing.next().is_some(),
            pruned: self.floor > Revision::ZERO,
            changes,
        }
    }

    /// What a policy was from `revision` on.
    fn at(&self, id: &Subject, revision: Revision) -> Option<&Arc<Version>> {
        let own = self.by_subject.get(id)?;
        let found = own.binary_search_by_key(&revision, |place| place.0).ok()?;
        Some(&self.versions[&own[found]].version)
    }

    /// Whether anything of the write of `revision` is kept.
    pub(super) fn has(&self, revision: Revision) -> bool {
        let places = (revision, 0)..=(revision, u32::MAX);
        self.versions.range(places).next().is_some()
    }

    /// The write of `revision`, if it is kept whole.
    pub(super) fn write_at(&self, revision: Revision) -> Option<Committed> {
        let places = (revision, 0)..=(revision, u32::MAX);
        let kept = self.versions.range(places);
        let versions: Arc<[_]> = kept.map(|(_, kept)| Arc::clone(&kept.version)).collect();
        (revision > self.floor && !versions.is_empty()).then_some(Committed { revision, versions })
    }

    /// Every write after `revision`; `None` if not all of them are kept.
    pub(super) fn since(&self, revision: Revision) -> Option<VecDeque<Committed>> {
        if revision < self.floor {
            return None;
        }
        let behind = self.versions.range((revision.next(), 0)..);
        let versions: Vec<_> = behind.map(|(_, kept)| Arc::clone(&kept.version)).collect();
        let writes = versions.chunk_by(|one, other| one.revision == other.revision);
        let writes = writes.map(|write| Committed {
            revision: write[0].revision,
            versions: write.into(),
        });
        Some(writes.collect())
    }
}

#[cfg(test)]
mod tests;
