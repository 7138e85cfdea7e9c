//! Waiting until enough processes enforce a revision.
//!
//! ```text
//!   look    at the first, after news (at most once a spacing), when something is due
//!   tell    the first look; counts that changed, at most once an interval; the end at once
//!
//!   WAITING --enough applied, the revision is here, nobody is on the way back--> REACHED
//!      +------the deadline has passed----------------------------------------> EXPIRED
//! ```
//!
//! Every wait looks for itself, but the more there are and the longer a look takes, the more seldom
//! each does, so that all of them together leave the roster to those who bring news. What happens
//! while one rests is seen by its next look.
//!
//! Invariants: nothing is REACHED while processes of an earlier life of this server may still be on
//! their way back, nor before the revision is here; every wait ends by its deadline, or with its
//! server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::revision::Revision;
use fusebox_core::sync::{Laggard, Mark, Roster, Scope, Standing};
use fusebox_core::time::Instant as CoreInstant;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Distribution;
use super::roll::Roll;

/// Waits at one time.
pub const MAX_WAITS: usize = 256;
/// The longest a wait may be asked to last.
pub const MAX_WAIT: Duration = Duration::from_secs(60 * 60);
/// Between two messages that only say that counts have changed.
const TELL_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks, while there are few waits.
const SPACING: Duration = Duration::from_millis(5);
/// How many waits are few.
const FEW: u32 = 8;
/// For each wait there is, this one rests so many times as long as its look took.
const REST: u32 = 20;
/// Silence makes no news, and is looked for this often.
const VIGIL: Duration = Duration::from_secs(1);
/// The whole, in ten-thousandths.
const WHOLE: u64 = 10_000;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quest {
    pub(crate) revision: Revision,
    pub(crate) scope: Scope,
    pub(crate) share: Share,
    pub(crate) within: Duration,
}

/// How many of those connected are enough, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u64);

impl Share {
    /// Every one.
    pub(crate) const ALL: Self = Self(WHOLE);

    /// `None` unless it is above 0 and at most 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "of 1 to 10,000"
    )]
    pub(crate) fn new(share: f64) -> Option<Self> {
        let legal = share > 0.0 && share <= 1.0;
        legal.then(|| Self(((share * 10_000.0).round() as u64).clamp(1, WHOLE)))
    }

    /// Whether `part` of `all` is enough.
    fn is_met(self, part: usize, all: usize) -> bool {
        part as u64 * WHOLE >= all as u64 * self.0
    }
}

/// Why nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unawaited {
    /// As many wait as may.
    #[error("{MAX_WAITS} waits are under way, and no more are taken; try again later")]
    TooMany,
    /// This server stops.
    #[error("the server is stopping")]
    Stopping,
}

/// How a wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Reached,
    Expired,
}

/// How far a revision has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) state: State,
    /// The revision waited for.
    pub(crate) revision: Revision,
    /// The revision this server has.
    pub(crate) here: Revision,
    pub(crate) counts: Counts,
    /// The first few that lack it.
    pub(crate) examples: Vec<Laggard>,
}

/// What a change of is worth a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) standing: Standing,
    pub(crate) gone: usize,
    pub(crate) settling: bool,
}

/// One who waits.
pub(crate) struct Convergence {
    quest: Quest,
    watcher: Watcher,
    news: watch::Receiver<()>,
    stop: CancellationToken,
    deadline: Instant,
    /// By when everybody who knew this server before is back.
    settled: Instant,
    /// Silent for longer than this is stale.
    patience: Duration,
    /// How long the last look took.
    cost: Duration,
    told: Option<(Instant, Counts)>,
    _place: OwnedSemaphorePermit,
}

/// Has it noted who leaves, for as long as it is there.
struct Watcher {
    roll: Arc<Roll>,
    mark: Mark,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.roll.visit(Roster::unwatch);
    }
}

impl Distribution {
    /// Begins to wait.
    pub(crate) fn wait_for(&self, quest: Quest) -> Result<Convergence, Unawaited> {
        if self.stop.is_cancelled() {
            return Err(Unawaited::Stopping);
        }
        let roll = self.hub.roll();
        let place = Arc::clone(&roll.waits).try_acquire_owned();
        let place = place.map_err(|_| Unawaited::TooMany)?;
        let now = Instant::now();
        Ok(Convergence {
            news: roll.news(),
            stop: self.stop.clone(),
            deadline: now + quest.within,
            settled: self.settled(),
            patience: self.stale_after(),
            cost: Duration::ZERO,
            told: None,
            watcher: Watcher {
                mark: roll.visit(Roster::watch),
                roll: Arc::clone(roll),
            },
            quest,
            _place: place,
        })
    }
}

