//! What an operation talks to.

use fusebox_core::key::Kind;

use crate::v1;

/// A number that names no kind this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a known kind")]
pub struct UnknownKind;

/// The kind, `None` if unspecified.
pub fn kind_from_wire(wire: i32) -> Result<Option<Kind>, UnknownKind> {
    Ok(match v1::Kind::try_from(wire).map_err(|_| UnknownKind)? {
        v1::Kind::Unspecified => None,
        v1::Kind::Database => Some(Kind::Database),
        v1::Kind::Api => Some(Kind::Api),
        v1::Kind::Cache => Some(Kind::Cache),
        v1::Kind::File => Some(Kind::File),
        v1::Kind::Ml => Some(Kind::Ml),
        v1::Kind::Custom => Some(Kind::Custom),
    })
}

/// The kind, unspecified if `None`.
pub fn kind_to_wire(kind: Option<Kind>) -> v1::Kind {
    match kind {
        None => v1::Kind::Unspecified,
        Some(Kind::Database) => v1::Kind::Database,
        Some(Kind::Api) => v1::Kind::Api,
        Some(Kind::Cache) => v1::Kind::Cache,
        Some(Kind::File) => v1::Kind::File,
        Some(Kind::Ml) => v1::Kind::Ml,
        Some(Kind::Custom) => v1::Kind::Custom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
            assert_eq!(kind_from_wire(kind_to_wire(kind) as i32), Ok(kind));
        }
    }

    #[test]
    fn a_number_without_a_kind_is_refused() {
        for wire in [-1, 7, i32::MAX] {
            assert_eq!(kind_from_wire(wire), Err(UnknownKind));
        }
    }
}
