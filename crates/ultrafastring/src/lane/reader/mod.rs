//! The receiving end of a lane: one position, and the slots that are read.
//!
//! ```text
//!  exclusive  committed? ── read ── consumer_head = p+1
//!  shared     committed? ── read ── compare-and-swap consumer_head p → p+1
//!  in place   committed? ── show hold ── claim ── read … ── clear hold
//! ```
//!
//! A copying receive on a shared side reads the slot *before* it claims the position. As long as
//! `consumer_head` has not passed the position, the release frontier has not either, so nobody can
//! have written the slot meanwhile. If the head has passed, the claim fails and what was read is
//! thrown away. So claim and release are one step, and no hold is needed. A hold is shown where the
//! two are apart: when a message is read in place, when several are claimed at once, or when the
//! message lies in a side buffer, since copying much for a claim that fails would be a waste.
//!
//! A [`Reader`] knows nothing about waiting and pace. It is given its [`Lane`] with each call. Each
//! mode has a file with what differs, through [`ReaderMode`].

pub(crate) mod adoption;
mod batch;
pub(crate) mod copy;
pub(crate) mod delivery;
mod exclusive;
mod member;
pub(crate) mod read_ahead;
pub(crate) mod room;
mod shared;
pub(crate) mod tally;

use core::marker::PhantomData;

use crate::lane::view::OwnLane;
use crate::layout::counters::Cursor;
use crate::layout::participant::Event;
use crate::layout::side::Copying;
use crate::layout::slot::SlotState;
use crate::layout::span::Span;
use crate::limits::MAX_POSITION;
use crate::prefetch::prefetch_read;
use crate::recover::finish::Adopted;
use crate::sync::Ordering;
use adoption::Adoption;
use delivery::time_for;
use read_ahead::ReadAhead;
use room::Room;

/// What differs between the reader of an exclusive side and one of a shared side.
pub trait ReaderMode: Sized {
    /// Whether a claim waits for all earlier stores and delays what follows. Then reading the time
    /// costs twice as much behind the claim as before it.
    const CLAIM_WAITS: bool;

    /// Whether a claim to copy large or several messages shows a hold first.
    const HOLDS_TO_COPY: bool;

