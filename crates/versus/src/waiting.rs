//! Sides that wait: what a round trip costs when both sleep in between, beside a pipe, a Unix
//! socket and the limit of all that sleep in the kernel, a futex and nothing else; when both spin,
//! beside the raw line; what a stream costs when its sides may sleep; and what an idle waiter
//! takes.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::ensure;
use rustix::fs::ftruncate;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;
use ultrafastring::{Consumer, Exclusive, LONGEST_PARK, Producer, WaitStrategy};

use crate::case::{Case, Context, Pattern, Reading, Runner, Whose};
use crate::kernel::{self, Pipe, Place, Socket};
use crate::machine;
use crate::message::{Bytes, SIZE, message};
use crate::own::{Alone, EVERY};
use crate::pattern::processes;
use crate::queue::{Queue, Receiver, Sender};

/// How a ring's sides wait, as the types below say it.
const SPIN: u8 = 0;
const DEFAULT: u8 = 1;
const PARK: u8 = 2;

pub(crate) fn cases() -> Vec<Case> {
    let case = |what: &str, pattern, capacity, messages, limit, runner| Case {
        name: format!("wait: {what}"),
        peer: "waiting",
        // They are compared with nothing but each other, by name.
        whose: Whose::Nobody,
        pattern,
        capacity,
        size: SIZE,
        messages,
        limit,
        runner,
    };
    let round_trip = |who: &str, capacity, messages, limit, runner| {
        let what = format!("round trip, {who}");
        case(&what, Pattern::WaitingRoundTrip, capacity, messages, Some(limit), runner)
    };
    let stream = |what: &str, runner| {
        let what = format!("stream 4096, {what}");
        case(&what, Pattern::WaitingStream, 4096, 400_000, None, runner)
    };
    let futex = "wait: round trip, bare futex";
    vec![
        round_trip("both park", 256, 1_000, futex, processes::<Waiting<Ring<PARK>>, SIZE>()),
        round_trip("default", 256, 1_000, futex, processes::<Waiting<Ring<DEFAULT>>, SIZE>()),
        round_trip("both spin", 256, 20_000, "raw line", processes::<Waiting<Ring<SPIN>>, SIZE>()),
        round_trip("bare futex", 0, 1_000, futex, processes::<Waiting<BareFutex>, SIZE>()),
        round_trip("pipe", 0, 1_000, futex, processes::<Waiting<Pipe>, SIZE>()),
        round_trip("socket", 0, 1_000, futex, processes::<Waiting<Socket<kernel::Stream>>, SIZE>()),
        stream("may park", processes::<Waiting<Ring<DEFAULT>>, SIZE>()),
        stream("spins", processes::<Waiting<Ring<SPIN>>, SIZE>()),
        case("idle, ticks a second", Pattern::Limit, 256, 1, None, Runner::within(idle)),
    ]
}

/// A queue whose sides wait as it lets them, where others try again and again.
struct Waiting<Q>(Q);

impl<Q: Queue<N>, const N: usize> Queue<N> for Waiting<Q> {
    type Sender<'q>
        = Waiting<Q::Sender<'q>>
    where
        Self: 'q;
    type Receiver<'q>
        = Waiting<Q::Receiver<'q>>
    where
        Self: 'q;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Q::create(name, capacity).map(Self)
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Q::open(address, capacity).map(Self)
    }

    fn address(&self, name: &str) -> String {
        self.0.address(name)
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender().map(Waiting)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver().map(Waiting)
    }
}

impl<H: Sender<N>, const N: usize> Sender<N> for Waiting<H> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        self.0.wait(bytes).map(|()| true)
    }
}

impl<H: Receiver<N>, const N: usize> Receiver<N> for Waiting<H> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        self.0.wait(buffer).map(|()| true)
    }
}

/// The ring with exclusive sides that wait in one way.
struct Ring<const STRATEGY: u8>(Alone<EVERY>);

