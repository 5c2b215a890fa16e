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
    /// Stands for `handle` in the model, which sees accesses that nothing orders.
    #[cfg(loom)]
    modelled: loom::cell::UnsafeCell<()>,
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
        match self.state.swap(TAKEN, Ordering::Acquire) {
            // Made here and nowhere else: dropping a `Taken` gives the seat back.
            EMPTY_HANDED => Some(Taken(self)),
            _ => None,
        }
    }
}

impl<H> Taken<'_, H> {
    #[inline(always)]
    fn handle(&mut self) -> &mut Option<H> {
        #[cfg(loom)]
        self.0.modelled.with_mut(|_| ());
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
                #[cfg(loom)]
                modelled: loom::cell::UnsafeCell::new(()),
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
        // One place that calls `work`, so that it is inlined there.
        let handle = match taken.handle() {
            Some(handle) => handle,
            vacant => match settle(vacant, make) {
                Ok(handle) => handle,
                Err(error) => return Some(Err(error)),
            },
        };
        Some(work(handle))
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

/// Makes the handle of a seat that has none yet.
#[cold]
#[inline(never)]
fn settle<H, E>(vacant: &mut Option<H>, make: impl FnOnce() -> Result<H, E>) -> Result<&mut H, E> {
    make().map(|handle| vacant.insert(handle))
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_taken_stays_taken_however_often_it_is_asked_for() {
        let seats = Seats::<u32>::new();
        let seat = &seats.seats[0];
        let taken = seat.take().unwrap();
        assert!(seat.take().is_none());
        assert!(seat.take().is_none());
        drop(taken);
        assert!(seat.take().is_some());
    }

    #[test]
    fn calls_within_calls_get_seats_of_their_own_until_none_is_left() {
        fn within(seats: &Seats<usize>, depth: usize) -> usize {
            let inner = seats.with(
                || Ok::<_, ()>(depth),
                |mine| {
                    let deepest = within(seats, depth + 1);
                    assert_eq!(*mine, depth, "somebody else had this seat meanwhile");
                    Ok(deepest)
                },
            );
            inner.map_or(depth, |deepest| deepest.unwrap())
        }
        let seats = Seats::new();
        assert_eq!(within(&seats, 0), SEATS);
        let mut seen = 0;
        seats.for_each_idle(|_| seen += 1);
        assert_eq!(seen, SEATS);
    }
}
