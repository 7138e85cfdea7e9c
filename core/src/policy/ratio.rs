//! Fractions as whole numbers, so that rules stay `Eq` and a threshold means one exact value.

use std::fmt;

/// A share of a whole in basis points: 1 to 10,000 ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u16);

/// A part of a whole in basis points, none of it included: 0 to 10,000 ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

/// A factor in basis points: 10,000 is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiplier(u32);

/// A number outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutOfRange(&'static str);

const ONE: f64 = 10_000.0;

impl Ratio {
    /// The whole.
    pub const ONE: Self = Self(10_000);

    /// Rounds `fraction` to basis points; it must be above 0 and at most 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0..=10,000"
    )]
    pub fn new(fraction: f64) -> Result<Self, OutOfRange> {
        let points = (fraction * ONE).round();
        if (1.0..=ONE).contains(&points) && fraction <= 1.0 {
            Ok(Self(points as u16))
        } else {
            Err(OutOfRange("must be at least 0.0001 and at most 1"))
        }
    }

    /// In ten-thousandths: 1 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// As a fraction.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / ONE
    }

    /// Whether `part` of `whole`, rounded to basis points, is at this ratio or above it.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        let (part, whole) = (u128::from(part), u128::from(whole));
        whole > 0 && (part * 20_000 + whole) / (2 * whole) >= u128::from(self.0)
    }

    /// The smallest part of `whole` that can reach this ratio.
    pub fn least_part(self, whole: u64) -> u64 {
        (0..=whole)
            .skip(usize::try_from(self.floor_part(whole)).unwrap_or(0))
            .find(|&part| self.is_reached(part, whole))
            .unwrap_or(whole)
    }

    /// A part of `whole` that lies below `least_part` by at most a few.
    fn floor_part(self, whole: u64) -> u64 {
        let exact = u128::from(whole) * u128::from(self.0.saturating_sub(1)) / 10_000;
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// A fifth.
    pub const FIFTH: Self = Self(2_000);

    /// Rounds `fraction` to basis points; it must be 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0..=10,000"
    )]
    pub fn new(fraction: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&fraction) {
            Ok(Self((fraction * ONE).round() as u16))
        } else {
            Err(OutOfRange("must be at least 0 and at most 1"))
        }
    }

    /// In ten-thousandths: 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// As a fraction.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / ONE
    }
}

impl Multiplier {
    /// One: no growth.
    pub const ONE: Self = Self(10_000);
    /// Two.
    pub const TWO: Self = Self(20_000);

    /// Rounds `factor` to basis points; it must be 1 to 10.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 1..=100,000"
    )]
    pub fn new(factor: f64) -> Result<Self, OutOfRange> {
        if (1.0..=10.0).contains(&factor) {
            Ok(Self((factor * ONE).round() as u32))
        } else {
            Err(OutOfRange("must be at least 1 and at most 10"))
        }
    }

    /// As a factor.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / ONE
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

impl fmt::Display for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_true_share_is_a_ratio() {
        for bad in [0.0, -0.1, 1.000_1, f64::NAN, f64::INFINITY, 0.000_01] {
            assert!(Ratio::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Ratio::new(0.5).unwrap().as_f64(), 0.5);
    }

    #[test]
    fn a_ratio_is_reached_exactly_at_its_threshold() {
        let half = Ratio::new(0.5).unwrap();
        assert!(half.is_reached(5, 10));
        assert!(!half.is_reached(4, 10));
        assert!(!half.is_reached(0, 0));
        let two_thirds = Ratio::new(2.0 / 3.0).unwrap();
        assert!(
            two_thirds.is_reached(2, 3),
            "an observed ratio is rounded before it is compared"
        );
    }

    #[test]
    fn the_least_part_is_the_first_that_reaches() {
        for fraction in [0.0001, 0.1, 0.3333, 0.5, 0.6667, 0.8, 1.0] {
            let ratio = Ratio::new(fraction).unwrap();
            for whole in [1, 2, 3, 5, 20, 999, 10_000, 1_000_000] {
                let least = ratio.least_part(whole);
                assert!(ratio.is_reached(least, whole), "{fraction} of {whole}");
                assert!(
                    least == 0 || !ratio.is_reached(least - 1, whole),
                    "{fraction} of {whole}"
                );
            }
        }
    }

    #[test]
    fn a_share_is_anything_from_nothing_to_the_whole() {
        for bad in [-0.000_1, 1.000_1, f64::NAN, f64::INFINITY] {
            assert!(Share::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Share::new(0.0), Ok(Share::ZERO));
        assert_eq!(Share::new(0.2), Ok(Share::FIFTH));
        assert_eq!(Share::new(1.0).unwrap().as_f64(), 1.0);
    }

    #[test]
    fn a_multiplier_never_shrinks() {
        assert!(Multiplier::new(0.99).is_err());
        assert!(Multiplier::new(f64::NAN).is_err());
        assert_eq!(Multiplier::new(1.5).unwrap().as_f64(), 1.5);
    }
}
