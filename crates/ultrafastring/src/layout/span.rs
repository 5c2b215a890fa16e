//! The positions that a participant works on, as it shows them.

/// Positions in one hold or intent: see [`Span`].
pub(crate) const MAX_SPAN: u64 = 64;

/// A few consecutive positions in one word. A participant shows in its entry what it is about to
/// claim, or has not released yet.
///
/// ```text
///  63                                  6 5        0
///  ┌────────────────────────────────────┬──────────┐
///  │ first position + 1                 │ count-1  │   all zeros: nothing
///  └────────────────────────────────────┴──────────┘
/// ```
///
/// 58 bits of position last nine years at 10^9 messages a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Span {
    /// The word that shows nothing.
    pub(crate) const NONE: u64 = 0;

    #[inline(always)]
    pub(crate) const fn new(first: u64, count: u64) -> Self {
        Self { first, count }
    }

    /// The word that shows this span; `count` is 1 to 64.
    #[inline(always)]
    pub(crate) const fn encode(self) -> u64 {
        (self.first + 1) << 6 | (self.count - 1)
    }

    /// The span in a word. Any word is a span or none; the reader checks whether it is plausible.
    #[inline(always)]
    pub(crate) const fn decode(word: u64) -> Option<Self> {
        match (word >> 6).checked_sub(1) {
            Some(first) => Some(Self::new(first, (word & 63) + 1)),
            None => None,
        }
    }

    /// The first position after it.
    pub(crate) const fn end(self) -> u64 {
        self.first + self.count
    }

    pub(crate) const fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    pub(crate) const fn contains(self, position: u64) -> bool {
        position >= self.first && position - self.first < self.count
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Span;

    #[test]
    fn a_span_survives_its_word() {
        for span in [Span::new(0, 1), Span::new(77, 64), Span::new((1 << 58) - 2, 5)] {
            assert_eq!(Span::decode(span.encode()), Some(span));
            assert!(span.contains(span.first) && !span.contains(span.first + span.count));
        }
        assert_eq!(Span::decode(Span::NONE), None);
    }
}
