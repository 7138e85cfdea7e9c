//! What is yet to happen, in virtual time.
//!
//! Of two events that are due at the same moment the one that was planned first comes first, so that
//! a run follows from its seed alone.

use std::collections::BTreeMap;

/// Milliseconds since the world began.
pub(crate) type Millis = u64;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An operator writes.
    Write,
    /// Something breaks.
    Fault,
    /// A message, or a stream's end, has come as far as this end of a link.
    Arrive { link: usize, end: End },
    /// This end has heard nothing for too long, if its way has been blocked since.
    Silence { link: usize, end: End },
    /// A process connects.
    Dial { process: usize, run: u32 },
    /// A frozen process goes on.
    Thaw { process: usize },
    /// A process's disk has taken what it was given.
    Written { process: usize, run: u32 },
    /// A process starts again.
    Begin { process: usize },
    /// The parts of the network find together again.
    Heal,
    /// A server takes in what the store's watch has for it.
    Follow { server: usize, run: u32 },
    /// A session looks at its audience's latest edition.
    Wake {
        server: usize,
        run: u32,
        session: u64,
    },
    /// A session has waited long for an acknowledgement of what it sent as its `sent`th.
    Unacked {
        server: usize,
        run: u32,
        session: u64,
        sent: u32,
    },
    /// A server starts again.
    Start { server: usize },
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Process,
    Server,
}

impl End {
    pub(crate) const BOTH: [Self; 2] = [Self::Process, Self::Server];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Process => Self::Server,
            Self::Server => Self::Process,
        }
    }
}

/// Events in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    now: Millis,
    planned: u64,
    due: BTreeMap<(Millis, u64), Event>,
}

impl Agenda {
    pub(crate) const fn now(&self) -> Millis {
        self.now
    }

    pub(crate) fn plan(&mut self, after: Millis, event: Event) {
        self.planned += 1;
        self.due.insert((self.now + after, self.planned), event);
    }

    /// The next event up to `until`; that is then the present.
    pub(crate) fn next(&mut self, until: Millis) -> Option<Event> {
        let next = self.due.first_entry()?;
        let (at, _) = *next.key();
        if at > until {
            return None;
        }
        self.now = at;
        Some(next.remove())
    }

    /// What is planned of that kind is not going to happen.
    pub(crate) fn forget(&mut self, kind: impl Fn(&Event) -> bool) {
        self.due.retain(|_, event| !kind(event));
    }

    /// Nothing is left to do up to `until`.
    pub(crate) fn skip_to(&mut self, until: Millis) {
        self.now = self.now.max(until);
    }
}
