//! Protobuf's fields, walked without being decoded: a snapshot's numbers are wanted, not its policies.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A varint or a fixed number.
    Number(u64),
    /// A message, a string or bytes.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The fields of a message, as (number, value); ends at whatever is garbled.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(u64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Number(u32::from_le_bytes(*self.take(4)?.first_chunk()?).into()),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // The lowest seven bits fit.
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

/// Appends a field that is a varint.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

/// Appends a field that is a message or bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use fusebox_proto::v1;
    use prost::Message;

    use super::*;

    #[test]
    fn the_walk_finds_what_prost_wrote() {
        let snapshot = v1::Snapshot {
            overrides: Vec::new(),
            incarnation: vec![1; 16],
            revision: 300,
            digest: u64::MAX - 1,
            policies: vec![v1::Policy::default(); 2],
            adopted: true,
        };
        let bytes = snapshot.encode_to_vec();
        let found: Vec<_> = fields(&bytes).collect();
        assert_eq!(
            found,
            [
                (1, Value::Bytes(&[1; 16])),
                (2, Value::Number(300)),
                (3, Value::Number(u64::MAX - 1)),
                (4, Value::Bytes(&[])),
                (4, Value::Bytes(&[])),
                (6, Value::Number(1)),
            ]
        );
    }

    #[test]
    fn prost_reads_what_is_put() {
        let (mut ack, mut request) = (Vec::new(), Vec::new());
        put_number(&mut ack, 1, 70_000);
        put_bytes(&mut request, 2, &ack);
        let request = v1::ConnectRequest::decode(&request[..]).unwrap();
        let ack = v1::Ack { revision: 70_000 };
        assert_eq!(
            request.message,
            Some(v1::connect_request::Message::Ack(ack))
        );
    }

    #[test]
    fn what_is_garbled_ends_the_walk() {
        for bytes in [&[0x0a, 5, 1][..], &[0x08], &[0xff; 11], &[0x0b]] {
            assert_eq!(fields(bytes).count(), 0, "{bytes:?}");
        }
    }
}
