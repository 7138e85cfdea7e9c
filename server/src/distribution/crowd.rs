//! The members of one audience, and who of them has yet to hear of the present edition.
//!
//! Members stand in a ring. An edition goes round it once; one that comes meanwhile goes on from
//! where the last stood, so that nobody waits twice because others were told twice, and each member
//! hears of the latest only. A place that is added meanwhile may lie on the way, so that the way is
//! longer by it.
//!
//! ```text
//!   publish: unvisited = all          next: step on; whoever has heard of this edition is passed over
//!   join:    has heard already        leave: an empty place, for the next who joins
//! ```

use std::sync::Arc;

use super::bell::Bell;
use super::hub::Edition;

/// One audience.
#[derive(Debug)]
pub(super) struct Crowd {
    edition: Arc<Edition>,
    /// Counts editions.
    number: u64,
    places: Vec<Place>,
    free: Vec<usize>,
    cursor: usize,
    /// Places from the cursor on whose members may have yet to hear.
    unvisited: usize,
    /// The hub's: when it is this audience's turn, while an edition goes round.
    pub(super) turn: u64,
}

#[derive(Debug)]
struct Place {
    /// `None` if nobody stands here.
    bell: Option<Arc<Bell>>,
    /// The last edition that whoever stands here has heard of.
    heard: u64,
}

impl Crowd {
    /// An audience of nobody.
    pub(super) fn of(edition: Arc<Edition>) -> Self {
        Self {
            edition,
            number: 0,
            places: Vec::new(),
            free: Vec::new(),
            cursor: 0,
            unvisited: 0,
            turn: 0,
        }
    }

