//! Boost's message queue, between processes.

use std::ffi::{CString, c_char, c_int, c_void};

use anyhow::{Context as _, ensure};

use crate::message::Bytes;
use crate::peer::Peer;
use crate::queue::{Queue, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    let usual = Peer::processes::<BoostMessages, BoostMessages>("Boost message_queue", 20_000);
    vec![usual.stream(&[256, 4096]).round_trip().idle().urgent()]
}

// SAFETY: the declarations are those of `native/boost_ipc.cpp`.
unsafe extern "C" {
    /// Null if it cannot be had; so `boost_ipc_open`.
    fn boost_ipc_create(name: *const c_char, capacity: usize, size: usize) -> *mut c_void;
    fn boost_ipc_open(name: *const c_char) -> *mut c_void;
    /// Removes the name too, if there is one.
    fn boost_ipc_close(queue: *mut c_void, name: *const c_char);
    /// 1 sent, 0 no room, -1 error.
    fn boost_ipc_send(queue: *mut c_void, bytes: *const u8, size: usize, priority: u32) -> c_int;
    /// 1 received, 0 none, -1 error.
    fn boost_ipc_receive(queue: *mut c_void, bytes: *mut u8, size: usize, wait: bool) -> c_int;
}

/// Boost's message queue between processes.
struct BoostMessages {
    queue: *mut c_void,
    /// Of the one that created it.
    name: Option<CString>,
}

struct BoostEnd<'q>(&'q BoostMessages);

impl Drop for BoostMessages {
    fn drop(&mut self) {
        let name = self.name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: made by `create` or `open`, and used no more; the name lives.
        unsafe { boost_ipc_close(self.queue, name) };
    }
}

impl<const N: usize> Queue<N> for BoostMessages {
    type Sender<'q> = BoostEnd<'q>;
    type Receiver<'q> = BoostEnd<'q>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let name = CString::new(name)?;
        // SAFETY: the name lives.
        let queue = unsafe { boost_ipc_create(name.as_ptr(), capacity, N) };
        ensure!(!queue.is_null(), "it could not be made");
        Ok(Self { queue, name: Some(name) })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        let name = CString::new(address)?;
        // SAFETY: the name lives.
        let queue = unsafe { boost_ipc_open(name.as_ptr()) };
        ensure!(!queue.is_null(), "it could not be opened");
        Ok(Self { queue, name: None })
    }

    fn sender(&self) -> anyhow::Result<BoostEnd<'_>> {
        Ok(BoostEnd(self))
    }

    fn receiver(&self) -> anyhow::Result<BoostEnd<'_>> {
        Ok(BoostEnd(self))
    }
}

fn done(result: c_int) -> anyhow::Result<bool> {
    ensure!(result >= 0, "the message queue failed");
    Ok(result == 1)
}

impl<const N: usize> Sender<N> for BoostEnd<'_> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        // SAFETY: the queue is open, and there are `N` bytes.
        done(unsafe { boost_ipc_send(self.0.queue, bytes.as_ptr(), N, 0) })
    }

    #[inline(always)]
    fn send_urgent(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        // SAFETY: the same.
        done(unsafe { boost_ipc_send(self.0.queue, bytes.as_ptr(), N, 1) })
    }
}

impl<const N: usize> Receiver<N> for BoostEnd<'_> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        // SAFETY: the queue is open, and there is room for `N` bytes.
        done(unsafe { boost_ipc_receive(self.0.queue, buffer.as_mut_ptr(), N, false) })
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        // SAFETY: the same.
        let received =
            done(unsafe { boost_ipc_receive(self.0.queue, buffer.as_mut_ptr(), N, true) })?;
        received.then_some(()).context("no message came")
    }
}
