//! Writes what comes through the ring `bytes` to standard output, and removes the ring:
//! `cargo run --release --example receiver > FILE`, with `sender` in another terminal.
use std::{error::Error, io, io::Write};

use ultrafastring::{RecvError, UltraFastRing};

fn main() -> Result<(), Box<dyn Error>> {
    let ring = UltraFastRing::open_or_create("bytes")?;
    let mut consumer = ring.consumer()?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    loop {
        match consumer.try_recv() {
            Ok(message) if message.is_empty() => break, // the end of the stream
            Ok(message) => output.write_all(&message)?,
            Err(RecvError::Empty) => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    output.flush()?;
    Ok(UltraFastRing::remove("bytes")?)
}
