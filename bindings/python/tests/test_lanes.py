"""Rings with lanes: by class and by producer, in time order, with lanes that age."""

import asyncio
import math
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ultrafastring
from ultrafastring import Consumer, Message, PriorityClass, Ring


def by_class(**more: int) -> Ring:
    return Ring.anonymous(lanes="by-class", **more)  # type: ignore[arg-type]


def by_producer(lanes: int = 2, **more: int) -> Ring:
    return Ring.anonymous(lanes=f"by-producer:{lanes}", **more)  # type: ignore[arg-type]


def test_urgent_messages_overtake_others_in_a_ring_with_lanes_by_class() -> None:
    ring = Ring.anonymous(
        lanes="by-class",
        capacity=16,
        capacity_of={"bulk": 64},
        credit_limit_of={"low": 2},
        max_message_of={PriorityClass.BULK: 1000},
    )
    settings = ring.settings
    assert settings.lanes == "by-class" and settings.capacity == 16
    assert settings.capacity_of[PriorityClass.BULK] == 64
    assert settings.capacity_of[PriorityClass.HIGH] == 16
    assert settings.credit_limit_of[PriorityClass.LOW] == 2
    assert settings.max_message_of == {
        it: 1000 if it.word == "bulk" else 40 for it in settings.capacity_of
    }
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(b"r" * 1000, "bulk")
    assert [producer.try_send(b"low", "low") for _ in range(3)] == [True, True, False]
    producer.send(b"order")
    producer.send(b"cancel", "real-time")
    got = [message.priority.word for message in consumer.recv_messages(1)]
    got += [consumer.recv_message().priority.word for _ in range(4)]
    assert got == ["real-time", "normal", "low", "low", "bulk"]
    assert [lane.priority for lane in ring.lanes()] == list(PriorityClass)


def test_a_class_gets_its_share_where_lanes_age() -> None:
    ring = by_class()
    producer, consumer = ring.producer(), ring.consumer()
    consumer.ageing(2)
    producer.send_many([b"c"] * 6, "real-time")
    producer.send_many([b"r"] * 3, "bulk")
    # The turn goes round all lanes, and the first that has something gets it.
    assert b"".join(consumer.recv() for _ in range(6)) == b"crcccr"
    consumer.ageing(0)
    assert b"".join(consumer.recv() for _ in range(3)) == b"ccr"


def send(ring: Ring, numbers: "range") -> None:
    producers = [ring.producer() for _ in range(3)]
    for number in numbers:
        producers[number * number % 3].send(bytes([number]))
    ring.close()


def waits(consumer: Consumer) -> Iterator[Message]:
    while True:
        try:
            yield consumer.recv_message()
        except ultrafastring.Closed:
            return


def batches(consumer: Consumer) -> Iterator[Message]:
    while True:
        try:
            yield from consumer.recv_messages(5)
        except ultrafastring.Closed:
            return


@pytest.mark.parametrize("receive", [waits, batches])
@pytest.mark.parametrize("wait", [0.0, 0.001, math.inf])
def test_messages_of_several_producers_come_in_the_order_of_sending(receive, wait) -> None:  # type: ignore[no-untyped-def]
    ring = by_producer(3)
    consumer = ring.consumer(in_time_order=wait)
    send(ring, range(50))
    messages = list(receive(consumer))
    assert [message.data[0] for message in messages] == list(range(50))
    assert not any(message.late for message in messages)
    assert consumer.late == ring.stats().late == 0


def test_a_member_of_a_group_receives_in_time_order_too() -> None:
    ring = Ring.anonymous(lanes="by-producer:3", groups=["log"])
    consumer = ring.join("log", in_time_order=0.001)
    send(ring, range(20))
    assert [message[0] for message in consumer] == list(range(20))
    tail = ring.tail("oldest")
    lanes = set()
    for _ in tail:
        lanes.add(tail.lane)
    assert lanes == {0, 1}


def test_a_lane_that_has_nothing_is_waited_for_no_longer_than_was_said() -> None:
    ring = by_producer()
    consumer = ring.consumer(in_time_order=math.inf)
    one, two = ring.producer(), ring.producer()
    one.send(b"1")
    assert consumer.try_recv() is None and consumer.try_recv_many() == []
    with pytest.raises(ultrafastring.TimedOut):
        consumer.recv(timeout=0.01)
    two.send(b"2")
    assert consumer.recv() == b"1" and consumer.try_borrow() is None
    consumer.in_time_order(0)
    assert consumer.recv() == b"2"
    consumer.in_time_order(0.02)
    two.send(b"3")
    assert consumer.recv() == b"3"  # once the time is over, and asleep until then


