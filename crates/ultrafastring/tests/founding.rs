//! The founding document's snippets, each verbatim between two lines of dashes, and running.
//!
//! Where a snippet names something that it does not define (`ring`, `data`, `self`), the lines
//! around it do.

// The snippets keep the document's layout and its language; some of its bindings are only shown.
#![cfg(all(feature = "std", not(loom)))]
#![allow(dead_code, unused_variables)]

use std::error::Error;

use ultrafastring::{PriorityClass, UltraFastRing};

type Outcome = Result<(), Box<dyn Error>>;

#[rustfmt::skip]
mod cache_line {
use std::sync::atomic::AtomicU64;

// ------------------------------------------------------------------------------------------
#[repr(C, align(64))]
struct CacheLineU64 {
    value: AtomicU64,
    _pad: [u8; 56],  // Remplit à 64 octets
}
// ------------------------------------------------------------------------------------------

#[test]
fn a_counter_has_a_line_of_its_own() {
    let line = CacheLineU64 { value: AtomicU64::new(7), _pad: [0; 56] };
    let ours = ultrafastring::CacheLineU64::default();
    assert_eq!((size_of_val(&line), align_of_val(&line)), (64, 64));
    assert_eq!((size_of_val(&ours), align_of_val(&ours)), (64, 64));
}
}

/// What `self` is in the two snippets of the ring's inside.
struct Inside {
    mask: u64,
    slots: Vec<ultrafastring::TimestampedSlot>,
}

#[rustfmt::skip]
impl Inside {
fn index(&self, seq: u64) -> u64 {
// ------------------------------------------------------------------------------------------
let index = seq & self.mask;  // Rapide: AND au lieu de MOD
// ------------------------------------------------------------------------------------------
index
}

fn get_slot(&self, seq: u64) -> *const ultrafastring::TimestampedSlot {
    &self.slots[self.index(seq) as usize]
}

fn prefetch(&self, seq: u64) {
use ultrafastring::prefetch_write;

// ------------------------------------------------------------------------------------------
// Pendant l'envoi, précharger le prochain slot
prefetch_write(self.get_slot(seq.wrapping_add(1)));
// ------------------------------------------------------------------------------------------
}
}

#[test]
fn a_position_is_masked_and_the_next_slot_prefetched() {
    let slots = (0..4).map(|_| ultrafastring::TimestampedSlot::new()).collect();
    let inside = Inside { mask: 3, slots };
    assert_eq!([3, 4, 5, u64::MAX].map(|seq| inside.index(seq)), [3, 0, 1, 3]);
    inside.prefetch(u64::MAX);
}

#[rustfmt::skip]
#[test]
fn creation() {
// ------------------------------------------------------------------------------------------
// Capacité doit être puissance de 2
let ring = UltraFastRing::new(256);

// Ou avec capacité par défaut (256)
let ring = UltraFastRing::with_default_capacity();
// ------------------------------------------------------------------------------------------

assert_eq!(ring.capacity(), 256);
assert_eq!(UltraFastRing::new(256).capacity(), 256);
}

#[rustfmt::skip]
#[test]
fn sending() -> Outcome {
let ring = UltraFastRing::new(256);
let (data, urgent_data) = (&[1u8; 40], &[2u8; 40]);
// ------------------------------------------------------------------------------------------
// Envoi inline (≤40 octets) - Target: 80-100 cycles
ring.send_fast(data, PriorityClass::Normal)?;

// Envoi avec priorité
ring.send_fast(urgent_data, PriorityClass::RealTime)?;
// ------------------------------------------------------------------------------------------

assert_eq!(&*ring.recv()?, data);
let urgent = ring.recv()?;
assert_eq!((&*urgent, urgent.class()), (&urgent_data[..], PriorityClass::RealTime));
Ok(())
}

#[rustfmt::skip]
#[test]
fn receiving() -> Outcome {
let ring = UltraFastRing::new(256);
ring.send_fast(b"data", PriorityClass::High)?;
// ------------------------------------------------------------------------------------------
let mut buffer = [0u8; 64];

// Retourne (taille, priorité, latence_cycles)
let (size, priority, latency) = ring.recv_fast(&mut buffer)?;

println!("Reçu {} octets, priorité {:?}, latence {} cycles", 
         size, priority, latency);
// ------------------------------------------------------------------------------------------

assert_eq!((&buffer[..size], priority), (&b"data"[..], PriorityClass::High));
assert!(latency > 0);
Ok(())
}

#[rustfmt::skip]
#[test]
fn batches() -> Outcome {
let ring = UltraFastRing::new(256);
// ------------------------------------------------------------------------------------------
// Envoi batch - amortit l'overhead
let messages = [b"msg1", b"msg2", b"msg3"];
let sent = ring.send_batch(&messages, PriorityClass::Normal)?;

// Réception batch
let mut buffers = [[0u8; 64]; 8];
let received = ring.recv_batch(&mut buffers)?;
// ------------------------------------------------------------------------------------------

// Size, class and latency of each message are in what `recv_batch` returns.
assert_eq!((sent, received.len()), (3, 3));
for ((buffer, about), message) in buffers.iter().zip(&received).zip(&messages) {
    assert_eq!((&buffer[..about.size], about.class), (&message[..], PriorityClass::Normal));
    assert!(about.latency > 0);
}
Ok(())
}

#[rustfmt::skip]
#[test]
fn statistics() -> Outcome {
let ring = UltraFastRing::new(256);
ring.send_fast(b"data", PriorityClass::Normal)?;
ring.recv_fast(&mut [0; 64])?;
// ------------------------------------------------------------------------------------------
let stats = ring.stats();

println!("Envoyés: {}", stats.sent);
println!("Reçus: {}", stats.received);
println!("Latence moyenne: {} cycles", stats.avg_latency);
// ------------------------------------------------------------------------------------------

assert_eq!((stats.sent, stats.received), (1, 1));
assert!(stats.avg_latency > 0);
Ok(())
}
