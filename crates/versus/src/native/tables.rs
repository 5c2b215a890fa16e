//! Queues between threads: a table of what can be done with each.

use std::ffi::c_void;
use std::marker::PhantomData;

use anyhow::ensure;

use crate::case::{Case, Context, Pattern, Reading, Runner};
use crate::message::{Bytes, SIZE, SMALL};
use crate::pattern::{between_threads, duo};
use crate::peer::Peer;
use crate::queue::{Queue, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    let mut peers = vec![];
    #[cfg(has_dpdk)]
    {
        peers.push(one_to_one(peer::<DpdkSingle>("DPDK rte_ring", 400_000)));
        // Its threads wait for whoever was before them, and none yields: with more threads than
        // cores a reading need not end, and is given up. Its guide says so, and names RTS.
        peers.push(
            peer::<DpdkMany>("DPDK rte_ring MP/MC", 100_000)
                .stream(&[256, 4096])
                .crowds(|_, _| true),
        );
        peers.push(many(peer::<DpdkRelaxed>("DPDK rte_ring RTS", 100_000)));
    }
    #[cfg(has_moodycamel_spsc)]
    peers.push(one_to_one(peer::<ReaderWriter>("ReaderWriterQueue", 400_000)));
    #[cfg(has_moodycamel_mpmc)]
    peers.push(many(peer::<Concurrent>("ConcurrentQueue", 100_000)));
    #[cfg(has_boost_lockfree)]
    {
        peers.push(one_to_one(peer::<BoostSingle>("Boost spsc_queue", 400_000)));
        peers.push(many(peer::<BoostMany>("Boost lockfree queue", 100_000)));
    }
    peers
}

fn peer<K: Kind>(name: &'static str, messages: u64) -> Peer {
    Peer::new(name, Runner::within(run::<K, SIZE>), Runner::within(run::<K, SMALL>), messages)
}

#[allow(dead_code, reason = "it depends on the headers that are there")]
fn one_to_one(peer: Peer) -> Peer {
    peer.stream(&[256, 4096]).small().round_trip()
}

#[allow(dead_code, reason = "as above")]
fn many(peer: Peer) -> Peer {
    peer.stream(&[256, 4096]).crowds(|_, _| true)
}

/// A queue in C++: what can be done with one, for messages of one size.
#[repr(C)]
struct Table {
    /// Null if it cannot be made.
    create: extern "C" fn(capacity: usize) -> *mut c_void,
    destroy: unsafe extern "C" fn(*mut c_void),
    send: unsafe extern "C" fn(*mut c_void, *const u8) -> bool,
    receive: unsafe extern "C" fn(*mut c_void, *mut u8) -> bool,
    send_stream: unsafe extern "C" fn(*mut c_void, u64),
    /// Ticks from the first eighth on, or 0 if a message was wrong; so `ping`.
    receive_stream: unsafe extern "C" fn(*mut c_void, u64) -> u64,
    ping: unsafe extern "C" fn(*mut c_void, *mut c_void, u64) -> u64,
    echo: unsafe extern "C" fn(*mut c_void, *mut c_void, u64),
}

/// Which queue in C++.
trait Kind: 'static {
    fn table(size: usize) -> &'static Table;
}

macro_rules! kind {
    ($cfg:ident, $kind:ident, $small:ident, $whole:ident) => {
        #[cfg($cfg)]
        struct $kind;

        #[cfg($cfg)]
        impl Kind for $kind {
            fn table(size: usize) -> &'static Table {
                // SAFETY: constants of this layout, in `native/`.
                unsafe extern "C" {
                    safe static $small: Table;
                    safe static $whole: Table;
                }
                if size == SMALL { &$small } else { &$whole }
            }
        }
    };
}

