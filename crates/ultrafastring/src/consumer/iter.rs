//! Messages one after the other, as iterators.

use super::Consumer;
use crate::message::Message;
use crate::mode::{AnyMode, Mode};

impl<S: Mode> Consumer<S> {
    /// Receives messages one after the other. It ends when the ring is empty, or at a message of
    /// more than 40 bytes, which stays in the ring. Never waits.
    pub fn try_iter(&mut self) -> TryIter<'_, S> {
        TryIter { consumer: self }
    }

    /// Receives messages one after the other, and waits for each. It ends when the ring is closed
    /// and empty, when it is damaged, or when it is deserted, if
    /// [`end_when_deserted`](Self::end_when_deserted) says so. It also ends at a message of more
    /// than 40 bytes, which stays in the ring. The next [`recv`](Self::recv) returns the reason at
    /// once.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// std::thread::spawn(move || {
    ///     for word in ["to", "be"] {
    ///         producer.send(word.as_bytes(), PriorityClass::Normal).unwrap();
    ///     }
    ///     producer.close();
    /// });
    /// let mut words = vec![];
    /// for message in &mut consumer {
    ///     words.push(message.to_vec());
    /// }
    /// assert_eq!(words, [b"to", b"be"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(any(feature = "std", loom))]
    pub fn iter(&mut self) -> Iter<'_, S> {
        Iter { consumer: self }
    }
}

/// Receives what is there; see [`Consumer::try_iter`].
#[must_use = "it receives nothing until it is asked"]
#[derive(Debug)]
pub struct TryIter<'a, S: Mode = AnyMode> {
    consumer: &'a mut Consumer<S>,
}

impl<S: Mode> Iterator for TryIter<'_, S> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        self.consumer.try_recv().ok()
    }
}

/// Receives and waits; see [`Consumer::iter`].
#[must_use = "it receives nothing until it is asked"]
#[cfg(any(feature = "std", loom))]
#[derive(Debug)]
pub struct Iter<'a, S: Mode = AnyMode> {
    consumer: &'a mut Consumer<S>,
}

#[cfg(any(feature = "std", loom))]
impl<S: Mode> Iterator for Iter<'_, S> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        self.consumer.recv().ok()
    }
}

#[cfg(any(feature = "std", loom))]
impl<'a, S: Mode> IntoIterator for &'a mut Consumer<S> {
    type Item = Message;
    type IntoIter = Iter<'a, S>;

    fn into_iter(self) -> Iter<'a, S> {
        self.iter()
    }
}

/// Receives and waits, and owns the handle; see [`Consumer::iter`].
#[must_use = "it receives nothing until it is asked"]
#[cfg(any(feature = "std", loom))]
#[derive(Debug)]
pub struct IntoIter<S: Mode = AnyMode> {
    consumer: Consumer<S>,
}

#[cfg(any(feature = "std", loom))]
impl<S: Mode> IntoIter<S> {
    /// The handle. With it you can ask why the iteration ended, or receive a message of more than
    /// 40 bytes, which ends the iteration and stays in the ring.
    pub fn into_inner(self) -> Consumer<S> {
        self.consumer
    }
}

#[cfg(any(feature = "std", loom))]
impl<S: Mode> Iterator for IntoIter<S> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        self.consumer.recv().ok()
    }
}

#[cfg(any(feature = "std", loom))]
impl<S: Mode> IntoIterator for Consumer<S> {
    type Item = Message;
    type IntoIter = IntoIter<S>;

    fn into_iter(self) -> IntoIter<S> {
        IntoIter { consumer: self }
    }
}
