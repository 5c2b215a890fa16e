//! Handles to borrow for the length of one call: what the calls on `&UltraFastRing` go through.
//!
//! A ring has a few seats for each side. A call takes one, uses the handle that lies in it (made at
//! the first use), and gives it back. So those calls are the shared path and nothing else: one
//! mechanism for the frontier and for recovery.
//!
//! ```text
//!  FRESH ──▶ owned by the first thread whose seat it is ──▶ SHARED
//!    │       (threads are numbered, and dealt seats by it)  once another thread had to have it
//!    └──────────────────────────────────────────────────▶ SHARED where others could not take it over
//! ```
//!
//! A call goes to its thread's own seat without a read-modify-write, which would wait until all
//! stores before it have left: it marks the seat as occupied and looks whether somebody else has
//! taken it. Somebody else (a thread for which no free seat is left, or `stats`, which visits every
//! seat) takes it, has every thread of the process fenced by `membarrier`, and looks whether it is
//! occupied. Of the two who come at once one sees the other and backs out, or both do.
//! Where there is no `membarrier`, seats are owned by nobody, and taken by an exchange each time. In
//! a process that gives it up later (by a filter of system calls), seats stay with whoever owned them by
//! then: others neither visit them nor take them over.

use core::cell::UnsafeCell;

#[cfg(loom)]
use crate::sync::fence;
use crate::sync::{AtomicU64, Ordering};
use crate::wait;

/// Seats for each side: how many threads can be inside a call at the same time.
pub(crate) const SEATS: usize = if cfg!(feature = "alloc") { 16 } else { 4 };

// The states of a seat; any other is the number of the thread that owns it, `SEATS` at least.

/// Free, and owned by nobody yet.
const FRESH: u64 = 0;
/// Somebody has it who does not own it.
const TAKEN: u64 = 1;
/// Free, and never to be owned again.
const SHARED: u64 = 2;

/// A handle and whether somebody is using it.
#[repr(align(128))]
struct Seat<H> {
    state: AtomicU64,
    /// 1 while the thread that owns it is inside a call. Nobody else writes it.
    occupied: AtomicU64,
    handle: UnsafeCell<Option<H>>,
    /// Stands for `handle` in the model, which sees accesses that nothing orders.
    #[cfg(loom)]
    modelled: loom::cell::UnsafeCell<()>,
}

/// The seats of one side.
pub(crate) struct Seats<H> {
    seats: [Seat<H>; SEATS],
}

// SAFETY: a handle is reached only through a `Taken`, of which a seat has one at most (see its
// makers), and one's use happens before the next one's, so sharing the seats only sends handles.
unsafe impl<H: Send> Sync for Seats<H> {}

/// A seat that this call has; dropping it gives it back, in a panic too.
struct Taken<'a, H> {
    seat: &'a Seat<H>,
    /// What gives the seat back, and the value that does.
    word: &'a AtomicU64,
    then: u64,
}

impl<H> Drop for Taken<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the acquire of `state` by whoever takes the seat next, or of
        // `occupied` in `take_owned`.
        self.word.store(self.then, Ordering::Release);
    }
}

impl<H> Taken<'_, H> {
    #[inline(always)]
    fn handle(&mut self) -> &mut Option<H> {
        #[cfg(loom)]
        self.seat.modelled.with_mut(|_| ());
        // SAFETY: a seat has one `Taken` at most, which lends the handle mutably.
        unsafe { &mut *self.seat.handle.get() }
    }
}

impl<H> Seat<H> {
    fn new() -> Self {
        Self {
            state: AtomicU64::new(FRESH),
            occupied: AtomicU64::new(0),
            handle: UnsafeCell::new(None),
            #[cfg(loom)]
            modelled: loom::cell::UnsafeCell::new(()),
        }
    }

