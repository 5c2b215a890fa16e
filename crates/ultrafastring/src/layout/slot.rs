//! One message's place: a 64-byte line of eight words.
//!
//! ```text
//!  word   0          1                2           3 … 7
//!       ┌──────────┬────────────────┬───────────┬──────────────────────────────────┐
//!       │ sequence │ meta           │ timestamp │ payload, 40 bytes                │
//!       └──────────┴────────────────┴───────────┴──────────────────────────────────┘
//!  sequence   p+1              committed at position p
//!             ABANDONED | p+1  abandoned at position p: skip it
//!             anything less    not yet
//!  meta       bits 0–7 priority class · 8–15 flags · 16–31 size · 32–63 producer's entry
//!             flag 8 (LARGE): the bytes are in a side buffer; the size here is 0, word 3 is their
//!             number, and word 4 the number of the buffer, or 0 where it is the slot's own
//!  timestamp  ticks at send; 0 where none was taken
//! ```
//!
//! Only producers write a slot, and recovery in a dead producer's place. A consumer never does, so
//! a line travels one way. The producer stores into it without loading it first, since its credit
//! says that the slot is free, and a store waits for nobody.
//!
//! Every word is an atomic, so no access is a data race, whatever a peer does. The other words of a
//! slot are valid only if the sequence says so, and even then they are not trusted.

use crate::priority::PriorityClass;
use crate::processor;
use crate::sync::{AtomicU64, Ordering, look_at};

pub use crate::settings::INLINE_SIZE;

/// Bit of a sequence that marks an abandoned position.
pub(crate) const ABANDONED: u64 = 1 << 63;

/// Flag of a message whose bytes are in the slot's side buffer.
const LARGE: u64 = 1 << 8;

/// The meta word: class, flags, size and producer of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta(u64);

impl Meta {
    /// For a message of `size` bytes sent by the participant in entry `producer`.
    #[inline(always)]
    pub const fn new(class: PriorityClass, size: usize, producer: u32) -> Self {
        Self(class as u64 | (size as u64 & 0xffff) << 16 | (producer as u64) << 32)
    }

    /// For a message whose bytes are in the side buffer, sent by the participant in entry 0.
    #[inline]
    pub(crate) const fn large(class: PriorityClass) -> Self {
        Self(Self::new(class, 0, 0).0 | LARGE)
    }

    /// The same for a message that was sent by the participant in entry `producer`.
    #[inline(always)]
    pub(crate) const fn sent_by(self, producer: u32) -> Self {
        Self(self.kind() as u64 | (producer as u64) << 32)
    }

    /// Whether the message's bytes are in the slot's side buffer.
    #[inline(always)]
    pub const fn is_large(self) -> bool {
        self.0 & LARGE != 0
    }

    /// The priority class. A byte that is not a class counts as `Bulk`.
    #[inline(always)]
    pub const fn class(self) -> PriorityClass {
        PriorityClass::from_untrusted(self.0 as u8)
    }

    /// Class, flags and size together, raw. Messages of one kind have the same class and size.
    #[inline(always)]
    pub(crate) const fn kind(self) -> u32 {
        self.0 as u32
    }

    /// The size in bytes of the payload in the slot. Whatever the word says, never more than
    /// [`INLINE_SIZE`].
    #[inline(always)]
    pub const fn size(self) -> usize {
        let size = (self.0 >> 16) as u16 as usize;
        if size < INLINE_SIZE { size } else { INLINE_SIZE }
    }

