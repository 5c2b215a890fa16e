//! Messages on their way to the program: read out of slots, and copied from side buffers.

use core::mem::MaybeUninit;

use super::delivery::Delivery;
use super::room::Room;
use super::tally::Tally;
use super::{Miss, Reader, ReaderMode, look};
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::prefetch::prefetch_read;

impl<S: ReaderMode> Reader<S> {
    /// Reads the slot of a message that nobody else can have, and has it join the `tally`'s run.
    #[inline(always)]
    pub(crate) fn read(&self, lane: OwnLane<'_>, tally: &mut Tally, position: u64) -> Delivery {
        self.fetch_ahead(lane, position);
        let (meta, timestamp, payload) = lane.slot(position).read();
        let large = meta.is_large().then_some(meta);
        let size = if large.is_some() {
            let size = payload.large_size(lane.segment().side_size());
            if let Some(beyond) = self.read_ahead.beyond(position) {
                // As if the message there were as long as this one.
                let bytes = lane.side(ahead(lane, position, beyond)).as_ptr();
                prefetch_read(bytes);
                prefetch_read(bytes.wrapping_add(size.saturating_sub(1)));
            }
            tally.join_large(meta, size);
            size
        } else {
            tally.join(meta);
            tally.run().size()
        };
        let redelivered = position < S::marked_below(&self.inherited);
        if redelivered {
            lane.participant().count(Event::Redelivered, 1);
        }
        Delivery { size, large, timestamp, seen: None, payload, position, redelivered }
    }

    /// Copies the message at `position`, which nobody else can have, to the beginning of `buffer`,
    /// which is as long as `room` says.
    #[inline]
    pub(crate) fn copy(
        &self,
        lane: OwnLane<'_>,
        tally: &mut Tally,
        position: u64,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Delivery, Miss> {
        // What was claimed with a hold was checked before, and is taken whatever a peer writes
        // there afterwards.
        if !S::HOLDS_TO_COPY {
            look(lane, position, room)?;
        }
        let mut delivery = self.read(lane, tally, position);
        // A peer may have changed the size after it was checked.
        delivery.size = delivery.size.min(buffer.len());
        self.copy_out(lane, &delivery, buffer);
        Ok(delivery)
    }

    /// Copies the message at the reader's position to the beginning of `buffer`, which is as long
    /// as `room` says, and claims and releases it then: in a group that may be evicted.
    pub(crate) fn copy_first(
        &mut self,
        lane: OwnLane<'_>,
        tally: &mut Tally,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Delivery, Miss> {
        let position = self.position;
        look(lane, position, room)?;
        let (meta, timestamp, payload) = lane.slot(position).read();
        let large = meta.is_large().then_some(meta);
        let size = match large {
            Some(_) => payload.large_size(lane.segment().settings().side_size()),
            None => meta.size(),
        };
        let (seen, redelivered) = (None, false);
        let size = size.min(buffer.len());
        let delivery = Delivery { size, large, timestamp, seen, payload, position, redelivered };
        self.copy_out(lane, &delivery, buffer);
        self.pass(lane, position + 1).map_err(|_| Miss::Lost)?;
        // Counted once it is ours.
        match large {
            Some(meta) => tally.join_large(meta, size),
            None => _ = tally.join(meta),
        }
        Ok(delivery)
    }

    /// Copies a message to the beginning of `buffer`, which is long enough.
    pub(crate) fn copy_out(
        &self,
        lane: OwnLane<'_>,
        delivery: &Delivery,
        buffer: &mut [MaybeUninit<u8>],
    ) {
        let buffer = &mut buffer[..delivery.size];
        if delivery.large.is_none() {
            for (to, from) in buffer.iter_mut().zip(delivery.payload.as_bytes()) {
                to.write(*from);
            }
        } else if lane.back(delivery.buffer(lane), buffer.len()) {
            lane.side(delivery.buffer(lane)).read(self.copying, 0, buffer);
        } else {
            // It was never written, since it cannot even be read. It would hold zeros.
            buffer.fill(MaybeUninit::new(0));
        }
    }

    /// As [`copy_out`](Self::copy_out), of a message in a side buffer that the reader may have lost
    /// already, and whose memory others may give back.
    pub(crate) fn copy_unheld(
        &self,
        lane: OwnLane<'_>,
        delivery: &Delivery,
        buffer: &mut [MaybeUninit<u8>],
    ) {
        let buffer = &mut buffer[..delivery.size];
        lane.segment().lane().copy_unheld(delivery.buffer(lane), self.copying, buffer);
    }
}

/// The side buffer to prefetch, of a reader at `position` that reads ahead as far as `beyond`.
#[inline]
fn ahead(lane: OwnLane<'_>, position: u64, beyond: u64) -> u64 {
    if !lane.names_buffers() {
        return beyond;
    }
    // Half as far: that line was prefetched some messages ago, so the look costs nothing.
    let near = position + (beyond - position) / 2;
    lane.buffer_of(near, &lane.slot(near).read().2)
}
