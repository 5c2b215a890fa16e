//! The consumer of a ring with lanes: one handle for each lane. The first of them is the handle
//! itself, and has the others.
//!
//! ```text
//!  by class      the most urgent lane that has something
//!  by producer   the lane that it is at, up to 16 messages ── then it looks at some others
//! ```
//!
//! On request, by class each lane gets its share ([`ageing`]), and by producer messages come in
//! time order ([`in_time`]).
//!
//! A look at a lane is a load and a comparison ([`Watch`]). What else a consumer does now and then
//! (grants that are late, dead peers, the end of a stream) it does for one lane in some calls that
//! receive, and for all lanes in some calls that find nothing. So a dead producer in an urgent lane
//! holds up nothing for long, even if other lanes always have a message.
//!
//! `verification/src/lanes/` has models of what is between the lanes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Consumer;
use super::several::{AllLanes, Order, Visit};
use super::taken::Taken;
use crate::closing;
use crate::error::{RecvError, RingError};
use crate::group::joining;
use crate::lane::reader::ReaderMode;
use crate::lane::view::OwnLane;
use crate::layout::participant::Identity;
use crate::limits::MAX_POSITION;
use crate::mode::{Member, Mode, OwnReader, in_lane_mode};
use crate::own::Own;
use crate::recover::entry::Entry;
use crate::segment::Segment;
use crate::segment::watch::Watch;
use crate::settings::{Lanes, Sharing, Side};
use crate::sync::Ordering;

/// By producer: after so many messages of a lane a consumer looks at others.
const MOST_IN_A_ROW: u32 = 16;

/// One lane is looked after once in so many calls that receive, a power of two.
const CALLS_PER_ROUND: u32 = 64;

/// The end of a stream, as one lane shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The lane is open, or has something left.
    NotYet,
    /// It was never opened, or it is the end of a stream that the handle ignores.
    Ignored,
    /// The stream has ended.
    Reached,
}

/// Does `$work` with `$it`, the handle `$lane` of `$handle` in its own mode.
macro_rules! in_lane {
    ($handle:expr, $lane:expr, $it:ident => $work:expr) => {{
        let own = $handle.own_in_lanes();
        let lane = $handle.lane($lane);
        in_lane_mode!(lane, own, $it => $work)
    }};
}

mod ageing;
mod in_time;
mod visit;

impl Consumer {
    /// The consumer of a ring with lanes.
    #[cold]
    pub(super) fn of_lanes(ring: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let sharing = ring.settings().consumer_side;
        let locker = ring.locker()?;
        // The first lane at first: who has it is the one that counts as a participant.
        let attach = |lane: Segment| Self::attach_to_lane(&lane, sharing, locker.clone(), identity);
        let all: Result<Vec<Self>, RingError> = ring.all_lanes().map(attach).collect();
        Ok(Self::over_lanes(all?, Own::of(sharing)))
    }

    /// One handle of these, which are of the lanes in their order, and work in this way.
    pub(super) fn over_lanes(all: Vec<Self>, own: Own) -> Self {
        let mut all = all.into_iter();
        let Some(mut first) = all.next() else { unreachable!("a ring has a lane") };
        let mut others: Box<[Self]> = all.collect();
        let watches = core::iter::once(&mut first).chain(&mut *others).map(Self::watch).collect();
        let order = match first.entry.segment().settings().lanes {
            Lanes::ByClass => Order::Urgency,
            Lanes::One | Lanes::ByProducer(_) => Order::Turns,
        };
        let all = AllLanes {
            own,
            order,
            visit: Visit::default(),
            others,
            watches,
            at: 0,
            in_a_row: 0,
            beyond: 1,
            calls: 0,
            looked_after: 0,
            seen_idle: false,
            lent: false,
        };
        first.entry.work_on_all_lanes();
        first.lanes = Some(Box::new(all));
        first
    }

    /// Has the handles of the other lanes go on as members of the generation which that of the
    /// first has joined again.
    pub(super) fn lead_others(&mut self) {
        let Some(all) = &mut self.lanes else { return };
        for other in &mut all.others {
            other.in_mode::<Member>().be_led_by(&self.entry);
        }
        for lane in 1..self.all().watches.len() {
            self.note_position(lane);
        }
    }

    /// What a look at this lane needs.
    fn watch(&mut self) -> Watch {
        let lane = self.entry.segment().lane();
        Watch::new(lane, self.reader.position(), self.reader.is_special())
    }

    /// The lanes of a handle that has some.
    #[inline(always)]
    fn all(&mut self) -> &mut AllLanes<Self> {
        match &mut self.lanes {
            Some(all) => all,
            None => unreachable!("a handle of several lanes"),
        }
    }

