//! What a script can look at, told in its own words.

use fusebox_core::guard::breaker::StateView;
use fusebox_core::outcome::{Outcome, Reason};

use super::amount::show;
use super::calls::Call;
use super::log;
use super::play::{Stage, compare};
use super::script::{Expected, Found, Sight};
use crate::clock;

impl Stage {
    pub(super) fn look(&mut self, sight: Sight, expected: &Expected) -> Result<(), String> {
        let inner = self.inner();
        let found = match sight {
            Sight::State => state(&inner.state()),
            Sight::Shadow => {
                let plan = inner.plans.load().plan.shadow;
                let view = inner.guard.shadow.state_at(&plan, clock::now());
                view.map_or(Found::default().word("nothing"), |view| state(&view))
            }
            Sight::Event => {
                let told = log::told(self.events_read);
                self.events_read += 1;
                let told = told.unwrap_or_else(|| "no event".into());
                Found::default().word(told)
            }
            Sight::NoEvents => {
                let told = log::told(self.events_read);
                Found::default().word(told.unwrap_or_else(|| "no events".into()))
            }
            Sight::Counts => self.counts(),
            Sight::Inside => self.who(|call| call.dependency.under_way() > 0),
            Sight::Waiting => {
                self.who(|call| !call.has_ended() && call.dependency.under_way() == 0)
            }
            Sight::Attempts => self
                .calls
                .iter()
                .fold(Found::default(), |found, (name, call)| {
                    found.aside(name, call.dependency.made())
                }),
            Sight::Bulkhead => {
                let (inside, queued) = inner.guard.bulkhead.occupancy();
                let found = Found::default().maybe("inside", Some(inside));
                found.maybe("queued", Some(queued))
            }
            Sight::Adaptive => match inner.plans.load().plan.concurrency {
                None => Found::default().word("nothing"),
                Some(_) => {
                    let (limit, inside) = inner.guard.adaptive.view();
                    let found = Found::default().aside("limit", limit);
                    found.aside("inside", inside)
                }
            },
            Sight::Refused => {
                let refusals = self.enforcement.held().refusals;
                let each = refusals.iter();
                let found = each.fold(Found::default(), |found, refusal| {
                    found.maybe(&refusal.policy, Some(&refusal.field))
                });
                if refusals.is_empty() {
                    found.word("nothing")
                } else {
                    found
                }
            }
        };
        compare(expected, &found)
    }

    fn counts(&self) -> Found {
        let totals = self.inner().recorder.totals();
        let calls = Outcome::ALL.map(|outcome| (outcome.name().into(), totals.calls(outcome)));
        let refusals = Reason::ALL.map(|reason| (reason.name().into(), totals.refusals(reason)));
        let trials = Reason::ALL.map(|reason| {
            let key = format!("would_refuse.{}", reason.name());
            (key, totals.would_refuse(reason))
        });
        let others = [
            ("retries".into(), totals.retries()),
            ("hedges".into(), totals.hedges()),
        ];
        let all = calls
            .into_iter()
            .chain(refusals)
            .chain(trials)
            .chain(others);
        let found = all.fold(Found::default(), |found, (key, count)| {
            found.maybe(&key, Some(count).filter(|&count| count > 0))
        });
        if totals.is_empty() {
            found.word("nothing")
        } else {
            found
        }
    }

    fn who(&self, is: impl Fn(&Call) -> bool) -> Found {
        let mut found = Found::default();
        let mut nobody = true;
        for (name, _) in self.calls.iter().filter(|(_, call)| is(call)) {
            found = found.word(name);
            nobody = false;
        }
        if nobody { found.word("nobody") } else { found }
    }
}

fn state(view: &StateView) -> Found {
    let percent = |share: u32| format!("{}%", share / 100);
    let found = Found::default().word(view.state.name());
    let found = match view.probe_due {
        true => found.word("probe_due"),
        false => found,
    };
    let found = found.maybe("ramp", view.ramp.map(percent));
    let forced = view.forced.map(|known| known.forced.as_state().name());
    let found = found.maybe("forced", forced);
    found.aside("for", show(clock::now().since(view.since)))
}
