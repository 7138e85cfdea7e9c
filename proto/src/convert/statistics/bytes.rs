//! Protobuf's encoding, as far as reports need it, read where it lies.
//!
//! What is out of the ordinary is declined, not refused: whoever asks then reads the message in the
//! ordinary way, which knows what that means.

/// What is left to be read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// A field as it stands there.
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

const VARINT: u64 = 0;
const BYTES: u64 = 2;
/// Seven bits each.
const MAX_VARINT_BYTES: usize = 10;

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next field's number and value; `None` if there is none that is well-formed and of a kind
    /// that reports have.
    #[inline]
    pub(super) fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Varint(self.varint()?),
            BYTES => Value::Bytes(self.bytes()?),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    /// The next number; `None` if it is cut off or of more than 64 bits.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Some(byte.into())
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.0 = rest;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, &byte) in self.0.iter().take(MAX_VARINT_BYTES).enumerate() {
            if at == MAX_VARINT_BYTES - 1 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_prost_reads_it(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80_u8..=0xff], 0..12),
            number in any::<u64>(),
        ) {
            let mut ours = Cursor::new(&bytes);
            let mut theirs = &bytes[..];
            let expected = decode_varint(&mut theirs).ok();
            prop_assert_eq!(ours.varint(), expected);
            if expected.is_some() {
                prop_assert_eq!(ours.0, theirs);
            }
            let mut written = Vec::new();
            encode_varint(number, &mut written);
            prop_assert_eq!(Cursor::new(&written).varint(), Some(number));
        }
    }
}