    /// Takes the seat if this thread, whose number is `me`, owns it and is not inside already.
    #[inline(always)]
    fn enter(&self, me: u64) -> Option<Taken<'_, H>> {
        // Relaxed, both: what others do meanwhile is looked at below.
        if self.state.load(Ordering::Relaxed) != me || self.occupied.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Relaxed: that it is seen by whoever took the seat before our next load is the work of
        // that one's `fence_others`; for the compiler it is that of `fence_cheaply`.
        self.occupied.store(1, Ordering::Relaxed);
        fence_cheaply();
        let occupied = Taken { seat: self, word: &self.occupied, then: 0 };
        // Acquire: pairs with the release of whoever had the seat and gave it back to its owner. If
        // somebody has it, dropping `occupied` makes it known that we are not inside.
        (self.state.load(Ordering::Acquire) == me).then_some(occupied)
    }

    /// Takes the seat if it is free and nobody owns it. If nobody ever did, `next` is to own it
    /// afterwards.
    fn take_free(&self, next: Option<u64>) -> Option<Taken<'_, H>> {
        // Acquire: pairs with the release when the seat was given back. Exchanged rather than looked
        // at first: a look may be out of date for each seat in turn, and then none is found.
        let take =
            |was| self.state.compare_exchange(was, TAKEN, Ordering::Acquire, Ordering::Relaxed);
        let then = match take(FRESH) {
            Ok(_) => next.unwrap_or(FRESH),
            Err(SHARED) => take(SHARED).ok()?,
            Err(_) => return None,
        };
        Some(Taken { seat: self, word: &self.state, then })
    }

    /// Takes the seat if another thread than this owns it and is not inside. `then` says of the
    /// owner what the state is afterwards.
    #[cold]
    fn take_owned(&self, me: u64, then: impl FnOnce(u64) -> u64) -> Option<Taken<'_, H>> {
        // Relaxed: the exchange decides.
        let owner = self.state.load(Ordering::Relaxed);
        // One's own is taken by `enter`, or one is inside.
        if matches!(owner, FRESH | TAKEN | SHARED) || owner == me {
            return None;
        }
        // Relaxed: not to disturb one that is inside; it is looked at again.
        if self.occupied.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Acquire: pairs with the release of who had it before its owner, or took it from there.
        self.state.compare_exchange(owner, TAKEN, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let mut taken = Taken { seat: self, word: &self.state, then: owner };
        // After the fence either the owner's next load of `state` finds the seat taken, or its
        // store to `occupied` came before and is seen here.
        // Acquire: pairs with the release when the owner came out.
        if !wait::fence_others() || self.occupied.load(Ordering::Acquire) != 0 {
            return None;
        }
        taken.then = then(owner);
        Some(taken)
    }
}

impl<H> Seats<H> {
    pub(crate) fn new() -> Self {
        Self { seats: core::array::from_fn(|_| Seat::new()) }
    }

    /// Calls `work` with a handle, made by `make` if the seat has none yet. `None` if every seat
    /// is taken at this moment.
    #[inline(always)]
    pub(crate) fn with<T, E>(
        &self,
        make: impl FnOnce() -> Result<H, E>,
        work: impl FnOnce(&mut H) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let me = thread_number();
        if let Some(mut taken) = self.own_seat(me).enter(me)
            && let Some(handle) = taken.handle()
        {
            return Some(work(handle));
        }
        self.with_any(me, make, work)
    }

    /// As `with`, for a thread that has no seat of its own with a handle in it. Apart, so that the
    /// usual way knows what it gives back, and how.
    #[inline(never)]
    fn with_any<T, E>(
        &self,
        me: u64,
        make: impl FnOnce() -> Result<H, E>,
        work: impl FnOnce(&mut H) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut taken = self.own_seat(me).enter(me).or_else(|| self.find(me))?;
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
        let me = thread_number();
        for seat in &self.seats {
            let taken = seat.enter(me).or_else(|| seat.take_free(None));
            if let Some(mut taken) = taken.or_else(|| seat.take_owned(me, |owner| owner))
                && let Some(handle) = taken.handle()
            {
                work(handle);
            }
        }
    }

    #[inline(always)]
    fn own_seat(&self, me: u64) -> &Seat<H> {
        &self.seats[me as usize % SEATS]
    }

