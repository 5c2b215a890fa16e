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
//! So spending a credit is a comparison and an addition. Consumers give credit back by announcing
//! the release frontier, which they do anyway. Each producer handle has its own controller, with
//! one writer and no atomics.

use crate::priority::PriorityClass;

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
    /// For each class, the position at which its credit ends.
    bounds: [u64; PriorityClass::COUNT],
    /// For each class, the limit without the credits that are kept for more urgent classes.
    limits: [u64; PriorityClass::COUNT],
    /// Pressure begins at or below this many available credits, and ends at or above `high`.
    low: u64,
    /// See `low`.
    high: u64,
    /// Whether there is pressure; it changes only when `low` or `high` is crossed.
    pressure: bool,
}

impl CreditController {
    /// A controller that allows `limit` messages in flight. Nothing is reserved, and the watermarks
    /// are at an eighth and at half of the limit.
    pub const fn new(limit: u64) -> Self {
        Self {
            consumed: 0,
            granted: 0,
            limit,
            bounds: [limit; PriorityClass::COUNT],
            limits: [limit; PriorityClass::COUNT],
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
        for (limit, reserve) in self.limits.iter_mut().zip(reserves) {
            *limit = self.limit - withheld.min(self.limit.saturating_sub(1));
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

    /// Begins with `consumed` credits spent and `granted` given back, for a handle that joins a
    /// running ring.
    pub(crate) fn resume(mut self, consumed: u64, granted: u64) -> Self {
        self.consumed = consumed;
        self.granted = granted;
        self.rebound();
        self
    }

    /// Spends `count` credits for the most urgent class. If there are not enough, spends none and
    /// returns `false`.
    #[inline]
    pub fn try_consume(&mut self, count: u64) -> bool {
        self.try_consume_as(PriorityClass::RealTime, count)
    }

    /// Spends `count` credits for `class`. If that would touch the reserves of more urgent classes,
    /// spends none and returns `false`.
    #[inline]
    pub fn try_consume_as(&mut self, class: PriorityClass, count: u64) -> bool {
        let covered = self.available_as(class) >= count;
        if covered {
            self.consumed += count;
        }
        covered
    }

    /// The position at which the credit of `class` ends.
    #[inline(always)]
    pub(crate) fn bound(&self, class: PriorityClass) -> u64 {
        self.bounds[class.index()]
    }

    /// How many messages of `class` may be sent from the next position on.
    #[inline(always)]
    pub(crate) fn available_as(&self, class: PriorityClass) -> u64 {
        // Saturating: the position may have gone past the bound of a less urgent class.
        self.bound(class).saturating_sub(self.consumed)
    }

    /// Takes back `count` credits, which a consumer has released.
    #[inline]
    pub fn grant(&mut self, count: u64) {
        self.observe(self.granted.saturating_add(count));
    }

    /// Takes the release frontier as read from shared memory. A frontier beyond what was consumed,
    /// or behind what was granted, is ignored. Only a peer that writes garbage causes it, and the
    /// worst effect is that this handle stalls.
    pub(crate) fn observe(&mut self, frontier: u64) {
        if frontier > self.granted && frontier <= self.consumed {
            // Checked before and after: spending may have reached the low watermark since, and this
            // grant the high one.
            self.pressure = self.under_pressure();
            self.granted = frontier;
            self.pressure = self.under_pressure();
        }
        // In any case: what `suspend` took away is given back.
        self.rebound();
    }

    /// Takes what was seen in a ring for groups: `least` is where the slowest group has come that
    /// producers wait for, if there is one, and at `ceiling` nothing may be sent, whoever waits.
    /// Where nobody is waited for nothing is in flight, and no credit is kept for anybody.
    ///
    /// The least may be less than it was: a group may begin at an older position.
    pub(crate) fn observe_groups(&mut self, least: Option<u64>, ceiling: u64) {
        self.pressure = self.under_pressure();
        // What is beyond the position can only come from a peer that writes garbage.
        self.granted = least.unwrap_or(self.consumed).min(self.consumed);
        self.pressure = self.under_pressure();
        let served = self.bounds.iter_mut().zip(self.limits).filter(|(_, limit)| *limit != 0);
        for (bound, limit) in served {
            *bound = least.map_or(ceiling, |least| ceiling.min(least.saturating_add(limit)));
        }
    }

    /// Gives credit to messages of `class` alone: the others have lanes of their own.
    #[cfg(feature = "alloc")]
    pub(crate) fn serve_only(&mut self, class: PriorityClass) {
        for other in PriorityClass::ALL.into_iter().filter(|&other| other != class) {
            // The frontier is not beyond what was consumed, so this leaves nothing.
            (self.limits[other.index()], self.bounds[other.index()]) = (0, 0);
        }
    }

    /// Takes all credit away until the next look at the frontier.
    pub(crate) fn suspend(&mut self) {
        self.bounds = [0; PriorityClass::COUNT];
    }

    /// Goes on at `position`.
    #[inline]
    pub(crate) fn advance_to(&mut self, position: u64) {
        self.consumed = position;
    }

    /// Computes the bound of each class. Nothing else does.
    fn rebound(&mut self) {
        for (bound, limit) in self.bounds.iter_mut().zip(self.limits) {
            *bound = self.granted.saturating_add(limit);
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
        // Saturating: peers can write a shared side's position, and may have set it back.
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

    /// Whether credit fell to the low watermark and has not reached the high one since. The handle
    /// notices a grant only when it looks, which it does when its credit runs out. Until then it
    /// counts messages as in flight that consumers may have released.
    pub const fn under_pressure(&self) -> bool {
        match self.available() {
            available if available <= self.low => true,
            available if available >= self.high => false,
            _ => self.pressure,
        }
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
        assert!(credits.try_consume(13));
        assert!(!credits.under_pressure());
        assert!(credits.try_consume(1));
        assert!(credits.under_pressure());
        credits.grant(3);
        assert!(credits.under_pressure());
        credits.grant(3);
        assert!(!credits.under_pressure());
        assert!(credits.try_consume(3));
        assert!(!credits.under_pressure(), "between the two it is as it was");
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

    #[test]
    fn credit_follows_the_slowest_group_also_where_one_begins_behind() {
        let mut credits = CreditController::new(8).with_reserves([2, 0, 0, 0, 0]).resume(10, 10);
        let bounds = |credits: &CreditController| {
            [PriorityClass::RealTime, PriorityClass::Bulk].map(|class| credits.bound(class))
        };
        credits.observe_groups(Some(9), 14);
        assert_eq!((bounds(&credits), credits.in_flight()), ([14, 14], 1));
        credits.observe_groups(Some(5), 14);
        assert_eq!((bounds(&credits), credits.in_flight()), ([13, 11], 5));
        credits.observe_groups(None, 14);
        assert_eq!((bounds(&credits), credits.in_flight()), ([14, 14], 0));
        credits.observe_groups(Some(u64::MAX), 14);
        assert_eq!((bounds(&credits), credits.granted()), ([14, 14], 10));
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
