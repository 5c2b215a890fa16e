//! Which messages carry the time at which they were sent.

use crate::clock::rdtsc;
use crate::settings::Timestamps;

/// Which positions carry a timestamp: those for which `position & mask == equals`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    mask: u64,
    equals: u64,
}

impl Stamps {
    pub(super) const fn new(timestamps: Timestamps) -> Self {
        match timestamps {
            Timestamps::Every => Self { mask: 0, equals: 0 },
            Timestamps::OneIn(n) => Self { mask: n as u64 - 1, equals: 0 },
            // Never true, since `position & 0` is not 1.
            Timestamps::Off => Self { mask: 0, equals: 1 },
        }
    }

    /// Both numbers, for code that takes the time by itself.
    #[cfg(not(loom))]
    pub(super) fn mask_and_equals(self) -> (u64, u64) {
        (self.mask, self.equals)
    }

    /// The time for the message at `position`, or 0 if it carries none.
    #[inline(always)]
    pub(super) fn take(self, position: u64) -> u64 {
        if position & self.mask == self.equals { rdtsc() } else { 0 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn are_stamped(timestamps: Timestamps, expected: &[u64]) {
        let stamps = Stamps::new(timestamps);
        let stamped = (0..5).filter(|&position| stamps.take(position) != 0);
        assert!(stamped.eq(expected.iter().copied()), "{timestamps:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "without the standard library there is no clock there")]
    fn every_message_one_in_some_or_none_carries_a_timestamp() {
        are_stamped(Timestamps::Every, &[0, 1, 2, 3, 4]);
        are_stamped(Timestamps::OneIn(1), &[0, 1, 2, 3, 4]);
        are_stamped(Timestamps::OneIn(4), &[0, 4]);
        are_stamped(Timestamps::Off, &[]);
    }
}
