//! Names with `*` in them: what selectors, targets and filters match by.

use std::fmt;

use crate::key::{InvalidName, MAX_NAME, OperationName};

/// Text to match a name with: exact, or with `*` standing for any run of characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Checks that some legal name could match.
    pub fn new(pattern: &str) -> Result<Self, InvalidName> {
        let literal: String = pattern.chars().filter(|&c| c != '*').collect();
        if pattern.is_empty() {
            return Err(InvalidName::Empty);
        }
        if pattern.len() > MAX_NAME {
            return Err(InvalidName::TooLong {
                len: pattern.len(),
                max: MAX_NAME,
            });
        }
        if !literal.is_empty() {
            OperationName::new(literal)?;
        }
        Ok(Self(pattern.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches one name only.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `name` as a whole fits.
    ///
    /// Greedy matching with one point to fall back to, the last `*`: linear for patterns with one
    /// star, and never worse than the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    last_star = Some((p, n));
                    p += 1;
                }
                Some(&byte) if byte == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match last_star {
                    Some((star, taken)) => {
                        last_star = Some((star, taken + 1));
                        p = star + 1;
                        n = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }

    /// Exact before glob, then more literal characters.
    pub(crate) fn specificity(&self) -> (bool, usize) {
        let literal = self.0.bytes().filter(|&byte| byte != b'*').count();
        (self.is_exact(), literal)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, fits) in [
            ("payments.*", "payments.charge", true),
            ("payments.*", "payments.", true),
            ("payments.*", "payment.charge", false),
            ("*", "anything", true),
            ("*.charge", "payments.charge", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("**", "x", true),
        ] {
            assert_eq!(glob(pattern).matches(name), fits, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_glob_no_name_could_match_is_refused() {
        for bad in ["", "a b", "a\n*", "ä*"] {
            assert!(Glob::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "a*".repeat(90) + "c";
        assert!(!glob(&pattern).matches(&"a".repeat(200)));
    }
}
