//! What a peer speaks, judged by its first bytes.
//!
//! HTTP/2 with prior knowledge begins with 24 fixed bytes and a SETTINGS frame (RFC 9113, section
//! 3.4). Whatever does not is only told apart to give a better answer. Nothing is read beyond that
//! frame's head, so that what must be replayed is always [`OPENING_BYTES`] long.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How every HTTP/2 connection begins.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The head of a frame: length (3), type (1), flags (1), stream (4).
const FRAME_HEAD: usize = 9;
/// The type of a SETTINGS frame.
const SETTINGS: u8 = 0x4;
/// What is read to judge a peer.
pub(super) const OPENING_BYTES: usize = PREFACE.len() + FRAME_HEAD;
/// Most of it that is shown in a log.
const SHOWN_BYTES: usize = 24;
/// The longest method of HTTP/1 that is looked for.
const METHOD_BYTES: usize = 7;
/// A TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// What tonic serves.
    Http2,
    /// Somebody meant the HTTP port.
    Http1,
    /// Somebody expects a certificate.
    Tls,
    /// None of these.
    Unknown,
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http2 => "HTTP/2",
            Self::Http1 => "HTTP/1",
            Self::Tls => "TLS",
            Self::Unknown => "unknown",
        })
    }
}

/// What a peer said first.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) speech: Speech,
    bytes: [u8; OPENING_BYTES],
    len: usize,
}

impl Heard {
    /// The last bytes for a log: at most 24 of them, and nothing but printable ASCII.
    pub(super) fn escaped(&self) -> String {
        let shown = self.len.saturating_sub(SHOWN_BYTES);
        self.bytes[shown..self.len].escape_ascii().to_string()
    }

    /// All of it, once it is known to be HTTP/2.
    pub(super) const fn opening(&self) -> [u8; OPENING_BYTES] {
        self.bytes
    }
}

/// Reads until the speech is known; `None` if the peer closes before that.
pub(super) async fn listen(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Heard>> {
    let (mut bytes, mut len) = ([0; OPENING_BYTES], 0);
    loop {
        // Only a part of an opening leaves something undecided: there is always room.
        match io.read(&mut bytes[len..]).await? {
            0 => return Ok(None),
            more => len += more,
        }
        if let Some(speech) = judge(&bytes[..len]) {
            return Ok(Some(Heard { speech, bytes, len }));
        }
    }
}

/// What `said` is the beginning of; `None` while more than one answer is possible.
fn judge(said: &[u8]) -> Option<Speech> {
    if let Some(frame) = said.strip_prefix(PREFACE) {
        return judge_frame(frame);
    }
    if PREFACE.starts_with(said) {
        return None;
    }
    let method = said
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    match said.get(method) {
        _ if said.first() == Some(&TLS_HANDSHAKE) => Some(Speech::Tls),
        None if method <= METHOD_BYTES => None,
        Some(b' ') if (1..=METHOD_BYTES).contains(&method) => Some(Speech::Http1),
        _ => Some(Speech::Unknown),
    }
}

/// The first frame must be SETTINGS, of the connection as a whole.
fn judge_frame(head: &[u8]) -> Option<Speech> {
    match head {
        [_, _, _, SETTINGS, _, 0, 0, 0, 0, ..] => Some(Speech::Http2),
        [_, _, _, SETTINGS, rest @ ..] if rest.len() < 5 => None,
        [_, _, _, _, ..] => Some(Speech::Unknown),
        _ => None,
    }
}

/// An opening as a client with nothing to set sends it.
#[cfg(test)]
pub(super) const OPENING: &[u8; OPENING_BYTES] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_a_peer_speaks() {
        let table: &[(&[u8], Option<Speech>)] = &[
            (b"", None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0", None),
            (OPENING, Some(Speech::Http2)),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x01",
                Some(Speech::Unknown),
            ),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\x01",
                Some(Speech::Unknown),
            ),
            (b"PRI * HTTP/1.1\r\n", Some(Speech::Http1)),
            (b"PUT / HTTP/1.1\r\n", Some(Speech::Http1)),
            (b"GET /healthz HTTP/1.1\r\n", Some(Speech::Http1)),
            (b"G", None),
            (b"OPTIONS", None),
            (b"OPTIONS ", Some(Speech::Http1)),
            (b"PROPFIND / HTTP/1.1", Some(Speech::Unknown)),
            (b" GET", Some(Speech::Unknown)),
            (b"get / HTTP/1.1", Some(Speech::Unknown)),
            (b"\x16\x03\x01", Some(Speech::Tls)),
            (b"\0\xff", Some(Speech::Unknown)),
        ];
        for (said, speech) in table {
            assert_eq!(judge(said), *speech, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn whatever_is_said_the_opening_decides() {
        assert_eq!(judge(&[b'A'; 24]), Some(Speech::Unknown));
        for split in 0..PREFACE.len() {
            let mut said = *OPENING;
            said[split] ^= 0x80;
            assert!(judge(&said).is_some());
        }
    }

    #[tokio::test]
    async fn a_preface_that_comes_byte_by_byte_is_heard() {
        let (mut near, mut far) = tokio::io::duplex(1);
        let speaker = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, OPENING)
                .await
                .unwrap();
            far
        });
        let heard = listen(&mut near).await.unwrap().unwrap();
        assert_eq!(heard.speech, Speech::Http2);
        speaker.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_leaves_early_said_nothing() {
        let (mut near, far) = tokio::io::duplex(64);
        drop(far);
        assert!(listen(&mut near).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn garbage_is_written_to_a_log_escaped() {
        let heard = listen(&mut &b"\x1b[31m\n\xff"[..]).await.unwrap().unwrap();
        assert_eq!(heard.escaped(), "\\x1b[31m\\n\\xff");
    }
}