    /// Enters the own seat once a visitor has left it, rather than take another owner's: a visit is
    /// short.
    fn enter_after_visit(&self, me: u64) -> Option<Taken<'_, H>> {
        /// Some times as long as a `membarrier` takes.
        const PAUSES: u32 = if cfg!(loom) { 0 } else { 1 << 9 };
        let own = self.own_seat(me);
        for _ in 0..PAUSES {
            // Relaxed: `enter` decides.
            if own.state.load(Ordering::Relaxed) != TAKEN {
                break;
            }
            core::hint::spin_loop();
        }
        own.enter(me)
    }

    /// A seat for a thread that could not enter its own: one that is free, its own before others,
    /// or one whose owner is not inside, and which nobody owns from then on: he may be gone.
    #[inline(never)]
    fn find(&self, me: u64) -> Option<Taken<'_, H>> {
        let mut own = self.own_seat(me).take_free(TOLD_APART.then_some(me));
        if let Some(taken) = &mut own
            && taken.then == me
            && !wait::fence_others()
        {
            // What nobody could take over is not to be owned.
            taken.then = SHARED;
        }
        let all = || (0..SEATS as u64).map(|step| self.own_seat(me.wrapping_add(step)));
        let free = || all().find_map(|seat| seat.take_free(None));
        own.or_else(free)
            .or_else(|| self.enter_after_visit(me))
            .or_else(|| all().find_map(|seat| seat.take_owned(me, |_| SHARED)))
            // Taken over by others meanwhile, and given back.
            .or_else(free)
    }
}

/// Makes the handle of a seat that has none yet.
#[cold]
#[inline(never)]
fn settle<H, E>(vacant: &mut Option<H>, make: impl FnOnce() -> Result<H, E>) -> Result<&mut H, E> {
    make().map(|handle| vacant.insert(handle))
}

