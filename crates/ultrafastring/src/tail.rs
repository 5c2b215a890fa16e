//! Tail readers: the messages of a ring, read by those for whom nobody waits.
//!
//! ```text
//!  load the sequence ── copy ── load the window: window ≤ position + capacity? deliver, or jump
//! ```
//!
//! Nothing at or beyond the write window is or was being written. So if the window, looked at after
//! the copy, has not come to the slot's next lap, the copy is whole.

mod lane;

use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::choices::Start;
use crate::error::{RecvError, RingError};
use crate::message::Received;
use crate::segment::Segment;
use crate::settings::Lanes;
use lane::LaneTail;

/// Sleeps so long between two looks, unless another time is chosen.
const POLL: Duration = Duration::from_millis(1);

/// A reader of a ring's messages that has no place in it: see
/// [`Observer::tail`](crate::Observer::tail).
///
/// It maps the ring without the right to write, takes no entry and no lock, and no producer waits
/// for it. Any number of them costs the ring nothing. A message that was overwritten before the
/// reader came to it is missed: how many were is said exactly
/// ([`RecvError::Overrun`]). Those of the last [`capacity`](crate::RingView::capacity) positions,
/// less 64 that producers may be about to overwrite, are there.
///
/// It cannot be woken, so the calls that wait look again and again, and sleep in between for as
/// long as [`set_poll`](Self::set_poll) says. It cannot repair anything either: where a producer
/// was killed between claim and commit it waits until somebody who takes part has passed that
/// position.
///
/// ```
/// use ultrafastring::{PriorityClass, Start, UltraFastRing};
///
/// # let directory = tempfile::tempdir()?;
/// let builder = UltraFastRing::builder().joinable().directory(directory.path());
/// let ring = builder.create("quotes")?;
/// let mut tail = builder.observe("quotes")?.tail(Start::Latest)?;
/// ring.producer()?.try_send("AAPL 101", PriorityClass::Normal)?;
/// let mut message = Vec::new();
/// assert_eq!(tail.next(&mut message)?.position(), 0);
/// assert_eq!(message, b"AAPL 101");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In a ring with lanes it reads all of them: by class always from the most urgent lane that has a
/// message, by producer from one after the other, up to 16 messages of each. Order holds within a
/// lane, and [`lane`](Self::lane) says which lane a message came from.
#[derive(Debug)]
pub struct TailReader {
    lanes: Vec<LaneTail>,
    /// Whether the lanes are read in turn, and not the first of them at first.
    in_turn: bool,
    /// The lane that was read last, and how many messages in a row.
    last: usize,
    in_a_row: u32,
    poll: Duration,
}

/// So many messages in a row it reads from one lane, if others have some, too.
const BURST: u32 = 16;

impl TailReader {
    pub(crate) fn new(segment: &Segment, start: Start) -> Result<Self, RingError> {
        if !segment.is_joinable() {
            return Err(RingError::NotMadeForGroups);
        }
        let in_turn = matches!(segment.settings().lanes, Lanes::ByProducer(_));
        let lanes = segment.all_lanes().map(|lane| LaneTail::new(lane, start)).collect();
        Ok(Self { lanes, in_turn, last: 0, in_a_row: 0, poll: POLL })
    }

    /// How long it sleeps between two looks, 1 ms unless another time is chosen: what a message may
    /// be late, and what waiting costs.
    pub fn set_poll(&mut self, poll: Duration) {
        self.poll = poll;
    }

    /// The lane of the message that was read last, counted from 0.
    pub fn lane(&self) -> usize {
        self.last
    }

    /// The position that it reads next, in the lane that it has read last.
    pub fn position(&self) -> u64 {
        self.lanes[self.last].position
    }

    /// How many positions it has missed since it was made, those of abandoned slots included.
    pub fn missed(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.missed).sum()
    }

    /// Does `read` with one lane after the other, until one has something.
    fn read(
        &mut self,
        mut read: impl FnMut(&mut LaneTail) -> Result<Received, RecvError>,
    ) -> Result<Received, RecvError> {
        let count = self.lanes.len();
        let first = match (self.in_turn, self.in_a_row < BURST) {
            (false, _) => 0,
            (true, true) => self.last,
            (true, false) => (self.last + 1) % count,
        };
        let (mut closed, mut open) = (false, false);
        for lane in (first..count).chain(0..first) {
            match read(&mut self.lanes[lane]) {
                Err(RecvError::Empty) => open |= !self.lanes[lane].is_unused(),
                Err(RecvError::Closed) => closed = true,
                done => {
                    self.in_a_row =
                        if lane == self.last && lane == first { self.in_a_row } else { 0 };
                    self.in_a_row += 1;
                    self.last = lane;
                    return done;
                }
            }
        }
        // A lane that nobody has owned yet does not keep the others from their end.
        Err(if closed && !open { RecvError::Closed } else { RecvError::Empty })
    }

    /// Reads the next message, of any size, into `buffer`; never waits.
    ///
    /// # Errors
    ///
    /// - [`RecvError::Empty`]: nothing is there.
    /// - [`RecvError::Overrun`]: some were overwritten; the next call goes on after them.
    /// - [`RecvError::Closed`]: the ring is closed, and all of it read.
    /// - [`RecvError::OutOfMemory`], [`RecvError::Damaged`].
    pub fn try_next(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        self.read(|lane| lane.try_next(buffer))
    }

    /// Reads the next message, and waits for it.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next), but for [`RecvError::Empty`].
    #[allow(clippy::should_implement_trait, reason = "a buffer is handed in")]
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        self.next_by(buffer, None)
    }

    /// Reads the next message, and waits for it for so long.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), and [`RecvError::TimedOut`].
    pub fn next_timeout(
        &mut self,
        buffer: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<Received, RecvError> {
        self.next_by(buffer, Instant::now().checked_add(timeout))
    }

    /// Reads the next message, and waits for it until then.
    ///
    /// # Errors
    ///
    /// As [`next_timeout`](Self::next_timeout).
    pub fn next_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<Received, RecvError> {
        self.next_by(buffer, Some(deadline))
    }

    fn next_by(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Received, RecvError> {
        loop {
            match self.try_next(buffer) {
                Err(RecvError::Empty) => {}
                done => return done,
            }
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(RecvError::TimedOut);
            }
            std::thread::sleep(left.map_or(self.poll, |left| left.min(self.poll)));
        }
    }

    /// Reads the newest message that is there, and goes on after it: what lies before is passed
    /// over, and does not count as missed. In a ring with lanes it does this in one lane: the first
    /// that has a message which it has not read.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next): [`RecvError::Empty`] also if there is none that it has not
    /// read.
    pub fn latest(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        self.read(|lane| lane.latest(buffer))
    }
}
