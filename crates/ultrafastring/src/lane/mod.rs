//! A lane: one queue of slots, with its counters, its slots and its side buffers.
//!
//! [`LaneStats`] is the founding document's name for the statistics of a class.

pub(crate) mod pace;
pub(crate) mod race;
pub(crate) mod reader;
pub(crate) mod runs;
pub(crate) mod view;
pub(crate) mod writer;

pub use crate::statistics::LaneStats;
