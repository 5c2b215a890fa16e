//! Waiting: how one side sleeps, and how the other wakes it.
//!
//! ```text
//!  the sleeper                              the busy side
//!  ticket = rings                           commit the slot   (or: grant)
//!  state |= ASLEEP                          state & ASLEEP?   one relaxed load, no fence
//!  membarrier                                 │ seldom: state &= !ASLEEP
//!  look once more                             └─────────  rings += 1, wake in the kernel
//!  sleep while rings == ticket
//! ```
//!
//! Between its store and its load the busy side has no fence. The sleeper's expedited `membarrier`
//! (membarrier(2)) gives it one: when that call returns, every thread of every process that has
//! joined a ring has passed a full fence. So either the busy side's load comes after the fence and
//! sees ASLEEP, or its store comes before it and the sleeper's last look sees the message. Where a
//! process cannot use `membarrier`, or the ring was made so, FENCES in the same word sends the busy
//! side to the slow path after each message, where it fences and looks again.
//!
//! One ring of the bell wakes one consumer of a shared side, or all producers (their classes have different credit,
//! so any one of them may be the one that can go on). Until the woken one sleeps again nobody is
//! rung, however many messages come: that, and the coalescing controller on which spinning and
//! grants depend, is how wake-ups are folded. A consumer of a shared side that was woken looks
//! whether there is work for another one, and wakes it.
//!
//! Nobody sleeps longer than [`LONGEST_PARK`] at a time: a peer that is killed between its commit
//! and its ring, or that was woken and is killed before it looks, delays the others by that much
//! at most.

#[cfg(any(feature = "std", loom))]
use std::time::{Duration, Instant};

use crate::layout::{Bell, CLOSED, Sharing, Side};
#[cfg(any(feature = "std", loom))]
use crate::participant::Entry;
use crate::segment::Segment;
#[cfg(any(feature = "std", loom))]
use crate::segment::{Locker, Place};
use crate::sync::{Ordering, fence};
#[cfg(any(feature = "std", loom))]
use crate::threshold::{LOOK, RARE, SPIN_LEAST, SPIN_LONG, SPIN_MOST};

/// What a handle keeps for its waits.
#[cfg(any(feature = "std", loom))]
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) strategy: WaitStrategy,
    /// Times that nobody had rung for what was there.
    pub(crate) missed: u64,
    /// Waits that had to sleep since the last that did not.
    pub(crate) slept: u32,
    /// Whether its waits end when peers, handles of the other side, have been and none is left.
    pub(crate) ends_deserted: bool,
    /// Whether there has been one since that was asked for, or was then.
    pub(crate) seen_peers: bool,
    /// How many had ever been by then.
    pub(crate) arrived_before: u64,
    /// By when the call under way ends, however often it is led elsewhere.
    pub(crate) limit: Limit,
}

/// By when a call ends that is led elsewhere again and again.
#[cfg(any(feature = "std", loom))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Limit {
    /// When there is nowhere left to go.
    #[default]
    None,
    /// As soon as it looks: whoever calls looks at the clock, or lets others run, and calls again.
    AtOnce,
    /// By then.
    At(Instant),
}

#[cfg(any(feature = "std", loom))]
impl Limit {
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        deadline.map_or(Self::None, Self::At)
    }

    pub(crate) fn is_reached(self) -> bool {
        match self {
            Self::None => false,
            Self::AtOnce => true,
            Self::At(deadline) => remaining(Some(deadline)).is_none(),
        }
    }
}

/// How many handles of `side` are held by the living.
#[cfg(any(feature = "std", loom))]
pub(crate) fn living(segment: &Segment, locker: &Locker, side: Side) -> usize {
    (0..segment.entries_used())
        .filter(|&index| {
            let participant = segment.participant(index);
            participant.role().is_some_and(|role| role.side == side)
                // Of a dead one whoever finishes its work has the lock.
                && !participant.is_adopted()
                && locker.is_locked(segment, Place::Entry(index))
        })
        .count()
}

#[cfg(any(feature = "std", loom))]
impl Waiting {
    /// Has waits for peers of `side` end, or no longer end, when these have been and none is left.
    /// `seen` says whether something of theirs has been seen already.
    pub(crate) fn end_when_deserted(&mut self, entry: &Entry, side: Side, ends: bool, seen: bool) {
        let segment = entry.segment();
        self.ends_deserted = ends;
        // In this order: one that comes in between is counted later, or seen living.
        self.arrived_before = arrivals(segment, side);
        self.seen_peers = seen || living(segment, entry.locker(), side) != 0;
    }

