//! How messages and the ends of streams get from one end of a link to the other, or do not.

use fusebox_proto::v1;
use prost::Message;

use super::agenda::{End, Event, Millis};
use super::link::Packet;
use super::oracle::Verdict;
use super::world::World;

/// After so long without a message the other side is taken for gone.
const SILENCE: Millis = 15_000;

impl World {
    pub(crate) fn send_up(&mut self, link: usize, message: v1::connect_request::Message) {
        let message = Some(message);
        let bytes = v1::ConnectRequest { message }.encode_to_vec();
        self.send(link, End::Server, Packet::Data(bytes));
    }

    pub(crate) fn send_down(&mut self, link: usize, message: v1::connect_response::Message) {
        let message = Some(message);
        let bytes = v1::ConnectResponse { message }.encode_to_vec();
        self.send(link, End::Process, Packet::Data(bytes));
    }

    fn send(&mut self, link: usize, end: End, packet: Packet) {
        let (now, delay) = (self.agenda.now(), self.delay());
        if let Some(at) = self.links[link].to(end).send(now, delay, packet) {
            self.agenda.plan(at - now, Event::Arrive { link, end });
        }
    }

    fn delay(&mut self) -> Millis {
        let longest = if self.dice.one_in(20) { 3000 } else { 60 };
        self.dice.pick(1..longest)
    }

    /// Hands over what has come as far as `end`, in its order.
    pub(crate) fn arrive(&mut self, link: usize, end: End) -> Verdict {
        while self.reaches(link, end) {
            let now = self.agenda.now();
            let Some(packet) = self.links[link].to(end).take(now) else {
                break;
            };
            match packet {
                // Nobody is there any more; whoever sends is told.
                _ if !self.links[link].is_open(end) => self.send(link, end.other(), Packet::Close),
                Packet::Close => self.ended(link, end),
                Packet::Data(bytes) if end == End::Process => self.hear_down(link, &bytes)?,
                Packet::Data(bytes) => self.hear_up(link, &bytes)?,
            }
        }
        Ok(())
    }

    fn reaches(&self, link: usize, end: End) -> bool {
        let link = &self.links[link];
        let frozen = end == End::Process && self.processes[link.process].frozen;
        !frozen && !self.blocked[link.process][link.server]
    }

    /// This end ends the stream; if `quietly`, the other one has to find out by itself.
    pub(crate) fn hang_up(&mut self, link: usize, by: End, quietly: bool) {
        if !self.links[link].is_open(by) {
            return;
        }
        self.links[link].close(by);
        if quietly {
            self.cut(link);
            self.wait_for_silence(link, by.other());
        } else {
            self.send(link, by.other(), Packet::Close);
        }
    }

    /// The connection breaks: what is under way is lost from some point on, and each end hears of it
    /// at once, late, or only by the silence.
    pub(crate) fn break_link(&mut self, link: usize) {
        self.cut(link);
        for end in End::BOTH {
            if self.dice.one_in(2) {
                let (now, delay) = (self.agenda.now(), self.delay());
                let at = self.links[link].to(end).tell(now, delay);
                self.agenda.plan(at - now, Event::Arrive { link, end });
            } else {
                self.wait_for_silence(link, end);
            }
        }
    }

    fn cut(&mut self, link: usize) {
        for end in End::BOTH {
            self.links[link].to(end).cut(&mut self.dice);
        }
        self.links[link].mute = true;
    }

    fn wait_for_silence(&mut self, link: usize, end: End) {
        self.agenda.plan(SILENCE, Event::Silence { link, end });
    }

    pub(crate) fn silence(&mut self, link: usize, end: End) {
        let now = self.agenda.now();
        let it = &self.links[link];
        let blocked = it.blocked_since.is_some_and(|since| since + SILENCE <= now);
        if it.is_open(end) && (it.mute || blocked) {
            self.ended(link, end);
        }
    }

    /// This end knows that the stream is over.
    fn ended(&mut self, link: usize, end: End) {
        if !self.links[link].is_open(end) {
            return;
        }
        self.say(|| format!("link {link}: over for its {end:?}"));
        self.hang_up(link, end, false);
        match end {
            End::Process => self.lost(link),
            End::Server => self.forget(link),
        }
    }

    /// Parts the network: some processes do not reach some servers.
    pub(crate) fn part(&mut self) {
        for process in 0..self.processes.len() {
            for server in 0..self.servers.len() {
                self.blocked[process][server] |= self.dice.one_in(2);
            }
        }
        let now = self.agenda.now();
        for link in 0..self.links.len() {
            let it = &mut self.links[link];
            if self.blocked[it.process][it.server] && it.blocked_since.is_none() {
                it.blocked_since = Some(now);
                for end in End::BOTH {
                    self.wait_for_silence(link, end);
                }
            }
        }
    }

    /// What was held up by a parted network is on its way again.
    pub(crate) fn heal(&mut self) -> Verdict {
        self.say(|| "network: whole".into());
        self.blocked.iter_mut().for_each(|row| row.fill(false));
        for link in 0..self.links.len() {
            if self.links[link].blocked_since.take().is_some() {
                for end in End::BOTH {
                    self.arrive(link, end)?;
                }
            }
        }
        Ok(())
    }

    /// Links that somebody still holds open.
    pub(crate) fn open_links(&self) -> Vec<usize> {
        let open = |link: &usize| End::BOTH.iter().any(|end| self.links[*link].is_open(*end));
        (0..self.links.len()).filter(open).collect()
    }
}
