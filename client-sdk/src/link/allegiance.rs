//! Which store a process belongs to, when its addresses show different ones.
//!
//! Each address is remembered with the incarnation that its last Welcome showed. A Welcome that
//! shows another than the one held may be a restored store, which is to be followed, or a server
//! that belongs somewhere else, which is not. The other addresses tell the two apart: as long as one
//! of them still stands for what is held, the process stays with that.
//!
//! ```text
//!   the Welcome shows                 another address claims what is held    verdict
//!   what is held, or nothing is held  whatever                               follow
//!   another                           no                                     follow
//!   another                           yes                                    leave
//! ```
//!
//! An address claims what it last showed. It does so for ever if it has not been tried since, and
//! otherwise for [`PATIENCE`] after it was last reached: nobody waits for ever for a store that is
//! gone. What addresses showed is not written down, so a process follows the first server it
//! reaches.

use std::fmt::Write as _;
use std::time::Duration;

use fusebox_core::revision::Incarnation;
use fusebox_core::time::Instant;

/// How long a store is held on to whose addresses cannot be reached.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// What to do with a session that has just been welcomed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take over what it sends.
    Follow,
    /// Go elsewhere and take over nothing.
    Leave,
}

/// What each address stands for.
#[derive(Debug)]
pub(super) struct Allegiance(Vec<Address>);

#[derive(Clone, Debug)]
struct Address {
    url: String,
    shows: Option<Incarnation>,
    /// When it last was reached.
    reached: Instant,
    /// It has been tried in vain since.
    tried: bool,
}

impl Allegiance {
    /// Of addresses that have shown nothing yet.
    pub(super) fn new(urls: impl IntoIterator<Item = String>) -> Self {
        let address = |url| Address {
            url,
            shows: None,
            reached: Instant::ORIGIN,
            tried: false,
        };
        Self(urls.into_iter().map(address).collect())
    }

    /// The address has welcomed this process, which holds something of `held`.
    pub(super) fn welcomed(
        &mut self,
        at: usize,
        shows: Incarnation,
        held: Option<Incarnation>,
        now: Instant,
    ) -> Verdict {
        if let Some(address) = self.0.get_mut(at) {
            address.shows = Some(shows);
        }
        self.reached(at, now);
        let Some(held) = held.filter(|held| *held != shows) else {
            return Verdict::Follow;
        };
        if self.0.iter().any(|address| address.claims(held, now)) {
            Verdict::Leave
        } else {
            Verdict::Follow
        }
    }

    /// A session with the address was up until now.
    pub(super) fn reached(&mut self, at: usize, now: Instant) {
        if let Some(address) = self.0.get_mut(at) {
            address.reached = now;
            address.tried = false;
        }
    }

    /// No session with the address came about.
    pub(super) fn missed(&mut self, at: usize) {
        if let Some(address) = self.0.get_mut(at) {
            address.tried = true;
        }
    }

    /// In words, if one address shows what is held and another does not.
    pub(super) fn disagreement(&self, held: Option<Incarnation>) -> Option<String> {
        let held = held?;
        let shown = || {
            self.0
                .iter()
                .filter_map(|address| Some((address, address.shows?)))
        };
        let split = shown().any(|(_, shows)| shows == held) && shown().any(|(_, it)| it != held);
        split.then(|| {
            let mut text = String::from("addresses disagree");
            let mut between = ": ";
            for (address, shows) in shown() {
                let followed = if shows == held { " (followed)" } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{between}{} has store {shows}{followed}", address.url);
                between = ", ";
            }
            text
        })
    }
}

