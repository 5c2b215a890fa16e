//! Large messages: what the bytes cost, copied and in place, beside what the machine allows.
//!
//! A message is whole words. All are one of two fillers, by the number's parity, but for the first
//! and the last, which are the number itself; the receiver looks at every word ([`EveryWord`]). Who
//! copies, copies from one of two buffers that hold the fillers; who writes in place, writes all
//! words there, except where only the hand-over is measured: then the first and last words are
//! written and looked at, and no more ([`EndWords`]), or the first word alone ([`FirstWord`]). The
//! limits are measured under the same rules: `memcpy` copies from buffer to buffer and checks, on
//! one core; the raw exchange does the same through bare memory, between two.

use std::cell::UnsafeCell;
use std::fs::File;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use rustix::pipe::{IoSliceRaw, SpliceFlags, fcntl_getpipe_size, vmsplice};
use ultrafastring::{
    Builder, CacheLineU64, Consumer, Exclusive, Mode, PriorityClass, Producer, RingError, Shared,
    Sharing, Trusted, UltraFastRing,
};

use crate::case::{Case, Context, Pattern, Reading, Runner, Whose};
use crate::kernel::{Pipe, Socket, Stream};
use crate::message::{Bytes, SIZE, wrong};
use crate::own::{Alone, EVERY, Named, alone, received, sent};
use crate::pattern::{processes, threads, timed};
use crate::queue::{Queue, Receiver, Sender};

/// Messages that there is room for in a ring, and in its peers where one can choose: about as many
/// bytes at every size, as long as that is more than a few.
fn capacity(size: usize) -> usize {
    ((512 << 10) / size).clamp(8, 64)
}

/// The same where messages are handed over and not gone through, so that their bytes do not matter.
const HANDED_OVER: usize = 64;

/// The same where one message is in flight: as many bytes as do not stay in a core's own cache, if
/// each message is in another place.
fn walked(size: usize) -> usize {
    ((16 << 20) / size).clamp(16, 256)
}

/// The cases, each called by its way and its size.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = of_size::<256>(60_000);
    cases.extend(of_size::<{ 4 << 10 }>(20_000));
    cases.extend(of_size::<{ 64 << 10 }>(3_000));
    cases.extend(of_size::<{ 1 << 20 }>(400));
    cases.extend(one_in_flight::<{ 4 << 10 }>(10_000));
    cases.extend(one_in_flight::<{ 64 << 10 }>(1_500));
    cases.extend(one_in_flight::<{ 1 << 20 }>(200));
    cases
}

/// A message of `N` bytes there, and one back.
fn one_in_flight<const N: usize>(messages: u64) -> Vec<Case> {
    let case = |way, runner| Case {
        name: format!("{way}: {N} bytes"),
        peer: way,
        whose: Whose::Nobody,
        pattern: Pattern::LargeRoundTrip,
        capacity: walked(N),
        size: N,
        messages,
        limit: None,
        runner,
    };
    vec![
        case("one, ring, copied", processes::<Copied<Alone<EVERY>>, N>()),
        case("one, ring, in place", processes::<Lent<EveryWord, Exclusive>, N>()),
        // Each slot has a side buffer of its own where others could send, too.
        case("one, shared producers, copied", processes::<Copied<ForMany>, N>()),
        case("one, shared producers, in place", processes::<Lent<EveryWord, Shared>, N>()),
        #[cfg(feature = "processes")]
        case("one, iceoryx2, in place", processes::<loaned::Loaned<EveryWord>, N>()),
    ]
}

