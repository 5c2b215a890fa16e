//! Sends its argument to another process; without an argument it receives. Either may start first.
// Cargo.toml: ultrafastring = { path = "CHECKOUT/crates/ultrafastring" }
use ultrafastring::{PriorityClass, UltraFastRing};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ring = UltraFastRing::open_or_create("quotes")?; // a file below /dev/shm
    match std::env::args().nth(1) {
        Some(quote) => ring.producer()?.send(quote.as_bytes(), PriorityClass::Normal)?,
        None => println!("{}", String::from_utf8_lossy(&ring.consumer()?.recv()?)),
    }
    Ok(())
}
