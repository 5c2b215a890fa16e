//! Receiving from lanes by producer in time order.
//!
//! ```text
//!  now ── look at each lane's next message ──► the oldest was sent at t
//!    each lane has one                           it is next: a lane's later ones are younger
//!    some have none, and t + wait <= now         it is next: what was sent before t, and was
//!                                                there within the wait, would have been seen
//!    else                                        not yet; at t + wait at the latest
//! ```
//!
//! A lane of which nothing older can come is not waited for: one that no producer has had yet, or
//! that is closed. What is there within the wait after its timestamp is never late. A message over
//! which its producer is stopped for longer comes when it is there. It is marked if a younger one
//! was received before.
//!
//! A call takes exactly the message that was chosen, or none (`Patience::stay`). Consumers that
//! share all choose the oldest that is left, and a claim of anything else fails. So all together
//! claim in time order.

use core::mem::MaybeUninit;
use core::time::Duration;

use super::super::Consumer;
use super::super::borrow_batch::Several;
use super::super::several::Order;
use super::super::taken::Taken;
use super::super::time_order::{Looks, Next, Sent, TimeOrder};
use crate::clock::rdtsc;
use crate::closing;
use crate::error::RecvError;
use crate::lane::reader::ReaderMode;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::message::Received;
use crate::mode::{Member, Mode, OwnReader, in_lane_mode};
use crate::own::Own;
use crate::segment::watch::Seen;
use crate::settings::Side;
use crate::sync::Ordering;

/// How often a call chooses again if others have taken what it had chosen.
const MOST_CHOICES: u32 = 16;

/// What a look at a lane finds.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// A message that was sent at this time.
    Sent(u64),
    /// A dead consumer's message that was sent at this time, or something to say. It comes at once.
    AtOnce(u64),
    /// Nothing, and something older may come.
    Awaited,
    /// Nothing, and whatever comes is younger than all that is there.
    Over,
}

impl Consumer {
    /// Receives in time order from now on, and waits so long for lanes that have nothing. The clock
    /// has so many ticks in a second.
    pub(in super::super) fn begin_time_order(&mut self, wait: Duration, rate: u64) {
        self.end_visit();
        let all = self.all();
        if all.time().is_none() {
            all.order = Order::Time(TimeOrder::new(all.watches.len(), rate));
        }
        self.time().set_wait(wait);
    }

    #[inline(always)]
    pub(in super::super) fn is_in_time_order(&mut self) -> bool {
        matches!(self.all().order, Order::Time(_))
    }

    fn time(&mut self) -> &mut TimeOrder {
        match self.all().time_mut() {
            Some(time) => time,
            None => unreachable!("a handle that receives in time order"),
        }
    }

    /// Receives the next message by `work`, which is given the handle of its lane. Out of line:
    /// what receives in another order stays as it is without it.
    #[inline(never)]
    pub(super) fn receive_in_time<T: Taken>(
        &mut self,
        mut work: impl FnMut(&mut Self, Own, &Next) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        match self.try_in_time(&mut work) {
            Some(done) => done,
            None => self.nothing_in_time(work),
        }
    }

    /// As [`receive_in_time`](Self::receive_in_time); `None` if there is nothing, or if it is not
    /// certain yet what is next.
    fn try_in_time<T: Taken>(
        &mut self,
        work: &mut impl FnMut(&mut Self, Own, &Next) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        for _ in 0..MOST_CHOICES {
            let next = match self.choose() {
                Ok(next) => next?,
                Err(error) => return Some(Err(error)),
            };
            match self.take(&next, work) {
                // Others have taken it.
                Err(RecvError::Empty | RecvError::Closed) => {}
                done => return Some(done),
            }
        }
        None
    }

