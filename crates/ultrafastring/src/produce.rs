//! The sending side: credit, claim, write, commit.
//!
//! ```text
//!  exclusive   credit? ── write and commit the slot ── now and then: announce
//!  shared      credit? ── show intent ── compare-and-swap producer_head ── write and commit ── …
//! ```
//!
//! A producer never waits for a peer, and never reads a slot before it writes it: its credit says
//! that the slot is free. A message over 40 bytes goes into the slot's side buffer between claim
//! and commit; `send_fast` leaves for a function of its own where it finds that it is one.

use core::fmt;
use core::marker::PhantomData;

use crate::lane::SentRun;
use crate::layout::{MAX_POSITION, MAX_SPAN, Sharing, Side, Span, Timestamps};
use crate::participant::{Entry, Event, Identity, Role};
use crate::processor;
use crate::race;
use crate::recover;
use crate::segment::Segment;
use crate::side::{Copying, SideBuffer};
use crate::slot::{Meta, Payload, SlotState, Stores};
use crate::sync::{Ordering, raise};
use crate::threshold::{self, ANNOUNCE, STUCK};
use crate::wait;
use crate::{
    CoalesceController, CoalesceMode, CreditController, INLINE_SIZE, LaneStats, PriorityClass,
    RingError, SendError, TrySendError, prefetch_write, rdtsc,
};

/// How many slots ahead a shared producer asks for lines to write. Its compare-and-swap waits until
/// the stores before it are done, those into the last slots too, for as long as their lines travel:
/// unless they were asked for in time. Measured, three make a stream between far cores a quarter
/// faster than one, and one between near cores as fast.
const SHARED_WRITE_AHEAD: u64 = 3;

/// How many slots ahead an exclusive producer asks for lines to write, where the processor gains by it
/// and messages come thick and fast. One makes most of the difference; batches of four want six.
const WRITE_AHEAD: u64 = 6;

/// How often a producer without credit pauses for the next grant before it looks at what consumers
/// have released: 1,100 ticks to 3,400, by the processor. In a stream a grant comes by then, for
/// several messages at once. A look takes the line from its consumer which that one writes with each
/// message, and finds one message or two: with nothing but looks a stream takes twice as long, and one
/// past a slow shared consumer twenty times.
const GRANT_PAUSES: u32 = 48;

/// After so many pauses in a row in which no grant came a producer looks at once: one thread does both,
/// or consumers are slow, or have stopped, and then a look costs them next to nothing.
const MOST_PAUSES_IN_VAIN: u32 = 8;

/// It looks at once so often before it pauses again.
const LOOKS_AT_ONCE: u32 = 255;

mod sealed {
    pub trait Sealed {}
}

/// How a handle has its side: [`Exclusive`] or [`Shared`].
pub trait Mode: sealed::Sealed + fmt::Debug + Send + 'static {
    /// The same as a value.
    const SHARING: Sharing;
}

/// The only handle of its side: no compare-and-swap on its path.
#[derive(Debug)]
pub struct Exclusive;

/// One of any number of handles of its side.
#[derive(Debug)]
pub struct Shared;

impl sealed::Sealed for Exclusive {}
impl sealed::Sealed for Shared {}

impl Mode for Exclusive {
    const SHARING: Sharing = Sharing::Exclusive;
}

impl Mode for Shared {
    const SHARING: Sharing = Sharing::Shared;
}

/// Which positions carry a timestamp, as a mask and what it must leave.
#[derive(Clone, Copy, Debug)]
struct Stamps {
    mask: u64,
    equals: u64,
}

impl Stamps {
    const fn new(timestamps: Timestamps) -> Self {
        match timestamps {
            Timestamps::Every => Self { mask: 0, equals: 0 },
            Timestamps::OneIn(n) => Self { mask: n as u64 - 1, equals: 0 },
            // Never: what a mask of zero leaves is not one.
            Timestamps::Off => Self { mask: 0, equals: 1 },
        }
    }

    /// The time for the message at `position`, or 0 if it carries none.
    #[inline(always)]
    fn take(self, position: u64) -> u64 {
        if position & self.mask == self.equals { rdtsc() } else { 0 }
    }

    /// The time for all messages of a batch, or 0 if there are no timestamps.
    #[inline(always)]
    fn of_a_batch(self) -> u64 {
        if self.equals == 0 { rdtsc() } else { 0 }
    }
}

/// The bytes of a message that is not sent yet.
#[derive(Clone, Copy)]
struct Unsent([u8; INLINE_SIZE]);

impl Default for Unsent {
    #[inline(always)]
    fn default() -> Self {
        Self([0; INLINE_SIZE])
    }
}

/// Without the bytes, which are no part of what a handle is.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").finish_non_exhaustive()
    }
}

