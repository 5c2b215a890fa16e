//! The right to have messages in flight: the credit controller.
//!
//! Credit is one number a producer keeps: the position up to which it may send. It follows from
//! the release frontier (`consumer_tail`) as last seen:
//!
//! ```text
//!   released        in flight           may be sent         may not be sent yet
//!   ────────┬─────────────────────┬─────────────────────┬──────────────────────▶ positions
//!        granted              consumed             granted + limit
//!                                 ├──── available ──────┤ less what is reserved for
//!                                                         more urgent classes
//! ```
//!
//! So spending one credit is a comparison and an addition, and giving back is what consumers do
//! anyway when they announce the release frontier. One writer, no atomics: each producer handle
//! has its own controller.

use crate::PriorityClass;

/// Spends and counts credit for one producer; see the [module](crate::credit) for the picture.
///
/// ```
/// use ultrafastring::CreditController;
///
/// let mut credits = CreditController::new(2);
/// assert!(credits.try_consume(1));
/// assert!(credits.try_consume(1));
/// assert!(!credits.try_consume(1)); // both are in flight
/// credits.grant(1); // a consumer released one
/// assert!(credits.try_consume(1));
/// ```
#[derive(Clone, Debug)]
pub struct CreditController {
    /// Credits spent since the ring was made: the next position of an exclusive producer.
    consumed: u64,
    /// The release frontier as last seen.
    granted: u64,
    /// How many messages may be in flight.
    limit: u64,
    /// For each class the position at which its credit ends.
    bounds: [u64; PriorityClass::COUNT],
    /// For each class the credits that are kept for more urgent ones.
    withheld: [u64; PriorityClass::COUNT],
    /// Pressure begins at or below this many available credits, and ends at or above `high`.
    low: u64,
    /// See `low`.
    high: u64,
    /// Between the two: what the last crossing said.
    pressure: bool,
}

impl CreditController {
    /// A controller that lets `limit` messages be in flight, nothing reserved, the watermarks at
    /// an eighth and at half of the limit.
    pub const fn new(limit: u64) -> Self {
        Self {
            consumed: 0,
            granted: 0,
            limit,
            bounds: [limit; PriorityClass::COUNT],
            withheld: [0; PriorityClass::COUNT],
            low: limit / 8,
            high: limit / 2,
            pressure: false,
        }
    }

    /// Keeps `reserves[class]` credits for each class that less urgent classes cannot touch.
    /// Reserves that together leave nothing for [`Bulk`](PriorityClass::Bulk) are cut from the
    /// least urgent side.
    pub fn with_reserves(mut self, reserves: [u64; PriorityClass::COUNT]) -> Self {
        let mut withheld = 0u64;
        for (of_class, reserve) in self.withheld.iter_mut().zip(reserves) {
            *of_class = withheld.min(self.limit.saturating_sub(1));
            withheld = withheld.saturating_add(reserve);
        }
        self.rebound();
        self
    }

    /// Sets the watermarks, in credits: pressure begins when `low` or fewer are available and
    /// ends when `high` or more are.
    pub const fn with_watermarks(mut self, low: u64, high: u64) -> Self {
        self.low = low;
        self.high = if high < low { low } else { high };
        self
    }

    /// Begins at `consumed` spent and `granted` given back, as one who joins a running ring must.
    pub(crate) fn resume(mut self, consumed: u64, granted: u64) -> Self {
        self.consumed = consumed;
        self.granted = granted;
        self.rebound();
        self
    }

    /// Spends `count` credits for the most urgent class, or none and says `false`.
    #[inline]
    pub fn try_consume(&mut self, count: u64) -> bool {
        self.try_consume_as(PriorityClass::RealTime, count)
    }

    /// Spends `count` credits for `class`, or none and says `false` when that would leave less
    /// than what is reserved for more urgent classes.
    #[inline]
    pub fn try_consume_as(&mut self, class: PriorityClass, count: u64) -> bool {
        let covered = self.covers(self.consumed, class, count);
        if covered {
            self.consumed += count;
        }
        covered
    }

    /// Whether `count` messages of `class` from `position` on are within the credit. This is what
    /// a shared producer asks, whose position is the ring's and not its own.
    #[inline(always)]
    pub(crate) fn covers(&self, position: u64, class: PriorityClass, count: u64) -> bool {
        self.available_from(position, class) >= count
    }

    /// How many messages of `class` from `position` on are within the credit.
    #[inline(always)]
    pub(crate) fn available_from(&self, position: u64, class: PriorityClass) -> u64 {
        // Saturating: a position may have gone past the bound of a less urgent class.
        self.bounds[class.index()].saturating_sub(position)
    }

    /// Takes back what a consumer has released: `count` credits.
    #[inline]
    pub fn grant(&mut self, count: u64) {
        self.observe(self.granted.saturating_add(count));
    }