    /// Whether peers of `side` have been and none is left. What they left behind may have come
    /// since it was last looked for.
    pub(crate) fn is_deserted(&mut self, entry: &Entry, side: Side) -> bool {
        let segment = entry.segment();
        // Before the living are counted: one that is counted as come is then found living, or has
        // left.
        self.seen_peers |= arrivals(segment, side) != self.arrived_before;
        // Not by those found living now: one that was there when this was asked for was seen then, one
        // that came later is counted, and a dead one's entry may be in the hands of somebody who only
        // looks after it.
        self.seen_peers && living(segment, entry.locker(), side) == 0
    }
}

/// How many handles of `side` have ever been taken.
#[cfg(any(feature = "std", loom))]
fn arrivals(segment: &Segment, side: Side) -> u64 {
    // Acquire: pairs with the release in `Entry::attach`.
    segment.control().arrivals[side as usize].load(Ordering::Acquire)
}

/// The number of the stream: how often the ring was opened again.
pub(crate) fn stream(segment: &Segment) -> u64 {
    // Acquire: pairs with the release in `reopen`.
    segment.control().streams.load(Ordering::Acquire)
}

/// How a handle waits; its calls that return at once do not care.
#[cfg(any(feature = "std", loom))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Tries again at once, for ever: the lowest latency, and a core of its own.
    Spin,
    /// Spins for a while and then offers its core to others after some tries each.
    SpinThenYield,
    /// Spins for some of the usual time between messages, as the coalescing controller sees it (3
    /// to 50 microseconds; at least 13 if that was enough the last time), and then sleeps in the
    /// kernel.
    #[default]
    SpinThenPark,
    /// Sleeps in the kernel at once: the least time of the processor.
    Park,
}

/// Upper bound on one sleep, and so on a lost wake-up.
#[cfg(any(feature = "std", loom))]
pub const LONGEST_PARK: Duration = Duration::from_millis(100);

/// How much of [`LONGEST_PARK`] a sleeper leaves to somebody who has sent, or granted, and has not
/// come to the bell yet, since another thread has its core, before it counts the bell as missed.
#[cfg(any(feature = "std", loom))]
const ABOUT_TO_RING: Duration = Duration::from_millis(25);

/// Has this process join those who are fenced by sleepers, and its threads fenced by each other, when
/// it makes or opens a ring. In a process with
/// several threads the kernel first waits until all processors have passed through its scheduler,
/// which takes milliseconds, once: not to be paid by whoever takes over from a dead peer.
pub(crate) fn prepare() {
    // Where it cannot be, each handle is told in `join`. And reads what tells how to wait, which a
    // sandbox that is entered later may forbid.
    #[cfg(feature = "std")]
    let _ = (kernel::register(), kernel::register_own(), kernel::is_alone());
}

/// Joins those who are fenced by sleepers, before a handle is first used. `prepare` has done what
/// takes long, unless this is a child whose kernel did not inherit it.
pub(crate) fn join(segment: &Segment) {
    #[cfg(feature = "std")]
    if !kernel::register() {
        demand_fences(segment);
    }
    #[cfg(not(feature = "std"))]
    let _ = segment;
}

/// A full fence in every running thread of this process; `false` if that cannot be, as in a sandbox
/// that was entered meanwhile.
pub(crate) fn fence_others() -> bool {
    // SeqCst: in the model each thread fences for itself.
    #[cfg(loom)]
    fence(Ordering::SeqCst);
    // `prepare` has registered it, unless this is a child whose kernel did not inherit it.
    #[cfg(feature = "std")]
    return kernel::fence_own() || (kernel::register_own() && kernel::fence_own());
    #[cfg(not(feature = "std"))]
    cfg!(loom)
}

