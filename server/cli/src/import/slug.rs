//! Names for policies, made of what the policies concern.

use std::collections::BTreeSet;

use fusebox_core::key::MAX_SLUG;

/// Bytes of a checksum with the hyphen before it.
const SUFFIX: usize = 9;

/// Gives each operation a name that no other has; the same for the same operations in the same
/// order.
#[derive(Debug, Default)]
pub(super) struct Slugs(BTreeSet<String>);

impl Slugs {
    /// The operation in the alphabet of policy names; with a checksum of it if it had to be cut, or
    /// if another one reads alike.
    pub(super) fn of(&mut self, operation: &str) -> String {
        let letters = operation.trim_end_matches("/*").chars().map(letter);
        let whole: String = letters.collect();
        let slug = whole.trim_matches(['-', '_', '.']);
        if slug.len() <= MAX_SLUG && !slug.is_empty() && self.0.insert(slug.to_owned()) {
            return slug.to_owned();
        }
        // Only ASCII is left, so that every byte ends a character.
        let cut = &slug[..slug.len().min(MAX_SLUG - SUFFIX)];
        let mut sum = checksum(operation);
        loop {
            let slug = format!("{cut}-{sum:08x}");
            let slug = slug.trim_start_matches('-').to_owned();
            if self.0.insert(slug.clone()) {
                return slug;
            }
            sum = sum.wrapping_add(1);
        }
    }
}

fn letter(c: char) -> char {
    match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_' | '.') => c,
        '/' => '.',
        _ => '-',
    }
}

/// FNV-1a, of 32 bits.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum: u32, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::PolicyName;

    use super::*;

    #[test]
    fn a_name_reads_like_what_it_concerns() {
        let mut slugs = Slugs::default();
        assert_eq!(slugs.of("pay.v1.Pay/Charge"), "pay.v1.pay.charge");
        assert_eq!(slugs.of("pay.v1.Pay/*"), "pay.v1.pay");
    }

    #[test]
    fn every_operation_has_a_legal_name_of_its_own() {
        let mut slugs = Slugs::default();
        let long = "x".repeat(200);
        let mut names = BTreeSet::new();
        for operation in [
            "a.B/C",
            "a.b/C",
            "a.b/c",
            "a/b.c",
            "_",
            "__",
            "é",
            &long,
            &format!("{long}/M"),
            "-a-",
            "a",
            "a/*",
            &format!("{}.x", "y".repeat(53)),
            &format!("{}.xx{}", "y".repeat(53), "z".repeat(50)),
        ] {
            let name = slugs.of(operation);
            assert!(PolicyName::new(&name).is_ok(), "{operation}: {name}");
            assert!(names.insert(name.clone()), "{operation}: {name}");
        }
    }
}
