//! The receiving side: look, claim, read, release, grant.
//!
//! ```text
//!  exclusive  committed? ── read ── consumer_head = p+1 ── now and then: grant
//!  shared     committed? ── read ── compare-and-swap consumer_head p → p+1 ── …
//!  in place   committed? ── show hold ── claim ── read … ── clear hold ── …
//! ```
//!
//! A copying receive on a shared side reads the slot *before* it claims the position: as long as
//! `consumer_head` has not passed the position, the release frontier has not either, so nobody
//! can have written the slot meanwhile; and if it has passed, the claim fails and what was read is
//! thrown away. Claim and release are then one instant, and no hold is needed. A hold is shown
//! where the two are apart: when a message is read in place, or several are claimed at once, or
//! the message lies in a side buffer, which would be much to copy for a claim that fails.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::lane::ReceivedRun;
use crate::layout::{MAX_POSITION, MAX_SPAN, Redelivery, Sharing, Side, Span};
use crate::message::{Batch, Message, Received};
use crate::participant::{Entry, Event, Identity, Role};
use crate::prefetch::ReadAhead;
use crate::produce::Mode;
use crate::race;
use crate::recover::{self, Adopted};
use crate::segment::Segment;
use crate::side::{Copying, SideBuffer};
use crate::slot::{Meta, Payload, SlotState};
use crate::sync::{Ordering, raise};
use crate::threshold::{self, ANNOUNCE, STUCK};
use crate::wait;
use crate::{
    CoalesceController, CoalesceMode, INLINE_SIZE, LaneStats, PriorityClass, RecvError, RingError,
    prefetch_read, rdtsc,
};

/// A consumer that finds nothing looks around (grants what it had put off, looks at the clock)
/// once in so many calls, a power of two; the others end where they find that nothing is there. One
/// whose calls are far apart looks around in each.
const CALLS_PER_LOOK: u32 = 8;

/// How often a consumer pauses when messages come thick and fast and the next is not there yet: a
/// look at a line that is just being written takes it away from the producer. 46 to 140 ticks, by the
/// processor, and over as soon as a stream stops.
const LAG_PAUSES: u32 = 2;

/// A call that is led elsewhere (by a lost race, an abandoned slot, a head that has moved) so many
/// times, and twice the capacity, since this handle last received something ends as if the ring
/// were empty. Honest peers make progress meanwhile; only one that rewrites counters and sequences
/// for ever leads so far.
const MOST_DETOURS: u64 = 1 << 12;

/// A call that must end by a time looks at the clock once in so many detours, a power of two. They
/// take as long as some clocks, or if each is a lost race a few milliseconds.
#[cfg(any(feature = "std", loom))]
const DETOURS_PER_CLOCK: u64 = 1 << 8;

/// A handle that receives.
///
/// Taken from a ring with [`UltraFastRing::consumer`](crate::UltraFastRing::consumer) or
/// [`exclusive_consumer`](crate::UltraFastRing::exclusive_consumer); it keeps the segment alive by
/// itself. Calls return at once, but for those that say that they wait.
///
/// The copying calls ([`try_recv`](Self::try_recv), [`recv_fast`](Self::recv_fast),
/// [`recv_batch`](Self::recv_batch), `recv_into`) release a message before they return: a process
/// killed just then takes that message (that batch) with it. [`borrow`](Self::borrow) releases when the guard
/// is dropped: a message whose reader is killed is delivered again, marked, and on a shared side
/// perhaps out of order (see [`Redelivery`]). So may be a message that a consumer was about to claim
/// when it was killed (see [`borrow`](Self::borrow)).
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// let mut consumer = ring.consumer()?;
/// assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
/// for word in ["to", "be"] {
///     ring.send_fast(word.as_bytes(), PriorityClass::Normal)?;
/// }
/// let words: Vec<_> = consumer.try_iter().map(|word| word.to_vec()).collect();
/// assert_eq!(words, [b"to", b"be"]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Consumer<S: Mode> {
    pub(crate) entry: Entry,
    /// The next position: an exclusive side's own; on a shared side where the head was last seen.
    pub(crate) position: u64,
    /// Messages received through this handle.
    pub(crate) received: u64,
    /// At how many of them it grants.
    grant_at: u64,
    /// Time after which to grant with the next message that carries a timestamp.
    grant_by: u64,
    run: ReceivedRun,
    /// Whether `holding`, or something is `adopted`, or what comes next was in a predecessor's
    /// hands: the one thing that a receive looks at first.
    pub(crate) special: bool,
    /// Calls that found nothing.
    fruitless: u32,
    /// How often such a call pauses.
    pauses: u32,
    /// It looks around when these bits of `fruitless` are zero.
    look_mask: u32,
    /// When it last looked around, in ticks.
    looked_at: u64,
    lanes: [LaneStats; PriorityClass::COUNT],
    coalesce: CoalesceController,
    /// What `received` was at the last grant.
    granted: u64,
    /// No more than so many messages share a grant.
    most_ungranted: u64,
    /// Whether the entry's hold is shown; at the beginning of a call that means a guard was
    /// forgotten.
    holding: bool,
    /// Messages below were in an exclusive predecessor's hands when it died.
    redelivered_below: u64,
    /// A dead consumer's messages that this handle delivers again.
    pub(crate) adopted: Option<Adopted>,
    /// The entry of a dead consumer whose messages this handle is to deliver, or to go on with, by
    /// the next call, unless somebody else does before.
    pub(crate) handed_on: Option<usize>,
    #[cfg(any(feature = "std", loom))]
    pub(crate) waiting: wait::Waiting,
    /// So many ticks after the last grant.
    grant_after: u64,
    /// How many ticks it is stuck before it looks for the dead.
    stuck_after: u64,
    /// The number of the stream whose end does not concern this handle, and what `received` was when
    /// that was said.
    passed_stream: Option<(u64, u64)>,
    /// The position at which nothing was found by the last look around.
    found_nothing_at: u64,
    /// Where the release frontier of a shared side stands still, and since when, in ticks.
    behind: (u64, u64),
    /// Since when, in ticks, nothing was found there.
    stuck_since: u64,
    /// How often a call was led elsewhere since `detours_since`, which is what `received` was.
    detours: u64,
    detours_since: u64,
    /// How bytes get out of side buffers.
    copying: Copying,
    /// How far ahead of itself it fetches lines.
    read_ahead: ReadAhead,
    /// The message that a guard shows. Here and not in the guard, so that a guard is one word that
    /// stays in a register: one that is moved is read in wider pieces than it was written in, and
    /// such a read waits until all stores before it are done.
    shown: Shown,
    mode: PhantomData<S>,
}

/// What a guard shows of its message.
struct Shown {
    /// What is in the slot.
    message: Message,
    place: Bytes,
    position: u64,
    taken_at: u64,
}

impl Shown {
    const NOTHING: Self =
        Self { message: Message::NOTHING, place: Bytes::Slot, position: 0, taken_at: 0 };
}

/// Without the message, which is no part of what a handle is.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("position", &self.position).finish_non_exhaustive()
    }
}

/// A message taken, its slot not yet given back by whom it concerns. Its class is that of the run
/// that was begun for it.
struct Taken {
    size: usize,
    /// Its meta word, if its bytes are in the side buffer.
    large: Option<Meta>,
    timestamp: u64,
    /// When it was seen, in ticks (0 if it carries no timestamp), where that was noted already.
    seen: Option<u64>,
    payload: Payload,
    position: u64,
    redelivered: bool,
}

/// Why the fast path ends without a message.
enum Pause {
    /// There is none to be had.
    Error(RecvError),
    /// It lies in a side buffer.
    Large,
}

impl From<RecvError> for Pause {
    #[inline(always)]
    fn from(error: RecvError) -> Self {
        Self::Error(error)
    }
}

/// What sizes a caller has room for.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    exactly: bool,
}

impl Room {
    /// Whatever comes.
    const ANY: Self = Self::up_to(usize::MAX);

    #[inline(always)]
    const fn up_to(bytes: usize) -> Self {
        Self { bytes, exactly: false }
    }

    /// That size and no other.
    #[cfg(feature = "zerocopy")]
    #[inline(always)]
    const fn exactly(bytes: usize) -> Self {
        Self { bytes, exactly: true }
    }

    #[inline(always)]
    const fn fits(self, size: usize) -> bool {
        size <= self.bytes && (!self.exactly || size == self.bytes)
    }

    const fn refusal(self, size: usize) -> RecvError {
        if self.exactly {
            RecvError::WrongSize { size, expected: self.bytes }
        } else {
            RecvError::BufferTooSmall { needed: size, available: self.bytes }
        }
    }
}

/// Now, in ticks, or 0 for a message that carries no `timestamp`.
#[inline(always)]
fn time_for(timestamp: u64) -> u64 {
    if timestamp != 0 { rdtsc() } else { 0 }
}

