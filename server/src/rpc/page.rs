//! Pages: how many, from where, and how much fits into one answer.
//!
//! A page token is opaque to its holder: the [`Place`] where the last page ended, with a checksum
//! over that and the whole query, in hexadecimal. So a token of another query, or one that somebody
//! made up, is refused instead of answering with the wrong page. It holds no state of this server
//! and outlives it. How many items a page has is no part of the query.

use std::fmt::Debug;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use prost::Message;

/// Items on a page, if the request does not say.
pub(super) const DEFAULT_ITEMS: usize = 100;
/// Most items on a page.
pub(super) const MAX_ITEMS: usize = 1000;
/// Bytes of items on a page: below what a client receives by default (4 MiB), whatever they hold.
pub(super) const MAX_BYTES: usize = 3 * 1024 * 1024;

const CHECKSUM_BYTES: usize = size_of::<u32>();

/// How many items are wanted, or a finding.
pub(super) fn size(found: &mut Violations, wire: i32) -> usize {
    match usize::try_from(wire) {
        Ok(0) => DEFAULT_ITEMS,
        Ok(size) => size.min(MAX_ITEMS),
        Err(_) => {
            found.add("page_size", wire, "must not be negative");
            DEFAULT_ITEMS
        }
    }
}

/// As many of `items` as fit into one answer; the first always does.
pub(super) fn fit<M: Message>(items: impl IntoIterator<Item = M>) -> Vec<M> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for item in items {
        bytes += item.encoded_len();
        if bytes > MAX_BYTES && !page.is_empty() {
            break;
        }
        page.push(item);
    }
    page
}

/// Where an item stands in its list.
pub(super) trait Place: Sized {
    /// Read back by [`read`](Place::read) alone.
    fn write(&self) -> String;
    /// `None` for a text that is no place.
    fn read(text: &str) -> Option<Self>;
}

impl Place for PolicyId {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Self::new(namespace, name).ok()
    }
}

impl Place for Revision {
    fn write(&self) -> String {
        self.0.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl Place for (Revision, u32) {
    fn write(&self) -> String {
        format!("{}/{}", self.0.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (revision, index) = text.split_once('/')?;
        Some((Revision::read(revision)?, index.parse().ok()?))
    }
}

/// The token for what follows `last` in `query`, which is the list's name and all that selects.
pub(super) fn token(query: &impl Debug, last: &impl Place) -> String {
    let place = last.write();
    let checksum = checksum(query, &place).to_be_bytes();
    let bytes = checksum.iter().chain(place.as_bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Where the page before ended; `None` for the first page, or with a finding.
pub(super) fn after<P: Place>(
    found: &mut Violations,
    query: &impl Debug,
    token: &str,
) -> Option<P> {
    if token.is_empty() {
        return None;
    }
    let place = place(query, token);
    if place.is_none() {
        let value = format!("{} characters", token.len());
        found.add(
            "page_token",
            value,
            "must be the next_page_token of the same query",
        );
    }
    place
}

fn place<P: Place>(query: &impl Debug, token: &str) -> Option<P> {
    let bytes = unhex(token)?;
    let (sum, place) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    let place = std::str::from_utf8(place).ok()?;
    let genuine = u32::from_be_bytes(*sum) == checksum(query, place);
    P::read(place).filter(|_| genuine)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let digits: Vec<u8> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// `Debug` quotes texts, so that no two queries read alike.
fn checksum(query: &impl Debug, place: &str) -> u32 {
    crc32fast::hash(format!("{query:?}\0{place}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PolicyId {
        PolicyId::new("default", "payments").unwrap()
    }

    fn read<P: Place>(query: &str, token: &str) -> Result<Option<P>, Violations> {
        let mut found = Violations::none();
        let after = after(&mut found, &query, token);
        found.into_result(after)
    }

    #[test]
    fn a_token_leads_back_to_where_it_was_made() {
        assert_eq!(read("q", &token(&"q", &id())), Ok(Some(id())));
        let revision = Revision(u64::MAX);
        assert_eq!(read("q", &token(&"q", &revision)), Ok(Some(revision)));
        let place = (revision, 7);
        assert_eq!(read("q", &token(&"q", &place)), Ok(Some(place)));
        assert_eq!(read::<PolicyId>("q", ""), Ok(None));
    }

    #[test]
    fn a_token_of_another_query_or_a_made_up_one_is_refused() {
        let genuine = token(&"q", &id());
        let mut flipped = genuine.clone();
        flipped.replace_range(0..1, if genuine.starts_with('0') { "1" } else { "0" });
        for bad in [
            token(&"other", &id()),
            token(&"q", &Revision(7)),
            flipped,
            "x".into(),
            "ä".into(),
            genuine[2..].into(),
        ] {
            assert!(read::<PolicyId>("q", &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_page_has_a_hundred_items_unless_asked_and_never_more_than_a_thousand() {
        let mut found = Violations::none();
        let sizes = [0, 7, i32::MAX].map(|wire| size(&mut found, wire));
        assert_eq!(sizes, [100, 7, 1000]);
        assert!(found.is_empty());
        size(&mut found, -1);
        assert_eq!(found.to_string(), "page_size: must not be negative (-1)");
    }

    #[test]
    fn a_page_ends_where_its_bytes_do_but_holds_at_least_one() {
        let big = prost_types::Any {
            value: vec![0; MAX_BYTES],
            ..Default::default()
        };
        assert_eq!(fit([big.clone(), big]).len(), 1);
    }
}