/// A handle that sends.
///
/// Taken from a ring with [`UltraFastRing::producer`](crate::UltraFastRing::producer) or
/// [`exclusive_producer`](crate::UltraFastRing::exclusive_producer); it keeps the segment alive by
/// itself. Calls return at once, but for those that say that they wait.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
///
/// let ring = UltraFastRing::new(2);
/// let mut producer = ring.producer()?;
/// producer.try_send(b"one", PriorityClass::Normal)?;
/// producer.try_send(b"two", PriorityClass::High)?;
/// let error = producer.try_send(b"six", PriorityClass::Normal).unwrap_err();
/// assert_eq!(error.reason, SendError::Full);
/// assert_eq!(error.into_inner(), b"six"); // nothing is lost
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Producer<S: Mode> {
    pub(crate) entry: Entry,
    /// Its `consumed` is the next position: an exclusive side's own, a shared side's as last seen.
    pub(crate) credits: CreditController,
    stamps: Stamps,
    stores: Stores,
    run: SentRun,
    lanes: [LaneStats; PriorityClass::COUNT],
    coalesce: CoalesceController,
    /// Messages sent through this handle since it announced: kept by shared sides only, since
    /// on an exclusive one the positions say it.
    unannounced: u64,
    /// Position (exclusive) or number of messages (shared) at which to announce.
    announce_at: u64,
    /// Time after which to announce with the next message that carries a timestamp.
    announce_by: u64,
    /// Position (exclusive) at the last announcement.
    announced: u64,
    /// No more than so many messages share an announcement.
    most_unannounced: u64,
    /// So many ticks after the last announcement.
    announce_after: u64,
    /// How many ticks it is without credit before it looks for the dead.
    stuck_after: u64,
    /// The release frontier that refused it credit, and since when, in ticks.
    refused: (u64, u64),
    /// How often in a row it has paused for a grant that did not come.
    pauses_in_vain: u32,
    /// How often it still looks for what was released without a pause.
    looks_at_once: u32,
    /// Position of a reservation that may have been forgotten (shared).
    reserved: Option<u64>,
    /// The bytes of a reservation of up to 40. Here and not in the guard, so that a guard is a few
    /// words that stay in registers: one that is moved is read in other pieces than it was written
    /// in, and such a read waits until all stores before it are done, those into the slots too.
    inline: Unsent,
    /// The class that was last refused.
    pub(crate) refused_class: PriorityClass,
    #[cfg(any(feature = "std", loom))]
    pub(crate) waiting: wait::Waiting,
    /// How bytes get into side buffers.
    copying: Copying,
    /// Whether an exclusive side asks for lines to write ahead, when messages come thick and fast.
    gains_by_writing_ahead: bool,
    /// Whether they do just now.
    writes_ahead: bool,
    mode: PhantomData<S>,
}

impl<S: Mode> Producer<S> {
    pub(crate) const SHARED: bool = matches!(S::SHARING, Sharing::Shared);

    /// A new handle, for a new stream: a closed ring is opened again.
    pub(crate) fn begin(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let this = Self::attach(segment, identity)?;
        wait::reopen(segment);
        Ok(this)
    }

    /// A new handle, on an open or a closed ring.
    pub(crate) fn attach(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let role = Role { side: Side::Producer, sharing: S::SHARING };
        let (entry, _) = Entry::attach(segment, role, identity)?;
        recover::tidy_up(segment, entry.locker(), entry.index());
        let geometry = segment.geometry();
        let counters = segment.counters();
        // Acquire: pairs with the release of whoever announced it: the slots below are free.
        let granted = counters.consumer_tail.load(Ordering::Acquire).min(MAX_POSITION);
        let position = if Self::SHARED {
            counters.producers_claimed(Ordering::Relaxed)
        } else {
            Self::next_position(segment)
        };
        let position = position.min(MAX_POSITION);
        let rate = threshold::settle();
        // A frontier beyond it is a peer's garbage, and would be credit without end.
        let granted = granted.min(position);
        Ok(Self {
            credits: CreditController::new(geometry.credit_limit)
                .with_reserves(geometry.reserves)
                .resume(position, granted),
            stamps: Stamps::new(geometry.timestamps),
            stores: Stores::of_this_machine(),
            run: SentRun::begin(
                Meta::new(PriorityClass::Normal, 0, entry.index() as u32),
                if Self::SHARED { 0 } else { position },
            ),
            lanes: entry.participant().lanes(),
            coalesce: CoalesceController::new(rdtsc()).with_ticks_per_second(rate),
            unannounced: 0,
            announce_at: if Self::SHARED { 1 } else { position + 1 },
            announce_by: 0,
            announced: position,
            most_unannounced: geometry.capacity as u64,
            announce_after: ANNOUNCE.ticks(),
            stuck_after: STUCK.ticks(),
            refused: (u64::MAX, 0),
            pauses_in_vain: 0,
            looks_at_once: 0,
            reserved: None,
            inline: Unsent::default(),
            refused_class: PriorityClass::Normal,
            #[cfg(any(feature = "std", loom))]
            waiting: wait::Waiting::default(),
            copying: Copying::of_this_machine(),
            gains_by_writing_ahead: !Self::SHARED && processor::gains_by_writing_ahead(),
            writes_ahead: false,
            mode: PhantomData,
            entry,
        })
    }

