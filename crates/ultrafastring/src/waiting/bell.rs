//! The bell of a side: how sleepers arm it, and how the busy side wakes them. [`waiting`](super)
//! shows the protocol.

use crate::layout::bell::Bell;
#[cfg(feature = "std")]
use crate::processor;
use crate::segment::Segment;
use crate::settings::{Sharing, Side};
use crate::sync::{Ordering, fence};
use crate::waiting::kernel;

/// Registers this process for `membarrier`, so that sleepers can fence it and its threads can fence
/// each other. This happens when it makes or opens a ring. In a process with several threads the
/// kernel first waits until all processors have passed through its scheduler. That takes
/// milliseconds, once, and a process that takes over from a dead peer must not wait for it.
pub(crate) fn prepare() {
    // If it fails, each handle notices in `join`.
    let _ = (kernel::register(), kernel::register_own());
    // Read now what decides how to wait, because a sandbox that is entered later may forbid it.
    #[cfg(feature = "std")]
    processor::is_alone();
}

/// Makes sure that sleepers can fence this process, before a handle is first used. `prepare` has
/// done the slow part, unless this is a forked child that did not inherit it.
pub(crate) fn join(segment: &Segment) {
    if !kernel::register() {
        demand_fences(segment);
    }
}

/// A full fence in every running thread of every process that has joined this ring. After it, the
/// last stores of a thread that no longer runs are seen. `false` if some process cannot be fenced.
#[cfg(feature = "std")]
pub(crate) fn fence_all_of(segment: &Segment) -> bool {
    // Relaxed: a process that cannot be fenced has set the bit before it first used its handle.
    // This is called because of what it did later, which was seen by an acquire.
    let fences = |side| segment.control().bell(side).state.load(Ordering::Relaxed) & Bell::FENCES;
    (fences(Side::Producer) | fences(Side::Consumer)) == 0 && kernel::fence_everybody()
}

/// Makes both busy sides fence before they look for sleepers.
pub(crate) fn demand_fences(segment: &Segment) {
    for side in [Side::Producer, Side::Consumer] {
        for bell in segment.all_bells(side) {
            // Relaxed: until a busy peer sees it, LONGEST_PARK bounds what can be missed.
            bell.state.fetch_or(Bell::FENCES, Ordering::Relaxed);
        }
    }
}

/// Whether the busy side has to do something for sleepers of `side`. Most often it has not.
#[inline(always)]
pub(crate) fn is_alert(segment: &Segment, side: Side) -> bool {
    // The compiler must not move the load before our commit or grant, since the sleeper's
    // membarrier could not repair that. The processor may: see the drawing. This fence is no
    // instruction.
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    // Relaxed: the sleeper's membarrier, or the fence in `wake`, orders it after our commit or
    // grant.
    segment.control().bell(side).state.load(Ordering::Relaxed) != 0
}

/// Whether a wake-up of `side` wakes one sleeper, which wakes another if there is more work.
///
/// An exclusive side has one consumer. But a thread of its event loop, or of a predecessor's, may
/// sleep beside it. If only one of them were woken, it could not pass the wake-up on. So all are
/// woken.
pub(crate) fn wakes_one(segment: &Segment, side: Side) -> bool {
    side == Side::Consumer
        && segment.settings().consumer_side == Sharing::Shared
        // Each group's sleepers get each message.
        && !segment.is_joinable()
        // A sleeper that hands a wake-up on would have to know for which lane it is.
        && !segment.has_lanes()
}

/// Whether a producer may sleep until another of them commits or abandons what it has claimed: in a
/// ring for groups, whose producers are held back by that too.
pub(crate) fn waits_for_commits(segment: &Segment) -> bool {
    segment.is_joinable() && segment.settings().producer_side == Sharing::Shared
}

/// Wakes sleepers of `side`, if there are any: one consumer of a shared side, otherwise all.
#[cold]
#[inline(never)]
pub(crate) fn wake(segment: &Segment, side: Side) {
    let bell = segment.control().bell(side);
    let mut state = bell.state.load(Ordering::Relaxed);
    if state & Bell::FENCES != 0 {
        // SeqCst: pairs with the fence in `arm`. This load comes after our commit or grant.
        fence(Ordering::SeqCst);
        state = bell.state.load(Ordering::Relaxed);
    }
    // AcqRel: if several find it armed, one of them wakes the sleeper, and what that one committed
    // comes before.
    if state & Bell::ASLEEP != 0
        && bell.state.fetch_and(!Bell::ASLEEP, Ordering::AcqRel) & Bell::ASLEEP != 0
    {
        end_sleep(segment.sleeping_bell(side), !wakes_one(segment, side));
    }
}

/// Wakes all sleepers of `side`, because each must look at what has changed.
#[cold]
pub(crate) fn wake_all(segment: &Segment, side: Side) {
    let bell = segment.control().bell(side);
    // SeqCst: pairs with the fence in `arm`. A sleeper that armed before is found, and one that
    // arms later sees what has changed.
    fence(Ordering::SeqCst);
    bell.state.fetch_and(!Bell::ASLEEP, Ordering::AcqRel);
    // Whether or not the bell is armed: after a wake-up for one sleeper, others may sleep on while
    // it is not.
    end_sleep(segment.sleeping_bell(side), true);
}

