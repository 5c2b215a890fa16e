//! Fuzz targets: what the ring does with a segment that others write garbage into.
//!
//! | target | is |
//! |---|---|
//! | [`open`] | opening a file of arbitrary bytes, or a ring's file with words changed, and using it if it opens |
//! | [`calls`] | sending, receiving, recovery, statistics and repair over a segment changed between the calls |
//! | [`during`] | the same while another thread changes it, in the midst of the calls |
//! | [`sequences`] | sequences of all calls, those included that wait, by handles that come, leave and die; beside a peer that writes garbage, or beside none |
//!
//! None of them says what must come out of a segment that others write garbage into: nothing read
//! from it means anything. They say that every call comes back, that nothing panics (with overflow
//! checks), and that the address sanitizer sees no access out of bounds. Where nobody writes
//! garbage, `sequences` says of each call what it must have come to.

mod sequences;
#[path = "../../crates/ultrafastring/tests/common/shapes.rs"]
mod shapes;

pub use sequences::sequences;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Results, Sender as Orders, channel};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use shapes::{NAMES, Shape, of_each_shape};
use tempfile::TempDir;
use ultrafastring::layout::LAYOUT_VERSION;
use ultrafastring::{
    Builder, Consumer, INLINE_SIZE, Lanes, Page, PriorityClass, Producer, Redelivery, Slow, Start,
    Timestamps, UltraFastRing,
};

/// The most calls in one input.
const MOST_STEPS: usize = 64;

/// Bytes of the largest message of a ring with side buffers: so few that the slots and all buffers
/// lie in one page.
const LARGEST: usize = 300;

/// How a ring is made.
#[derive(Arbitrary, Debug, Clone, Copy)]
struct Making {
    capacity: u8,
    participants: u8,
    shape: [u8; 2],
    timestamps: u8,
    discard: bool,
    credit: u8,
}

/// Where an input says of which shape its ring is.
const SHAPE_AT: usize = 2;

/// Has an input speak of a ring of the shape with this name.
pub fn choose(input: &mut [u8], shape: &str) {
    let place = NAMES.iter().position(|it| *it == shape).expect("a shape of the list") as u8;
    // The reverse of `Making::of`.
    let sides = !(place % 4);
    input[SHAPE_AT..][..2].copy_from_slice(&[(sides >> 1) & 1 | (place / 4) << 1, sides & 1]);
}

impl Making {
    fn capacity(self) -> usize {
        1 << (self.capacity % 4)
    }

    fn credit_limit(self) -> u64 {
        u64::from(self.credit) % self.capacity() as u64 + 1
    }

    /// Of a function of each shape, that of the shape that this is about: by a bit for each of the
    /// first four's sides, and the others, with groups, beyond.
    fn of<F: Copy>(self, functions: [F; NAMES.len()]) -> F {
        let [producers, consumers] = self.shape.map(usize::from);
        let sides = 2 * (!producers & 1) + (!consumers & 1);
        functions[(sides + 4 * (producers >> 1)) % NAMES.len()]
    }

    fn builder<S: Shape>(self) -> Builder {
        let capacity = self.capacity();
        S::builder()
            // A name from the command line is looked for with each handle.
            .participant_name("fuzz")
            .capacity(capacity)
            .participants(usize::from(self.participants % 5) + 1)
            .timestamps(
                [Timestamps::Every, Timestamps::Off, Timestamps::OneIn(2)]
                    [usize::from(self.timestamps % 3)],
            )
            .redelivery(if self.discard { Redelivery::Discard } else { Redelivery::Redeliver })
            .credit_limit(self.credit_limit())
            .max_message(if self.has_side_buffers() { LARGEST } else { INLINE_SIZE })
    }

    /// Said by a bit that is free elsewhere, so that inputs from before there were side buffers
    /// mean what they did.
    fn has_side_buffers(self) -> bool {
        self.participants & 0x80 != 0
    }
}