    /// The handle of a lane, of which the first is the handle itself.
    #[inline(always)]
    fn lane(&mut self, lane: usize) -> &mut Self {
        if lane == 0 { self } else { &mut self.all().others[lane - 1] }
    }

    /// Whether a lane may have something.
    #[inline(always)]
    fn sees_something(&mut self, lane: usize) -> bool {
        // SAFETY: the handle of the lane keeps the segment.
        unsafe { self.all().watches[lane].sees_something() }
    }

    /// Notes where the handle of a lane is now.
    #[inline(always)]
    fn note_position(&mut self, lane: usize) {
        let watch = self.lane(lane).watch();
        self.all().watches[lane] = watch;
    }

    /// Does `work` with the handle of a lane.
    #[inline(always)]
    fn with_lane<T>(
        &mut self,
        lane: usize,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let own = self.all().own;
        #[cfg(any(feature = "std", loom))]
        let limit = self.waiting.limit;
        let it = self.lane(lane);
        #[cfg(any(feature = "std", loom))]
        {
            // A call that is led from place to place in that lane ends as this handle's calls do.
            it.waiting.limit = limit;
        }
        let done = work(it, own);
        self.note_position(lane);
        if done.is_ok() {
            let all = self.all();
            (all.in_a_row, all.at) =
                (if all.at == lane { all.in_a_row.saturating_add(1) } else { 1 }, lane);
        }
        done
    }

    /// Receives by `work` from the lane that it visits, or else from any. A lane takes what is
    /// there and does not wait.
    #[inline]
    pub(super) fn receive_from_any<T: Taken>(
        &mut self,
        mut work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        if self.is_visiting() {
            let (at, own) = (self.all().at, self.all().own);
            match work(self.lane(at), own) {
                Err(error) if self.searches_after(error) => {}
                done => return done,
            }
        }
        self.search(work)
    }

    /// As [`receive_from_any`](Self::receive_from_any), several messages, which count as one.
    pub(super) fn receive_several<T: Taken>(
        &mut self,
        work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let (lane, _) = self.lane_to_take_from(false);
        let received = lane.tally.received();
        let done = self.receive_from_any(work);
        if self.is_visiting() {
            self.count_as_one(received);
        }
        done
    }

    /// Receives by `work` from any lane, if the handle is at none that gives something.
    #[inline]
    fn search<T: Taken>(
        &mut self,
        mut work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let all = self.all();
        all.count_call();
        if core::mem::take(&mut all.seen_idle) {
            return self.nothing_in_any(work);
        }
        let found = match all.order {
            Order::Urgency => self.most_urgent(&mut work),
            Order::UrgencyAndAge(_) => self.most_urgent_or_aged(&mut work),
            Order::Turns => self.in_turn(&mut work),
            Order::Time(_) => return self.receive_in_time(|lane, own, _| work(lane, own)),
        };
        match found {
            Some(done) => done,
            None => self.nothing_in_any(work),
        }
    }

    /// As [`receive_several`](Self::receive_several), a batch: another lane is next.
    pub(super) fn receive_batch_from_any<T: Taken>(
        &mut self,
        work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let done = self.receive_several(work);
        self.end_visit();
        self.all().in_a_row = MOST_IN_A_ROW;
        done
    }

    /// From the most urgent lane that has something; `None` if none has.
    #[inline(always)]
    fn most_urgent<T>(
        &mut self,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        (0..self.all().watches.len()).find_map(|lane| self.take_from(lane, work))
    }

    /// From the lane that it is at, or else the next that has something; `None` if none has.
    #[inline(always)]
    fn in_turn<T>(
        &mut self,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        let (at, count) = (self.all().at, self.all().watches.len());
        (at..count).chain(0..at).find_map(|lane| self.take_from(lane, work))
    }

    /// From a lane, if it has something: `None` if not, also if others were faster.
    #[inline(always)]
    fn take_from<T>(
        &mut self,
        lane: usize,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        if self.sees_something(lane) { self.done_with(lane, work) } else { None }
    }

    /// The same of a lane that was looked at.
    #[inline(always)]
    fn done_with<T>(
        &mut self,
        lane: usize,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        match self.with_lane(lane, work) {
            // The end of one lane is not that of all.
            Err(RecvError::Empty | RecvError::Closed) => None,
            done => Some(done),
        }
    }

    /// Does for the next lane what is done now and then. What comes of it is seen by the looks that
    /// follow.
    #[cold]
    #[inline(never)]
    fn look_after_one(&mut self) {
        let count = self.all().watches.len();
        let lane = self.all().looked_after % count;
        self.all().looked_after = lane + 1;
        if let Err(RecvError::Evicted { missed }) = self.look_after(lane) {
            // What it says, a later call says.
            let first = self.in_mode::<Member>();
            first.entry.note_missed(missed);
            first.reader.call_special();
            self.note_position(0);
        }
    }

