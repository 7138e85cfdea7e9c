//! A store that ends with its process: for tests, and for servers that are to forget.
//!
//! It is the writer thread without a disk. Everything else, above all who sees what and when, is
//! as on a disk, so that a test against it is a test against any.

use std::io;
use std::sync::Arc;

use super::live::Table;
use super::local::Local;
use super::record::{Entry, random_incarnation};
use super::writer::Disk;
use super::{Clock, OpenError, Store};

/// An empty store of a new incarnation.
pub fn open(clock: Clock) -> Result<Arc<dyn Store>, OpenError> {
    Local::start(random_incarnation()?, Table::default(), NoDisk, clock)
}

struct NoDisk;

impl Disk for NoDisk {
    fn commit(&mut self, _payload: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn index(&mut self, _entries: &[Entry]) -> Result<(), String> {
        Ok(())
    }

    fn flush(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::conformance::conform;
    use super::super::fixture;
    use super::open;

    conform!((open(fixture::clock()).unwrap(), ()));

    #[test]
    fn each_store_is_an_incarnation_of_its_own() {
        let [one, other] = [(); 2].map(|()| open(fixture::clock()).unwrap().incarnation());
        assert_ne!(one, other);
    }
}