/// A full fence in every running thread of every process that has joined this ring: what one stored
/// that does not run any more is seen after it. `false` if there is one that cannot be fenced.
#[cfg(feature = "std")]
pub(crate) fn fence_all_of(segment: &Segment) -> bool {
    // Relaxed: who cannot be fenced said so before its handle was first used, and is asked about
    // because of what it did later, which was seen by an acquire.
    let fences = |side| segment.control().bell(side).state.load(Ordering::Relaxed) & Bell::FENCES;
    (fences(Side::Producer) | fences(Side::Consumer)) == 0 && kernel::fence_everybody()
}

/// Makes both busy sides fence before they look for sleepers.
pub(crate) fn demand_fences(segment: &Segment) {
    for side in [Side::Producer, Side::Consumer] {
        // Relaxed: until a busy peer sees it, LONGEST_PARK bounds what can be missed.
        segment.control().bell(side).state.fetch_or(Bell::FENCES, Ordering::Relaxed);
    }
}

/// Whether the busy side has to do something about those of `side`: most often not.
#[inline(always)]
pub(crate) fn is_alert(segment: &Segment, side: Side) -> bool {
    // The compiler must not move the load before our commit or grant, which the sleeper's membarrier
    // then would not help. (The machine may: see the module. No instruction comes of this.)
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    // Relaxed: that it comes after our commit or grant is the work of the sleeper's membarrier, or
    // of the fence in `ring`.
    segment.control().bell(side).state.load(Ordering::Relaxed) != 0
}

/// Wakes those of `side` if some sleep: one consumer of a shared side, or all there are.
#[cold]
#[inline(never)]
pub(crate) fn ring(segment: &Segment, side: Side) {
    let bell = segment.control().bell(side);
    let mut state = bell.state.load(Ordering::Relaxed);
    if state & Bell::FENCES != 0 {
        // SeqCst: pairs with the fence in `arm`: this load comes after our commit or grant.
        fence(Ordering::SeqCst);
        state = bell.state.load(Ordering::Relaxed);
    }
    // AcqRel: of several who find it set, one rings; what it committed comes before.
    if state & Bell::ASLEEP != 0
        && bell.state.fetch_and(!Bell::ASLEEP, Ordering::AcqRel) & Bell::ASLEEP != 0
    {
        // An exclusive consumer is one, but may have a thread of an event loop asleep beside it, or a
        // predecessor's: whoever of them is woken alone has nobody to hand it on to.
        let one = side == Side::Consumer && segment.geometry().consumer_sharing == Sharing::Shared;
        sound(bell, !one);
    }
}

/// Wakes all of `side` that sleep: something has changed that each must look at.
#[cold]
pub(crate) fn ring_all(segment: &Segment, side: Side) {
    let bell = segment.control().bell(side);
    // SeqCst: pairs with the fence in `arm`: a sleeper that armed before is found, one that arms
    // later sees what has changed.
    fence(Ordering::SeqCst);
    bell.state.fetch_and(!Bell::ASLEEP, Ordering::AcqRel);
    // Whether or not it was marked: after a ring for one of them others sleep on unmarked.
    sound(bell, true);
}

fn sound(bell: &Bell, all: bool) {
    // Release: a sleeper that finds its ticket out of date sees what it is woken for.
    bell.rings.fetch_add(1, Ordering::Release);
    #[cfg(any(feature = "std", loom))]
    kernel::wake(bell, if all { i32::MAX as u32 } else { 1 });
    #[cfg(not(any(feature = "std", loom)))]
    let _ = all;
}

/// Announces a sleeper of `side`. It must look once more before it sleeps on the ticket.
#[cfg(any(feature = "std", loom))]
pub(crate) fn arm(segment: &Segment, side: Side) -> u32 {
    let bell = segment.control().bell(side);
    // Acquire, and first: whoever takes our mark away rings later, and the ticket is out of date.
    let ticket = bell.rings.load(Ordering::Acquire);
    bell.state.fetch_or(Bell::ASLEEP, Ordering::AcqRel);
    // SeqCst: pairs with the fence in `ring`, where the busy side fences for itself.
    fence(Ordering::SeqCst);
    #[cfg(feature = "std")]
    if !kernel::fence_everybody() {
        // A sandbox was entered since this process joined: the others fence for themselves, from
        // their next look on.
        demand_fences(segment);
    }
    ticket
}

/// Takes the mark of the only sleeper of `side` away.
#[cfg(any(feature = "std", loom))]
pub(crate) fn disarm(segment: &Segment, side: Side) {
    // Relaxed: a bell that is rung in vain costs a system call and nothing else.
    segment.control().bell(side).state.fetch_and(!Bell::ASLEEP, Ordering::Relaxed);
}

