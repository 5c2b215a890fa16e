//! Thread handles: what the calls on `&UltraFastRing` borrow, each for its duration.
//!
//! A ring has a few for each side. A call borrows one, which is made at its first use, and gives it
//! back. So these calls take the shared path, with the same mechanism for the frontier and for
//! recovery.
//!
//! ```text
//!  FRESH ──▶ owned by the first thread that borrows it as its own ──▶ SHARED
//!    │       (threads have numbers, which say what is their own)  once another had to borrow it
//!    └─────────────────────────────────▶ SHARED, where others could not borrow it from an owner
//! ```
//!
//! A call takes its thread's own handle without a read-modify-write, which would wait until all
//! earlier stores have left the core. It marks the handle as in use, and then checks whether
//! another thread has borrowed it. The other thread (one for which no free handle is left, or one
//! in `stats`, which visits each) marks the handle as borrowed, fences every thread of the process
//! by `membarrier`, and then checks whether it is in use. If both come at once, at least one sees
//! the other and backs out. Without `membarrier` no thread owns a handle, and each call borrows one
//! by an exchange. If a process loses `membarrier` later (by a filter of system calls), handles
//! stay with their owners: others neither visit nor borrow them.

use core::cell::UnsafeCell;

#[cfg(loom)]
use crate::sync::fence;
use crate::sync::{AtomicU64, Ordering};
use crate::waiting::kernel;

/// Thread handles of each side: how many threads can be inside a call at the same time.
const THREAD_HANDLES: usize = if cfg!(feature = "alloc") { 16 } else { 4 };

// The states of a thread handle; any other is the number of the thread that owns it,
// `THREAD_HANDLES` at least.

/// Free, and owned by nobody yet.
const FRESH: u64 = 0;
/// Borrowed by a thread that does not own it.
const LENT: u64 = 1;
/// Free, and never to be owned again.
const SHARED: u64 = 2;

/// A handle, once it is made, and its state.
#[repr(align(128))]
struct ThreadHandle<H> {
    state: AtomicU64,
    /// 1 while the thread that owns it is inside a call. Nobody else writes it.
    in_use: AtomicU64,
    handle: UnsafeCell<Option<H>>,
    /// Stands for `handle` in the model, which detects unordered accesses.
    #[cfg(loom)]
    modelled: loom::cell::UnsafeCell<()>,
}

/// The thread handles of one side.
pub(crate) struct ThreadHandles<H> {
    all: [ThreadHandle<H>; THREAD_HANDLES],
}

// SAFETY: a handle is reached only through a `Loan`. There is one at a time (see the functions that
// make one), and its use happens before the next one's. So sharing this only sends handles.
unsafe impl<H: Send> Sync for ThreadHandles<H> {}

/// A thread handle that this call has borrowed. Dropping it gives it back, also in a panic.
struct Loan<'a, H> {
    of: &'a ThreadHandle<H>,
    /// The word whose change gives it back, and the value to store.
    word: &'a AtomicU64,
    then: u64,
}

impl<H> Drop for Loan<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the acquire of `state` by the next borrower, or of `in_use` in
        // `borrow_owned`.
        self.word.store(self.then, Ordering::Release);
    }
}

impl<H> Loan<'_, H> {
    #[inline(always)]
    fn handle(&mut self) -> &mut Option<H> {
        #[cfg(loom)]
        self.of.modelled.with_mut(|_| ());
        // SAFETY: there is one `Loan` of it at a time, which lends the handle mutably.
        unsafe { &mut *self.of.handle.get() }
    }
}

impl<H> ThreadHandle<H> {
    fn new() -> Self {
        Self {
            state: AtomicU64::new(FRESH),
            in_use: AtomicU64::new(0),
            handle: UnsafeCell::new(None),
            #[cfg(loom)]
            modelled: loom::cell::UnsafeCell::new(()),
        }
    }

