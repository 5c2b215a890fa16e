//! Words of the whole ring that change rarely.

use super::bell::Bell;
use super::counters::Line;
use super::locks::LockWord;
use crate::settings::Side;
use crate::sync::{AtomicU64, Ordering, look_at};

/// Words of the whole ring that change rarely.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Control {
    /// How many entries of the participant table have been used. Scans stop here. It only grows.
    pub(crate) entries_used: AtomicU64,
    /// For memory segments only, by [`Side`]: held while an exclusive handle of that side lives.
    pub(crate) side_locks: [LockWord; 2],
    /// How many handles of each side have ever been taken, by [`Side`]. So a waiter also notices a
    /// handle that came and left between two looks.
    pub(crate) arrivals: [AtomicU64; 2],
    /// How often the ring was opened again after it was closed: the number of its stream.
    pub(crate) streams: AtomicU64,
    _reserved: [AtomicU64; 2],
    _gap: Line,
    /// What wakes the sleepers of each side, by [`Side`].
    pub(crate) bells: [Bell; 2],
    /// How often handles have slept in the kernel, by [`Side`].
    sleeps: [AtomicU64; 2],
    /// How many of these sleeps ended before their time was up, by [`Side`].
    wakes: [AtomicU64; 2],
    /// How many entries of dead participants were freed by others.
    recoveries: AtomicU64,
    _events: [AtomicU64; 3],
    _room: Line,
}

/// What happened in a ring and is not a participant's alone: a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) sleeps: [u64; 2],
    pub(crate) wakes: [u64; 2],
    pub(crate) recoveries: u64,
}

impl Control {
    /// What wakes the sleepers of `side`.
    #[inline(always)]
    pub(crate) fn bell(&self, side: Side) -> &Bell {
        &self.bells[side as usize]
    }

    /// Counts a sleep, which a peer has ended or not. Models do not count, since loom would try
    /// every order of it.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn count_sleep(&self, side: Side, woken: bool) {
        if cfg!(loom) {
            return;
        }
        // Relaxed, all: only people read it.
        self.sleeps[side as usize].fetch_add(1, Ordering::Relaxed);
        self.wakes[side as usize].fetch_add(u64::from(woken), Ordering::Relaxed);
    }

    /// Counts an entry of a dead participant that was freed.
    pub(crate) fn count_recovery(&self) {
        if !cfg!(loom) {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted. Wakes first: each was a sleep before.
    pub(crate) fn happened(&self) -> Happened {
        let wakes = self.wakes.each_ref().map(look_at);
        let sleeps = self.sleeps.each_ref().map(look_at);
        Happened { sleeps, wakes, recoveries: look_at(&self.recoveries) }
    }
}