const fn strategy(number: u8) -> WaitStrategy {
    match number {
        SPIN => WaitStrategy::Spin,
        PARK => WaitStrategy::Park,
        _ => WaitStrategy::SpinThenPark,
    }
}

impl<const STRATEGY: u8, const N: usize> Queue<N> for Ring<STRATEGY> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        <Alone<EVERY> as Queue<N>>::create(name, capacity).map(Self)
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        <Alone<EVERY> as Queue<N>>::open(address, capacity).map(Self)
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        let mut producer = Queue::<N>::sender(&self.0)?;
        producer.set_wait_strategy(strategy(STRATEGY));
        Ok(producer)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Exclusive>> {
        let mut consumer = Queue::<N>::receiver(&self.0)?;
        consumer.set_wait_strategy(strategy(STRATEGY));
        Ok(consumer)
    }
}

/// What sleeping and waking costs when nothing is sent: a word that two processes share, on a page
/// of its own, that says how many messages there would have been.
struct BareFutex {
    place: Place,
}

/// Either end of [`BareFutex`], with the page mapped.
struct End {
    word: *mut AtomicU32,
    /// Messages so far.
    turn: u32,
}

impl End {
    /// The word's page.
    const BYTES: usize = 4096;

    fn map(place: &Place) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open(&place.path)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, where the kernel finds room.
        let start =
            unsafe { mmap(std::ptr::null_mut(), Self::BYTES, access, MapFlags::SHARED, file, 0)? };
        Ok(Self { word: start.cast(), turn: 0 })
    }

    #[inline(always)]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped for as long as this lives, zero at first, and accessed by atomics only, by
        // both processes.
        unsafe { &*self.word }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped, and nobody has a reference any more.
        let unmapped = unsafe { munmap(self.word.cast(), Self::BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}

impl<const N: usize> Queue<N> for BareFutex {
    type Sender<'q> = End;
    type Receiver<'q> = End;

    fn create(name: &str, _: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        ftruncate(File::create_new(&place.path)?, End::BYTES as u64)?;
        Ok(Self { place })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self { place: Place::of_another(address) })
    }

    fn sender(&self) -> anyhow::Result<End> {
        End::map(&self.place)
    }

    fn receiver(&self) -> anyhow::Result<End> {
        End::map(&self.place)
    }
}

impl<const N: usize> Sender<N> for End {
    /// Says the turn, and wakes who waits for it.
    #[inline(always)]
    fn send(&mut self, _: &Bytes<N>) -> anyhow::Result<bool> {
        self.turn += 1;
        // Release: pairs with the acquire in `receive`.
        self.word().store(self.turn, Ordering::Release);
        futex::wake(self.word(), futex::Flags::empty(), 1)?;
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for End {
    /// Sees whether it is the next turn; what would have been sent then follows from it.
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        // Acquire: pairs with the release in `send`.
        if self.word().load(Ordering::Acquire) == self.turn {
            return Ok(false);
        }
        *buffer = message(u64::from(self.turn));
        self.turn += 1;
        Ok(true)
    }

    /// Sleeps until it is.
    #[inline(always)]
    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        while !self.receive(buffer)? {
            // Whatever ends the sleep, the word is looked at.
            let _ = futex::wait(self.word(), futex::Flags::empty(), self.turn, None);
        }
        Ok(())
    }
}

/// Ticks of its core that a second of waiting takes.
fn idle(_: &mut Context, _: &Case) -> anyhow::Result<Reading> {
    let ring: Ring<DEFAULT> =
        Queue::<SIZE>::create(&format!("versus-{}-idle", std::process::id()), 256)?;
    let mut consumer = Queue::<SIZE>::receiver(&ring)?;
    // Five times as long as anybody sleeps at a time.
    let time = 5 * LONGEST_PARK;
    let before = machine::time_on_core();
    ensure!(consumer.recv_timeout(time).is_err(), "somebody has sent");
    let share = (machine::time_on_core() - before).as_secs_f64() / time.as_secs_f64();
    Ok((share * ring.0.0.ring.clock().ticks_per_second).into())
}
