//! Memory that outlives its views.
//!
//! A library may keep the address of a memoryview that was released: `torch.frombuffer` keeps the
//! view alive and does not count as an export. So what views show, a ring's mapping and the bytes
//! of a short message, stays for as long as any view object does, released or not. A consumer or
//! producer that goes while one is left hands its keeper over to a list, which is looked through
//! when the next one goes.

use std::cell::UnsafeCell;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use ultrafastring::{INLINE_SIZE, UltraFastRing};

/// What views of one handle may show.
pub(crate) struct Keeper {
    /// Keeps the ring mapped.
    _ring: Arc<UltraFastRing>,
    /// The bytes of a message that fits into a slot.
    inline: UnsafeCell<[u8; INLINE_SIZE]>,
}

// SAFETY: `inline` is written by the one guard of the handle, before its views are made or while
// Python code writes through them, which keeps its own order.
unsafe impl Sync for Keeper {}

impl Keeper {
    pub(crate) fn new(ring: Arc<UltraFastRing>) -> Arc<Self> {
        Arc::new(Self { _ring: ring, inline: UnsafeCell::new([0; INLINE_SIZE]) })
    }

    pub(crate) fn inline(&self) -> *mut u8 {
        self.inline.get().cast()
    }
}

/// The views of a handle that may still be alive.
#[derive(Default)]
pub(crate) struct Views(Vec<Py<PyWeakrefReference>>);

impl Views {
    pub(crate) fn add(&mut self, view: Bound<'_, PyWeakrefReference>) {
        self.forget_dead(view.py());
        self.0.push(view.unbind());
    }

    fn forget_dead(&mut self, py: Python<'_>) {
        self.0.retain(|view| view.bind(py).upgrade().is_some());
    }
}

static KEPT: Mutex<Vec<(Arc<Keeper>, Views)>> = Mutex::new(Vec::new());

/// Keeps what views show until the last of them has gone.
pub(crate) fn keep(py: Python<'_>, keeper: Arc<Keeper>, mut views: Views) {
    views.forget_dead(py);
    // What goes, goes when the list is free: a ring that is dropped may run anything.
    let mut gone = Vec::new();
    {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if !views.0.is_empty() {
            kept.push((keeper, views));
        }
        let mut index = 0;
        while index < kept.len() {
            kept[index].1.forget_dead(py);
            if kept[index].1.0.is_empty() {
                gone.push(kept.swap_remove(index));
            } else {
                index += 1;
            }
        }
    }
    drop(gone);
}
