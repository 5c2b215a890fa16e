//! The POSIX message queue with priorities, whose sides do not block.

use std::io::ErrorKind;

use posixmq::{OpenOptions, PosixMq};

use super::PosixQueue;
use crate::message::Bytes;
use crate::peer::Peer;
use crate::queue::{Queue, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    let usual = Peer::processes::<Priorities, Priorities>("POSIX message queue", 1_000);
    vec![usual.unsized_capacity().urgent()]
}

struct Priorities(PosixQueue);

struct End(PosixMq);

impl<const N: usize> Queue<N> for Priorities {
    type Sender<'q> = End;
    type Receiver<'q> = End;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(<PosixQueue as Queue<N>>::create(name, capacity)?))
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(<PosixQueue as Queue<N>>::open(address, capacity)?))
    }

    fn sender(&self) -> anyhow::Result<End> {
        Ok(End(OpenOptions::writeonly().nonblocking().open(&self.0.name)?))
    }

    fn receiver(&self) -> anyhow::Result<End> {
        Ok(End(OpenOptions::readonly().nonblocking().open(&self.0.name)?))
    }
}

/// What would block is no error.
fn done<T>(result: std::io::Result<T>) -> anyhow::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl<const N: usize> Sender<N> for End {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(done(self.0.send(0, bytes))?.is_some())
    }

    #[inline(always)]
    fn send_urgent(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(done(self.0.send(1, bytes))?.is_some())
    }
}

impl<const N: usize> Receiver<N> for End {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let Some((_, size)) = done(self.0.recv(buffer))? else { return Ok(false) };
        anyhow::ensure!(size == N, "a message of {size} bytes");
        Ok(true)
    }
}
