//! Which side buffers are free, where slots name them: the private stack of a lane's only producer.
//!
//! ```text
//!            take                 commit               released by consumers
//!  free ──────────────► taken ──────────────► named ─────────────────────────► free
//!  fresh ─────┘  (the last released first)     by a slot, in order of positions
//! ```
//!
//! A stream that keeps one message in flight stays in one or two buffers, which are in cache. The
//! stack is nowhere in the ring. A successor knows that a buffer is free if no live slot names it:
//! no committed slot at or beyond what consumers have released.
//!
//! A buffer has one owner. Named by a live slot it belongs to that message, and otherwise to the
//! only producer. It is named again when the consumers' word that says so (`released`) is beyond
//! its message. The word never goes back. So of two slots that name the same buffer, the earlier
//! one is released, and a successor that reads this word *after* the slots finds that.
//! `verification/tests/side_buffers.rs` has the model.
//!
//! What a slot says is a peer's word. A number is masked, and one that two live slots name is
//! taken for that of the first: at worst messages are garbage.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
#[cfg(feature = "alloc")]
use alloc::collections::VecDeque;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

#[cfg(feature = "alloc")]
use crate::error::RingError;
use crate::lane::view::OwnLane;
#[cfg(feature = "alloc")]
use crate::layout::slot::SlotState;
#[cfg(feature = "alloc")]
use crate::settings::Sharing;
#[cfg(feature = "alloc")]
use crate::sync::Ordering;

/// So many bytes stay in the nearest cache. Beyond them, looking what consumers have released costs
/// less than a message in a buffer that is not in cache.
#[cfg(feature = "alloc")]
const WARM: usize = 16 << 10;

/// The side buffers of one writer.
#[derive(Debug, Default)]
pub struct Sides {
    /// `None` where the buffer of a slot is its own.
    #[cfg(feature = "alloc")]
    known: Option<Box<Known>>,
}

/// Each buffer is in one of these.
#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Known {
    /// Released, the last on top.
    free: Vec<u32>,
    /// Of the message that is being written, or was given up.
    taken: Option<u32>,
    /// Of messages in flight: each with its position, the oldest first.
    named: VecDeque<(u64, u32)>,
    /// From here on, free if they are not in `found`.
    fresh: u32,
    /// Those that live slots named when this writer began: a bit for each buffer.
    found: Box<[u64]>,
    count: u32,
}

impl Sides {
    /// The buffer for a message of `size` bytes at `position`; the same until it is committed.
    /// `granted` are released for certain. `None` if there is no memory to remember it.
    #[inline]
    pub(super) fn take(
        &mut self,
        position: u64,
        size: usize,
        granted: u64,
        lane: OwnLane<'_>,
    ) -> Option<u64> {
        #[cfg(feature = "alloc")]
        if let Some(known) = &mut self.known {
            return known.take(position, size, granted, lane);
        }
        let _ = (size, granted, lane);
        Some(position)
    }

    /// The number that the slot at `position` has to name: 0 where the buffer is its own.
    #[inline]
    pub(super) fn name(&self) -> u64 {
        #[cfg(feature = "alloc")]
        if let Some(known) = &self.known {
            return known.taken.map_or(0, u64::from);
        }
        0
    }

    /// The buffer that was taken for `position`.
    #[inline]
    pub(super) fn buffer(&self, position: u64) -> u64 {
        #[cfg(feature = "alloc")]
        if self.known.is_some() {
            return self.name();
        }
        position
    }

    /// Notes that the slot at `position` names what was taken.
    #[inline]
    pub(super) fn note_commit(&mut self, position: u64) {
        #[cfg(feature = "alloc")]
        if let Some(known) = &mut self.known
            && let Some(taken) = known.taken.take()
        {
            known.named.push_back((position, taken));
        }
        let _ = position;
    }

    /// Takes another free buffer instead, one which is known to have memory for `size` bytes. Says
    /// whether there was one.
    pub(super) fn exchange(&mut self, size: usize, granted: u64, lane: OwnLane<'_>) -> bool {
        #[cfg(feature = "alloc")]
        if let Some(known) = &mut self.known {
            known.release(granted);
            let has_memory = |buffer: &u32| lane.is_backed(u64::from(*buffer), size);
            if let (Some(place), Some(taken)) =
                (known.free.iter().rposition(has_memory), &mut known.taken)
            {
                core::mem::swap(&mut known.free[place], taken);
                return true;
            }
        }
        let _ = (size, granted, lane);
        false
    }

    /// Gives back the memory of all buffers that no message in flight has.
    pub(super) fn give_back(&mut self, granted: u64, lane: OwnLane<'_>) {
        #[cfg(feature = "alloc")]
        if let Some(known) = &mut self.known {
            known.release(granted);
            known.each_free(|first, count| lane.give_back(first, count));
        }
        let _ = (granted, lane);
    }
}

