//! One task sends messages of any size to another, under tokio.
use std::error::Error;

use ultrafastring::{AsyncConsumer, AsyncProducer, PriorityClass, SendError, UltraFastRing};

fn main() -> Result<(), Box<dyn Error>> {
    // .open_or_create("frames") for tasks of several processes
    let ring = UltraFastRing::builder().max_message(64 << 10).heap()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut producer = AsyncProducer::new(ring.producer()?)?;
        let mut consumer = AsyncConsumer::new(ring.consumer()?)?;
        let sending = tokio::spawn(async move {
            for size in [10, 1_000, 50_000] {
                producer.send(&vec![7; size], PriorityClass::Normal).await?;
            }
            producer.get_mut().close();
            Ok::<(), SendError>(())
        });
        let mut frame = Vec::new();
        // Ends when the ring is closed and all of it received.
        while let Ok(about) = consumer.recv_into(&mut frame).await {
            println!("{} bytes", about.size);
        }
        Ok(sending.await??)
    })
}
