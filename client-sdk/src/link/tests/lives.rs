//! Addresses on two lives of a store at once, that come and go: which of them a process follows, by
//! the two decisions alone.

use proptest::prelude::*;

use super::super::route::Ending;
use super::*;

const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// What each address shows, if it is up, and when that began.
type World = Vec<(Option<Incarnation>, fusebox_core::time::Instant)>;

struct Walker {
    world: World,
    route: Route,
    allegiance: Allegiance,
    held: Option<Incarnation>,
    now: fusebox_core::time::Instant,
    /// What each address showed when it was last met, and when.
    met: Vec<Option<(Incarnation, fusebox_core::time::Instant)>>,
}

impl Walker {
    fn new(lives: &[Option<u8>]) -> Self {
        let now = fusebox_core::time::Instant::ORIGIN;
        let urls = (0..lives.len()).map(|at| at.to_string());
        Self {
            world: lives.iter().map(|life| (incarnation(*life), now)).collect(),
            route: Route::new(lives.len()),
            allegiance: Allegiance::new(urls),
            held: None,
            now,
            met: vec![None; lives.len()],
        }
    }

    fn change(&mut self, at: usize, life: Option<u8>) {
        let at = at % self.world.len();
        self.world[at] = (incarnation(life), self.now);
    }

    /// Goes from address to address until `end`; a session lasts for `lasts`. How long it had none at
    /// the end.
    fn walk(&mut self, end: fusebox_core::time::Instant, lasts: Duration) -> Duration {
        let mut served = self.now;
        while self.now < end {
            let at = self.route.at();
            let ending = if self.turn(at) {
                self.now = self.now + lasts;
                self.allegiance.reached(at, self.now);
                served = self.now;
                Ending::Lost { lasted: lasts }
            } else {
                Ending::Failed
            };
            self.now = self.now + self.route.leave(ending, u64::MAX);
        }
        self.now.since(served)
    }

    /// Whether the address is followed.
    fn turn(&mut self, at: usize) -> bool {
        let Some(shows) = self.world[at].0 else {
            self.allegiance.missed(at);
            return false;
        };
        self.met[at] = Some((shows, self.now));
        let verdict = self.allegiance.welcomed(at, shows, self.held, self.now);
        let followed = verdict == Verdict::Follow;
        if followed && self.held != Some(shows) {
            assert_eq!(self.faithful(), None, "its store was left for {shows}");
            self.held = Some(shows);
        }
        followed
    }

    /// An address that showed what is held when it was last met, and has ever since.
    fn faithful(&self) -> Option<usize> {
        let of_it = |at: &usize| {
            let (shows, since) = self.world[*at];
            let met = self.met[*at].filter(|(_, met)| *met >= since);
            shows.is_some() && shows == self.held && met.map(|(shows, _)| shows) == shows
        };
        (0..self.world.len()).find(of_it)
    }
}

fn incarnation(life: Option<u8>) -> Option<Incarnation> {
    life.map(|life| Incarnation(life.into()))
}

fn life() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![Just(None), Just(Some(1)), Just(Some(2))]
}

proptest! {
    #[test]
    fn a_process_leaves_no_store_that_an_address_still_shows_and_waits_for_ever_for_none(
        lives in prop::collection::vec(life(), 1..4),
        changes in prop::collection::vec((0_u64..900, 0_usize..4, life()), 0..12),
        lasts in 0_u64..90,
    ) {
        let lasts = Duration::from_secs(lasts);
        let mut walker = Walker::new(&lives);
        for (seconds, at, life) in changes {
            walker.walk(walker.now + Duration::from_secs(seconds), lasts);
            walker.change(at, life);
        }
        // At rest it finds whoever is up once its patience and a round of the longest pauses are over.
        let rest = PATIENCE + lasts + 8 * route::RECONNECT_MAX;
        let alone = walker.walk(walker.now + rest, lasts);
        let anybody = walker.world.iter().any(|(shows, _)| shows.is_some());
        prop_assert!(!anybody || alone < rest, "without a session for {alone:?}");
        // And then stays with it.
        let held = walker.held;
        walker.walk(walker.now + HOUR, lasts);
        prop_assert_eq!(walker.held, held);
    }
}