/// A word of garbage, near enough to what an honest peer writes to get far.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Word {
    /// Anything.
    Any(u64),
    /// A small number: a position, a count, a lock, a state.
    Small(u8),
    /// What is there, moved.
    Moved(i8),
    /// A sequence of a position near the beginning, committed or abandoned.
    Sequence(u8, bool),
    /// A span of positions, as intents and holds are.
    Span(u8, u8),
    /// Near the highest position that is believed.
    High(i8),
    /// Near the end of numbers.
    End(u8),
    /// A meta word; with the size's highest bit, that of a message in a side buffer.
    Meta(u8, u16),
}

impl Word {
    fn value(self, before: u64) -> u64 {
        match self {
            Self::Any(word) => word,
            Self::Small(number) => number.into(),
            Self::Moved(by) => before.wrapping_add_signed(by.into()),
            Self::Sequence(position, abandoned) => {
                (u64::from(position) + 1) | (u64::from(abandoned) << 63)
            }
            Self::Span(first, count) => ((u64::from(first) + 1) << 6) | (u64::from(count) & 63),
            Self::High(by) => (1u64 << 57).wrapping_add_signed(by.into()),
            Self::End(less) => u64::MAX - u64::from(less),
            Self::Meta(class, size) => {
                u64::from(class) | (u64::from(size >> 15) << 8) | (u64::from(size) << 16)
            }
        }
    }
}

/// Where garbage is written.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Spot {
    /// One of the four counters; where there are groups, of those of two, or their gates. Where
    /// there are lanes, this and what follows is of one of them.
    Counter(u8),
    /// Entries used, side locks, and what lies beside them.
    Control(u8),
    /// A word of a participant's entry: state, lock, intent and hold come first.
    Entry(u8, u8),
    /// A word of a slot.
    Slot(u8, u8),
    /// Any word.
    Any(u16),
}

impl Spot {
    /// Number of the word in such a segment.
    fn place(self, places: Places) -> usize {
        // State, lock, group, intent and hold.
        const LEADING: [usize; 8] = [0, 1, 16, 24, 0, 6, 16, 24];
        let place = match self {
            Self::Counter(which) => {
                let counters = if places.joinable { 12 } else { 4 };
                let (lane, which) = places.split(which, counters);
                places.counter(lane, which)
            }
            Self::Control(which) => {
                let (lane, which) = places.split(which, 8);
                places.control + 64 * lane + which
            }
            Self::Entry(entry, word) => {
                let (lane, entry) = places.split(entry, 5);
                let word = usize::from(word);
                places.entries
                    + 128 * (places.participants * lane + entry)
                    + if word < 128 { LEADING[word % 8] } else { word % 128 }
            }
            Self::Slot(slot, word) => {
                let (lane, slot) = places.split(slot, places.capacity);
                places.slot(lane, slot) + usize::from(word % 8)
            }
            Self::Any(word) => word.into(),
        };
        place % places.words
    }
}

/// Where in a segment what lies, in words.
#[derive(Clone, Copy)]
struct Places {
    words: usize,
    lanes: usize,
    control: usize,
    groups: usize,
    cursors: usize,
    /// Cursors of a lane.
    rows: usize,
    entries: usize,
    /// Entries of a lane.
    participants: usize,
    slots: usize,
    /// Slots of a lane.
    capacity: usize,
    joinable: bool,
}

impl Places {
    fn of(ring: &UltraFastRing, words: usize) -> Self {
        let of = |name: &str| {
            ring.areas().find(|area| area.name == name).expect("each ring has it").offset / 8
        };
        Self {
            words,
            lanes: ring.settings().lanes.count(),
            control: of("control"),
            groups: of("groups"),
            cursors: of("cursors"),
            rows: ring.settings().groups.max(1),
            entries: of("participants"),
            participants: ring.settings().participants,
            slots: of("slots"),
            capacity: ring.capacity(),
            joinable: ring.settings().groups != 0,
        }
    }

    /// A lane, and one of so many things in it.
    fn split(self, number: u8, things: usize) -> (usize, usize) {
        let number = usize::from(number);
        (number / things % self.lanes, number % things)
    }

