//! gRPC's messages: put together from DATA frames, and laid into them.

use super::{STREAM, frame};

/// Whether compressed (1), length (4).
const PREFIX_BYTES: usize = 5;

/// Puts messages together that DATA frames cut apart.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    partial: Vec<u8>,
}

impl Assembly {
    /// Takes the next data, and gives every message that is whole by now.
    pub(crate) fn push(&mut self, data: &[u8], mut each: impl FnMut(&[u8])) {
        if self.partial.is_empty() {
            let rest = drain(data, &mut each);
            self.partial.extend_from_slice(rest);
            return;
        }
        self.partial.extend_from_slice(data);
        let left = drain(&self.partial, &mut each).len();
        let taken = self.partial.len() - left;
        self.partial.drain(..taken);
    }
}

/// Gives the whole messages at the beginning of `bytes`, and returns what follows them.
fn drain<'a>(mut bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while let Some((message, rest)) = split(bytes) {
        each(message);
        bytes = rest;
    }
    bytes
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_compressed, l0, l1, l2, l3], rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
    let len = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
    rest.split_at_checked(len)
}

/// Appends a DATA frame that carries one message; how much of the windows it takes.
pub(crate) fn put(out: &mut Vec<u8>, message: &[u8]) -> usize {
    let len = PREFIX_BYTES + message.len();
    frame::put_head(out, len, frame::DATA, 0, STREAM);
    out.push(0);
    let prefix = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(message);
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_however_the_data_was_cut() {
        let mut frames = Vec::new();
        for message in [&b"first"[..], b"", &[9; 700]] {
            put(&mut frames, message);
        }
        let mut data = Vec::new();
        let mut rest = &frames[..];
        while let Some((frame, more)) = frame::split(rest) {
            data.extend_from_slice(frame.data());
            rest = more;
        }
        for step in [1, 3, 7, 64, data.len()] {
            let (mut assembly, mut got) = (Assembly::default(), Vec::new());
            for piece in data.chunks(step) {
                assembly.push(piece, |message| got.push(message.to_vec()));
            }
            assert_eq!(got, [b"first".to_vec(), vec![], vec![9; 700]], "{step}");
        }
    }
}