    /// Where an exclusive producer goes on: the first position that its predecessor did not
    /// commit. A slot half-written there is simply written again.
    fn next_position(segment: &Segment) -> u64 {
        let counters = segment.counters();
        // Acquire: everything below either is committed, and so are the slots looked at next.
        let announced = counters.producer_tail.load(Ordering::Acquire);
        let claimed = counters.consumer_head.load(Ordering::Acquire);
        let start = announced.max(claimed).min(MAX_POSITION);
        // At most a ring full, whatever the slots say.
        (start..start + segment.geometry().capacity as u64)
            .find(|&position| segment.slot(position).state(position) == SlotState::NotYet)
            .unwrap_or(start + segment.geometry().capacity as u64)
    }

    /// Sends `data` or says why not. Up to 40 bytes travel in the slot, more in its side buffer, up
    /// to the ring's [`max_message`](Self::max_message).
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], [`SendError::Full`], [`SendError::OutOfCredit`] or
    /// [`SendError::NoSpace`] or
    /// [`SendError::Closed`]; nothing of the message was sent.
    #[inline(always)]
    pub fn send_fast(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        if data.len() > INLINE_SIZE {
            return self.send_large(data, class);
        }
        let early = self.time_before_claim(class, |stamps, position| stamps.take(position));
        let expected = self.credits.consumed();
        let position = self.claim(class, 1)?;
        let timestamp = match early {
            Some(early) if position == expected => early,
            _ => self.stamps.take(position),
        };
        self.commit(position, class, data, timestamp);
        self.announce_if_due(timestamp);
        Ok(())
    }

    /// Sends `message` or gives it back with the reason.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn try_send<M: AsRef<[u8]>>(
        &mut self,
        message: M,
        class: PriorityClass,
    ) -> Result<(), TrySendError<M>> {
        match self.send_fast(message.as_ref(), class) {
            Ok(()) => Ok(()),
            Err(reason) => Err(TrySendError { message, reason }),
        }
    }

    /// Sends as many of `messages` as there is credit for, in order and with one timestamp for
    /// all, and says how many. Their sizes may differ, and be any that the ring allows.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast), and only if none was sent; if any of them is too large,
    /// none is.
    #[inline]
    pub fn send_batch<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        let max = self.max_message();
        if let Some(large) = messages.iter().find(|m| m.as_ref().len() > max) {
            return Err(SendError::TooLarge { size: large.as_ref().len(), max });
        }
        let mut sent = 0;
        let mut timestamp = self.time_before_claim(class, |stamps, _| stamps.of_a_batch());
        while sent < messages.len() {
            let wanted = (messages.len() - sent).min(MAX_SPAN as usize);
            let (first, count) = match self.claim_up_to(class, wanted as u64) {
                Ok(claimed) => claimed,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            };
            let time = *timestamp.get_or_insert_with(|| self.stamps.of_a_batch());
            // If a caller's `as_ref` panics, what was claimed and not committed is abandoned.
            let mut claimed = Claimed { producer: self, next: first, end: first + count };
            let complete = messages[sent..sent + count as usize]
                .iter()
                .all(|message| claimed.commit_next(class, message.as_ref(), time));
            sent += (claimed.next - first) as usize;
            drop(claimed);
            if !complete {
                if sent == 0 {
                    return Err(self.no_memory());
                }
                break;
            }
            if sent < messages.len() && wait::is_alert(self.entry.segment(), Side::Consumer) {
                // A ring that was closed meanwhile gets no more of it than this.
                self.attend();
            }
        }
        self.announce_if_due(timestamp.unwrap_or(0));
        Ok(sent)
    }

    /// Claims a slot for a message of `size` bytes that is written in place, through the guard
    /// that this gives, and sent by [`Reservation::commit`].
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(4096).heap()?;
    /// let mut producer = ring.producer()?;
    /// let mut place = producer.reserve(1000, PriorityClass::Normal)?;
    /// place.write_at(0, b"header");
    /// place.write_at(6, &[0; 994]);
    /// place.commit();
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A guard that is dropped, by a panic too, is cancelled; one that is forgotten
    /// (`mem::forget`) is cancelled by the next call on this handle that sends, waits or flushes, or
    /// when the handle is dropped. What that gives back, [`cancel`](Reservation::cancel) says.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<Reservation<'_, S>, SendError> {
        let large = size > INLINE_SIZE;
        let position = if large { self.claim_large(size, class)? } else { self.claim(class, 1)? };
        if Self::SHARED {
            self.reserved = Some(position);
        }
        if !large {
            self.inline = Unsent::default();
        }
        Ok(Reservation { producer: self, position, class, size, large })
    }

    /// Sends `data`, and calls `relax` again and again while there is no room: for programs
    /// without an operating system to wait in, or with one of their own.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`] or [`SendError::Closed`]; nothing of the message was sent.
    pub fn send_spinning(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        mut relax: impl FnMut(),
    ) -> Result<(), SendError> {
        loop {
            match self.send_fast(data, class) {
                Err(SendError::Full | SendError::OutOfCredit) => relax(),
                done => return done,
            }
        }
    }

    /// Ends the stream; see [`UltraFastRing::close`](crate::UltraFastRing::close).
    pub fn close(&mut self) {
        self.flush();
        wait::close(self.entry.segment());
        self.credits.suspend();
    }

    /// Announces the commit frontier and stores the statistics now. A commit itself is visible
    /// at once and needs no flush.
    pub fn flush(&mut self) {
        self.cancel_forgotten();
        self.announce(0);
        if Self::SHARED {
            // Whatever it shows is committed by now, and would hold the frontier back.
            self.entry.participant().clear_intent();
            announce_commit_frontier(self.entry.segment());
        }
    }

    /// The ring's capacity in slots.
    pub fn capacity(&self) -> usize {
        self.entry.segment().geometry().capacity
    }

    /// Bytes of the largest message.
    pub fn max_message(&self) -> usize {
        self.entry.segment().geometry().max_message()
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.entry.segment().is_trusted()
    }

    /// This handle's place in the participant table.
    pub fn participant(&self) -> usize {
        self.entry.index()
    }

    /// The credit of this handle, as it last saw it.
    pub fn credits(&self) -> &CreditController {
        &self.credits
    }

    /// How arrivals at this handle are coalesced.
    pub fn coalesce(&self) -> &CoalesceController {
        &self.coalesce
    }

    // ---- the hot path --------------------------------------------------------------------

    /// The time for a message at the next position, if it is better taken before the claim. It is on
    /// a shared side, whose claim waits for all stores and keeps what follows waiting: behind it,
    /// taking the time costs twice as much. Nothing is taken without credit, so that waiting for it
    /// is no part of a latency.
    #[inline(always)]
    fn time_before_claim(
        &self,
        class: PriorityClass,
        take: impl FnOnce(Stamps, u64) -> u64,
    ) -> Option<u64> {
        let next = self.credits.consumed();
        (Self::SHARED && self.credits.covers(next, class, 1)).then(|| take(self.stamps, next))
    }

    /// Takes `count` positions (1 to 64) from the one it gives on.
    #[inline(always)]
    fn claim(&mut self, class: PriorityClass, count: u64) -> Result<u64, SendError> {
        if Self::SHARED && self.reserved.is_some() {
            self.cancel_forgotten();
        }
        let mut lost = 0;
        loop {
            let position = self.credits.consumed();
            if !self.credits.covers(position, class, count) {
                self.refill(class, count)?;
                continue;
            }
            if !Self::SHARED {
                return Ok(position);
            }
            let span = Span::new(position, count);
            prefetch_write(self.entry.segment().slot(position + SHARED_WRITE_AHEAD));
            self.entry.participant().show_intent(span);
            // Release: makes the intent visible to whoever sees the head beyond it (`recover`).
            // That the slots are free was learnt from `consumer_tail`, not from here.
            let head = &self.entry.segment().counters().producer_head;
            if head
                .compare_exchange(position, span.end(), Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(position);
            }
            lost += 1;
            self.lose_race(lost)?;
        }
    }

    /// Somebody else took the position: the next try is for where the head is a moment later.
    #[cold]
    #[inline(never)]
    fn lose_race(&mut self, lost: u32) -> Result<(), SendError> {
        // Before the pause: announcements stop at an intent.
        self.entry.participant().clear_intent();
        if lost == race::MOST_LOST {
            return Err(SendError::Full);
        }
        let head = race::back_off(lost, &self.entry.segment().counters().producer_head);
        // Set back below what was released it would pass for endless credit, and beyond all belief
        // (a closed ring's is, too) a frontier beyond belief would pass for released.
        if head < self.credits.granted() || head > MAX_POSITION {
            // No credit until `refill` has looked at it, which says what is the matter.
            self.credits.suspend();
        } else {
            self.credits.advance_to(head);
        }
        Ok(())
    }

    /// Writes the message and makes it visible.
    #[inline(always)]
    fn commit(&mut self, position: u64, class: PriorityClass, data: &[u8], timestamp: u64) {
        let kind = Meta::new(class, data.len(), 0).kind();
        if !self.run.continues(kind) {
            self.begin_run(class, data.len());
        }
        let segment = self.entry.segment();
        // Not what a consumer may still have to read.
        let ahead = position + WRITE_AHEAD;
        if !Self::SHARED && self.writes_ahead && self.credits.covers(ahead, class, 1) {
            prefetch_write(segment.slot(ahead));
        }
        let slot = segment.slot(position);
        let payload = Payload::from_bytes(data);
        slot.commit_by(self.stores, position, self.run.meta(), timestamp, payload);
        self.credits.advance_to(position + 1);
        if Self::SHARED {
            self.unannounced += 1;
        }
    }

    /// How many messages this handle has sent since some moment in the past.
    #[inline(always)]
    fn count(&self) -> u64 {
        if Self::SHARED { self.unannounced } else { self.credits.consumed() }
    }

    /// Counts the run of like messages that ends here, and begins another.
    #[inline(never)]
    fn begin_run(&mut self, class: PriorityClass, size: usize) {
        let count = self.count();
        self.run.end(count, &mut self.lanes);
        self.run = SentRun::begin(Meta::new(class, size, self.entry.index() as u32), count);
    }

    /// Announces if enough messages, or enough time, have gone by; wakes consumers if some sleep.
    #[inline(always)]
    fn announce_if_due(&mut self, timestamp: u64) {
        if self.count() >= self.announce_at || timestamp > self.announce_by {
            self.announce(timestamp);
        }
        if wait::is_alert(self.entry.segment(), Side::Consumer) {
            self.attend();
        }
    }

    // ---- messages in side buffers --------------------------------------------------------

    /// The rest of [`send_fast`](Self::send_fast) for what does not fit into a slot.
    #[inline(never)]
    fn send_large(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        let position = self.claim_large(data.len(), class)?;
        let timestamp = self.stamps.take(position);
        self.side(position).write(self.copying, 0, data);
        self.commit_large(position, class, data.len(), timestamp);
        self.announce_if_due(timestamp);
        Ok(())
    }

    /// Takes a position whose side buffer has the memory for `size` bytes.
    #[inline]
    fn claim_large(&mut self, size: usize, class: PriorityClass) -> Result<u64, SendError> {
        let max = self.max_message();
        if size > max {
            return Err(SendError::TooLarge { size, max });
        }
        let position = self.claim(class, 1)?;
        if !self.entry.segment().back(position, size) {
            self.abandon(position);
            return Err(self.no_memory());
        }
        Ok(position)
    }

    /// Why the memory of a side buffer could not be had.
    #[cold]
    fn no_memory(&self) -> SendError {
        match self.entry.segment().is_damaged() {
            true => SendError::Damaged,
            false => SendError::NoSpace,
        }
    }

    #[inline]
    fn side(&self, position: u64) -> SideBuffer<'_> {
        self.entry.segment().side(position)
    }

    /// Makes a message visible whose `size` bytes are in the side buffer.
    #[inline]
    fn commit_large(&mut self, position: u64, class: PriorityClass, size: usize, timestamp: u64) {
        let meta = Meta::large(class, self.entry.index() as u32);
        if !self.run.continues(meta.kind()) {
            self.run.end(self.count(), &mut self.lanes);
            self.run = SentRun::begin(meta, self.count());
        }
        self.run.note_large(size);
        // The bytes come first: ordinary stores, which the release of the sequence makes visible.
        let slot = self.entry.segment().slot(position);
        slot.commit_by(self.stores, position, meta, timestamp, Payload::of_large(size));
        self.credits.advance_to(position + 1);
        if Self::SHARED {
            self.unannounced += 1;
        }
    }

    // ---- what is done now and then -------------------------------------------------------

    /// As [`claim`](Self::claim), but for as many positions as there is credit for, up to
    /// `wanted`.
    #[inline]
    fn claim_up_to(&mut self, class: PriorityClass, wanted: u64) -> Result<(u64, u64), SendError> {
        if self.credits.available_from(self.credits.consumed(), class) < wanted {
            // For what it is worth: less than wanted may still be enough for some.
            let _ = self.refill(class, wanted);
        }
        let available = self.credits.available_from(self.credits.consumed(), class);
        let count = wanted.min(available).max(1);
        let mut first = self.claim(class, count);
        if count > 1 && first.is_err() {
            // Others took some of the credit meanwhile.
            first = self.claim(class, 1);
            return first.map(|first| (first, 1));
        }
        first.map(|first| (first, count))
    }

    /// Consumers sleep, or the ring was closed by somebody else, or fences are needed.
    #[cold]
    #[inline(never)]
    fn attend(&mut self) {
        let segment = self.entry.segment();
        if !Self::SHARED && wait::is_closed(segment) {
            // The next call asks again and is told.
            self.credits.suspend();
        }
        wait::ring(segment, Side::Consumer);
    }

    /// Looks how far consumers have come, when the credit known of is spent.
    #[cold]
    #[inline(never)]
    pub(crate) fn refill(&mut self, class: PriorityClass, count: u64) -> Result<(), SendError> {
        if Self::SHARED && self.reserved.is_some() {
            // Before its intent is cleared below: nobody would know any more whose position it is,
            // and nobody but this handle can give it up while it lives.
            self.cancel_forgotten();
        }
        let counters = self.entry.segment().counters();
        // Acquire: pairs with the release of the grant: the reads of the released slots come
        // before our writes into them.
        let frontier = counters.consumer_tail.load(Ordering::Acquire);
        self.refused_class = class;
        let segment = self.entry.segment();
        if Self::SHARED {
            // After the frontier, so that the frontier is not beyond it.
            let head = segment.counters().producers_claimed(Ordering::Relaxed);
            if head > MAX_POSITION || head < self.credits.granted() {
                // Not to be believed, whoever wrote it; nor can anything be claimed meanwhile.
                self.credits.suspend();
                let refused = self.no_credit();
                let damaged = self.entry.segment().is_damaged();
                return if damaged { Err(SendError::Damaged) } else { refused };
            }
            self.credits.advance_to(head);
        }
        if wait::is_closed(segment) {
            self.credits.suspend();
            let _ = self.no_credit();
            return Err(SendError::Closed);
        }
        self.credits.observe(frontier);
        if self.credits.covers(self.credits.consumed(), class, count)
            || self.is_granted_soon(class, count)
            || self.finds_released(class, count)
            || self.is_stuck(frontier) && {
                if self.entry.segment().is_damaged() {
                    let _ = self.no_credit();
                    return Err(SendError::Damaged);
                }
                self.help();
                self.credits.covers(self.credits.consumed(), class, count)
            }
        {
            Ok(())
        } else {
            self.no_credit()
        }
    }

    /// Pauses for a grant that may be under way. Says whether it came, and was enough.
    fn is_granted_soon(&mut self, class: PriorityClass, count: u64) -> bool {
        // In the model a pause would be a chance for the others to run, and no time passes.
        if cfg!(loom) {
            return false;
        }
        if self.looks_at_once != 0 {
            self.looks_at_once -= 1;
            return false;
        }
        for _ in 0..GRANT_PAUSES {
            core::hint::spin_loop();
            // Acquire: as in `refill`.
            let tail = &self.entry.segment().counters().consumer_tail;
            self.credits.observe(tail.load(Ordering::Acquire));
            if self.credits.covers(self.credits.consumed(), class, count) {
                self.pauses_in_vain = 0;
                return true;
            }
        }
        self.pauses_in_vain += 1;
        if self.pauses_in_vain >= MOST_PAUSES_IN_VAIN {
            self.pauses_in_vain = MOST_PAUSES_IN_VAIN;
            self.looks_at_once = LOOKS_AT_ONCE;
        }
        false
    }

    /// Looks for what consumers have released and not granted yet, before a call is refused for want
    /// of it. Says whether that is enough.
    fn finds_released(&mut self, class: PriorityClass, count: u64) -> bool {
        let segment = self.entry.segment();
        let counters = segment.counters();
        let released = if segment.geometry().consumer_sharing == Sharing::Shared {
            recover::raise_release_frontier(segment);
            &counters.consumer_tail
        } else {
            // An exclusive consumer stores it when its reads are done: all below it is free,
            // announced or not. Nothing needs to be told to the others, who look here themselves.
            &counters.consumer_head
        };
        // Acquire: pairs with the release of the grant, or of the head: as in `refill`.
        let released = released.load(Ordering::Acquire);
        if Self::SHARED {
            // Others have gone on since `refill` looked: again after the frontier.
            let head = counters.producers_claimed(Ordering::Relaxed);
            if head > MAX_POSITION || head < self.credits.granted() {
                return false;
            }
            self.credits.advance_to(head);
        }
        self.credits.observe(released);
        self.credits.covers(self.credits.consumed(), class, count)
    }

    /// Whether the release frontier has stood still for long while this handle had no credit.
    fn is_stuck(&mut self, frontier: u64) -> bool {
        let now = rdtsc();
        if self.refused.0 != frontier {
            self.refused = (frontier, now);
        }
        // Wrapping: a clock that was set back is a reason to look. Not in a model, which must not
        // depend on the clock.
        let stuck = now.wrapping_sub(self.refused.1) > self.stuck_after && !cfg!(loom);
        if stuck {
            self.refused.1 = now;
        }
        stuck
    }

    /// Takes the credit that consumers have released and not granted, since they died, or make no
    /// call.
    pub(crate) fn help(&mut self) {
        let segment = self.entry.segment();
        let counters = segment.counters();
        if segment.geometry().consumer_sharing == Sharing::Shared {
            let (locker, index) = (self.entry.locker(), self.entry.index());
            let discarded = recover::settle_consumers(segment, locker, index);
            self.entry.participant().count(Event::Discarded, discarded);
        } else {
            // Acquire: pairs with the release of the head, which an exclusive consumer stores when
            // its reads are done: all below it is free, announced or not.
            let released = counters.consumer_head.load(Ordering::Acquire);
            // More than is granted: a frontier that stands where it is needs no store, which would
            // take its line away from all who look at it.
            if released > self.credits.granted() && released <= self.credits.consumed() {
                // Release: the consumer's reads come before the writes of whoever acquires it. It
                // does not go back by the consumer's own store: that of an older head came before
                // the one that was read here.
                raise(&counters.consumer_tail, released, Ordering::AcqRel);
            }
        }
        // Acquire: as in `refill`.
        self.credits.observe(counters.consumer_tail.load(Ordering::Acquire));
    }

    /// Leaves without having claimed.
    fn no_credit(&mut self) -> Result<(), SendError> {
        if Self::SHARED {
            // An intent left behind by a living handle would block recovery of that position.
            self.entry.participant().clear_intent();
        }
        let position = self.credits.consumed();
        let pending = if Self::SHARED { self.unannounced } else { position - self.announced };
        if pending != 0 {
            self.announce(0);
        }
        let full = self.credits.in_flight() >= self.capacity() as u64;
        Err(if full { SendError::Full } else { SendError::OutOfCredit })
    }

    /// Tells observers how far this side has come, and stores its counters.
    #[cold]
    #[inline(never)]
    fn announce(&mut self, timestamp: u64) {
        self.run.end(self.count(), &mut self.lanes);
        let now = if timestamp == 0 { rdtsc() } else { timestamp };
        let position = self.credits.consumed();
        let counters = self.entry.segment().counters();
        let count = if Self::SHARED {
            self.unannounced
        } else {
            // Release: whoever reads them sees the slots below as committed.
            counters.producer_head.store(position, Ordering::Release);
            counters.producer_tail.store(position, Ordering::Release);
            position - self.announced
        };
        let participant = self.entry.participant();
        for class in PriorityClass::ALL {
            participant.lane(class).store_sent(&self.lanes[class.index()]);
        }
        let mode = self.coalesce.record_arrivals(count, now);
        self.writes_ahead = self.gains_by_writing_ahead && mode == CoalesceMode::Aggressive;
        let batch = mode.batch().min(self.most_unannounced);
        self.announced = position;
        self.unannounced = 0;
        self.run.resume(self.count());
        self.announce_at = if Self::SHARED { batch } else { position + batch };
        self.announce_by = now.saturating_add(self.announce_after);
    }

    /// Gives up a claimed position: consumers skip it.
    fn abandon(&mut self, position: u64) {
        if Self::SHARED {
            let slot = self.entry.segment().slot(position);
            slot.abandon(slot.sequence(), position);
            self.credits.advance_to(position + 1);
            // Consumers can pass it now, and what others committed behind it is next.
            wait::ring_all(self.entry.segment(), Side::Consumer);
        }
        // An exclusive side has told nobody: the next message takes the position.
    }

    /// Cancels a reservation whose guard was forgotten.
    #[cold]
    fn cancel_forgotten(&mut self) {
        if let Some(position) = self.reserved.take() {
            self.abandon(position);
        }
    }
}

