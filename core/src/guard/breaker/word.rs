//! The one word that every call reads: generation, flags, state.
//!
//! ```text
//!  63                                    4   3        2       1 0
//! +----------------------------------------+--------+-------+-----+
//! |              generation                | in run | armed |state|
//! +----------------------------------------+--------+-------+-----+
//! ```
//!
//! Closed is zero and so are quiet flags: a calm breaker is four zero bits.

use crate::outcome::CircuitState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

/// What a success must look out for in the closed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    /// There is a run of failures to end.
    pub(super) in_run: bool,
    /// There are enough failures for the ratio to be reached.
    pub(super) armed: bool,
}

const STATE: u64 = 0b0011;
const ARMED: u64 = 0b0100;
const IN_RUN: u64 = 0b1000;
const LOW: u64 = 0b1111;
const GENERATION_SHIFT: u32 = 4;

impl Word {
    pub(super) const fn closed(generation: u64) -> Self {
        Self(generation << GENERATION_SHIFT)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) const fn state(self) -> CircuitState {
        match self.0 & STATE {
            0 => CircuitState::Closed,
            1 => CircuitState::Open,
            _ => CircuitState::HalfOpen,
        }
    }

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// Closed, with nothing for a success to do.
    #[inline]
    pub(super) const fn is_calm(self) -> bool {
        self.0 & LOW == 0
    }

    /// Closed, with no run to end, but with failures enough for the ratio.
    #[inline]
    pub(super) const fn is_only_armed(self) -> bool {
        self.0 & LOW == ARMED
    }

    pub(super) const fn with_flags(self, flags: Flags) -> Self {
        let armed = if flags.armed { ARMED } else { 0 };
        let in_run = if flags.in_run { IN_RUN } else { 0 };
        Self(self.0 & !(ARMED | IN_RUN) | armed | in_run)
    }

    /// The next generation, in state `to`, with quiet flags.
    pub(super) const fn entering(self, to: CircuitState) -> Self {
        Self(((self.generation() + 1) << GENERATION_SHIFT) | to as u64)
    }
}