/// What `fence_others` of another thread makes a fence: it only keeps the compiler from moving
/// loads up.
#[inline(always)]
fn fence_cheaply() {
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    // SeqCst: loom knows no other fence that orders a store before a load.
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Whether threads have numbers of their own, and so may own seats.
const TOLD_APART: bool = cfg!(all(feature = "std", not(loom)));

/// The number of this thread, which no other has: `SEATS` at least. Where threads are not told
/// apart, they all have that one.
#[inline(always)]
fn thread_number() -> u64 {
    #[cfg(all(feature = "std", not(loom)))]
    {
        use core::cell::Cell;
        static NEXT: AtomicU64 = AtomicU64::new(SEATS as u64);
        std::thread_local! {
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        NUMBER.with(|number| {
            if number.get() == 0 {
                // Relaxed: any number will do that nobody else has.
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
    }
    #[cfg(not(all(feature = "std", not(loom))))]
    {
        SEATS as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_taken_stays_taken_however_often_it_is_asked_for() {
        let seats = Seats::<u32>::new();
        let seat = &seats.seats[0];
        let taken = seat.take_free(None).unwrap();
        assert!(seat.take_free(None).is_none());
        assert!(seat.take_free(None).is_none());
        drop(taken);
        assert!(seat.take_free(None).is_some());
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
        // Twice: the second time this thread owns the first seat.
        for _ in 0..2 {
            assert_eq!(within(&seats, 0), SEATS);
            let mut seen = 0;
            seats.for_each_idle(|_| seen += 1);
            assert_eq!(seen, SEATS);
        }
    }

    /// Whether seats can be owned here; says so if not.
    #[cfg(feature = "std")]
    fn owned() -> bool {
        let owned = wait::fence_others();
        if !owned {
            eprintln!("skipped: no membarrier here");
        }
        owned
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_seat_is_left_to_its_owner_by_visitors_and_taken_over_where_no_other_is_left() {
        let seats = Seats::<u64>::new();
        if !owned() {
            return;
        }
        let one_more = |count: &mut u64| {
            *count += 1;
            Ok(())
        };
        let use_own = || seats.with(|| Ok::<_, ()>(0), one_more).unwrap().unwrap();
        use_own();
        let me = thread_number();
        let own = seats.own_seat(me);
        assert_eq!(own.state.load(Ordering::Relaxed), me);
        let visit = || {
            let mut seen = std::vec::Vec::new();
            seats.for_each_idle(|count| seen.push(*count));
            seen
        };
        std::thread::scope(|scope| {
            assert_eq!(scope.spawn(visit).join().unwrap(), [1]);
            assert_eq!(own.state.load(Ordering::Relaxed), me, "given back to its owner");
            use_own();
            let inside = own.enter(me).unwrap();
            assert!(own.enter(me).is_none(), "one is inside already");
            assert_eq!(scope.spawn(visit).join().unwrap(), [], "it is in use");
            drop(inside);
            assert_eq!(scope.spawn(visit).join().unwrap(), [2]);
            // A thread that finds all others taken.
            let full: std::vec::Vec<_> =
                seats.seats.iter().filter_map(|seat| seat.take_free(None)).collect();
            assert_eq!(full.len(), SEATS - 1);
            scope.spawn(use_own).join().unwrap();
        });
        assert_eq!(own.state.load(Ordering::Relaxed), SHARED);
        assert!(own.enter(me).is_none());
        use_own();
        assert_eq!(visit(), [4]);
    }

    #[cfg(feature = "std")]
    #[test]
    fn owners_and_visitors_never_meet_in_a_seat() {
        /// Two words that are equal while nobody is at work on them.
        type Pair = [u64; 2];
        fn change(pair: &mut Pair) -> Result<(), ()> {
            let [first, second] = pair.each_mut().map(|word| word as *mut u64);
            // SAFETY: both are words of `pair`; volatile, so that each is written by itself.
            unsafe {
                let next = first.read_volatile() + 1;
                first.write_volatile(next);
                assert_eq!(second.read_volatile() + 1, next, "somebody else was here");
                second.write_volatile(next);
            }
            Ok(())
        }
        const CALLS: u64 = 200_000;
        let seats = Seats::<Pair>::new();
        let visits = std::thread::scope(|scope| {
            let owners: std::vec::Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..CALLS {
                            let called = seats.with(|| Ok([0; 2]), change);
                            called.expect("there are more seats than threads").unwrap();
                        }
                    })
                })
                .collect();
            let mut visits = 0;
            while !owners.iter().all(|owner| owner.is_finished()) {
                seats.for_each_idle(|pair| {
                    change(pair).unwrap();
                    visits += 1;
                });
            }
            visits
        });
        let mut all = 0;
        seats.for_each_idle(|pair| all += pair[0]);
        assert_eq!(all, 2 * CALLS + visits, "a change was lost");
    }
}

/// Run with the scenes of `tests/loom.rs`. Threads of the model get their numbers here.
#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// A seat that thread `FIRST` owns, entered by it, visited by another, and taken over by a
    /// third if it can.
    #[test]
    fn an_owned_seat_has_one_at_a_time_and_nobodys_change_is_lost() {
        const FIRST: u64 = SEATS as u64;
        loom::model(|| {
            let seats = Arc::new(Seats::<u64>::new());
            let seat = &seats.seats[0];
            let use_it = |taken: Option<Taken<'_, u64>>| {
                taken.map(|mut taken| *taken.handle().get_or_insert(0) += 1).is_some()
            };
            assert!(use_it(seat.take_free(Some(FIRST))));
            let others = [FIRST + 1, FIRST + 2].map(|other| {
                let seats = Arc::clone(&seats);
                thread::spawn(move || {
                    let seat = &seats.seats[0];
                    let then = |owner| if other == FIRST + 1 { owner } else { SHARED };
                    u64::from(use_it(seat.take_owned(other, then)))
                })
            });
            let mut uses = 1;
            for _ in 0..2 {
                uses += u64::from(use_it(seat.enter(FIRST)));
            }
            uses += others.map(|other| other.join().unwrap()).iter().sum::<u64>();
            let taken = seat.enter(FIRST).or_else(|| seat.take_free(None));
            assert_eq!(*taken.unwrap().handle(), Some(uses));
        });
    }
}
