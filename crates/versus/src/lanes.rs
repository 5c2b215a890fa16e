//! The ring with lanes: by class, where urgent messages overtake, and by producer, where producers
//! do not meet.

use ultrafastring::{AnyMode, Builder, Consumer, Lanes, Producer};

use crate::message::SIZE;
use crate::own::{Named, timestamps};
use crate::queue::Queue;
use crate::urgent;

/// A lane for each class; both sides are exclusive.
pub(crate) struct ByClass(Named);

impl<const N: usize> Queue<N> for ByClass {
    type Sender<'q> = urgent::ByClass<AnyMode>;
    type Receiver<'q> = Consumer<AnyMode>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = Builder::new().exclusive_producer().exclusive_consumer().capacity(capacity);
        let builder = builder.max_message(N.max(SIZE)).lanes(Lanes::ByClass);
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn sender(&self) -> anyhow::Result<urgent::ByClass<AnyMode>> {
        Ok(urgent::ByClass(self.0.ring.producer()?))
    }

    fn receiver(&self) -> anyhow::Result<Consumer<AnyMode>> {
        Ok(self.0.ring.consumer()?)
    }
}

/// A lane for each of so many producers, a timestamp in `ONE_IN` messages.
pub(crate) struct ByProducer<const LANES: u16, const ONE_IN: u32>(Named);

impl<const LANES: u16, const ONE_IN: u32, const N: usize> Queue<N> for ByProducer<LANES, ONE_IN> {
    type Sender<'q> = Producer<AnyMode>;
    type Receiver<'q> = Consumer<AnyMode>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = Builder::new().exclusive_producer().capacity(capacity);
        let builder = builder.timestamps(timestamps(ONE_IN)).lanes(Lanes::ByProducer(LANES));
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<AnyMode>> {
        Ok(self.0.ring.producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<AnyMode>> {
        Ok(self.0.ring.consumer()?)
    }
}
