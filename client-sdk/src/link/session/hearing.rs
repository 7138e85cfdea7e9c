//! What a session hears, and what it makes of it.

use std::time::SystemTime;

use fusebox_core::revision::Revision;
use fusebox_core::sync::{Applied, Ignored};
use fusebox_proto::convert::breaker::target_from_wire;
use fusebox_proto::convert::session::refusal_to_wire;
use fusebox_proto::convert::snapshot::{required_incarnation, snapshot_from_wire};
use fusebox_proto::convert::time::duration_from_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use tokio::time::Instant;

use super::{Break, Flow, Session, describe, period, ticks};
use crate::cache::Good;
use crate::steady;

impl Session<'_> {
    pub(super) async fn hear(
        &mut self,
        message: Result<Option<v1::ConnectResponse>, tonic::Status>,
    ) -> Flow {
        self.last_heard = Instant::now();
        let response = message.map_err(|status| Break::Lost(describe(&status)))?;
        let response = response.ok_or_else(|| Break::Lost("the server ended the stream".into()))?;
        match response.message {
            Some(Down::Snapshot(snapshot)) => self.take_over(snapshot).await,
            Some(Down::UpToDate(current)) => self.confirm(&current).await,
            Some(Down::Drain(drain)) => {
                let delay = drain
                    .delay
                    .as_ref()
                    .and_then(|delay| duration_from_wire(delay).ok());
                Err(Break::Drained(delay.unwrap_or_default()))
            }
            Some(Down::ResetBreakers(reset)) => {
                self.reset(&reset);
                Ok(())
            }
            Some(Down::ReportAck(ack)) => {
                self.keep_pace(ack.report_interval.as_ref());
                self.note_confirmed();
                Ok(())
            }
            // A message this SDK does not know is for a newer one.
            Some(Down::Welcome(_) | Down::Heartbeat(_)) | None => {
                // A server that had anything newer would have sent it.
                self.note_confirmed();
                Ok(())
            }
        }
    }

    /// Whom it means is for this process to find out. A store that is not followed has no say.
    fn reset(&self, wire: &v1::ResetBreakers) {
        if self.keeper.held() != Some(self.shows) {
            return;
        }
        match target_from_wire(wire.target.as_ref()) {
            Ok(target) => self.keeper.enforcement.reset(Revision(wire.id), &target),
            Err(violations) => steady::tell(|| {
                tracing::error!(
                    target: "fusebox", id = wire.id, reason = %violations,
                    "cannot tell whose breakers to reset; passed over"
                );
            }),
        }
    }

    /// From now on it reports that often.
    fn keep_pace(&mut self, wire: Option<&prost_types::Duration>) {
        if wire.is_some() && period(wire) != self.report.period() {
            self.report = ticks(wire);
        }
    }

    async fn take_over(&mut self, snapshot: v1::Snapshot) -> Flow {
        let received = match snapshot_from_wire(&snapshot) {
            Ok(received) => received,
            Err(violations) => return Err(Break::Lost(format!("bad snapshot: {violations}"))),
        };
        if received.incarnation != self.shows {
            let reason = "a snapshot of another store than the welcome's";
            return Err(Break::Lost(reason.into()));
        }
        match self.keeper.enforcement.receive(received) {
            Ok(applied) => {
                self.take_step();
                self.keeper.note_disagreement(self.keeper.held());
                let acknowledged = self.acknowledge(&applied).await;
                // Even if the server has just gone: it is in force, and will not be sent again.
                self.keep(snapshot);
                acknowledged
            }
            Err(ignored) => self.pass_over(&ignored),
        }
    }

    async fn confirm(&mut self, current: &v1::UpToDate) -> Flow {
        let incarnation = required_incarnation(&current.incarnation)
            .map_err(|violations| Break::Lost(format!("bad up-to-date: {violations}")))?;
        match self
            .keeper
            .enforcement
            .confirm(incarnation, Revision(current.revision))
        {
            Ok(applied) => {
                // Not written down: it says that nothing changed between the revision on the disk
                // and this one, so whoever starts from the disk misses nothing by it.
                self.take_step();
                self.send(Up::Ack(v1::Ack {
                    revision: applied.revision.0,
                }))
                .await
            }
            Err(ignored) => self.pass_over(&ignored),
        }
    }

    /// Tells what is not enforced, then that the rest is.
    async fn acknowledge(&mut self, applied: &Applied) -> Flow {
        let revision = applied.revision.0;
        let refusals = self.keeper.enforcement.held().refusals;
        for refusal in &refusals {
            tracing::error!(
                target: "fusebox",
                policy = refusal.policy, field = refusal.field, reason = refusal.reason, revision,
                "cannot enforce a policy; its last good version stays"
            );
        }
        if applied.new_incarnation {
            tracing::warn!(target: "fusebox", revision, "the server's store is another one now; followed");
        }
        self.keeper
            .enforcement
            .context()
            .metrics
            .config_update(refusals.is_empty());
        if !refusals.is_empty() {
            let refusals = refusals.iter().map(refusal_to_wire).collect();
            self.send(Up::Nack(v1::Nack { revision, refusals })).await?;
        }
        self.send(Up::Ack(v1::Ack { revision })).await
    }

    /// What was held stays in force. It is not acknowledged, so the server sees it, too, and ends
    /// the session in time.
    fn pass_over(&mut self, ignored: &Ignored) -> Flow {
        self.in_step = false;
        tracing::error!(target: "fusebox", reason = %ignored, "passed over a snapshot");
        self.keeper.upstream.board.problem(ignored.to_string());
        Ok(())
    }

    /// After the acknowledgement and off this thread: no disk delays anything here.
    fn keep(&self, snapshot: v1::Snapshot) {
        if let Some(writer) = &self.keeper.upstream.writer {
            let stand_ins = self.keeper.enforcement.stand_ins();
            writer.put(Good {
                snapshot,
                stand_ins,
                override_time_left: self.keeper.enforcement.override_time_left(),
                at: SystemTime::now(),
            });
        }
    }

    fn take_step(&mut self) {
        self.in_step = true;
        self.keeper.upstream.board.well();
        self.note_confirmed();
    }

    fn note_confirmed(&self) {
        if self.in_step {
            self.keeper.upstream.board.confirmed();
        }
    }
}
