//! The five priority classes.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// How urgent a message is, from the most urgent to the least.
///
/// In a plain ring, which has one lane, a class is a label with its own reserve of credit
/// ([`Builder::reserve`](crate::Builder::reserve)) and its own statistics. It does not overtake:
/// messages are delivered in the order of their positions, whatever their classes. In a ring with
/// lanes [by class](crate::Lanes::ByClass) more urgent classes overtake others, and starve them if
/// they leave consumers no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum PriorityClass {
    /// The most urgent: may use all credit.
    RealTime = 0,
    /// More urgent than the ordinary.
    High = 1,
    /// The ordinary.
    #[default]
    Normal = 2,
    /// Less urgent than the ordinary.
    Low = 3,
    /// Large amounts that nobody waits for.
    Bulk = 4,
}

impl PriorityClass {
    /// Number of classes.
    pub const COUNT: usize = 5;

    /// All classes, the most urgent first.
    pub const ALL: [Self; Self::COUNT] =
        [Self::RealTime, Self::High, Self::Normal, Self::Low, Self::Bulk];

    /// Place of the class in arrays that hold one element a class: 0 is the most urgent.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class with this number, which may come from outside; `None` if there is none.
    #[inline]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::COUNT { Some(Self::ALL[index]) } else { None }
    }

    /// The class for a byte read from a slot. A byte that no honest peer writes counts as
    /// [`Bulk`](Self::Bulk), so nothing read from shared memory becomes an invalid enum.
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

/// The text given to [`PriorityClass::from_str`] is not the name of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no such priority class; it is one of real-time, high, normal, low, bulk")]
pub struct UnknownPriorityClass;

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