/// Deaths for models, in which no process can be killed.
#[cfg(loom)]
#[allow(missing_docs)]
impl<S: Mode> Producer<S> {
    /// Dies with whatever it has claimed.
    pub fn die(self) {
        core::mem::ManuallyDrop::new(self).entry.die();
    }

    /// Dies with an intent shown at the next position, before it claims it.
    pub fn die_before_claim(self) {
        // Relaxed: where the claim would be tried.
        let head = self.entry.segment().counters().producer_head.load(Ordering::Relaxed);
        self.entry.participant().show_intent(Span::new(head, 1));
        self.die();
    }

    /// What a call does that has had no credit for long, since models have no clock.
    pub fn recover(&mut self) {
        self.help();
    }
}

impl<S: Mode> Drop for Producer<S> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Announces a shared side's commit frontier: the least of `producer_head`, read first, and all
/// positions that producers may not have committed yet.
fn announce_commit_frontier(segment: &Segment) {
    let counters = segment.counters();
    // Acquire: pairs with the release of the claim: the intents of all who claimed below the
    // head are seen.
    let head = counters.producers_claimed(Ordering::Acquire);
    let frontier = (0..segment.entries_used())
        .filter_map(|index| segment.participant(index).shown_intent())
        .map(|span| span.first)
        .fold(head, u64::min);
    // Release: whoever reads it sees the slots below as committed.
    raise(&counters.producer_tail, frontier, Ordering::Release);
}

