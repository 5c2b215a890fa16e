//! One thread sends numbers to another.
use std::error::Error;
use std::thread;

use ultrafastring::{PriorityClass, SendError, UltraFastRing};

fn main() -> Result<(), Box<dyn Error>> {
    let ring = UltraFastRing::new(256); // on the heap, for any number of threads
    let (mut producer, consumer) = (ring.producer()?, ring.consumer()?);
    let sending = thread::spawn(move || {
        for number in 1..=1000u64 {
            producer.send(&number.to_le_bytes(), PriorityClass::Normal)?;
        }
        producer.close();
        Ok::<(), SendError>(())
    });
    let mut sum = 0;
    for message in consumer {
        sum += u64::from_le_bytes(message[..].try_into()?);
    }
    println!("{sum}");
    Ok(sending.join().expect("it does not panic")?)
}
