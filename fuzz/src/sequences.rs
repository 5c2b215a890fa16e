//! Sequences of calls, those included that wait, by handles that come, leave and die.
//!
//! In honest company nobody writes garbage, and a plain queue ([`Model`]) says what each call must
//! have come to: nothing lost, nothing twice but marked, all in order, no wait over before its
//! time, and after a death everything that was committed still there. Otherwise a peer writes
//! garbage between the calls or in their midst, and calls must do no more than come back: the
//! fuzzer's build counts how often each looks at the segment, and one that does so too often is a
//! finding.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use ultrafastring::{
    AsyncConsumer, AsyncProducer, Consumer, INLINE_SIZE, Lanes, PriorityClass, Producer, Readiness,
    Received, RecvError, Redelivery, SendError, UltraFastRing, Wait, WaitStrategy, wait_any,
};

use crate::shapes::{Shape, of_each_shape};
use crate::{LARGEST, MOST_STEPS, Making, Memory, SCRIBBLER, Spot, Word, Write};

/// Handles of each side at a time.
const HANDLES: usize = 2;

/// Entries of the table in honest company: for all handles, those of the calls on the ring, those
/// at the end, and some of the dead.
const ENTRIES: usize = 12;

/// Bytes of a message that say which it is.
const NUMBER: usize = 8;

/// Looks that any call may take, whatever a peer does. A call may be led elsewhere a few thousand
/// times and look a few dozen times in each; one that begins again and again takes more than ten
/// times as many.
const MOST_LOOKS: u64 = 400_000;

/// And more for each microsecond that it was told to wait.
const LOOKS_PER_MICROSECOND: u64 = 500;

/// How often something is tried that must come to be in the end. Elsewhere than in the fuzzer's
/// build a handle has to be stuck for 100 microseconds before it looks around.
const TRIES: u32 = if cfg!(fuzzing) { 256 } else { 1 << 15 };

/// Who is there beside the handles.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq)]
enum Company {
    Honest,
    /// Writes garbage between the calls.
    Between,
    /// Writes garbage at any time.
    During,
}

/// What becomes of a reservation.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Fate {
    Commit,
    Cancel,
    Forget,
}

/// How a message is received by a call that returns at once.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Way {
    Fast,
    Message,
    Vector,
    Borrow,
    BorrowAndForget,
}

/// How long to wait.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Time {
    /// Not at all.
    Past,
    Zero,
    Short,
    Longer,
}

impl Time {
    fn length(self) -> Duration {
        Duration::from_micros(match self {
            Self::Past | Self::Zero => 0,
            Self::Short => 20,
            Self::Longer => 300,
        })
    }

    fn deadline(self, now: Instant) -> Instant {
        match self {
            Self::Past => now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
            _ => now + self.length(),
        }
    }
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Who {
    Sender(bool),
    Receiver(bool),
}

/// One call, or one act of a hostile peer.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Act {
    Write(Spot, Word),
    /// Commits, or abandons, the lap that the consumers are at.
    Chase(bool),
    /// Sets a counter to one of the last numbers that there are.
    Beyond(u8, u8),
    Send(bool, u8, u8),
    /// By a length of time, or a deadline.
    SendTimed(bool, u8, u8, Time, bool),
    SendBatch(bool, u8, u8),
    Reserve(bool, u8, u8, Fate),
    Receive(bool, Way),
    ReceiveTimed(bool, Time, bool),
    ReceiveBatch(bool, u8),
    Wait(Who, u8, Time),
    Arm(Who, u8),
    WaitAny(u8, Time),
    /// Polls a handle of an event loop, so often, and takes it out again.
    Poll(Who, u8, u8),
    Flush(Who),
    Come(Who),
    Leave(Who),
    /// As if the process were gone: what it showed stays, its locks are given back.
    Die(Who),
    Close(Option<Who>),
    Reopen,
    Repair,
    Look,
    RingSend(u8, u8),
    RingReceive,
    EndWhenDeserted(bool, bool),
    Strategy(Who, u8),
}

impl Act {
    /// What a hostile peer writes, if this is an act of one.
    fn write(self) -> Option<Write> {
        Some(match self {
            Self::Write(spot, word) => Write::Word(spot, word),
            Self::Chase(abandoned) => Write::Chase(abandoned),
            Self::Beyond(counter, less) => Write::Word(Spot::Counter(counter), Word::End(less % 8)),
            _ => return None,
        })
    }
}

/// A handle, and what it is woken by.
struct Taken<H> {
    handle: H,
    entry: usize,
    readiness: Option<Readiness>,
    /// The number of the last wait for several handles whose looks began with this one; 0: none.
    began: u64,
}

impl<H> Taken<H> {
    fn new(handle: H, entry: usize) -> Self {
        Self { handle, entry, readiness: None, began: 0 }
    }
}

/// A message received.
struct Got {
    bytes: Vec<u8>,
    class: PriorityClass,
    redelivered: bool,
}

impl Got {
    fn new(bytes: Vec<u8>, about: &Received) -> Self {
        assert_eq!(bytes.len(), about.size);
        Self { bytes, class: about.class, redelivered: about.redelivered }
    }
}

/// What is known of one position.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// By this sender, which lives.
    Claimed(usize),
    /// The same, or abandoned: a wait that finds room at once takes nothing back.
    Perhaps(usize),
    /// By one that is dead.
    Lost,
    Abandoned,
    Committed,
}

impl State {
    /// Whether that living sender has claimed it, and perhaps taken it back.
    fn is_claim_of(self, sender: usize) -> bool {
        matches!(self, Self::Claimed(by) | Self::Perhaps(by) if by == sender)
    }
}

#[derive(Clone, Debug)]
struct Item {
    position: u64,
    state: State,
    number: u64,
    size: usize,
    class: PriorityClass,
    /// Whether an exclusive consumer died that had it.
    marked: bool,
}

