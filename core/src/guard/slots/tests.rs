use std::sync::{Arc, mpsc};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::guard::fixtures::Bells;

/// Slots, and waiters that ask as soon as they queue.
struct Bench {
    slots: Slots,
    bells: Bells,
}

impl Bench {
    fn new(limit: u32, room: u32) -> Self {
        Self {
            slots: Slots::new(limit, room),
            bells: Bells::default(),
        }
    }

    fn enter(&self) -> Entered {
        self.slots.enter()
    }

    fn queue(&self, whom: usize) -> Ticket {
        let Entered::Waiting(ticket) = self.enter() else {
            panic!("{whom} does not have to wait: {:?}", self.slots);
        };
        assert!(!self.has_slot(ticket, whom));
        ticket
    }

    fn has_slot(&self, ticket: Ticket, whom: usize) -> bool {
        let waker = self.bells.of(whom);
        self.slots
            .poll(ticket, &Context::from_waker(&waker))
            .is_ready()
    }

    fn fill(&self, slots: u32) {
        for _ in 0..slots {
            assert_eq!(self.enter(), Entered::Inside);
        }
    }
}

#[test]
fn with_two_slots_and_a_queue_of_two_the_fifth_is_refused() {
    let bench = Bench::new(2, 2);
    bench.fill(2);
    let _ = [bench.queue(3), bench.queue(4)];
    assert_eq!(bench.enter(), Entered::Full);
    assert_eq!(bench.slots.occupancy(), (2, 2));
}

#[test]
fn the_queue_is_first_in_first_out_and_only_the_next_is_woken() {
    let bench = Bench::new(1, 3);
    bench.fill(1);
    let tickets = [0, 1, 2].map(|whom| bench.queue(whom));
    for (whom, ticket) in tickets.into_iter().enumerate() {
        bench.slots.leave().wake();
        assert_eq!(bench.bells.rung(), [whom]);
        assert!(bench.has_slot(ticket, whom));
    }
}

#[test]
fn a_slot_that_was_handed_over_can_not_be_taken_by_a_newcomer() {
    let bench = Bench::new(1, 2);
    bench.fill(1);
    let first = bench.queue(0);
    bench.slots.leave().wake();
    let newcomer = bench.queue(1);
    assert!(bench.has_slot(first, 0));
    assert!(!bench.has_slot(newcomer, 1));
}

#[test]
fn a_cancelled_waiter_leaves_the_queue_and_its_place_to_another() {
    let bench = Bench::new(1, 2);
    bench.fill(1);
    let (cancelled, second) = (bench.queue(0), bench.queue(1));
    assert!(!bench.slots.give_up(cancelled), "it held no slot");
    assert_eq!(bench.slots.occupancy(), (1, 1));
    let third = bench.queue(2);
    bench.slots.leave().wake();
    assert_eq!(bench.bells.rung(), [1]);
    assert!(bench.has_slot(second, 1) && !bench.has_slot(third, 2));
}

#[test]
fn whoever_gives_up_after_it_was_handed_a_slot_holds_it_and_passes_it_on() {
    let bench = Bench::new(1, 2);
    bench.fill(1);
    let (late, next) = (bench.queue(0), bench.queue(1));
    bench.slots.leave().wake();
    assert!(bench.slots.give_up(late), "the slot is its own by now");
    bench.slots.leave().wake();
    assert_eq!(bench.bells.rung(), [0, 1]);
    assert!(bench.has_slot(next, 1));
    bench.slots.leave().wake();
    assert_eq!(bench.slots.occupancy(), (0, 0));
}

#[test]
fn shrinking_takes_nobodys_slot_and_the_next_enters_once_enough_have_left() {
    let bench = Bench::new(3, 1);
    bench.fill(3);
    bench.slots.resize(1, 1).wake();
    assert_eq!(bench.slots.occupancy(), (3, 0));
    let waiter = bench.queue(0);
    for inside in [2, 1] {
        bench.slots.leave().wake();
        assert_eq!(bench.slots.occupancy(), (inside, 1));
        assert!(!bench.has_slot(waiter, 0));
    }
    bench.slots.leave().wake();
    assert!(bench.has_slot(waiter, 0));
}

#[test]
fn growing_wakes_as_many_as_there_are_new_slots_in_their_order() {
    let bench = Bench::new(1, 4);
    bench.fill(1);
    let tickets = [0, 1, 2, 3].map(|whom| bench.queue(whom));
    bench.slots.resize(3, 4).wake();
    assert_eq!(bench.bells.rung(), [0, 1]);
    let inside = [0, 1, 2, 3].map(|whom| bench.has_slot(tickets[whom], whom));
    assert_eq!(inside, [true, true, false, false]);
}

#[test]
fn a_shorter_queue_sends_nobody_away_and_takes_nobody_in() {
    let bench = Bench::new(1, 3);
    bench.fill(1);
    let tickets = [0, 1, 2].map(|whom| bench.queue(whom));
    bench.slots.resize(1, 1).wake();
    assert_eq!(bench.enter(), Entered::Full);
    bench.slots.leave().wake();
    assert!(bench.has_slot(tickets[0], 0));
    assert_eq!(bench.enter(), Entered::Full, "two still wait for one place");
    assert!(!bench.slots.give_up(tickets[1]));
    assert!(!bench.slots.give_up(tickets[2]));
    let _ = bench.queue(3);
}

