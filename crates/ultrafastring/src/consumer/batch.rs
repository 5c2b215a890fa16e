//! Receiving several messages at once by copying them.

use core::mem::MaybeUninit;

use super::Consumer;
use crate::error::RecvError;
use crate::lane::reader::room::{Room, as_uninit};
use crate::lane::view::OwnLane;
use crate::message::{Batch, MAX_BATCH, Received};
#[cfg(feature = "alloc")]
use crate::mode::{AnyMode, in_lane_mode};
use crate::mode::{Member, Mode, OwnReader, in_own_mode};
use crate::own::Own;

impl<S: Mode> Consumer<S> {
    /// Receives as many messages as there are, one into each buffer and at most 64 ([`MAX_BATCH`]).
    /// For each filled buffer, in order, it returns what is known about the message. Never waits;
    /// `recv_many` waits for at least one. The messages of a batch are released together, and their
    /// latencies are measured at one moment.
    ///
    /// The buffers are anything that is bytes: `[[u8; 64]]`, `[&mut [u8]]`, or `[Vec<u8>]`. A `Vec`
    /// keeps its length and is not grown. A message that a dead consumer held comes alone.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// ring.send_batch(&["to", "be", "or"], PriorityClass::Normal)?;
    /// let mut consumer = ring.consumer()?;
    /// let mut buffers = vec![vec![0; 64]; 8];
    /// let batch = consumer.try_recv_many(&mut buffers)?;
    /// for ((about, bytes), word) in batch.iter().zip(&buffers).zip(["to", "be", "or"]) {
    ///     assert_eq!(&bytes[..about.size], word.as_bytes());
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast), and only if no message was received. A later message that
    /// does not fit ends the batch before it. Without buffers, the batch is empty.
    ///
    /// # Panics
    ///
    /// If an `as_mut` does. On a shared side the messages that were claimed for the batch are then
    /// lost. They are also lost if an `as_mut` gives fewer bytes the second time.
    #[inline]
    pub fn try_recv_many<B: AsMut<[u8]>>(&mut self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        self.recv_batch(buffers)
    }

    /// [`try_recv_many`](Self::try_recv_many) under the name of the founding document.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[inline(always)]
    pub fn recv_batch<B: AsMut<[u8]>>(&mut self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        let mut batch = Batch::new();
        if matches!(self.own(), Own::Member | Own::Lanes) {
            let count = self.receive_apart(buffers, batch.room())?;
            // SAFETY: it says how many items of `room` it has written.
            unsafe { batch.filled(count) };
        } else {
            in_own_mode!(self, it => {
                it.receive_many(buffers, &mut batch)?
            });
        }
        Ok(batch)
    }

    /// As a member of a group, or from one of several lanes.
    #[cold]
    #[inline(never)]
    fn receive_apart<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        room: &mut [MaybeUninit<Received>],
    ) -> Result<usize, RecvError> {
        #[cfg(feature = "alloc")]
        if self.has_lanes() {
            // As in a ring of one lane, whether there are messages or not.
            if buffers.is_empty() {
                return Ok(0);
            }
            let several = self.in_mode::<AnyMode>();
            if several.is_in_time_order() {
                return several.receive_each_in_time(buffers, room);
            }
            return several.receive_batch_from_any(
                |lane, own| in_lane_mode!(lane, own, it => it.receive_batch(buffers, room)),
            );
        }
        self.in_mode::<Member>().receive_batch(buffers, room)
    }
}

impl<S: OwnReader> Consumer<S> {
    /// As [`receive_many`](Self::receive_many), out of line and with a batch of its own: how many
    /// there are in that of the other modes stays in a register. Says how many items of `room`,
    /// which has as many as a batch, it has written.
    #[cold]
    #[inline(never)]
    fn receive_batch<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        room: &mut [MaybeUninit<Received>],
    ) -> Result<usize, RecvError> {
        let mut batch = Batch::new();
        self.receive_many(buffers, &mut batch)?;
        let written = room.iter_mut().zip(&batch).map(|(item, about)| item.write(*about));
        Ok(written.count())
    }

    /// Fills `batch` one message after the other, each claimed when it is copied.
    #[cold]
    #[inline(never)]
    fn receive_each<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        batch: &mut Batch,
    ) -> Result<(), RecvError> {
        for buffer in buffers.iter_mut().take(MAX_BATCH) {
            let buffer = as_uninit(buffer.as_mut());
            let room = Room::up_to(buffer.len());
            match self.recv_apart(buffer, room) {
                Ok(about) => batch.push(about),
                Err(error) if batch.is_empty() => return Err(error),
                // What it says, it says again at the next call.
                Err(RecvError::Evicted { missed }) => {
                    self.entry.note_missed(missed);
                    self.reader.call_special();
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Fills `batch`, which is empty. Inlined with its caller, since otherwise a batch of some
    /// kilobytes would be copied.
    #[inline(always)]
    fn receive_many<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        batch: &mut Batch,
    ) -> Result<(), RecvError> {
        if buffers.is_empty() {
            return Ok(());
        }
        if self.reader.is_special() {
            self.reader.resume(OwnLane::of(&self.entry));
            self.say_missed()?;
        }
        if S::copies_first(OwnLane::of(&self.entry)) {
            return self.receive_each(buffers, batch);
        }
        let most = buffers.len().min(MAX_BATCH) as u64;
        let first = Room::up_to(buffers[0].as_mut().len());
        let (mut lost, mut now, mut end) = (0, 0, 0);
        loop {
            if self.reader.has_adopted() {
                // It has to be taken alone.
                let buffer = as_uninit(buffers[0].as_mut());
                let room = Room::up_to(buffer.len());
                batch.push(self.recv_apart(buffer, room)?);
                return Ok(());
            }
            let lane = OwnLane::of(&self.entry);
            let room = |index: usize| Room::up_to(buffers[index].as_mut().len());
            let filled = self.reader.claim_to_copy(lane, most, room).and_then(|span| {
                let tally = &mut self.tally;
                let filled = self.reader.fill(lane, tally, span, buffers, batch, &mut now);
                end = span.first + batch.len() as u64;
                filled
            });
            match filled {
                Err(miss) if batch.is_empty() => self.look_again(miss, first, &mut lost)?,
                _ => break,
            }
        }
        self.reader.release_copied(OwnLane::of(&self.entry), end);
        let released = self.tally.received();
        if self.pace.is_due(released, now) {
            self.count_batch_and_grant(batch, released, now);
        }
        Ok(())
    }
}
