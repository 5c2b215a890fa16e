//! Sends a file, or standard input, through the ring `bytes`:
//! `cargo run --release --example sender -- FILE`, with `receiver` in another terminal.
use std::{env, error::Error, fs::File, io, io::Read};

use ultrafastring::{INLINE_SIZE, PriorityClass, SendError, UltraFastRing};

fn main() -> Result<(), Box<dyn Error>> {
    let ring = UltraFastRing::open_or_create("bytes")?;
    let mut producer = ring.producer()?;
    let mut input: Box<dyn Read> = match env::args().nth(1) {
        Some(path) => Box::new(io::BufReader::new(File::open(path)?)),
        None => Box::new(io::stdin().lock()),
    };
    let mut message = Vec::new();
    while input.by_ref().take(INLINE_SIZE as u64).read_to_end(&mut message)? > 0 {
        while let Err(error) = producer.send_fast(&message, PriorityClass::Normal) {
            match error {
                SendError::Full | SendError::OutOfCredit => std::thread::yield_now(),
                other => return Err(other.into()),
            }
        }
        message.clear();
    }
    // An empty message ends the stream.
    while producer.try_send(b"", PriorityClass::Normal).is_err() {
        std::thread::yield_now();
    }
    Ok(())
}
