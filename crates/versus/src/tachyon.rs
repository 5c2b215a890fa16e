//! tachyon, between processes; built only with the feature `tachyon`.

use anyhow::ensure;
use tachyon_ipc::{Bus, TachyonError};

use crate::kernel::{Place, retried};
use crate::message::Bytes;
use crate::peer::Peer;
use crate::queue::{Queue, Receiver, Sender};

pub(crate) fn peers() -> Vec<Peer> {
    vec![
        Peer::processes::<Tachyon, Tachyon>("tachyon", 200_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced(),
    ]
}

/// Whoever created listens, and the other connects; both only look again and again.
struct Tachyon {
    place: Place,
    /// Of the one that created it.
    bytes: Option<usize>,
}

impl Tachyon {
    fn bus(&self) -> anyhow::Result<Bus> {
        let path = self.place.path.to_string_lossy();
        let bus = match self.bytes {
            Some(bytes) => Bus::listen(&path, bytes).map_err(|error| anyhow::anyhow!("{error}"))?,
            None => retried(|| Bus::connect(&path))?,
        };
        bus.set_polling_mode(1);
        Ok(bus)
    }
}

/// An end of a bus.
struct End(Bus);

impl<const N: usize> Queue<N> for Tachyon {
    type Sender<'q> = End;
    type Receiver<'q> = End;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        // In bytes: a message and its header take two lines.
        Ok(Self { place: Place::new(name), bytes: Some(capacity * 128) })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self { place: Place::of_another(address), bytes: None })
    }

    fn sender(&self) -> anyhow::Result<End> {
        Ok(End(self.bus()?))
    }

    fn receiver(&self) -> anyhow::Result<End> {
        Ok(End(self.bus()?))
    }
}

impl<const N: usize> Sender<N> for End {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        match self.0.send(bytes, 1) {
            Ok(()) => Ok(true),
            Err(TachyonError::BufferFull) => Ok(false),
            Err(error) => Err(anyhow::anyhow!("{error}")),
        }
    }
}

impl<const N: usize> Receiver<N> for End {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let message = self.0.acquire_rx(u32::MAX).map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(message.actual_size == N, "a message of {} bytes", message.actual_size);
        buffer.copy_from_slice(message.data());
        message.commit().map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(true)
    }
}