/// Those of messages of `N` bytes, of which `messages` are sent in a reading.
fn of_size<const N: usize>(messages: u64) -> Vec<Case> {
    let case = |way, pattern, capacity, messages, runner| Case {
        name: format!("{way}: {N} bytes"),
        peer: way,
        whose: Whose::Nobody,
        pattern,
        capacity,
        size: N,
        messages,
        limit: None,
        runner,
    };
    let through = |way, runner| case(way, Pattern::Large, capacity(N), messages, runner);
    let over = |way, runner| case(way, Pattern::Large, HANDED_OVER, messages.max(60_000), runner);
    // A message of 40 bytes in its slot, which is what that is made for.
    let small = processes::<Alone<EVERY>, SIZE>();
    vec![
        through("memcpy, one core", Runner::within(memcpy::<N>)),
        through("raw exchange", threads::<Copied<Bare>, N>()),
        through("ring, copied", processes::<Copied<Alone<EVERY>>, N>()),
        through("ring, in place", processes::<Lent<EveryWord, Exclusive>, N>()),
        over("ring, handed over", processes::<Lent<EndWords, Exclusive>, N>()),
        // Two lines move instead of three, the slot's and that of the first word.
        over("ring, handed over, first", processes::<Lent<FirstWord, Exclusive>, N>()),
        case("ring, 40 bytes", Pattern::Stream, HANDED_OVER, 200_000, small),
        through("pipe", processes::<Copied<Pipe>, N>()),
        through("pipe, vmsplice", processes::<Spliced, N>()),
        through("Unix socket", processes::<Copied<Socket<Stream>>, N>()),
        #[cfg(feature = "processes")]
        through("iceoryx2, in place", processes::<loaned::Loaned<EveryWord>, N>()),
        #[cfg(feature = "processes")]
        case(
            "iceoryx2, handed over",
            Pattern::Large,
            capacity(N),
            messages,
            processes::<loaned::Loaned<EndWords>, N>(),
        ),
    ]
}

// ---- messages ----------------------------------------------------------------------------

type Word = [u8; 8];

/// What all words of message `n` are but the first and the last.
#[inline(always)]
fn filler(n: u64) -> Word {
    0x9e37_79b9_7f4a_7c15_u64.rotate_left(n as u32 % 2).to_ne_bytes()
}

/// What of a message is written and looked at where it lies. What is given is whole words, two at
/// least.
trait Touch {
    fn write(bytes: &mut [u8], n: u64);

    /// Fails unless `bytes` are message `n`.
    fn check(bytes: &[u8], n: u64) -> anyhow::Result<()>;
}

/// The first and the last word.
struct EndWords;

impl Touch for EndWords {
    #[inline(always)]
    fn write(bytes: &mut [u8], n: u64) {
        if let [first, .., last] = bytes.as_chunks_mut().0 {
            (*first, *last) = (n.to_ne_bytes(), n.to_ne_bytes());
        }
    }

    #[inline(always)]
    fn check(bytes: &[u8], n: u64) -> anyhow::Result<()> {
        match bytes.as_chunks().0 {
            [first, .., last] if [*first, *last] == [n.to_ne_bytes(); 2] => Ok(()),
            _ => Err(wrong(n)),
        }
    }
}

/// The first word.
struct FirstWord;

impl Touch for FirstWord {
    #[inline(always)]
    fn write(bytes: &mut [u8], n: u64) {
        if let Some(first) = bytes.first_chunk_mut() {
            *first = n.to_ne_bytes();
        }
    }

    #[inline(always)]
    fn check(bytes: &[u8], n: u64) -> anyhow::Result<()> {
        if bytes.first_chunk() == Some(&n.to_ne_bytes()) { Ok(()) } else { Err(wrong(n)) }
    }
}

/// Every word.
struct EveryWord;

impl Touch for EveryWord {
    #[inline(always)]
    fn write(bytes: &mut [u8], n: u64) {
        bytes.as_chunks_mut().0.fill(filler(n));
        EndWords::write(bytes, n);
    }

    #[inline(always)]
    fn check(bytes: &[u8], n: u64) -> anyhow::Result<()> {
        let expected = u64::from_ne_bytes(filler(n));
        let differ = |differ, word: &Word| differ | (u64::from_ne_bytes(*word) ^ expected);
        match bytes.as_chunks().0 {
            [_, middle @ .., _] if middle.iter().fold(0, differ) == 0 => EndWords::check(bytes, n),
            _ => Err(wrong(n)),
        }
    }
}

/// Room for a message, of zeros.
fn room<const N: usize>() -> anyhow::Result<Box<Bytes<N>>> {
    // Not on the stack first, of which a thread may not have that much.
    vec![0; N].into_boxed_slice().try_into().ok().context("room of another size")
}

// ---- copied ------------------------------------------------------------------------------

/// Messages that are copied, into the queue and out of it.
struct Copied<Q>(Q);

/// Sends from one of two buffers that hold the fillers.
struct Sources<H, const N: usize>(H, [Box<Bytes<N>>; 2]);

/// Receives into a buffer.
struct Buffer<H, const N: usize>(H, Box<Bytes<N>>);

impl<H, const N: usize> Sources<H, N> {
    fn new(handle: H) -> anyhow::Result<Self> {
        let mut sources = [room()?, room()?];
        (0..).zip(&mut sources).for_each(|(n, source)| EveryWord::write(&mut source[..], n));
        Ok(Self(handle, sources))
    }
}

