//! A connection, as TCP gives one: each way keeps its order, and what is under way at a break may be
//! lost from some point on; an end may not hear of the break at all.

use std::collections::VecDeque;

use fusebox_tests::dice::Dice;

use super::agenda::{End, Millis};

/// What comes out of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Data(Vec<u8>),
    /// The stream is over.
    Close,
}

/// One way.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    under_way: VecDeque<(Millis, Packet)>,
    last: Millis,
    /// What is put in never comes out.
    dead: bool,
}

impl Pipe {
    /// When it arrives at the other end; `None`: never.
    pub(crate) fn send(&mut self, now: Millis, delay: Millis, packet: Packet) -> Option<Millis> {
        if self.dead {
            return None;
        }
        self.last = self.last.max(now + delay);
        self.dead = packet == Packet::Close;
        self.under_way.push_back((self.last, packet));
        Some(self.last)
    }

    pub(crate) fn take(&mut self, now: Millis) -> Option<Packet> {
        if self.under_way.front()?.0 > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, packet)| packet)
    }

    /// Loses what is under way from some point on, and whatever would follow.
    pub(crate) fn cut(&mut self, dice: &mut Dice) {
        let kept = dice.index(self.under_way.len() + 1);
        self.under_way.truncate(kept);
        self.dead = true;
    }

    /// After a cut: whoever reads hears of it, behind what is still under way.
    pub(crate) fn tell(&mut self, now: Millis, delay: Millis) -> Millis {
        self.last = self.last.max(now + delay);
        self.under_way.push_back((self.last, Packet::Close));
        self.last
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) process: usize,
    pub(crate) server: usize,
    /// The run of that server that it leads to.
    pub(crate) server_run: u32,
    pub(crate) session: Option<u64>,
    /// By the end that reads.
    pipes: [Pipe; 2],
    open: [bool; 2],
    /// Broken in a way that not every end is told of.
    pub(crate) mute: bool,
    /// Its way has been blocked.
    pub(crate) blocked_since: Option<Millis>,
}

impl Link {
    pub(crate) fn new(process: usize, server: usize, server_run: u32) -> Self {
        Self {
            process,
            server,
            server_run,
            session: None,
            pipes: Default::default(),
            open: [true; 2],
            mute: false,
            blocked_since: None,
        }
    }

    pub(crate) fn to(&mut self, end: End) -> &mut Pipe {
        &mut self.pipes[end as usize]
    }

    pub(crate) fn is_open(&self, end: End) -> bool {
        self.open[end as usize]
    }

    pub(crate) fn close(&mut self, end: End) {
        self.open[end as usize] = false;
    }
}
