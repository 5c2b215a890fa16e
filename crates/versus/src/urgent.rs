//! Urgent messages behind bulk: one side sends orders as fast as there is room, each of which takes
//! the other 10 µs of work, and now and then an urgent message. How long that one takes is counted
//! from when it was due.
//!
//! The sender is never blocked by an order: the queue says that it is full. An urgent message that
//! finds no room is tried again before any order is.

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use ultrafastring::clock::Clock;
use ultrafastring::{
    Builder, Consumer, Exclusive, Mode, PriorityClass, Producer, RecvError, rdtsc,
};

use crate::case::Reading;
use crate::message::{Bytes, SIZE, message, number};
use crate::own::{Named, received, sent};
use crate::queue::{Queue, Receiver, Sender};

/// How long the work on an order takes.
const WORK_NS: f64 = 10_000.0;

/// Marks the number of an urgent message, the rest of which is the tick when it was due.
const URGENT: u64 = 1 << 63;

/// Ticks between urgent messages: some 60 to 180 µs, by a sequence that keeps no step with the
/// work.
fn until_next(at: u64) -> u64 {
    const LEAST: u64 = 150_000;
    LEAST + (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (2 * LEAST)
}

/// Sends `n` urgent messages when they are due, and orders in between as fast as there is room.
#[inline(never)]
pub(crate) fn send<H: Sender<N>, const N: usize>(mut sender: H, n: u64) -> anyhow::Result<H> {
    let (mut orders, mut urgent) = (0, 0);
    let mut due = rdtsc() + until_next(0);
    while urgent < n {
        if rdtsc() < due {
            orders += u64::from(sender.send(&message(orders))?);
        } else if sender.send_urgent(&message(URGENT | due))? {
            urgent += 1;
            due += until_next(urgent);
        }
    }
    Ok(sender)
}

/// Receives until all urgent messages are there, and works on each order.
#[inline(never)]
pub(crate) fn receive<const N: usize>(
    mut receiver: impl Receiver<N>,
    n: u64,
) -> anyhow::Result<Reading> {
    let work = (WORK_NS * Clock::calibrated().ticks_per_second / 1e9) as u64;
    // Three digits are kept; a second is the longest that is told apart.
    let mut latency = Histogram::new_with_bounds(1, 10_000_000_000, 3)?;
    let mut buffer = [0; N];
    let (mut orders, mut urgent, mut last) = (0, 0, 0);
    while urgent < n {
        if !receiver.receive(&mut buffer)? {
            continue;
        }
        let now = rdtsc();
        match number(&buffer) {
            Some(order) if order == orders => {
                orders += 1;
                while rdtsc() - now < work {
                    std::hint::spin_loop();
                }
            }
            Some(due) if due & URGENT != 0 && due & !URGENT > last => {
                last = due & !URGENT;
                if urgent >= n / 8 {
                    latency.saturating_record(now.saturating_sub(last).max(1));
                }
                urgent += 1;
            }
            _ => bail!("a message came changed or out of order, after {orders} orders"),
        }
    }
    ensure!(orders > 0, "no order was among them");
    let value = latency.value_at_quantile(0.99) as f64;
    Ok(Reading { latency: Some(latency), ..value.into() })
}

fn ring(capacity: usize) -> Builder {
    Builder::new().exclusive_producer().exclusive_consumer().capacity(capacity).max_message(SIZE)
}

/// Credits of a ring of one lane that only urgent messages have, so that one always finds room.
const RESERVE: u64 = 16;

/// One ring, in which a class is a reserve of credit and does not overtake.
pub(crate) struct OneLane(Named);

/// A producer whose urgent messages are of the most urgent class, and all others of the least.
pub(crate) struct ByClass<M: Mode>(pub(crate) Producer<M>);

impl<M: Mode, const N: usize> Sender<N> for ByClass<M> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.0.send_fast(bytes, PriorityClass::Bulk))
    }

    #[inline(always)]
    fn send_urgent(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.0.send_fast(bytes, PriorityClass::RealTime))
    }
}

impl<const N: usize> Queue<N> for OneLane {
    type Sender<'q> = ByClass<Exclusive>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = ring(capacity).reserve(PriorityClass::RealTime, RESERVE);
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn sender(&self) -> anyhow::Result<ByClass<Exclusive>> {
        Ok(ByClass(self.0.ring.exclusive_producer()?))
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Exclusive>> {
        Ok(self.0.ring.exclusive_consumer()?)
    }
}

/// Two rings, the urgent one looked at first: what is done where nothing overtakes.
pub(crate) struct TwoRings {
    urgent: Named,
    orders: Named,
}

pub(crate) struct ToEither {
    urgent: Producer<Exclusive>,
    orders: Producer<Exclusive>,
}

pub(crate) struct FromBoth {
    urgent: Consumer<Exclusive>,
    orders: Consumer<Exclusive>,
}

impl<const N: usize> Queue<N> for TwoRings {
    type Sender<'q> = ToEither;
    type Receiver<'q> = FromBoth;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self {
            urgent: Named::create(&ring(capacity), &format!("{name}-urgent"))?,
            orders: Named::create(&ring(capacity), name)?,
        })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self {
            urgent: Named::open(&Builder::new(), &format!("{address}-urgent"))?,
            orders: Named::open(&Builder::new(), address)?,
        })
    }

    fn sender(&self) -> anyhow::Result<ToEither> {
        let (urgent, orders) = (&self.urgent.ring, &self.orders.ring);
        Ok(ToEither { urgent: urgent.exclusive_producer()?, orders: orders.exclusive_producer()? })
    }

    fn receiver(&self) -> anyhow::Result<FromBoth> {
        let (urgent, orders) = (&self.urgent.ring, &self.orders.ring);
        Ok(FromBoth { urgent: urgent.exclusive_consumer()?, orders: orders.exclusive_consumer()? })
    }
}

impl<const N: usize> Sender<N> for ToEither {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.orders.send_fast(bytes, PriorityClass::Bulk))
    }

    #[inline(always)]
    fn send_urgent(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.urgent.send_fast(bytes, PriorityClass::RealTime))
    }
}

impl<const N: usize> Receiver<N> for FromBoth {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        match self.urgent.recv_fast(buffer) {
            Err(RecvError::Empty) => received(self.orders.recv_fast(buffer)),
            done => received(done),
        }
    }
}
