//! What a server does: it follows the store, accepts sessions, sends what core tells it to, and notes
//! what it is told; as the server's distribution does.

use std::sync::Arc;

use fusebox_core::revision::Revision;
use fusebox_core::sync::{Audience, Command, Known, Snapshot};
use fusebox_proto::convert::incarnation::incarnation_to_wire;
use fusebox_proto::convert::session::{Greeting, hello_from_wire, refusals_from_wire};
use fusebox_proto::convert::snapshot::snapshot_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use prost::Message;

use super::agenda::{End, Event, Millis};
use super::oracle::{Verdict, claim};
use super::server::Session;
use super::standing::Standing;
use super::world::World;

/// How long a snapshot may stay unacknowledged.
const PATIENCE: Millis = 30_000;

impl World {
    pub(crate) fn start(&mut self, server: usize) {
        let it = &mut self.servers[server];
        if !it.up {
            it.start(&self.store);
            let at = (self.store.incarnation(), self.store.revision());
            self.say(|| format!("s{server}: starts with {} of {:?}", at.1, at.0));
        }
    }

    /// Whoever it spoke with may have to find out by himself.
    pub(crate) fn stop(&mut self, server: usize) {
        if !std::mem::replace(&mut self.servers[server].up, false) {
            return;
        }
        self.say(|| format!("s{server}: stops"));
        self.servers[server].sessions.clear();
        for link in self.open_links() {
            if self.links[link].server == server {
                let quietly = self.dice.one_in(3);
                self.hang_up(link, End::Server, quietly);
            }
        }
    }

    pub(crate) fn follow(&mut self, server: usize, run: u32) {
        let it = &mut self.servers[server];
        if !it.up || it.run != run {
            return;
        }
        let missed = it.has_missed();
        let touched = it.follow(&self.store);
        if it.is_behind() {
            let lag = it.lag;
            self.plan(0..lag, Event::Follow { server, run });
        }
        if missed {
            self.tally.rebuilds += 1;
            self.say(|| format!("s{server}: fell behind and took everything anew"));
        }
        for audience in touched {
            self.tell(server, run, &audience);
        }
    }

    fn tell(&mut self, server: usize, run: u32, audience: &Audience) {
        for session in self.servers[server].of_audience(audience) {
            self.plan(
                0..20,
                Event::Wake {
                    server,
                    run,
                    session,
                },
            );
        }
    }

    pub(crate) fn wake(&mut self, server: usize, run: u32, session: u64) -> Verdict {
        let it = &mut self.servers[server];
        let Some(of_it) = it.sessions.get_mut(&session).filter(|_| it.run == run) else {
            return Ok(());
        };
        let Some(latest) = it.hub.edition(&of_it.audience) else {
            return Err(format!("s{server} has forgotten an audience that listens"));
        };
        if Arc::ptr_eq(&latest, &of_it.seen) {
            return Ok(());
        }
        of_it.seen = Arc::clone(&latest);
        let under_way = of_it.standing.under_way();
        let command = of_it.standing.offer(latest);
        claim(under_way.is_none() || command.is_none(), || {
            format!("s{server} has two snapshots under way to one process")
        })?;
        self.dispatch(server, session, command);
        Ok(())
    }

    pub(crate) fn unacked(&mut self, server: usize, run: u32, session: u64, sent: u32) {
        let it = &self.servers[server];
        let waiting = it.sessions.get(&session).filter(|of_it| {
            it.run == run && of_it.sent == sent && of_it.standing.under_way().is_some()
        });
        if let Some(link) = waiting.map(|of_it| of_it.link) {
            self.say(|| {
                format!("s{server}: gives session {session} up, which acknowledges nothing")
            });
            self.hang_up(link, End::Server, false);
            self.forget(link);
        }
    }

    /// A server's stream is over.
    pub(crate) fn forget(&mut self, link: usize) {
        let it = &mut self.links[link];
        if let Some(session) = it.session.take()
            && self.servers[it.server].run == it.server_run
        {
            self.servers[it.server].leave(session);
        }
    }

    pub(crate) fn hear_up(&mut self, link: usize, bytes: &[u8]) -> Verdict {
        let server = self.links[link].server;
        let request = v1::ConnectRequest::decode(bytes);
        let request = request.map_err(|error| format!("s{server} was sent noise: {error}"))?;
        match (request.message, self.links[link].session) {
            (Some(Up::Hello(hello)), None) => self.greet(server, link, &hello),
            (Some(Up::Ack(ack)), Some(session)) => self.acked(server, session, ack.revision),
            (Some(Up::Nack(nack)), Some(session)) => self.nacked(server, session, &nack),
            (message, session) => Err(format!("s{server} heard {message:?} in {session:?}")),
        }
    }