fn end_sleep(bell: &Bell, all: bool) {
    // Release: a sleeper that finds its ticket out of date sees what it is woken for.
    bell.wakes.fetch_add(1, Ordering::Release);
    kernel::wake(bell, all);
}

/// Arms the bell for a sleeper of `side`. The sleeper must look once more before it sleeps on the
/// ticket.
#[cfg(any(feature = "std", loom))]
pub(crate) fn arm(segment: &Segment, side: Side) -> u32 {
    arm_lanes(segment, side, |_| true)
}

/// As [`arm`], for a sleeper that may wait for some of all lanes only: `waits_for` says for which.
/// What comes in another does not wake it.
#[cfg(any(feature = "std", loom))]
pub(crate) fn arm_lanes(segment: &Segment, side: Side, waits_for: impl Fn(usize) -> bool) -> u32 {
    if side == Side::Producer && waits_for_commits(segment) {
        // Those who commit look at this bell alone, and ring both (`Producer::attend`). AcqRel, and
        // before the fences below, as for the mark of one's own.
        let consumers = segment.control().bell(Side::Consumer);
        consumers.state.fetch_or(Bell::ASLEEP, Ordering::AcqRel);
    }
    // Acquire, and first: whoever clears our mark raises the count afterwards, so the ticket is out
    // of date.
    let ticket = segment.sleeping_bell(side).wakes.load(Ordering::Acquire);
    if segment.sleeps_by_lane(side) {
        segment.control().bell(side).state.fetch_or(Bell::ASLEEP, Ordering::AcqRel);
    } else {
        let all = segment.all_bells(side).enumerate();
        for (_, bell) in all.filter(|&(lane, _)| waits_for(lane)) {
            // Relaxed: a mark that is seen and was cleared by now was cleared by one that raises
            // the count after that, and the count was read before. So most marks are only loaded:
            // those of lanes from which nothing came since the last sleep.
            if bell.state.load(Ordering::Relaxed) & Bell::ASLEEP == 0 {
                bell.state.fetch_or(Bell::ASLEEP, Ordering::AcqRel);
            }
        }
    }
    // SeqCst: pairs with the fence in `wake`, where the busy side fences itself.
    fence(Ordering::SeqCst);
    if !kernel::fence_everybody() {
        // The process entered a sandbox after it joined. The others fence themselves from their
        // next look on.
        demand_fences(segment);
    }
    ticket
}

/// A ticket for a sleeper of `side` that only waits for `wake_all`, which needs no armed bell. It
/// must look once more before it sleeps on the ticket.
#[cfg(any(feature = "std", loom))]
pub(crate) fn ticket(segment: &Segment, side: Side) -> u32 {
    // Acquire: pairs with the release in `end_sleep`. Either the next look sees what has changed,
    // or the ticket is out of date.
    segment.sleeping_bell(side).wakes.load(Ordering::Acquire)
}

/// Clears the mark of the only sleeper of `side`. Where sleepers wait for all lanes it stays: the
/// next that sleeps finds it set, and an idle lane's line need not be written again.
#[cfg(any(feature = "std", loom))]
pub(crate) fn disarm(segment: &Segment, side: Side) {
    if !segment.sleeps_by_lane(side) {
        return;
    }
    // Relaxed: a wake-up of nobody costs only a system call.
    segment.control().bell(side).state.fetch_and(!Bell::ASLEEP, Ordering::Relaxed);
}

/// Whether the bell of `side` is armed: nobody was woken since a sleeper last armed it.
#[cfg(any(feature = "std", loom))]
pub(crate) fn is_armed(segment: &Segment, side: Side) -> bool {
    if segment.sleeps_by_lane(side) {
        is_armed_now(segment.control().bell(side))
    } else {
        // Whoever has cleared one may have died before it woke anybody.
        segment.all_bells(side).all(is_armed_now)
    }
}

/// The same of any bell, for whoever only looks.
pub(crate) fn is_armed_now(bell: &Bell) -> bool {
    // Relaxed: a mark that is seen too late costs a look.
    bell.state.load(Ordering::Relaxed) & Bell::ASLEEP != 0
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;

    #[test]
    fn a_producer_that_sleeps_over_what_another_has_claimed_is_woken_when_that_is_settled() {
        for commits in [true, false] {
            let ring = UltraFastRing::builder().joinable().capacity(8).heap().unwrap();
            let bell = ring.segment().control().bell(Side::Producer);
            let wakes = || bell.wakes.load(Ordering::Relaxed);
            let mut other = ring.producer().unwrap();
            let reservation = other.try_reserve(1, PriorityClass::Normal).unwrap();
            arm(ring.segment(), Side::Producer);
            let before = wakes();
            if commits {
                reservation.commit();
            } else {
                drop(reservation);
            }
            assert_ne!(wakes(), before);
            // Nobody sleeps any more.
            let before = wakes();
            other.try_send(b"x", PriorityClass::Normal).unwrap();
            assert_eq!(wakes(), before);
        }
    }
}