impl Item {
    /// Whether a receiver may pass over it.
    fn may_be_passed(&self) -> bool {
        matches!(self.state, State::Abandoned | State::Lost | State::Perhaps(_))
    }
}

/// What the ring must be like, if it is a queue.
struct Model {
    limit: u64,
    /// Credits that are kept from all but the most urgent class.
    reserved: u64,
    exclusive: [bool; 2],
    discards: bool,
    /// From the consumers' head to the producers'.
    queue: VecDeque<Item>,
    head: u64,
    tail: u64,
    /// What receivers hold that live.
    lent: [Option<Item>; HANDLES],
    /// What receivers of a shared side held that died.
    dead: Vec<Item>,
    /// Whether any has died.
    deaths: bool,
    closed: bool,
    /// Exclusive senders may send once before they notice.
    noticed: [bool; HANDLES],
    /// Whether a call on the ring has sent, whose handle lives on.
    seated: bool,
    sent: u64,
}

/// Bytes of the message of that number.
fn contents(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![(number as u8).wrapping_mul(31) ^ 0x5a; size];
    bytes[..NUMBER].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn class_of(number: u8) -> PriorityClass {
    PriorityClass::ALL[usize::from(number % 5)]
}

impl Model {
    fn new<S: Shape>(ring: &UltraFastRing) -> Self {
        Self {
            limit: ring.settings().credit_limit,
            reserved: ring.settings().reserves[0],
            // The member of an exclusive group claims as others do.
            exclusive: [!S::producers_share(), !S::consumers_claim()],
            discards: ring.settings().redelivery == Redelivery::Discard,
            queue: VecDeque::new(),
            head: 0,
            tail: 0,
            lent: [const { None }; HANDLES],
            dead: Vec::new(),
            deaths: false,
            closed: false,
            noticed: [false; HANDLES],
            seated: false,
            sent: 0,
        }
    }

    fn push(&mut self, state: State, number: u64, size: usize, class: PriorityClass) {
        let position = self.tail;
        self.queue.push_back(Item { position, state, number, size, class, marked: false });
        self.tail += 1;
    }

    /// Messages of `class` for which there is room; `certainly`: whoever has to be found dead
    /// first.
    fn room(&self, class: PriorityClass, certainly: bool) -> u64 {
        let dead = self.dead.iter().filter(|_| certainly || !self.discards);
        let held = self.lent.iter().flatten().chain(dead);
        let frontier = held.map(|item| item.position).fold(self.head, u64::min);
        let reserved = if class == PriorityClass::RealTime { 0 } else { self.reserved };
        (self.limit - reserved).saturating_sub(self.tail - frontier)
    }

    /// Whether the next call of any receiver must find a message.
    fn is_certain(&self) -> bool {
        let next = self.queue.iter().find(|item| item.state != State::Abandoned);
        next.is_some_and(|item| item.state == State::Committed)
    }

    /// Whether no call of any receiver can find one.
    fn is_hopeless(&self) -> bool {
        let next =
            self.queue.iter().find(|item| !matches!(item.state, State::Abandoned | State::Lost));
        !self.deaths && next.is_none_or(|item| item.state != State::Committed)
    }

    /// Any call of a sender takes back what it has forgotten.
    fn called_by_sender(&mut self, which: usize, becomes: State) {
        for item in &mut self.queue {
            if item.state.is_claim_of(which) {
                item.state = becomes;
            }
        }
    }

    /// Any call of a receiver releases what it has forgotten.
    fn called_by_receiver(&mut self, which: usize) {
        self.lent[which] = None;
    }

    fn receiver_died(&mut self, which: usize) {
        self.deaths = true;
        let Some(mut item) = self.lent[which].take() else { return };
        if self.exclusive[1] {
            item.marked = true;
            self.head = item.position;
            self.queue.push_front(item);
        } else {
            self.dead.push(item);
        }
    }

    /// Takes off what consumers have passed over, as the ring says.
    fn follow(&mut self, head: u64) {
        while self.head < head {
            let item = self.queue.pop_front().expect("the head is beyond all that was claimed");
            let passed = item.may_be_passed() || item.marked && self.discards;
            assert!(passed, "{item:?} was passed over and not received");
            self.head = item.position + 1;
        }
    }

    fn received(&mut self, got: &Got, to_keep: Option<usize>) {
        let bytes = &got.bytes[..];
        assert!(bytes.len() >= NUMBER, "{bytes:?} was never sent");
        let number = u64::from_le_bytes(*bytes.first_chunk().expect("as many bytes"));
        let item = if got.redelivered && !self.exclusive[1] {
            let at = self.dead.iter().position(|item| item.number == number);
            let at = at.unwrap_or_else(|| panic!("{number} is marked and nobody dead had it"));
            assert!(!self.discards, "{number} was to be discarded");
            self.dead.remove(at)
        } else {
            let skipped = self.queue.iter().take_while(|item| item.may_be_passed()).count();
            self.queue.drain(..skipped);
            let item = self.queue.pop_front().unwrap_or_else(|| panic!("{number} out of nothing"));
            assert_eq!(item.state, State::Committed, "{number} came before {item:?}");
            self.head = item.position + 1;
            assert_eq!(item.marked, got.redelivered, "whether {item:?} came again");
            item
        };
        assert_eq!(item.number, number, "{item:?} was the next");
        assert_eq!((item.size, item.class), (bytes.len(), got.class), "of {number}");
        assert_eq!(bytes, contents(number, item.size), "{number} is not what was sent");
        if let Some(which) = to_keep {
            self.lent[which] = Some(item);
        }
    }

    fn got_nothing(&self, error: RecvError, room: usize, senders: usize) {
        match error {
            RecvError::Empty | RecvError::TimedOut => {
                assert!(!self.is_certain(), "{error:?} with {:?} in the ring", self.queue.front());
            }
            RecvError::Closed => {
                let more = |item: &Item| matches!(item.state, State::Committed | State::Claimed(_));
                assert!(self.closed && !self.queue.iter().any(more), "closed, with more to come");
            }
            RecvError::Deserted => {
                assert!(!self.is_certain() && senders == 0 && !self.seated, "deserted");
            }
            RecvError::BufferTooSmall { needed, .. } => {
                let mut all = self.queue.iter().chain(&self.dead);
                assert!(needed > room && all.any(|item| item.size == needed), "{error:?}");
            }
            _ => panic!("{error:?}"),
        }
    }

    /// Whether a sender may have been refused for want of room.
    fn must_have_room(&self, class: PriorityClass) -> bool {
        !self.closed && self.room(class, true) != 0
    }

    /// What an error of a sender's says must be so. Want of room is another matter.
    fn refused(&mut self, error: SendError) {
        match error {
            SendError::Closed => assert!(self.closed, "it is not closed"),
            SendError::Full | SendError::OutOfCredit | SendError::TimedOut => {
                // A closed exclusive side is noticed late.
                assert!(!self.closed || self.exclusive[0], "closed, and called {error:?}");
            }
            _ => panic!("{error:?}"),
        }
    }

    /// `count` messages went, of those from `self.sent` on.
    fn went(&mut self, which: Option<usize>, sizes: &[usize], class: PriorityClass) {
        assert!(
            sizes.len() as u64 <= self.room(class, false),
            "more was sent than there is credit for"
        );
        if self.closed {
            let late =
                which.is_some_and(|which| !std::mem::replace(&mut self.noticed[which], true));
            assert!(self.exclusive[0] && late, "sent, though it was closed");
        }
        for &size in sizes {
            self.push(State::Committed, self.sent, size, class);
            self.sent += 1;
        }
    }
}

/// A ring, its handles, and what is known of it.
struct Play<S: Shape> {
    ring: UltraFastRing,
    memory: Memory,
    senders: [Option<Taken<Producer<S::Producers>>>; HANDLES],
    receivers: [Option<Taken<Consumer<S::Consumers>>>; HANDLES],
    model: Option<Model>,
    /// In honest company a member of the second group, if there is one, which takes all at once:
    /// what holds producers back is the first.
    second: Option<Second>,
    /// Waits for several handles.
    waits: u64,
}

/// The member of a second group, and how many messages it has received: all, once and in order.
struct Second {
    member: Consumer,
    received: u64,
}

impl Second {
    fn receive_all(&mut self) {
        let mut bytes = Vec::new();
        // Some things that are in its way it has to be stuck at first; producers look for them too.
        while let Ok(about) = self.member.try_recv_into(&mut bytes) {
            assert!(!about.redelivered, "nobody of this group has died");
            assert_eq!(bytes, contents(self.received, bytes.len()), "to the second group");
            self.received += 1;
        }
        self.member.flush();
    }
}

/// Lets a call look so often as one may that waits for so long.
fn allow(time: Duration) {
    #[cfg(fuzzing)]
    ultrafastring::looks::allow(MOST_LOOKS + LOOKS_PER_MICROSECOND * time.as_micros() as u64);
    let _ = (time, MOST_LOOKS, LOOKS_PER_MICROSECOND);
}

/// Tries until it gives something, a number of times.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    (0..TRIES).find_map(|_| {
        allow(Duration::ZERO);
        let it = attempt();
        if it.is_none() && !cfg!(fuzzing) {
            std::thread::sleep(Duration::from_micros(50));
        }
        it
    })
}