    /// Borrows it if this thread, whose number is `me`, owns it and is not inside a call already.
    #[inline(always)]
    fn borrow_own(&self, me: u64) -> Option<Loan<'_, H>> {
        // Relaxed, both: what others do meanwhile is checked below.
        if self.state.load(Ordering::Relaxed) != me || self.in_use.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Relaxed: a thread that borrows it before our next load sees this store because of that
        // thread's `fence_own`. `fence_cheaply` keeps the compiler from reordering.
        self.in_use.store(1, Ordering::Relaxed);
        fence_cheaply();
        let loan = Loan { of: self, word: &self.in_use, then: 0 };
        // Acquire: pairs with the release of the borrower that gave it back to its owner. If
        // another thread has it, dropping `loan` says that we are not inside.
        (self.state.load(Ordering::Acquire) == me).then_some(loan)
    }

    /// Borrows it if it is free and nobody owns it. If nobody ever did, `next` owns it afterwards.
    fn borrow_free(&self, next: Option<u64>) -> Option<Loan<'_, H>> {
        // Acquire: pairs with the release when it was given back. It is exchanged without a look
        // first, because looks may be out of date for each handle in turn, and then none would be
        // found.
        let take =
            |was| self.state.compare_exchange(was, LENT, Ordering::Acquire, Ordering::Relaxed);
        let then = match take(FRESH) {
            Ok(_) => next.unwrap_or(FRESH),
            Err(SHARED) => take(SHARED).ok()?,
            Err(_) => return None,
        };
        Some(Loan { of: self, word: &self.state, then })
    }

    /// Borrows it if another thread owns it and is not inside a call. `then` makes the state
    /// afterwards from the owner.
    #[cold]
    fn borrow_owned(&self, me: u64, then: impl FnOnce(u64) -> u64) -> Option<Loan<'_, H>> {
        // Relaxed: the exchange decides.
        let owner = self.state.load(Ordering::Relaxed);
        // This thread's own handle is borrowed by `borrow_own`, unless the thread is inside a call.
        if matches!(owner, FRESH | LENT | SHARED) || owner == me {
            return None;
        }
        // Relaxed: only to leave an owner that is inside alone; it is checked again.
        if self.in_use.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Acquire: pairs with the release of the borrower before its owner, or since.
        self.state.compare_exchange(owner, LENT, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let mut loan = Loan { of: self, word: &self.state, then: owner };
        // After the fence there are two cases: the owner's next load of `state` finds it lent, or
        // its store to `in_use` came before and is seen here. Acquire: pairs with the release when
        // the owner left its call.
        if !kernel::fence_own() || self.in_use.load(Ordering::Acquire) != 0 {
            return None;
        }
        loan.then = then(owner);
        Some(loan)
    }
}

impl<H> ThreadHandles<H> {
    pub(crate) fn new() -> Self {
        Self { all: core::array::from_fn(|_| ThreadHandle::new()) }
    }

    /// Calls `work` with a handle, which `make` makes if it does not exist yet. `None` if all are
    /// in use at this moment.
    #[inline(always)]
    pub(crate) fn with<T, E>(
        &self,
        make: impl FnOnce() -> Result<H, E>,
        work: impl FnOnce(&mut H) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let me = thread_number();
        if let Some(mut loan) = self.own(me).borrow_own(me)
            && let Some(handle) = loan.handle()
        {
            return Some(work(handle));
        }
        self.with_any(me, make, work)
    }

    /// As `with`, for a thread that has no handle of its own yet. It is a function of its own, so
    /// that the usual path knows at compile time how to give the handle back.
    #[inline(never)]
    fn with_any<T, E>(
        &self,
        me: u64,
        make: impl FnOnce() -> Result<H, E>,
        work: impl FnOnce(&mut H) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut loan = self.own(me).borrow_own(me).or_else(|| self.borrow_any(me))?;
        let handle = match loan.handle() {
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
        for it in &self.all {
            let loan = it.borrow_own(me).or_else(|| it.borrow_free(None));
            if let Some(mut loan) = loan.or_else(|| it.borrow_owned(me, |owner| owner))
                && let Some(handle) = loan.handle()
            {
                work(handle);
            }
        }
    }

    #[inline(always)]
    fn own(&self, me: u64) -> &ThreadHandle<H> {
        &self.all[me as usize % THREAD_HANDLES]
    }

    /// Borrows this thread's own handle after a visitor has left it, instead of another owner's. A
    /// visit is short.
    fn borrow_after_visit(&self, me: u64) -> Option<Loan<'_, H>> {
        /// Several times as long as a `membarrier` takes.
        const PAUSES: u32 = if cfg!(loom) { 0 } else { 1 << 9 };
        let own = self.own(me);
        for _ in 0..PAUSES {
            // Relaxed: `borrow_own` decides.
            if own.state.load(Ordering::Relaxed) != LENT {
                break;
            }
            core::hint::spin_loop();
        }
        own.borrow_own(me)
    }

