//! Messages over 40 bytes, which go into a side buffer between claim and commit.

use super::Producer;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::layout::slot::Meta;
use crate::mode::OwnMode;
use crate::priority::PriorityClass;

impl<S: OwnMode> Producer<S> {
    /// The rest of `send_own` for what does not fit into a slot.
    #[inline(never)]
    pub(super) fn send_large(
        &mut self,
        data: &[u8],
        class: PriorityClass,
    ) -> Result<(), SendError> {
        let position = self.claim_large(data.len(), class)?;
        let timestamp = self.stamps.take(position);
        self.put_large(position, class, data, timestamp);
        self.announce_if_due(timestamp);
        Ok(())
    }

    /// Claims a position whose side buffer has memory for `size` bytes.
    #[inline]
    pub(super) fn claim_large(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<u64, SendError> {
        let max = self.max_message();
        if size > max {
            return Err(SendError::TooLarge { size, max });
        }
        let position = self.claim(class, 1)?;
        if self.writer.take_side(position, size, OwnLane::of(&self.entry)) {
            return Ok(position);
        }
        self.claim_where_memory_is(position, size, class)
    }

    /// Why there is no memory for a side buffer.
    #[cold]
    pub(super) fn no_memory(&self) -> SendError {
        match self.entry.segment().is_damaged() {
            true => SendError::Damaged,
            false => SendError::NoSpace,
        }
    }

    /// Writes a message into its side buffer, which has memory for it, and makes it visible.
    #[inline]
    pub(super) fn put_large(
        &mut self,
        position: u64,
        class: PriorityClass,
        data: &[u8],
        timestamp: u64,
    ) {
        self.writer.write(position, 0, data, OwnLane::of(&self.entry));
        self.commit_large(position, class, data.len(), timestamp);
    }

    /// Makes a message visible whose `size` bytes are in the side buffer.
    #[inline]
    pub(super) fn commit_large(
        &mut self,
        position: u64,
        class: PriorityClass,
        size: usize,
        timestamp: u64,
    ) {
        let meta = Meta::large(class);
        if !self.run.continues(meta.kind()) {
            self.begin_run(meta);
        }
        self.run.note_large(size);
        // The bytes come first: ordinary stores, which the release of the sequence makes visible.
        let lane = OwnLane::of(&self.entry);
        self.writer.commit_large(position, self.run.meta(), timestamp, size, lane);
    }
}