/// Polls `poll` up to `times` times in a runtime.
fn polled<T>(times: u8, mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> Option<T> {
    let mut left = times;
    runtime(|runtime| {
        runtime.block_on(poll_fn(|cx| match poll(cx) {
            Poll::Ready(it) => Poll::Ready(Some(it)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }))
    })
}

fn runtime<T>(work: impl FnOnce(&tokio::runtime::Runtime) -> T) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(work)
}

impl<S: Shape> Play<S> {
    fn sizes(&self, size: u8, count: usize) -> Vec<usize> {
        let max = self.ring.max_message();
        let least = if self.model.is_some() { NUMBER } else { 0 };
        (0..count)
            .map(|nth| least + (usize::from(size) * 3 + 5 * nth) % (max - least + 1))
            .collect()
    }

    /// The messages of these sizes that are to be sent next.
    fn messages(&self, sizes: &[usize]) -> Vec<Vec<u8>> {
        match &self.model {
            Some(model) => {
                (model.sent..).zip(sizes).map(|(number, &size)| contents(number, size)).collect()
            }
            None => sizes.iter().map(|&size| vec![0xa5; size]).collect(),
        }
    }

    fn come(&mut self, who: Who) {
        let free = match who {
            Who::Sender(which) => self.senders[usize::from(which)].is_none(),
            Who::Receiver(which) => self.receivers[usize::from(which)].is_none(),
        };
        if !free {
            return;
        }
        match who {
            Who::Sender(which) => {
                let Some(handle) = S::try_producer(&self.ring) else { return };
                let entry = handle.participant();
                self.senders[usize::from(which)] = Some(Taken::new(handle, entry));
                if let Some(model) = &mut self.model {
                    model.closed = false;
                    model.noticed = [false; HANDLES];
                }
            }
            Who::Receiver(which) => {
                let Some(handle) = S::try_consumer(&self.ring) else { return };
                let entry = handle.participant();
                self.receivers[usize::from(which)] = Some(Taken::new(handle, entry));
            }
        }
    }

    fn leave(&mut self, who: Who) {
        match who {
            Who::Sender(which) => {
                let which = usize::from(which);
                drop(self.senders[which].take());
                self.note_sender(which);
            }
            Who::Receiver(which) => {
                let which = usize::from(which);
                drop(self.receivers[which].take());
                self.note_receiver(which);
            }
        }
    }

    fn die(&mut self, who: Who) {
        match who {
            Who::Sender(which) => {
                let which = usize::from(which);
                let Some(taken) = self.senders[which].take() else { return };
                std::mem::forget(taken.handle);
                self.memory.unlock_entry(taken.entry);
                if !S::producers_share() {
                    self.memory.unlock_side(0);
                }
                if let Some(model) = &mut self.model {
                    model.called_by_sender(which, State::Lost);
                }
            }
            Who::Receiver(which) => {
                let which = usize::from(which);
                let Some(taken) = self.receivers[which].take() else { return };
                // A dead one's entry whose message it was delivering, too.
                let lent = self.model.as_ref().and_then(|model| model.lent[which].as_ref());
                let lent = lent.map(|item| item.position);
                let alive = |index: usize| {
                    self.receivers.iter().flatten().any(|other| other.entry == index)
                };
                let adopted = self.ring.participants().find(|it| {
                    !alive(it.index) && it.hold.is_some_and(|(first, _)| Some(first) == lent)
                });
                if let Some(adopted) = adopted {
                    self.memory.unlock_entry(adopted.index);
                }
                std::mem::forget(taken.handle);
                self.memory.unlock_entry(taken.entry);
                match (S::consumers_share(), S::groups().is_empty()) {
                    (true, _) => {}
                    (false, true) => self.memory.unlock_side(1),
                    (false, false) => self.memory.unlock_member(),
                }
                if let Some(model) = &mut self.model {
                    model.receiver_died(which);
                }
            }
        }
    }

    fn note_sender(&mut self, which: usize) {
        if let Some(model) = &mut self.model {
            model.called_by_sender(which, State::Abandoned);
        }
    }

    fn note_receiver(&mut self, which: usize) {
        if let Some(model) = &mut self.model {
            model.called_by_receiver(which);
        }
    }

    /// What a call that sends one message came to, and what it must come to if it is tried again.
    fn sends(
        &mut self,
        which: bool,
        class: PriorityClass,
        size: u8,
        time: Duration,
        send: impl Fn(&mut Producer<S::Producers>, &[u8]) -> Result<(), SendError>,
    ) {
        let sizes = self.sizes(size, 1);
        let message = self.messages(&sizes).remove(0);
        let which = usize::from(which);
        let Some(taken) = &mut self.senders[which] else { return };
        allow(time);
        let begun = Instant::now();
        let mut outcome = send(&mut taken.handle, &message);
        let Some(model) = &mut self.model else { return };
        model.called_by_sender(which, State::Abandoned);
        if let Err(error) = outcome {
            model.refused(error);
            if error == SendError::TimedOut {
                assert!(begun.elapsed() >= time, "a time-out before its time");
                assert!(!model.must_have_room(class), "timed out, with room");
            }
            if error != SendError::Closed && model.must_have_room(class) {
                let sent = eventually(|| send(&mut taken.handle, &message).ok());
                assert!(sent.is_some(), "refused for ever, with room: {error:?}");
                outcome = Ok(());
            }
        }
        if outcome.is_ok() {
            model.went(Some(which), &sizes, class);
        }
    }

    fn send_batch(&mut self, which: bool, class: PriorityClass, size: u8, count: usize) {
        let sizes = self.sizes(size, count);
        let messages = self.messages(&sizes);
        let which = usize::from(which);
        let Some(taken) = &mut self.senders[which] else { return };
        let outcome = taken.handle.send_batch(&messages, class);
        if let Ok(sent) = outcome {
            assert!((1..=count).contains(&sent));
        }
        let Some(model) = &mut self.model else { return };
        model.called_by_sender(which, State::Abandoned);
        match outcome {
            Ok(sent) => model.went(Some(which), &sizes[..sent], class),
            Err(error) => model.refused(error),
        }
    }

    fn reserve(&mut self, which: bool, class: PriorityClass, size: u8, fate: Fate) {
        let sizes = self.sizes(size, 1);
        let message = self.messages(&sizes).remove(0);
        let which = usize::from(which);
        let Some(taken) = &mut self.senders[which] else { return };
        let outcome = taken.handle.try_reserve(sizes[0], class).map(|mut guard| {
            guard.copy_from_slice(&message);
            match fate {
                Fate::Commit => guard.commit(),
                Fate::Cancel => guard.cancel(),
                Fate::Forget => std::mem::forget(guard),
            }
        });
        let Some(model) = &mut self.model else { return };
        model.called_by_sender(which, State::Abandoned);
        match (outcome, fate) {
            (Ok(()), Fate::Commit) => model.went(Some(which), &sizes, class),
            // An exclusive producer has told nobody.
            (Ok(()), _) if model.exclusive[0] => {}
            (Ok(()), _) => {
                assert!(model.room(class, false) != 0, "more was claimed than there is credit for");
                assert!(!model.closed, "claimed, though it was closed");
                let state = match fate {
                    Fate::Forget => State::Claimed(which),
                    _ => State::Abandoned,
                };
                model.push(state, u64::MAX, 0, class);
            }
            (Err(error), _) => model.refused(error),
        }
    }

    fn living_senders(&self) -> usize {
        self.senders.iter().flatten().count()
    }

    /// What a call came to that receives one message, with the bytes there were room for.
    fn received(
        &mut self,
        which: Option<usize>,
        outcome: Result<Got, RecvError>,
        room: usize,
        keeps: bool,
    ) {
        if let Ok(got) = &outcome {
            assert!(got.bytes.len() <= self.ring.max_message());
        }
        let senders = self.living_senders();
        let Some(model) = &mut self.model else { return };
        if let Some(which) = which {
            model.called_by_receiver(which);
        }
        match outcome {
            Ok(got) => model.received(&got, which.filter(|_| keeps)),
            Err(RecvError::NoEntry | RecvError::HasLanes) if which.is_none() => {}
            Err(error) => model.got_nothing(error, room, senders),
        }
    }

    fn receive(&mut self, which: bool, way: Way) {
        let which = usize::from(which);
        let max = self.ring.max_message();
        let Some(taken) = &mut self.receivers[which] else { return };
        let (mut room, mut keeps) = (max, false);
        let it = &mut taken.handle;
        let outcome = match way {
            // It does not say whether a message comes again.
            Way::Fast | Way::Message => {
                room = INLINE_SIZE;
                it.try_recv().map(|message| Got::new(message.to_vec(), &message.about()))
            }
            Way::Vector => {
                let mut bytes = Vec::new();
                it.try_recv_into(&mut bytes).map(|about| Got::new(bytes, &about))
            }
            Way::Borrow => it.try_borrow().map(|guard| Got::new(guard.to_vec(), &guard.about())),
            Way::BorrowAndForget => it.try_borrow().map(|guard| {
                let it = Got::new(guard.to_vec(), &guard.about());
                keeps = true;
                std::mem::forget(guard);
                it
            }),
        };
        self.received(Some(which), outcome, room, keeps);
    }

    fn receive_timed(&mut self, which: bool, time: Time, by_deadline: bool) {
        let which = usize::from(which);
        let Some(taken) = &mut self.receivers[which] else { return };
        allow(time.length());
        let begun = Instant::now();
        let it = &mut taken.handle;
        let outcome = match by_deadline {
            true => it.recv_deadline(time.deadline(begun)),
            false => it.recv_timeout(time.length()),
        };
        if matches!(outcome, Err(RecvError::TimedOut)) {
            assert!(begun.elapsed() >= time.length(), "a time-out before its time");
        }
        let outcome = outcome.map(|message| Got::new(message.to_vec(), &message.about()));
        self.received(Some(which), outcome, INLINE_SIZE, false);
    }

    fn receive_batch(&mut self, which: bool, count: usize) {
        const ROOM: usize = LARGEST + 1;
        let which = usize::from(which);
        let Some(taken) = &mut self.receivers[which] else { return };
        let mut buffers = [[0; ROOM]; 8];
        let buffers = &mut buffers[..count];
        let outcome = taken.handle.recv_batch(buffers);
        match outcome {
            Ok(batch) => {
                assert!((1..=count).contains(&batch.len()));
                for (buffer, about) in buffers.iter().zip(&batch) {
                    let got = Got::new(buffer[..about.size].to_vec(), about);
                    self.received(Some(which), Ok(got), ROOM, false);
                }
            }
            Err(error) => self.received(Some(which), Err(error), ROOM, false),
        }
    }

    /// What a wait of a sender's came to: whether there is room, or nothing in time.
    fn sender_waited(
        &mut self,
        which: usize,
        class: PriorityClass,
        outcome: Result<bool, SendError>,
    ) {
        let Some(model) = &mut self.model else { return };
        let found = outcome == Ok(true);
        model.called_by_sender(which, if found { State::Perhaps(which) } else { State::Abandoned });
        match outcome {
            // A shared side's handle goes by where it last saw the others.
            Ok(true) => {
                let is_so = !model.exclusive[0] || model.room(class, false) != 0;
                assert!(is_so, "a wait for room ended, and there is none");
            }
            Ok(false) => {
                assert!(!model.must_have_room(class), "a wait for room, and there is some")
            }
            Err(error) => model.refused(error),
        }
    }

    /// The same of a receiver's.
    fn receiver_waited(&mut self, which: usize, outcome: Result<bool, RecvError>) {
        let senders = self.living_senders();
        let Some(model) = &mut self.model else { return };
        model.called_by_receiver(which);
        match outcome {
            // As above.
            Ok(true) => {
                let is_so = !model.exclusive[1] || !model.is_hopeless();
                assert!(is_so, "a wait ended, and there is nothing");
            }
            Ok(false) => assert!(!model.is_certain(), "a wait, with a message there"),
            Err(error) => model.got_nothing(error, usize::MAX, senders),
        }
    }

    fn wait(&mut self, who: Who, class: PriorityClass, time: Time) {
        allow(time.length());
        let begun = Instant::now();
        let deadline = Some(time.deadline(begun));
        let in_time = || assert!(begun.elapsed() >= time.length(), "a time-out before its time");
        match who {
            Who::Sender(which) => {
                let which = usize::from(which);
                let Some(taken) = &mut self.senders[which] else { return };
                let outcome = taken.handle.wait(class, deadline);
                let outcome = match outcome {
                    Err(SendError::TimedOut) => {
                        in_time();
                        Ok(false)
                    }
                    other => other.map(|()| true),
                };
                self.sender_waited(which, class, outcome);
            }
            Who::Receiver(which) => {
                let which = usize::from(which);
                let Some(taken) = &mut self.receivers[which] else { return };
                let outcome = taken.handle.wait(deadline);
                let outcome = match outcome {
                    Err(RecvError::TimedOut) => {
                        in_time();
                        Ok(false)
                    }
                    other => other.map(|()| true),
                };
                self.receiver_waited(which, outcome);
            }
        }
    }

    fn arm(&mut self, who: Who, class: PriorityClass) {
        match who {
            Who::Sender(which) => {
                let which = usize::from(which);
                let Some(taken) = &mut self.senders[which] else { return };
                if taken.readiness.is_none() {
                    taken.readiness = taken.handle.readiness().ok();
                }
                let outcome =
                    taken.readiness.as_ref().map(|readiness| taken.handle.arm(class, readiness));
                if let Some(outcome) = outcome {
                    self.sender_waited(which, class, outcome);
                }
            }
            Who::Receiver(which) => {
                let which = usize::from(which);
                let Some(taken) = &mut self.receivers[which] else { return };
                if taken.readiness.is_none() {
                    taken.readiness = taken.handle.readiness().ok();
                }
                let outcome = taken.readiness.as_ref().map(|readiness| taken.handle.arm(readiness));
                if let Some(outcome) = outcome {
                    self.receiver_waited(which, outcome);
                }
            }
        }
    }

    /// Whether the handle there has forgotten something that it takes back when it is asked.
    fn is_forgetful(&self, place: usize) -> bool {
        let Some(model) = &self.model else { return false };
        match place.checked_sub(HANDLES) {
            Some(receiver) => model.lent[receiver].is_some(),
            None => model.queue.iter().any(|item| item.state.is_claim_of(place)),
        }
    }

    /// When looks at several last began with the handle there, if there is one.
    fn began(&mut self, place: usize) -> Option<&mut u64> {
        match place.checked_sub(HANDLES) {
            Some(receiver) => self.receivers[receiver].as_mut().map(|taken| &mut taken.began),
            None => self.senders[place].as_mut().map(|taken| &mut taken.began),
        }
    }

    /// The handles to wait for, in their order in the call, with when looks last began with each.
    /// Of those that have forgotten something there is one at most. It is the first to be looked
    /// at, so that it is known to have been asked: whose turn comes before it stays away.
    fn waited_for(&mut self, mask: u8) -> Vec<(usize, u64)> {
        let mut wanted = Vec::new();
        for place in (0..2 * HANDLES).filter(|place| mask & (1 << place) != 0) {
            wanted.extend(self.began(place).map(|&mut began| (place, began)));
        }
        let first = wanted.iter().copied().find(|&(place, _)| self.is_forgetful(place));
        wanted.retain(|&(place, began)| {
            !self.is_forgetful(place) && first.is_none_or(|(_, first)| first <= began)
        });
        wanted.splice(0..0, first);
        wanted
    }

    /// Waits for some of the handles.
    fn wait_any(&mut self, mask: u8, time: Time) {
        let wanted = self.waited_for(mask);
        // The look begins with the one with which none has begun for longest, and goes round.
        let from = (0..wanted.len()).min_by_key(|&nth| wanted[nth].1);
        let Some(from) = from else { return };
        self.waits += 1;
        let waits = self.waits;
        if let Some(began) = self.began(wanted[from].0) {
            *began = waits;
        }
        let mut handles: Vec<(usize, &mut dyn Wait)> = Vec::new();
        for (place, taken) in self.senders.iter_mut().enumerate() {
            if let Some(taken) = taken {
                handles.push((place, &mut taken.handle));
            }
        }
        for (place, taken) in self.receivers.iter_mut().enumerate() {
            if let Some(taken) = taken {
                handles.push((HANDLES + place, &mut taken.handle));
            }
        }
        let nth_of = |place: usize| wanted.iter().position(|&(it, _)| it == place);
        handles.retain(|&(place, _)| nth_of(place).is_some());
        handles.sort_by_key(|&(place, _)| nth_of(place));
        let mut handles: Vec<&mut dyn Wait> =
            handles.into_iter().map(|(_, handle)| handle).collect();
        allow(time.length());
        let begun = Instant::now();
        let ready = wait_any(&mut handles, Some(time.deadline(begun)));
        if ready.is_none() {
            assert!(begun.elapsed() >= time.length(), "a time-out before its time");
        }
        let round = (from..wanted.len()).chain(0..from);
        // Those up to the one that was ready were asked; the others perhaps, in an earlier round.
        let last = round.clone().position(|nth| Some(nth) == ready).unwrap_or(wanted.len());
        let senders = self.living_senders();
        for nth in round.take(last + 1) {
            let (place, is_ready) = (wanted[nth].0, Some(nth) == ready);
            let closed = self.model.as_ref().is_some_and(|model| model.closed);
            let deserted = senders == 0;
            if place < HANDLES {
                if is_ready && closed {
                    if let Some(model) = &mut self.model {
                        model.called_by_sender(place, State::Perhaps(place));
                    }
                } else {
                    // It waits for the class that was last refused, whichever that was.
                    let class =
                        if is_ready { PriorityClass::RealTime } else { PriorityClass::Normal };
                    self.sender_waited(place, class, Ok(is_ready));
                }
            } else if is_ready && (closed || deserted) {
                self.note_receiver(place - HANDLES);
            } else {
                self.receiver_waited(place - HANDLES, Ok(is_ready));
            }
        }
    }

    fn poll(&mut self, who: Who, class: u8, times: u8) {
        let times = times % 4;
        match who {
            Who::Sender(which) => {
                let sizes = self.sizes(class, 1);
                let message = self.messages(&sizes).remove(0);
                let class = class_of(class);
                let which = usize::from(which);
                let Some(taken) = self.senders[which].take() else { return };
                let Taken { handle, entry, readiness, began } = taken;
                let (handle, outcome) = match runtime(|runtime| {
                    let _inside = runtime.enter();
                    AsyncProducer::new(handle)
                }) {
                    Ok(mut it) => {
                        let outcome = polled(times, |cx| it.poll_send(cx, &message, class));
                        (Some(it.into_inner()), outcome)
                    }
                    Err(_) => (None, None),
                };
                // Without a descriptor for it, it is gone.
                let gone = handle.is_none();
                self.senders[which] =
                    handle.map(|handle| Taken { handle, entry, readiness, began });
                match outcome {
                    None if gone => self.note_sender(which),
                    None => self.sender_waited(which, class, Ok(false)),
                    Some(Err(error)) => self.sender_waited(which, class, Err(error)),
                    Some(Ok(())) => {
                        self.note_sender(which);
                        if let Some(model) = &mut self.model {
                            model.went(Some(which), &sizes, class);
                        }
                    }
                }
            }
            Who::Receiver(which) => {
                let which = usize::from(which);
                let Some(taken) = self.receivers[which].take() else { return };
                let Taken { handle, entry, readiness, began } = taken;
                let (handle, outcome) = match runtime(|runtime| {
                    let _inside = runtime.enter();
                    AsyncConsumer::new(handle)
                }) {
                    Ok(mut it) => {
                        let outcome = polled(times, |cx| it.poll_recv(cx));
                        (Some(it.into_inner()), outcome)
                    }
                    Err(_) => (None, None),
                };
                let gone = handle.is_none();
                self.receivers[which] =
                    handle.map(|handle| Taken { handle, entry, readiness, began });
                match outcome {
                    None if gone => self.note_receiver(which),
                    None => self.receiver_waited(which, Ok(false)),
                    Some(outcome) => {
                        let outcome =
                            outcome.map(|message| Got::new(message.to_vec(), &message.about()));
                        self.received(Some(which), outcome, INLINE_SIZE, false);
                    }
                }
            }
        }
    }

    fn flush(&mut self, who: Who) {
        match who {
            Who::Sender(which) => {
                if let Some(taken) = &mut self.senders[usize::from(which)] {
                    taken.handle.flush();
                    self.note_sender(usize::from(which));
                }
            }
            Who::Receiver(which) => {
                if let Some(taken) = &mut self.receivers[usize::from(which)] {
                    taken.handle.flush();
                    self.note_receiver(usize::from(which));
                }
            }
        }
    }

    fn close(&mut self, by: Option<Who>) {
        match by {
            None => self.ring.close(),
            Some(Who::Sender(which)) => {
                let Some(taken) = &mut self.senders[usize::from(which)] else { return };
                taken.handle.close();
                self.note_sender(usize::from(which));
                if let Some(model) = &mut self.model {
                    model.noticed[usize::from(which)] = true;
                }
            }
            Some(Who::Receiver(which)) => {
                let Some(taken) = &mut self.receivers[usize::from(which)] else { return };
                taken.handle.close();
                self.note_receiver(usize::from(which));
            }
        }
        if let Some(model) = &mut self.model {
            model.closed = true;
        }
    }

    fn strategy(&mut self, who: Who, which: u8) {
        let strategy = [
            WaitStrategy::Spin,
            WaitStrategy::SpinThenYield,
            WaitStrategy::SpinThenPark,
            WaitStrategy::Park,
        ][usize::from(which % 4)];
        match who {
            Who::Sender(which) => {
                if let Some(taken) = &mut self.senders[usize::from(which)] {
                    taken.handle.set_wait_strategy(strategy);
                }
            }
            Who::Receiver(which) => {
                if let Some(taken) = &mut self.receivers[usize::from(which)] {
                    taken.handle.set_wait_strategy(strategy);
                }
            }
        }
    }

    fn ring_send(&mut self, class: PriorityClass, size: u8) {
        let sizes = self.sizes(size, 1);
        let message = self.messages(&sizes).remove(0);
        let outcome = self.ring.send_fast(&message, class);
        let Some(model) = &mut self.model else { return };
        match outcome {
            Ok(()) => {
                model.seated = true;
                model.went(None, &sizes, class);
            }
            Err(SendError::NoEntry | SendError::HasLanes) => {}
            Err(error) => {
                model.seated = true;
                model.refused(error);
            }
        }
    }

    fn act(&mut self, act: Act) {
        if std::env::var_os("UFR_SHOW").is_some() {
            eprintln!("  {act:?}, at {:?}", self.ring.positions());
        }
        allow(Duration::ZERO);
        match act {
            Act::Write(..) | Act::Chase(_) | Act::Beyond(..) => {}
            Act::Send(which, class, size) => {
                let class = class_of(class);
                self.sends(which, class, size, Duration::ZERO, |sender, message| {
                    sender.send_fast(message, class)
                });
            }
            Act::SendTimed(which, class, size, time, by_deadline) => {
                let (class, length) = (class_of(class), time.length());
                self.sends(which, class, size, length, |sender, message| match by_deadline {
                    true => sender.send_deadline(message, class, time.deadline(Instant::now())),
                    false => sender.send_timeout(message, class, length),
                });
            }
            Act::SendBatch(which, class, count) => {
                self.send_batch(which, class_of(class), class, usize::from(count % 16) + 1);
            }
            Act::Reserve(which, class, size, fate) => {
                self.reserve(which, class_of(class), size, fate);
            }
            Act::Receive(which, way) => self.receive(which, way),
            Act::ReceiveTimed(which, time, by_deadline) => {
                self.receive_timed(which, time, by_deadline);
            }
            Act::ReceiveBatch(which, count) => {
                self.receive_batch(which, usize::from(count % 8) + 1);
            }
            Act::Wait(who, class, time) => self.wait(who, class_of(class), time),
            Act::Arm(who, class) => self.arm(who, class_of(class)),
            Act::WaitAny(mask, time) => self.wait_any(mask, time),
            Act::Poll(who, class, times) => self.poll(who, class, times),
            Act::Flush(who) => self.flush(who),
            Act::Come(who) => self.come(who),
            Act::Leave(who) => self.leave(who),
            Act::Die(who) => self.die(who),
            Act::Close(by) => self.close(by),
            Act::Reopen => {
                self.ring.reopen();
                if let Some(model) = &mut self.model {
                    model.closed = false;
                    model.noticed = [false; HANDLES];
                }
            }
            Act::Repair => drop(self.ring.repair()),
            Act::Look => {
                let _ = (self.ring.stats(), self.ring.len());
                let findings = self.ring.examine();
                if let (Some(_), Ok(findings)) = (&self.model, findings) {
                    let damage = findings.iter().find(|finding| finding.is_damage());
                    assert!(damage.is_none(), "{damage:?}");
                }
            }
            Act::RingSend(class, size) => self.ring_send(class_of(class), size),
            Act::RingReceive => {
                let mut buffer = [0; LARGEST + 1];
                // It does not say whether a message comes again, so it is not asked where one may.
                if self.model.as_ref().is_none_or(|model| !model.deaths) {
                    let outcome = self.ring.recv_fast(&mut buffer);
                    let outcome = outcome.map(|(size, class, _)| {
                        let bytes = buffer[..size].to_vec();
                        Got { bytes, class, redelivered: false }
                    });
                    self.received(None, outcome, buffer.len(), false);
                }
            }
            Act::EndWhenDeserted(which, ends) => {
                if let Some(taken) = &mut self.receivers[usize::from(which)] {
                    taken.handle.end_when_deserted(ends);
                }
            }
            Act::Strategy(who, which) => self.strategy(who, which),
        }
        if let Some(second) = &mut self.second {
            allow(Duration::ZERO);
            second.receive_all();
        }
        self.follow();
        #[cfg(fuzzing)]
        if std::env::var_os("UFR_SHOW").is_some() {
            eprintln!("    {} looks left", ultrafastring::looks::left());
        }
    }

    /// Looks what consumers have passed over.
    fn follow(&mut self) {
        if let Some(model) = &mut self.model {
            let first = self.ring.groups().find(|it| it.name.as_str() == S::groups()[0]);
            let head = first.map(|it| it.consumer_head);
            model.follow(head.unwrap_or_else(|| self.ring.positions().consumer_head));
        }
    }

    /// Everything that was committed comes in the end, to a newcomer, while a producer is there;
    /// and the ring goes on.
    fn end(mut self) {
        for who in
            [Who::Sender(false), Who::Sender(true), Who::Receiver(false), Who::Receiver(true)]
        {
            allow(Duration::ZERO);
            self.leave(who);
            if matches!(who, Who::Sender(true)) && self.model.is_some() {
                // One lives while others look what the dead have left.
                self.come(Who::Sender(false));
            }
        }
        if self.model.is_none() {
            // Whoever sleeps for a handle of an event loop is gone before the memory is used again.
            self.ring.close();
            return;
        }
        self.come(Who::Receiver(false));
        self.follow();
        assert!(self.senders[0].is_some() && self.receivers[0].is_some(), "no handle can be had");
        let left = |play: &Self| {
            let model = play.model.as_ref().expect("looked at above");
            model.queue.len() + if model.discards { 0 } else { model.dead.len() }
        };
        let done = eventually(|| {
            self.act(Act::Receive(false, Way::Vector));
            self.act(Act::Look);
            (left(&self) == 0).then_some(())
        });
        assert!(done.is_some(), "{} messages or holes never come", left(&self));
        for number in 0..2 * self.ring.capacity() as u8 + 2 {
            let sent = self.model.as_ref().map(|model| model.sent);
            let went = eventually(|| {
                self.act(Act::Send(false, number, number));
                (self.model.as_ref().map(|model| model.sent) != sent).then_some(())
            });
            assert!(went.is_some(), "nothing can be sent any more");
            let came = eventually(|| {
                self.act(Act::Receive(false, Way::Vector));
                (left(&self) == 0).then_some(())
            });
            assert!(came.is_some(), "nothing can be received any more");
        }
        if let (Some(second), Some(model)) = (&self.second, &self.model) {
            assert_eq!(second.received, model.sent, "the second group has not got all");
        }
        self.ring.close();
    }
}

/// Calls by handles that come, leave, wait and die.
pub fn sequences(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(making) = Making::arbitrary(&mut input) else { return };
    let Ok(company) = Company::arbitrary(&mut input) else { return };
    let Ok(reserved) = u8::arbitrary(&mut input) else { return };
    let (mut acts, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match Act::arbitrary(&mut input) {
            Ok(act) => match act.write() {
                Some(write) if company == Company::During => writes.push(write),
                _ => acts.push(act),
            },
            Err(_) => break,
        }
    }
    if std::env::var_os("UFR_SHOW").is_some() {
        eprintln!(
            "{company:?}, {making:?}, {reserved} reserved, {} words written meanwhile",
            writes.len()
        );
    }
    // Credits that only the most urgent class may spend.
    let reserved = u64::from(reserved % 4).min(making.credit_limit() - 1);
    making.of(of_each_shape!(play))(making, reserved, company, &acts, writes);
}

fn play<S: Shape>(
    making: Making,
    reserved: u64,
    company: Company,
    acts: &[Act],
    writes: Vec<Write>,
) {
    // Where each class has its lane, none has a reserve of another's.
    let reserved = if S::LANES == Lanes::ByClass { 0 } else { reserved };
    let builder = making.builder::<S>().reserve(PriorityClass::RealTime, reserved);
    let builder = match company {
        Company::Honest => builder.participants(ENTRIES),
        _ => builder,
    };
    // Handles of event loops leave threads behind that sleep on.
    if acts.iter().any(|act| matches!(act, Act::Arm(..) | Act::Poll(..))) {
        let Some((ring, memory, pages)) = crate::lend_rested(&builder) else { return };
        play_on::<S>(ring, memory, company, acts, writes);
        crate::lay_to_rest(pages);
    } else if let Some((ring, memory)) = crate::lend(&builder) {
        play_on::<S>(ring, memory, company, acts, writes);
    }
}

fn play_on<S: Shape>(
    ring: UltraFastRing,
    memory: Memory,
    company: Company,
    acts: &[Act],
    writes: Vec<Write>,
) {
    // The queue that a ring is compared with has one lane; `properties` has a model of several.
    let is_one_queue = company == Company::Honest && !S::has_lanes();
    let model = is_one_queue.then(|| Model::new::<S>(&ring));
    let member = model.as_ref().and_then(|_| S::second(&ring));
    let second = member.map(|member| Second { member, received: 0 });
    let (senders, receivers) = ([None, None], [None, None]);
    let mut play = Play::<S> { ring, memory, senders, receivers, model, second, waits: 0 };
    play.come(Who::Sender(false));
    play.come(Who::Receiver(false));
    if company == Company::During {
        SCRIBBLER.with(|scribbler| {
            scribbler.during(memory, writes, || {
                for _ in 0..4 {
                    acts.iter().for_each(|&act| play.act(act));
                }
                play.end();
            });
        });
        return;
    }
    for &act in acts {
        match act.write() {
            Some(write) if company == Company::Between => memory.write(write),
            _ => play.act(act),
        }
    }
    play.end();
}
