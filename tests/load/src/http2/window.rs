//! Flow control, both ways: what the server lets us send, and what it is due to hear that we read.

use super::STREAM;
use super::frame::{self, Frame};
use super::opening::{DEFAULT_WINDOW, INITIAL_WINDOW, RECEIVE_WINDOW};

/// The windows of one connection with one stream.
#[derive(Debug)]
pub(crate) struct Windows {
    connection: i64,
    stream: i64,
    /// What the stream's window began with.
    initial: i64,
    /// Read, and not told of.
    consumed: u32,
}

impl Default for Windows {
    fn default() -> Self {
        let initial = i64::from(DEFAULT_WINDOW);
        Self {
            connection: initial,
            stream: initial,
            initial,
            consumed: 0,
        }
    }
}

impl Windows {
    /// Whether a DATA frame of that length may be sent; it is taken to be.
    pub(crate) fn take(&mut self, len: usize) -> bool {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let free = len <= self.connection.min(self.stream);
        if free {
            self.connection -= len;
            self.stream -= len;
        }
        free
    }

    /// A WINDOW_UPDATE came.
    pub(crate) fn updated(&mut self, frame: &Frame<'_>) {
        let Some(&more) = frame.payload.first_chunk() else {
            return;
        };
        let more = i64::from(u32::from_be_bytes(more) & 0x7fff_ffff);
        match frame.stream {
            0 => self.connection += more,
            _ => self.stream += more,
        }
    }

    /// SETTINGS came.
    pub(crate) fn settings(&mut self, payload: &[u8]) {
        let (settings, _) = payload.as_chunks::<6>();
        for &[n0, n1, v0, v1, v2, v3] in settings {
            if u16::from_be_bytes([n0, n1]) == INITIAL_WINDOW {
                let initial = i64::from(u32::from_be_bytes([v0, v1, v2, v3]));
                self.stream += initial - self.initial;
                self.initial = initial;
            }
        }
    }

    /// So much was read; appends what the server is due to hear of it.
    pub(crate) fn read(&mut self, len: usize, out: &mut Vec<u8>) {
        self.consumed += u32::try_from(len).unwrap_or_default();
        if self.consumed < RECEIVE_WINDOW / 2 {
            return;
        }
        let consumed = std::mem::take(&mut self.consumed).to_be_bytes();
        for stream in [0, STREAM] {
            frame::put(out, frame::WINDOW_UPDATE, 0, stream, &consumed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_beyond_the_servers_windows() {
        let mut windows = Windows::default();
        assert!(windows.take(65_535));
        assert!(!windows.take(1));
        let payload = 10_u32.to_be_bytes();
        for stream in [0, STREAM] {
            let kind = frame::WINDOW_UPDATE;
            windows.updated(&Frame {
                kind,
                flags: 0,
                stream,
                payload: &payload,
            });
        }
        assert!(windows.take(10) && !windows.take(1));
    }

    #[test]
    fn a_new_initial_window_moves_the_stream_alone() {
        let mut windows = Windows::default();
        let (name, value) = (INITIAL_WINDOW.to_be_bytes(), 100_000_u32.to_be_bytes());
        windows.settings(&[&name[..], &value].concat());
        assert_eq!((windows.stream, windows.connection), (100_000, 65_535));
    }

    #[test]
    fn a_server_hears_of_what_was_read_once_it_is_half_a_window() {
        let (mut windows, mut out) = (Windows::default(), Vec::new());
        let half = usize::try_from(RECEIVE_WINDOW / 2).unwrap();
        windows.read(half - 1, &mut out);
        assert!(out.is_empty());
        windows.read(1, &mut out);
        assert_eq!(out.len(), 2 * (frame::HEAD_BYTES + 4));
    }
}
