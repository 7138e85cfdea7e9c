//! Everything that is wrong with an input, collected before anything is refused.

use std::fmt;

/// One thing wrong: where, what was found, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, as the contract writes it ("rules.timeout.attempt").
    pub field: String,
    /// The value found.
    pub value: String,
    /// What it should have been.
    pub bound: String,
}

impl Violation {
    /// What it should have been, and what it is; `value` as an edge wants it shown.
    pub fn describe(&self, value: &str) -> String {
        match value {
            "" => self.bound.clone(),
            value => format!("{} (found {value})", self.bound),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.bound)?;
        if self.value.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.value)
    }
}

/// All that is wrong with one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing wrong so far.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds one finding.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        value: impl fmt::Display,
        bound: impl Into<String>,
    ) {
        self.0.push(Violation {
            field: field.into(),
            value: value.to_string(),
            bound: bound.into(),
        });
    }

    /// Adds all findings of another check.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The same findings about something that stands under `path` of a greater whole.
    #[must_use]
    pub fn under(mut self, path: &str) -> Self {
        for violation in &mut self.0 {
            violation.field = format!("{path}.{}", violation.field);
        }
        self
    }

    /// The value if `result` has one; its error becomes a finding about `field`.
    pub fn keep<T, E: fmt::Display>(
        &mut self,
        field: &str,
        value: impl fmt::Display,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(kept) => Some(kept),
            Err(error) => {
                self.add(field, value, error.to_string());
                None
            }
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The findings, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }

    /// `value` if nothing is wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