    /// Takes the release frontier as read from shared memory. A frontier beyond what was consumed
    /// or behind what was granted is not believed: it can only come from a peer that writes
    /// garbage, and the worst it may do is to stall us.
    pub(crate) fn observe(&mut self, frontier: u64) {
        if frontier > self.granted && frontier <= self.consumed {
            self.granted = frontier;
        }
        // Whatever was seen: what `suspend` took away is given back.
        self.rebound();
        let available = self.available();
        if available <= self.low {
            self.pressure = true;
        } else if available >= self.high {
            self.pressure = false;
        }
    }

    /// Takes all credit away until the frontier is next looked at.
    pub(crate) fn suspend(&mut self) {
        self.bounds = [0; PriorityClass::COUNT];
    }

    /// Learns how far a shared side has come, whoever sent it.
    #[inline]
    pub(crate) fn advance_to(&mut self, position: u64) {
        self.consumed = position;
    }

    fn rebound(&mut self) {
        for (bound, withheld) in self.bounds.iter_mut().zip(self.withheld) {
            *bound = self.granted.saturating_add(self.limit - withheld);
        }
    }

    /// Credits spent since the ring was made.
    #[inline(always)]
    pub const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Credits given back since the ring was made: the release frontier as last seen.
    pub const fn granted(&self) -> u64 {
        self.granted
    }

    /// How many messages may be in flight.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Messages in flight, as far as this controller knows.
    pub const fn in_flight(&self) -> u64 {
        // Saturating: a shared side's position is a peer's word, and may have been set back.
        self.consumed.saturating_sub(self.granted)
    }

    /// Credits that the most urgent class may still spend.
    pub const fn available(&self) -> u64 {
        self.limit.saturating_sub(self.in_flight())
    }

    /// The watermarks, low and high, in credits.
    pub const fn watermarks(&self) -> (u64, u64) {
        (self.low, self.high)
    }

    /// Whether credit fell to the low watermark and has not come back to the high one since. The
    /// handle learns of a grant only when it looks, which it does when its credit runs out.
    pub const fn under_pressure(&self) -> bool {
        self.pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_for_the_urgent_and_denied_to_the_others() {
        let mut credits = CreditController::new(8).with_reserves([2, 1, 0, 0, 0]);
        for _ in 0..5 {
            assert!(credits.try_consume_as(PriorityClass::Bulk, 1));
        }
        assert!(!credits.try_consume_as(PriorityClass::Bulk, 1));
        assert!(!credits.try_consume_as(PriorityClass::Normal, 1));
        assert!(credits.try_consume_as(PriorityClass::High, 1));
        assert!(!credits.try_consume_as(PriorityClass::High, 1));
        assert!(credits.try_consume_as(PriorityClass::RealTime, 2));
        assert!(!credits.try_consume(1));
    }

    #[test]
    fn reserves_larger_than_the_limit_still_leave_one_credit_for_bulk() {
        let mut credits = CreditController::new(4).with_reserves([u64::MAX, 3, 3, 3, 3]);
        assert!(credits.try_consume_as(PriorityClass::Bulk, 1));
        assert!(!credits.try_consume_as(PriorityClass::Bulk, 1));
        assert!(credits.try_consume(3));
    }

    #[test]
    fn pressure_begins_at_the_low_watermark_and_ends_at_the_high_one() {
        let mut credits = CreditController::new(16).with_watermarks(2, 8);
        assert!(credits.try_consume(14));
        credits.grant(0);
        assert!(credits.under_pressure());
        credits.grant(3);
        assert!(credits.under_pressure());
        credits.grant(3);
        assert!(!credits.under_pressure());
    }

    #[test]
    fn a_frontier_that_no_consumer_can_have_reached_is_not_believed() {
        let mut credits = CreditController::new(4);
        assert!(credits.try_consume(3));
        credits.observe(u64::MAX);
        credits.observe(4);
        assert_eq!((credits.granted(), credits.available()), (0, 1));
        credits.observe(2);
        credits.observe(1);
        assert_eq!((credits.granted(), credits.available()), (2, 3));
    }

    #[test]
    fn a_position_that_went_back_leaves_nothing_in_flight_and_breaks_nothing() {
        let mut credits = CreditController::new(4);
        assert!(credits.try_consume(4));
        credits.observe(4);
        credits.advance_to(1);
        credits.observe(2);
        assert_eq!((credits.in_flight(), credits.available()), (0, 4));
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn never_more_in_flight_than_the_limit_and_no_credit_lost(
                limit in 1u64..100,
                steps in prop::collection::vec((any::<bool>(), 0u64..10, 0usize..5), 0..200),
                reserves in prop::array::uniform5(0u64..30),
            ) {
                let mut credits = CreditController::new(limit).with_reserves(reserves);
                let mut in_flight = 0u64;
                for (send, count, class) in steps {
                    if send {
                        if credits.try_consume_as(PriorityClass::ALL[class], count) {
                            in_flight += count;
                        }
                    } else {
                        let released = count.min(in_flight);
                        credits.grant(released);
                        in_flight -= released;
                    }
                    prop_assert!(in_flight <= limit);
                    prop_assert_eq!(credits.in_flight(), in_flight);
                    prop_assert_eq!(credits.available(), limit - in_flight);
                }
                credits.grant(in_flight);
                prop_assert!(credits.try_consume(limit));
            }
        }
    }
}
