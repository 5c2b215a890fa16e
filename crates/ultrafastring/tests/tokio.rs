//! The handles for tokio, with real tasks in two processes.

#![cfg(all(feature = "tokio", target_os = "linux", not(loom)))]

mod common;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use common::{Child, Numbered, patiently, stage};
use futures_core::Stream;
use futures_sink::Sink;
use ultrafastring::{
    AsyncConsumer, AsyncProducer, Builder, Mode, PriorityClass, RecvError, SendError, Side,
    UltraFastRing, WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

/// Sends numbers and receives them again, with several on their way, in two tasks.
async fn there_and_back<P: Mode, C: Mode>(
    mut producer: AsyncProducer<P>,
    mut consumer: AsyncConsumer<C>,
    count: u64,
) {
    let sending = async {
        for number in 0..count {
            producer.send(Numbered::new(1, number).as_ref(), NORMAL).await.unwrap();
            if number % 5 == 0 {
                tokio::task::yield_now().await;
            }
        }
        producer.get_mut().close();
    };
    let receiving = async {
        for number in 0..count {
            let message = consumer.recv().await.unwrap();
            assert_eq!(Numbered::read(&message), (1, number));
        }
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
    };
    both(sending, receiving).await;
}

/// Polls two futures to their ends.
async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|cx| {
        one_done = one_done || one.as_mut().poll(cx).is_ready();
        other_done = other_done || other.as_mut().poll(cx).is_ready();
        if one_done && other_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[test]
fn tasks_of_two_processes_pass_messages_there_and_back() {
    const COUNT: u64 = 3_000;
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(2);
    let builder = builder.exclusive_producer().exclusive_consumer();
    let there = builder.create("there").unwrap();
    let back = builder.create("back").unwrap();
    let child = Child::start(|| {
        run(async {
            let (there, back) = (builder.open("there").unwrap(), builder.open("back").unwrap());
            let mut consumer = AsyncConsumer::new(there.exclusive_consumer().unwrap()).unwrap();
            let mut producer = AsyncProducer::new(back.exclusive_producer().unwrap()).unwrap();
            loop {
                match consumer.recv().await {
                    Ok(message) => producer.send(&message, NORMAL).await.unwrap(),
                    Err(RecvError::Closed) => break producer.get_mut().close(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });
    run(async {
        let producer = AsyncProducer::new(there.exclusive_producer().unwrap()).unwrap();
        let consumer = AsyncConsumer::new(back.exclusive_consumer().unwrap()).unwrap();
        there_and_back(producer, consumer, COUNT).await;
    });
    child.finish();
}

/// Polls a future once, and drops it if it is not at its end.
async fn once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        std::task::Poll::Ready(match work.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn futures_that_are_cancelled_take_and_send_nothing() {
    const COUNT: u64 = 400;
    let ring = UltraFastRing::new(2);
    let (mut unsent, mut unreceived, mut received) = (0, 0, 0);
    run(async {
        let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        let sending = async {
            for number in 0..COUNT {
                let message = Numbered::new(0, number);
                let mut sent = once(producer.send(message.as_ref(), NORMAL)).await;
                if sent.is_none() {
                    unsent += 1;
                    if number % 3 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    // Not sent: the same again.
                    sent = Some(producer.send(message.as_ref(), NORMAL).await);
                }
                sent.unwrap().unwrap();
            }
            producer.get_mut().close();
        };
        let receiving = async {
            loop {
                let mut message = once(consumer.recv()).await;
                if message.is_none() {
                    unreceived += 1;
                    if unreceived % 4 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    message = Some(consumer.recv().await);
                }
                match message.unwrap() {
                    Ok(message) => assert_eq!(Numbered::read(&message), (0, received)),
                    Err(error) => break assert_eq!(error, RecvError::Closed),
                }
                received += 1;
            }
        };
        both(sending, receiving).await;
    });
    assert_eq!(received, COUNT);
    assert!(unsent > 50 && unreceived > 50, "only {unsent} and {unreceived} were cancelled");
}

/// A task that was about to be woken is gone; the thread that sleeps beside it is woken instead.
#[test]
fn a_cancelled_receive_leaves_its_wake_to_others() {
    let ring = UltraFastRing::new(4);
    let mut sleeper = ring.consumer().unwrap();
    sleeper.set_wait_strategy(WaitStrategy::Park);
    let sleeping = std::thread::spawn(move || {
        for _ in 0..30 {
            sleeper.recv_blocking().unwrap();
        }
        sleeper.missed_wakes()
    });
    let mut producer = ring.producer().unwrap();
    run(async {
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        for turn in 0..30 {
            patiently("somebody sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
            // Polled once, so that it waits, and dropped.
            let polled = poll_fn(|cx| {
                let pending = std::pin::pin!(consumer.recv()).poll(cx).is_pending();
                std::task::Poll::Ready(pending)
            });
            assert!(polled.await, "nothing was there");
            if turn % 2 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.send_fast(b"for the sleeper", NORMAL).unwrap();
            patiently("it is received", || ring.is_empty().then_some(()));
        }
    });
    assert_eq!(sleeping.join().unwrap(), 0);
}

/// Ends that are told by nobody's message: of an empty stream, of all who could make room, and of the
/// stream after one that is over.
#[test]
fn tasks_are_told_of_peers_that_have_gone_and_of_the_stream_after_the_last() {
    let (empty, full) = (UltraFastRing::new(2), UltraFastRing::new(2));
    run(async {
        let mut consumer = empty.consumer().unwrap();
        consumer.end_when_deserted(true);
        let mut consumer = AsyncConsumer::new(consumer).unwrap();
        assert!(once(consumer.recv()).await.is_none(), "nobody has been here");
        drop(empty.producer().unwrap());
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Deserted);

        let (mut producer, other) = (full.producer().unwrap(), full.consumer().unwrap());
        producer.end_when_deserted(true);
        let mut producer = AsyncProducer::new(producer).unwrap();
        producer.send(b"one", NORMAL).await.unwrap();
        producer.send(b"two", NORMAL).await.unwrap();
        assert!(once(producer.send(b"three", NORMAL)).await.is_none(), "one is here");
        drop(other);
        assert_eq!(producer.send(b"three", NORMAL).await, Err(SendError::Deserted));

        let ring = UltraFastRing::new(2);
        ring.close();
        let mut consumer = ring.consumer().unwrap();
        consumer.await_next_stream();
        let mut consumer = AsyncConsumer::new(consumer).unwrap();
        assert!(once(consumer.recv()).await.is_none(), "it is the old stream that was closed");
        let mut next = ring.producer().unwrap();
        next.send_fast(b"next", NORMAL).unwrap();
        next.close();
        assert_eq!(&*consumer.recv().await.unwrap(), b"next");
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
        consumer.get_mut().await_next_stream();
        assert!(once(consumer.recv()).await.is_none(), "it is the old stream that was closed");
        ring.producer().unwrap().close();
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
    });
}

/// Time of a processor that this process has used, in all its threads.
fn cpu_time() -> Duration {
    // SAFETY: all zeros are a value of it, which the call below overwrites.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is written and nothing else.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Counted in a process of its own for each, since the handle's thread counts as well.
#[test]
fn a_task_that_waits_takes_next_to_no_time_of_the_processor() {
    const WATCHED: Duration = Duration::from_secs(3);
    let watch = async |what: &str, waiting: Pin<&mut dyn Future<Output = ()>>| {
        let before = cpu_time();
        let result = tokio::time::timeout(WATCHED, waiting).await;
        assert!(result.is_err(), "{what}: it did not wait");
        let used = cpu_time() - before;
        eprintln!("{what}: {used:?} of {WATCHED:?}");
        // Half a percent.
        assert!(used <= WATCHED / 200, "{what}: waiting took {used:?} of {WATCHED:?}");
    };
    let children = [false, true].map(|exclusive| {
        let builder = Builder::new().capacity(2);
        let builder = if exclusive { builder.exclusive_consumer() } else { builder };
        let receiving = Child::start(|| {
            let ring = builder.heap().unwrap();
            run(async {
                if exclusive {
                    let consumer = ring.exclusive_consumer().unwrap();
                    let mut consumer = AsyncConsumer::new(consumer).unwrap();
                    let waiting =
                        std::pin::pin!(async { consumer.recv().await.map(drop).unwrap() });
                    watch("an exclusive consumer", waiting).await;
                } else {
                    let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
                    let waiting =
                        std::pin::pin!(async { consumer.recv().await.map(drop).unwrap() });
                    watch("a shared consumer", waiting).await;
                }
            });
        });
        let sending = Child::start(|| {
            let ring = builder.heap().unwrap();
            run(async {
                let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
                producer.send(b"one", NORMAL).await.unwrap();
                producer.send(b"two", NORMAL).await.unwrap();
                let waiting =
                    std::pin::pin!(async { producer.send(b"more", NORMAL).await.unwrap() });
                watch("a producer", waiting).await;
            });
        });
        [receiving, sending]
    });
    children.into_iter().flatten().for_each(Child::finish);
}

#[test]
fn a_stream_ends_with_its_ring_and_a_sink_sends_all_before_it_is_flushed() {
    let ring = UltraFastRing::new(2);
    run(async {
        let mut producer =
            AsyncProducer::new(ring.producer().unwrap()).unwrap().with_class(PriorityClass::High);
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        let sending = async {
            for number in 0..100 {
                let mut sink = Pin::new(&mut producer);
                poll_fn(|cx| Sink::<Numbered>::poll_ready(sink.as_mut(), cx)).await.unwrap();
                sink.start_send(Numbered::new(0, number)).unwrap();
            }
            let mut sink = Pin::new(&mut producer);
            poll_fn(|cx| Sink::<Numbered>::poll_close(sink.as_mut(), cx)).await.unwrap();
            let large = Pin::new(&mut producer).start_send([0u8; 41]);
            assert_eq!(large, Err(SendError::TooLarge { size: 41, max: 40 }));
            producer.get_mut().close();
        };
        let receiving = async {
            let mut seen = 0;
            while let Some(message) = poll_fn(|cx| Pin::new(&mut consumer).poll_next(cx)).await {
                let message = message.unwrap();
                assert_eq!(Numbered::read(&message), (0, seen));
                assert_eq!(message.class(), PriorityClass::High);
                seen += 1;
            }
            assert_eq!(seen, 100);
        };
        both(sending, receiving).await;
    });
}

#[test]
fn a_sink_without_room_keeps_a_large_message_and_an_error_does_not_end_a_stream() {
    let ring = UltraFastRing::builder().capacity(2).max_message(4_096).heap().unwrap();
    run(async {
        let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        for size in [100, 7, 3_000] {
            Pin::new(&mut producer).start_send(vec![size as u8; size]).unwrap();
        }
        // No message of a stream has room for so many bytes.
        let next = poll_fn(|cx| Pin::new(&mut consumer).poll_next(cx)).await;
        let error = next.expect("the stream has not ended").unwrap_err();
        assert_eq!(error, RecvError::BufferTooSmall { needed: 100, available: 40 });
        let mut vec = Vec::new();
        for size in [100, 7, 3_000] {
            let mut sink = Pin::new(&mut producer);
            let mut flushing =
                async || poll_fn(|cx| Sink::<Vec<u8>>::poll_flush(sink.as_mut(), cx)).await;
            if size == 3_000 {
                flushing().await.unwrap();
            }
            consumer.get_mut().recv_into(&mut vec).unwrap();
            assert_eq!(vec, vec![size as u8; size]);
            consumer.get_mut().flush();
        }
    });
}

/// It is woken for a message, and is busy with it when the next one comes.
#[test]
fn a_busy_task_leaves_the_next_message_to_a_thread_that_sleeps() {
    let ring = UltraFastRing::new(4);
    let mut sleeper = ring.consumer().unwrap();
    sleeper.set_wait_strategy(WaitStrategy::Park);
    let mut producer = ring.producer().unwrap();
    run(async {
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        let mut waiting = Box::pin(async {
            let message = consumer.recv().await.unwrap();
            (message, consumer)
        });
        // The task sleeps first, so that the first bell is for it.
        poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        patiently("the task sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
        std::thread::sleep(Duration::from_millis(5));
        let sleeping = std::thread::spawn(move || {
            sleeper.recv_blocking().unwrap();
            sleeper.missed_wakes()
        });
        std::thread::sleep(Duration::from_millis(5));
        producer.send_fast(b"for the one", NORMAL).unwrap();
        let (_, _busy) = waiting.await;
        producer.send_fast(b"for the other", NORMAL).unwrap();
        assert_eq!(sleeping.join().unwrap(), 0, "the other was not woken");
    });
}

#[test]
fn a_poll_that_is_led_from_slot_to_slot_leaves_its_thread_to_others() {
    use std::os::unix::fs::FileExt;
    const CAPACITY: usize = 1 << 16;
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY);
    let ring = builder.create("led").unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(ring.path().unwrap()).unwrap();
    // All slots abandoned, but for the last.
    let slots = (ring.size_bytes() - 64 * CAPACITY) as u64;
    for position in 0..CAPACITY as u64 - 1 {
        let sequence = 1u64 << 63 | (position + 1);
        file.write_all_at(&sequence.to_le_bytes(), slots + 64 * position).unwrap();
    }
    let head = CAPACITY as u64 - 1;
    file.write_all_at(&head.to_le_bytes(), 4_096).unwrap();
    ring.send_fast(b"the last", NORMAL).unwrap();
    run(async {
        let mut consumer = AsyncConsumer::new(ring.consumer().unwrap()).unwrap();
        let polled = once(consumer.recv()).await;
        assert!(polled.is_none() && ring.positions().consumer_head < head / 8);
        assert_eq!(&*consumer.recv().await.unwrap(), b"the last");
    });
}
