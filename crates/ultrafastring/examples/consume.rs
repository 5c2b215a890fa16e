//! Prints the quotes that another process, `produce`, sends.
use std::error::Error;

use ultrafastring::UltraFastRing;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or("quotes".into());
    let ring = UltraFastRing::open_or_create(&name)?;
    let mut consumer = ring.consumer()?;
    consumer.end_when_deserted(true); // also if the producer is killed
    for quote in &mut consumer {
        // Waits for each; ends when the ring is closed and all of it received.
        println!("{}", String::from_utf8_lossy(&quote));
    }
    Ok(UltraFastRing::remove(&name)?)
}