/// Whether a bell was rung since the last sleeper of `side` announced itself.
#[cfg(any(feature = "std", loom))]
pub(crate) fn is_rung(segment: &Segment, side: Side) -> bool {
    segment.control().bell(side).state.load(Ordering::Relaxed) & Bell::ASLEEP == 0
}

/// Closes the ring and wakes everybody.
pub(crate) fn close(segment: &Segment) {
    // Release, both: whoever sees it closed sees what its closer sent before.
    match segment.geometry().producer_sharing {
        Sharing::Shared => {
            segment.counters().producer_head.fetch_or(CLOSED, Ordering::AcqRel);
        }
        Sharing::Exclusive => {
            let bell = segment.control().bell(Side::Consumer);
            bell.state.fetch_or(Bell::CLOSED, Ordering::AcqRel);
        }
    }
    ring_all(segment, Side::Consumer);
    ring_all(segment, Side::Producer);
}

/// Opens a closed ring again.
pub(crate) fn reopen(segment: &Segment) {
    if !is_closed(segment) {
        return;
    }
    // AcqRel, both: a word in which others count or mark as well.
    let opened = match segment.geometry().producer_sharing {
        Sharing::Shared => {
            let head = &segment.counters().producer_head;
            head.fetch_and(!CLOSED, Ordering::AcqRel) & CLOSED != 0
        }
        Sharing::Exclusive => {
            let bell = segment.control().bell(Side::Consumer);
            bell.state.fetch_and(!Bell::CLOSED, Ordering::AcqRel) & Bell::CLOSED != 0
        }
    };
    if opened {
        // By whoever of several has opened it, and after: before it, one who waits for the next
        // stream could take the old one's end for the new one's. One that is killed in between has
        // opened a stream that is not counted: its end is noticed by who has seen it open or
        // received something of it, and for the others there was none.
        // Release: whoever sees the new number, and the ring closed, sees the end of that stream.
        segment.control().streams.fetch_add(1, Ordering::Release);
    }
}

/// Whether the ring is closed.
#[inline]
pub(crate) fn is_closed(segment: &Segment) -> bool {
    // Acquire, both: pairs with the release in `close`: what its closer sent is seen.
    match segment.geometry().producer_sharing {
        Sharing::Shared => segment.counters().producer_head.load(Ordering::Acquire) & CLOSED != 0,
        Sharing::Exclusive => {
            let state = segment.control().bell(Side::Consumer).state.load(Ordering::Acquire);
            state & Bell::CLOSED != 0
        }
    }
}

/// A handle that can wait for something.
#[cfg(any(feature = "std", loom))]
pub(crate) trait Sleeper {
    /// The side whose bell it hears.
    const SIDE: Side;
    /// Why it stops waiting, other than for what it waits for.
    type Stop;

    fn segment(&self) -> &Segment;

    /// Whether to go on, by the same look as a call that returns at once.
    fn glance(&mut self) -> Result<bool, Self::Stop>;

    /// Whether to go on, with everything looked at: closed rings, dead peers, what was put off.
    fn look(&mut self) -> Result<bool, Self::Stop>;

    /// Takes back what `arm` announced: `ready` if it goes on with what it waited for.
    fn leave(&mut self, ready: bool);

    /// Ticks between arrivals.
    fn interval(&self) -> u64;

    /// How to wait, and what came of it before.
    fn waiting(&mut self) -> &mut Waiting;

    /// Counts a time that nobody rang for what was there.
    fn note_missed(&mut self) {
        self.waiting().missed += 1;
    }

    /// That nothing came in time.
    fn timed_out() -> Self::Stop;
}

/// Tries in a row, with no pause of the wait's own between them, before a look at the clock and a
/// pause, which take as long as several tries: what comes meanwhile waits for them.
#[cfg(any(feature = "std", loom))]
const TRIES_IN_A_ROW: u32 = 32;

/// Rows before those who yield do.
#[cfg(any(feature = "std", loom))]
const ROWS_BEFORE_YIELD: u64 = 4;

