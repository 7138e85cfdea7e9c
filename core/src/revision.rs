//! Which state of the store something was seen at.
//!
//! A [`Revision`] grows by one with every write to a store; it means something only within one
//! [`Incarnation`], the random id a store gets when it is created or restored. A [`Digest`] tells
//! whether two sides hold the same set without sending it.

use std::fmt;

use crate::key::PolicyId;

/// A store's write counter. Zero is "before the first write".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// The revision of the write after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random id of a store's life: made when it is created or restored, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// A hash over a snapshot's sorted (policy, revision) pairs and the ids of its overrides behind
/// them: equal digests, equal sets.
///
/// FNV-1a, 64 bits: it guards against confusion, not against an adversary; both ends of a session
/// trust each other already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of no policy and no override at all.
    pub const EMPTY: Self = Self(FNV_OFFSET);

    /// The digest of `entries`, which must come sorted by id: the order is part of the hash.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a PolicyId, Revision)>) -> Self {
        let mut hash = FNV_OFFSET;
        for (id, revision) in entries {
            hash = fnv1a(hash, id.namespace.as_str().as_bytes());
            hash = fnv1a(hash, &[0]);
            hash = fnv1a(hash, id.name.as_str().as_bytes());
            hash = fnv1a(hash, &[0]);
            hash = fnv1a(hash, &revision.0.to_be_bytes());
        }
        Self(hash)
    }

    /// Likewise with these overrides behind the policies, whose ids must come in ascending order.
    #[must_use]
    pub fn with_overrides(self, ids: impl IntoIterator<Item = Revision>) -> Self {
        // No namespace is empty, so that an override is never taken for a policy.
        let with = |hash, id: Revision| fnv1a(fnv1a(hash, &[0]), &id.0.to_be_bytes());
        Self(ids.into_iter().fold(self.0, with))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PolicyId {
        PolicyId::new("default", name).unwrap()
    }

    #[test]
    fn a_digest_changes_with_any_name_or_revision() {
        let (a, b) = (id("a"), id("b"));
        let base = Digest::of([(&a, Revision(1)), (&b, Revision(2))]);
        assert_eq!(base, Digest::of([(&a, Revision(1)), (&b, Revision(2))]));
        assert_ne!(base, Digest::of([(&a, Revision(1)), (&b, Revision(3))]));
        assert_ne!(base, Digest::of([(&a, Revision(1))]));
        assert_ne!(base, Digest::EMPTY);
        assert_eq!(Digest::EMPTY, Digest::of([]));
    }

    #[test]
    fn a_digest_changes_with_any_override_and_is_as_it_was_without_one() {
        let a = id("a");
        let base = Digest::of([(&a, Revision(1))]);
        assert_eq!(base.with_overrides([]), base);
        let one = base.with_overrides([Revision(2)]);
        assert_ne!(one, base);
        assert_ne!(one, base.with_overrides([Revision(3)]));
        assert_ne!(one, base.with_overrides([Revision(2), Revision(3)]));
    }
}
