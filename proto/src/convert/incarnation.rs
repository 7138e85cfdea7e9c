//! A store's life: 16 bytes, most significant first.

use fusebox_core::revision::Incarnation;

/// Bytes that are no incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 16 bytes")]
pub struct InvalidIncarnation;

/// The incarnation, `None` if empty.
pub fn incarnation_from_wire(wire: &[u8]) -> Result<Option<Incarnation>, InvalidIncarnation> {
    if wire.is_empty() {
        return Ok(None);
    }
    let bytes = wire.try_into().map_err(|_| InvalidIncarnation)?;
    Ok(Some(Incarnation(u128::from_be_bytes(bytes))))
}

/// The incarnation's bytes.
pub fn incarnation_to_wire(incarnation: Incarnation) -> Vec<u8> {
    incarnation.0.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_sixteen_bytes_or_none() {
        let incarnation = Incarnation(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let wire = incarnation_to_wire(incarnation);
        assert_eq!(wire[..3], [1, 2, 3]);
        assert_eq!(incarnation_from_wire(&wire), Ok(Some(incarnation)));
        assert_eq!(incarnation_from_wire(&[]), Ok(None));
        for length in [1, 15, 17] {
            let wire = vec![0; length];
            assert_eq!(incarnation_from_wire(&wire), Err(InvalidIncarnation));
        }
    }
}