    fn counter(self, lane: usize, which: usize) -> usize {
        let (own, cursors) = (512 + 64 * lane, self.cursors + 32 * self.rows * lane);
        match which {
            // A lane's counters, and a cursor's.
            0 | 1 => own + 16 * which,
            2 | 3 => cursors + 16 * (which - 2),
            // The second cursor, the window, and of two rows the gates and the settings.
            4 | 5 => cursors + 32 + 16 * (which - 4),
            6 | 7 => own + 32,
            _ => self.groups + 64 * (which % 2) + 8 * ((which - 8) / 2),
        }
    }

    fn slot(self, lane: usize, slot: usize) -> usize {
        self.slots + 8 * (self.capacity * lane + slot)
    }
}

/// One call, or one act of a hostile peer.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Step {
    Write(Spot, Word),
    Send(bool, u8, u8),
    SendBatch(bool, u8),
    Reserve(bool, u8, u8),
    Receive(bool, u8),
    ReceiveBatch(bool, u8),
    Borrow(bool, bool),
    Flush(u8),
    /// Leave, or come (back).
    Change(u8),
    /// Calls that find nothing, until the handle looks whether a dead peer is in its way.
    Wait(bool),
    /// As if the process were gone: the handle stays behind, its locks are given back.
    Die(u8),
    Look,
    Repair,
    RingSend,
    RingReceive,
}

/// A ring, and handles of an honest process.
struct Stage<'a, S: Shape> {
    ring: &'a UltraFastRing,
    senders: [Option<Producer<S::Producers>>; 2],
    receivers: [Option<Consumer<S::Consumers>>; 2],
    /// Members of a second group, and of one that may be evicted.
    others: [Option<Consumer>; 2],
}

impl<'a, S: Shape> Stage<'a, S> {
    fn new(ring: &'a UltraFastRing) -> Self {
        let (senders, receivers, others) = ([None, None], [None, None], [None, None]);
        let mut stage = Self { ring, senders, receivers, others };
        stage.change(0);
        stage.change(2);
        stage
    }

    fn change(&mut self, which: u8) {
        let which = usize::from(which % 4);
        if which < 2 {
            let sender = &mut self.senders[which];
            *sender = if sender.is_some() { None } else { S::try_producer(self.ring) };
        } else {
            let receiver = &mut self.receivers[which - 2];
            *receiver = if receiver.is_some() { None } else { S::try_consumer(self.ring) };
            self.change_other(which - 2);
        }
    }

    /// The same of a member of another group.
    fn change_other(&mut self, which: usize) {
        if S::groups().is_empty() {
            return;
        }
        let other = &mut self.others[which];
        *other = match (other.take(), which) {
            (Some(_), _) => None,
            (None, 0) => S::groups().get(1).and_then(|name| self.ring.join(name).consumer().ok()),
            (None, _) => {
                let slow = Slow::Evict { after: Duration::ZERO };
                self.ring.join("evicted").start(Start::Oldest).slow(slow).consumer().ok()
            }
        };
    }

    /// They receive as the step before did.
    fn call_others(&mut self, room: u8) {
        for other in self.others.iter_mut().flatten() {
            let mut vec = Vec::new();
            if let Ok(about) = other.try_recv_into(&mut vec) {
                assert_eq!(about.size, vec.len());
            }
            if room.is_multiple_of(3) {
                drop(other.try_borrow());
            }
        }
    }