    /// What its members are to hold.
    pub(super) fn edition(&self) -> &Arc<Edition> {
        &self.edition
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    /// Whose bells there are.
    pub(super) fn bells(&self) -> impl Iterator<Item = &Arc<Bell>> {
        self.places.iter().filter_map(|place| place.bell.as_ref())
    }

    /// Takes a place; whoever joins knows the present edition.
    pub(super) fn join(&mut self, bell: Arc<Bell>) -> usize {
        let place = Place {
            bell: Some(bell),
            heard: self.number,
        };
        if let Some(free) = self.free.pop() {
            self.places[free] = place;
            return free;
        }
        self.places.push(place);
        self.unvisited += usize::from(self.unvisited > 0);
        self.places.len() - 1
    }

    /// Gives up a place that was taken here, once for each; the answer is the bell that stood there.
    pub(super) fn leave(&mut self, place: usize) -> Option<Arc<Bell>> {
        self.free.push(place);
        self.places[place].bell.take()
    }

    /// From now on they are to hold this. Whether that begins a round: otherwise one is under way,
    /// and goes on.
    pub(super) fn publish(&mut self, edition: Arc<Edition>) -> bool {
        self.edition = edition;
        self.number += 1;
        std::mem::replace(&mut self.unvisited, self.places.len()) == 0
    }

    /// Whether an edition goes round; somebody may have yet to hear of it.
    pub(super) fn is_under_way(&self) -> bool {
        self.unvisited > 0
    }

    /// The next who is to hear of the present edition; counts as having heard.
    pub(super) fn next(&mut self) -> Option<Arc<Bell>> {
        while self.unvisited > 0 {
            self.unvisited -= 1;
            self.cursor = (self.cursor + 1) % self.places.len();
            let place = &mut self.places[self.cursor];
            if place.heard < self.number
                && let Some(bell) = &place.bell
            {
                place.heard = self.number;
                return Some(Arc::clone(bell));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::revision::{Digest, Incarnation, Revision};
    use fusebox_core::sync::Snapshot;
    use proptest::prelude::*;

    use super::*;

    fn edition(revision: u64) -> Arc<Edition> {
        Edition::new(Arc::new(Snapshot {
            incarnation: Incarnation(7),
            adopted: false,
            revision: Revision(revision),
            digest: Digest(revision),
            policies: Vec::new(),
            overrides: Vec::new(),
        }))
    }

    fn crowd(members: usize) -> (Crowd, Vec<Arc<Bell>>) {
        let mut crowd = Crowd::of(edition(1));
        let bells: Vec<_> = (0..members).map(|_| Arc::default()).collect();
        for bell in &bells {
            crowd.join(Arc::clone(bell));
        }
        (crowd, bells)
    }

    /// Which of `bells` are told, in order, until nobody is left.
    fn told(crowd: &mut Crowd, bells: &[Arc<Bell>], most: usize) -> Vec<usize> {
        let next = || crowd.next();
        let who = |told: Arc<Bell>| bells.iter().position(|bell| Arc::ptr_eq(bell, &told));
        std::iter::from_fn(next)
            .take(most)
            .filter_map(who)
            .collect()
    }

    #[test]
    fn whoever_joins_knows_the_present_edition() {
        let (mut crowd, _) = crowd(3);
        assert!(crowd.next().is_none());
    }

    #[test]
    fn an_edition_is_told_to_each_member_once() {
        let (mut crowd, bells) = crowd(4);
        crowd.publish(edition(2));
        let mut all = told(&mut crowd, &bells, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        assert!(crowd.next().is_none());
    }

    #[test]
    fn an_edition_that_comes_meanwhile_begins_with_those_who_have_waited_longest() {
        let (mut crowd, bells) = crowd(4);
        crowd.publish(edition(2));
        let first = told(&mut crowd, &bells, 2);
        crowd.publish(edition(3));
        let then = told(&mut crowd, &bells, 9);
        assert_eq!(then.len(), 4);
        assert!(then[..2].iter().all(|who| !first.contains(who)));
    }

    #[test]
    fn who_has_left_is_not_told_and_who_takes_the_place_knows() {
        let (mut crowd, bells) = crowd(3);
        crowd.publish(edition(2));
        crowd.leave(1);
        let late: Arc<Bell> = Arc::default();
        assert_eq!(crowd.join(Arc::clone(&late)), 1);
        let mut all = told(&mut crowd, &bells, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 2]);
        crowd.leave(0);
        crowd.leave(2);
        assert!(!crowd.is_empty());
        crowd.leave(1);
        assert!(crowd.is_empty());
    }

    #[test]
    fn who_joins_while_an_edition_goes_round_takes_nobodys_turn() {
        let (mut crowd, bells) = crowd(4);
        crowd.publish(edition(2));
        let mut all = told(&mut crowd, &bells, 1);
        crowd.join(Arc::default());
        all.extend(told(&mut crowd, &bells, 9));
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join,
        /// The nth of those who are there.
        Leave(usize),
        Publish,
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Join),
            2 => (0..8_usize).prop_map(Step::Leave),
            2 => Just(Step::Publish),
            4 => Just(Step::Next),
        ]
    }

    /// A crowd, and each member with its place and the last edition that it knows.
    struct Chronicle {
        crowd: Crowd,
        latest: u64,
        members: Vec<(Arc<Bell>, usize, u64)>,
    }

    impl Chronicle {
        fn act(&mut self, step: &Step) {
            match *step {
                Step::Join => {
                    let bell: Arc<Bell> = Arc::default();
                    let place = self.crowd.join(Arc::clone(&bell));
                    self.members.push((bell, place, self.latest));
                }
                Step::Leave(nth) if nth < self.members.len() => {
                    let (_, place, _) = self.members.remove(nth);
                    self.crowd.leave(place);
                }
                Step::Publish => {
                    self.latest += 1;
                    self.crowd.publish(edition(self.latest));
                }
                Step::Next => _ = self.tell(),
                Step::Leave(_) => {}
            }
        }

        /// Whether there was somebody to tell; it must be a member who did not know.
        fn tell(&mut self) -> bool {
            let Some(told) = self.crowd.next() else {
                return false;
            };
            let mut members = self.members.iter_mut();
            let member = members.find(|(bell, ..)| Arc::ptr_eq(bell, &told));
            let (.., known) = member.expect("told who is not here");
            assert!(*known < self.latest, "told twice");
            *known = self.latest;
            true
        }
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_meanwhile_each_member_hears_of_the_latest_once(
            steps in proptest::collection::vec(step(), 1..60)
        ) {
            let mut chronicle = Chronicle { crowd: Crowd::of(edition(0)), latest: 0, members: Vec::new() };
            steps.iter().for_each(|step| chronicle.act(step));
            while chronicle.tell() {}
            for (_, place, known) in &chronicle.members {
                prop_assert_eq!(*known, chronicle.latest, "who stands at {}", place);
            }
        }
    }
}
