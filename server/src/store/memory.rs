//! A store that ends with its process: for tests, and for servers that are to forget.
//!
//! It is the writer thread without a disk. Everything else, above all who sees what and when, is
//! as on a disk, so that a test against it is a test against any.

use std::sync::Arc;

use super::journal::CommitError;
use super::live::Live;
use super::local::{Life, Local};
use super::record::random_incarnation;
use super::table::Table;
use super::writer::{Disk, Figures, Halt};
use super::{Clock, OpenError, Retention, Store};

/// An empty store of a new incarnation.
pub fn open(clock: Clock, retention: Retention) -> Result<Arc<dyn Store>, OpenError> {
    let life = Life {
        incarnation: random_incarnation()?,
        adopted: false,
    };
    Local::start(life, Table::new(retention), NoDisk, clock)
}

struct NoDisk;

impl Disk for NoDisk {
    fn begin(&mut self, _live: &Arc<Live>) {}

    fn commit(&mut self, _payload: &[u8]) -> Result<(), CommitError> {
        Ok(())
    }

    fn tend(&mut self, _live: &Live) -> Result<(), Halt> {
        Ok(())
    }

    fn has_room(&self) -> bool {
        true
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn end(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::conformance::conform;
    use super::super::{Retention, fixture};
    use super::open;

    conform!((open(fixture::clock(), Retention::default()).unwrap(), ()));

    #[test]
    fn each_store_is_an_incarnation_of_its_own() {
        let [one, other] = [(); 2].map(|()| {
            open(fixture::clock(), Retention::default())
                .unwrap()
                .incarnation()
        });
        assert_ne!(one, other);
    }
}
