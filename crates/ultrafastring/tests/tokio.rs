//! The handles for tokio, with real tasks in two processes.

#![cfg(all(feature = "tokio", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use common::child::Child;
use common::memory::with_little_memory;
use common::{Numbered, cpu_time, patiently, stage};
use futures_core::Stream;
use futures_sink::Sink;
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    AsyncConsumer, AsyncProducer, Mode, PriorityClass, RecvError, SendError, Side, SideMemory,
    WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn a_producer_waits_for_the_memory_of_messages_in_flight<S: Shape>() {
    const MIB: usize = 1 << 20;
    const COUNT: u8 = 30;
    let directory = stage();
    with_little_memory(directory.path(), 4 * MIB, || {
        let builder = S::builder().directory(directory.path()).participants(8).max_message(MIB);
        let builder = builder.side_memory(SideMemory::Overcommitted).capacity(64);
        let ring = builder.create("memory").unwrap();
        let mut consumer = S::consumer(&ring);
        let producer = S::producer(&ring);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                for number in 0..2 * COUNT {
                    consumer.recv_into(&mut buffer).unwrap();
                    assert!(buffer == vec![number; MIB], "message {number}");
                }
            });
            run(async {
                let mut producer = AsyncProducer::new(producer).unwrap();
                for number in 0..COUNT {
                    producer.send(&vec![number; MIB], NORMAL).await.unwrap();
                }
                for number in COUNT..2 * COUNT {
                    poll_fn(|cx| Sink::<Vec<u8>>::poll_ready(Pin::new(&mut producer), cx))
                        .await
                        .unwrap();
                    Pin::new(&mut producer).start_send(vec![number; MIB]).unwrap();
                }
                poll_fn(|cx| Sink::<Vec<u8>>::poll_flush(Pin::new(&mut producer), cx))
                    .await
                    .unwrap();
            });
        });
    });
}
on_each_shape!(a_producer_waits_for_the_memory_of_messages_in_flight, needs(plain));

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