/// Whether a wait for one handle begins by spinning.
#[cfg(any(feature = "std", loom))]
fn spins(strategy: WaitStrategy) -> bool {
    match strategy {
        WaitStrategy::Park => false,
        WaitStrategy::SpinThenPark => !kernel::is_alone(),
        WaitStrategy::Spin | WaitStrategy::SpinThenYield => true,
    }
}

/// How often a call that waits for a message tries by itself before it begins to wait. What comes by
/// then, as the answer of a peer on a near core does, is spared the way into the wait and back.
#[cfg(any(feature = "std", loom))]
#[inline]
pub(crate) fn tries_first(strategy: WaitStrategy) -> u32 {
    if spins(strategy) && !cfg!(loom) { 2 * TRIES_IN_A_ROW } else { 1 }
}

/// Waits until `sleeper` can go on, or must stop, or `deadline` has passed.
#[cfg(any(feature = "std", loom))]
pub(crate) fn wait<S: Sleeper>(sleeper: &mut S, deadline: Option<Instant>) -> Result<(), S::Stop> {
    let interval = sleeper.interval();
    let how = spin_ticks(interval, sleeper.waiting());
    if spin(sleeper, how, deadline)? {
        sleeper.waiting().slept = 0;
        return Ok(());
    }
    let slept = &mut sleeper.waiting().slept;
    *slept = slept.wrapping_add(1);
    let mut leaving = Leaving { sleeper, armed: false };
    // That of a sleep which nobody ended: what was announced then still stands.
    let mut standing = None;
    loop {
        let ticket = if let Some(ticket) = standing.take() {
            ticket
        } else {
            // Everything that was put off is done before sleeping, and what is due after it.
            if leaving.sleeper.look()? {
                return leaving.ready();
            }
            leaving.armed = true;
            arm(leaving.sleeper.segment(), S::SIDE)
        };
        if leaving.sleeper.look()? {
            return leaving.ready();
        }
        let Some(most) = remaining(deadline) else { return Err(S::timed_out()) };
        // The last part of the longest sleep is kept for whoever is just about to ring.
        let is_longest = most == LONGEST_PARK;
        let most = if is_longest { LONGEST_PARK - ABOUT_TO_RING } else { most };
        let segment = leaving.sleeper.segment();
        let slept_out = kernel::park(segment.control().bell(S::SIDE), ticket, most);
        let unrung = slept_out && !is_rung(segment, S::SIDE);
        if leaving.sleeper.glance()? {
            if unrung && is_longest {
                let bell = leaving.sleeper.segment().control().bell(S::SIDE);
                // What is there may be so new that its sender has not come to the bell yet.
                if kernel::park(bell, ticket, ABOUT_TO_RING) {
                    leaving.sleeper.note_missed();
                }
            }
            return leaving.ready();
        }
        // Marked for as long as we slept, so that whoever rings from now on makes the ticket
        // out of date.
        standing = unrung.then_some(ticket);
    }
}

/// How long to sleep at most; `None` if `deadline` has passed.
#[cfg(any(feature = "std", loom))]
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else { return Some(LONGEST_PARK) };
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.min(LONGEST_PARK))
}

/// Whoever leaves with nothing, by a panic too, hands on what it may have been woken for.
#[cfg(any(feature = "std", loom))]
struct Leaving<'a, S: Sleeper> {
    sleeper: &'a mut S,
    armed: bool,
}

#[cfg(any(feature = "std", loom))]
impl<S: Sleeper> Leaving<'_, S> {
    fn ready(mut self) -> Result<(), S::Stop> {
        if core::mem::take(&mut self.armed) {
            self.sleeper.leave(true);
        }
        Ok(())
    }
}

#[cfg(any(feature = "std", loom))]
impl<S: Sleeper> Drop for Leaving<'_, S> {
    fn drop(&mut self) {
        if self.armed {
            self.sleeper.leave(false);
        }
    }
}

/// How long to spin before sleeping, and whether to yield; `None`: not at all.
#[cfg(any(feature = "std", loom))]
fn spin_ticks(interval: u64, waiting: &Waiting) -> Option<(u64, bool)> {
    /// While all waits have to sleep, one in so many spins for long all the same.
    const LONG_ONE_IN: u32 = 16;
    if !spins(waiting.strategy) {
        return None;
    }
    if waiting.strategy != WaitStrategy::SpinThenPark {
        return Some((u64::MAX, waiting.strategy == WaitStrategy::SpinThenYield));
    }
    // Eight times the usual: a gap of that length is seldom one of the stream.
    let usual = if interval >= RARE.ticks() { 0 } else { 8 * interval };
    let long = waiting.slept.is_multiple_of(LONG_ONE_IN);
    let least = if long { SPIN_LONG.ticks() } else { SPIN_LEAST.ticks() };
    Some((usual.max(least).min(SPIN_MOST.ticks()), false))
}