    /// Takes what was chosen, or nothing.
    fn take<T: Taken>(
        &mut self,
        next: &Next,
        work: &mut impl FnMut(&mut Self, Own, &Next) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let lane = next.first.lane;
        self.lane(lane).patience.stay(true);
        let mut done = self.with_lane(lane, &mut |lane, own| work(lane, own, next));
        self.lane(lane).patience.stay(false);
        if let Ok(taken) = &mut done {
            let (time, count) = (next.first.time, taken.count());
            let last = taken.last_sent(OwnLane::of(&self.lane(lane).entry), time);
            if self.time().note(time, last, count, rdtsc()) {
                let lane = self.lane(lane);
                lane.entry.participant().count(Event::Late, count);
                taken.mark_late(lane);
            }
        }
        done
    }

    /// There is nothing, or it is not certain yet what is next. Now and then this does for all
    /// lanes what a consumer does that finds nothing, and looks again.
    fn nothing_in_time<T: Taken>(
        &mut self,
        mut work: impl FnMut(&mut Self, Own, &Next) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        if !self.patience.note_fruitless() {
            let at = self.all().at;
            self.lane(at).patience.pause();
            return Err(RecvError::Empty);
        }
        let mut closed = false;
        for lane in 0..self.all().watches.len() {
            match self.look_after(lane) {
                Ok(()) | Err(RecvError::Empty) => {}
                Err(RecvError::Closed) => closed = true,
                Err(error) => return Err(error),
            }
        }
        if let Some(done) = self.try_in_time(&mut work) {
            return done;
        }
        Err(if closed && self.has_ended() { RecvError::Closed } else { RecvError::Empty })
    }

