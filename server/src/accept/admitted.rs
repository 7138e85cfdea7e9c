//! A connection that came in: it replays the preface, and ends when the door says so.
//!
//! The door read the HTTP/2 preface to hear what the peer speaks, and tonic wants to read it too.
//! tonic serves each connection on a task that nobody else holds, so the way to end one from here
//! is to let its reads fail.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::preface::OPENING_BYTES;

/// A connection whose preface has been read, and is read again.
#[derive(Debug)]
pub(crate) struct Admitted {
    stream: TcpStream,
    opening: [u8; OPENING_BYTES],
    replayed: usize,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _seat: OwnedSemaphorePermit,
}

impl Admitted {
    /// Replays `opening`; holds `seat` until it is dropped; its reads fail once `cut` is cancelled.
    pub(super) fn new(
        stream: TcpStream,
        opening: [u8; OPENING_BYTES],
        cut: &CancellationToken,
        seat: OwnedSemaphorePermit,
    ) -> io::Result<Self> {
        // Snapshots and acks are small and awaited; they must not sit in Nagle's buffer.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            opening,
            replayed: 0,
            // A token of its own: waiting on a shared one would lock it at every read.
            cut: Box::pin(cut.child_token().cancelled_owned()),
            _seat: seat,
        })
    }

    fn replay(&mut self, buf: &mut ReadBuf<'_>) {
        let left = &self.opening[self.replayed..];
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        self.replayed += now;
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.replayed < OPENING_BYTES {
            self.replay(buf);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
