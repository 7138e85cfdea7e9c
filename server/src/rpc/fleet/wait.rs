//! A wait on its way to whoever wants to know.
//!
//! It has a task and a channel of a few messages. Whoever reads slowly is told less often, never
//! later than the end: for the last message and the status there is always room. Whoever goes away,
//! or whose own deadline passes, ends it.

use std::time::Duration;

use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_core::sync::Laggard;
use fusebox_proto::convert::session::refusal_to_wire;
use fusebox_proto::convert::time::duration_from_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::wait_for_revision_response as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::status;
use super::{count, scope_from_wire};
use crate::control::Control;
use crate::distribution::{Convergence, Distribution, MAX_WAIT, Progress, Quest, Share, State};

/// How long one waits who does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// Messages that may wait for their reader.
const SLOTS: usize = 4;
/// Room for the last message and the status.
const LAST_WORDS: usize = 2;

type Sender = mpsc::Sender<Result<v1::WaitForRevisionResponse, Status>>;
/// What a wait sends.
pub(super) type Waiting = ReceiverStream<Result<v1::WaitForRevisionResponse, Status>>;

/// Begins one.
pub(super) fn wait(
    control: &Control,
    distribution: &Distribution,
    request: &v1::WaitForRevisionRequest,
) -> Result<Waiting, Status> {
    let quest = quest_from_wire(request, control)?;
    let convergence = distribution.wait_for(quest).map_err(status::unawaited)?;
    let (sender, receiver) = mpsc::channel(SLOTS + LAST_WORDS);
    tokio::spawn(tell(convergence, sender));
    Ok(ReceiverStream::new(receiver))
}

/// What is asked for, or everything that is wrong with it.
fn quest_from_wire(
    request: &v1::WaitForRevisionRequest,
    control: &Control,
) -> Result<Quest, Status> {
    let mut found = Violations::none();
    let scope = scope_from_wire(&mut found, &request.namespace, &request.service);
    let share = request.share.map_or(Some(Share::ALL), Share::new);
    if share.is_none() {
        let share = request.share.unwrap_or_default();
        found.add("share", share, "must be above 0 and at most 1");
    }
    let within = within_from_wire(&mut found, request.deadline.as_ref());
    let revision = match request.revision {
        0 => control.revision(),
        revision => Revision(revision),
    };
    found.into_result(()).map_err(status::invalid)?;
    Ok(Quest {
        revision,
        scope,
        share: share.unwrap_or(Share::ALL),
        within,
    })
}

fn within_from_wire(found: &mut Violations, wire: Option<&prost_types::Duration>) -> Duration {
    let Some(wire) = wire else {
        return DEFAULT_WAIT;
    };
    let shown = || format!("{} s {} ns", wire.seconds, wire.nanos);
    match duration_from_wire(wire) {
        Err(invalid) => found.add("deadline", shown(), invalid.to_string()),
        Ok(within) if within.is_zero() || within > MAX_WAIT => {
            let bound = format!("must be above 0 and at most {} s", MAX_WAIT.as_secs());
            found.add("deadline", shown(), bound);
        }
        Ok(within) => return within,
    }
    DEFAULT_WAIT
}

/// Tells how it goes until it ends, and how it does, or until nobody listens.
async fn tell(mut convergence: Convergence, sender: Sender) {
    // Reserved while all is empty, so that whoever reads slowly still learns of the end.
    let reserve = || sender.clone().try_reserve_owned();
    let (Ok(last), Ok(verdict)) = (reserve(), reserve()) else {
        return;
    };
    loop {
        let next = tokio::select! {
            () = sender.closed() => return,
            next = convergence.next() => next,
        };
        match next {
            Ok(progress) if progress.state == State::Waiting => {
                // Without room the reader misses this one, of which the next one says more.
                let _ = sender.try_send(Ok(progress_to_wire(&progress)));
            }
            Ok(progress) => {
                last.send(Ok(progress_to_wire(&progress)));
                if progress.state == State::Expired {
                    verdict.send(Err(status::expired(&progress)));
                }
                return;
            }
            Err(unawaited) => {
                verdict.send(Err(status::unawaited(unawaited)));
                return;
            }
        }
    }
}

fn progress_to_wire(progress: &Progress) -> v1::WaitForRevisionResponse {
    let state = match progress.state {
        State::Waiting => wire::State::Waiting,
        State::Reached => wire::State::Reached,
        State::Expired => wire::State::Expired,
    };
    let standing = progress.counts.standing;
    v1::WaitForRevisionResponse {
        state: state.into(),
        revision: progress.revision.0,
        applied: count(standing.applied),
        pending: count(standing.pending),
        refused: count(standing.refused),
        gone: count(progress.counts.gone),
        stale: count(standing.stale),
        settling: progress.counts.settling,
        examples: progress.examples.iter().map(laggard_to_wire).collect(),
        coverage: Some(v1::Coverage {
            servers_reporting: 1,
            servers_total: 1,
            settling: progress.counts.settling,
        }),
    }
}

fn laggard_to_wire(laggard: &Laggard) -> v1::InstanceStanding {
    let Laggard {
        key,
        acked,
        refusals,
    } = laggard;
    v1::InstanceStanding {
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
        instance_id: key.instance.to_string(),
        epoch: key.epoch.0,
        applied_revision: acked.unwrap_or_default().0,
        refusals: refusals.iter().map(refusal_to_wire).collect(),
    }
}