    fn call(&mut self, step: Step) {
        let class = |number: u8| PriorityClass::ALL[usize::from(number % 5)];
        let max = self.ring.max_message();
        let data = [0xa5; LARGEST + 1];
        let size_of = |size: u8| match max {
            INLINE_SIZE => usize::from(size % 42),
            _ => (2 * usize::from(size)).min(data.len()),
        };
        let mut buffer = [0; 48];
        match step {
            Step::Send(which, of, size) => {
                if let Some(it) = &mut self.senders[usize::from(which)] {
                    let _ = it.send_fast(&data[..size_of(size)], class(of));
                }
            }
            Step::SendBatch(which, count) => {
                if let Some(it) = &mut self.senders[usize::from(which)] {
                    let mut messages = [&data[..7]; 16];
                    if max > INLINE_SIZE && count % 3 == 0 {
                        // A header may say any size.
                        messages[1] = &data[..max.min(data.len())];
                    }
                    let _ = it.send_batch(&messages[..usize::from(count % 17)], class(count));
                }
            }
            Step::Reserve(which, what, size) => {
                if let Some(it) = &mut self.senders[usize::from(which)]
                    && let Ok(mut guard) = it.try_reserve(size_of(size), class(what))
                {
                    guard.write_at(0, &data[..guard.len()]);
                    match what % 3 {
                        0 => guard.commit(),
                        1 => guard.cancel(),
                        _ => std::mem::forget(guard),
                    }
                }
            }
            Step::Receive(which, room) => {
                self.call_others(room);
                if let Some(it) = &mut self.receivers[usize::from(which)] {
                    if max > INLINE_SIZE && room % 2 == 0 {
                        let mut vec = Vec::new();
                        if let Ok(about) = it.try_recv_into(&mut vec) {
                            assert!(about.size == vec.len() && vec.len() <= max);
                        }
                        return;
                    }
                    let room = usize::from(room % 49);
                    if let Ok((size, ..)) = it.recv_fast(&mut buffer[..room]) {
                        assert!(size <= room && size <= max, "{size} bytes in {room}");
                    }
                }
            }
            Step::ReceiveBatch(which, count) => {
                if let Some(it) = &mut self.receivers[usize::from(which)] {
                    let mut buffers = [[0; 24]; 16];
                    let buffers = &mut buffers[..usize::from(count % 17)];
                    let most = buffers.len();
                    if let Ok(batch) = it.recv_batch(buffers) {
                        assert!(batch.len() <= most && batch.iter().all(|about| about.size <= 24));
                    }
                }
            }
            Step::Borrow(which, forget) => {
                if let Some(it) = &mut self.receivers[usize::from(which)]
                    && let Ok(guard) = it.try_borrow()
                {
                    assert!(guard.len() <= max);
                    assert_eq!(guard.to_vec().len(), guard.len());
                    if forget {
                        std::mem::forget(guard);
                    }
                }
            }
            Step::Flush(which) if which % 4 < 2 => {
                if let Some(it) = &mut self.senders[usize::from(which % 2)] {
                    it.flush();
                }
            }
            Step::Flush(which) => {
                if let Some(it) = &mut self.receivers[usize::from(which % 2)] {
                    it.flush();
                }
            }
            Step::Change(which) => self.change(which),
            Step::Wait(which) => {
                if let Some(it) = &mut self.receivers[usize::from(which)] {
                    for _ in 0..4 * 8 {
                        if it.try_recv().is_ok() {
                            break;
                        }
                        // Without the fuzzer's own build a handle has to be stuck for as long as
                        // anywhere else before it looks around.
                        if !cfg!(fuzzing) {
                            std::thread::sleep(std::time::Duration::from_micros(10));
                        }
                    }
                }
            }
            Step::Look => {
                let _ = (self.ring.stats(), self.ring.len(), self.ring.positions());
                self.ring.participants().for_each(|it| {
                    assert!(!it.name.as_str().contains(char::is_control));
                });
                for group in self.ring.groups() {
                    assert!(!group.name.as_str().contains(char::is_control));
                }
                if let Ok(findings) = self.ring.examine() {
                    findings.iter().for_each(|finding| drop(finding.to_string()));
                }
            }
            Step::Repair => {
                drop(self.ring.repair());
                let _ = self.ring.remove_group("evicted");
            }
            Step::RingSend => {
                let _ = self.ring.send_fast(&data[..max.min(41) - 1], class(step_number(step)));
            }
            Step::RingReceive => drop(self.ring.recv_fast(&mut buffer)),
            Step::Write(..) | Step::Die(_) => {}
        }
    }
}