#[cfg(feature = "alloc")]
impl Sides {
    /// Those of a lane whose slots name them, for a writer that goes on at `start`.
    ///
    /// # Errors
    ///
    /// [`RingError::OutOfMemory`].
    pub(super) fn begin(lane: OwnLane<'_>, start: u64) -> Result<Self, RingError> {
        if !lane.names_buffers() {
            return Ok(Self::default());
        }
        let count = lane.settings().capacity;
        let words = count.div_ceil(64);
        let bytes = words * size_of::<u64>();
        let mut found = Vec::new();
        found.try_reserve_exact(words).map_err(|_| RingError::OutOfMemory { bytes })?;
        found.resize(words, 0);
        let mut known = Known {
            free: Vec::new(),
            taken: None,
            named: VecDeque::new(),
            fresh: 0,
            found: found.into_boxed_slice(),
            count: count as u32,
        };
        // What is older has been written over.
        let oldest = released(lane).max(start.saturating_sub(count as u64)).min(start);
        let bytes = (start - oldest) as usize * size_of::<(u64, u32)>();
        let no_memory = RingError::OutOfMemory { bytes };
        known.named.try_reserve((start - oldest) as usize).map_err(|_| no_memory)?;
        for position in oldest..start {
            let slot = lane.slot(position);
            if slot.state(position) != SlotState::Committed {
                continue;
            }
            let (meta, _, payload) = slot.read();
            if meta.is_large() {
                // Masked: it is a peer's word.
                known.named.push_back((position, (payload.buffer() % count as u64) as u32));
            }
        }
        // After the slots, whose sequences were acquired: the predecessor named a buffer again
        // after it had seen this word beyond the first message there, and so does this look.
        let released = released(lane);
        let found = &mut known.found;
        known.named.retain(|&(position, buffer)| {
            let (word, bit) = (buffer as usize / 64, 1 << (buffer % 64));
            let is_live = position >= released && found[word] & bit == 0;
            if is_live {
                found[word] |= bit;
            }
            is_live
        });
        Ok(Self { known: Some(Box::new(known)) })
    }
}

/// Up to where consumers have released, as far as one word says: all slots below are free.
#[cfg(feature = "alloc")]
fn released(lane: OwnLane<'_>) -> u64 {
    let cursor = lane.cursor();
    let word = match lane.settings().consumer_side {
        // As each message is released, announced or not.
        Sharing::Exclusive => &cursor.consumer_head,
        Sharing::Shared => &cursor.consumer_tail,
    };
    // Acquire: pairs with the release of the head, or of the grant: the reads of a released buffer
    // come before our writes into it.
    word.load(Ordering::Acquire)
}

#[cfg(feature = "alloc")]
impl Known {
    fn take(&mut self, position: u64, size: usize, granted: u64, lane: OwnLane<'_>) -> Option<u64> {
        if self.taken.is_none() {
            // So that what follows needs no memory: all that is named may be free at once.
            self.named.try_reserve(1).ok()?;
            self.free.try_reserve(self.named.len() + 1).ok()?;
            self.release(granted);
            if self.free.is_empty() && (self.fresh as usize).saturating_mul(size) >= WARM {
                // What is beyond the position is a peer's garbage.
                self.release(Some(released(lane)).filter(|&it| it <= position).unwrap_or(0));
            }
            // There is one: fewer messages are in flight than there are buffers.
            self.taken = self.free.pop().or_else(|| self.next_fresh());
        }
        self.taken.map(u64::from)
    }

    /// Frees the buffers of messages below `released`.
    #[inline]
    fn release(&mut self, released: u64) {
        while let Some(&(position, buffer)) = self.named.front()
            && position < released
        {
            self.named.pop_front();
            self.free.push(buffer);
        }
    }

    fn next_fresh(&mut self) -> Option<u32> {
        while self.fresh < self.count {
            let buffer = self.fresh;
            self.fresh += 1;
            if self.found[buffer as usize / 64] & 1 << (buffer % 64) == 0 {
                return Some(buffer);
            }
        }
        None
    }

    /// Each run of buffers that no message in flight has: the first, and how many. None, if there
    /// is no memory to find them.
    fn each_free(&self, mut run: impl FnMut(u64, u64)) {
        let mut named = Vec::new();
        if named.try_reserve_exact(self.named.len()).is_err() {
            return;
        }
        named.extend(self.named.iter().map(|&(_, buffer)| buffer));
        named.sort_unstable();
        let mut first = 0;
        for next in named.into_iter().chain([self.count]) {
            if first < next {
                run(u64::from(first), u64::from(next - first));
            }
            first = next + 1;
        }
    }
}