def test_a_task_awaits_messages_in_time_order() -> None:
    ring = by_producer()
    consumer = ring.consumer(in_time_order=0.02)
    one, two = ring.producer(), ring.producer()

    async def receives() -> list[bytes]:
        two.send(b"2")
        got = [await asyncio.wait_for(consumer.arecv(), 20)]
        two.send(b"3")
        one.send(b"4")
        two.send(b"5")
        return [*got, *[await consumer.arecv() for _ in range(3)]]

    assert asyncio.run(receives()) == [b"2", b"3", b"4", b"5"]


LARGE = 8 << 20


def send_slowly(
    ring: Ring, rounds: int, next_round: "multiprocessing.synchronize.Semaphore"
) -> None:  # type: ignore[name-defined]
    producer = ring.producer()
    for _ in range(rounds):
        next_round.acquire()
        producer.send(bytes(LARGE))


def test_what_comes_after_a_younger_message_is_late() -> None:
    # A message is stamped before its bytes are copied, which takes so long that this process sends
    # and receives others meanwhile.
    rounds = 50
    context = multiprocessing.get_context("fork")
    next_round = context.Semaphore(0)
    ring = Ring.anonymous(lanes="by-producer:2", max_message=LARGE, capacity=4)
    consumer, producer = ring.consumer(in_time_order=0), ring.producer()
    child = context.Process(target=send_slowly, args=(ring, rounds, next_round))
    child.start()
    late = 0
    try:
        for _ in range(rounds):
            next_round.release()
            while True:
                producer.send(b"quick")
                message = consumer.recv_message()
                if len(message) == LARGE:
                    break
                assert not message.late
            late += message.late
            assert ("late" in repr(message)) == message.late
            # That which was sent last is there still.
            assert consumer.recv() == b"quick"
            if late == 2:
                break
        assert late == 2 and consumer.late == late
        consumer.flush()
        assert ring.stats().late == late
        assert sum(it.late for it in ring.participants()) == late
        with consumer_of_held(ring, producer, consumer) as borrowed:
            assert not borrowed.late
    finally:
        child.kill()
        child.join()


@contextmanager
def consumer_of_held(ring, producer, consumer):  # type: ignore[no-untyped-def]
    producer.send(b"held")
    borrowed = consumer.borrow()
    yield borrowed
    borrowed.release()


def test_what_a_ring_cannot_do_is_refused_and_says_what_to_do() -> None:
    plain = Ring.anonymous()
    with pytest.raises(ultrafastring.NoTimeOrder, match='lanes="by-producer:N"'):
        plain.consumer(in_time_order=0.1)
    with pytest.raises(ultrafastring.NoClassLanes, match='lanes="by-class"'):
        plain.consumer(ageing=4)
    # The handles that were refused are gone.
    assert plain.participants() == []
    some = Ring.anonymous(lanes="by-producer:2", timestamps="1/16")
    with pytest.raises(ultrafastring.NoTimeOrder, match='timestamps="every"'):
        some.consumer().in_time_order(0.1)
    with pytest.raises(ultrafastring.NoClassLanes):
        some.consumer().ageing(4)
    for seconds in (-1, math.nan):
        with pytest.raises(ValueError, match="wait="):
            by_producer().consumer(in_time_order=seconds)
    grouped = Ring.anonymous(joinable=True, lanes="by-class")
    with pytest.raises(ultrafastring.NoTimeOrder, match="by-class"):
        grouped.join("log", in_time_order=0.1)
    with pytest.raises(ultrafastring.SettingsError, match='lanes="by-class"'):
        Ring.anonymous(capacity_of={"bulk": 64})


def test_a_producer_for_whom_there_is_no_lane_is_told_who_has_them() -> None:
    ring = by_producer()
    first, second = ring.producer(), ring.producer()
    with pytest.raises(ultrafastring.NoFreeLane, match="each of the 2 lanes"):
        ring.producer()
    assert [lane.owner is not None for lane in ring.lanes()] == [True, True]
    first.leave()
    ring.producer().send(b"in the lane that is free")
    second.leave()


def test_a_ring_with_lanes_and_histograms_counts_latencies() -> None:
    ring = Ring.anonymous(lanes="by-class", latency_histograms=True)
    producer, consumer = ring.producer(), ring.consumer()
    producer.send_many([b"report"] * 10, "bulk")
    producer.send(b"cancel", "real-time")
    assert len(consumer.recv_many(100) + consumer.recv_many(100)) == 11
    latencies = ring.latencies()
    assert latencies is not None
    assert latencies[PriorityClass.BULK].count == 10
    assert (latencies[PriorityClass.REAL_TIME].quantile_ns(0.5) or 0) > 0