    /// Does for a lane what is done now and then.
    fn look_after(&mut self, lane: usize) -> Result<(), RecvError> {
        let mut look = |it: &mut Self, own| in_lane_mode!(it, own, it => it.look_after_own());
        let (at, in_a_row) = (self.all().at, self.all().in_a_row);
        let done = self.with_lane(lane, &mut look);
        // Nothing was received.
        (self.all().at, self.all().in_a_row) = (at, in_a_row);
        done
    }

    /// No lane has anything. In some calls this does for all lanes what a consumer does that finds
    /// nothing, and looks again.
    #[inline]
    fn nothing_in_any<T>(
        &mut self,
        work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        if !self.patience.note_fruitless() {
            let at = self.all().at;
            self.lane(at).patience.pause();
            return Err(RecvError::Empty);
        }
        self.look_around_all(work)
    }

    /// The rest of `nothing_in_any`.
    #[cold]
    #[inline(never)]
    fn look_around_all<T>(
        &mut self,
        mut work: impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let mut closed = false;
        for lane in 0..self.all().watches.len() {
            match self.look_after(lane) {
                // There may be something now.
                Ok(()) => match self.with_lane(lane, &mut work) {
                    Err(RecvError::Empty) => {}
                    Err(RecvError::Closed) => closed = true,
                    done => return done,
                },
                Err(RecvError::Empty) => {}
                Err(RecvError::Closed) => closed = true,
                Err(error) => return Err(error),
            }
        }
        Err(if closed && self.has_ended() { RecvError::Closed } else { RecvError::Empty })
    }

    /// Whether the stream has ended in all lanes. Each is looked at by itself, so one that is
    /// opened behind the back of these looks shows by the counts, before another is closed.
    fn has_ended(&mut self) -> bool {
        let before = self.openings();
        let mut reached = false;
        for lane in 0..self.all().watches.len() {
            match in_lane!(self, lane, it => it.end_of_lane()) {
                End::NotYet => return false,
                End::Ignored => {}
                End::Reached => reached = true,
            }
        }
        reached && self.openings() == before
    }

    /// How often a lane was opened, or had a producer for the first time, in all lanes.
    fn openings(&self) -> u64 {
        let lanes = self.entry.segment().lanes();
        (0..lanes).fold(0, |sum: u64, lane| {
            let control = self.entry.segment().control_of(lane);
            // Acquire, both: pairs with the releases in `reopen` and `Entry::note_arrival`. What
            // was closed afterwards, and seen closed by an acquire, had been counted before.
            let opened = control.streams.load(Ordering::Acquire);
            let arrived = control.arrivals[Side::Producer as usize].load(Ordering::Acquire);
            sum.wrapping_add(opened).wrapping_add(arrived)
        })
    }

    /// Releases what a guard holds that was forgotten.
    #[inline(always)]
    fn release_forgotten(&mut self) {
        if core::mem::take(&mut self.all().lent) {
            self.settle_lent();
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_lent(&mut self) {
        let at = self.all().at;
        in_lane!(self, at, it => {
            if it.reader.is_special() {
                it.reader.resume(OwnLane::of(&it.entry));
            }
        });
        self.note_position(at);
    }

    /// The handle of the lane from which was received last, for a guard.
    pub(super) fn lend(&mut self) -> &mut Self {
        let all = self.all();
        all.lent = true;
        let at = all.at;
        self.lane(at)
    }
}

impl<S: Mode> Consumer<S> {
    /// How the handle of each lane works.
    #[inline(always)]
    pub(super) fn own_in_lanes(&self) -> Own {
        self.lanes.as_ref().map_or(Own::Shared, |all| all.own)
    }

    /// Does something with the handles of the other lanes, if there are any.
    pub(super) fn for_each_other(&mut self, each: impl FnMut(&mut Consumer)) {
        if let Some(all) = &mut self.lanes {
            all.others.iter_mut().for_each(each);
        }
    }

    /// Messages received, from all lanes.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn received(&self) -> u64 {
        let others = self.lanes.iter().flat_map(|all| &all.others);
        others.fold(self.tally.received(), |sum, other| sum + other.tally.received())
    }

    /// The handle of the lane from which was received last.
    pub(super) fn last_lane(&self) -> Option<&Consumer> {
        let all = self.lanes.as_ref()?;
        all.others.get(all.at.checked_sub(1)?)
    }
}

impl Consumer<Member> {
    /// Goes on as the member that its holder is by its entry in the first lane.
    fn be_led_by(&mut self, first: &Entry) {
        joining::follow(&mut self.entry, first, None);
        self.count_for_group();
        let lane = OwnLane::of(&self.entry);
        // Acquire: as when a reader begins.
        let head = Member::cursor(lane).consumer_head.load(Ordering::Acquire);
        self.reader.go_on_at(Member::seen(lane, head).min(MAX_POSITION));
    }
}

impl<S: OwnReader> Consumer<S> {
    /// What a call does now and then that finds nothing: `Ok` to look again.
    fn look_after_own(&mut self) -> Result<(), RecvError> {
        if self.reader.is_special() {
            return Ok(());
        }
        let lane = OwnLane::of(&self.entry);
        let sequence = lane.slot(self.reader.position()).sequence();
        if sequence == self.reader.position() + 1 && !S::is_over(lane) {
            return Ok(());
        }
        self.look_around(sequence)
    }

