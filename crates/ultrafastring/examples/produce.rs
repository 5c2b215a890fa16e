//! Sends ten quotes to another process, `consume`; either may be started first.
use std::error::Error;

use ultrafastring::{PriorityClass, UltraFastRing};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or("quotes".into());
    let ring = UltraFastRing::open_or_create(&name)?;
    let mut producer = ring.producer()?;
    for price in 100..110 {
        // Waits while there is no room.
        producer.send(format!("AAPL {price}").as_bytes(), PriorityClass::Normal)?;
    }
    producer.close(); // the end of the stream
    Ok(())
}
