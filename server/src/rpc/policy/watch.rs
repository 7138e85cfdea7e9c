//! A watch on its way to whoever looks on.
//!
//! Each has a task and a channel of a few messages. Who reads slowly lets the channel fill, which
//! makes the task wait, until the store itself has gone on too far; who goes away lets it end.

use fusebox_core::key::Namespace;
use fusebox_core::policy::{Stored, Violations};
use fusebox_core::revision::Revision;
use fusebox_proto::convert::policy::stored_to_wire;
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::watch_policies_response::Message as News;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::status;
use super::history::version_to_wire;
use super::optional_namespace;
use crate::control::{self, Control, ControlError, Following};

/// Messages that may wait for their reader.
const SLOTS: usize = 4;
/// Bytes of the policies as they are behind which a message takes no more of them.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a watch sends.
pub(super) type Watching = ReceiverStream<Result<v1::WatchPoliciesResponse, Status>>;

/// Begins one.
pub(super) fn watch(
    control: &Control,
    request: &v1::WatchPoliciesRequest,
) -> Result<Watching, Status> {
    let mut found = Violations::none();
    let namespace: Option<Namespace> = optional_namespace(&mut found, &request.namespace);
    found.into_result(()).map_err(status::invalid)?;
    let after = Some(Revision(request.after_revision)).filter(|&after| after != Revision::ZERO);
    let following = control.watch(namespace, after).map_err(status::of)?;
    let (sender, receiver) = mpsc::channel(SLOTS);
    tokio::spawn(tell(following, sender));
    Ok(ReceiverStream::new(receiver))
}

/// Tells all there is, until the watch ends or nobody listens.
async fn tell(
    mut following: Following,
    sender: mpsc::Sender<Result<v1::WatchPoliciesResponse, Status>>,
) {
    loop {
        let news = tokio::select! {
            () = sender.closed() => return,
            news = next(&mut following) => news,
        };
        let last = news.is_err();
        let news = news.map_err(status::of);
        let news = news.map(|news| v1::WatchPoliciesResponse {
            message: Some(news),
        });
        // An error says that nobody listens any more. In this order, so that a stop does not keep
        // back the very status that tells of it.
        let gone = tokio::select! {
            biased;
            sent = sender.send(news) => sent.is_err(),
            () = following.stopped() => true,
        };
        if last || gone {
            return;
        }
    }
}

async fn next(following: &mut Following) -> Result<News, ControlError> {
    let chunk = chunk(following);
    if !chunk.is_empty() {
        return Ok(changes(Revision::ZERO, chunk));
    }
    Ok(match following.next().await? {
        control::News::Synced(revision) => News::SyncedRevision(revision.0),
        control::News::Write(revision, versions) => {
            let versions = versions.iter().map(|version| version_to_wire(version));
            changes(revision, versions.collect())
        }
    })
}

fn changes(revision: Revision, changes: Vec<v1::PolicyRevision>) -> News {
    News::Changes(v1::PolicyChanges {
        revision: revision.0,
        changes,
    })
}

/// As many of the policies as they are as one message takes; at least one, if any is left.
fn chunk(following: &mut Following) -> Vec<v1::PolicyRevision> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNK_BYTES
        && let Some(stored) = following.next_policy()
    {
        let revision = as_it_is(&stored);
        bytes += revision.encoded_len();
        chunk.push(revision);
    }
    chunk
}

fn as_it_is(stored: &Stored) -> v1::PolicyRevision {
    let id = stored.policy.id();
    v1::PolicyRevision {
        revision: stored.revision.0,
        time: Some(timestamp_to_wire(stored.update_time)),
        policy: Some(stored_to_wire(stored)),
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        ..v1::PolicyRevision::default()
    }
}