#[test]
fn the_waker_that_asked_last_is_the_one_that_is_woken() {
    let bench = Bench::new(1, 1);
    bench.fill(1);
    let ticket = bench.queue(0);
    assert!(!bench.has_slot(ticket, 7));
    bench.slots.leave().wake();
    assert_eq!(bench.bells.rung(), [7]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    Leave,
    /// The so-many-eth of those who queued and have neither entered nor given up.
    GiveUp(prop::sample::Index),
    Resize(u32, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Enter),
        3 => Just(Step::Leave),
        2 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        1 => (1_u32..5, 0_u32..5).prop_map(|(limit, room)| Step::Resize(limit, room)),
    ]
}

/// The slow, obvious way.
#[derive(Default)]
struct Model {
    limit: usize,
    room: usize,
    inside: usize,
    queue: VecDeque<usize>,
}

impl Model {
    /// Who is handed a slot now.
    fn hand_on(&mut self) -> Vec<usize> {
        let free = self.limit.saturating_sub(self.inside);
        let handed: Vec<_> = self.queue.drain(..free.min(self.queue.len())).collect();
        self.inside += handed.len();
        handed
    }
}

proptest! {
    #[test]
    fn every_history_ends_as_a_plain_queue_says(
        (limit, room) in (1_u32..5, 0_u32..5),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let bench = Bench::new(limit, room);
        let mut model = Model { limit: limit as usize, room: room as usize, ..Model::default() };
        // Whoever queued and has not given up, whether it was handed a slot meanwhile or not.
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        for (whom, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter if model.inside < model.limit => {
                    prop_assert_eq!(bench.enter(), Entered::Inside);
                    model.inside += 1;
                }
                Step::Enter if model.queue.len() < model.room => {
                    tickets.push((whom, bench.queue(whom)));
                    model.queue.push_back(whom);
                }
                Step::Enter => prop_assert_eq!(bench.enter(), Entered::Full),
                Step::Leave if model.inside == 0 => {}
                Step::Leave => {
                    bench.slots.leave().wake();
                    model.inside -= 1;
                }
                Step::GiveUp(_) if tickets.is_empty() => {}
                Step::GiveUp(which) => {
                    let (whom, ticket) = tickets.swap_remove(which.index(tickets.len()));
                    let waits = model.queue.iter().position(|waiter| *waiter == whom);
                    prop_assert_eq!(bench.slots.give_up(ticket), waits.is_none());
                    match waits {
                        Some(at) => drop(model.queue.remove(at)),
                        None if model.inside > 0 => {
                            bench.slots.leave().wake();
                            model.inside -= 1;
                        }
                        None => {}
                    }
                }
                Step::Resize(limit, room) => {
                    bench.slots.resize(limit, room).wake();
                    (model.limit, model.room) = (limit as usize, room as usize);
                }
            }
            prop_assert_eq!(bench.bells.rung(), model.hand_on());
            for (whom, ticket) in &tickets {
                prop_assert_eq!(bench.has_slot(*ticket, *whom), !model.queue.contains(whom));
            }
            let (inside, waiting) = bench.slots.occupancy();
            prop_assert_eq!((inside as usize, waiting), (model.inside, model.queue.len()));
        }
    }
}

/// A task that only its waker keeps alive: whoever drops the last one runs its code.
struct Owned(Arc<Slots>);

impl Wake for Owned {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.occupancy();
    }
}

/// Fails where `act` does not come back, as it cannot if it waits for a lock that it holds itself.
fn comes_back(act: impl FnOnce() + Send + 'static) {
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        act();
        tell.send(()).unwrap();
    });
    let heard = hear.recv_timeout(Duration::from_secs(10));
    assert_eq!(heard, Ok(()), "it waits for itself");
}

/// Full, with one in the queue whom only his waker keeps alive.
fn queued_by_its_waker() -> (Arc<Slots>, Ticket) {
    let slots = Arc::new(Slots::new(1, 1));
    assert_eq!(slots.enter(), Entered::Inside);
    let Entered::Waiting(ticket) = slots.enter() else {
        panic!("{slots:?}");
    };
    let waker = Waker::from(Arc::new(Owned(Arc::clone(&slots))));
    assert!(
        slots
            .poll(ticket, &Context::from_waker(&waker))
            .is_pending()
    );
    (slots, ticket)
}

#[test]
fn a_waker_that_another_takes_the_place_of_is_dropped_while_no_lock_is_held() {
    comes_back(|| {
        let (slots, ticket) = queued_by_its_waker();
        let cx = Context::from_waker(Waker::noop());
        assert!(slots.poll(ticket, &cx).is_pending());
        assert!(!slots.give_up(ticket));
    });
}

#[test]
fn the_waker_of_whoever_gives_up_is_dropped_while_no_lock_is_held() {
    comes_back(|| {
        let (slots, ticket) = queued_by_its_waker();
        assert!(!slots.give_up(ticket));
        assert_eq!(slots.occupancy(), (1, 0));
    });
}
