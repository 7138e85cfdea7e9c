//! Proof, in an error and its sources, that a request never took effect.
//!
//! Only what its own layer vouches for counts as proof; the rest is a guess, and a guess repeats
//! somebody's payment.
//!
//! | in the chain of sources | why it is proof |
//! |---|---|
//! | [`tonic::ConnectError`], a connect error of hyper-util's client (and so of reqwest) | there was no connection yet: resolution, TCP or TLS failed |
//! | an I/O error [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) | likewise |
//! | HTTP/2 `REFUSED_STREAM` | "prior to any processing having occurred" (RFC 9113, 8.7) |
//! | HTTP/2 `GOAWAY` from the peer, as a stream's error | h2 gives it to streams above the last one the peer took up (RFC 9113, 6.8) and to those it never opened |
//! | hyper's "canceled", beneath a client that does nothing but send | dropped while it waited for its connection |
//!
//! These are the failures that gRPC retries transparently (proposal A6, "Transparent Retries").

use std::error::Error;
use std::io;
use std::iter::successors;

use hyper_util::client::legacy;

/// Whether `error` proves that the request never took effect.
pub(super) fn never_sent(error: &(dyn Error + 'static)) -> bool {
    // hyper also says "canceled" of an upgrade whose request was answered long ago. These clients
    // never wait for one.
    let mut only_sends = false;
    for link in chain(error) {
        if let Some(client) = link.downcast_ref::<legacy::Error>() {
            if client.is_connect() {
                return true;
            }
            only_sends = true;
        } else if link.is::<tonic::transport::Error>() {
            only_sends = true;
        } else if let Some(connection) = link.downcast_ref::<hyper::Error>() {
            // The connection stood: a refusal further down came to packets, not to a connect.
            return (only_sends && connection.is_canceled()) || never_taken_up(connection);
        } else if link.is::<tonic::ConnectError>() || is_refusal(link) {
            return true;
        }
    }
    false
}

/// `error`, what caused it, what caused that.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&link| beneath(link))
}

/// An [`io::Error`] gives the source of what it wraps as its own, and so passes over what it wraps.
fn beneath<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match link
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => link.source(),
    }
}

fn is_refusal(link: &(dyn Error + 'static)) -> bool {
    if let Some(stream) = link.downcast_ref::<h2::Error>() {
        return is_unprocessed(stream);
    }
    link.downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn never_taken_up(connection: &hyper::Error) -> bool {
    let stream = connection
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    stream.is_some_and(is_unprocessed)
}

fn is_unprocessed(stream: &h2::Error) -> bool {
    let refused = stream.reason() == Some(h2::Reason::REFUSED_STREAM);
    refused || (stream.is_go_away() && stream.is_remote())
}

#[cfg(test)]
mod tests;