    fn greet(&mut self, server: usize, link: usize, hello: &v1::Hello) -> Verdict {
        let greeting = hello_from_wire(hello);
        let greeting = greeting.map_err(|violations| format!("a bad Hello: {violations}"))?;
        let Greeting {
            identity,
            known,
            refusals,
        } = greeting;
        for older in self.servers[server].of_process(&identity.key) {
            let older = self.servers[server].sessions[&older].link;
            self.tally.superseded += 1;
            self.hang_up(older, End::Server, false);
            self.forget(older);
        }
        let (known, refusals) = if self.weather.blunt {
            (Known::nothing(), Vec::new())
        } else {
            (known, refusals)
        };
        let audience = Audience {
            namespace: identity.key.namespace.clone(),
            service: identity.key.service.clone(),
        };
        let it = &mut self.servers[server];
        let incarnation = it.hub.incarnation();
        let edition = it.hub.join(&audience);
        let mut standing = Standing::new(known, refusals);
        let first = standing.offer(Arc::clone(&edition));
        is_a_cheap_resume(&known, &edition, first.as_ref())?;
        let held = known.incarnation == Some(incarnation);
        let session = it.enter(Session {
            link,
            key: identity.key,
            audience,
            standing,
            seen: edition,
            sent: 0,
            applied: held.then_some(known.revision),
        });
        self.links[link].session = Some(session);
        self.tally.sessions += 1;
        self.say(|| format!("s{server}: session {session} by link {link} holds {known:?}"));
        if held {
            self.is_known_right(server, session)?;
        }
        self.dispatch(server, session, first);
        Ok(())
    }

    fn acked(&mut self, server: usize, session: u64, revision: u64) -> Verdict {
        let revision = Revision(revision);
        self.tally.acks += 1;
        let of_it = self.servers[server].sessions.get_mut(&session);
        let of_it = of_it.ok_or("an Ack in a session that is over")?;
        let next = of_it.standing.ack(revision);
        let next =
            next.ok_or_else(|| format!("s{server} was sent an Ack of {revision}, unasked"))?;
        of_it.applied = Some(revision);
        self.is_known_right(server, session)?;
        self.dispatch(server, session, next);
        Ok(())
    }

    fn nacked(&mut self, server: usize, session: u64, nack: &v1::Nack) -> Verdict {
        let refused = refusals_from_wire("nack.refusals", &nack.refusals);
        let refused = refused.map_err(|violations| violations.to_string())?;
        let of_it = self.servers[server].sessions.get_mut(&session);
        let of_it = of_it.ok_or("a Nack in a session that is over")?;
        let noted = of_it.standing.nack(Revision(nack.revision), refused);
        claim(noted, || {
            format!("s{server} was sent a Nack of {}, unasked", nack.revision)
        })
    }

    fn dispatch(&mut self, server: usize, session: u64, command: Option<Command>) {
        let Some(command) = command else {
            return;
        };
        let of_it = self.servers[server].sessions.get_mut(&session);
        let of_it = of_it.expect("a session that is served");
        of_it.sent += 1;
        let (link, sent, run) = (of_it.link, of_it.sent, self.servers[server].run);
        self.say(|| format!("s{server}: session {session} is sent {}", told(&command)));
        match command {
            Command::Send(snapshot) => {
                self.tally.snapshots += 1;
                self.send_down(link, Down::Snapshot(snapshot_to_wire(&snapshot)));
            }
            Command::UpToDate(snapshot) => {
                self.tally.up_to_dates += 1;
                let current = v1::UpToDate {
                    incarnation: incarnation_to_wire(snapshot.incarnation),
                    revision: snapshot.revision.0,
                };
                self.send_down(link, Down::UpToDate(current));
            }
        }
        self.agenda.plan(
            PATIENCE,
            Event::Unacked {
                server,
                run,
                session,
                sent,
            },
        );
    }

    fn is_known_right(&self, server: usize, session: u64) -> Verdict {
        let it = &self.servers[server];
        let of_it = &it.sessions[&session];
        let process = self.links[of_it.link].process;
        let Some(revision) = of_it.applied else {
            return Ok(());
        };
        let at = (it.hub.incarnation(), revision);
        let (epoch, refused) = (of_it.key.epoch.0, of_it.standing.refused());
        let witness = &self.processes[process].witness;
        let right = witness.is_known_right(&self.store, epoch, at, refused);
        right.map_err(|broken| format!("p{process}, as s{server} has it, {broken}"))
    }
}

/// Who holds the set already is not sent it.
fn is_a_cheap_resume(known: &Known, edition: &Snapshot, first: Option<&Command>) -> Verdict {
    let holds_it = known.incarnation == Some(edition.incarnation) && known.digest == edition.digest;
    claim(
        !holds_it || matches!(first, Some(Command::UpToDate(_))),
        || format!("a resume with {known:?}, which is current, was answered by {first:?}"),
    )
}

fn told(command: &Command) -> String {
    match command {
        Command::Send(snapshot) => format!("the set of {}", snapshot.revision),
        Command::UpToDate(snapshot) => format!("that {} is current", snapshot.revision),
    }
}
