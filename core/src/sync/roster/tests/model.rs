//! The roster does what one would do who wrote down everything that ever happened.

use proptest::prelude::*;

use super::*;

const SERVICES: [&str; 2] = ["checkout", "search"];

#[derive(Clone, Debug)]
enum Step {
    /// Process `instance` of a service connects.
    Join(usize, u64),
    /// The nth of the open sessions, whichever process it speaks for, ends.
    Leave(usize),
    /// The nth session acknowledges its audience's last change, and refuses it or not.
    Ack(usize, bool),
    /// A write changes a service's snapshot, or nobody's.
    Write(Option<usize>),
    /// Several writes that nobody saw changed it.
    Lag(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2_usize, 0..3_u64).prop_map(|(service, one)| Step::Join(service, one)),
        1 => (0..8_usize).prop_map(Step::Leave),
        4 => (0..8_usize, any::<bool>()).prop_map(|(nth, refuses)| Step::Ack(nth, refuses)),
        3 => proptest::option::of(0..2_usize).prop_map(Step::Write),
        1 => (0..2_usize).prop_map(Step::Lag),
    ]
}

/// Everything that ever happened.
#[derive(Default)]
struct Chronicle {
    revision: u64,
    /// By service, unless nobody of it is connected.
    told: [Option<Told>; 2],
    sessions: Vec<Session>,
    next: u64,
}

/// Since when a service has been told, and every span of writes that changed it since.
type Told = (u64, Vec<(u64, u64)>);

#[derive(Clone)]
struct Session {
    number: u64,
    service: usize,
    instance: u64,
    /// All it has acknowledged, each with the version it refuses then.
    acks: Vec<(u64, Option<u64>)>,
}

impl Chronicle {
    fn required(&self, service: usize, revision: u64) -> u64 {
        let (base, spans) = self.told[service].as_ref().unwrap();
        let last = spans.iter().rev().find(|(from, _)| *from <= revision);
        last.map_or(*base, |(_, until)| *until)
    }

    /// Applied, pending, refused.
    fn counts(&self, revision: u64) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for session in &self.sessions {
            let required = self.required(session.service, revision);
            let answered = session.acks.iter().any(|(acked, _)| *acked >= required);
            let refuses = session.acks.last().and_then(|(_, version)| *version);
            match (answered && revision <= self.revision, refuses) {
                (false, _) => counts.1 += 1,
                (true, Some(version)) if version == required => counts.2 += 1,
                (true, _) => counts.0 += 1,
            }
        }
        counts
    }

    fn last(&self, service: usize) -> u64 {
        self.required(service, u64::MAX)
    }
}

/// Does the same to both.
fn act(roster: &mut Roster, chronicle: &mut Chronicle, step: &Step) {
    match *step {
        Step::Join(service, instance) => connect(roster, chronicle, service, instance),
        Step::Leave(nth) if nth < chronicle.sessions.len() => {
            let left = chronicle.sessions.remove(nth);
            let service = left.service;
            if !chronicle.sessions.iter().any(|one| one.service == service) {
                chronicle.told[service] = None;
                roster.close(&audience(SERVICES[service]));
            }
            roster.leave(SessionId(left.number));
        }
        Step::Ack(nth, refuses) if nth < chronicle.sessions.len() => {
            let last = chronicle.last(chronicle.sessions[nth].service);
            let session = &mut chronicle.sessions[nth];
            session.acks.push((last, refuses.then_some(last)));
            let refused = refuses.then(|| refusal("a", last)).into_iter().collect();
            roster.acked(SessionId(session.number), Revision(last), refused);
        }
        Step::Write(service) => {
            chronicle.revision += 1;
            let now = chronicle.revision;
            let changed = service.map(|service| audience(SERVICES[service]));
            roster.advance(Revision(now), changed.iter());
            if let Some((_, spans)) = service.and_then(|one| chronicle.told[one].as_mut()) {
                spans.push((now, now));
            }
        }
        Step::Lag(service) => {
            let from = chronicle.revision + 1;
            chronicle.revision += 3;
            let now = chronicle.revision;
            roster.catch_up(Revision(now), [&audience(SERVICES[service])]);
            if let Some((_, spans)) = &mut chronicle.told[service] {
                spans.push((from, now));
            }
        }
        Step::Leave(_) | Step::Ack(..) => {}
    }
}

fn connect(roster: &mut Roster, chronicle: &mut Chronicle, service: usize, instance: u64) {
    let now = chronicle.revision;
    if chronicle.told[service].is_none() {
        chronicle.told[service] = Some((now, Vec::new()));
        roster.open(&audience(SERVICES[service]), &snapshot(now, &[]));
    }
    chronicle.next += 1;
    let number = chronicle.next;
    let same = |one: &Session| one.service == service && one.instance == instance;
    chronicle.sessions.retain(|one| !same(one));
    chronicle.sessions.push(Session {
        number,
        service,
        instance,
        acks: Vec::new(),
    });
    join(roster, number, SERVICES[service], &format!("i-{instance}"));
}

proptest! {
    #[test]
    fn whatever_happens_everybody_stands_where_a_full_memory_says(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut roster = Roster::new(Revision::ZERO);
        let mut chronicle = Chronicle::default();
        for step in &steps {
            act(&mut roster, &mut chronicle, step);
            for revision in 0..=chronicle.revision + 1 {
                prop_assert_eq!(
                    counts(&roster, revision),
                    chronicle.counts(revision),
                    "revision {} after {:?}", revision, step
                );
            }
        }
        prop_assert_eq!(roster.seats.len(), chronicle.sessions.len());
        prop_assert_eq!(roster.holders.len(), chronicle.sessions.len());
    }
}