impl Address {
    fn claims(&self, held: Incarnation, now: Instant) -> bool {
        self.shows == Some(held) && !(self.tried && now.since(self.reached) > PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Incarnation = Incarnation(1);
    const NEW: Incarnation = Incarnation(2);
    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u32) -> Instant {
        Instant::ORIGIN + MINUTE * minutes
    }

    /// Addresses a and b (and so on), of which a has shown the old store at minute 0.
    fn held_by_a(addresses: usize) -> Allegiance {
        let urls = ["a", "b", "c"].map(String::from).into_iter();
        let mut allegiance = Allegiance::new(urls.take(addresses));
        assert_eq!(allegiance.welcomed(0, OLD, None, at(0)), Verdict::Follow);
        allegiance
    }

    #[test]
    fn the_first_server_reached_is_followed_whatever_the_disk_held() {
        let mut allegiance = Allegiance::new(["a", "b"].map(String::from));
        let verdict = allegiance.welcomed(1, NEW, Some(OLD), at(0));
        assert_eq!(verdict, Verdict::Follow);
    }

    #[test]
    fn a_server_of_the_store_that_is_held_is_followed_whatever_others_show() {
        let mut allegiance = held_by_a(3);
        allegiance.welcomed(1, NEW, Some(OLD), at(1));
        assert_eq!(
            allegiance.welcomed(2, OLD, Some(OLD), at(1)),
            Verdict::Follow
        );
    }

    #[test]
    fn a_server_of_another_store_is_left_while_an_address_stands_for_what_is_held() {
        let mut allegiance = held_by_a(2);
        allegiance.reached(0, at(10));
        allegiance.missed(0);
        let verdict = allegiance.welcomed(1, NEW, Some(OLD), at(15));
        assert_eq!(verdict, Verdict::Leave);
    }

    #[test]
    fn a_store_whose_addresses_cannot_be_reached_for_five_minutes_is_given_up() {
        let mut allegiance = held_by_a(2);
        allegiance.reached(0, at(10));
        allegiance.missed(0);
        let just_beyond = at(15) + Duration::from_nanos(1);
        let verdict = allegiance.welcomed(1, NEW, Some(OLD), just_beyond);
        assert_eq!(verdict, Verdict::Follow);
    }

    #[test]
    fn an_address_that_was_not_tried_since_stands_for_what_it_showed_however_long_ago() {
        let mut allegiance = held_by_a(2);
        let verdict = allegiance.welcomed(1, NEW, Some(OLD), at(60_000));
        assert_eq!(verdict, Verdict::Leave);
    }

    #[test]
    fn a_store_that_the_only_address_restored_is_followed() {
        let mut allegiance = held_by_a(1);
        assert_eq!(
            allegiance.welcomed(0, NEW, Some(OLD), at(0)),
            Verdict::Follow
        );
    }

    #[test]
    fn a_store_that_its_own_address_no_longer_shows_is_given_up() {
        let mut allegiance = held_by_a(2);
        allegiance.welcomed(1, OLD, Some(OLD), at(1));
        assert_eq!(
            allegiance.welcomed(0, NEW, Some(OLD), at(2)),
            Verdict::Leave
        );
        assert_eq!(
            allegiance.welcomed(1, NEW, Some(OLD), at(2)),
            Verdict::Follow
        );
    }

    #[test]
    fn an_address_that_shows_the_store_again_stands_for_it_again() {
        let mut allegiance = held_by_a(2);
        allegiance.missed(0);
        allegiance.welcomed(0, OLD, Some(OLD), at(20));
        allegiance.missed(0);
        assert_eq!(
            allegiance.welcomed(1, NEW, Some(OLD), at(24)),
            Verdict::Leave
        );
    }

    #[test]
    fn a_disagreement_names_every_address_with_its_store_and_the_one_that_is_followed() {
        let mut allegiance = held_by_a(3);
        assert_eq!(allegiance.disagreement(Some(OLD)), None);
        allegiance.welcomed(1, NEW, Some(OLD), at(1));
        assert_eq!(
            allegiance.disagreement(Some(OLD)).unwrap(),
            "addresses disagree: a has store 00000000000000000000000000000001 (followed), \
             b has store 00000000000000000000000000000002"
        );
    }

    #[test]
    fn it_ends_as_soon_as_nobody_shows_anything_else() {
        let mut allegiance = held_by_a(2);
        allegiance.welcomed(1, NEW, Some(OLD), at(1));
        allegiance.welcomed(0, NEW, Some(OLD), at(2));
        allegiance.welcomed(1, NEW, Some(OLD), at(2));
        assert_eq!(allegiance.disagreement(Some(NEW)), None);
        assert_eq!(allegiance.disagreement(None), None);
    }
}