/// Bytes to be written to; only initialised ones are.
#[inline(always)]
fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same bytes for as long; this module writes values into them and nothing less.
    unsafe { &mut *(core::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}

impl<S: Mode> Consumer<S> {
    pub(crate) const SHARED: bool = matches!(S::SHARING, Sharing::Shared);

    pub(crate) fn attach(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let role = Role { side: Side::Consumer, sharing: S::SHARING };
        let (entry, adopted) = Entry::attach(segment, role, identity)?;
        // Acquire: pairs with the release of the last consumer's store: its reads come before.
        let position = segment.counters().consumer_head.load(Ordering::Acquire).min(MAX_POSITION);
        let redelivered_below = if Self::SHARED {
            0
        } else {
            recover::succeed_exclusive_consumer(segment, entry.locker(), entry.index(), position)
        };
        let rate = threshold::settle();
        // Before anything else, so that what a dead consumer left comes in order to one that is
        // started after it.
        let handed_on = recover::tidy_up(segment, entry.locker(), entry.index());
        let mut this = Self {
            position,
            received: 0,
            grant_at: 1,
            grant_by: 0,
            run: ReceivedRun::begin(Meta::new(PriorityClass::Normal, 0, 0), 0),
            special: adopted.is_some() || handed_on.is_some() || redelivered_below > position,
            fruitless: 0,
            pauses: 0,
            look_mask: CALLS_PER_LOOK - 1,
            looked_at: 0,
            lanes: entry.participant().lanes(),
            coalesce: CoalesceController::new(rdtsc()).with_ticks_per_second(rate),
            granted: 0,
            most_ungranted: (segment.geometry().credit_limit / 8).max(1),
            holding: false,
            redelivered_below,
            adopted,
            handed_on,
            behind: (u64::MAX, 0),
            #[cfg(any(feature = "std", loom))]
            waiting: wait::Waiting::default(),
            grant_after: ANNOUNCE.ticks(),
            stuck_after: STUCK.ticks(),
            passed_stream: None,
            found_nothing_at: u64::MAX,
            stuck_since: 0,
            detours: 0,
            detours_since: 0,
            copying: Copying::of_this_machine(),
            read_ahead: ReadAhead::new(segment.geometry().credit_limit),
            shown: Shown::NOTHING,
            mode: PhantomData,
            entry,
        };
        if !Self::SHARED {
            if this.entry.segment().geometry().redelivery == Redelivery::Discard {
                this.discard_redelivered();
            }
            // What the predecessor had released and not announced.
            this.grant(0);
        }
        Ok(this)
    }

    /// Receives the next message into `buffer`: its size, priority class, and latency in ticks (0
    /// if it carried no timestamp). Bytes of `buffer` beyond the size stay as they were.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or [`RecvError::BufferTooSmall`] with the message left where it is.
    #[inline(always)]
    pub fn recv_fast(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        if self.special {
            return self.recv_special(buffer);
        }
        let taken = match self.take_next(Room::up_to(buffer.len())) {
            Ok(taken) => taken,
            Err(Pause::Error(error)) => return Err(error),
            Err(Pause::Large) => return self.recv_large(buffer),
        };
        taken.payload.copy_to(&mut buffer[..taken.size]);
        let about = self.record(&taken);
        Ok((about.size, about.class, about.latency))
    }

    /// Receives the next message, if it has at most 40 bytes: a [`Message`] has room for as many.
    /// Larger ones are received by [`recv_fast`](Self::recv_fast), `recv_into`, or
    /// [`borrow`](Self::borrow).
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or [`RecvError::BufferTooSmall`] with a larger message left where it
    /// is.
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Message, RecvError> {
        if self.special {
            return self.try_recv_special();
        }
        let taken = match self.take_next(Room::ANY) {
            Ok(taken) => taken,
            Err(Pause::Error(error)) => return Err(error),
            Err(Pause::Large) => return self.try_recv_large(),
        };
        let about = self.record(&taken);
        Ok(Message::new(taken.payload, taken.timestamp, about))
    }

    /// Receives the next message, of any size, into `buffer`, which is then as long as the message.
    /// Memory that it has already is used again. After an error it is empty.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or [`RecvError::OutOfMemory`] with the message left where it is.
    #[cfg(feature = "alloc")]
    pub fn recv_into(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        buffer.clear();
        // Room for any small message is always there, so that only a large one is too large.
        let bytes = INLINE_SIZE;
        buffer.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
        if !self.special {
            match self.take_next(Room::ANY) {
                Ok(taken) => {
                    buffer.extend_from_slice(&taken.payload.as_bytes()[..taken.size]);
                    return Ok(self.record(&taken));
                }
                Err(Pause::Error(error)) => return Err(error),
                Err(Pause::Large) => {}
            }
        }
        loop {
            let room = Room::up_to(buffer.capacity());
            match self.recv_held(buffer.spare_capacity_mut(), room) {
                Ok((about, _)) => {
                    // SAFETY: `recv_held` has filled as many.
                    unsafe { buffer.set_len(about.size) };
                    return Ok(about);
                }
                Err(RecvError::BufferTooSmall { needed: bytes, .. }) => {
                    buffer.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives as many messages as are there, at most one a buffer and 64 in all, and says for
    /// each buffer filled what there is to know about its message. The messages of one batch are
    /// released together, and their latencies measured at one moment.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or [`RecvError::BufferTooSmall`] if not even the first message fits;
    /// a later one that does not fit ends the batch before it.
    #[inline]
    pub fn recv_batch<const N: usize>(
        &mut self,
        buffers: &mut [[u8; N]],
    ) -> Result<Batch, RecvError> {
        let mut batch = Batch::new();
        if buffers.is_empty() {
            return Ok(batch);
        }
        self.release_lent();
        if !Self::SHARED {
            self.take_batch(buffers, &mut batch)?;
            return Ok(batch);
        }
        if self.handed_on.is_some() {
            self.resume_adopted();
        }
        let span =
            match self.claim_span(buffers.len().min(MAX_SPAN as usize) as u64, Room::up_to(N))? {
                Some(span) => span,
                // The first is one that has to be taken by itself.
                None => {
                    let (about, _) = self.recv_held(as_uninit(&mut buffers[0]), Room::up_to(N))?;
                    batch.push(about);
                    return Ok(batch);
                }
            };
        let mut now = 0;
        for (position, buffer) in (span.first..span.end()).zip(buffers) {
            self.fetch_ahead(position);
            let (meta, timestamp, payload) = self.entry.segment().slot(position).read();
            let size = if self.be_in_run_of(meta) {
                // A peer may have changed the size since it was looked at.
                let size = payload.large_size(self.side_size()).min(N);
                self.copy_side(position, as_uninit(&mut buffer[..size]));
                self.be_in_large_run(meta, size);
                size
            } else {
                let size = self.run.size().min(N);
                payload.copy_to(&mut buffer[..size]);
                size
            };
            if timestamp != 0 && now == 0 {
                now = rdtsc();
            }
            self.received += 1;
            batch.push(Received {
                size,
                class: self.run.class(),
                latency: self.run.record(timestamp, now),
                redelivered: false,
            });
        }
        self.release(span);
        self.grant_if_due(now);
        Ok(batch)
    }

    /// Takes the next message, of any size, and gives a guard to read it by; dropping the guard
    /// releases it. If this process is killed before, another consumer gets the message again,
    /// marked.
    ///
    /// On a shared side a process may also be killed within this call, or within one that receives a
    /// batch or a message of more than 40 bytes, between showing what it is about to claim and
    /// learning that another consumer was faster. Nobody can tell then which of the two has the
    /// message, so it is delivered again, marked, though the other lives and has it.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(1 << 16).heap()?;
    /// ring.send_fast(&[7; 50_000], PriorityClass::Normal)?;
    /// let mut consumer = ring.consumer()?;
    /// let message = consumer.borrow()?;
    /// let mut part = [0; 4];
    /// message.read_at(49_996, &mut part); // no more is copied
    /// assert_eq!((message.len(), part), (50_000, [7; 4]));
    /// # drop(message);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A guard that is dropped by a panic releases its message; one that is forgotten
    /// (`mem::forget`) is released by the next call on this handle, or when it is dropped.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; rarely [`RecvError::OutOfMemory`], with the message left where it is.
    #[inline(always)]
    pub fn borrow(&mut self) -> Result<Borrowed<'_, S>, RecvError> {
        let claimed = if self.special { None } else { self.claim_span(1, Room::ANY)? };
        match claimed {
            Some(span) => self.show_claimed(span.first),
            None => self.borrow_special()?,
        }
        Ok(Borrowed { consumer: self })
    }

    /// Receives the next message, and calls `relax` again and again while there is none: for
    /// programs without an operating system to wait in, or with one of their own.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`].
    pub fn recv_spinning(&mut self, mut relax: impl FnMut()) -> Result<Message, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => relax(),
                done => return done,
            }
        }
    }

    /// Closes the ring; see [`UltraFastRing::close`](crate::UltraFastRing::close).
    pub fn close(&mut self) {
        self.flush();
        wait::close(self.entry.segment());
    }

    /// Treats a closed ring as an empty one until somebody opens it again. For a consumer that is
    /// started before the producers of the next stream, or that goes on after [`RecvError::Closed`].
    /// On an open ring it does nothing.
    ///
    /// Messages that are left of the old stream are received as usual: a handle that has received any of
    /// them gets [`RecvError::Closed`] after the last. So does one that misses a whole stream, opened and
    /// closed again with nothing in it.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// ring.producer()?.close(); // a run that is over
    ///
    /// let mut consumer = ring.consumer()?;
    /// consumer.await_next_stream();
    /// assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    /// let mut producer = ring.producer()?; // opens the ring again
    /// producer.try_send(b"the next run", PriorityClass::Normal)?;
    /// producer.close();
    /// assert_eq!(&*consumer.try_recv()?, b"the next run");
    /// # #[cfg(feature = "std")]
    /// assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn await_next_stream(&mut self) {
        let segment = self.entry.segment();
        // In this order: a stream that is opened in between is another one.
        let stream = wait::stream(segment);
        self.passed_stream = wait::is_closed(segment).then_some((stream, self.received));
    }

    /// Whether the ring is closed, and not only that of a stream which does not concern this handle.
    pub(crate) fn stream_has_ended(&mut self) -> bool {
        let segment = self.entry.segment();
        if !wait::is_closed(segment) {
            // This is the next stream, whose end counts.
            self.passed_stream = None;
            return false;
        }
        // It was found closed by an acquire: that it was opened before is seen as well.
        self.passed_stream != Some((wait::stream(segment), self.received))
    }

    /// Receives what is there, one message after the other, and ends when the ring is found
    /// empty, or at a message of more than 40 bytes.
    pub fn try_iter(&mut self) -> TryIter<'_, S> {
        TryIter { consumer: self }
    }

    /// Grants what was released and stores the statistics now.
    pub fn flush(&mut self) {
        self.release_lent();
        self.grant(0);
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

    /// How arrivals at this handle are coalesced.
    pub fn coalesce(&self) -> &CoalesceController {
        &self.coalesce
    }

    // ---- the hot path --------------------------------------------------------------------

    /// Takes the next message, for whose size there must be `room`, and releases it.
    #[inline(always)]
    fn take_next(&mut self, room: Room) -> Result<Taken, Pause> {
        let mut lost = 0;
        loop {
            let position = self.position;
            let next = independent(position + 1);
            let segment = self.entry.segment();
            let slot = segment.slot(position);
            let sequence = slot.sequence();
            if sequence != position + 1 {
                self.not_committed(sequence)?;
                if Self::SHARED && self.adopted.is_some() {
                    // Not `take_special`, which comes back here.
                    if let Some(taken) = self.take_adopted(room)? {
                        return Ok(taken);
                    }
                }
                continue;
            }
            self.fetch_ahead(position);
            let (meta, timestamp, payload) = slot.read();
            if self.be_in_run_of(meta) {
                return Err(Pause::Large);
            }
            let size = self.run.size();
            if !room.fits(size) {
                self.does_not_fit(size, room)?;
                continue;
            }
            let mut seen = None;
            let head = &self.entry.segment().counters().consumer_head;
            if Self::SHARED {
                // Before the claim, which waits for all stores and keeps what follows waiting.
                seen = Some(time_for(timestamp));
                // Release: the reads above come before whatever is done by those who see the head
                // beyond this position: the grant, and then the write of the next lap.
                if head
                    .compare_exchange(position, next, Ordering::Release, Ordering::Relaxed)
                    .is_err()
                {
                    lost += 1;
                    self.lose_race(lost)?;
                    continue;
                }
            } else {
                // Release: a successor that goes on from here has our reads behind it.
                head.store(next, Ordering::Release);
            }
            self.position = next;
            let (large, redelivered) = (None, false);
            return Ok(Taken { size, large, timestamp, seen, payload, position, redelivered });
        }
    }

    /// Fetches the line that will be read some messages after the one at `position`.
    #[inline(always)]
    fn fetch_ahead(&self, position: u64) {
        if let Some(beyond) = self.read_ahead.beyond(position) {
            prefetch_read(self.entry.segment().slot(beyond));
        }
    }

    /// What to do when the next position is not committed: `Ok` to look again, elsewhere. Most
    /// often nothing is there yet, and most of those calls end here.
    #[inline(always)]
    pub(crate) fn not_committed(&mut self, sequence: u64) -> Result<(), RecvError> {
        self.fruitless = self.fruitless.wrapping_add(1);
        if sequence <= self.position && self.fruitless & self.look_mask != 0 {
            for _ in 0..self.pauses {
                core::hint::spin_loop();
            }
            return Err(RecvError::Empty);
        }
        self.look_around(sequence)
    }

    /// Ends the run of like messages unless one with this `meta` continues it. Afterwards the
    /// run's class and size are the message's, checked once a run. `true`, and nothing else, if the
    /// message is in a side buffer: such a one never continues a run here.
    #[inline(always)]
    fn be_in_run_of(&mut self, meta: Meta) -> bool {
        !self.run.continues(meta) && self.begin_run(meta)
    }

    #[inline(never)]
    fn begin_run(&mut self, meta: Meta) -> bool {
        if meta.is_large() {
            return true;
        }
        self.run.end(self.received, &mut self.lanes);
        self.run = ReceivedRun::begin(meta, self.received);
        false
    }

    /// Counts a message taken and released, and grants if it is time.
    #[inline(always)]
    fn record(&mut self, taken: &Taken) -> Received {
        let (about, now) = self.count(taken);
        self.grant_if_due(now);
        about
    }

    /// Counts a message taken, and says when (0 if it carries no timestamp).
    #[inline(always)]
    fn count(&mut self, taken: &Taken) -> (Received, u64) {
        let now = taken.seen.unwrap_or_else(|| time_for(taken.timestamp));
        self.received += 1;
        let about = Received {
            size: taken.size,
            class: self.run.class(),
            latency: self.run.record(taken.timestamp, now),
            redelivered: taken.redelivered,
        };
        (about, now)
    }

    #[inline(always)]
    fn grant_if_due(&mut self, now: u64) {
        if self.received >= self.grant_at || now > self.grant_by {
            self.grant(now);
        }
    }

    // ---- reading in place, and several at once -------------------------------------------

    /// A batch for the only consumer: nobody else can claim what it reads, so no hold is needed,
    /// and one store claims and releases all. Who dies before it has delivered nothing.
    #[inline]
    fn take_batch<const N: usize>(
        &mut self,
        buffers: &mut [[u8; N]],
        batch: &mut Batch,
    ) -> Result<(), RecvError> {
        let most = buffers.len().min(MAX_SPAN as usize);
        let mut now = 0;
        while batch.len() < most {
            let position = self.position;
            let slot = self.entry.segment().slot(position);
            let sequence = slot.sequence();
            if sequence != position + 1 {
                if batch.is_empty() {
                    self.not_committed(sequence)?;
                    continue;
                }
                break;
            }
            if self.be_in_run_of(slot.meta()) {
                match self.take_large(as_uninit(&mut buffers[batch.len()]), Room::up_to(N)) {
                    Ok(taken) => batch.push(self.count(&taken).0),
                    Err(error) if batch.is_empty() => return Err(error),
                    Err(_) => break,
                }
                continue;
            }
            if self.run.size() > N {
                if batch.is_empty() {
                    return Err(Room::up_to(N).refusal(self.run.size()));
                }
                break;
            }
            let before = batch.len();
            self.take_run(&mut buffers[before..most], batch, &mut now);
            if batch.len() == before {
                // A peer changed the meta word since it was looked at: look again another time.
                break;
            }
        }
        // Release: a successor that goes on from here has our reads behind it.
        self.entry.segment().counters().consumer_head.store(self.position, Ordering::Release);
        if self.special {
            self.settle_marks();
        }
        self.grant_if_due(now);
        if batch.is_empty() { Err(RecvError::Empty) } else { Ok(()) }
    }

    /// The messages from the next position on that belong to the run, one a buffer.
    #[inline(always)]
    fn take_run<const N: usize>(
        &mut self,
        buffers: &mut [[u8; N]],
        batch: &mut Batch,
        now: &mut u64,
    ) {
        let (mut run, first) = (self.run, self.position);
        let redelivered_below = if self.special { self.redelivered_below } else { 0 };
        let mut position = first;
        let segment = self.entry.segment();
        for (buffer, item) in buffers.iter_mut().zip(batch.room()) {
            let next = independent(position + 1);
            let slot = segment.slot(position);
            if slot.sequence() != position + 1 {
                break;
            }
            let (meta, timestamp, payload) = slot.read();
            if !run.continues(meta) {
                break;
            }
            self.fetch_ahead(position);
            payload.copy_to(&mut buffer[..run.size().min(N)]);
            if timestamp != 0 && *now == 0 {
                *now = rdtsc();
            }
            item.write(Received {
                size: run.size(),
                class: run.class(),
                latency: run.record(timestamp, *now),
                redelivered: position < redelivered_below,
            });
            position = next;
        }
        let count = position - first;
        // SAFETY: so many items were written, one a position, from the first free one on.
        unsafe { batch.filled(count as usize) };
        let redelivered = position.min(redelivered_below).saturating_sub(first);
        if redelivered != 0 {
            self.entry.participant().count(Event::Redelivered, redelivered);
        }
        self.run = run;
        self.received += count;
        self.position = position;
    }

    /// Reads a claimed message for a guard, which keeps it held.
    #[inline(always)]
    fn show_claimed(&mut self, position: u64) {
        let mut taken = self.read_claimed(position);
        let large = taken.large.is_some();
        if large && !self.entry.segment().back(position, taken.size) {
            // A peer has changed the size since memory was asked for: it is garbage.
            taken.size = 0;
        }
        self.show(&taken, if large { Bytes::Side } else { Bytes::Slot });
    }

    #[inline(always)]
    fn show(&mut self, taken: &Taken, place: Bytes) {
        let (about, taken_at) = self.count(taken);
        let message = Message::new(taken.payload, taken.timestamp, about);
        self.shown = Shown { message, place, position: taken.position, taken_at };
    }

    /// As [`borrow`](Self::borrow), where there is a forgotten guard to release first, or a dead
    /// consumer's message to deliver.
    #[cold]
    #[inline(never)]
    fn borrow_special(&mut self) -> Result<(), RecvError> {
        self.release_lent();
        self.resume_adopted();
        loop {
            if self.adopted.is_some() {
                let Some(taken) = self.read_adopted() else { continue };
                let Some(place) = self.keep_adopted(&taken)? else { continue };
                self.note_adopted(&taken);
                self.show(&taken, place);
                return Ok(());
            }
            if let Some(span) = self.claim_over(1, Room::ANY, self.redelivered_below)? {
                self.show_claimed(span.first);
                return Ok(());
            }
        }
    }

    /// Reads the slot of a message that is held.
    #[inline(always)]
    fn read_claimed(&mut self, position: u64) -> Taken {
        let segment = self.entry.segment();
        self.fetch_ahead(position);
        let (meta, timestamp, payload) = segment.slot(position).read();
        let large = meta.is_large();
        let size = if large {
            let size = payload.large_size(self.side_size());
            if let Some(beyond) = self.read_ahead.beyond(position) {
                // As if it were as long as this one.
                let bytes = self.entry.segment().side(beyond).as_ptr();
                prefetch_read(bytes);
                prefetch_read(bytes.wrapping_add(size.saturating_sub(1)));
            }
            self.be_in_large_run(meta, size);
            size
        } else {
            self.be_in_run_of(meta);
            self.run.size()
        };
        let redelivered = self.is_redelivered(position);
        let large = large.then_some(meta);
        Taken { size, large, timestamp, seen: None, payload, position, redelivered }
    }

    /// Shows a hold on the committed messages from the next position on, at most `most` and as
    /// far as there is `room` for their sizes, and claims them. `None` if a dead consumer's
    /// messages come first.
    #[inline(always)]
    fn claim_span(&mut self, most: u64, room: Room) -> Result<Option<Span>, RecvError> {
        // Who has something to mark is special, and claims with that.
        self.claim_over(most, room, 0)
    }

    /// As `claim_span`, with the hold shown on all messages below `marked_below` as well: an exclusive
    /// predecessor held them, and nothing else says so to a successor.
    #[inline(always)]
    fn claim_over(
        &mut self,
        most: u64,
        room: Room,
        marked_below: u64,
    ) -> Result<Option<Span>, RecvError> {
        let mut lost = 0;
        loop {
            if Self::SHARED && self.adopted.is_some() {
                self.hide_hold();
                return Ok(None);
            }
            let first = self.position;
            let segment = self.entry.segment();
            let mut count = 0;
            while count < most {
                let slot = segment.slot(first + count);
                let sequence = slot.sequence();
                let meta = slot.meta();
                let size = slot.size(meta, segment.geometry().side_size);
                let backed = || !meta.is_large() || segment.back(first + count, size);
                if sequence == first + count + 1 && room.fits(size) && backed() {
                    count += 1;
                    continue;
                }
                if count == 0 {
                    self.hide_hold();
                    if sequence == first + 1 {
                        self.does_not_fit(size, room)?;
                    } else {
                        self.not_committed(sequence)?;
                    }
                }
                break;
            }
            if count == 0 {
                continue;
            }
            let span = Span::new(first, count);
            // No more than a span: what a predecessor held is at most one from where we began.
            let shown = Span::new(first, span.end().max(marked_below) - first);
            self.entry.participant().show_hold(shown);
            self.set_holding(true);
            if Self::SHARED {
                let head = &self.entry.segment().counters().consumer_head;
                // Release: makes the hold visible to the scan that sees the head beyond it.
                if head
                    .compare_exchange(first, span.end(), Ordering::Release, Ordering::Relaxed)
                    .is_err()
                {
                    lost += 1;
                    self.lose_race(lost)?;
                    continue;
                }
            }
            self.position = span.end();
            return Ok(Some(span));
        }
    }

    /// Gives back what `claim_span` claimed.
    #[inline]
    fn release(&mut self, span: Span) {
        if !Self::SHARED {
            // Release: a successor that goes on from here has our reads behind it.
            self.entry.segment().counters().consumer_head.store(span.end(), Ordering::Release);
        }
        self.hide_hold();
    }

    /// Claims up to `most` messages with a hold on all of them; or one that this handle shows, as
    /// for a guard of one, where there is a dead consumer's to deliver: `true`.
    #[cfg(feature = "alloc")]
    #[inline(never)]
    pub(crate) fn hold_several(&mut self, most: u64) -> Result<(Span, bool), RecvError> {
        if !self.special
            && let Some(span) = self.claim_span(most, Room::ANY)?
        {
            return Ok((span, false));
        }
        self.borrow_special()?;
        Ok((Span::new(self.shown.position, 1), true))
    }

    /// Appends a held message to `buffer` and counts it. Says also when, in ticks.
    #[cfg(feature = "alloc")]
    pub(crate) fn append_held(
        &mut self,
        position: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(Received, u64), RecvError> {
        let slot = self.entry.segment().slot(position);
        let bytes = slot.size(slot.meta(), self.side_size());
        buffer.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
        let mut taken = self.read_claimed(position);
        // A peer may have changed the size since it was looked at.
        taken.size = taken.size.min(bytes);
        self.copy_taken(&taken, &mut buffer.spare_capacity_mut()[..taken.size]);
        // SAFETY: `copy_taken` has filled as many behind what was there.
        unsafe { buffer.set_len(buffer.len() + taken.size) };
        Ok(self.count(&taken))
    }

    /// Counts a held message that nobody wants to read. Says when, in ticks.
    #[cfg(feature = "alloc")]
    pub(crate) fn count_held(&mut self, position: u64) -> u64 {
        let taken = self.read_claimed(position);
        self.count(&taken).1
    }

    /// Appends the message that is shown, and counted, to `buffer`.
    #[cfg(feature = "alloc")]
    pub(crate) fn append_shown(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        // It is released later, by `release_shown`.
        let message = core::mem::ManuallyDrop::new(Borrowed { consumer: self });
        let bytes = message.len();
        buffer.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
        message.read_at_uninit(0, &mut buffer.spare_capacity_mut()[..bytes]);
        // SAFETY: `read_at_uninit` has filled as many behind what was there.
        unsafe { buffer.set_len(buffer.len() + bytes) };
        Ok(message.about())
    }

    /// Releases the message that is shown.
    #[cfg(feature = "alloc")]
    pub(crate) fn release_shown(&mut self) {
        drop(Borrowed { consumer: self });
    }

    /// Releases what `hold_several` claimed but for its last part, which may be none. Granted as if
    /// received `now`.
    #[cfg(feature = "alloc")]
    pub(crate) fn hold_only(&mut self, rest: Span, now: u64) {
        if rest.count == 0 {
            self.release_lent();
        } else {
            if !Self::SHARED {
                // Release: a successor that goes on from here has our reads behind it. Before the
                // hold: one that shows what is below the head says nothing of it, but what is not
                // shown would be delivered again unmarked.
                self.entry.segment().counters().consumer_head.store(rest.first, Ordering::Release);
            }
            let end = rest.end().max(self.redelivered_below);
            self.entry.participant().show_hold(Span::new(rest.first, end - rest.first));
        }
        self.grant_if_due(now);
    }

    /// Takes the hold out of the entry, but for what is still to be marked.
    #[inline]
    fn hide_hold(&mut self) {
        if self.holding {
            self.set_holding(false);
            if !Self::SHARED && self.special {
                self.show_marks();
            } else {
                self.entry.participant().clear_hold();
            }
        }
    }

    /// Shows what an exclusive predecessor held of the messages from the next on. The head has moved
    /// over those before: one that is killed in between leaves them shown, which says nothing.
    #[cold]
    #[inline(never)]
    fn show_marks(&mut self) {
        let participant = self.entry.participant();
        match self.redelivered_below.checked_sub(self.position) {
            Some(count @ 1..) => participant.show_hold(Span::new(self.position, count)),
            _ => participant.clear_hold(),
        }
    }

    #[inline(always)]
    fn set_holding(&mut self, holding: bool) {
        self.holding = holding;
        self.note_special();
    }

    #[inline(always)]
    pub(crate) fn note_special(&mut self) {
        self.special = self.holding
            || self.adopted.is_some()
            || self.handed_on.is_some()
            || !Self::SHARED && self.position < self.redelivered_below;
    }

    /// Takes the predecessor's hold out of the entry once an exclusive side is past it.
    #[cold]
    fn settle_marks(&mut self) {
        self.note_special();
        if !self.special {
            self.entry.participant().clear_hold();
        }
    }

    /// Releases what a guard holds, or held when it was forgotten.
    #[inline]
    pub(crate) fn release_lent(&mut self) {
        if self.holding {
            self.release(Span::new(self.position - 1, 1));
        }
        if self.adopted.as_ref().is_some_and(|adopted| adopted.lent) {
            self.advance_adopted();
            self.hand_on();
        }
    }

    /// Whether the message at `position` was in an exclusive predecessor's hands when it died;
    /// counted if so.
    fn is_redelivered(&mut self, position: u64) -> bool {
        let redelivered = !Self::SHARED && position < self.redelivered_below;
        if redelivered {
            self.entry.participant().count(Event::Redelivered, 1);
        }
        redelivered
    }

    // ---- what is done now and then -------------------------------------------------------

    /// Announces the release frontier, which gives credit back, and stores the counters.
    #[cold]
    #[inline(never)]
    pub(crate) fn grant(&mut self, timestamp: u64) {
        let now = if timestamp == 0 { rdtsc() } else { timestamp };
        let segment = self.entry.segment();
        if Self::SHARED {
            recover::raise_release_frontier(segment);
            self.look_behind(now);
        } else {
            let counters = segment.counters();
            let released = counters.consumer_head.load(Ordering::Relaxed);
            // Release: pairs with the acquire in `refill`: our reads of these slots come before
            // the producers' writes into them.
            counters.consumer_tail.store(released, Ordering::Release);
            if wait::is_alert(segment, Side::Producer) {
                wait::ring(segment, Side::Producer);
            }
        }
        let there = |distance| {
            let position = self.position + distance;
            self.entry.segment().slot(position).sequence() == position + 1
        };
        self.read_ahead.settle(self.fruitless, there);
        self.store_lanes();
        let mode = self.coalesce.record_arrivals(self.ungranted(), now);
        let batch = mode.batch();
        self.pauses = if mode == CoalesceMode::Aggressive { LAG_PAUSES } else { 0 };
        self.granted = self.received;
        self.grant_at = self.received + batch.min(self.most_ungranted);
        self.grant_by = now.saturating_add(self.grant_after);
    }

    /// Looks whether the frontier is held back for long by a dead consumer. Where messages keep
    /// coming nobody is stuck, and its message would wait until the ring is full.
    fn look_behind(&mut self, now: u64) {
        let counters = self.entry.segment().counters();
        // Relaxed, both: whether it is worth looking.
        let tail = counters.consumer_tail.load(Ordering::Relaxed);
        if tail >= counters.consumer_head.load(Ordering::Relaxed) || tail != self.behind.0 {
            self.behind = (tail, now);
        } else if now.wrapping_sub(self.behind.1) > self.stuck_after && !cfg!(loom) {
            // Not in a model, which must not depend on the clock.
            self.behind.1 = now;
            if self.adopted.is_none() && self.adopt_dead() {
                // For the next call; this one has its message.
                self.hand_on();
            }
        }
    }

    /// Messages released through this handle since it granted.
    pub(crate) fn ungranted(&self) -> u64 {
        self.received.wrapping_sub(self.granted)
    }

    fn store_lanes(&mut self) {
        self.run.end(self.received, &mut self.lanes);
        let participant = self.entry.participant();
        for class in PriorityClass::ALL {
            participant.lane(class).store_received(&self.lanes[class.index()]);
        }
    }

    /// The rest of `not_committed`.
    #[cold]
    #[inline(never)]
    fn look_around(&mut self, sequence: u64) -> Result<(), RecvError> {
        let position = self.position;
        match crate::TimestampedSlot::state_of(sequence, position) {
            SlotState::Abandoned => {
                return self.skip();
            }
            SlotState::Later if Self::SHARED => {
                // Others have gone on; we were away for a lap.
                let head = self.entry.segment().counters().consumer_head.load(Ordering::Acquire);
                if head != position && head <= MAX_POSITION {
                    self.position = head;
                    return self.detour();
                }
            }
            _ => {}
        }
        self.nothing_there()
    }

    /// Goes on where a shared side's head was seen. One beyond belief is a peer's garbage: to wait
    /// for it to become sound again would be to wait for ever.
    #[inline(always)]
    pub(crate) fn go_on_at(&mut self, head: u64) -> Result<(), RecvError> {
        if head > MAX_POSITION {
            return Err(RecvError::Empty);
        }
        self.position = head;
        self.detour()
    }

    /// Another consumer took the position: the next try is for where the head is a moment later.
    #[cold]
    #[inline(never)]
    fn lose_race(&mut self, lost: u32) -> Result<(), RecvError> {
        // Before the pause: the release frontier stops at a hold.
        self.hide_hold();
        if lost == race::MOST_LOST {
            return Err(RecvError::Empty);
        }
        let head = race::back_off(lost, &self.entry.segment().counters().consumer_head);
        self.go_on_at(head)
    }

    /// Counts that a call was led elsewhere; an error if that has gone on for too long.
    #[cold]
    #[inline(never)]
    fn detour(&mut self) -> Result<(), RecvError> {
        if self.detours_since != self.received {
            self.detours_since = self.received;
            self.detours = 0;
        }
        self.detours += 1;
        #[cfg(any(feature = "std", loom))]
        if self.detours.is_multiple_of(DETOURS_PER_CLOCK) && self.waiting.limit.is_reached() {
            return Err(RecvError::TimedOut);
        }
        // Relaxed: a head that is not believed leads nowhere, whenever it was written.
        let head = self.entry.segment().counters().consumer_head.load(Ordering::Relaxed);
        if head > MAX_POSITION || self.detours > MOST_DETOURS + 2 * self.capacity() as u64 {
            self.detours = 0;
            return Err(RecvError::Empty);
        }
        Ok(())
    }

    /// Passes over an abandoned slot.
    pub(crate) fn skip(&mut self) -> Result<(), RecvError> {
        let position = self.position;
        let head = &self.entry.segment().counters().consumer_head;
        if Self::SHARED {
            // Release: as in `take`.
            if let Err(actual) =
                head.compare_exchange(position, position + 1, Ordering::Release, Ordering::Relaxed)
            {
                return self.go_on_at(actual);
            }
        } else {
            // Release: as in `take`.
            head.store(position + 1, Ordering::Release);
        }
        self.position = position + 1;
        self.note_special();
        // One to grant that was not received.
        self.granted = self.granted.wrapping_sub(1);
        self.grant_at = self.grant_at.saturating_sub(1);
        self.entry.participant().count(Event::Skipped, 1);
        self.grant_if_due(0);
        self.detour()
    }

    /// Drops what an exclusive predecessor had borrowed when it died, as the ring's policy says.
    fn discard_redelivered(&mut self) {
        let segment = self.entry.segment();
        let first = self.position;
        // Only what is there: the hold is a peer's word.
        let end = (first..self.redelivered_below.min(first + MAX_SPAN))
            .find(|&position| segment.slot(position).sequence() != position + 1)
            .unwrap_or(self.redelivered_below.clamp(first, first + MAX_SPAN));
        // Release: as in `take`.
        segment.counters().consumer_head.store(end, Ordering::Release);
        self.position = end;
        self.settle_marks();
        self.entry.participant().count(Event::Discarded, end - first);
    }

    /// The ring is empty as far as this handle can tell: the time for what was put off.
    fn nothing_there(&mut self) -> Result<(), RecvError> {
        let now = rdtsc();
        // Wrapping, here and below: a clock that was set back is a reason to look, not to wait for
        // it. Not in a model, which must not depend on the clock.
        let sparse = now.wrapping_sub(self.looked_at) > self.stuck_after && !cfg!(loom);
        self.look_mask = if sparse { 0 } else { CALLS_PER_LOOK - 1 };
        self.looked_at = now;
        if self.position != self.found_nothing_at {
            self.found_nothing_at = self.position;
            self.stuck_since = now;
            return Err(RecvError::Empty);
        }
        // Not at the first look: a consumer that keeps up looks around now and then, and what is
        // asked here lies on lines that others write.
        if self.stream_has_ended() {
            return self.closed();
        }
        if self.entry.segment().is_damaged() {
            return Err(RecvError::Damaged);
        }
        if self.ungranted() != 0 || Self::SHARED && self.frontier_lags() {
            self.grant(0);
        }
        // The stream has stopped: who comes next is not kept waiting.
        self.pauses = 0;
        self.read_ahead.stop();
        if now.wrapping_sub(self.stuck_since) > self.stuck_after && !cfg!(loom) {
            self.stuck_since = now;
            if self.help() {
                return self.detour();
            }
        }
        Err(RecvError::Empty)
    }

    /// Whether what others released is not announced: somebody's hold was in the way when they
    /// did, and is gone since.
    fn frontier_lags(&self) -> bool {
        let counters = self.entry.segment().counters();
        // Relaxed, both: whether it is worth looking; the grant itself looks in order.
        counters.consumer_tail.load(Ordering::Relaxed)
            < counters.consumer_head.load(Ordering::Relaxed)
    }

    /// The ring was closed: whether everything in it is received.
    pub(crate) fn closed(&mut self) -> Result<(), RecvError> {
        let segment = self.entry.segment();
        // It was found closed by an acquire, so what was sent before is seen.
        let drained = match segment.geometry().producer_sharing {
            Sharing::Shared => {
                segment.counters().producers_claimed(Ordering::Acquire) <= self.position
            }
            Sharing::Exclusive => {
                segment.slot(self.position).state(self.position) == SlotState::NotYet
            }
        };
        if self.ungranted() != 0 {
            self.grant(0);
        }
        // What the dead had claimed or held is theirs who drain the ring, too.
        // A slot that belongs to a later position already is nothing to receive: garbage, if others
        // have not gone on.
        let state = self.entry.segment().slot(self.position).state(self.position);
        let more = matches!(state, SlotState::Committed | SlotState::Abandoned);
        if self.help() || (!drained && more) {
            return self.detour();
        }
        Err(if drained { RecvError::Closed } else { RecvError::Empty })
    }

    /// Whether there is something at `position` to receive or to pass over.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn is_committed(&self, position: u64) -> bool {
        self.entry.segment().slot(position).state(position) != SlotState::NotYet
    }

    /// Looks whether a dead peer is in the way, and finishes its work. Says whether to look for a
    /// message again.
    pub(crate) fn help(&mut self) -> bool {
        let segment = self.entry.segment();
        let counters = segment.counters();
        let geometry = segment.geometry();
        let (locker, index) = (self.entry.locker(), self.entry.index());
        let mut again = false;
        if geometry.producer_sharing == Sharing::Shared
            // Acquire: pairs with the release of the claim, so that its intent is seen.
            && counters.producers_claimed(Ordering::Acquire) > self.position
        {
            let abandoned = recover::abandon_for_the_dead(segment, locker, index, self.position);
            self.entry.participant().count(Event::Abandoned, abandoned);
            again |= abandoned != 0;
        }
        if Self::SHARED && self.adopted.is_none() {
            recover::raise_release_frontier(segment);
            // Acquire: pairs with the release of the grant.
            let tail = counters.consumer_tail.load(Ordering::Acquire);
            if tail < counters.consumer_head.load(Ordering::Acquire) {
                again |= self.adopt_dead();
            }
        }
        again
    }

    /// Takes over a dead consumer's messages, if there are any.
    fn adopt_dead(&mut self) -> bool {
        let (segment, locker, index) =
            (self.entry.segment(), self.entry.locker(), self.entry.index());
        let found = recover::adopt_consumer(segment, locker, index);
        self.entry.participant().count(Event::Discarded, found.discarded);
        let taken = found.adopted.is_some();
        if let Some(adopted) = found.adopted {
            self.adopt(adopted);
        }
        recover::raise_release_frontier(self.entry.segment());
        taken
    }

    /// What to do about a message of a size for which there is no room, or no memory: `Ok` if it
    /// was not the next after all.
    #[cold]
    #[inline(never)]
    fn does_not_fit(&mut self, size: usize, room: Room) -> Result<(), RecvError> {
        if Self::SHARED {
            // Acquire: if the head is still here, what was read is the next message's size.
            let head = self.entry.segment().counters().consumer_head.load(Ordering::Acquire);
            if head != self.position && head <= MAX_POSITION {
                self.position = head;
                return self.detour();
            }
        }
        Err(if room.fits(size) { self.no_memory(size) } else { room.refusal(size) })
    }

    // ---- messages in side buffers --------------------------------------------------------

    fn side_size(&self) -> usize {
        self.entry.segment().geometry().side_size
    }

    #[inline]
    fn side(&self, position: u64) -> SideBuffer<'_> {
        self.entry.segment().side(position)
    }

    /// As [`be_in_run_of`](Self::be_in_run_of), for a message of `size` bytes in a side buffer.
    #[inline]
    fn be_in_large_run(&mut self, meta: Meta, size: usize) {
        if !self.run.continues_large(meta) {
            self.run.end(self.received, &mut self.lanes);
            self.run = ReceivedRun::begin(meta, self.received);
        }
        self.run.note_large(size);
    }

    /// Fills `buffer` with the first bytes of a side buffer.
    #[inline]
    fn copy_side(&self, position: u64, buffer: &mut [MaybeUninit<u8>]) {
        if self.entry.segment().back(position, buffer.len()) {
            self.side(position).read(self.copying, 0, buffer);
        } else {
            // Never written, since it cannot even be read: what it would hold is zeros.
            buffer.fill(MaybeUninit::new(0));
        }
    }

    #[inline(never)]
    fn recv_large(&mut self, buffer: &mut [u8]) -> Result<(usize, PriorityClass, u64), RecvError> {
        let room = Room::up_to(buffer.len());
        let (about, _) = self.recv_held(as_uninit(buffer), room)?;
        Ok((about.size, about.class, about.latency))
    }

    /// What [`try_recv`](Self::try_recv) does where the next message is, or was, in a side buffer.
    #[cold]
    #[inline(never)]
    fn try_recv_large(&mut self) -> Result<Message, RecvError> {
        let mut bytes = [0; INLINE_SIZE];
        let (about, timestamp) = self.recv_held(as_uninit(&mut bytes), Room::up_to(INLINE_SIZE))?;
        Ok(Message::new(Payload::from_bytes(&bytes[..about.size]), timestamp, about))
    }

    /// Receives the next message, wherever it is, into `buffer`, which is as long as `room` says:
    /// claims it with a hold, copies it, and releases it. Says also when it was sent.
    fn recv_held(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<(Received, u64), RecvError> {
        self.release_lent();
        if self.handed_on.is_some() {
            self.resume_adopted();
        }
        loop {
            let taken = if self.adopted.is_some() {
                match self.recv_adopted(buffer, room)? {
                    Some(taken) => taken,
                    None => continue,
                }
            } else if !Self::SHARED {
                let sequence = self.entry.segment().slot(self.position).sequence();
                if sequence != self.position + 1 {
                    self.not_committed(sequence)?;
                    continue;
                }
                let taken = self.take_large(buffer, room)?;
                let head = &self.entry.segment().counters().consumer_head;
                // Release: a successor that goes on from here has our reads behind it.
                head.store(self.position, Ordering::Release);
                if self.special {
                    self.settle_marks();
                }
                taken
            } else {
                let Some(span) = self.claim_span(1, room)? else { continue };
                let mut taken = self.read_claimed(span.first);
                // A peer may have changed the size since it was looked at.
                taken.size = taken.size.min(buffer.len());
                self.copy_taken(&taken, buffer);
                self.release(span);
                taken
            };
            let timestamp = taken.timestamp;
            return Ok((self.record(&taken), timestamp));
        }
    }

    /// Copies the next message, which is committed, to the beginning of `buffer`, and goes on to
    /// the one after. For the only consumer: as in `take_batch` no hold is needed, and the caller
    /// stores the position.
    #[inline]
    fn take_large(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Taken, RecvError> {
        let segment = self.entry.segment();
        let slot = segment.slot(self.position);
        let (meta, size) = (slot.meta(), slot.size(slot.meta(), segment.geometry().side_size));
        if !room.fits(size) || meta.is_large() && !segment.back(self.position, size) {
            self.does_not_fit(size, room)?;
        }
        let mut taken = self.read_claimed(self.position);
        // A peer may have changed the size since it was looked at.
        taken.size = taken.size.min(buffer.len());
        self.copy_taken(&taken, buffer);
        self.position += 1;
        Ok(taken)
    }

    /// Fills `bytes` with the next message, which must be of that size.
    #[cfg(feature = "zerocopy")]
    #[inline(always)]
    pub(crate) fn recv_exactly(&mut self, bytes: &mut [MaybeUninit<u8>]) -> Result<(), RecvError> {
        let room = Room::exactly(bytes.len());
        if bytes.len() <= INLINE_SIZE && !self.special {
            match self.take_next(room) {
                Ok(taken) => {
                    let mut inline = [0; INLINE_SIZE];
                    taken.payload.copy_to(&mut inline[..bytes.len()]);
                    for (to, from) in bytes.iter_mut().zip(inline) {
                        to.write(from);
                    }
                    self.record(&taken);
                    return Ok(());
                }
                Err(Pause::Error(error)) => return Err(error),
                Err(Pause::Large) => {}
            }
        }
        let expected = bytes.len();
        match self.recv_held(bytes, room)?.0.size {
            size if size == expected => Ok(()),
            // A peer has changed it while it was received: not all bytes were filled.
            size => Err(RecvError::WrongSize { size, expected }),
        }
    }

    /// Copies a message to the beginning of `buffer`, which is long enough.
    fn copy_taken(&self, taken: &Taken, buffer: &mut [MaybeUninit<u8>]) {
        if taken.large.is_some() {
            self.copy_side(taken.position, &mut buffer[..taken.size]);
        } else {
            for (to, from) in buffer.iter_mut().zip(&taken.payload.as_bytes()[..taken.size]) {
                to.write(*from);
            }
        }
    }

    // ---- a dead consumer's messages ------------------------------------------------------

    fn adopt(&mut self, adopted: Adopted) {
        self.adopted = Some(adopted);
        self.note_special();
    }

    // Out of line, whole: a message that came from either of two ways would travel in memory.

    #[cold]
    #[inline(never)]
    fn recv_special(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        let taken = match self.take_special(Room::up_to(buffer.len())) {
            Ok(taken) => taken,
            Err(Pause::Error(error)) => return Err(error),
            Err(Pause::Large) => return self.recv_large(buffer),
        };
        taken.payload.copy_to(&mut buffer[..taken.size]);
        let about = self.record(&taken);
        Ok((about.size, about.class, about.latency))
    }

    #[cold]
    #[inline(never)]
    fn try_recv_special(&mut self) -> Result<Message, RecvError> {
        let taken = match self.take_special(Room::ANY) {
            Ok(taken) => taken,
            Err(Pause::Error(error)) => return Err(error),
            Err(Pause::Large) => return self.try_recv_large(),
        };
        let about = self.record(&taken);
        Ok(Message::new(taken.payload, taken.timestamp, about))
    }

    /// As `take_next`, where there is a forgotten guard to release first, or a dead consumer's
    /// message to deliver.
    fn take_special(&mut self, room: Room) -> Result<Taken, Pause> {
        self.release_lent();
        self.resume_adopted();
        if !self.special {
            return self.take_next(room);
        }
        if !Self::SHARED {
            let mut taken = self.take_next(room)?;
            taken.redelivered = self.is_redelivered(taken.position);
            self.settle_marks();
            return Ok(taken);
        }
        match self.take_adopted(room)? {
            Some(taken) => Ok(taken),
            None => self.take_next(room),
        }
    }

    /// Takes the next of a dead consumer's messages. `None` if the dead one had lost it, or there is
    /// none.
    #[cold]
    #[inline(never)]
    fn take_adopted(&mut self, room: Room) -> Result<Option<Taken>, Pause> {
        let Some(taken) = self.read_adopted() else { return Ok(None) };
        if taken.large.is_some() || !room.fits(taken.size) {
            self.leave_adopted();
            return Err(if taken.large.is_some() {
                Pause::Large
            } else {
                Pause::Error(room.refusal(taken.size))
            });
        }
        self.entry.participant().count(Event::Redelivered, 1);
        self.advance_adopted();
        self.hand_on();
        Ok(Some(taken))
    }

    /// Takes the next of a dead consumer's messages and copies it to `buffer`. `None` if the dead
    /// one had lost it, or there is none.
    fn recv_adopted(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Option<Taken>, RecvError> {
        let Some(taken) = self.read_adopted() else { return Ok(None) };
        if !room.fits(taken.size) {
            self.leave_adopted();
            return Err(room.refusal(taken.size));
        }
        self.back_adopted(&taken)?;
        self.copy_taken(&taken, buffer);
        if taken.large.is_some() && !self.is_still_adopted(taken.position) {
            return Ok(None);
        }
        self.note_adopted(&taken);
        self.advance_adopted();
        self.hand_on();
        Ok(Some(taken))
    }

    /// Where the bytes of a dead consumer's message can be read for as long as it is lent: a scan
    /// of the frontier that is under way may not honour its hold (`finish_hold`), so it cannot be
    /// read in its side buffer, but only copied from there. `None` if the dead one had lost it.
    fn keep_adopted(&mut self, taken: &Taken) -> Result<Option<Bytes>, RecvError> {
        if taken.large.is_none() {
            return Ok(Some(Bytes::Slot));
        }
        self.back_adopted(taken)?;
        #[cfg(feature = "alloc")]
        {
            let mut copy = Vec::new();
            if copy.try_reserve_exact(taken.size).is_ok() {
                self.copy_side(taken.position, &mut copy.spare_capacity_mut()[..taken.size]);
                // SAFETY: `copy_side` has filled as many.
                unsafe { copy.set_len(taken.size) };
                return Ok(self.is_still_adopted(taken.position).then_some(Bytes::Copy(copy)));
            }
        }
        self.leave_adopted();
        Err(RecvError::OutOfMemory { bytes: taken.size })
    }

    /// Has the memory taken that the message lies in; an error, with it left for another call, if
    /// there is none.
    fn back_adopted(&mut self, taken: &Taken) -> Result<(), RecvError> {
        if taken.large.is_none() || self.entry.segment().back(taken.position, taken.size) {
            return Ok(());
        }
        self.leave_adopted();
        Err(self.no_memory(taken.size))
    }

    /// Why the memory of a side buffer could not be had.
    fn no_memory(&self, bytes: usize) -> RecvError {
        match self.entry.segment().is_damaged() {
            true => RecvError::Damaged,
            false => RecvError::OutOfMemory { bytes },
        }
    }

    /// Counts a dead consumer's message as taken.
    fn note_adopted(&mut self, taken: &Taken) {
        self.entry.participant().count(Event::Redelivered, 1);
        if let Some(meta) = taken.large {
            self.be_in_large_run(meta, taken.size);
        }
    }

    /// The second look, after what was copied from a side buffer: as in `read_adopted`.
    fn is_still_adopted(&mut self, position: u64) -> bool {
        let counters = self.entry.segment().counters();
        // AcqRel: as in `read_adopted`. The copy comes before it: nothing is ordered after a
        // read-modify-write that releases, on x86 not even without that.
        let tail = raise(&counters.consumer_tail, 0, Ordering::AcqRel);
        if tail > position {
            self.drop_adopted();
        }
        tail <= position
    }

    /// Leaves a dead consumer's message for another call.
    fn leave_adopted(&mut self) {
        if let Some(adopted) = &mut self.adopted {
            adopted.lent = false;
        }
        self.hand_on();
    }

    /// Reads the next of a dead consumer's messages, if there is one; it stays the dead one's
    /// until `advance_adopted`.
    fn read_adopted(&mut self) -> Option<Taken> {
        loop {
            let adopted = self.adopted.as_mut()?;
            let segment = self.entry.segment();
            let position = adopted.next;
            let slot = segment.slot(position);
            let state = slot.state(position);
            let (meta, timestamp, payload) = slot.read();
            // Looked at after the copy: before it, the frontier could still pass between. A
            // read-modify-write, which changes nothing: a grant that raises the frontier comes
            // before it, and is seen, or after it and synchronises with it (both AcqRel), and
            // then the reads above come before the write of the next lap.
            let tail = raise(&segment.counters().consumer_tail, 0, Ordering::AcqRel);
            if tail > position || matches!(state, SlotState::NotYet | SlotState::Later) {
                // The dead one had lost this claim, and a scan did not wait for it.
                self.drop_adopted();
                return None;
            }
            if state == SlotState::Abandoned {
                self.entry.participant().count(Event::Skipped, 1);
                self.advance_adopted();
                continue;
            }
            adopted.lent = true;
            let large = self.be_in_run_of(meta);
            let size = if large { payload.large_size(self.side_size()) } else { self.run.size() };
            let large = large.then_some(meta);
            return Some(Taken {
                size,
                large,
                timestamp,
                seen: None,
                payload,
                position,
                redelivered: true,
            });
        }
    }

    /// Takes one message off what the dead one's hold shows.
    fn advance_adopted(&mut self) {
        let Some(adopted) = &mut self.adopted else { return };
        adopted.lent = false;
        adopted.next += 1;
        if adopted.next == adopted.end {
            self.drop_adopted();
            return;
        }
        let rest = Span::new(adopted.next, adopted.end - adopted.next);
        self.entry.segment().participant(adopted.index).show_hold(rest);
    }

    /// Leaves the rest of a dead one's messages to whoever needs a message next, this handle too:
    /// it may make no further call, and nobody else could have them then. What is shown in its own
    /// entry it cannot leave.
    fn hand_on(&mut self) {
        let own = self.entry.index();
        if let Some(adopted) = self.adopted.take_if(|adopted| adopted.index != own) {
            recover::hand_on(self.entry.segment(), self.entry.locker(), &adopted, own);
            self.handed_on = Some(adopted.index);
        }
        self.note_special();
    }

    /// Goes on with what was handed on, if it is still there, and if nothing else is in hand: that
    /// may be the very same, which a call hands on and then finds again.
    fn resume_adopted(&mut self) {
        if self.adopted.is_none()
            && let Some(index) = self.handed_on.take()
        {
            let (segment, locker) = (self.entry.segment(), self.entry.locker());
            let found = recover::adopt_again(segment, locker, index, self.entry.index());
            self.entry.participant().count(Event::Discarded, found.discarded);
            self.adopted = found.adopted;
        }
        self.note_special();
    }

    /// All of the dead one's work is finished: its entry is free.
    fn drop_adopted(&mut self) {
        if let Some(adopted) = self.adopted.take() {
            let (segment, locker) = (self.entry.segment(), self.entry.locker());
            recover::close(segment, locker, adopted.index, self.entry.index());
            recover::raise_release_frontier(segment);
        }
        self.note_special();
    }
}

/// The same number, computed from `number` and from nothing else.
///
/// A compiler that has just seen the slot's sequence equal to the next position likes to go on with
/// the sequence in its place. The address of the next slot would then depend on the line that is
/// still on its way, and lines would travel one after the other instead of several at a time:
/// measured, that makes a stream two to six times slower.
#[inline(always)]
fn independent(number: u64) -> u64 {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    {
        let mut number = number;
        // SAFETY: no instruction at all; the compiler is only kept from knowing the value.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
        }
        number
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    {
        number
    }
}

/// Deaths for models, in which no process can be killed.
#[cfg(loom)]
#[allow(missing_docs)]
impl<S: Mode> Consumer<S> {
    /// Dies with whatever it holds.
    pub fn die(self) {
        core::mem::ManuallyDrop::new(self).entry.die();
    }

    /// Dies with a hold shown on the next position, before it claims it.
    pub fn die_before_claim(self) {
        self.entry.participant().show_hold(Span::new(self.position, 1));
        self.die();
    }

    /// What a call does that has been stuck for long, since models have no clock.
    pub fn recover(&mut self) {
        self.help();
    }
}

impl<S: Mode> Drop for Consumer<S> {
    fn drop(&mut self) {
        self.flush();
        // What is left of a dead one's messages stays in its hold, for the next to adopt.
        if let Some(adopted) = self.adopted.take() {
            recover::hand_on(
                self.entry.segment(),
                self.entry.locker(),
                &adopted,
                self.entry.index(),
            );
        }
    }
}

/// Receives what is there; see [`Consumer::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, S: Mode> {
    consumer: &'a mut Consumer<S>,
}

impl<S: Mode> Iterator for TryIter<'_, S> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        self.consumer.try_recv().ok()
    }
}