    /// A handle for a thread that could not borrow its own: a free one, its own first, or one whose
    /// owner is not inside a call. Nobody owns the latter from then on, since its owner may have
    /// ended.
    #[inline(never)]
    fn borrow_any(&self, me: u64) -> Option<Loan<'_, H>> {
        let mut own = self.own(me).borrow_free(TOLD_APART.then_some(me));
        if let Some(loan) = &mut own
            && loan.then == me
            && !kernel::fence_own()
        {
            // If others could not borrow it, nobody may own it.
            loan.then = SHARED;
        }
        let all = || (0..THREAD_HANDLES as u64).map(|step| self.own(me.wrapping_add(step)));
        let free = || all().find_map(|it| it.borrow_free(None));
        own.or_else(free)
            .or_else(|| self.borrow_after_visit(me))
            .or_else(|| all().find_map(|it| it.borrow_owned(me, |_| SHARED)))
            // It was borrowed by others meanwhile, and given back.
            .or_else(free)
    }
}

/// Makes a handle that does not exist yet.
#[cold]
#[inline(never)]
fn settle<H, E>(vacant: &mut Option<H>, make: impl FnOnce() -> Result<H, E>) -> Result<&mut H, E> {
    make().map(|handle| vacant.insert(handle))
}

/// Becomes a fence by `fence_own` of another thread. By itself it only keeps the compiler from
/// moving loads up.
#[inline(always)]
fn fence_cheaply() {
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    // SeqCst: loom has no other fence that orders a store before a load.
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Whether each thread has its own number, and so may own handles.
const TOLD_APART: bool = cfg!(all(feature = "std", not(loom)));

/// The number of this thread, at least `THREAD_HANDLES`. No other thread has it. Where threads are
/// not told apart, all have that number.
#[inline(always)]
fn thread_number() -> u64 {
    #[cfg(all(feature = "std", not(loom)))]
    {
        use core::cell::Cell;
        static NEXT: AtomicU64 = AtomicU64::new(THREAD_HANDLES as u64);
        std::thread_local! {
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        NUMBER.with(|number| {
            if number.get() == 0 {
                // Relaxed: any number that nobody else has will do.
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
    }
    #[cfg(not(all(feature = "std", not(loom))))]
    {
        THREAD_HANDLES as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_stays_lent_however_often_it_is_asked_for() {
        let handles = ThreadHandles::<u32>::new();
        let one = &handles.all[0];
        let loan = one.borrow_free(None).unwrap();
        assert!(one.borrow_free(None).is_none());
        assert!(one.borrow_free(None).is_none());
        drop(loan);
        assert!(one.borrow_free(None).is_some());
    }

    #[test]
    fn calls_within_calls_get_handles_of_their_own_until_none_is_left() {
        fn within(handles: &ThreadHandles<usize>, depth: usize) -> usize {
            let inner = handles.with(
                || Ok::<_, ()>(depth),
                |mine| {
                    let deepest = within(handles, depth + 1);
                    assert_eq!(*mine, depth, "somebody else had this handle meanwhile");
                    Ok(deepest)
                },
            );
            inner.map_or(depth, |deepest| deepest.unwrap())
        }
        let handles = ThreadHandles::new();
        // Twice: the second time this thread owns the first handle.
        for _ in 0..2 {
            assert_eq!(within(&handles, 0), THREAD_HANDLES);
            let mut seen = 0;
            handles.for_each_idle(|_| seen += 1);
            assert_eq!(seen, THREAD_HANDLES);
        }
    }

    /// Whether handles can be owned here; prints a message if not.
    #[cfg(feature = "std")]
    fn owned() -> bool {
        let owned = kernel::fence_own();
        if !owned {
            eprintln!("skipped: no membarrier here");
        }
        owned
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_handle_is_left_to_its_owner_by_visitors_and_lent_to_others_where_no_other_is_left() {
        let handles = ThreadHandles::<u64>::new();
        if !owned() {
            return;
        }
        let one_more = |count: &mut u64| {
            *count += 1;
            Ok(())
        };
        let use_own = || handles.with(|| Ok::<_, ()>(0), one_more).unwrap().unwrap();
        use_own();
        let me = thread_number();
        let own = handles.own(me);
        assert_eq!(own.state.load(Ordering::Relaxed), me);
        let visit = || {
            let mut seen = std::vec::Vec::new();
            handles.for_each_idle(|count| seen.push(*count));
            seen
        };
        std::thread::scope(|scope| {
            assert_eq!(scope.spawn(visit).join().unwrap(), [1]);
            assert_eq!(own.state.load(Ordering::Relaxed), me, "given back to its owner");
            use_own();
            let inside = own.borrow_own(me).unwrap();
            assert!(own.borrow_own(me).is_none(), "one is inside already");
            assert_eq!(scope.spawn(visit).join().unwrap(), [], "it is in use");
            drop(inside);
            assert_eq!(scope.spawn(visit).join().unwrap(), [2]);
            // A thread that finds all other handles lent.
            let full: std::vec::Vec<_> =
                handles.all.iter().filter_map(|it| it.borrow_free(None)).collect();
            assert_eq!(full.len(), THREAD_HANDLES - 1);
            scope.spawn(use_own).join().unwrap();
        });
        assert_eq!(own.state.load(Ordering::Relaxed), SHARED);
        assert!(own.borrow_own(me).is_none());
        use_own();
        assert_eq!(visit(), [4]);
    }

    #[cfg(feature = "std")]
    #[test]
    fn owners_and_visitors_never_have_the_same_handle() {
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
        let handles = ThreadHandles::<Pair>::new();
        let visits = std::thread::scope(|scope| {
            let owners: std::vec::Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..CALLS {
                            let called = handles.with(|| Ok([0; 2]), change);
                            called.expect("there are more handles than threads").unwrap();
                        }
                    })
                })
                .collect();
            let mut visits = 0;
            while !owners.iter().all(|owner| owner.is_finished()) {
                handles.for_each_idle(|pair| {
                    change(pair).unwrap();
                    visits += 1;
                });
            }
            visits
        });
        let mut all = 0;
        handles.for_each_idle(|pair| all += pair[0]);
        assert_eq!(all, 2 * CALLS + visits, "a change was lost");
    }
}

/// Run with the scenes of `tests/loom.rs`. Threads of the model get their numbers here.
#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// A handle that thread `FIRST` owns. `FIRST` borrows it, another thread visits it, and a third
    /// borrows it if it can.
    #[test]
    fn an_owned_handle_has_one_at_a_time_and_nobodys_change_is_lost() {
        const FIRST: u64 = THREAD_HANDLES as u64;
        loom::model(|| {
            let handles = Arc::new(ThreadHandles::<u64>::new());
            let one = &handles.all[0];
            let use_it = |loan: Option<Loan<'_, u64>>| {
                loan.map(|mut loan| *loan.handle().get_or_insert(0) += 1).is_some()
            };
            assert!(use_it(one.borrow_free(Some(FIRST))));
            let others = [FIRST + 1, FIRST + 2].map(|other| {
                let handles = Arc::clone(&handles);
                thread::spawn(move || {
                    let one = &handles.all[0];
                    let then = |owner| if other == FIRST + 1 { owner } else { SHARED };
                    u64::from(use_it(one.borrow_owned(other, then)))
                })
            });
            let mut uses = 1;
            for _ in 0..2 {
                uses += u64::from(use_it(one.borrow_own(FIRST)));
            }
            uses += others.map(|other| other.join().unwrap()).iter().sum::<u64>();
            let loan = one.borrow_own(FIRST).or_else(|| one.borrow_free(None));
            assert_eq!(*loan.unwrap().handle(), Some(uses));
        });
    }
}
