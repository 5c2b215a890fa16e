//! The lanes of a segment, each as a [`Segment`] of its own.
//!
//! Everything that works on one lane is given its segment, and finds there what a ring of one lane
//! has: counters, slots, side buffers, a table of participants, bells, a row of cursors. So claim,
//! recovery and succession in a lane are those of a ring of one lane.

use super::Segment;
#[cfg(not(loom))]
use core::ptr::NonNull;

use crate::layout::bell::Bell;
use crate::layout::control::Control;
use crate::settings::{ClassLane, Lanes, Settings, Side};

impl Segment {
    /// Whether the ring has lanes, even if only one.
    #[inline(always)]
    pub(crate) fn has_lanes(&self) -> bool {
        self.settings.has_lanes()
    }

    /// How many lanes the ring has.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> usize {
        self.settings.lanes.count()
    }

    /// Which lane it is.
    #[inline(always)]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Whether it is a ring for groups, whose producers wait for the gates, or one with lanes by
    /// class, where a handle writes each. Producers without credit ask this at once.
    #[inline(always)]
    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Changes what [`is_apart`](Self::is_apart) says to the holder of this segment.
    pub(crate) fn set_apart(&mut self, apart: bool) {
        self.apart = apart;
    }

    /// The settings of the ring, also of a lane's segment.
    pub(super) fn ring_settings(&self) -> Settings {
        let ClassLane { capacity, credit_limit, max_message } = self.ring;
        Settings { capacity, credit_limit, max_message, ..self.settings }
    }

    /// The segment of the ring, as it was before a lane was asked for.
    pub(crate) fn whole(&self) -> Self {
        let settings = self.ring_settings();
        Self { settings, ..if self.has_lanes() { self.of_lane(0) } else { self.clone() } }
    }

    /// The lane at this place.
    ///
    /// # Panics
    ///
    /// If the ring has fewer.
    pub(crate) fn of_lane(&self, lane: usize) -> Self {
        assert!(lane < self.lanes(), "there is no lane {lane}");
        let geometry = self.geometry();
        let (settings, backing) = (geometry.settings.of_lane(lane), self.backing.clone());
        #[cfg(loom)]
        let of_lane = {
            let super::Backing::Modelled(memory) = backing;
            Self::modelled(memory, &geometry, lane, settings)
        };
        #[cfg(not(loom))]
        // SAFETY: this one was made from the same memory, by the same geometry, and there is such a
        // lane.
        let of_lane = unsafe {
            let base: NonNull<u8> = self.control.cast().sub(geometry.part(self.index).control);
            Self::part_from_base(base, &geometry, lane, settings, backing)
        };
        Self { is_trusted: self.is_trusted, ..of_lane }
    }

    /// All lanes, the first at first.
    pub(crate) fn all_lanes(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.lanes()).map(|lane| self.of_lane(lane))
    }

    /// The lanes in whose tables each handle of a side has one entry. A handle that works on each
    /// lane counts in the first, where it comes first.
    pub(crate) fn lanes_of_handles(&self, side: Side) -> core::ops::Range<usize> {
        match (self.settings.lanes, side) {
            (Lanes::ByProducer(lanes), Side::Producer) => 0..lanes.into(),
            _ => 0..1,
        }
    }

    /// The control record of a lane, which there is.
    pub(crate) fn control_of(&self, lane: usize) -> &Control {
        assert!(lane < self.lanes(), "there is no lane {lane}");
        // SAFETY: the records of all lanes lie one behind the other, and there is such a lane;
        // otherwise as in `cursor`.
        unsafe { self.control.sub(self.index).add(lane).as_ref() }
    }

    /// Whether a sleeper of a side waits for one lane alone. Else it may wait for each: a consumer,
    /// and a producer that writes each lane.
    pub(crate) fn sleeps_by_lane(&self, side: Side) -> bool {
        match self.settings.lanes {
            Lanes::One => true,
            Lanes::ByClass => false,
            Lanes::ByProducer(_) => side == Side::Producer,
        }
    }

    /// The bell on whose count those of a side sleep who wait for this lane. Those who may wait for
    /// each lane sleep on that of the first: a thread sleeps on one word.
    pub(crate) fn sleeping_bell(&self, side: Side) -> &Bell {
        match self.sleeps_by_lane(side) {
            true => self.control().bell(side),
            false => self.control_of(0).bell(side),
        }
    }

    /// The bells of a side of all lanes.
    pub(crate) fn all_bells(&self, side: Side) -> impl Iterator<Item = &Bell> {
        (0..self.lanes()).map(move |lane| self.control_of(lane).bell(side))
    }
}