/// Some number that differs a little from call to call.
fn step_number(step: Step) -> u8 {
    matches!(step, Step::RingSend).into()
}

/// What a hostile peer writes.
#[derive(Clone, Copy)]
enum Write {
    /// A word somewhere.
    Word(Spot, Word),
    /// The sequences of the lap that consumers are at: committed, or abandoned.
    Chase(bool),
}

/// The memory of a segment as a hostile peer has it: words to write.
#[derive(Clone, Copy)]
struct Memory {
    words: &'static [AtomicU64],
    places: Places,
}

impl Memory {
    fn write(self, write: Write) {
        match write {
            Write::Word(spot, word) => {
                let there = &self.words[spot.place(self.places)];
                there.store(word.value(there.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
            Write::Chase(abandoned) => {
                (0..self.places.lanes).for_each(|lane| self.chase(lane, abandoned));
            }
        }
    }

    fn chase(self, lane: usize, abandoned: bool) {
        let Places { words, capacity, joinable, .. } = self.places;
        let head = self.words[self.places.counter(lane, 2) % words].load(Ordering::Relaxed);
        // A group's says its generation too.
        let head = if joinable { head % (1 << 57) } else { head };
        for ahead in 0..capacity as u64 {
            let position = head.wrapping_add(ahead);
            let slot = self.places.slot(lane, position as usize % capacity) % words;
            let sequence = position.wrapping_add(1) | u64::from(abandoned) << 63;
            self.words[slot].store(sequence, Ordering::Relaxed);
        }
    }

    /// Gives the lock of an entry back, as the kernel does for a process that is gone: in each
    /// lane.
    fn unlock_entry(self, entry: usize) {
        for lane in 0..self.places.lanes {
            let entry = self.places.participants * lane + entry;
            let lock = self.places.entries + 128 * entry + 1;
            self.words[lock % self.places.words].store(0, Ordering::Relaxed);
        }
    }

    /// The same of the only member of the first group.
    fn unlock_member(self) {
        self.words[self.places.groups + 11].store(0, Ordering::Relaxed);
    }

    /// The same of an exclusive side's.
    fn unlock_side(self, side: usize) {
        for lane in 0..self.places.lanes {
            self.words[self.places.control + 64 * lane + 1 + side].store(0, Ordering::Relaxed);
        }
    }
}

/// What the largest takes: one with lanes.
const PAGES_OF_A_RING: usize = 48;

thread_local! {
    /// Pages that one ring after the other is made in.
    static PAGES: Cell<*mut [Page]> = Cell::new(std::ptr::from_mut(vec![Page::ZERO; PAGES_OF_A_RING].leak()));
    /// Pages of rings that threads may still look at for a moment, and since when they are done
    /// with.
    static RESTING: RefCell<VecDeque<(Instant, *mut [Page])>> =
        const { RefCell::new(VecDeque::new()) };
}

/// How long pages rest: longer than anybody sleeps.
const REST: Duration = Duration::from_millis(300);

/// A ring in memory that a hostile peer has too.
fn lend(builder: &Builder) -> Option<(UltraFastRing, Memory)> {
    lend_in(builder, PAGES.get())
}

/// The same in pages that nobody uses until they have rested; they are to be laid to rest.
fn lend_rested(builder: &Builder) -> Option<(UltraFastRing, Memory, *mut [Page])> {
    let rested = RESTING.with_borrow_mut(|resting| {
        let rested = resting.front().is_some_and(|(since, _)| since.elapsed() > REST);
        if rested { resting.pop_front() } else { None }
    });
    let pages = match rested {
        Some((_, pages)) => pages,
        None => std::ptr::from_mut(vec![Page::ZERO; PAGES_OF_A_RING].leak()),
    };
    lend_in(builder, pages).map(|(ring, memory)| (ring, memory, pages))
}

fn lay_to_rest(pages: *mut [Page]) {
    RESTING.with_borrow_mut(|resting| resting.push_back((Instant::now(), pages)));
}

fn lend_in(builder: &Builder, memory: *mut [Page]) -> Option<(UltraFastRing, Memory)> {
    let pages = builder.pages();
    // SAFETY: leaked by the callers, and the ring that was made in it before is gone with its
    // handles.
    let ring = builder.lent(unsafe { &mut (&mut *memory)[..pages] }).ok()?;
    // SAFETY: as long as the pages, and aligned as they are. The ring has turned its reference
    // into shared atomics, and so are these.
    let words = unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU64>(), pages * 512) };
    let places = Places::of(&ring, words.len());
    Some((ring, Memory { words, places }))
}

/// Calls over a segment that is changed between them.
pub fn calls(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(making) = Making::arbitrary(&mut input) else { return };
    making.of(of_each_shape!(calls_on))(making, input);
}

fn calls_on<S: Shape>(making: Making, mut input: Unstructured<'_>) {
    let Some((ring, memory)) = lend(&making.builder::<S>()) else { return };
    let mut stage = Stage::<S>::new(&ring);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match Step::arbitrary(&mut input) {
            Ok(Step::Write(spot, word)) => memory.write(Write::Word(spot, word)),
            Ok(Step::Die(entry)) => memory.unlock_entry(usize::from(entry % 5)),
            Ok(step) => stage.call(step),
            Err(_) => break,
        }
    }
}

