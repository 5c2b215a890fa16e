//! The five priority classes.

use core::fmt;
use core::str::FromStr;

/// How urgent a message is, from the most urgent to the least.
///
/// A class chooses the lane that counts the message and the share of the credit that it may use
/// (see [`Builder::reserve`](crate::Builder::reserve)); it does not change the order of delivery,
/// which is that of the positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum PriorityClass {
    /// Must not wait for anything less urgent.
    RealTime = 0,
    /// Ahead of the ordinary.
    High = 1,
    /// The ordinary.
    #[default]
    Normal = 2,
    /// May wait.
    Low = 3,
    /// Large amounts that nobody waits for.
    Bulk = 4,
}

impl PriorityClass {
    /// Number of classes, and of lanes.
    pub const COUNT: usize = 5;

    /// All classes, the most urgent first.
    pub const ALL: [Self; Self::COUNT] =
        [Self::RealTime, Self::High, Self::Normal, Self::Low, Self::Bulk];

    /// Place of the class in arrays that hold one element a class: 0 is the most urgent.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class for a number read from outside; numbers that name no class give `None`.
    #[inline]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::COUNT { Some(Self::ALL[index]) } else { None }
    }

    /// The class for a byte read from a slot. A byte that no honest peer writes counts as
    /// [`Bulk`](Self::Bulk), so that nothing read from shared memory can become an invalid enum.
    #[inline]
    pub(crate) const fn from_untrusted(byte: u8) -> Self {
        use PriorityClass::{Bulk, High, Low, Normal, RealTime};
        const BY_LOW_BITS: [PriorityClass; 8] =
            [RealTime, High, Normal, Low, Bulk, Bulk, Bulk, Bulk];
        BY_LOW_BITS[(byte & 7) as usize]
    }

    /// The name used on the command line and in tables: `real-time`, `high`, `normal`, `low`,
    /// `bulk`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RealTime => "real-time",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for PriorityClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text given to [`PriorityClass::from_str`] names no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPriorityClass;

impl fmt::Display for UnknownPriorityClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such priority class; it is one of real-time, high, normal, low, bulk")
    }
}

impl core::error::Error for UnknownPriorityClass {}

impl FromStr for PriorityClass {
    type Err = UnknownPriorityClass;

    /// Reads a [`name`](Self::name).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|class| class.name() == text).ok_or(UnknownPriorityClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_index_and_by_its_name() {
        for class in PriorityClass::ALL {
            assert_eq!(PriorityClass::from_index(class.index()), Some(class));
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(PriorityClass::from_untrusted(class as u8), class);
        }
        assert_eq!(PriorityClass::from_index(5), None);
        assert_eq!("urgent".parse::<PriorityClass>(), Err(UnknownPriorityClass));
    }

    #[test]
    fn any_byte_read_from_a_slot_is_some_class() {
        for byte in 0..=u8::MAX {
            assert!(PriorityClass::ALL.contains(&PriorityClass::from_untrusted(byte)));
        }
    }
}