/// Tries for a while. Says whether to go on; `false`: to sleep.
#[cfg(any(feature = "std", loom))]
fn spin<S: Sleeper>(
    sleeper: &mut S,
    how: Option<(u64, bool)>,
    deadline: Option<Instant>,
) -> Result<bool, S::Stop> {
    let Some((ticks, yields)) = how else { return Ok(false) };
    let start = crate::rdtsc();
    let mut looked = start;
    let mut rows = 0u64;
    loop {
        for _ in 0..TRIES_IN_A_ROW {
            if sleeper.glance()? {
                return Ok(true);
            }
        }
        rows += 1;
        let now = crate::rdtsc();
        // Wrapping, both: a clock that was set back is a reason to go on, not to wait for it.
        let enough = now.wrapping_sub(start) > ticks;
        let offers = yields && rows > ROWS_BEFORE_YIELD;
        // The clock of the system costs a good part of a row, and nothing beside what others may do
        // with the core.
        if (enough || offers || rows % 4 == 1) && remaining(deadline).is_none() {
            // Not before everything was looked at: `wait_any` may have said that there is something.
            return if sleeper.look()? { Ok(true) } else { Err(S::timed_out()) };
        }
        if enough {
            return Ok(false);
        }
        if now.wrapping_sub(looked) > LOOK.ticks() {
            looked = now;
            if sleeper.look()? {
                return Ok(true);
            }
        }
        if offers {
            std::thread::yield_now();
        } else {
            core::hint::spin_loop();
        }
    }
}

/// What the kernel does for those who wait.
#[cfg(feature = "std")]
pub(crate) mod kernel {
    use core::sync::atomic::AtomicU32;
    use std::sync::OnceLock;
    use std::time::Duration;