/// A thread that writes the same words again and again, for one input after the other: to make one
/// takes longer than most inputs do.
struct Scribbler {
    orders: Orders<Order>,
    done: Results<()>,
}

thread_local! {
    static SCRIBBLER: Scribbler = Scribbler::new();
}

/// What to write, and where, until it is over.
struct Order {
    memory: Memory,
    writes: Vec<Write>,
    begun: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Scribbler {
    fn new() -> Self {
        let (orders, work) = channel::<Order>();
        let (tell, done) = channel();
        std::thread::spawn(move || {
            for order in work {
                loop {
                    for &write in &order.writes {
                        order.memory.write(write);
                    }
                    order.begun.store(true, Ordering::Relaxed);
                    if order.over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                if tell.send(()).is_err() {
                    break;
                }
            }
        });
        Self { orders, done }
    }

    /// Does `work` while words are written. When this returns nothing is written any more.
    fn during(&self, memory: Memory, writes: Vec<Write>, work: impl FnOnce()) {
        let (begun, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let order = Order { memory, writes, begun: Arc::clone(&begun), over: Arc::clone(&over) };
        self.orders.send(order).expect("the thread lives as long as this");
        // Most inputs are over before it has woken up.
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        work();
        over.store(true, Ordering::Relaxed);
        self.done.recv().expect("the thread lives as long as this");
    }
}

/// Calls while another thread changes the segment in their midst.
pub fn during(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(making) = Making::arbitrary(&mut input) else { return };
    making.of(of_each_shape!(during_on))(making, input);
}

fn during_on<S: Shape>(making: Making, mut input: Unstructured<'_>) {
    let Some((ring, memory)) = lend(&making.builder::<S>()) else { return };
    let (mut steps, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match Step::arbitrary(&mut input) {
            Ok(Step::Write(spot, word)) => writes.push(Write::Word(spot, word)),
            Ok(step) => steps.push(step),
            Err(_) => break,
        }
    }
    SCRIBBLER.with(|scribbler| {
        scribbler.during(memory, writes, || {
            let mut stage = Stage::<S>::new(&ring);
            for _ in 0..4 {
                steps.iter().for_each(|&step| stage.call(step));
            }
        });
    });
}

/// What a file is made of.
#[derive(Arbitrary, Debug)]
enum Contents<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A ring's file with words of its header, or of the rest, changed.
    Ring(Making, Vec<(bool, Spot, u8, Word)>, Option<i16>),
}

/// Puts the lock file beside a file of these bytes that it names, if it is long enough to name one:
/// without it a file is refused for that alone.
fn write_lock_file(directory: &std::path::Path, bytes: &[u8]) {
    let Some(identity) = bytes.get(8 * 4..).and_then(<[u8]>::first_chunk) else { return };
    let identity = u64::from_ne_bytes(*identity);
    let words = [u64::from_le_bytes(*b"UFRlock\0"), LAYOUT_VERSION.into(), identity, 0];
    let path = directory.join(format!(".ufr-x.lock-{identity:016x}"));
    std::fs::write(&path, words.map(u64::to_ne_bytes).as_flattened()).expect("a lock file");
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, own).expect("a lock file's mode");
}

/// Opening a file of arbitrary contents.
pub fn open(bytes: &[u8]) {
    thread_local! {
        static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
    }
    let mut input = Unstructured::new(bytes);
    let Ok(contents) = Contents::arbitrary(&mut input) else { return };
    DIRECTORY.with(|directory| {
        let directory = directory.get_or_init(|| {
            let memory = std::path::Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
            tempfile::Builder::new().prefix("ufr-fuzz-").tempdir_in(parent).expect("a directory")
        });
        let builder = Builder::new().directory(directory.path());
        let path = builder.path("x").expect("a path");
        // A ring with its lock file, and what is none by itself.
        let _ = builder.remove("x");
        let _ = std::fs::remove_file(&path);
        match contents {
            Contents::Bytes(bytes) => {
                std::fs::write(&path, bytes).expect("a file");
                write_lock_file(directory.path(), bytes);
            }
            Contents::Ring(making, changes, longer) => {
                let like = making.of(of_each_shape!(builder_of))(making);
                let Ok(ring) = like.directory(directory.path()).create("x") else { return };
                let mut bytes = std::fs::read(&path).expect("the ring's file");
                let places = Places::of(&ring, bytes.len() / 8);
                drop(ring);
                for (in_header, spot, place, word) in changes {
                    let aligned = in_header && place >= 128;
                    let place = match usize::from(place % 80) {
                        _ if !in_header => spot.place(places),
                        // The terms of the lane.
                        place @ 64.. => 560 + (place - 64),
                        place => place,
                    };
                    let bytes = bytes[8 * place..].first_chunk_mut().expect("within the file");
                    let value = word.value(u64::from_le_bytes(*bytes));
                    // Else hardly any area would lie elsewhere and be sound.
                    let value = if aligned { value % 512 * 128 } else { value };
                    *bytes = value.to_le_bytes();
                }
                if let Some(longer) = longer {
                    bytes.resize(bytes.len().saturating_add_signed(longer.into()), 0);
                }
                std::fs::write(&path, bytes).expect("the ring's file");
            }
        }
        if let Ok(ring) = builder.open("x") {
            // Of whatever shape it is by now, if of any.
            let is_of_one = of_each_shape!(use_if_of).into_iter().any(|use_if_of| use_if_of(&ring));
            if !is_of_one {
                let _ = (ring.examine(), ring.repair());
            }
        }
    });
}

fn builder_of<S: Shape>(making: Making) -> Builder {
    making.builder::<S>()
}

/// Calls of several kinds, if handles can be had as of this shape; says whether they can.
fn use_if_of<S: Shape>(ring: &UltraFastRing) -> bool {
    if S::has_lanes() != (ring.settings().lanes != Lanes::One) {
        return false;
    }
    let mut stage = Stage::<S>::new(ring);
    let is_of_it = stage.senders[0].is_some() || stage.receivers[0].is_some();
    if is_of_it {
        for step in [
            Step::Send(false, 2, 8),
            Step::Receive(false, 40),
            Step::Wait(false),
            Step::Borrow(false, false),
            Step::SendBatch(false, 9),
            Step::Look,
            Step::Repair,
        ] {
            stage.call(step);
        }
    }
    is_of_it
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_speaks_of_the_shape_that_was_chosen_for_it() {
        fn name_of<S: Shape>() -> &'static str {
            S::NAME
        }
        for name in NAMES {
            let mut input = [0xa5; 64];
            choose(&mut input, name);
            let making = Making::arbitrary(&mut Unstructured::new(&input)).unwrap();
            assert_eq!(making.of(of_each_shape!(name_of))(), *name);
        }
    }
}
