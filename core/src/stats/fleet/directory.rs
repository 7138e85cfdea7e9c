//! Which operations a service has: by name for whoever asks, by number for whoever reports.
//!
//! Invariant: a number stands for its operation until nobody has an account there any more.

use std::collections::BTreeMap;

use crate::key::OperationName;

use super::operation::{Operation, OperationNo};
use super::service::OVERFLOW;

/// The operations of one service.
#[derive(Default)]
pub(super) struct Directory {
    places: Vec<Option<Box<Operation>>>,
    names: BTreeMap<OperationName, OperationNo>,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> Option<OperationNo> {
        self.names.get(name).copied()
    }

    pub(super) fn get(&self, no: OperationNo) -> Option<&Operation> {
        self.places.get(no.0)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, no: OperationNo) -> Option<&mut Operation> {
        self.places.get_mut(no.0)?.as_deref_mut()
    }

    /// The operation of that name, opened if need be.
    pub(super) fn open(&mut self, name: &OperationName) -> OperationNo {
        if let Some(no) = self.find(name.as_str()) {
            return no;
        }
        let free = self.places.iter().position(Option::is_none);
        let no = OperationNo(free.unwrap_or(self.places.len()));
        match self.places.get_mut(no.0) {
            Some(place) => *place = Some(Box::default()),
            None => self.places.push(Some(Box::default())),
        }
        self.names.insert(name.clone(), no);
        no
    }

    /// The operation that stands for all that find no room.
    pub(super) fn open_overflow(&mut self) -> OperationNo {
        let no = self.open(&OperationName::known(OVERFLOW));
        if let Some(operation) = self.get_mut(no) {
            operation.is_overflow = true;
        }
        no
    }

    /// Forgets those that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&Operation) -> bool) {
        let places = &mut self.places;
        self.names.retain(|_, no| {
            let Some(place) = places.get_mut(no.0) else {
                return false;
            };
            let kept = place.as_deref().is_some_and(&keep);
            if !kept {
                *place = None;
            }
            kept
        });
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OperationName, OperationNo, &Operation)> {
        let names = self.names.iter();
        names.filter_map(|(name, &no)| Some((name, no, self.get(no)?)))
    }

    /// How many numbers there are; each is below that.
    pub(super) fn numbers(&self) -> usize {
        self.places.len()
    }
}
