//! What connected processes say of their operations, counted.
//!
//! The processes of a service mostly run the same program and say the same, so each thing said of
//! an operation is kept once, with the number of sessions that say it; a session keeps only which.
//! What is said most is the answer. All of it goes with the sessions: what nobody connected says is
//! forgotten.
//!
//! Invariant: the sessions that back a ballot are exactly those that remember having said so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use fusebox_core::key::{Kind, OperationName};
use fusebox_core::policy::Origin;
use fusebox_core::policy::rules::Rules;
use fusebox_core::stats::{InstanceKey, OperationKey, SessionId};

/// Different declarations kept of one operation; further ones are only known to differ.
pub const MAX_VARIANTS: usize = 8;
/// Different declarations kept of all operations. Beyond it, further operations are passed over.
pub const MAX_KEPT: usize = 40_000;

/// What a process says of one of its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// What it talks to.
    pub kind: Kind,
    /// Whether its calls may be repeated.
    pub idempotent: bool,
    /// What the process sets between the kind's defaults and the policies, lowest first.
    pub layers: Vec<(Origin, Rules)>,
}

/// What connected processes say of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredOperation {
    /// What it talks to, as most say.
    pub kind: Kind,
    /// Whether its calls may be repeated, as most say.
    pub idempotent: bool,
    /// What most set between the kind's defaults and the policies, lowest first.
    pub layers: Arc<[(Origin, Rules)]>,
    /// Whether some say otherwise, in any of it.
    pub differ: bool,
}

/// There is no room for one more operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_KEPT} different declarations of operations")]
pub(crate) struct Overfull;

/// All that connected processes say.
#[derive(Default)]
pub(super) struct Declarations {
    sessions: HashMap<SessionId, Speaker>,
    ballots: HashMap<OperationKey, Ballot>,
    /// Different declarations, over all ballots.
    kept: usize,
}

/// What one session has said.
struct Speaker {
    instance: InstanceKey,
    /// `None` where what it says is not kept.
    said: HashMap<OperationName, Option<Arc<Kept>>>,
}

/// What is said of one operation, the longest known first.
#[derive(Default)]
struct Ballot {
    variants: Vec<(Arc<Kept>, usize)>,
    /// Sessions that say something that is not kept.
    others: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    kind: Kind,
    idempotent: bool,
    layers: Arc<[(Origin, Rules)]>,
}

impl Declarations {
    /// Listens to `session`.
    pub(super) fn connect(&mut self, session: SessionId, instance: InstanceKey) {
        let said = HashMap::new();
        self.sessions.insert(session, Speaker { instance, said });
    }

    /// Forgets `session` and all that it said.
    pub(super) fn disconnect(&mut self, session: SessionId) {
        let Some(Speaker { instance, said }) = self.sessions.remove(&session) else {
            return;
        };
        for (operation, vote) in said {
            self.take_back(&key(&instance, operation), vote.as_ref());
        }
    }

    /// Takes what `session` says of `operation`, in place of what it said before. What a session
    /// says that is not connected goes nowhere.
    pub(super) fn declare(
        &mut self,
        session: SessionId,
        operation: &OperationName,
        declaration: Declaration,
    ) -> Result<(), Overfull> {
        let Some(speaker) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        let key = key(&speaker.instance, operation.clone());
        if let Some(before) = speaker.said.remove(operation) {
            self.take_back(&key, before.as_ref());
        }
        let room = self.kept < MAX_KEPT;
        let (operation, ballot) = match self.ballots.entry(key) {
            // Its name is shared by all who speak of it.
            Entry::Occupied(known) => (known.key().operation.clone(), known.into_mut()),
            Entry::Vacant(new) if room => (operation.clone(), new.insert(Ballot::default())),
            Entry::Vacant(_) => return Err(Overfull),
        };
        let before = ballot.variants.len();
        let vote = ballot.cast(declaration, room);
        self.kept += ballot.variants.len() - before;
        if let Some(speaker) = self.sessions.get_mut(&session) {
            speaker.said.insert(operation, vote);
        }
        Ok(())
    }

    /// What most connected processes say of the operation; of two that as many say, what has been
    /// known for longer. `None` if none says anything that is kept.
    pub(super) fn of(&self, key: &OperationKey) -> Option<DeclaredOperation> {
        let ballot = self.ballots.get(key)?;
        // The last of the greatest, hence backwards.
        let most = ballot.variants.iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(kept, _)| DeclaredOperation {
            kind: kept.kind,
            idempotent: kept.idempotent,
            layers: Arc::clone(&kept.layers),
            differ: ballot.variants.len() > 1 || ballot.others > 0,
        })
    }

    fn take_back(&mut self, key: &OperationKey, vote: Option<&Arc<Kept>>) {
        let Some(ballot) = self.ballots.get_mut(key) else {
            return;
        };
        let before = ballot.variants.len();
        ballot.take_back(vote);
        self.kept -= before - ballot.variants.len();
        if ballot.variants.is_empty() && ballot.others == 0 {
            self.ballots.remove(key);
        }
    }
}

impl Ballot {
    /// Counts what is said; the answer is where, if it is kept.
    fn cast(&mut self, declaration: Declaration, room: bool) -> Option<Arc<Kept>> {
        let mut variants = self.variants.iter_mut();
        if let Some((kept, count)) = variants.find(|(kept, _)| kept.says(&declaration)) {
            *count += 1;
            return Some(Arc::clone(kept));
        }
        if !room || self.variants.len() == MAX_VARIANTS {
            self.others += 1;
            return None;
        }
        let kept = Arc::new(Kept {
            kind: declaration.kind,
            idempotent: declaration.idempotent,
            layers: declaration.layers.into(),
        });
        self.variants.push((Arc::clone(&kept), 1));
        Some(kept)
    }

    fn take_back(&mut self, vote: Option<&Arc<Kept>>) {
        let Some(vote) = vote else {
            self.others -= 1;
            return;
        };
        if let Some((_, count)) = self.variants.iter_mut().find(|(kept, _)| kept == vote) {
            *count -= 1;
        }
        self.variants.retain(|(_, count)| *count > 0);
    }
}

impl Kept {
    fn says(&self, declaration: &Declaration) -> bool {
        let Declaration {
            kind,
            idempotent,
            layers,
        } = declaration;
        (self.kind, self.idempotent) == (*kind, *idempotent) && *self.layers == **layers
    }
}

fn key(instance: &InstanceKey, operation: OperationName) -> OperationKey {
    OperationKey {
        namespace: instance.namespace.clone(),
        service: instance.service.clone(),
        operation,
    }
}

#[cfg(test)]
mod tests;