/// Where the bytes of a borrowed message are.
enum Bytes {
    /// In the handle, copied from the slot.
    Slot,
    /// In the side buffer.
    Side,
    /// On the heap, copied from a side buffer that nobody holds for certain.
    #[cfg(feature = "alloc")]
    Copy(Vec<u8>),
}

/// A message that stays in the ring until this guard is dropped; see [`Consumer::borrow`].
///
/// Up to 40 bytes are the handle's own copy, [`as_inline`](Self::as_inline). More stay in the side
/// buffer and are copied from there as far as they are asked for: a peer that does not mind the
/// protocol could write there at the same time, so that memory is no `&[u8]` to Rust; for one, take
/// a [`Trusted`](crate::Trusted) handle.
pub struct Borrowed<'a, S: Mode> {
    consumer: &'a mut Consumer<S>,
}

impl<S: Mode> Borrowed<'_, S> {
    /// Bytes of the message.
    #[inline]
    pub fn len(&self) -> usize {
        self.consumer.shown.message.about().size
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The priority class it was sent with.
    pub fn class(&self) -> PriorityClass {
        self.consumer.shown.message.class()
    }

    /// Ticks from send to borrow; 0 if it carried no timestamp.
    pub fn latency(&self) -> u64 {
        self.consumer.shown.message.latency()
    }

    /// When it was sent, in ticks; `None` if it carried no timestamp.
    pub fn timestamp(&self) -> Option<u64> {
        self.consumer.shown.message.timestamp()
    }

    /// Whether it may have been delivered before: to a consumer that died, or instead of one that died
    /// when it was about to claim it ([`Consumer::borrow`]).
    pub fn is_redelivered(&self) -> bool {
        self.consumer.shown.message.is_redelivered()
    }

    /// Size, class, latency and mark together.
    pub fn about(&self) -> Received {
        self.consumer.shown.message.about()
    }

    /// Its place in the endless order of messages.
    #[inline]
    pub fn position(&self) -> u64 {
        self.consumer.shown.position
    }

    /// The message, to keep, if it came in a slot.
    pub fn message(&self) -> Option<Message> {
        matches!(self.consumer.shown.place, Bytes::Slot).then_some(self.consumer.shown.message)
    }

    /// The bytes of a message that came in a slot: at most 40, copied, so that no peer can change
    /// them.
    pub fn as_inline(&self) -> Option<&[u8]> {
        matches!(self.consumer.shown.place, Bytes::Slot).then(|| &*self.consumer.shown.message)
    }

    /// Copies bytes from `offset` on, as many as `buffer` is long.
    ///
    /// # Panics
    ///
    /// If the message has fewer.
    #[inline]
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) {
        self.read_at_uninit(offset, as_uninit(buffer));
    }

    #[inline]
    pub(crate) fn read_at_uninit(&self, offset: usize, buffer: &mut [MaybeUninit<u8>]) {
        let (size, count) = (self.len(), buffer.len());
        assert!(
            offset <= size && count <= size - offset,
            "{count} bytes at {offset} go beyond a message of {size}"
        );
        let bytes: &[u8] = match &self.consumer.shown.place {
            Bytes::Slot => &self.consumer.shown.message,
            Bytes::Side => {
                let consumer = &self.consumer;
                return consumer.side(self.position()).read(consumer.copying, offset, buffer);
            }
            #[cfg(feature = "alloc")]
            Bytes::Copy(copy) => copy,
        };
        for (to, from) in buffer.iter_mut().zip(&bytes[offset..offset + count]) {
            to.write(*from);
        }
    }

    /// The message, copied.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[cfg(feature = "alloc")]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.read_at_uninit(0, &mut bytes.spare_capacity_mut()[..self.len()]);
        // SAFETY: `read_at_uninit` has filled all that was asked for.
        unsafe { bytes.set_len(self.len()) };
        bytes
    }

    /// Writes the message to `output`, in pieces of up to 4096 bytes.
    ///
    /// # Errors
    ///
    /// What `output` says.
    #[cfg(feature = "std")]
    pub fn write_to(&self, output: &mut impl std::io::Write) -> std::io::Result<()> {
        if let Some(bytes) = self.as_inline() {
            return output.write_all(bytes);
        }
        let mut piece = [0; 4096];
        let mut offset = 0;
        while offset < self.len() {
            let count = piece.len().min(self.len() - offset);
            self.read_at(offset, &mut piece[..count]);
            output.write_all(&piece[..count])?;
            offset += count;
        }
        Ok(())
    }

    /// All bytes, where they are.
    ///
    /// # Safety
    ///
    /// Until the slice is used for the last time, no process that has the ring mapped writes into
    /// this message, which none does that keeps to the protocol.
    #[inline(always)]
    pub unsafe fn as_slice(&self) -> &[u8] {
        match &self.consumer.shown.place {
            Bytes::Slot => &self.consumer.shown.message,
            Bytes::Side => {
                let start = self.consumer.side(self.position()).as_ptr();
                // SAFETY: so many bytes are in the side buffer, initialised, and its memory has
                // been taken (`claim_span`); the position is held, so nobody who keeps to the
                // protocol writes there, and for the others the caller vouches.
                unsafe { core::slice::from_raw_parts(start, self.len()) }
            }
            #[cfg(feature = "alloc")]
            Bytes::Copy(copy) => copy,
        }
    }

    /// Releases the message; the same as dropping the guard.
    #[inline]
    pub fn release(self) {}
}

