//! What a process does: it connects, takes over what it is sent, says what it made of that, writes it
//! down; as the SDK's link does.

use fusebox_core::revision::Revision;
use fusebox_core::sync::{Ignored, Known};
use fusebox_proto::convert::session::refusal_to_wire;
use fusebox_proto::convert::snapshot::{required_incarnation, snapshot_from_wire_as};
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use prost::Message;

use super::agenda::{End, Event};
use super::disk::File;
use super::link::Link;
use super::older;
use super::oracle::Verdict;
use super::world::World;

impl World {
    pub(crate) fn begin(&mut self, process: usize) -> Verdict {
        let it = &mut self.processes[process];
        if it.up {
            return Ok(());
        }
        it.start()
            .map_err(|broken| format!("p{process}, started, {broken}"))?;
        let (run, known, schema) = (it.run, it.replica.known(), it.schema);
        self.tally.restored_from_disk += u64::from(known.incarnation.is_some());
        self.say(|| format!("p{process}: starts with {known:?}, schema {schema}"));
        self.plan(0..100, Event::Dial { process, run });
        Ok(())
    }

    pub(crate) fn kill(&mut self, process: usize) {
        let it = &mut self.processes[process];
        if !it.up {
            return;
        }
        it.up = false;
        let link = it.link.take();
        it.disk.settle(self.dice.one_in(2));
        if let Some(file) = &mut it.disk.file {
            file.damaged |= self.dice.one_in(8);
        }
        it.schema = self.weather.schema(&mut self.dice);
        self.say(|| format!("p{process}: dies"));
        if let Some(link) = link {
            let quietly = self.dice.one_in(2);
            self.hang_up(link, End::Process, quietly);
        }
        self.plan(10..8000, Event::Begin { process });
    }

    pub(crate) fn dial(&mut self, process: usize, run: u32) {
        let it = &mut self.processes[process];
        if !it.up || it.run != run || it.link.is_some() {
            return;
        }
        if it.frozen {
            self.agenda.plan(500, Event::Dial { process, run });
            return;
        }
        let server = it.turn % self.servers.len();
        it.turn += 1;
        if !self.servers[server].up || self.blocked[process][server] {
            return self.dial_again(process);
        }
        let hello = it.hello();
        let link = self.links.len();
        it.link = Some(link);
        let to = Link::new(process, server, self.servers[server].run);
        self.links.push(to);
        self.say(|| format!("p{process}: connects to s{server} by link {link}"));
        self.send_up(link, Up::Hello(hello));
    }

    /// Full jitter, as the SDK has it.
    fn dial_again(&mut self, process: usize) {
        let it = &mut self.processes[process];
        it.failures += 1;
        let (run, longest) = (it.run, (100 << it.failures.min(16)).min(10_000));
        self.plan(0..longest, Event::Dial { process, run });
    }

    /// A process's stream is over.
    pub(crate) fn lost(&mut self, link: usize) {
        let process = self.links[link].process;
        if self.processes[process].link == Some(link) {
            self.processes[process].link = None;
            self.dial_again(process);
        }
    }

    pub(crate) fn hear_down(&mut self, link: usize, bytes: &[u8]) -> Verdict {
        let process = self.links[link].process;
        if self.processes[process].link != Some(link) {
            return Ok(());
        }
        let response = v1::ConnectResponse::decode(bytes);
        let response = response.map_err(|error| format!("p{process} was sent noise: {error}"))?;
        let made = match response.message {
            Some(Down::Snapshot(snapshot)) => self.take_over(process, link, snapshot),
            Some(Down::UpToDate(current)) => self.confirm(process, link, &current),
            Some(Down::Drain(_)) => {
                self.hang_up(link, End::Process, false);
                self.lost(link);
                Ok(())
            }
            _ => Ok(()),
        };
        made.map_err(|broken| format!("p{process} {broken}"))
    }

    fn take_over(&mut self, process: usize, link: usize, mut sent: v1::Snapshot) -> Verdict {
        let it = &mut self.processes[process];
        for policy in &mut sent.policies {
            older::forget(policy, it.schema);
        }
        let received = snapshot_from_wire_as(&sent, it.schema);
        let received = received.map_err(|violations| format!("was sent {violations}"))?;
        let (incarnation, revision) = (received.incarnation, received.revision);
        let applied = match it.replica.receive(received) {
            Ok(applied) => applied,
            Err(ignored) => return self.pass_over(process, &ignored),
        };
        it.witness
            .took(&self.store, incarnation, revision, &it.replica)?;
        it.failures = 0;
        let refusals: Vec<_> = it.replica.refusals().map(refusal_to_wire).collect();
        let stand_ins: Vec<_> = it.replica.stand_ins().cloned().collect();
        it.disk.pending = Some(File::new(
            sent,
            &stand_ins,
            it.schema,
            it.witness.model(revision),
        ));
        let run = it.run;
        self.tally.refusals += refusals.len() as u64;
        self.tally.new_lives += u64::from(applied.new_incarnation);
        let refused = refusals.len();
        self.say(|| {
            format!("p{process}: takes {incarnation:?} {revision} over, refuses {refused}")
        });
        let revision = applied.revision.0;
        if !refusals.is_empty() {
            self.send_up(link, Up::Nack(v1::Nack { revision, refusals }));
        }
        self.send_up(link, Up::Ack(v1::Ack { revision }));
        self.plan(0..3000, Event::Written { process, run });
        Ok(())
    }

    /// It must have a reason, and change nothing. Nobody is sent what is old, unless its server does
    /// not know what it holds.
    fn pass_over(&mut self, process: usize, ignored: &Ignored) -> Verdict {
        self.tally.passed_over += 1;
        self.say(|| format!("p{process}: passes over: {ignored}"));
        let it = &self.processes[process];
        it.witness.enforces(&it.replica)?;
        let untold = self.weather.blunt || it.replica.known() == Known::nothing();
        match ignored {
            Ignored::EmptyIncarnation { .. } => Ok(()),
            Ignored::Stale { .. } if untold => Ok(()),
            Ignored::Stale { .. } | Ignored::Corrupt { .. } => Err(format!("was sent {ignored}")),
        }
    }

    fn confirm(&mut self, process: usize, link: usize, current: &v1::UpToDate) -> Verdict {
        let incarnation = required_incarnation(&current.incarnation);
        let incarnation = incarnation.map_err(|violations| violations.to_string())?;
        let revision = Revision(current.revision);
        let it = &mut self.processes[process];
        let applied = it.replica.confirm(incarnation, revision);
        let applied = applied.map_err(|ignored| format!("was confirmed in vain: {ignored}"))?;
        it.witness
            .confirmed(&self.store, incarnation, revision, &it.replica)?;
        it.failures = 0;
        self.say(|| format!("p{process}: is up to date with {revision}"));
        let revision = applied.revision.0;
        self.send_up(link, Up::Ack(v1::Ack { revision }));
        Ok(())
    }

    pub(crate) fn written(&mut self, process: usize, run: u32) {
        let lost = self.dice.one_in(20);
        let it = &mut self.processes[process];
        if it.run == run && it.up {
            it.disk.settle(lost);
        }
    }

    pub(crate) fn thaw(&mut self, process: usize) -> Verdict {
        self.processes[process].frozen = false;
        self.say(|| format!("p{process}: goes on"));
        match self.processes[process].link {
            Some(link) => self.arrive(link, End::Process),
            None => Ok(()),
        }
    }
}