    use crate::layout::Bell;

    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags, Timespec};
    use rustix::thread::{MembarrierCommand, membarrier};
    use rustix::time::clock_gettime;

    /// Has this process fenced by the sleepers of others; `false` if that cannot be. Asked for
    /// each handle, since a forked child may not inherit it; it is one short system call.
    pub(super) fn register() -> bool {
        membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    }

    /// A fence in every running thread of every process that is registered; `false` if that cannot
    /// be.
    pub(super) fn fence_everybody() -> bool {
        membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }

    /// Has the threads of this process fenced by each other; `false` if that cannot be.
    pub(super) fn register_own() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    /// A fence in every running thread of this process, and in no other; `false` if that cannot be.
    pub(super) fn fence_own() -> bool {
        membarrier(MembarrierCommand::PrivateExpedited).is_ok()
    }

    /// Sleeps while `bell` was not rung since `ticket`, and at most so long. It may wake for no
    /// reason. Says whether the time went by.
    pub(crate) fn park(bell: &Bell, ticket: u32, most: Duration) -> bool {
        let most = Timespec {
            tv_sec: most.as_secs() as i64,
            tv_nsec: i64::from(most.subsec_nanos()) as _,
        };
        // Not private: the word is shared between processes. Whatever ends the sleep (the bell, the
        // time, a signal, a word that has changed), the caller looks again.
        futex::wait(&bell.rings, Flags::empty(), ticket, Some(&most)) == Err(Errno::TIMEDOUT)
    }

    /// As `park`, on the words of several bells with a ticket each.
    pub(crate) fn park_any(tickets: &[(&AtomicU32, u32)], most: Duration) {
        let wait = |&(word, ticket): &(&AtomicU32, u32)| {
            let mut wait = futex::Wait::new();
            wait.val = ticket.into();
            wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
            wait.flags = futex::WaitFlags::SIZE_U32;
            wait
        };
        let waits: std::vec::Vec<_> = tickets.iter().map(wait).collect();
        // A moment, where `futex` has a length of time.
        let clock = clock_gettime(rustix::time::ClockId::Monotonic);
        let nanoseconds = clock.tv_nsec as u64 + u64::from(most.subsec_nanos());
        let until = Timespec {
            tv_sec: clock.tv_sec + most.as_secs() as i64 + (nanoseconds / 1_000_000_000) as i64,
            tv_nsec: (nanoseconds % 1_000_000_000) as _,
        };
        let flags = futex::WaitvFlags::empty();
        let woken = futex::waitv(&waits, flags, Some(&until), futex::ClockId::Monotonic);
        // Not before Linux 5.16, not where a sandbox forbids it, and not for more than 128.
        if let Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) = woken {
            std::thread::sleep(most.min(SLICE));
        }
    }

    /// How long to sleep between looks where the kernel cannot listen for several.
    const SLICE: Duration = Duration::from_millis(1);

    /// Wakes up to `count` of those who sleep by `bell`.
    pub(super) fn wake(bell: &Bell, count: u32) {
        // It fails for a bad address only.
        let _ = futex::wake(&bell.rings, Flags::empty(), count);
    }

    /// Whether the machine has but one core, where spinning keeps the peer from running.
    pub(super) fn is_alone() -> bool {
        static ALONE: OnceLock<bool> = OnceLock::new();
        *ALONE.get_or_init(has_one_core)
    }

    /// Not whether this process is kept on one: its peer, then, is most often kept on another. So
    /// the kernel's own list is asked first, and `sysconf` last, which in some C libraries (musl)
    /// counts where this process may run. Not the list, and no directory for it, is in some containers.
    pub(super) fn has_one_core() -> bool {
        let read = |path| std::fs::read_to_string(path).ok();
        let count = read("/sys/devices/system/cpu/online")
            .and_then(|list| count_online(&list))
            .or_else(|| read("/proc/stat").and_then(|stat| count_in_stat(&stat)));
        match count {
            Some(count) => count == 1,
            // SAFETY: asks for a number.
            None => unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) == 1 },
        }
    }

    /// How many processors a list of the kernel's says, such as `0-3,8`; `None` if it is none.
    pub(super) fn count_online(list: &str) -> Option<u32> {
        list.trim().split(',').try_fold(0u32, |count, range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            count.checked_add(last.checked_sub(first)?.checked_add(1)?)
        })
    }

    /// How many processors have a line in `/proc/stat`, where each that is online has one; `None` if
    /// none has.
    pub(super) fn count_in_stat(stat: &str) -> Option<u32> {
        let of_one = |line: &&str| {
            line.strip_prefix("cpu")
                .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
        };
        match stat.lines().filter(of_one).count() as u32 {
            0 => None,
            count => Some(count),
        }
    }
}

/// The kernel's part in the model: a futex is a word that is compared under a lock, and a lock and
/// a condition to wait by. No time passes, so a wake-up that is lost is a deadlock, which loom finds.
#[cfg(loom)]
pub(crate) mod kernel {
    use std::time::Duration;

    use crate::layout::Bell;
    use crate::sync::Ordering;

    pub(crate) fn park(bell: &Bell, ticket: u32, _: Duration) -> bool {
        let guard = bell.queue.lock.lock().unwrap();
        // Acquire: as the kernel's comparison, which its lock orders.
        if bell.rings.load(Ordering::Acquire) == ticket {
            drop(bell.queue.condition.wait(guard).unwrap());
        }
        false
    }

    pub(super) fn wake(bell: &Bell, count: u32) {
        let _guard = bell.queue.lock.lock().unwrap();
        match count {
            1 => bell.queue.condition.notify_one(),
            _ => bell.queue.condition.notify_all(),
        }
    }

    pub(super) fn is_alone() -> bool {
        true
    }

    /// Where those sleep who sleep by a bell.
    #[derive(Debug)]
    pub(crate) struct Queue {
        lock: loom::sync::Mutex<()>,
        condition: loom::sync::Condvar,
    }

