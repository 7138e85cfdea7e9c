//! What a process has counted, on its way to the fleet.
//!
//! A report is read where it lies. Only one that is out of the ordinary is made a message of, and one
//! that has something wrong with it, so that what that is can be told.

use bytes::Bytes;
use fusebox_core::stats::Report;
use fusebox_proto::convert::statistics::{ReportFigures, operation_from_wire};
use fusebox_proto::convert::time::age_from_wire;
use fusebox_proto::v1;
use prost::Message;

use super::{Inbound, Session};
use crate::distribution::end::End;
use crate::distribution::tally::Trouble;

impl<I: Inbound> Session<I> {
    /// Adds a report up that came as its bytes; the answer is the session's end if it is none.
    pub(super) fn reported_bytes(&mut self, bytes: &Bytes) -> Result<(), End> {
        let fleet = &self.presence.distribution.fleet;
        let session = self.presence.session;
        if let Some(report) = ReportFigures::read(bytes) {
            let ledger = fleet.absorb_figures(session, report.head, report.operations());
            if !report.is_declined() {
                if ledger.impossible > 0 {
                    self.explain(bytes, ledger.impossible)?;
                }
                self.outbox.owe_report_ack(report.number);
                return Ok(());
            }
        }
        self.reported(&decode(bytes)?);
        Ok(())
    }

    /// An operation that is not legal costs its siblings nothing.
    pub(super) fn reported(&mut self, wire: &v1::StatsReport) {
        let mut operations = Vec::with_capacity(wire.operations.len());
        for operation in &wire.operations {
            match operation_from_wire(operation) {
                Ok(operation) => operations.push(operation),
                Err(violations) => self.invalid(&violations),
            }
        }
        let report = Report {
            from_start: wire.number == 1,
            span: age_from_wire(wire.span.as_ref()),
            operations,
        };
        let fleet = &self.presence.distribution.fleet;
        let ledger = fleet.absorb(self.presence.session, &report);
        self.impossible(ledger.impossible);
        self.outbox.owe_report_ack(wire.number);
    }

    /// Tells what is wrong with `impossible` operations of a report that has been absorbed.
    fn explain(&mut self, bytes: &Bytes, impossible: u64) -> Result<(), End> {
        let wire = decode(bytes)?;
        let operations = wire.operations.iter().map(operation_from_wire);
        let mut told = 0;
        for violations in operations.filter_map(Result::err) {
            self.invalid(&violations);
            told += 1;
        }
        self.impossible(impossible.saturating_sub(told));
        Ok(())
    }

    fn impossible(&mut self, operations: u64) {
        for _ in 0..operations {
            let text = "stats_report.operations: figures that no process can have counted";
            self.trouble(Trouble::Invalid, text);
        }
    }
}

fn decode(bytes: &Bytes) -> Result<v1::StatsReport, End> {
    v1::StatsReport::decode(&bytes[..]).map_err(|error| End::Garbled {
        reason: format!("not a ConnectRequest: {error}"),
    })
}