impl<Q: Queue<N>, const N: usize> Queue<N> for Copied<Q> {
    type Sender<'q>
        = Sources<Q::Sender<'q>, N>
    where
        Self: 'q;
    type Receiver<'q>
        = Buffer<Q::Receiver<'q>, N>
    where
        Self: 'q;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Q::create(name, capacity).map(Self)
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Q::open(address, capacity).map(Self)
    }

    fn memory(&self) -> Option<u64> {
        self.0.memory()
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Sources::new(self.0.sender()?)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(Buffer(self.0.receiver()?, room()?))
    }
}

impl<H: Sender<N>, const N: usize> Sender<N> for Sources<H, N> {
    #[inline(always)]
    fn fill(&mut self, first: u64, _: usize) -> anyhow::Result<usize> {
        let source = &mut self.1[first as usize % 2];
        EndWords::write(&mut source[..], first);
        Ok(self.0.send(source)?.into())
    }
}

impl<H: Receiver<N>, const N: usize> Receiver<N> for Buffer<H, N> {
    #[inline(always)]
    fn drain(&mut self, next: u64, _: usize) -> anyhow::Result<usize> {
        if !self.0.receive(&mut self.1)? {
            return Ok(0);
        }
        EveryWord::check(&self.1[..], next)?;
        Ok(1)
    }
}

// ---- one or many that send ---------------------------------------------------------------

/// A producer side, of one or of many.
trait Sends: Mode + Sized {
    /// Of a ring for one consumer.
    fn builder<const N: usize>(capacity: usize) -> Builder;

    fn producer(ring: &UltraFastRing) -> Result<Producer<Self>, RingError>;
}

impl Sends for Exclusive {
    fn builder<const N: usize>(capacity: usize) -> Builder {
        alone::<N>(capacity)
    }

    fn producer(ring: &UltraFastRing) -> Result<Producer<Self>, RingError> {
        ring.exclusive_producer()
    }
}

impl Sends for Shared {
    fn builder<const N: usize>(capacity: usize) -> Builder {
        alone::<N>(capacity).producer_side(Sharing::Shared)
    }

    fn producer(ring: &UltraFastRing) -> Result<Producer<Self>, RingError> {
        ring.shared_producer()
    }
}

/// A ring into which many may send.
struct ForMany(Named);

impl<const N: usize> Queue<N> for ForMany {
    type Sender<'q> = Producer<Shared>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::create(&Shared::builder::<N>(capacity), name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn memory(&self) -> Option<u64> {
        self.0.memory()
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(Shared::producer(&self.0.ring)?)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(self.0.ring.exclusive_consumer()?)
    }
}

// ---- limits ------------------------------------------------------------------------------

/// From buffer to buffer on one core, and checked.
fn memcpy<const N: usize>(_: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let mut sources = Sources::<(), N>::new(())?.1;
    let mut middle = vec![[0; N]; case.capacity.min(8)];
    let ticks = timed(case.messages, |i| {
        let source = &mut sources[i as usize % 2];
        EndWords::write(&mut source[..], i);
        let to = &mut middle[i as usize % 8];
        to.copy_from_slice(&source[..]);
        EveryWord::check(black_box(&to[..]), i)
    })?;
    Ok(ticks.into())
}

/// Bare memory between two threads: a copy in and a copy out, nothing else but a word for each
/// message that says that it is there, and one that says how far the reader is.
struct Bare {
    memory: Box<[UnsafeCell<u8>]>,
    there: Box<[CacheLineU64]>,
    read: CacheLineU64,
}

// SAFETY: a place in `memory` is accessed by whoever `there` and `read` say has it.
unsafe impl Sync for Bare {}

/// Either end of [`Bare`].
struct End<'q> {
    bare: &'q Bare,
    next: u64,
}

impl End<'_> {
    /// The next message's place among all, and the memory there.
    #[inline(always)]
    fn place<const N: usize>(&self) -> (usize, *mut Bytes<N>) {
        let at = self.next as usize % self.bare.there.len();
        (at, self.bare.memory[at * N..][..N].as_ptr().cast_mut().cast())
    }
}

impl<const N: usize> Queue<N> for Bare {
    type Sender<'q> = End<'q>;
    type Receiver<'q> = End<'q>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let memory = (0..capacity * N).map(|_| UnsafeCell::new(0)).collect();
        let there = (0..capacity).map(|_| CacheLineU64::new(0)).collect();
        Ok(Self { memory, there, read: CacheLineU64::new(0) })
    }

    fn sender(&self) -> anyhow::Result<End<'_>> {
        Ok(End { bare: self, next: 0 })
    }

    fn receiver(&self) -> anyhow::Result<End<'_>> {
        Ok(End { bare: self, next: 0 })
    }
}

