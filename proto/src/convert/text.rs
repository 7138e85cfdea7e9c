//! Names and free text, and how much of a refused one is repeated.

use std::collections::BTreeMap;

use fusebox_core::key::{InvalidName, LabelKey, LabelValue, Labels, MAX_LABELS};
use fusebox_core::policy::Violations;

/// Of a refused text so many bytes are told back. Errors travel in HTTP/2 trailers, which are
/// small.
const MAX_SHOWN: usize = 80;

/// As much of `text` as an error repeats.
pub(super) fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SHOWN)]
}

/// A name, or a finding about `field`.
pub(super) fn name<'t, T>(
    found: &mut Violations,
    field: &str,
    text: &'t str,
    check: impl FnOnce(&'t str) -> Result<T, InvalidName>,
) -> Option<T> {
    found.keep(field, shown(text), check(text))
}

/// Free text of at most `max` bytes, or a finding about `field` and nothing.
pub(super) fn free(found: &mut Violations, field: &str, text: &str, max: usize) -> String {
    if text.len() > max {
        found.add(
            field,
            format!("{} bytes", text.len()),
            format!("must be at most {max} bytes"),
        );
        return String::new();
    }
    text.to_owned()
}

/// Labels, or a finding for each that is none.
pub(super) fn labels(
    found: &mut Violations,
    field: &str,
    wire: &BTreeMap<String, String>,
) -> Labels {
    let (count, max) = (wire.len(), MAX_LABELS);
    if count > max {
        found.add(
            field,
            count,
            InvalidName::TooManyLabels { count, max }.to_string(),
        );
        return Labels::default();
    }
    for (key, value) in wire {
        name(found, field, key, LabelKey::new);
        let field = format!("{field}.{}", shown(key));
        name(found, &field, value, LabelValue::new);
    }
    // Every reason it can fail for has just been told.
    Labels::new(wire).unwrap_or_default()
}
