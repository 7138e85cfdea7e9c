//! Whom a session speaks for, for as long as it does: dropped, however that comes about, the process
//! is gone.

use std::sync::Arc;

use fusebox_core::stats::{InstanceKey, RefusedPolicy, SessionId};
use fusebox_core::sync::{Audience, Known};
use fusebox_proto::convert::session::Identity;
use tracing::info;

use crate::distribution::Distribution;
use crate::distribution::bell::Bell;
use crate::distribution::roll::Place;

/// A process's presence.
pub(super) struct Presence {
    pub(super) distribution: Arc<Distribution>,
    pub(super) key: InstanceKey,
    pub(super) session: SessionId,
}

impl Presence {
    /// Enters the fleet and takes the seat; `bell` is told to end once a newer session has it.
    pub(super) fn enter(
        distribution: Arc<Distribution>,
        identity: &Identity,
        bell: &Arc<Bell>,
    ) -> Self {
        let key = identity.key.clone();
        let session = distribution.fleet.connect(key.clone(), &identity.facts);
        distribution.seats.take(&key, session, bell);
        distribution.tally.begun();
        Self {
            distribution,
            key,
            session,
        }
    }

    pub(super) fn log_begin(&self, identity: &Identity, known: &Known, peer: &str) {
        let Self { key, session, .. } = self;
        info!(
            session = session.0, namespace = %key.namespace, service = %key.service,
            instance = %key.instance, epoch = key.epoch.0, sdk = identity.facts.sdk_version,
            held = known.revision.0, peer, "session begun"
        );
    }

    /// With whom it shares its snapshots.
    pub(super) fn audience(&self) -> Audience {
        Audience {
            namespace: self.key.namespace.clone(),
            service: self.key.service.clone(),
        }
    }

    /// Takes a place in the roster, once its audience is joined.
    pub(super) fn take_place(&self, identity: &Identity) -> Place {
        let Identity { key, facts, schema } = identity;
        Place::take(
            self.distribution.hub.roll(),
            self.session,
            key,
            facts,
            *schema,
        )
    }

    /// Notes what the process says that it enforces already. What it applied of another life of the
    /// store says nothing about this one.
    pub(super) fn note_held(&self, known: &Known, refused: &[RefusedPolicy]) {
        let Self {
            distribution,
            session,
            ..
        } = self;
        if known.incarnation == Some(distribution.hub.incarnation()) {
            distribution
                .fleet
                .applied(*session, known.revision, refused.to_vec());
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.distribution.fleet.disconnect(self.session);
        self.distribution.seats.leave(&self.key, self.session);
    }
}
