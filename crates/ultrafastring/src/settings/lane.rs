//! The settings of one lane of a ring.

use core::str::FromStr;

use super::lanes::{ClassLane, Lanes};
use super::{Invalid, Settings, Sharing, UnknownWord};
use crate::limits::MAX_LANES;
use crate::priority::PriorityClass;

impl FromStr for Lanes {
    type Err = UnknownWord;

    /// Reads what `Display` writes. Making the ring checks whether the number is in range.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("by-producer:").map(str::parse)) {
            ("one", _) => Ok(Self::One),
            ("by-class", _) => Ok(Self::ByClass),
            (_, Some(Ok(lanes))) => Ok(Self::ByProducer(lanes)),
            _ => Err(UnknownWord::of("one, by-class, or by-producer:N")),
        }
    }
}

impl Settings {
    /// Slots of all lanes.
    pub fn slots(&self) -> usize {
        (0..self.lanes.count()).map(|lane| self.of_lane(lane).capacity).sum()
    }

    /// Bytes of the largest message of a class.
    pub const fn max_message_of(&self, class: PriorityClass) -> usize {
        self.of_lane(class.index()).max_message
    }

    /// Whether it has more than one queue of slots, or lanes that have owners.
    pub(crate) const fn has_lanes(&self) -> bool {
        !matches!(self.lanes, Lanes::One)
    }

    /// The settings of one lane: those of a ring of one lane that is like it, but for
    /// [`lanes`](Self::lanes).
    pub(crate) const fn of_lane(mut self, lane: usize) -> Self {
        if matches!(self.lanes, Lanes::ByClass) && lane < PriorityClass::COUNT {
            let ClassLane { capacity, credit_limit, max_message } = self.class_lanes[lane];
            self.capacity = capacity;
            self.credit_limit = credit_limit;
            self.max_message = max_message;
        }
        self
    }

    /// Whether slots of any lane name the side buffers of their messages.
    pub(crate) fn any_names_buffers(&self) -> bool {
        (0..self.lanes.count()).any(|lane| self.of_lane(lane).names_buffers())
    }

    /// What each lane has for which nothing else was chosen.
    pub(crate) const fn of_each_lane(&self) -> ClassLane {
        let Self { capacity, credit_limit, max_message, .. } = *self;
        ClassLane { capacity, credit_limit, max_message }
    }

    /// Checks what only a ring with lanes has.
    pub(super) fn validate_lanes(&self) -> Result<(), Invalid> {
        match self.lanes {
            Lanes::ByClass => {
                if self.reserves != [0; PriorityClass::COUNT] {
                    return Err(Invalid::ReservesByClass);
                }
                let mut lanes = 0..self.lanes.count();
                return lanes.try_for_each(|lane| self.of_lane(lane).validate_numbers());
            }
            Lanes::ByProducer(lanes) => {
                if lanes == 0 || usize::from(lanes) > MAX_LANES {
                    return Err(Invalid::Lanes(lanes));
                }
                if self.producer_side == Sharing::Shared {
                    return Err(Invalid::SharedLanes);
                }
            }
            Lanes::One => {}
        }
        match self.class_lanes == [ClassLane::NONE; PriorityClass::COUNT] {
            true => Ok(()),
            false => Err(Invalid::NoClassLanes),
        }
    }
}
