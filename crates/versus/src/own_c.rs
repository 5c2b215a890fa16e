//! The ring called from C++ through its library for C, between two processes; only with the feature
//! `c`, for which `$UFR_C_PREFIX` says where `bindings/c/install` has installed the library. The
//! program has the ring twice then: its own, and that of the shared library.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use anyhow::ensure;

use crate::case::{Across, Case, Context, Reading, Runner, Whose};
use crate::partner::Hands;
use crate::peer::Peer;

pub(crate) fn peers() -> Vec<Peer> {
    let peers = [
        peer::<EVERY, false>("exclusive from C"),
        peer::<OFF, false>("exclusive from C, no timestamps"),
        peer::<EVERY, true>("exclusive inline from C"),
        peer::<OFF, true>("exclusive inline from C, no timestamps"),
    ];
    peers.into_iter().map(|peer| peer.of(Whose::Own)).collect()
}

/// As `ufr_settings` has them.
const EVERY: i32 = 1;
const OFF: i32 = -1;

/// By calls, or by the inline header.
fn peer<const TIMESTAMPS: i32, const INLINE: bool>(name: &'static str) -> Peer {
    let run = run::<TIMESTAMPS, INLINE>;
    let runner = Runner { across: Across::Processes, run, serve: Some(serve::<INLINE>) };
    Peer::new(name, runner, runner, 400_000).stream(&[256, 4096])
}

// SAFETY: the declarations are those of `native/own_c.cpp`.
unsafe extern "C" {
    fn versus_c_create(name: *const c_char, capacity: usize, timestamps: i32) -> *mut c_void;
    fn versus_c_open(name: *const c_char) -> *mut c_void;
    fn versus_c_free(ring: *mut c_void, remove: *const c_char);
    fn versus_c_producer(ring: *mut c_void) -> *mut c_void;
    fn versus_c_consumer(ring: *mut c_void) -> *mut c_void;
    fn versus_c_free_handles(producer: *mut c_void, consumer: *mut c_void);
    fn versus_c_send_stream(producer: *mut c_void, n: u64);
    fn versus_c_receive_stream(consumer: *mut c_void, n: u64) -> u64;
    fn versus_c_send_stream_inline(producer: *mut c_void, n: u64);
    fn versus_c_receive_stream_inline(consumer: *mut c_void, n: u64) -> u64;
}

/// A ring of C's.
struct Ring {
    ring: *mut c_void,
    /// Of the one that created it.
    name: Option<CString>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        let name = self.name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
        // SAFETY: made or opened, or null, and used no more; the name lives.
        unsafe { versus_c_free(self.ring, name) };
    }
}

/// A producer or a consumer of C's; the other is null.
struct Handles(*mut c_void, *mut c_void);

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: taken, or null, and used no more.
        unsafe { versus_c_free_handles(self.0, self.1) };
    }
}

fn run<const TIMESTAMPS: i32, const INLINE: bool>(
    context: &mut Context,
    case: &Case,
) -> anyhow::Result<Reading> {
    let n = case.messages;
    let partner = context.partner()?;
    let name = format!("versus-{}-c", std::process::id());
    let of_c = CString::new(name.clone())?;
    // SAFETY: the name lives.
    let ring = unsafe { versus_c_create(of_c.as_ptr(), case.capacity, TIMESTAMPS) };
    ensure!(!ring.is_null(), "the ring could not be made");
    let ring = Ring { ring, name: Some(of_c) };
    partner.tell(&case.name, [name, String::new()])?;
    // SAFETY: the ring lives.
    let consumer = Handles(ptr::null_mut(), unsafe { versus_c_consumer(ring.ring) });
    ensure!(!consumer.1.is_null(), "the consumer could not be had");
    partner.is_ready()?;
    partner.go()?;
    // SAFETY: the consumer lives, and only this thread uses it.
    let ticks = unsafe {
        if INLINE {
            versus_c_receive_stream_inline(consumer.1, n)
        } else {
            versus_c_receive_stream(consumer.1, n)
        }
    };
    ensure!(ticks != 0, "a message came changed or out of order");
    partner.go()?;
    partner.is_done()?;
    Ok((ticks as f64 / (n - n / 8) as f64).into())
}

/// The partner's part of [`run`].
fn serve<const INLINE: bool>(
    case: &Case,
    [name, _]: &[String; 2],
    hands: &mut Hands,
) -> anyhow::Result<()> {
    let name = CString::new(name.as_str())?;
    // SAFETY: the name lives.
    let ring = Ring { ring: unsafe { versus_c_open(name.as_ptr()) }, name: None };
    ensure!(!ring.ring.is_null(), "the ring could not be opened");
    // SAFETY: the ring lives.
    let producer = Handles(unsafe { versus_c_producer(ring.ring) }, ptr::null_mut());
    ensure!(!producer.0.is_null(), "the producer could not be had");
    hands.ready()?;
    hands.wait_for_go()?;
    // SAFETY: the producer lives, and only this thread uses it.
    unsafe {
        if INLINE {
            versus_c_send_stream_inline(producer.0, case.messages);
        } else {
            versus_c_send_stream(producer.0, case.messages);
        }
    }
    // When all is consumed the handle may go.
    hands.wait_for_go()
}