    /// Whether the lane's stream has ended.
    fn end_of_lane(&mut self) -> End {
        let segment = self.entry.segment();
        if !closing::is_closed(segment) {
            // Acquire: as in `openings`.
            let arrived = &segment.control().arrivals[Side::Producer as usize];
            let by_producer = segment.settings().producer_side == Sharing::Exclusive
                && matches!(segment.settings().lanes, Lanes::ByProducer(_));
            if by_producer && arrived.load(Ordering::Acquire) == 0 {
                return End::Ignored;
            }
            self.passed_stream = None;
            return End::NotYet;
        }
        // It was found closed by an acquire, so what was sent before is seen.
        if self.reader.is_special() || !self.is_drained() {
            return End::NotYet;
        }
        if self.stream_has_ended() { End::Reached } else { End::Ignored }
    }
}

/// Waiting for all lanes at once.
#[cfg(any(feature = "std", loom))]
impl Consumer {
    /// As `glance_own`, at all lanes.
    pub(super) fn glance_at_all(&mut self) -> Result<bool, RecvError> {
        self.end_visit();
        if self.is_in_time_order() {
            return self.has_next_in_time();
        }
        let limit = self.waiting.limit;
        for lane in 0..self.all().watches.len() {
            if !self.sees_something(lane) {
                continue;
            }
            self.lane(lane).waiting.limit = limit;
            let seen = in_lane!(self, lane, it => it.glance_own());
            self.note_position(lane);
            match seen {
                Ok(false) | Err(RecvError::Empty | RecvError::Closed) => {}
                done => return done,
            }
        }
        Ok(false)
    }

    /// As `look_own`, at all lanes.
    pub(super) fn look_at_all(&mut self) -> Result<bool, RecvError> {
        self.end_visit();
        if core::mem::take(&mut self.all().lent) {
            // The looks below end at the first lane that has something.
            let at = self.all().at;
            in_lane!(self, at, it => it.reader.settle(OwnLane::of(&it.entry)));
            self.note_position(at);
        }
        // Of all producers, and not of one lane's.
        let ends_deserted = core::mem::take(&mut self.waiting.peers.ends_deserted);
        let seen = self.look_at_each();
        self.waiting.peers.ends_deserted = ends_deserted;
        if seen? {
            return Ok(true);
        }
        if !ends_deserted || !self.is_deserted() {
            return Ok(false);
        }
        // They may have sent something between our look at a slot and our look at the tables.
        let lanes = self.all().watches.len();
        if (0..lanes).any(|lane| self.sees_something(lane)) {
            return self.look_at_each();
        }
        Err(RecvError::Deserted)
    }

    fn look_at_each(&mut self) -> Result<bool, RecvError> {
        let limit = self.waiting.limit;
        let in_time = self.is_in_time_order();
        let mut closed = false;
        for lane in 0..self.all().watches.len() {
            self.lane(lane).waiting.limit = limit;
            let seen = in_lane!(self, lane, it => it.look_own());
            self.note_position(lane);
            match seen {
                Ok(true) if !in_time => return Ok(true),
                Ok(_) => {}
                Err(RecvError::Closed) => closed = true,
                Err(error) => return Err(error),
            }
        }
        if in_time && self.has_next_in_time()? {
            return Ok(true);
        }
        if closed && self.has_ended() { Err(RecvError::Closed) } else { Ok(false) }
    }

    /// Whether other consumers have taken something that this one has not seen.
    pub(super) fn others_have_taken(&mut self) -> bool {
        (0..self.all().watches.len()).any(|lane| {
            in_lane!(self, lane, it => it.reader.others_at(OwnLane::of(&it.entry)).is_some())
        })
    }
}
