//! A sliding window over the last so many calls.
//!
//! Two bits a call in a ring, and running sums: an outcome costs the same however large the window
//! is. All outcomes have their place in one order, so that the ring stands under the breaker's
//! mutex and every call takes it.

use super::figures::Figures;

const FAILED: u64 = 0b01;
const SLOW: u64 = 0b10;
const MARKS_PER_WORD: usize = 32;

/// The last outcomes, the oldest overwritten first.
#[derive(Debug, Default)]
pub(super) struct LastCalls {
    marks: Vec<u64>,
    /// Which window this is; another size or shape starts anew.
    of: (u32, u8),
    next: u32,
    figures: Figures,
}

impl LastCalls {
    /// Takes one more into a window of `size` calls.
    pub(super) fn record(&mut self, size: u32, shape: u8, failed: bool, slow: bool) {
        if self.of != (size, shape) {
            self.begin(size, shape);
        }
        let at = self.next as usize;
        self.next = (self.next + 1) % size;
        let shift = 2 * (at % MARKS_PER_WORD);
        let word = &mut self.marks[at / MARKS_PER_WORD];
        let figures = &mut self.figures;
        if figures.total == u64::from(size) {
            let gone = *word >> shift;
            figures.failed -= gone & FAILED;
            figures.slow -= (gone & SLOW) >> 1;
        } else {
            figures.total += 1;
        }
        figures.failed += u64::from(failed);
        figures.slow += u64::from(slow);
        let mark = u64::from(failed) | u64::from(slow) << 1;
        *word = *word & !((FAILED | SLOW) << shift) | mark << shift;
    }

    /// What it holds; nothing, if it was filled as another window.
    pub(super) fn figures(&self, size: u32, shape: u8) -> Figures {
        if self.of == (size, shape) {
            self.figures
        } else {
            Figures::default()
        }
    }

    /// What the marks take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.marks.as_slice())
    }

    fn begin(&mut self, size: u32, shape: u8) {
        self.marks.clear();
        self.marks
            .resize((size as usize).div_ceil(MARKS_PER_WORD), 0);
        self.of = (size, shape);
        self.next = 0;
        self.figures = Figures::default();
    }
}