/// Positions claimed for a batch; those not committed when it goes are abandoned.
struct Claimed<'a, S: Mode> {
    producer: &'a mut Producer<S>,
    next: u64,
    end: u64,
}

impl<S: Mode> Claimed<'_, S> {
    /// Commits the next message; `false` if there is no memory for it.
    #[inline(always)]
    fn commit_next(&mut self, class: PriorityClass, data: &[u8], timestamp: u64) -> bool {
        if data.len() > INLINE_SIZE {
            return self.commit_next_large(class, data, timestamp);
        }
        self.producer.commit(self.next, class, data, timestamp);
        self.next += 1;
        true
    }

    #[inline(never)]
    fn commit_next_large(&mut self, class: PriorityClass, data: &[u8], timestamp: u64) -> bool {
        // An `as_ref` that grew since its size was checked is cut: it is committed somehow.
        let data = &data[..data.len().min(self.producer.max_message())];
        if data.len() <= INLINE_SIZE {
            self.producer.commit(self.next, class, data, timestamp);
        } else {
            if !self.producer.entry.segment().back(self.next, data.len()) {
                return false;
            }
            self.producer.side(self.next).write(self.producer.copying, 0, data);
            self.producer.commit_large(self.next, class, data.len(), timestamp);
        }
        self.next += 1;
        true
    }
}

