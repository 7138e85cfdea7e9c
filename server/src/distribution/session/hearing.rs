//! What a process says, message by message, and whom that is passed on to.

use std::fmt::Display;

use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_proto::convert::session::{Declared, declared_from_wire, refusals_from_wire};
use fusebox_proto::convert::statistics::transition_from_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message;
use tracing::warn;

use super::presence::Presence;
use super::{Inbound, Session};
use crate::distribution::MAX_DECLARED;
use crate::distribution::end::End;
use crate::distribution::request::Request;
use crate::distribution::tally::Trouble;
use crate::fleet::Declaration;

impl<I: Inbound> Session<I> {
    /// Acts upon a message; the answer is the session's end if the message is that.
    pub(super) fn hear(&mut self, request: Request) -> Result<(), End> {
        self.place.heard();
        let request = match request {
            Request::Report(bytes) => return self.reported_bytes(&bytes),
            Request::Other(request) => request,
        };
        match request.message {
            Some(Message::Hello(_)) => return Err(End::SecondHello),
            Some(Message::Ack(ack)) => self.acked(Revision(ack.revision)),
            Some(Message::Nack(nack)) => self.nacked(&nack),
            Some(Message::OperationDeclared(declared)) => self.declared(&declared),
            Some(Message::StatsReport(report)) => self.reported(&report),
            Some(Message::Transition(transition)) => self.changed(&transition),
            Some(Message::Heartbeat(_)) => self.touch(),
            None => self.trouble(Trouble::Unknown, "a message of an unknown kind"),
        }
        Ok(())
    }

    fn acked(&mut self, revision: Revision) {
        match self.standing.ack(revision) {
            Ok(next) => {
                let Presence {
                    distribution,
                    session,
                    ..
                } = &self.presence;
                self.place.acked(revision, self.standing.refused());
                let refused = self.standing.refused().to_vec();
                distribution.tally.ack();
                distribution.fleet.applied(*session, revision, refused);
                self.watchdog.unacked(None);
                if let Some(since) = self.pushed.take() {
                    distribution.propagated(since.elapsed());
                }
                self.push(next, None);
            }
            Err(unexpected) => self.trouble(Trouble::UnexpectedAck, unexpected),
        }
    }

    fn touch(&self) {
        self.presence
            .distribution
            .fleet
            .touch(self.presence.session);
    }

    fn nacked(&mut self, nack: &v1::Nack) {
        self.touch();
        match refusals_from_wire("nack.refusals", &nack.refusals) {
            Ok(refused) => {
                if let Err(unexpected) = self.standing.nack(Revision(nack.revision), refused) {
                    self.trouble(Trouble::UnexpectedNack, unexpected);
                }
            }
            Err(violations) => self.invalid(&violations),
        }
    }

    fn declared(&mut self, declared: &v1::OperationDeclared) {
        if self.declared == MAX_DECLARED {
            let text = format!("more than {MAX_DECLARED} operations declared");
            return self.trouble(Trouble::OverDeclared, text);
        }
        self.declared += 1;
        match declared_from_wire(declared) {
            Ok(declared) => self.note_declared(declared),
            Err(violations) => self.invalid(&violations),
        }
    }

    fn note_declared(&mut self, declared: Declared) {
        let Declared {
            operation,
            kind,
            idempotent,
            local_layers: layers,
        } = declared;
        let declaration = Declaration {
            kind,
            idempotent,
            layers,
        };
        let Presence {
            distribution,
            session,
            ..
        } = &self.presence;
        let noted = distribution
            .fleet
            .declare(*session, &operation, declaration);
        if let Err(overfull) = noted {
            self.trouble(Trouble::OverDeclared, overfull);
        }
    }

    fn changed(&mut self, wire: &v1::Transition) {
        match transition_from_wire(wire) {
            Ok(transition) => {
                let Presence {
                    distribution,
                    session,
                    ..
                } = &self.presence;
                distribution.fleet.absorb_transition(*session, &transition);
            }
            Err(violations) => self.invalid(&violations),
        }
    }

    pub(super) fn invalid(&mut self, violations: &Violations) {
        self.trouble(Trouble::Invalid, violations);
    }

    /// Counts something that should not be; logs the first of its kind.
    pub(super) fn trouble(&mut self, trouble: Trouble, text: impl Display) {
        let Presence {
            distribution,
            key,
            session,
        } = &self.presence;
        distribution.tally.trouble(trouble);
        if !std::mem::replace(&mut self.warned[trouble as usize], true) {
            warn!(
                session = session.0, service = %key.service, instance = %key.instance,
                "trouble with what a process says, told once for each kind: {text}"
            );
        }
    }
}
