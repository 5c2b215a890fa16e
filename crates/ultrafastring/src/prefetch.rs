//! Prefetch helpers.
//!
//! They ask the core to fetch a line before it is needed and change nothing that a program can
//! observe. A line that is fetched too early is taken from the core that is about to write it, and
//! both wait for it; so a consumer fetches ahead only where messages lay when it last looked, which
//! [`ReadAhead`] decides. The helpers are here for callers, too, whose own data walks in step with
//! the ring.

/// Asks for the line of `target` to be read soon.
///
/// Takes a raw pointer, which need not be valid: a prefetch never faults.
///
/// ```
/// let table = [7u64; 512];
/// ultrafastring::prefetch_read(&table[64]);
/// ```
#[inline(always)]
pub fn prefetch_read<T: ?Sized>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: `prefetcht0` is a hint: it dereferences nothing and cannot fault.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(target.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}

/// Asks for the line of `target` to be owned for writing soon.
///
/// Takes a raw pointer, which need not be valid: a prefetch never faults.
///
/// ```
/// let table = [7u64; 512];
/// ultrafastring::prefetch_write(&table[64]);
/// ```
#[inline(always)]
pub fn prefetch_write<T: ?Sized>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: `prefetchw` is a hint: it dereferences nothing and cannot fault. Processors
    // without it execute it as a no-op (AMD64 manual, volume 3, PREFETCHW).
    unsafe {
        core::arch::asm!(
            "prefetchw [{line}]",
            line = in(reg) target.cast::<u8>(),
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}

/// The farthest that a consumer fetches lines ahead of itself. `rdtsc` and the checks of a message
/// keep a core from having more than three to eight lines on their way by itself; measured, 32 halve
/// the cost where the consumer is what limits a stream.
const READ_AHEAD: u64 = 32;

/// How far ahead of itself a consumer fetches lines, and whether it does just now.
///
/// It does where messages lay when it last looked. One that follows its producer closely would take away
/// lines that are just being written: each travels twice, and a stream that costs 16 ticks a message
/// costs 180, in a step that neither side leaves by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAhead {
    distance: u64,
    on: bool,
    /// How many calls had found nothing when it was last decided.
    fruitless: u32,
}

impl ReadAhead {
    /// For a ring in which no more messages than `credit_limit` lie ahead.
    pub(crate) fn new(credit_limit: u64) -> Self {
        Self { distance: (credit_limit / 4).min(READ_AHEAD), on: false, fruitless: 0 }
    }

    /// The position whose line is to be fetched by one that is at `position`, if any is.
    #[inline(always)]
    pub(crate) fn beyond(self, position: u64) -> Option<u64> {
        self.on.then_some(position + self.distance)
    }

    /// Decides anew, for the messages until it is next asked. `fruitless` counts the calls that
    /// found nothing, and `is_there` looks whether the message so many ahead of the next is there.
    #[inline]
    pub(crate) fn settle(&mut self, fruitless: u32, is_there: impl Fn(u64) -> bool) {
        if self.distance == 0 {
            return;
        }
        self.on = if self.on {
            // At a line that was fetched some messages ago, which costs nothing.
            is_there(self.distance - (self.distance / 8).max(1))
        } else {
            // A look that may take a line away: not by one whose calls have just found nothing.
            self.fruitless == fruitless && is_there(2 * self.distance)
        };
        self.fruitless = fruitless;
    }

    /// Fetches nothing until it is decided anew: the stream has stopped.
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
            // At a line that was fetched: no farther than before the last message.
            let fetched = ahead.distance - 1;
            ahead.settle(0, |distance| distance <= fetched);
            assert!(ahead.on);
        }
    }
}
