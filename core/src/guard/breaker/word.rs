//! The one word that every call reads: generation, flags, state.
//!
//! ```text
//!  63           14 13    8  7  6    5       4        3        2      1 0
//! +---------------+-------+------+-------+-------+--------+-------+-----+
//! |  generation   | shape |forced|counted|ramping| in run | armed |state|
//! +---------------+-------+------+-------+-------+--------+-------+-----+
//! ```
//!
//! Closed is zero and so are quiet flags: a calm breaker is eight zero bits. The shape is that of
//! the window in force, cut to six bits: whoever comes with the trace of another must not leave it.

use crate::outcome::{CircuitState, Forced};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

/// What callers must look out for, besides the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Closed, and there are enough failures or slow calls for a ratio to be reached.
    pub(super) armed: bool,
    /// Closed, and there is a run of failures to end.
    pub(super) in_run: bool,
    /// Closed, and only a share is let in.
    pub(super) ramping: bool,
    /// The window counts calls, so that every outcome has its place in one order.
    pub(super) counted: bool,
    /// An operator decides.
    pub(super) forced: Option<Forced>,
}

const STATE: u64 = 0b0000_0011;
const ARMED: u64 = 0b0000_0100;
const IN_RUN: u64 = 0b0000_1000;
const RAMPING: u64 = 0b0001_0000;
const COUNTED: u64 = 0b0010_0000;
const FORCED_OPEN: u64 = 0b0100_0000;
const FORCED_CLOSED: u64 = 0b1000_0000;
const FORCED: u64 = FORCED_OPEN | FORCED_CLOSED;
const LOW: u64 = 0xff;
const SHAPE_SHIFT: u32 = 8;
const SHAPE: u64 = (1 << (GENERATION_SHIFT - SHAPE_SHIFT)) - 1;
const GENERATION_SHIFT: u32 = 14;

impl Word {
    pub(super) const fn new(generation: u64, shape: u8, state: CircuitState, flags: Flags) -> Self {
        let shape = shape as u64 & SHAPE;
        let mut bits = generation << GENERATION_SHIFT | shape << SHAPE_SHIFT | state as u64;
        if flags.armed {
            bits |= ARMED;
        }
        if flags.in_run {
            bits |= IN_RUN;
        }
        if flags.ramping {
            bits |= RAMPING;
        }
        if flags.counted {
            bits |= COUNTED;
        }
        bits |= match flags.forced {
            None => 0,
            Some(Forced::Open) => FORCED_OPEN,
            Some(Forced::Closed) => FORCED_CLOSED,
        };
        Self(bits)
    }

    #[inline]
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

    /// Whether the window in force is of this shape.
    #[inline]
    pub(super) const fn has_shape(self, shape: u8) -> bool {
        self.0 >> SHAPE_SHIFT & SHAPE == shape as u64 & SHAPE
    }

    /// Closed, with nothing for a success to do.
    #[inline]
    pub(super) const fn is_calm(self) -> bool {
        self.0 & LOW == 0
    }

    /// Calm, but for failures enough for a ratio.
    #[inline]
    pub(super) const fn is_only_armed(self) -> bool {
        self.0 & LOW == ARMED
    }

    /// Closed, and everybody is let in.
    #[inline]
    pub(super) const fn lets_all_in(self) -> bool {
        self.0 & (STATE | RAMPING | FORCED) == 0
    }

    /// Open of its own accord.
    #[inline]
    pub(super) const fn is_open_unforced(self) -> bool {
        self.0 & (STATE | FORCED) == CircuitState::Open as u64
    }

    #[inline]
    pub(super) const fn forced(self) -> Option<Forced> {
        match self.0 & FORCED {
            0 => None,
            FORCED_OPEN => Some(Forced::Open),
            _ => Some(Forced::Closed),
        }
    }
}