fn tasks_of_two_processes_pass_messages_there_and_back<S: Shape>() {
    let count = S::fewer(2_000);
    let directory = stage();
    let builder = S::builder().directory(directory.path()).capacity(2);
    let there = builder.create("there").unwrap();
    let back = builder.create("back").unwrap();
    [&there, &back].into_iter().for_each(S::open_groups);
    let _seconds = [&there, &back].map(S::read_second);
    let child = Child::start(|| {
        run(async {
            let (there, back) = (builder.open("there").unwrap(), builder.open("back").unwrap());
            let mut consumer = AsyncConsumer::new(S::consumer(&there)).unwrap();
            let mut producer = AsyncProducer::new(S::producer(&back)).unwrap();
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
        let producer = AsyncProducer::new(S::producer(&there)).unwrap();
        let consumer = AsyncConsumer::new(S::consumer(&back)).unwrap();
        there_and_back(producer, consumer, count).await;
    });
    child.finish();
}
on_each_shape!(tasks_of_two_processes_pass_messages_there_and_back);

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

fn futures_that_are_cancelled_take_and_send_nothing<S: Shape>() {
    const COUNT: u64 = 400;
    let ring = S::heap(2);
    let _second = S::read_second(&ring);
    let (mut unsent, mut unreceived, mut received) = (0, 0, 0);
    run(async {
        let mut producer = AsyncProducer::new(S::producer(&ring)).unwrap();
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
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
on_each_shape!(futures_that_are_cancelled_take_and_send_nothing);

/// A task that was about to be woken is gone; the thread that sleeps beside it is woken instead.
fn a_cancelled_receive_leaves_its_wake_to_others<S: Shape>() {
    let ring = S::heap(4);
    let _second = S::read_second(&ring);
    let mut sleeper = S::consumer(&ring);
    sleeper.set_wait_strategy(WaitStrategy::Park);
    let sleeping = std::thread::spawn(move || {
        for _ in 0..30 {
            sleeper.recv().unwrap();
        }
        sleeper.missed_wakes()
    });
    let mut producer = S::producer(&ring);
    run(async {
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
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
on_each_shape!(a_cancelled_receive_leaves_its_wake_to_others, needs(two_consumers));

/// Ends that are told by nobody's message: of an empty stream, of all who could make room, and of
/// the stream after one that is over.
fn tasks_are_told_of_peers_that_have_gone_and_of_the_stream_after_the_last<S: Shape>() {
    let (empty, full) = (S::heap(2), S::heap(2));
    run(async {
        let mut consumer = S::consumer(&empty);
        consumer.end_when_deserted(true);
        let mut consumer = AsyncConsumer::new(consumer).unwrap();
        assert!(once(consumer.recv()).await.is_none(), "nobody has been here");
        drop(S::producer(&empty));
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Deserted);

        let (mut producer, other) = (S::producer(&full), S::consumer(&full));
        producer.end_when_deserted(true);
        let mut producer = AsyncProducer::new(producer).unwrap();
        producer.send(b"one", NORMAL).await.unwrap();
        producer.send(b"two", NORMAL).await.unwrap();
        assert!(once(producer.send(b"three", NORMAL)).await.is_none(), "one is here");
        drop(other);
        assert_eq!(producer.send(b"three", NORMAL).await, Err(SendError::Deserted));

        let ring = S::heap(2);
        ring.close();
        let mut consumer = S::consumer(&ring);
        consumer.await_next_stream();
        let mut consumer = AsyncConsumer::new(consumer).unwrap();
        assert!(once(consumer.recv()).await.is_none(), "it is the old stream that was closed");
        let mut next = S::producer(&ring);
        next.send_fast(b"next", NORMAL).unwrap();
        next.close();
        drop(next);
        assert_eq!(&*consumer.recv().await.unwrap(), b"next");
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
        consumer.get_mut().await_next_stream();
        assert!(once(consumer.recv()).await.is_none(), "it is the old stream that was closed");
        S::producer(&ring).close();
        assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
    });
}
on_each_shape!(tasks_are_told_of_peers_that_have_gone_and_of_the_stream_after_the_last);

/// Counted in a process of its own for each, since the handle's thread counts as well.
fn a_task_that_waits_takes_next_to_no_time_of_the_processor<S: Shape>() {
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
    let receiving = Child::start(|| {
        let ring = S::heap(2);
        run(async {
            let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
            let waiting = std::pin::pin!(async { consumer.recv().await.map(drop).unwrap() });
            watch("a consumer", waiting).await;
        });
    });
    let sending = Child::start(|| {
        let ring = S::heap(2);
        run(async {
            let mut producer = AsyncProducer::new(S::producer(&ring)).unwrap();
            producer.send(b"one", NORMAL).await.unwrap();
            producer.send(b"two", NORMAL).await.unwrap();
            let waiting = std::pin::pin!(async { producer.send(b"more", NORMAL).await.unwrap() });
            watch("a producer", waiting).await;
        });
    });
    [receiving, sending].into_iter().for_each(Child::finish);
}
on_each_shape!(a_task_that_waits_takes_next_to_no_time_of_the_processor, needs(quick));

fn a_stream_ends_with_its_ring_and_a_sink_sends_all_before_it_is_flushed<S: Shape>() {
    let ring = S::heap(2);
    let _second = S::read_second(&ring);
    run(async {
        let mut producer =
            AsyncProducer::new(S::producer(&ring)).unwrap().with_class(PriorityClass::High);
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
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
on_each_shape!(a_stream_ends_with_its_ring_and_a_sink_sends_all_before_it_is_flushed);

fn a_sink_without_room_keeps_a_large_message_and_an_error_does_not_end_a_stream<S: Shape>() {
    let ring = S::builder().capacity(2).max_message(4_096).heap().unwrap();
    let _second = S::read_second(&ring);
    run(async {
        let mut producer = AsyncProducer::new(S::producer(&ring)).unwrap();
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
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
            consumer.get_mut().try_recv_into(&mut vec).unwrap();
            assert_eq!(vec, vec![size as u8; size]);
            consumer.get_mut().flush();
        }
    });
}
on_each_shape!(a_sink_without_room_keeps_a_large_message_and_an_error_does_not_end_a_stream);

/// It is woken for a message, and is busy with it when the next one comes. In a ring for groups all
/// who sleep are woken, and which of them gets the message is not said.
fn a_busy_task_leaves_the_next_message_to_a_thread_that_sleeps<S: Shape>() {
    let ring = S::heap(4);
    let mut sleeper = S::consumer(&ring);
    sleeper.set_wait_strategy(WaitStrategy::Park);
    let mut producer = S::producer(&ring);
    run(async {
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
        let mut waiting = Box::pin(async {
            let message = consumer.recv().await.unwrap();
            (message, consumer)
        });
        // The task sleeps first, so that the first bell is for it.
        poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        patiently("the task sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
        std::thread::sleep(Duration::from_millis(5));
        let sleeping = std::thread::spawn(move || {
            sleeper.recv().unwrap();
            sleeper.missed_wakes()
        });
        std::thread::sleep(Duration::from_millis(5));
        producer.send_fast(b"for the one", NORMAL).unwrap();
        let (_, _busy) = waiting.await;
        producer.send_fast(b"for the other", NORMAL).unwrap();
        assert_eq!(sleeping.join().unwrap(), 0, "the other was not woken");
    });
}
on_each_shape!(
    a_busy_task_leaves_the_next_message_to_a_thread_that_sleeps,
    needs(two_consumers, plain)
);

fn a_poll_that_is_led_from_slot_to_slot_leaves_its_thread_to_others<S: Shape>() {
    use std::os::unix::fs::FileExt;
    const CAPACITY: usize = 1 << 16;
    let directory = stage();
    let builder = S::builder().directory(directory.path()).capacity(CAPACITY);
    let ring = builder.create("led").unwrap();
    S::open_groups(&ring);
    let file = std::fs::OpenOptions::new().write(true).open(ring.path().unwrap()).unwrap();
    // All slots abandoned, but for the last.
    let slots = S::place(&ring, "slots") as u64;
    for position in 0..CAPACITY as u64 - 1 {
        let sequence = 1u64 << 63 | (position + 1);
        file.write_all_at(&sequence.to_le_bytes(), slots + 64 * position).unwrap();
    }
    let head = CAPACITY as u64 - 1;
    // The head; and the window, which says it in a ring for groups.
    let lane = S::place(&ring, "lanes") as u64;
    file.write_all_at(&head.to_le_bytes(), lane).unwrap();
    file.write_all_at(&head.to_le_bytes(), lane + 256).unwrap();
    S::producer(&ring).send_fast(b"the last", NORMAL).unwrap();
    run(async {
        let mut consumer = AsyncConsumer::new(S::consumer(&ring)).unwrap();
        let polled = once(consumer.recv()).await;
        assert!(polled.is_none() && ring.positions().consumer_head < head / 8);
        assert_eq!(&*consumer.recv().await.unwrap(), b"the last");
    });
}
on_each_shape!(a_poll_that_is_led_from_slot_to_slot_leaves_its_thread_to_others, needs(one_group));
