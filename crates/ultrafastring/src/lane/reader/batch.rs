//! Several messages in a row, copied.

use super::room::as_uninit;
use super::tally::Tally;
use super::{Miss, Reader, ReaderMode, Room, independent};
use crate::clock::rdtsc;
use crate::lane::view::OwnLane;
use crate::layout::span::Span;
use crate::message::{Batch, Received};

/// Reads the time into `now`, if that has not been done and the message carries a `timestamp`.
#[inline(always)]
fn note_time(timestamp: u64, now: &mut u64) {
    if timestamp != 0 && *now == 0 {
        *now = rdtsc();
    }
}

/// What was claimed with a hold, while it is copied into buffers. A panic loses all of it.
struct Claimed<'a, S: ReaderMode> {
    reader: &'a mut Reader<S>,
    lane: OwnLane<'a>,
    end: u64,
}

impl<S: ReaderMode> Drop for Claimed<'_, S> {
    fn drop(&mut self) {
        self.reader.release_copied(self.lane, self.end);
        // Not all of it is counted, so a later call may not notice that there is something to
        // grant. And this handle may make no later call.
        self.reader.announce(self.lane);
    }
}

impl<S: ReaderMode> Reader<S> {
    /// Copies the messages of `span`, which nobody else can have, one into each buffer, as far as
    /// they are committed and fit. All are taken at one moment, `now`, which is read with the first
    /// message that carries a timestamp. An error says why it stopped early.
    #[inline(always)]
    pub(crate) fn fill<B: AsMut<[u8]>>(
        &mut self,
        lane: OwnLane<'_>,
        tally: &mut Tally,
        span: Span,
        buffers: &mut [B],
        batch: &mut Batch,
        now: &mut u64,
    ) -> Result<(), Miss> {
        if !S::HOLDS_TO_COPY {
            return self.fill_span(lane, tally, span, buffers, batch, now);
        }
        let claimed = Claimed { reader: self, lane, end: span.end() };
        let filled = claimed.reader.fill_span(lane, tally, span, buffers, batch, now);
        core::mem::forget(claimed);
        filled
    }

    /// As [`fill`](Self::fill). After a panic what was claimed stays held.
    #[inline(always)]
    fn fill_span<B: AsMut<[u8]>>(
        &self,
        lane: OwnLane<'_>,
        tally: &mut Tally,
        span: Span,
        buffers: &mut [B],
        batch: &mut Batch,
        now: &mut u64,
    ) -> Result<(), Miss> {
        let count = span.count as usize;
        while batch.len() < count {
            let before = batch.len();
            let position = span.first + before as u64;
            let slot = lane.slot(position);
            let sequence = slot.sequence();
            // What was checked and claimed is taken, whatever a peer writes there afterwards.
            // Stopping here would release the rest unread.
            let claimed = S::HOLDS_TO_COPY;
            if sequence != position + 1 && !claimed {
                return Err(Miss::NotCommitted(sequence));
            }
            // A marked message is counted by itself.
            if position >= S::marked_below(&self.inherited) && tally.join(slot.meta()) {
                let size = tally.run().size();
                if size > buffers[before].as_mut().len() && !claimed {
                    return Err(Miss::Unfit(size));
                }
                self.fill_run(lane, tally, position, &mut buffers[before..count], batch, now);
                if batch.len() != before {
                    continue;
                }
                if !claimed {
                    // A peer changed the meta word after it was checked. The next call looks again.
                    return Err(Miss::NotCommitted(sequence));
                }
            }
            let buffer = as_uninit(buffers[before].as_mut());
            let room = Room::up_to(buffer.len());
            let mut delivery = self.copy(lane, tally, position, buffer, room)?;
            note_time(delivery.timestamp, now);
            delivery.seen = Some(*now);
            batch.push(tally.record(&delivery).0);
        }
        Ok(())
    }

    /// Copies the messages from `first` on that belong to the run, one into each buffer. None of
    /// them is marked.
    #[inline(always)]
    fn fill_run<B: AsMut<[u8]>>(
        &self,
        lane: OwnLane<'_>,
        tally: &mut Tally,
        first: u64,
        buffers: &mut [B],
        batch: &mut Batch,
        now: &mut u64,
    ) {
        let mut run = *tally.run();
        let mut position = first;
        for (buffer, item) in buffers.iter_mut().zip(batch.room()) {
            let next = independent(position + 1);
            let slot = lane.slot(position);
            if slot.sequence() != position + 1 {
                break;
            }
            let (meta, timestamp, payload) = slot.read();
            if !run.continues(meta) {
                break;
            }
            let buffer = buffer.as_mut();
            if run.size() > buffer.len() {
                break;
            }
            self.fetch_ahead(lane, position);
            payload.copy_to(&mut buffer[..run.size()]);
            note_time(timestamp, now);
            item.write(Received {
                size: run.size(),
                class: run.class(),
                latency: run.record(timestamp, *now),
                redelivered: false,
                timestamp,
                position,
            });
            position = next;
        }
        let count = position - first;
        // SAFETY: this many items were written, one for each position, from the first free item on.
        unsafe { batch.filled(count as usize) };
        tally.resume(run, count);
    }
}
