//! Handles to borrow for the length of one call: what the calls on `&UltraFastRing` go through.
//!
//! A ring has a few seats for each side. A call takes a free one, the same as last time where it
//! can, uses the handle that lies in it (made at the first use), and gives it back. So those calls
//! are the shared path and nothing else: one mechanism for the frontier and for recovery. A seat
//! costs a swap on a line that only one thread uses, about seven ticks.

use core::cell::UnsafeCell;

use crate::sync::{AtomicU64, Ordering};

/// Seats for each side: how many threads can be inside a call at the same time.
pub(crate) const SEATS: usize = if cfg!(feature = "alloc") { 16 } else { 4 };

const EMPTY_HANDED: u64 = 0;
const TAKEN: u64 = 1;

/// A handle and whether somebody is using it.
#[repr(align(128))]
struct Seat<H> {
    state: AtomicU64,
    handle: UnsafeCell<Option<H>>,
}

/// The seats of one side.
pub(crate) struct Seats<H> {
    seats: [Seat<H>; SEATS],
}

// SAFETY: a handle is reached only by the one that changed its seat's state from free to taken,
// and that one's use happens before the next one's, so sharing the seats only sends handles.
unsafe impl<H: Send> Sync for Seats<H> {}

/// A seat that this call has; dropping it gives it back, in a panic too.
struct Taken<'a, H>(&'a Seat<H>);

impl<H> Drop for Taken<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the acquire of the next swap.
        self.0.state.store(EMPTY_HANDED, Ordering::Release);
    }
}

impl<H> Seat<H> {
    #[inline(always)]
    fn take(&self) -> Option<Taken<'_, H>> {
        // Acquire: pairs with the release when the seat was given back.
        (self.state.swap(TAKEN, Ordering::Acquire) == EMPTY_HANDED).then_some(Taken(self))
    }
}

impl<H> Taken<'_, H> {
    #[inline(always)]
    fn handle(&mut self) -> &mut Option<H> {
        // SAFETY: only the one that took the seat has a `Taken` of it, and lends it mutably.
        unsafe { &mut *self.0.handle.get() }
    }
}

impl<H> Seats<H> {
    pub(crate) fn new() -> Self {
        Self {
            seats: core::array::from_fn(|_| Seat {
                state: AtomicU64::new(EMPTY_HANDED),
                handle: UnsafeCell::new(None),
            }),
        }
    }

    /// Calls `work` with a handle, made by `make` if the seat has none yet. `None` if every seat
    /// is taken at this moment.
    #[inline(always)]
    pub(crate) fn with<T, E>(
        &self,
        make: impl FnOnce() -> Result<H, E>,
        work: impl FnOnce(&mut H) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let first = preferred_seat();
        let mut taken = match self.seats[first].take() {
            Some(taken) => taken,
            None => self.find(first)?,
        };
        match taken.handle() {
            Some(handle) => Some(work(handle)),
            vacant => Some(match make() {
                Ok(handle) => work(vacant.insert(handle)),
                Err(error) => Err(error),
            }),
        }
    }

    /// Calls `work` with each handle that nobody is using.
    pub(crate) fn for_each_idle(&self, mut work: impl FnMut(&mut H)) {
        for seat in &self.seats {
            if let Some(mut taken) = seat.take()
                && let Some(handle) = taken.handle()
            {
                work(handle);
            }
        }
    }

    #[cold]
    fn find(&self, first: usize) -> Option<Taken<'_, H>> {
        (1..SEATS).find_map(|step| self.seats[(first + step) % SEATS].take())
    }
}

/// The seat that this thread tries first: threads are dealt seats in turn.
#[inline(always)]
fn preferred_seat() -> usize {
    #[cfg(all(feature = "std", not(loom)))]
    {
        use core::cell::Cell;
        use core::sync::atomic::AtomicUsize;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static SEAT: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        SEAT.with(|seat| {
            if seat.get() >= SEATS {
                // Relaxed: any number will do.
                seat.set(NEXT.fetch_add(1, Ordering::Relaxed) % SEATS);
            }
            seat.get()
        })
    }
    #[cfg(not(all(feature = "std", not(loom))))]
    {
        0
    }
}