    /// What a new reader takes over, and where it goes on: at `position` or later.
    fn succeed(lane: OwnLane<'_>, position: u64) -> (u64, Inherited);

    /// Whether a reader at `position` has something of it still to do.
    fn is_pending(inherited: &Inherited, position: u64) -> bool;

    /// Messages below were held by a predecessor when it died, and are marked.
    fn marked_below(inherited: &Inherited) -> u64;

    /// The dead readers' messages that are delivered again, where others may die.
    fn adoption(inherited: &mut Inherited) -> Option<&mut Adoption>;

    /// Where the reader's group has come.
    #[inline(always)]
    fn cursor(lane: OwnLane<'_>) -> &Cursor {
        lane.cursor()
    }

    /// The position that a word of the cursor says; beyond [`MAX_POSITION`] if it is not to be
    /// believed.
    #[inline(always)]
    fn seen(_lane: OwnLane<'_>, word: u64) -> u64 {
        word
    }

    /// Whether what is copied is claimed afterwards, whatever it is: in a group that may be
    /// evicted, where a claim keeps nobody from writing.
    #[inline(always)]
    fn copies_first(_lane: OwnLane<'_>) -> bool {
        false
    }

    /// Whether the reader's group is not open any more as it was joined.
    fn is_over(_lane: OwnLane<'_>) -> bool {
        false
    }

    /// Claims and releases what was read, in one step. The error is where the head is instead.
    fn pass(lane: OwnLane<'_>, from: u64, to: u64) -> Result<(), u64>;

    /// Claims what the reader's hold shows; `false` if somebody else did.
    fn claim(lane: OwnLane<'_>, from: u64, to: u64) -> bool;

    /// Releases all below `end`, before the hold is hidden.
    fn release(lane: OwnLane<'_>, end: u64);

    /// Up to where to show a hold on what ends at `end`.
    fn shown_end(inherited: &Inherited, end: u64) -> u64;

    /// Hides the hold of a reader that holds nothing and is at `position`.
    fn hide_hold(inherited: &Inherited, lane: OwnLane<'_>, position: u64);

    /// Announces the release frontier, which gives credit back.
    fn announce(lane: OwnLane<'_>);

    /// The release frontier as announced, and the head, where the hold of another may keep the two
    /// apart.
    fn frontier(lane: OwnLane<'_>) -> Option<(u64, u64)>;

    /// Where the head is, if others have moved it away from `position`.
    fn others_at(lane: OwnLane<'_>, position: u64) -> Option<u64>;

    /// Whether a claim can be tried: a shared side's head that no ring can have is a peer's
    /// garbage, which makes every claim fail.
    fn may_claim(lane: OwnLane<'_>) -> bool;

    /// Notes that this reader no longer sleeps. Returns whether other sleepers have to be
    /// considered.
    #[cfg(any(feature = "std", loom))]
    fn disarm(lane: OwnLane<'_>) -> bool;
}

/// What a reader takes over from dead ones. It is one type for all modes, so that readers of all
/// modes have the same layout.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For an exclusive side: messages below were held by a predecessor when it died.
    below: u64,
    /// For a shared side: what is delivered again.
    adoption: Adoption,
}

/// The receiving end of one lane.
///
/// It has C's layout, which is the same for every `S`, since no field depends on it. A handle of
/// [`AnyMode`](crate::AnyMode) is used as one of its own mode.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Reader<S> {
    /// The next position: an exclusive side's own; on a shared side where the head was last seen.
    position: u64,
    /// Whether its entry shows a hold. At the beginning of a call that means that a guard was
    /// forgotten.
    holding: bool,
    /// Whether it is `holding`, or something inherited is pending. A receive checks this first. It
    /// may be set without need.
    special: bool,
    inherited: Inherited,
    read_ahead: ReadAhead,
    /// How bytes get out of side buffers.
    copying: Copying,
    mode: PhantomData<S>,
}

/// Why a reader did not get the next message.
#[derive(Debug)]
pub(crate) enum Miss {
    /// The slot's sequence is this, and not the one of a committed message.
    NotCommitted(u64),
    /// It has this many bytes, for which there is no room or no memory.
    Unfit(usize),
    /// Another reader claimed it.
    Lost,
}

/// The same number, computed from `number` and from nothing else.
///
/// The compiler has just seen that the slot's sequence equals the next position, and may use the
/// sequence in its place. Then the address of the next slot would depend on the line that is still
/// on its way, and lines would travel one after the other instead of several at once. Measured,
/// that makes a stream two to six times slower.
#[inline(always)]
pub(crate) fn independent(number: u64) -> u64 {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    {
        let mut number = number;
        // SAFETY: no instruction at all; the compiler is only kept from knowing the value.
        unsafe {
            core::arch::asm!(
                "/* {0} */",
                inout(reg) number,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        number
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    {
        number
    }
}

impl<S> Reader<S> {
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How bytes get out of side buffers.
    #[inline(always)]
    pub(crate) fn copying(&self) -> Copying {
        self.copying
    }

    /// Whether there may be something to do before anything is received: a forgotten guard to
    /// release, a dead reader's message to deliver, or a mark to set.
    #[inline(always)]
    pub(crate) fn is_special(&self) -> bool {
        self.special
    }
}

impl<S: ReaderMode> Reader<S> {
    /// A reader that goes on where the lane's cursor is. `adopted` are a dead reader's messages
    /// that came with its entry.
    pub(crate) fn begin(lane: OwnLane<'_>, adopted: Option<Adopted>) -> Self {
        // Acquire: pairs with the release of the last consumer's store: its reads come before.
        let head = S::cursor(lane).consumer_head.load(Ordering::Acquire);
        let position = S::seen(lane, head).min(MAX_POSITION);
        let (position, mut inherited) = S::succeed(lane, position);
        if let Some(adoption) = S::adoption(&mut inherited) {
            adoption.begin_with(adopted);
        }
        Self {
            position,
            holding: false,
            special: S::is_pending(&inherited, position),
            inherited,
            read_ahead: ReadAhead::new(lane.settings().credit_limit),
            copying: Copying::of_this_machine(),
            mode: PhantomData,
        }
    }

    /// Has the next call look for something to do before anything is received.
    pub(crate) fn call_special(&mut self) {
        self.special = true;
    }

    #[inline(always)]
    fn note_special(&mut self) {
        self.special = self.holding || S::is_pending(&self.inherited, self.position);
    }

    /// Goes on where the head was seen.
    #[inline(always)]
    pub(crate) fn go_on_at(&mut self, head: u64) {
        self.position = head;
    }

    // ---- one message, copied out of its slot ---------------------------------------------

    /// Fetches the line that will be read some messages after the one at `position`.
    #[inline(always)]
    pub(crate) fn fetch_ahead(&self, lane: OwnLane<'_>, position: u64) {
        if let Some(beyond) = self.read_ahead.beyond(position) {
            prefetch_read(lane.slot(beyond));
        }
    }

    /// When a message was seen (0 if it carries no `timestamp`), if that has to be read before the
    /// claim.
    #[inline(always)]
    pub(crate) fn time_before_claim(&self, timestamp: u64) -> Option<u64> {
        if S::CLAIM_WAITS { Some(time_for(timestamp)) } else { None }
    }

    /// Claims and releases the message at the reader's position, which was read. `next` is the
    /// position after it. An error is where the head is instead: others were faster.
    #[inline(always)]
    pub(crate) fn pass(&mut self, lane: OwnLane<'_>, next: u64) -> Result<(), u64> {
        S::pass(lane, self.position, next)?;
        self.position = next;
        Ok(())
    }

    /// Passes over an abandoned slot; an error as in [`pass`](Self::pass).
    pub(crate) fn skip(&mut self, lane: OwnLane<'_>) -> Result<(), u64> {
        self.pass(lane, self.position + 1)?;
        self.note_special();
        lane.participant().count(Event::Skipped, 1);
        Ok(())
    }

    // ---- what is claimed first and read then ---------------------------------------------

    /// Shows a hold on the committed messages from the reader's position on, at most `most`, which
    /// is not 0, and as far as there is room for their sizes, and claims them. `room` says what
    /// there is for each.
    #[inline(always)]
    pub(crate) fn claim(
        &mut self,
        lane: OwnLane<'_>,
        most: u64,
        mut room: impl FnMut(usize) -> Room,
    ) -> Result<Span, Miss> {
        let first = self.position;
        let mut count = 0;
        while count < most {
            match look(lane, first + count, room(count as usize)) {
                Ok(()) => count += 1,
                Err(miss) if count == 0 => return Err(miss),
                Err(_) => break,
            }
        }
        let span = Span::new(first, count);
        self.show_hold(lane, span);
        (self.holding, self.special) = (true, true);
        if !S::claim(lane, first, span.end()) {
            return Err(Miss::Lost);
        }
        self.position = span.end();
        Ok(span)
    }

    /// Claims up to `most` messages to be copied. They are released by
    /// [`release_copied`](Self::release_copied).
    #[inline(always)]
    pub(crate) fn claim_to_copy(
        &mut self,
        lane: OwnLane<'_>,
        most: u64,
        room: impl FnMut(usize) -> Room,
    ) -> Result<Span, Miss> {
        if S::HOLDS_TO_COPY {
            self.claim(lane, most, room)
        } else {
            // Nothing is looked at yet. A reader that dies before the release has delivered
            // nothing.
            Ok(Span::new(self.position, most))
        }
    }

    /// Releases what was claimed to be copied, and was up to `end`.
    #[inline]
    pub(crate) fn release_copied(&mut self, lane: OwnLane<'_>, end: u64) {
        // Where the claim was shown to nobody.
        self.position = self.position.max(end);
        self.release(lane, end);
    }

    /// Gives back what was claimed up to `end`.
    #[inline]
    fn release(&mut self, lane: OwnLane<'_>, end: u64) {
        S::release(lane, end);
        if self.special {
            self.show_nothing(lane);
        }
    }

    /// Gives back what a guard holds, or held when it was forgotten.
    #[inline]
    pub(crate) fn release_lent(&mut self, lane: OwnLane<'_>) {
        if self.holding {
            self.release(lane, self.position);
        }
        if let Some(adoption) = S::adoption(&mut self.inherited) {
            adoption.release_lent(lane);
        }
    }

    /// Gives back what is held but for its last part, `rest`.
    pub(crate) fn keep_only(&mut self, lane: OwnLane<'_>, rest: Span) {
        // Before the hold: what a hold shows below the head does not count, but messages at or
        // beyond the head that are not shown would be delivered again unmarked.
        S::release(lane, rest.first);
        self.show_hold(lane, rest);
    }

    #[inline(always)]
    fn show_hold(&self, lane: OwnLane<'_>, span: Span) {
        let end = S::shown_end(&self.inherited, span.end());
        lane.participant().show_hold(Span::new(span.first, end - span.first));
    }

    /// Clears the hold of a claim that failed.
    #[inline]
    pub(crate) fn hide_hold(&mut self, lane: OwnLane<'_>) {
        if self.holding {
            self.show_nothing(lane);
        }
    }

    /// Clears the hold in the entry, except for what is still to be marked.
    #[inline]
    fn show_nothing(&mut self, lane: OwnLane<'_>) {
        self.holding = false;
        self.note_special();
        S::hide_hold(&self.inherited, lane, self.position);
    }

    // ---- the dead ------------------------------------------------------------------------

    /// Releases what a forgotten guard holds, and finds out whether something is left to do.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn settle(&mut self, lane: OwnLane<'_>) {
        self.release_lent(lane);
        self.note_special();
    }

    /// Releases what a forgotten guard holds, and goes on with what was handed on. A call that
    /// finds the reader special does this first.
    pub(crate) fn resume(&mut self, lane: OwnLane<'_>) {
        self.release_lent(lane);
        if let Some(adoption) = S::adoption(&mut self.inherited) {
            adoption.resume(lane);
        }
        self.note_special();
    }

    /// The dead readers' messages that are delivered again, where others may die.
    #[inline(always)]
    pub(crate) fn adoption(&mut self) -> Option<&mut Adoption> {
        S::adoption(&mut self.inherited)
    }

    /// Whether a dead reader's message is to be delivered before all others.
    #[inline(always)]
    pub(crate) fn has_adopted(&mut self) -> bool {
        self.adoption().is_some_and(|adoption| adoption.is_under_way())
    }

    /// When the dead reader's message was sent that is delivered next, if there is one.
    #[cfg(feature = "alloc")]
    pub(crate) fn adopted_sent(&mut self, lane: OwnLane<'_>) -> Option<u64> {
        let next = self.adoption()?.next()?;
        Some(lane.slot(next).timestamp())
    }

    /// Whether there is a dead reader's message, or was when it was handed on.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn may_redeliver(&mut self) -> bool {
        self.adoption().is_some_and(|adoption| adoption.is_pending())
    }

    /// Leaves what is to be delivered again to others.
    pub(crate) fn hand_on(&mut self, lane: OwnLane<'_>) {
        if let Some(adoption) = self.adoption() {
            adoption.hand_on(lane);
        }
    }

    /// Notes that there is something to do before the next message is received.
    fn has_more_to_do(&mut self) -> bool {
        self.special = true;
        true
    }

    /// Takes over what a dead reader holds, if that holds up the release frontier. Returns whether
    /// it did.
    pub(crate) fn adopt_dead(&mut self, lane: OwnLane<'_>) -> bool {
        self.adoption().is_some_and(|adoption| adoption.adopt_dead(lane)) && self.has_more_to_do()
    }

    /// As [`adopt_dead`](Self::adopt_dead), for a stuck reader: after a look at the frontier
    /// itself.
    pub(crate) fn help(&mut self, lane: OwnLane<'_>) -> bool {
        self.adoption().is_some_and(|adoption| adoption.help(lane)) && self.has_more_to_do()
    }

    // ---- what is done now and then -------------------------------------------------------

    /// Announces the release frontier, which gives credit back.
    #[inline(always)]
    pub(crate) fn announce(&self, lane: OwnLane<'_>) {
        S::announce(lane);
    }

    /// Decides how far to read ahead. `fruitless` counts the calls that found nothing.
    #[inline(always)]
    pub(crate) fn settle_read_ahead(&mut self, lane: OwnLane<'_>, fruitless: u32) {
        let there = |distance| {
            let position = self.position + distance;
            lane.slot(position).sequence() == position + 1
        };
        self.read_ahead.settle(fruitless, there);
    }

    /// How far ahead lines are prefetched for reading; 0 if none are.
    #[cfg(not(loom))]
    pub(crate) fn ahead(&self) -> u64 {
        self.read_ahead.beyond(0).unwrap_or(0)
    }

    /// Prefetches nothing until the next decision, since the stream has stopped.
    pub(crate) fn stop_read_ahead(&mut self) {
        self.read_ahead.stop();
    }

    /// Where the head is, if others have gone on: a position that a ring can have.
    #[inline]
    pub(crate) fn others_at(&self, lane: OwnLane<'_>) -> Option<u64> {
        S::others_at(lane, self.position).filter(|&head| head <= MAX_POSITION)
    }

    /// Whether others have gone on, and a later lap has come to where this reader is.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn is_behind(&self, lane: OwnLane<'_>) -> bool {
        lane.slot(self.position).state(self.position) == SlotState::Later
            && self.others_at(lane).is_some()
    }

    /// Whether there is something to receive or to pass over.
    pub(crate) fn has_something(&self, lane: OwnLane<'_>) -> bool {
        let state = lane.slot(self.position).state(self.position);
        matches!(state, SlotState::Committed | SlotState::Abandoned)
    }

    /// Notes that this reader no longer sleeps. Returns whether other sleepers have to be
    /// considered.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn disarm(&self, lane: OwnLane<'_>) -> bool {
        S::disarm(lane)
    }
}

/// Whether the message at `position` is committed, and there is `room` and memory for it.
#[inline(always)]
fn look(lane: OwnLane<'_>, position: u64, room: Room) -> Result<(), Miss> {
    let slot = lane.slot(position);
    let sequence = slot.sequence();
    if sequence != position + 1 {
        return Err(Miss::NotCommitted(sequence));
    }
    let meta = slot.meta();
    if meta.is_large() {
        return look_at_large(lane, position, room);
    }
    let size = meta.size();
    if room.fits(size) { Ok(()) } else { Err(Miss::Unfit(size)) }
}

/// The same, of a committed message in a side buffer.
#[inline]
fn look_at_large(lane: OwnLane<'_>, position: u64, room: Room) -> Result<(), Miss> {
    let (_, _, payload) = lane.slot(position).read();
    let size = payload.large_size(lane.segment().side_size());
    if room.fits(size) && lane.back(lane.buffer_of(position, &payload), size) {
        Ok(())
    } else {
        Err(Miss::Unfit(size))
    }
}