kind!(has_dpdk, DpdkSingle, dpdk_spsc_8, dpdk_spsc_40);
kind!(has_dpdk, DpdkMany, dpdk_mpmc_8, dpdk_mpmc_40);
kind!(has_dpdk, DpdkRelaxed, dpdk_rts_8, dpdk_rts_40);
kind!(has_moodycamel_spsc, ReaderWriter, moodycamel_spsc_8, moodycamel_spsc_40);
kind!(has_moodycamel_mpmc, Concurrent, moodycamel_mpmc_8, moodycamel_mpmc_40);
kind!(has_boost_lockfree, BoostSingle, boost_spsc_8, boost_spsc_40);
kind!(has_boost_lockfree, BoostMany, boost_mpmc_8, boost_mpmc_40);

/// A queue in C++ that was made.
struct Foreign<K: Kind> {
    queue: *mut c_void,
    size: usize,
    kind: PhantomData<K>,
}

// SAFETY: the queues are made to be used by several threads, as many of either side as the cases
// ask of them; they are created and destroyed by one.
unsafe impl<K: Kind> Sync for Foreign<K> {}

impl<K: Kind> Foreign<K> {
    fn new(capacity: usize, size: usize) -> anyhow::Result<Self> {
        let queue = (K::table(size).create)(capacity);
        ensure!(!queue.is_null(), "it could not be made");
        Ok(Self { queue, size, kind: PhantomData })
    }
}

impl<K: Kind> Drop for Foreign<K> {
    fn drop(&mut self) {
        // SAFETY: made by this table, and nobody uses it any more.
        unsafe { (K::table(self.size).destroy)(self.queue) };
    }
}

/// Either end of a queue in C++.
struct End<'q> {
    table: &'static Table,
    queue: *mut c_void,
    borrowed: PhantomData<&'q ()>,
}

impl<K: Kind, const N: usize> Queue<N> for Foreign<K> {
    type Sender<'q> = End<'q>;
    type Receiver<'q> = End<'q>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        Self::new(capacity, N)
    }

    fn sender(&self) -> anyhow::Result<End<'_>> {
        Ok(End { table: K::table(self.size), queue: self.queue, borrowed: PhantomData })
    }

    fn receiver(&self) -> anyhow::Result<End<'_>> {
        Ok(End { table: K::table(self.size), queue: self.queue, borrowed: PhantomData })
    }
}

impl<const N: usize> Sender<N> for End<'_> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        // SAFETY: the queue lives, and takes messages of `N` bytes: it was made by the table of
        // that size.
        Ok(unsafe { (self.table.send)(self.queue, bytes.as_ptr()) })
    }
}

impl<const N: usize> Receiver<N> for End<'_> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        // SAFETY: as in `send`.
        Ok(unsafe { (self.table.receive)(self.queue, buffer.as_mut_ptr()) })
    }
}

/// A queue in C++ as one of its ends is about to use it in another thread.
struct Used<'q, K: Kind>(&'q Foreign<K>);

impl<K: Kind> Used<'_, K> {
    fn queue(&self) -> *mut c_void {
        self.0.queue
    }
}

fn run<K: Kind, const N: usize>(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let (n, table) = (case.messages, K::table(N));
    let new = || Foreign::<K>::new(case.capacity, N);
    let ticks = match case.pattern {
        Pattern::Stream => {
            let queue = new()?;
            let queue = Used(&queue);
            duo(
                context.cores,
                || {
                    // SAFETY: as in `End::send`; one thread sends and one receives.
                    unsafe { (table.send_stream)(queue.queue(), n) };
                    Ok(())
                },
                // SAFETY: the same.
                || Ok(unsafe { (table.receive_stream)(queue.queue(), n) }),
            )?
        }
        Pattern::RoundTrip => {
            let (there, back) = (new()?, new()?);
            let (there, back) = (Used(&there), Used(&back));
            duo(
                context.cores,
                || {
                    // SAFETY: as in `End::send`; each is sent to by one thread and received from
                    // by the other.
                    unsafe { (table.echo)(there.queue(), back.queue(), n) };
                    Ok(())
                },
                // SAFETY: the same.
                || Ok(unsafe { (table.ping)(there.queue(), back.queue(), n) }),
            )?
        }
        _ => return between_threads::<Foreign<K>, N>(context, case),
    };
    ensure!(ticks != 0, "a message came changed or out of order");
    Ok((ticks as f64 / (n - n / 8) as f64).into())
}
