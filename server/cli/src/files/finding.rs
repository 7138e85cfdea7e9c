//! What is wrong in a file, with where it stands there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Of a refused text so many characters are told back.
const MAX_SHOWN: usize = 80;

/// A place in a file, counted from one; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) fn whole(file: &Arc<str>) -> Self {
        Self::new(file, 0, 0)
    }

    pub(crate) fn new(file: &Arc<str>, line: usize, column: usize) -> Self {
        Self {
            file: Arc::clone(file),
            line,
            column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One thing wrong, or odd: where, about which field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) at: Place,
    /// The field's path in the contract's names; empty if it is about no field.
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(at: Place, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            at,
            field: field.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, field, message } = self;
        match field.as_str() {
            "" => write!(f, "{at}: {message}"),
            field => write!(f, "{at}: {field}: {message}"),
        }
    }
}

/// Where each field of one policy stands in its file, by the field's path.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    start: Place,
    fields: BTreeMap<String, Written>,
}

/// A field as it is written.
#[derive(Clone, Debug)]
struct Written {
    at: Place,
    text: Option<String>,
}

impl Index {
    /// Of a policy that begins there.
    pub(crate) fn new(start: Place) -> Self {
        Self {
            start,
            fields: BTreeMap::new(),
        }
    }

    /// `text` is what stands there, if it is a single word.
    pub(crate) fn add(&mut self, path: &str, at: Place, text: Option<&str>) {
        let text = text.map(str::to_owned);
        self.fields.insert(path.to_owned(), Written { at, text });
    }

    /// Where the field stands, or else the nearest that holds it, or else the policy.
    pub(crate) fn place(&self, path: &str) -> &Place {
        let parents = std::iter::successors(Some(path), |path| {
            path.rfind(['.', '[']).map(|end| &path[..end])
        });
        let found = parents.filter_map(|path| self.fields.get(path)).next();
        found.map_or(&self.start, |written| &written.at)
    }

    /// What is written as the field's value, if the field is there and a single word.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.fields.get(path)?.text.as_deref()
    }
}

/// As much of a text as an error repeats, on one line and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(MAX_SHOWN).collect();
    let plain = !short.is_empty() && !short.contains(|c: char| c.is_control() || c == '\u{202e}');
    let more = if short.len() < text.len() { ".." } else { "" };
    if plain {
        format!("{short}{more}")
    } else {
        format!("{short:?}{more}")
    }
}

/// The path of a name in what has that path.
pub(crate) fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// The known name that is nearest to a wrong one, if any is near.
pub(crate) fn nearest<'n>(wrong: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    /// As alike as two names must be, for one to be taken for the other.
    const ALIKE: f64 = 0.75;
    let score = |name: &str| strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase());
    known
        .map(|name| (score(name), name))
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_there_is_told_where_its_nearest_parent_stands() {
        let file = Arc::from("a.yaml");
        let mut index = Index::new(Place::new(&file, 1, 1));
        index.add("rules", Place::new(&file, 2, 1), None);
        index.add("rules.retry", Place::new(&file, 3, 3), None);
        index.add(
            "rules.retry.max_attempts",
            Place::new(&file, 4, 5),
            Some("4"),
        );
        let line = |path| index.place(path).line;
        assert_eq!(line("rules.retry.max_attempts"), 4);
        assert_eq!(line("rules.retry.base_delay"), 3);
        assert_eq!(line("rules.hedge.delay"), 2);
        assert_eq!(line("selector"), 1);
        assert_eq!(index.text("rules.retry.max_attempts"), Some("4"));
        assert_eq!(index.text("rules.retry"), None);
    }

    #[test]
    fn what_is_repeated_is_short_and_on_one_line() {
        assert_eq!(shown("0.8s"), "0.8s");
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown(&"x".repeat(99)).len(), MAX_SHOWN + 2);
    }

    #[test]
    fn only_a_name_that_is_alike_is_proposed() {
        let known = || ["timeout", "retry", "circuitBreaker"].into_iter();
        assert_eq!(nearest("timout", known()), Some("timeout"));
        assert_eq!(nearest("circuit_braker", known()), Some("circuitBreaker"));
        assert_eq!(nearest("zone", known()), None);
    }
}
