//! Lanes: how many queues of slots a ring has, and which message goes into which.

use core::fmt;

use crate::priority::PriorityClass;

/// How many lanes a ring has; fixed when the ring is made. A *lane* is a queue of slots of its own,
/// with its own credit and its own side buffers. Its words are `one`, `by-class`, and
/// `by-producer:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lanes {
    /// One: messages come in the order in which they were sent, whatever their classes.
    #[default]
    One,
    /// One for each [`PriorityClass`]. A receive takes from the most urgent lane that has a
    /// message, so urgent messages overtake others. Order holds within a class.
    ByClass,
    /// This many, 1 to [`MAX_LANES`](crate::limits::MAX_LANES). Each producer handle has a lane of
    /// its own, so no producer holds up another. Consumers visit the lanes in turn. Order holds
    /// within a producer.
    ByProducer(u16),
}

impl Lanes {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::ByClass => PriorityClass::COUNT,
            Self::ByProducer(lanes) => lanes as usize,
        }
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.pad("one"),
            Self::ByClass => f.pad("by-class"),
            Self::ByProducer(lanes) => write!(f, "by-producer:{lanes}"),
        }
    }
}

/// What the lane of a class has: see [`Settings::class_lanes`](super::Settings::class_lanes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClassLane {
    /// Slots: a power of two up to [`MAX_CAPACITY`](crate::limits::MAX_CAPACITY).
    pub capacity: usize,
    /// How many messages of the class may be in flight.
    pub credit_limit: u64,
    /// Bytes of the largest message of the class.
    pub max_message: usize,
}

impl ClassLane {
    /// In a ring whose lanes are not those of classes.
    pub(crate) const NONE: Self = Self { capacity: 0, credit_limit: 0, max_message: 0 };
}

impl fmt::Display for ClassLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capacity, credit_limit, max_message } = self;
        write!(f, "{capacity}/{credit_limit}/{max_message}")
    }
}

/// What of the lane of a class was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassChoices {
    pub(crate) capacity: Option<usize>,
    pub(crate) credit_limit: Option<u64>,
    pub(crate) max_message: Option<usize>,
}

impl ClassChoices {
    pub(crate) const fn all(lane: &ClassLane) -> Self {
        Self {
            capacity: Some(lane.capacity),
            credit_limit: Some(lane.credit_limit),
            max_message: Some(lane.max_message),
        }
    }

    /// What was chosen, and the rest as in `other`.
    pub(crate) fn over(&self, other: &ClassLane) -> ClassLane {
        ClassLane {
            capacity: self.capacity.unwrap_or(other.capacity),
            credit_limit: self.credit_limit.unwrap_or(other.credit_limit),
            max_message: self.max_message.unwrap_or(other.max_message),
        }
    }
}