impl Convergence {
    /// What there is to tell, when there is something; not to be called again after the end.
    pub(crate) async fn next(&mut self) -> Result<Progress, Unawaited> {
        loop {
            let now = Instant::now();
            self.news.borrow_and_update();
            let (counts, progress) = self.look(now);
            self.cost = now.elapsed();
            if let Some(progress) = progress {
                self.told = Some((now, counts));
                return Ok(progress);
            }
            self.rest(counts, now).await?;
        }
    }

    /// How things stand, and what is to be told of it, if anything.
    fn look(&self, now: Instant) -> (Counts, Option<Progress>) {
        let Quest {
            revision, scope, ..
        } = &self.quest;
        let roll = &self.watcher.roll;
        let silent_before =
            CoreInstant::ORIGIN + roll.now().since(CoreInstant::ORIGIN + self.patience);
        roll.visit(|roster| {
            let counts = Counts {
                standing: roster.standing(*revision, scope, silent_before),
                gone: roster.gone(*revision, scope, self.watcher.mark),
                settling: now < self.settled,
            };
            let here = roster.revision();
            let progress = self.due(counts, here, now).map(|state| Progress {
                state,
                revision: *revision,
                here,
                counts,
                examples: roster.examples(*revision, scope),
            });
            (counts, progress)
        })
    }

    fn due(&self, counts: Counts, here: Revision, now: Instant) -> Option<State> {
        let standing = counts.standing;
        let is_here = here >= self.quest.revision && !counts.settling;
        let share = self.quest.share;
        if is_here && share.is_met(standing.applied, standing.connected()) {
            return Some(State::Reached);
        }
        if now >= self.deadline {
            return Some(State::Expired);
        }
        let news = self
            .told
            .is_none_or(|(at, told)| told != counts && now >= at + TELL_INTERVAL);
        news.then_some(State::Waiting)
    }

    /// Until another look may show something else.
    async fn rest(&mut self, counts: Counts, now: Instant) -> Result<(), Unawaited> {
        let again = now + self.spacing();
        let mut until = now + VIGIL;
        if counts.settling {
            until = until.min(self.settled);
        }
        if let Some((at, told)) = self.told
            && told != counts
        {
            until = until.min(at + TELL_INTERVAL);
        }
        let until = until.max(again).min(self.deadline);
        let news = async {
            // An error says that the server is gone, which `stop` says, too.
            if self.news.changed().await.is_ok() {
                sleep_until(again).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Unawaited::Stopping),
            () = sleep_until(until) => Ok(()),
            () = news => Ok(()),
        }
    }

    fn spacing(&self) -> Duration {
        let waits = MAX_WAITS - self.watcher.roll.waits.available_permits();
        let waits = u32::try_from(waits).unwrap_or(u32::MAX);
        let few = SPACING * waits.div_ceil(FEW);
        few.max(self.cost * REST * waits)
    }
}

/// In one line: what is, and what is in the way.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            standing,
            gone,
            settling,
        } = self.counts;
        let Standing {
            applied,
            pending,
            refused,
            ..
        } = standing;
        let (all, revision) = (standing.connected(), self.revision);
        write!(
            f,
            "{applied} of {all} processes enforce revision {revision}; {pending} pending, {refused} \
             refused"
        )?;
        if gone > 0 {
            write!(f, ", {gone} gone")?;
        }
        if let Some(example) = self.examples.first() {
            write!(f, ": {}", Reason(example))?;
        }
        if self.here < self.revision {
            write!(f, "; this server is at revision {}", self.here)?;
        }
        if settling {
            f.write_str("; it has just started, and processes may be on their way back to it")?;
        }
        Ok(())
    }
}

struct Reason<'a>(&'a Laggard);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Laggard { key, refusals, .. } = self.0;
        write!(f, "{}/{} ", key.service, key.instance)?;
        let Some(refusal) = refusals.first() else {
            return f.write_str("has not answered");
        };
        write!(f, "refuses {}: ", refusal.policy)?;
        if !refusal.field.is_empty() {
            write!(f, "{} ", refusal.field)?;
        }
        f.write_str(&refusal.reason)
    }
}

#[cfg(test)]
mod tests;