impl<const N: usize> Sender<N> for End<'_> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        let (at, place) = self.place::<N>();
        // Acquire: pairs with the release of `read` in `receive`.
        if self.next >= self.bare.read.load(Ordering::Acquire) + self.bare.there.len() as u64 {
            return Ok(false);
        }
        // SAFETY: within `memory`, and nobody's but this thread's: the reader is past it, and comes
        // again when it is told to.
        unsafe { place.copy_from_nonoverlapping(bytes, 1) };
        self.next += 1;
        // Release: pairs with the acquire in `receive`.
        self.bare.there[at].store(self.next, Ordering::Release);
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for End<'_> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let (at, place) = self.place::<N>();
        // Acquire: pairs with the release of `there` in `send`.
        if self.bare.there[at].load(Ordering::Acquire) != self.next + 1 {
            return Ok(false);
        }
        // SAFETY: within `memory`, and not written again before `read` says so.
        unsafe { place.copy_to_nonoverlapping(buffer, 1) };
        self.next += 1;
        // Release: pairs with the acquire in `send`.
        self.bare.read.store(self.next, Ordering::Release);
        Ok(true)
    }
}

// ---- in place ----------------------------------------------------------------------------

/// Messages that are written and read where they lie in the ring, as `T` says. Who sends, `S` says.
struct Lent<T, S>(Named, PhantomData<(T, S)>);

/// The sending, or receiving, end of what is not copied.
struct InPlace<H, T>(H, PhantomData<T>);

/// The same builder, its peers vouched for.
fn vouched(builder: Builder) -> Builder {
    // SAFETY: the name is of this process, and the only other one to open the ring is this program
    // again.
    unsafe { builder.trust_peers() }
}

impl<T: Touch, S: Sends, const N: usize> Queue<N> for Lent<T, S> {
    type Sender<'q>
        = InPlace<Trusted<Producer<S>>, T>
    where
        Self: 'q;
    type Receiver<'q>
        = InPlace<Trusted<Consumer<Exclusive>>, T>
    where
        Self: 'q;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::create(&vouched(S::builder::<N>(capacity)), name)?, PhantomData))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&vouched(Builder::new()), address)?, PhantomData))
    }

    fn memory(&self) -> Option<u64> {
        self.0.memory()
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(InPlace(S::producer(&self.0.ring)?.trusted()?, PhantomData))
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(InPlace(self.0.ring.exclusive_consumer()?.trusted()?, PhantomData))
    }
}

impl<M: Mode, T: Touch, const N: usize> Sender<N> for InPlace<Trusted<Producer<M>>, T> {
    #[inline(always)]
    fn fill(&mut self, first: u64, _: usize) -> anyhow::Result<usize> {
        let place = self.0.try_reserve(N, PriorityClass::Normal);
        Ok(sent(place.map(|mut place| {
            T::write(&mut place, first);
            place.commit();
        }))?
        .into())
    }
}

impl<T: Touch, const N: usize> Receiver<N> for InPlace<Trusted<Consumer<Exclusive>>, T> {
    #[inline(always)]
    fn drain(&mut self, next: u64, _: usize) -> anyhow::Result<usize> {
        let message = self.0.try_borrow();
        if let Ok(message) = &message {
            T::check(message, next)?;
        }
        Ok(received(message)?.into())
    }
}

// ---- pages lent to a pipe -----------------------------------------------------------------

/// A pipe that is lent pages instead of being copied into.
struct Spliced(Copied<Pipe>);

/// A page may be written again when the reader has it behind it: when more than a pipe can hold has
/// been lent since.
struct Pages<const N: usize>(File, Vec<Box<Bytes<N>>>);

impl<const N: usize> Queue<N> for Spliced {
    type Sender<'q> = Pages<N>;
    type Receiver<'q> = Buffer<File, N>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Queue::<N>::create(name, capacity).map(Self)
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Queue::<N>::open(address, capacity).map(Self)
    }

    fn sender(&self) -> anyhow::Result<Pages<N>> {
        let pipe = Queue::<N>::sender(&self.0.0)?;
        let held = fcntl_getpipe_size(&pipe)?;
        // A pipe holds so many pieces, which may be small.
        let pieces = held / 4096 + 2;
        let mut pages: Vec<_> =
            (0..pieces.max(held / N + 2)).map(|_| room()).collect::<Result<_, _>>()?;
        // Even, so that a buffer keeps its filler.
        pages.truncate(pages.len() & !1);
        (0..).zip(&mut pages).for_each(|(n, page)| EveryWord::write(&mut page[..], n));
        Ok(Pages(pipe, pages))
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver()
    }
}

