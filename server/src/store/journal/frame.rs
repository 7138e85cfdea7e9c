//! How bytes on the disk prove that they are whole.
//!
//! ```text
//!   ┌─────────────┬──────────────────┬─────────────────┐
//!   │ length, u32 │ crc32 of payload │ payload         │   numbers little-endian
//!   └─────────────┴──────────────────┴─────────────────┘
//! ```
//!
//! An empty payload is not a frame: eight zero bytes, which a file system may leave behind after a
//! power cut, would be a valid one. A length is bounded before anything is allocated for it.

use std::io::{self, Read};

use crate::store::writer::COMMIT_BYTES;

/// Bytes before a payload.
pub(super) const HEAD_BYTES: usize = 8;
/// Longest payload.
pub(super) const PAYLOAD_BYTES: usize = COMMIT_BYTES;

/// A frame around `payload`, which must have 1 to [`PAYLOAD_BYTES`] bytes.
pub(super) fn frame(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|&length| fits(length))
        .ok_or_else(|| {
            let bytes = payload.len();
            io::Error::other(format!("{bytes} bytes; a frame takes 1 to {PAYLOAD_BYTES}"))
        })?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len());
    frame.extend(length.to_le_bytes());
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(payload);
    Ok(frame)
}

fn fits(length: u32) -> bool {
    (1..=PAYLOAD_BYTES).contains(&(length as usize))
}

/// What stands at a place in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame's payload.
    Frame(Vec<u8>),
    /// The end of the file.
    End,
    /// No frame, and why not.
    Bad(String),
}

/// Reads what stands at the reader's place.
pub(super) fn read(reader: &mut impl Read) -> io::Result<Found> {
    let head = read_up_to(reader, HEAD_BYTES)?;
    let Some((length, crc)) = split_head(&head) else {
        return Ok(match head.len() {
            0 => Found::End,
            bytes => Found::Bad(format!("{bytes} bytes; a frame's head has {HEAD_BYTES}")),
        });
    };
    if !fits(length) {
        return Ok(Found::Bad(format!(
            "a frame of {length} bytes; 1 to {PAYLOAD_BYTES} are allowed"
        )));
    }
    let payload = read_up_to(reader, length as usize)?;
    Ok(check(payload, length, crc))
}

fn check(payload: Vec<u8>, length: u32, crc: u32) -> Found {
    if payload.len() != length as usize {
        let bytes = payload.len();
        return Found::Bad(format!("a frame of {length} bytes ends after {bytes}"));
    }
    match crc32fast::hash(&payload) {
        actual if actual == crc => Found::Frame(payload),
        actual => Found::Bad(format!(
            "checksum {crc:08x}, but the bytes have {actual:08x}"
        )),
    }
}

fn read_up_to(reader: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(bytes);
    // usize fits into u64 wherever Rust has std.
    reader.take(bytes as u64).read_to_end(&mut buffer)?;
    Ok(buffer)
}

fn split_head(head: &[u8]) -> Option<(u32, u32)> {
    let (length, rest) = head.split_first_chunk::<4>()?;
    let crc = rest.first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length), u32::from_le_bytes(*crc)))
}

/// Whether a whole frame begins anywhere in `bytes`.
///
/// Someone could hide one in a policy's text. After a power cut in that very write the journal
/// would be taken for damaged: a start refused, and nothing lost.
pub(super) fn any_in(bytes: &[u8]) -> bool {
    // None begins among the zeros at the end, of which there may be millions.
    let last = bytes.iter().rposition(|&byte| byte != 0);
    last.is_some_and(|last| (0..=last).any(|at| begins(&bytes[at..])))
}

fn begins(bytes: &[u8]) -> bool {
    split_head(bytes)
        .filter(|&(length, _)| fits(length))
        .and_then(|(length, crc)| Some((bytes[HEAD_BYTES..].get(..length as usize)?, crc)))
        .is_some_and(|(payload, crc)| crc32fast::hash(payload) == crc)
}
