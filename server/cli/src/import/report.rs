//! What became of each key of an input.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use crate::files::Place;

/// What became of a key that was not simply translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A policy says something like it.
    Approximated,
    /// No policy can say it, nor anything below it.
    None,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approximated => "approximated",
            Self::None => "no counterpart",
        })
    }
}

/// A key that was not simply translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    at: Place,
    pub(super) path: String,
    pub(super) fate: Fate,
    why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            path,
            fate,
            why,
        } = self;
        write!(f, "{at}: {path}: {fate}: {why}")
    }
}

/// Everything that was seen of an input.
#[derive(Debug, Default)]
pub(super) struct Report {
    seen: BTreeSet<String>,
    notes: Vec<Note>,
}

impl Report {
    /// A key has been looked at; unless a note is made, it is translated.
    pub(super) fn see(&mut self, path: &str) {
        self.seen.insert(path.to_owned());
    }

    pub(super) fn note(&mut self, at: Place, path: &str, fate: Fate, why: impl Into<String>) {
        let (path, why) = (path.to_owned(), why.into());
        self.notes.push(Note {
            at,
            path,
            fate,
            why,
        });
    }

    /// In the order of the input.
    pub(super) fn notes(&self) -> Vec<&Note> {
        let mut notes: Vec<_> = self.notes.iter().collect();
        notes.sort_by(|a, b| a.at.cmp(&b.at));
        notes
    }

    pub(super) fn count(&self, fate: Fate) -> usize {
        let paths = self.notes.iter().filter(|note| note.fate == fate);
        paths.map(|note| &note.path).collect::<BTreeSet<_>>().len()
    }

    /// Keys without a note.
    pub(super) fn translated(&self) -> usize {
        let noted: BTreeSet<_> = self.notes.iter().map(|note| &note.path).collect();
        self.seen
            .iter()
            .filter(|path| !noted.contains(path))
            .count()
    }

    /// Whether it is known what became of a key: it was looked at, or told with what holds it.
    #[cfg(test)]
    pub(super) fn knows(&self, path: &str) -> bool {
        let holds = |note: &Note| {
            let below = path.strip_prefix(note.path.as_str());
            let below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            below && note.fate == Fate::None
        };
        self.seen.contains(path) || self.notes.iter().any(holds)
    }

    /// The notes about these paths as comments of YAML.
    pub(super) fn comment(&self, about: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for (fate, title) in [
            (Fate::None, "No policy can say:"),
            (Fate::Approximated, "Said only nearly:"),
        ] {
            let notes = self.notes().into_iter();
            let notes: Vec<_> = notes
                .filter(|note| note.fate == fate && about(&note.path))
                .collect();
            if !notes.is_empty() {
                // Cannot fail: a string takes everything.
                writeln!(text, "# {title}").ok();
            }
            for Note { path, why, .. } in notes {
                writeln!(text, "#   {path}: {why}").ok();
            }
        }
        text
    }
}
