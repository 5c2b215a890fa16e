//! The terms of a lane: its settings, in its record.

#![cfg_attr(not(feature = "std"), allow(dead_code))]

use super::areas::{LANE_SIZE, Part};
use crate::settings::{Lanes, Settings};

/// Where the terms begin in a lane's record, in bytes: behind its counters.
pub(crate) const TERMS_OFFSET: usize = LANE_SIZE - 8 * TERMS;

/// Number of words.
pub(crate) const TERMS: usize = 16;

/// The settings of a lane. They are written before the ring has a name, read before it is mapped,
/// and not read again.
///
/// ```text
///  word  0  capacity          slots of the lane
///        1  slots             where the first lies, from the beginning of the segment
///        2  sides             where the first side buffer lies; 0: none
///        3  side size         bytes that a side buffer holds; 0: none
///        4  side stride       from one to the next; 0: none
///        5  credit limit      messages that may be in flight in the lane
///        6  class             0: of all classes; else the class plus one
///        7  owner             0: of all producers; 1: of one, who owns it
///        8 … 15               0
/// ```
///
/// In a ring of one lane they equal those of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneTerms(pub(crate) [u64; TERMS]);

impl LaneTerms {
    /// Those of the lane at this place, whose parts these are. The settings are the ring's.
    pub(crate) fn of(settings: &Settings, lane: usize, part: &Part) -> Self {
        let own = settings.of_lane(lane);
        let size = own.side_size();
        let mut words = [0; TERMS];
        words[0] = own.capacity as u64;
        words[1] = part.slots as u64;
        if size != 0 {
            words[2] = part.sides as u64;
            words[3] = size as u64;
            words[4] = part.side_stride as u64;
        }
        words[5] = own.credit_limit;
        words[6] = if settings.lanes == Lanes::ByClass { lane as u64 + 1 } else { 0 };
        words[7] = u64::from(matches!(settings.lanes, Lanes::ByProducer(_)));
        Self(words)
    }
}