impl<S: Mode> fmt::Debug for Borrowed<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed")
            .field("position", &self.position())
            .field("about", &self.about())
            .finish_non_exhaustive()
    }
}

impl<S: Mode> Drop for Borrowed<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // The same whether the guard is dropped or was forgotten: one of the two is lent.
        self.consumer.release_lent();
        self.consumer.grant_if_due(self.consumer.shown.taken_at);
        // A copy on the heap goes with the guard.
        #[cfg(feature = "alloc")]
        if matches!(self.consumer.shown.place, Bytes::Copy(_)) {
            self.consumer.shown.place = Bytes::Slot;
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::segment::Place;
    use crate::{Producer, Shared, UltraFastRing};

    /// As if its process were gone: what it shows stays, and its lock is given back.
    fn die(consumer: Consumer<Shared>) {
        let entry = &consumer.entry;
        entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
        core::mem::forget(consumer);
    }

    /// A ring of three entries, a producer of it, and where the entry is of its exclusive consumer,
    /// which died with a message in its hands.
    fn held_by_a_dead_exclusive_consumer() -> (UltraFastRing, Producer<Shared>, usize) {
        let builder = UltraFastRing::builder().capacity(4).exclusive_consumer().participants(3);
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        producer.send_fast(b"one", PriorityClass::Normal).unwrap();
        let mut dead = ring.exclusive_consumer().unwrap();
        core::mem::forget(dead.borrow().unwrap());
        let index = dead.participant();
        for place in [Place::Entry(index), Place::Side(Side::Consumer)] {
            dead.entry.locker().unlock(ring.segment(), place);
        }
        core::mem::forget(dead);
        (ring, producer, index)
    }

    #[test]
    fn what_a_dead_exclusive_consumer_held_is_marked_though_a_bystander_has_its_entrys_lock() {
        let (ring, mut producer, index) = held_by_a_dead_exclusive_consumer();
        let bystander = ring.segment().locker().unwrap();
        assert!(bystander.try_lock(ring.segment(), Place::Entry(index)).unwrap());
        let mut heir = ring.exclusive_consumer().unwrap();
        assert!(heir.try_recv().unwrap().is_redelivered());
        drop(heir);
        bystander.unlock(ring.segment(), Place::Entry(index));
        producer.send_fast(b"two", PriorityClass::Normal).unwrap();
        assert!(!ring.exclusive_consumer().unwrap().try_recv().unwrap().is_redelivered());
    }

    #[test]
    fn an_entry_whose_dead_exclusive_consumer_held_what_was_received_since_is_free() {
        for repairs in [false, true] {
            let (ring, _producer, index) = held_by_a_dead_exclusive_consumer();
            let bystander = ring.segment().locker().unwrap();
            assert!(bystander.try_lock(ring.segment(), Place::Entry(index)).unwrap());
            let mut heir = ring.exclusive_consumer().unwrap();
            bystander.unlock(ring.segment(), Place::Entry(index));
            assert!(ring.producer().is_err(), "the table is full while it may be needed");
            assert!(heir.try_recv().unwrap().is_redelivered());
            if repairs {
                assert_eq!(ring.repair().unwrap().entries_freed, 1);
            }
            assert!(ring.producer().is_ok());
        }
    }

    /// Has a consumer die with a message in its hands while calls of another are far apart, so that
    /// one and the same call finds it by looking behind, hands it on, and finds it again when
    /// nothing else is there.
    fn is_delivered_again_by(receive: fn(&mut Consumer<Shared>) -> Option<bool>) {
        let ring = UltraFastRing::new(8);
        let (mut dead, mut heir) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        for word in [b"one", b"two"] {
            ring.send_fast(word, PriorityClass::Normal).unwrap();
        }
        core::mem::forget(dead.borrow().unwrap());
        assert_eq!(receive(&mut heir), Some(false));
        die(dead);
        let again = (0..100).find_map(|_| {
            // More than anybody is stuck for before it looks around.
            std::thread::sleep(Duration::from_micros(300));
            receive(&mut heir)
        });
        assert_eq!(again, Some(true));
        assert_eq!(receive(&mut heir), None);
        drop(heir);
        assert_eq!(ring.participants().count(), 1, "an entry is locked for ever");
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_by_a_borrow() {
        is_delivered_again_by(|it| it.borrow().ok().map(|message| message.is_redelivered()));
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_by_a_receive() {
        is_delivered_again_by(|it| it.try_recv().ok().map(|message| message.is_redelivered()));
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_in_a_batch() {
        is_delivered_again_by(|it| {
            let batch = it.recv_batch(&mut [[0; 40]]).ok()?;
            batch.first().map(|about| about.redelivered)
        });
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_into_a_vector() {
        is_delivered_again_by(|it| {
            it.recv_into(&mut Vec::new()).ok().map(|about| about.redelivered)
        });
    }
}
