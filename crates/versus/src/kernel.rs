//! What the kernel offers between processes: a pipe, and two kinds of Unix socket. Both sides
//! block in it, as their users do.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::Context;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketType, accept, bind, connect, listen, socket,
};
use rustix::pipe::fcntl_setpipe_size;

use crate::message::{Bytes, SIZE};
use crate::peer::Peer;
use crate::queue::{Each, Queue, Receiver, Sender};

pub(crate) fn peers() -> Vec<Peer> {
    let patterns =
        |peer: Peer| peer.unsized_capacity().stream(&[0]).small().round_trip().paced().idle();
    vec![
        patterns(Peer::processes::<Pipe, Pipe>("pipe", 20_000)),
        Peer::fan_out_processes::<Each<Pipe>>("pipe, one each", 10_000)
            .unsized_capacity()
            .fan_out(),
        patterns(Peer::processes::<Socket<Whole>, Socket<Whole>>("seqpacket socket", 20_000)),
        patterns(Peer::processes::<Socket<Stream>, Socket<Stream>>("stream socket", 20_000)),
    ]
}

/// A path that is removed when whoever made it is done.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    made: bool,
}

impl Place {
    /// Where something so called is to be made.
    pub(crate) fn new(name: &str) -> Self {
        let place = Self { path: Self::path(name), made: true };
        // Of an earlier run that was killed, if there is one.
        let _ = fs::remove_file(&place.path);
        place
    }

    /// Where somebody else has made it.
    pub(crate) fn of_another(name: &str) -> Self {
        Self { path: Self::path(name), made: false }
    }

    fn path(name: &str) -> PathBuf {
        let shared = PathBuf::from("/dev/shm");
        if shared.is_dir() { shared } else { std::env::temp_dir() }.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.made {
            // The queue may have removed it itself.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Calls `open` until it succeeds, for at most some seconds: the other process may not be so far.
#[cfg(any(feature = "processes", feature = "tachyon"))]
pub(crate) fn retried<T, E: std::fmt::Debug>(
    mut open: impl FnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    let mut last = None;
    for _ in 0..20_000 {
        match open() {
            Ok(opened) => return Ok(opened),
            Err(error) => last = Some(error),
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    anyhow::bail!("the other side did not come: {last:?}")
}

/// A pipe with a name, which is the same as one without once it is open.
pub(crate) struct Pipe(Place);

/// Bytes that a pipe for large messages holds, if the system lets it.
const PIPE: usize = 1 << 20;

impl<const N: usize> Queue<N> for Pipe {
    type Sender<'q> = File;
    type Receiver<'q> = File;

    fn create(name: &str, _: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        mkfifoat(CWD, &place.path, Mode::RUSR | Mode::WUSR).context("cannot make a pipe")?;
        Ok(Self(place))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Place::of_another(address)))
    }

    fn sender(&self) -> anyhow::Result<File> {
        let pipe = File::options().write(true).open(&self.0.path)?;
        if N > SIZE {
            // As large as ordinary users may have it; a smaller one serves too.
            let _ = fcntl_setpipe_size(&pipe, PIPE);
        }
        Ok(pipe)
    }

    fn receiver(&self) -> anyhow::Result<File> {
        Ok(File::open(&self.0.path)?)
    }
}

impl<const N: usize> Sender<N> for File {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        self.write_all(bytes)?;
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for File {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        self.read_exact(buffer)?;
        Ok(true)
    }
}

/// What a socket keeps together.
pub(crate) trait Kind {
    const TYPE: SocketType;
}

/// Messages.
struct Whole;

/// Nothing: bytes.
pub(crate) struct Stream;

impl Kind for Whole {
    const TYPE: SocketType = SocketType::SEQPACKET;
}

impl Kind for Stream {
    const TYPE: SocketType = SocketType::STREAM;
}

pub(crate) struct Socket<K> {
    place: Place,
    /// Of the one that created it.
    listener: Option<OwnedFd>,
    kind: PhantomData<K>,
}

impl<K: Kind> Socket<K> {
    fn end(&self) -> anyhow::Result<OwnedFd> {
        if let Some(listener) = &self.listener {
            return Ok(accept(listener)?);
        }
        let end = socket(AddressFamily::UNIX, K::TYPE, None)?;
        connect(&end, &SocketAddrUnix::new(&self.place.path)?)?;
        Ok(end)
    }
}

/// An end of a socket.
pub(crate) struct End(OwnedFd);

impl<K: Kind, const N: usize> Queue<N> for Socket<K> {
    type Sender<'q>
        = End
    where
        Self: 'q;
    type Receiver<'q>
        = End
    where
        Self: 'q;

    fn create(name: &str, _: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        let listener = socket(AddressFamily::UNIX, K::TYPE, None)?;
        bind(&listener, &SocketAddrUnix::new(&place.path)?).context("cannot bind a socket")?;
        listen(&listener, 1)?;
        Ok(Self { place, listener: Some(listener), kind: PhantomData })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self { place: Place::of_another(address), listener: None, kind: PhantomData })
    }

    fn sender(&self) -> anyhow::Result<End> {
        Ok(End(self.end()?))
    }

    fn receiver(&self) -> anyhow::Result<End> {
        Ok(End(self.end()?))
    }
}

impl<const N: usize> Sender<N> for End {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[rustix::io::retry_on_intr(|| rustix::io::write(&self.0, rest))?..];
        }
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for End {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let mut read = 0;
        while read < N {
            let rest = &mut buffer[read..];
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *rest))? {
                0 => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
                count => read += count,
            }
        }
        Ok(true)
    }
}
