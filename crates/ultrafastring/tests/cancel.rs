//! What the handles for tokio take and send is neither lost nor doubled, wherever their futures are
//! dropped.

#![cfg(all(feature = "tokio", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use common::Numbered;
use common::child::Child;
use futures_core::Stream;
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    AsyncConsumer, AsyncProducer, Mode, PriorityClass, RecvError, Side, UltraFastRing, WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
/// Messages of a trial.
fn count<S: Shape>() -> u64 {
    S::fewer(3_000)
}

/// Bytes of the largest message.
const LARGE: usize = 1_000;

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

/// Polls `work` up to so many times and drops it then, as a `select!` does whose other branch is
/// ready: `None` if it had not come to its end.
async fn polled<T>(times: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut polls = 0;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        polls += 1;
        if polls >= times { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Polls `work` until so much time has passed, and drops it then.
async fn raced<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut late = std::pin::pin!(tokio::time::sleep(time));
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A message that knows its number, small or large.
fn message(number: u64) -> Vec<u8> {
    let numbered = Numbered::new(0, number);
    let mut bytes = numbered.as_ref().to_vec();
    if number.is_multiple_of(3) {
        bytes.resize(LARGE, number as u8);
    }
    bytes
}

#[track_caller]
fn check(bytes: &[u8], number: u64) {
    assert_eq!(bytes, message(number), "message {number}");
}

/// Ways of receiving, of which each is cancelled again and again.
async fn receive<S: Mode>(
    way: u64,
    patience: u64,
    consumer: &mut AsyncConsumer<S>,
) -> Option<Result<Vec<Vec<u8>>, RecvError>> {
    let mut buffer = Vec::new();
    let received = match way {
        0 => polled(patience, consumer.recv_into(&mut buffer)).await?.map(|_| vec![buffer]),
        1 => polled(patience, consumer.borrow()).await?.map(|message| vec![message.to_vec()]),
        2 => polled(patience, consumer.borrow_many(3))
            .await?
            .map(|messages| messages.iter().map(|message| message.to_vec()).collect()),
        3 => match polled(patience, consumer.ready()).await? {
            Ok(()) => match consumer.get_mut().try_recv_into(&mut buffer) {
                Ok(_) => Ok(vec![buffer]),
                Err(RecvError::Empty) => return None,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
        4 => {
            let mut buffers = vec![vec![0; LARGE]; 2];
            polled(patience, consumer.recv_many(&mut buffers)).await?.map(|batch| {
                let each = buffers.iter().zip(batch.iter());
                each.map(|(bytes, about)| bytes[..about.size].to_vec()).collect()
            })
        }
        _ => {
            let mut vecs = consumer.vecs();
            let next = poll_fn(|cx| Pin::new(&mut vecs).poll_next(cx));
            match polled(patience, next).await? {
                Some(Ok(bytes)) => Ok(vec![bytes]),
                Some(Err(error)) => Err(error),
                None => Err(RecvError::Closed),
            }
        }
    };
    Some(received)
}

/// Sends and receives in two tasks that each drop their futures after one, two, three polls.
fn futures_that_are_dropped_at_any_poll_lose_and_double_nothing_in_any_way<S: Shape>() {
    for way in 0..6 {
        let ring = S::builder().capacity(2).max_message(LARGE).heap().unwrap();
        let _second = S::read_second(&ring);
        let (mut unsent, mut unreceived, mut received) = (0, 0, 0);
        run(async {
            let mut producer = AsyncProducer::new(S::producer_of_any_mode(&ring)).unwrap();
            let mut consumer = AsyncConsumer::new(S::consumer_of_any_mode(&ring)).unwrap();
            let sending = async {
                let (mut number, mut patience) = (0, 1);
                while number < count::<S>() {
                    let bytes = message(number);
                    patience = 1 + (patience + u64::from(number % 5 == 0)) % 3;
                    let sent = match number % 3 {
                        0 => polled(patience, producer.send(&bytes, NORMAL)).await,
                        1 => polled(patience, producer.reserve(bytes.len(), NORMAL)).await.map(
                            |place| {
                                let mut place = place?;
                                place.copy_from_slice(&bytes);
                                place.commit();
                                Ok(())
                            },
                        ),
                        _ => match polled(patience, producer.ready(NORMAL)).await {
                            Some(Ok(())) => Some(producer.get_mut().send_fast(&bytes, NORMAL)),
                            other => other,
                        },
                    };
                    match sent {
                        Some(sent) => {
                            sent.unwrap();
                            number += 1;
                        }
                        None => {
                            unsent += 1;
                            tokio::task::yield_now().await;
                        }
                    }
                }
                producer.get_mut().close();
            };
            let receiving = async {
                let mut turn = 0;
                loop {
                    turn += 1;
                    match receive(way, 1 + turn % 3, &mut consumer).await {
                        Some(Ok(messages)) => {
                            for bytes in messages {
                                check(&bytes, received);
                                received += 1;
                            }
                        }
                        Some(Err(error)) => break assert_eq!(error, RecvError::Closed),
                        None => {
                            unreceived += 1;
                            if unreceived % 7 == 0 {
                                tokio::task::yield_now().await;
                            }
                        }
                    }
                }
            };
            let (mut sending, mut receiving) = (Box::pin(sending), Box::pin(receiving));
            let mut sent = false;
            poll_fn(|cx| {
                sent = sent || sending.as_mut().poll(cx).is_ready();
                let received = receiving.as_mut().poll(cx).is_ready();
                if sent && received { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
        assert_eq!(received, count::<S>(), "way {way}");
        let most = count::<S>() / 30;
        assert!(unsent > most && unreceived > most, "only {unsent} and {unreceived} were dropped");
    }
}
on_each_shape!(futures_that_are_dropped_at_any_poll_lose_and_double_nothing_in_any_way);

/// Messages that come from another process at their own pace, and a time that runs out now and
/// then; another consumer sleeps beside it, and is to get its share.
fn what_comes_while_receives_race_a_timer_reaches_one_of_the_consumers<S: Shape>() {
    let directory = common::stage();
    let builder = S::builder().directory(directory.path()).capacity(8).max_message(LARGE);
    let ring = builder.create("raced").unwrap();
    let _second = S::read_second(&ring);
    let sender = Child::start(|| {
        let mut producer = builder.open("raced").unwrap().producer().unwrap();
        for number in 0..count::<S>() {
            producer.send(&message(number), NORMAL).unwrap();
            if number % 64 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        producer.close();
    });
    let mut sleeper = S::consumer_of_any_mode(&ring);
    sleeper.set_wait_strategy(WaitStrategy::Park);
    let sleeping = std::thread::spawn(move || {
        let mut numbers = Vec::new();
        let mut buffer = Vec::new();
        while sleeper.recv_into(&mut buffer).is_ok() {
            numbers.push(Numbered::read(&buffer[..number_end(&buffer)]).1);
        }
        numbers
    });
    let (mut numbers, mut late) = (Vec::new(), 0);
    run(async {
        let mut consumer = AsyncConsumer::new(S::consumer_of_any_mode(&ring)).unwrap();
        let mut buffer = Vec::new();
        loop {
            let time = Duration::from_micros(50 + late % 7 * 150);
            match raced(time, consumer.recv_into(&mut buffer)).await {
                Some(Ok(_)) => numbers.push(Numbered::read(&buffer[..number_end(&buffer)]).1),
                Some(Err(error)) => break assert_eq!(error, RecvError::Closed),
                None => late += 1,
            }
        }
    });
    sender.finish();
    numbers.extend(sleeping.join().unwrap());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count::<S>()).collect::<Vec<_>>());
}
on_each_shape!(
    what_comes_while_receives_race_a_timer_reaches_one_of_the_consumers,
    needs(two_consumers)
);

/// Where the numbered part of a message ends.
fn number_end(bytes: &[u8]) -> usize {
    let number = u64::from_le_bytes(bytes[4..12].try_into().unwrap());
    Numbered::new(0, number).as_ref().len()
}

#[test]
fn a_wait_for_the_last_consumer_to_leave_has_no_grant_wake_anybody_and_one_for_room_has() {
    let ring = UltraFastRing::new(4);
    run(async {
        let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
        let mut consumer = ring.consumer().unwrap();
        assert!(polled(1, producer.deserted()).await.is_none());
        assert!(!ring.is_asleep(Side::Producer), "grants look for whoever sleeps");
        for _ in 0..4 {
            producer.send(b"fills", NORMAL).await.unwrap();
        }
        // What the wait before has ordered is not enough for this one.
        assert!(polled(1, producer.send(b"waits", NORMAL)).await.is_none());
        assert!(ring.is_asleep(Side::Producer), "nobody wakes who waits for room");
        assert!(polled(1, producer.deserted()).await.is_none());
        assert!(ring.is_asleep(Side::Producer), "nobody wakes who may go on to wait for room");
        consumer.recv().unwrap();
        producer.send(b"waited", NORMAL).await.unwrap();
    });
}

fn a_producer_is_told_that_its_last_consumer_has_left_and_sends_nothing_for_it<S: Shape>() {
    let ring = S::heap(4);
    run(async {
        let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
        assert!(polled(3, producer.deserted()).await.is_none(), "nobody has been here");
        let mut consumers = S::consumers(&ring, 2);
        let last = consumers.pop().unwrap();
        assert!(raced(Duration::from_millis(5), producer.deserted()).await.is_none());
        drop(consumers);
        assert!(raced(Duration::from_millis(5), producer.deserted()).await.is_none());
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(last);
        });
        // Well before the longest sleep is over.
        producer.deserted().await;
        leaving.join().unwrap();
        producer.send(b"it can send", NORMAL).await.unwrap();
        assert_eq!(ring.len(), 1);
    });
}
on_each_shape!(a_producer_is_told_that_its_last_consumer_has_left_and_sends_nothing_for_it);

/// Time of a processor that this process has used, in all its threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Each in a process of its own, since the handle's thread counts as well.
fn whatever_a_task_waits_for_takes_next_to_no_time_of_the_processor<S: Shape>() {
    const WATCHED: Duration = Duration::from_secs(2);
    async fn watch<T>(what: &str, waiting: impl Future<Output = T>) {
        let before = cpu_time();
        assert!(raced(WATCHED, waiting).await.is_none(), "{what}: it did not wait");
        let used = cpu_time() - before;
        // Half a percent.
        assert!(used <= WATCHED / 200, "{what}: waiting took {used:?} of {WATCHED:?}");
    }
    let children = ["recv_into", "borrow", "borrow_many", "ready", "room", "reserve", "deserted"]
        .map(|what| {
            Child::start(|| {
                let ring = S::heap(1);
                run(async {
                    let consumer = S::consumer_of_any_mode(&ring);
                    let mut consumer = AsyncConsumer::new(consumer).unwrap();
                    let mut producer = AsyncProducer::new(ring.producer().unwrap()).unwrap();
                    let fill = what == "room" || what == "reserve";
                    if fill {
                        producer.send(b"full", NORMAL).await.unwrap();
                    }
                    match what {
                        "recv_into" => watch(what, consumer.recv_into(&mut Vec::new())).await,
                        "borrow" => watch(what, consumer.borrow()).await,
                        "borrow_many" => watch(what, consumer.borrow_many(9)).await,
                        "ready" => watch(what, consumer.ready()).await,
                        "room" => watch(what, producer.ready(NORMAL)).await,
                        "reserve" => watch(what, producer.reserve(1, NORMAL)).await,
                        _ => watch(what, producer.deserted()).await,
                    }
                });
            })
        });
    children.into_iter().for_each(Child::finish);
}
on_each_shape!(whatever_a_task_waits_for_takes_next_to_no_time_of_the_processor, needs(quick));