    /// Whether there is something that is next.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn has_next_in_time(&mut self) -> Result<bool, RecvError> {
        Ok(self.choose()?.is_some())
    }

    /// What is next, if that is certain.
    fn choose(&mut self) -> Result<Option<Next>, RecvError> {
        if self.all().own == Own::Member && !self.belongs() {
            // It sleeps until it can join again.
            self.time().expect_nothing();
            return Ok(None);
        }
        // Before the looks: what is sent within the wait until now is seen by them.
        let mut looks = Looks::at(rdtsc());
        for lane in 0..self.all().watches.len() {
            let head = self.head(lane)?;
            self.time().set_awaited(lane, matches!(head, Head::Awaited));
            match head {
                Head::Sent(time) => looks.see(Sent { lane, time }),
                Head::AtOnce(time) => return Ok(Some(self.time().next(Sent { lane, time }, time))),
                Head::Awaited => looks.miss(),
                Head::Over => {}
            }
        }
        Ok(self.time().decide(&looks))
    }

    /// Whether a member belongs to its group, as it does again if it can join it.
    #[cold]
    fn belongs(&mut self) -> bool {
        let first = self.in_mode::<Member>();
        if !Member::is_over(OwnLane::of(&first.entry)) {
            return true;
        }
        if !first.joins_again() {
            return false;
        }
        if first.entry.has_to_say() {
            first.reader.call_special();
        }
        self.note_position(0);
        true
    }

    /// What a lane has.
    #[inline(always)]
    fn head(&mut self, lane: usize) -> Result<Head, RecvError> {
        match self.look_at_head(lane)? {
            Some(head) => Ok(head),
            None if self.is_awaited(lane) => Ok(Head::Awaited),
            // What was sent before it was closed is seen now.
            None => Ok(self.look_at_head(lane)?.unwrap_or(Head::Over)),
        }
    }

    #[inline(always)]
    fn look_at_head(&mut self, lane: usize) -> Result<Option<Head>, RecvError> {
        // SAFETY: the handle of the lane keeps the segment.
        match unsafe { self.all().watches[lane].look() } {
            Seen::Message(sent) => Ok(Some(Head::Sent(sent))),
            Seen::Nothing => Ok(None),
            Seen::Other => self.look_closer(lane),
        }
    }

    #[cold]
    #[inline(never)]
    fn look_closer(&mut self, lane: usize) -> Result<Option<Head>, RecvError> {
        #[cfg(any(feature = "std", loom))]
        {
            let limit = self.waiting.limit;
            self.lane(lane).waiting.limit = limit;
        }
        let head = in_lane!(self, lane, it => it.head_of_lane());
        self.note_position(lane);
        head
    }

    /// Whether something that is older than all that is there may come into a lane that has nothing
    /// now. Whoever takes the lane later, or opens it again, reads the time after this look.
    fn is_awaited(&mut self, lane: usize) -> bool {
        let segment = self.lane(lane).entry.segment();
        let arrived = &segment.control().arrivals[Side::Producer as usize];
        // Acquire: as in `openings`.
        arrived.load(Ordering::Acquire) != 0 && !closing::is_closed(segment)
    }

    /// Takes messages for a guard over several: of one lane.
    pub(in super::super) fn take_several_from_any(
        &mut self,
        most: u64,
    ) -> Result<Several, RecvError> {
        if !self.is_in_time_order() {
            return self.receive_several(
                |lane, own| in_lane_mode!(lane, own, it => it.take_several_own(most)),
            );
        }
        self.begin_call();
        self.all().count_call();
        self.receive_in_time(|lane, own, next| {
            in_lane_mode!(lane, own, it => {
                let most = it.count_sent_within(next.with, most);
                it.take_several_own(most)
            })
        })
    }

    /// Fills buffers one by one, since a batch may have messages of several lanes. Says how many
    /// items of `room` it has written.
    pub(in super::super) fn receive_each_in_time<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        room: &mut [MaybeUninit<Received>],
    ) -> Result<usize, RecvError> {
        let mut count = 0;
        for (buffer, item) in buffers.iter_mut().zip(room) {
            match self.try_recv_into(buffer.as_mut()) {
                Ok(about) => {
                    item.write(about);
                    count += 1;
                }
                Err(error) if count == 0 => return Err(error),
                Err(RecvError::Evicted { missed }) => {
                    // What it says, it says again at the next call.
                    let first = self.in_mode::<Member>();
                    first.entry.note_missed(missed);
                    first.reader.call_special();
                    self.note_position(0);
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(count)
    }
}

impl<S: Mode> Consumer<S> {
    /// How many messages have come late, in time order.
    pub(in super::super) fn late_in_time(&self) -> u64 {
        self.lanes.as_ref().and_then(|all| all.time()).map_or(0, TimeOrder::late)
    }
}

impl<S: OwnReader> Consumer<S> {
    /// What the lane has, if it is not simply a message.
    fn head_of_lane(&mut self) -> Result<Option<Head>, RecvError> {
        self.reader.resume(OwnLane::of(&self.entry));
        loop {
            if self.entry.has_to_say() {
                self.reader.call_special();
                return Ok(Some(Head::AtOnce(0)));
            }
            let lane = OwnLane::of(&self.entry);
            if let Some(sent) = self.reader.adopted_sent(lane) {
                return Ok(Some(Head::AtOnce(sent)));
            }
            let slot = lane.slot(self.reader.position());
            let sequence = slot.sequence();
            if sequence == self.reader.position() + 1 {
                return Ok(S::may_claim(lane).then(|| Head::Sent(slot.timestamp())));
            }
            match self.not_committed(sequence) {
                Ok(()) => {}
                Err(RecvError::Empty | RecvError::Closed) => return Ok(None),
                Err(RecvError::Evicted { missed }) => self.entry.note_missed(missed),
                Err(error) => return Err(error),
            }
        }
    }

    /// How many of the next messages, at most `most`, were sent from `first` to `last`; at least
    /// one.
    fn count_sent_within(&self, (first, last): (u64, u64), most: u64) -> u64 {
        if self.reader.is_special() {
            return 1;
        }
        let lane = OwnLane::of(&self.entry);
        let position = self.reader.position();
        let is_within = |&at: &u64| {
            let slot = lane.slot(at);
            slot.sequence() == at + 1 && (first..=last).contains(&slot.timestamp())
        };
        (position..position + most).take_while(is_within).count().max(1) as u64
    }
}