impl<S: Mode> Drop for Claimed<'_, S> {
    #[inline]
    fn drop(&mut self) {
        while self.next < self.end {
            self.producer.abandon(self.next);
            self.next += 1;
        }
    }
}

/// A message to write in place: see [`Producer::reserve`].
///
/// Up to 40 bytes are the handle's own, zero at first, until [`commit`](Self::commit) stores them in
/// the slot: they cost less to copy than to do without. More are written straight into the side
/// buffer, which holds what some earlier message left there, until something else is written. A
/// peer that does not mind the protocol could write there at the same time, so that memory is no
/// `&mut [u8]` to Rust; for one, take a [`Trusted`](crate::Trusted) handle.
#[derive(Debug)]
pub struct Reservation<'a, S: Mode> {
    producer: &'a mut Producer<S>,
    position: u64,
    class: PriorityClass,
    size: usize,
    /// Whether the bytes are in the side buffer.
    large: bool,
}

impl<S: Mode> Reservation<'_, S> {
    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Writes `data` from byte `offset` of the message on.
    ///
    /// # Panics
    ///
    /// If that goes beyond the message.
    #[inline]
    pub fn write_at(&mut self, offset: usize, data: &[u8]) {
        assert!(
            offset <= self.size && data.len() <= self.size - offset,
            "{} bytes at {offset} go beyond a message of {}",
            data.len(),
            self.size
        );
        if self.large {
            self.producer.side(self.position).write(self.producer.copying, offset, data);
        } else {
            self.producer.inline.0[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    /// Writes the whole message.
    ///
    /// # Panics
    ///
    /// If `data` is not as long as the message.
    #[inline]
    pub fn copy_from_slice(&mut self, data: &[u8]) {
        assert!(data.len() == self.size, "{} bytes for a message of {}", data.len(), self.size);
        self.write_at(0, data);
    }

    /// Makes the message shorter; a `size` that is not less changes nothing. So one can reserve the
    /// most and commit what it came to.
    pub fn truncate(&mut self, size: usize) {
        self.size = self.size.min(size);
    }

    /// The bytes of a message of up to 40, which are the handle's own; `None` of a larger one.
    pub fn as_mut_inline(&mut self) -> Option<&mut [u8]> {
        (!self.large).then(|| &mut self.producer.inline.0[..self.size])
    }

    /// All bytes, where they are.
    ///
    /// # Safety
    ///
    /// Until the slice is used for the last time, no process that has the ring mapped accesses
    /// this message, which none does that keeps to the protocol.
    #[inline(always)]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.large {
            let start = self.producer.side(self.position).as_ptr();
            // SAFETY: so many bytes are in the side buffer, initialised, as memory to be backed by
            // now; the position was claimed, so nobody who keeps to the protocol has them, and
            // for the others the caller vouches.
            unsafe { core::slice::from_raw_parts_mut(start, self.size) }
        } else {
            &mut self.producer.inline.0[..self.size]
        }
    }

    /// [`as_mut_slice`](Self::as_mut_slice), to read.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub unsafe fn as_slice(&self) -> &[u8] {
        if self.large {
            let start = self.producer.side(self.position).as_ptr();
            // SAFETY: as in `as_mut_slice`.
            unsafe { core::slice::from_raw_parts(start, self.size) }
        } else {
            &self.producer.inline.0[..self.size]
        }
    }

    /// Sends the message.
    #[inline(always)]
    pub fn commit(self) {
        let this = core::mem::ManuallyDrop::new(self);
        let (position, class, size, large) = (this.position, this.class, this.size, this.large);
        // SAFETY: read once from a guard that is not used, nor dropped, after.
        let producer = unsafe { core::ptr::read(&raw const this.producer) };
        let timestamp = producer.stamps.take(position);
        if large {
            producer.commit_large(position, class, size, timestamp);
        } else {
            let bytes = producer.inline.0;
            producer.commit(position, class, &bytes[..size.min(INLINE_SIZE)], timestamp);
        }
        producer.reserved = None;
        producer.announce_if_due(timestamp);
    }

    /// Gives the message up unsent; the same as dropping the guard.
    ///
    /// On an exclusive side the next message takes its position. On a shared side it stays taken,
    /// since others may have claimed the positions behind it: it is marked abandoned, and its slot
    /// and its credit come back when consumers have passed it. Who reserves and cancels in a ring
    /// that nobody receives from fills it.
    pub fn cancel(self) {}
}

impl<S: Mode> Drop for Reservation<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.producer.reserved = None;
        self.producer.abandon(self.position);
    }
}