    /// The whole word.
    #[cfg(not(loom))]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The entry of the participant that sent the message; untrusted.
    #[inline(always)]
    pub const fn producer(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Up to 40 bytes of a message as five words; unused bytes are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Payload([u64; 5]);

impl Payload {
    /// The first [`INLINE_SIZE`] bytes of `data`, or all if there are fewer.
    #[inline(always)]
    pub fn from_bytes(data: &[u8]) -> Self {
        match data.first_chunk::<INLINE_SIZE>() {
            Some(full) => Self(core::array::from_fn(|i| {
                u64::from_ne_bytes(core::array::from_fn(|j| full[8 * i + j]))
            })),
            None => Self::from_fewer(data),
        }
    }

    /// The same for fewer than 40 bytes, without a call to `memcpy`, which would cost more than all
    /// the rest.
    #[inline]
    fn from_fewer(data: &[u8]) -> Self {
        let mut words = [0; 5];
        let (full, rest) = data.as_chunks::<8>();
        for (word, bytes) in words.iter_mut().zip(full) {
            *word = u64::from_ne_bytes(*bytes);
        }
        if let Some(word) = words.get_mut(full.len()) {
            *word = word_of(rest);
        }
        Self(words)
    }

    /// The same for bytes that are whole words, without a call whatever their number.
    #[inline(always)]
    pub(crate) fn from_whole_words(data: &[u8]) -> Self {
        let (full, _) = data.as_chunks::<8>();
        Self(core::array::from_fn(|i| full.get(i).map_or(0, |bytes| u64::from_ne_bytes(*bytes))))
    }

    /// No bytes.
    pub(crate) const EMPTY: Self = Self([0; 5]);

    /// The payload of a slot whose message is in a side buffer: how many bytes it has, and which
    /// buffer that is; 0 where the buffer is the slot's own.
    #[inline]
    pub(crate) const fn of_large(size: usize, buffer: u64) -> Self {
        Self([size as u64, buffer, 0, 0, 0])
    }

    /// The side buffer that the slot of a large message names; untrusted.
    #[inline]
    pub(crate) const fn buffer(&self) -> u64 {
        self.0[1]
    }

    /// The size of a message in its side buffer. Whatever the word says, never more than `max`.
    #[inline]
    pub(crate) const fn large_size(&self, max: usize) -> usize {
        if self.0[0] < max as u64 { self.0[0] as usize } else { max }
    }

    /// Writes the first `buffer.len()` bytes to `buffer`, at most 40; the rest of `buffer` stays
    /// as it was.
    #[inline(always)]
    pub fn copy_to(&self, buffer: &mut [u8]) {
        if buffer.len() == INLINE_SIZE {
            for (bytes, word) in buffer.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
                *bytes = word.to_ne_bytes();
            }
        } else {
            // A copy, so that in the other branch the words can stay in registers.
            let words = *self;
            words.copy_fewer_to(buffer);
        }
    }

    #[inline(never)]
    fn copy_fewer_to(&self, buffer: &mut [u8]) {
        let (full, rest) = buffer.as_chunks_mut::<8>();
        for (bytes, word) in full.iter_mut().zip(self.0) {
            *bytes = word.to_ne_bytes();
        }
        if let Some(word) = self.0.get(full.len()) {
            for (byte, from) in rest.iter_mut().zip(word.to_ne_bytes()) {
                *byte = from;
            }
        }
    }

    /// All 40 bytes.
    #[inline(always)]
    pub fn to_bytes(self) -> [u8; INLINE_SIZE] {
        *self.as_bytes()
    }

    /// All 40 bytes, in place.
    #[inline(always)]
    pub fn as_bytes(&self) -> &[u8; INLINE_SIZE] {
        // SAFETY: five words are forty bytes, any of them valid, and bytes need no alignment.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

/// The word, in the lower half of a vector register.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom), not(tsan)))]
#[inline(always)]
fn as_it_is(word: u64) -> core::arch::x86_64::__m128i {
    // SAFETY: it needs SSE2, for which this is compiled.
    unsafe { core::arch::x86_64::_mm_cvtsi64_si128(word as i64) }
}

/// The same, loaded by itself.
///
/// A caller may just have written its message, in words of 8 bytes, and the compiler would load 16
/// at once. A processor gives a load what an earlier store left in its buffer only if that store
/// covers the whole load. Otherwise the load waits until the stores before it have left the buffer,
/// also those into slots whose lines are on their way from another core.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom), not(tsan)))]
#[inline(always)]
fn by_itself(word: u64) -> core::arch::x86_64::__m128i {
    let mut word = as_it_is(word);
    // SAFETY: no instruction at all; the compiler is only kept from loading it with another.
    unsafe {
        core::arch::asm!(
            "/* {0} */",
            inout(xmm_reg) word,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    word
}

/// Up to seven bytes, zero-padded, as a word.
#[inline(always)]
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_ne_bytes(word)
}

/// What a slot's sequence says about one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The message of that position is there.
    Committed,
    /// Its producer died before it committed. There is nothing to read, and nothing will come.
    Abandoned,
    /// Nothing of that position is there yet.
    NotYet,
    /// A later position has the slot already. The reader is behind, or reads garbage.
    Later,
}

/// How a slot is stored on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stores {
    /// Whether aligned 16-byte stores are atomic.
    wide: bool,
}

impl Stores {
    pub(crate) fn of_this_machine() -> Self {
        Self { wide: processor::has_atomic_wide_stores() }
    }

    /// Whether this machine has the one way of
    /// [`commit_at_once`](TimestampedSlot::commit_at_once).
    #[cfg(not(loom))]
    pub(crate) const fn in_one_way(self) -> bool {
        self.wide || !cfg!(target_arch = "x86_64")
    }
}

/// One slot; see the [module](self) for its words.
///
/// ```
/// use ultrafastring::{PriorityClass, TimestampedSlot, slot::{Meta, Payload, SlotState}};
///
/// let slot = TimestampedSlot::new();
/// assert_eq!(slot.state(0), SlotState::NotYet);
/// slot.commit(0, Meta::new(PriorityClass::High, 5, 0), 1234, Payload::from_bytes(b"hello"));
/// assert_eq!(slot.state(0), SlotState::Committed);
/// let (meta, timestamp, payload) = slot.read();
/// assert_eq!((meta.size(), meta.class(), timestamp), (5, PriorityClass::High, 1234));
/// assert_eq!(&payload.to_bytes()[..5], b"hello");
/// ```
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct TimestampedSlot {
    words: [AtomicU64; 8],
}

const SEQUENCE: usize = 0;
const META: usize = 1;
const TIMESTAMP: usize = 2;
const PAYLOAD: usize = 3;

impl TimestampedSlot {
    /// A slot of zeros: no position has been here.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sequence word, raw.
    #[inline(always)]
    pub fn sequence(&self) -> u64 {
        // Acquire: pairs with the release of the sequence in `commit` and `abandon`. A load that
        // sees a position committed also sees its other words.
        self.words[SEQUENCE].load(Ordering::Acquire)
    }

    /// When the message was sent, in ticks; valid only if the sequence says so.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub(crate) fn timestamp(&self) -> u64 {
        // Relaxed: made visible by the release of the sequence, which was read before.
        self.words[TIMESTAMP].load(Ordering::Relaxed)
    }

    /// What the sequence says about `position`.
    #[inline]
    pub fn state(&self, position: u64) -> SlotState {
        Self::state_of(self.sequence(), position)
    }

    /// What the sequence says about `position`, for observers.
    pub(crate) fn look_at(&self, position: u64) -> SlotState {
        Self::state_of(self.look_at_sequence(), position)
    }

    /// The sequence word, for observers.
    pub(crate) fn look_at_sequence(&self) -> u64 {
        look_at(&self.words[SEQUENCE])
    }

    /// What a `sequence` read before says about `position`.
    #[inline]
    pub(crate) const fn state_of(sequence: u64, position: u64) -> SlotState {
        if sequence == position + 1 {
            SlotState::Committed
        } else if sequence == ABANDONED | (position + 1) {
            SlotState::Abandoned
        } else if Self::is_beyond(sequence, position) {
            SlotState::Later
        } else {
            SlotState::NotYet
        }
    }

    /// Whether a `sequence` read before says that there is something at `position`, or a later lap.
    /// An abandoned slot counts by its position, like any other.
    #[inline(always)]
    pub(crate) const fn is_beyond(sequence: u64, position: u64) -> bool {
        sequence & !ABANDONED > position
    }

    /// Writes the message of `position` and makes it visible: payload, timestamp and meta first,
    /// the sequence last.
    ///
    /// The caller must have claimed `position` and have the credit for it. Otherwise two writers
    /// may mix their words, which makes the payload garbage and nothing worse.
    #[inline]
    pub fn commit(&self, position: u64, meta: Meta, timestamp: u64, payload: Payload) {
        // Relaxed: made visible by the release of the sequence below.
        for (word, value) in self.words[PAYLOAD..].iter().zip(payload.0) {
            word.store(value, Ordering::Relaxed);
        }
        self.words[TIMESTAMP].store(timestamp, Ordering::Relaxed);
        self.words[META].store(meta.0, Ordering::Relaxed);
        // Release: pairs with the acquire in `sequence`.
        self.words[SEQUENCE].store(position + 1, Ordering::Release);
    }

    /// [`commit`](Self::commit) by four stores of 16 bytes, if the machine has them. Between
    /// distant cores the store buffer limits a stream, so fewer stores allow more lines in flight.
    #[inline(always)]
    pub(crate) fn commit_by(
        &self,
        stores: Stores,
        position: u64,
        meta: Meta,
        timestamp: u64,
        payload: Payload,
    ) {
        #[cfg(all(
            target_arch = "x86_64",
            target_feature = "sse2",
            not(miri),
            not(loom),
            not(tsan)
        ))]
        if stores.wide {
            // SAFETY: it has just been looked at.
            unsafe { self.store_wide(position, meta, timestamp, payload.0.map(as_it_is)) };
            return;
        }
        let _ = stores.wide;
        self.commit(position, meta, timestamp, payload);
    }

    /// [`commit_by`](Self::commit_by) for a message that its caller may just have written, in one
    /// way alone: stores of 16 bytes on x86-64, and words elsewhere. `false` if this machine does
    /// not have it, and then nothing was stored.
    #[inline(always)]
    pub(crate) fn commit_at_once(
        &self,
        stores: Stores,
        position: u64,
        meta: Meta,
        timestamp: u64,
        payload: Payload,
    ) -> bool {
        #[cfg(all(
            target_arch = "x86_64",
            target_feature = "sse2",
            not(miri),
            not(loom),
            not(tsan)
        ))]
        {
            if stores.wide {
                // SAFETY: it has just been looked at.
                unsafe { self.store_wide(position, meta, timestamp, payload.0.map(by_itself)) };
            }
            stores.wide
        }
        // Words also where the compiler may not use vector registers, as in a kernel.
        #[cfg(not(all(
            target_arch = "x86_64",
            target_feature = "sse2",
            not(miri),
            not(loom),
            not(tsan)
        )))]
        {
            let _ = stores.wide;
            self.commit(position, meta, timestamp, payload);
            true
        }
    }

    /// The four stores of 16 bytes; the words of the payload are the lower halves of `payload`.
    ///
    /// # Safety
    ///
    /// Aligned 16-byte stores of this machine are atomic.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom), not(tsan)))]
    #[inline(always)]
    unsafe fn store_wide(
        &self,
        position: u64,
        meta: Meta,
        timestamp: u64,
        payload: [core::arch::x86_64::__m128i; 5],
    ) {
        use core::arch::x86_64::{_mm_set_epi64x, _mm_unpacklo_epi64};
        let [a, b, c, d, e] = payload;
        // SAFETY: they need SSE2, for which this is compiled.
        let [sm, ta, bc, de] = unsafe {
            [
                _mm_set_epi64x(meta.0 as i64, (position + 1) as i64),
                _mm_unpacklo_epi64(_mm_set_epi64x(0, timestamp as i64), a),
                _mm_unpacklo_epi64(b, c),
                _mm_unpacklo_epi64(d, e),
            ]
        };
        // SAFETY: the four stores cover this slot, which is 64 bytes long and aligned to 64 as
        // `movaps` wants. To the language they are stores of its eight words, the last one a
        // release of the sequence: assembly may do what atomic stores could have done. `Stores` has
        // found out that each 16-byte store is whole, so sequence and meta are seen together; x86
        // keeps stores in program order (Intel SDM volume 3, 9.2.2; AMD64 manual volume 2, 7.2), so
        // the other words are seen before them; and without `nomem` the compiler keeps that order
        // too. Pairs with the acquire in `sequence`.
        unsafe {
            core::arch::asm!(
                "movaps [{slot} + 48], {de}",
                "movaps [{slot} + 32], {bc}",
                "movaps [{slot} + 16], {ta}",
                "movaps [{slot}], {sm}",
                slot = in(reg) self.words.as_ptr(),
                sm = in(xmm_reg) sm,
                ta = in(xmm_reg) ta,
                bc = in(xmm_reg) bc,
                de = in(xmm_reg) de,
                options(nostack, preserves_flags)
            );
        }
    }

    /// The current meta, timestamp and payload.
    ///
    /// They belong together and to a position only if the sequence said so before, and nobody can
    /// have claimed the slot again since.
    #[inline(always)]
    pub fn read(&self) -> (Meta, u64, Payload) {
        // Relaxed: ordered after the commit by the acquire in `sequence`, which comes before.
        let word = |i: usize| self.words[i].load(Ordering::Relaxed);
        (Meta(word(META)), word(TIMESTAMP), Payload(core::array::from_fn(|i| word(PAYLOAD + i))))
    }

    /// The meta word alone; see [`read`](Self::read).
    #[inline(always)]
    pub fn meta(&self) -> Meta {
        // Relaxed: as in `read`.
        Meta(self.words[META].load(Ordering::Relaxed))
    }

    /// Marks `position` abandoned if the sequence is still `seen`. Returns whether it did.
    pub fn abandon(&self, seen: u64, position: u64) -> bool {
        // Release on success: pairs with the acquire in `sequence`. Relaxed on failure: the
        // caller looks again.
        self.words[SEQUENCE]
            .compare_exchange(
                seen,
                ABANDONED | (position + 1),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