    impl Default for Queue {
        fn default() -> Self {
            Self { lock: loom::sync::Mutex::new(()), condition: loom::sync::Condvar::new() }
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_is_kept_on_one_core_of_several_spins_all_the_same() {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
            eprintln!("skipped: this process has one core");
            return;
        }
        std::thread::spawn(|| {
            let core = rustix::thread::sched_getcpu();
            let mut only = rustix::thread::CpuSet::new();
            only.set(core);
            rustix::thread::sched_setaffinity(None, &only).unwrap();
            assert!(!kernel::has_one_core());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn processors_are_counted_in_what_the_kernel_says_and_in_nothing_else() {
        let lists = [("0\n", 1), ("0-1\n", 2), ("0,2-5,7", 6), ("3", 1), ("0-0", 1)];
        for (list, count) in lists {
            assert_eq!(kernel::count_online(list), Some(count), "{list}");
        }
        for list in ["", "\n", "a", "1-", "-1", "3-2", "0,", "0-4294967295", "0-4294967294,1"] {
            assert_eq!(kernel::count_online(list), None, "{list}");
        }
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu1 4 5 6\nintr 9 9\ncpus 2\n";
        assert_eq!(kernel::count_in_stat(stat), Some(2));
        assert_eq!(kernel::count_in_stat("cpu  1 2 3\n"), None);
    }

    /// The bell of a sleeper whose time is up, and what it finds: a message for which the bell is
    /// rung at that moment, or never.
    struct Late<'a> {
        segment: &'a Segment,
        waiting: Waiting,
        rings: Rings,
    }

    #[derive(Clone, Copy, Debug)]
    enum Rings {
        AsTheMessageIsSeen,
        Later,
        Never,
    }

    impl Sleeper for Late<'_> {
        const SIDE: Side = Side::Consumer;
        type Stop = ();

        fn segment(&self) -> &Segment {
            self.segment
        }

        /// Only called after a sleep.
        fn glance(&mut self) -> Result<bool, ()> {
            let segment = self.segment.clone();
            match self.rings {
                Rings::AsTheMessageIsSeen => ring(&segment, Side::Consumer),
                Rings::Later => drop(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(2));
                    ring(&segment, Side::Consumer);
                })),
                Rings::Never => {}
            }
            Ok(true)
        }

        fn look(&mut self) -> Result<bool, ()> {
            Ok(false)
        }

        fn leave(&mut self, _: bool) {
            disarm(self.segment, Side::Consumer);
        }

        fn interval(&self) -> u64 {
            0
        }

        fn waiting(&mut self) -> &mut Waiting {
            &mut self.waiting
        }

        fn timed_out() {}
    }

    #[test]
    fn a_bell_that_is_being_rung_when_the_time_is_up_is_not_a_missed_one() {
        let missed = |rings| {
            let ring = crate::Builder::new().exclusive_consumer().heap().unwrap();
            let waiting = Waiting { strategy: WaitStrategy::Park, ..Waiting::default() };
            let mut late = Late { segment: ring.segment(), waiting, rings };
            assert_eq!(wait(&mut late, None), Ok(()));
            late.waiting.missed
        };
        assert_eq!(missed(Rings::AsTheMessageIsSeen), 0);
        assert_eq!(missed(Rings::Never), 1);
        // A thread may come too late, if there is much to do here; but not each time.
        assert!((0..50).any(|_| missed(Rings::Later) == 0), "it waits for nobody");
    }

    #[test]
    fn spinning_is_long_while_it_is_enough_and_now_and_then_when_it_is_not() {
        // What this machine's counter makes of a time, once the thresholds say the same.
        let rate = crate::clock::Clock::calibrated().ticks_per_second as u64;
        crate::threshold::settle();
        let of = |nanoseconds| crate::clock::ticks_in(nanoseconds, rate);
        let mut waiting = Waiting::default();
        let mut ticks = |slept, interval| {
            waiting.slept = slept;
            spin_ticks(interval, &waiting).map_or(0, |(ticks, _)| ticks)
        };
        if kernel::is_alone() {
            assert_eq!(ticks(0, of(190)), 0);
            return;
        }
        let rare = of(12_600);
        let (long, least) = (ticks(0, rare), ticks(1, rare));
        assert!(long > least && least > 0);
        for slept in 1..100 {
            let expected = if slept % 16 == 0 { long } else { least };
            assert_eq!(ticks(slept, rare), expected, "after {slept} sleeps");
        }
        // Eight times the usual, where that is known and more.
        assert_eq!(ticks(1, of(770)), 8 * of(770));
        assert_eq!(ticks(0, of(770)), long);
        assert_eq!(ticks(0, of(3_850)), 8 * of(3_850));
    }
}
