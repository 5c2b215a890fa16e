//! How the sides of a ring are shared.

use super::Builder;
use crate::settings::Sharing;

/// Sides.
impl Builder {
    /// How many producers there may be at a time.
    pub fn producer_side(mut self, sharing: Sharing) -> Self {
        self.chosen.producer_side = Some(sharing);
        self
    }

    /// How many consumers there may be at a time.
    pub fn consumer_side(mut self, sharing: Sharing) -> Self {
        self.chosen.consumer_side = Some(sharing);
        self
    }

    /// One producer at a time.
    pub fn exclusive_producer(self) -> Self {
        self.producer_side(Sharing::Exclusive)
    }

    /// One consumer at a time.
    pub fn exclusive_consumer(self) -> Self {
        self.consumer_side(Sharing::Exclusive)
    }
}