impl<const N: usize> Sender<N> for Pages<N> {
    #[inline(always)]
    fn fill(&mut self, first: u64, _: usize) -> anyhow::Result<usize> {
        let at = first as usize % self.1.len();
        EndWords::write(&mut self.1[at][..], first);
        let mut rest = &self.1[at][..];
        while !rest.is_empty() {
            // SAFETY: the pages are not written before the reader has them behind it, as above;
            // they go with the handle, when all is read.
            let lent = unsafe {
                vmsplice(&self.0, &[IoSliceRaw::from_slice(rest)], SpliceFlags::empty())
            }?;
            rest = &rest[lent..];
        }
        Ok(1)
    }
}

// ---- iceoryx2 ----------------------------------------------------------------------------

#[cfg(feature = "processes")]
mod loaned {
    use std::os::unix::fs::MetadataExt;

    use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
    use iceoryx2::prelude::ipc;

    use super::*;
    use crate::processes::Iceoryx;

    /// Messages that are written and read in loans, as `T` says.
    pub(super) struct Loaned<T>(Iceoryx, PhantomData<T>);

    /// How often a sender pauses that finds no room: about two microseconds.
    const PAUSES: u32 = 64;

    impl<T: Touch, const N: usize> Queue<N> for Loaned<T> {
        type Sender<'q>
            = InPlace<Publisher<ipc::Service, Bytes<N>, ()>, T>
        where
            T: 'q;
        type Receiver<'q>
            = InPlace<Subscriber<ipc::Service, Bytes<N>, ()>, T>
        where
            T: 'q;

        fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
            Ok(Self(<Iceoryx as Queue<N>>::create(name, capacity)?, PhantomData))
        }

        fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
            <Self as Queue<N>>::create(address, capacity)
        }

        /// All its files, which are of this service if nobody else uses it.
        fn memory(&self) -> Option<u64> {
            let files = std::fs::read_dir("/dev/shm").ok()?.flatten();
            let own = files.filter(|it| it.file_name().to_string_lossy().starts_with("iox2_"));
            // Of both queues, of which each is asked.
            Some(own.filter_map(|it| Some(it.metadata().ok()?.blocks() * 512)).sum::<u64>() / 2)
        }

        fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
            Ok(InPlace(self.0.sender()?, PhantomData))
        }

        fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
            Ok(InPlace(self.0.receiver()?, PhantomData))
        }
    }

    impl<T: Touch, const N: usize> Sender<N> for InPlace<Publisher<ipc::Service, Bytes<N>, ()>, T> {
        /// It is sent again as long as there is no room: left to wait by itself
        /// (`RetryUntilDelivered`), version 0.10 loses the first message that finds none.
        #[inline(always)]
        fn fill(&mut self, first: u64, _: usize) -> anyhow::Result<usize> {
            // SAFETY: the memory is shared pages that were zero; any bytes are bytes.
            let mut loan = unsafe { self.0.loan_uninit()?.assume_init() };
            T::write(&mut loan.payload_mut()[..], first);
            let sent = loan.send()?;
            if sent == 0 {
                // So that it does not write all the time what nobody takes.
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
            }
            Ok(sent)
        }
    }

    impl<T: Touch, const N: usize> Receiver<N> for InPlace<Subscriber<ipc::Service, Bytes<N>, ()>, T> {
        #[inline(always)]
        fn drain(&mut self, next: u64, _: usize) -> anyhow::Result<usize> {
            let Some(sample) = self.0.receive()? else { return Ok(0) };
            T::check(&sample.payload()[..], next)?;
            Ok(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_or_another_number_is_noticed() {
        for n in [0, 1, 7] {
            let mut message = [0; 256];
            EveryWord::write(&mut message, n);
            for check in [EveryWord::check, EndWords::check, FirstWord::check] {
                assert!(check(&message, n).is_ok() && check(&message, n + 2).is_err());
            }
            for at in 0..message.len() {
                let mut changed = message;
                changed[at] ^= 1;
                assert!(EveryWord::check(&changed, n).is_err(), "byte {at}");
            }
        }
    }
}
