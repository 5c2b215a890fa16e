//! Reading ahead: which lines a consumer prefetches.

/// How far ahead a consumer prefetches at most. By itself a core has only three to eight lines on
/// their way, because of `rdtsc` and the checks of a message. Measured, 32 halve the cost if the
/// consumer limits the stream.
const READ_AHEAD: u64 = 32;

/// How far ahead a consumer prefetches, and whether it does now.
///
/// It prefetches only where messages lay when it last looked. A consumer close behind its producer
/// would take away lines that are just being written. Each line then travels twice: a stream that
/// takes 16 ticks a message takes 180, and neither side gets out of this by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAhead {
    distance: u64,
    on: bool,
    /// How many calls had found nothing at the last decision.
    fruitless: u32,
}

impl ReadAhead {
    /// For a ring in which at most `credit_limit` messages lie ahead.
    pub(crate) fn new(credit_limit: u64) -> Self {
        Self { distance: (credit_limit / 4).min(READ_AHEAD), on: false, fruitless: 0 }
    }

    /// The position whose line a consumer at `position` prefetches, if any.
    #[inline(always)]
    pub(crate) fn beyond(self, position: u64) -> Option<u64> {
        self.on.then_some(position + self.distance)
    }

    /// Decides for the messages until the next decision. `fruitless` counts the calls that found
    /// nothing. `is_there` checks whether the message this far ahead of the next one is there.
    #[inline]
    pub(crate) fn settle(&mut self, fruitless: u32, is_there: impl Fn(u64) -> bool) {
        if self.distance == 0 {
            return;
        }
        self.on = if self.on {
            // It looks at a line that was prefetched some messages ago, which costs nothing.
            is_there(self.distance - (self.distance / 8).max(1))
        } else {
            // This look may take a line away, so it is not made if calls have just found nothing.
            self.fruitless == fruitless && is_there(2 * self.distance)
        };
        self.fruitless = fruitless;
    }

    /// Prefetches nothing until the next decision, since the stream has stopped.
    pub(crate) fn stop(&mut self) {
        self.on = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_fetched_once_messages_are_known_to_lie_far_ahead() {
        let mut ahead = ReadAhead::new(256);
        assert_eq!(ahead.beyond(9), None);
        ahead.settle(0, |distance| distance < 64);
        assert_eq!(ahead.beyond(9), None);
        ahead.settle(0, |distance| distance <= 64);
        assert_eq!(ahead.beyond(9), Some(41));
        ahead.settle(0, |distance| distance <= 28);
        assert_eq!(ahead.beyond(9), Some(41));
        ahead.settle(0, |distance| distance < 28);
        assert_eq!(ahead.beyond(9), None);
    }

    #[test]
    fn a_stream_that_stopped_is_not_fetched_ahead_of_when_it_begins_again() {
        let mut ahead = ReadAhead::new(256);
        ahead.settle(0, |_| true);
        ahead.stop();
        assert_eq!(ahead.beyond(9), None);
    }

    #[test]
    fn a_consumer_that_had_to_wait_does_not_even_look() {
        let mut ahead = ReadAhead::new(256);
        ahead.settle(7, |_| panic!("it looked"));
        assert_eq!(ahead.beyond(9), None);
        ahead.settle(7, |_| true);
        assert_eq!(ahead.beyond(9), Some(41));
    }

    #[test]
    fn a_small_ring_is_not_fetched_around() {
        for capacity in [1, 2] {
            let mut ahead = ReadAhead::new(capacity);
            ahead.settle(0, |_| panic!("it looked"));
            assert_eq!(ahead.beyond(0), None);
        }
        for capacity in [4, 8, 64, 128, 1 << 20] {
            let mut ahead = ReadAhead::new(capacity);
            ahead.settle(0, |_| true);
            assert!(ahead.beyond(0).is_some_and(|it| it <= capacity / 4 && it <= 32));
            // At a line that was prefetched: no farther than before the last message.
            let fetched = ahead.distance - 1;
            ahead.settle(0, |distance| distance <= fetched);
            assert!(ahead.on);
        }
    }
}
