"""Rings, handles, and messages that are copied."""

import array
import gc
import os
import socket
import threading
import time

import pytest

import ultrafastring
from ultrafastring import Message, PriorityClass, Ring


def test_what_is_sent_is_received_in_order(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    sent = [os.urandom(size) for size in (0, 1, 40, 41, 1000, 100_000, 3)]
    for message in sent:
        producer.send(message)
    assert [consumer.recv() for _ in sent] == sent
    assert consumer.try_recv() is None


@pytest.mark.parametrize(
    "data",
    [bytearray(b"abc"), memoryview(b"xabcx")[1:4], array.array("B", b"abc"), b"abc"],
    ids=lambda data: type(data).__name__,
)
def test_any_bytes_like_object_is_a_message(ring: Ring, data: bytes) -> None:
    consumer = ring.consumer()
    ring.producer().send(data)
    assert consumer.recv() == b"abc"


def test_what_is_no_message_says_what_is(ring: Ring) -> None:
    producer = ring.producer()
    with pytest.raises(TypeError, match="encode it"):
        producer.send("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        producer.send(3)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        producer.send(memoryview(b"abcd")[::2])
    assert len(ring) == 0


def test_a_message_knows_its_class_its_latency_and_its_place(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(b"one", PriorityClass.HIGH)
    producer.send(b"two", priority="bulk")
    time.sleep(0.001)
    one, two = consumer.recv_messages()
    assert (one.data, one.priority, one.position) == (b"one", PriorityClass.HIGH, 0)
    assert (two.data, two.priority, two.position) == (b"two", PriorityClass.BULK, 1)
    assert two.latency_ns is not None and 1_000_000 <= two.latency_ns < 10_000_000_000
    assert not one.redelivered
    assert one == b"one" and bytes(one) == b"one" and len(one) == 3
    assert one != two and one != 7 and hash(one) == hash(b"one")
    assert "b'one'" in repr(one) and "high" in repr(one)
    assert isinstance(one, Message)


def test_a_ring_without_timestamps_has_no_latency(name: str) -> None:
    ring = Ring.create(name, timestamps="off")
    consumer = ring.consumer()
    ring.producer().send(b"one")
    assert consumer.recv_message().latency_ns is None


def test_a_class_that_is_none_is_refused(ring: Ring) -> None:
    producer = ring.producer()
    with pytest.raises(ValueError, match="real-time"):
        producer.send(b"", "urgent")
    with pytest.raises(ValueError, match="PriorityClass"):
        producer.send(b"", 5)
    with pytest.raises((TypeError, OverflowError)):
        producer.send(b"", -1)


def test_every_setting_of_the_command_is_an_argument(name: str) -> None:
    ring = Ring.create(
        name,
        capacity=128,
        max_message=4096,
        side_memory="overcommitted",
        exclusive_producer=True,
        exclusive_consumer=True,
        credit_limit=100,
        reserve={"real-time": 8, PriorityClass.HIGH: 4},
        timestamps="1/16",
        latency_histograms=True,
        redelivery="discard",
        participants=32,
        participant_name="tests",
        fences=True,
    )
    settings = ring.settings
    assert settings == ultrafastring.Settings(
        capacity=128,
        participants=32,
        max_message=4096,
        exclusive_producer=True,
        exclusive_consumer=True,
        timestamps="1/16",
        redelivery="discard",
        credit_limit=100,
        reserve={PriorityClass.REAL_TIME: 8, PriorityClass.HIGH: 4},
        latency_histograms=True,
    )
    producer = ring.producer()
    [participant] = ring.participants()
    assert (participant.name, participant.pid, participant.side) == (
        "tests",
        os.getpid(),
        "producer",
    )
    with pytest.raises(ultrafastring.SideTaken, match="wait until it leaves"):
        Ring.open(name).producer()
    producer.leave()
    Ring.open(name).producer()


def test_settings_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ultrafastring.SettingsError, match="try 1024"):
        Ring.create(name, capacity=1000)
    with pytest.raises(ValueError, match="1/N"):
        Ring.create(name, timestamps="often")
    with pytest.raises(TypeError, match="colour= is no setting"):
        Ring.create(name, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="capacity= is no setting"):
        Ring.open(name, capacity=2)  # type: ignore[call-arg]
    with pytest.raises(ultrafastring.SettingsError, match="no slash"):
        Ring.create("a/b")


def test_rings_are_found_by_name(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="create the ring first"):
        Ring.open(name)
    ring = Ring.create(name)
    with pytest.raises(FileExistsError, match="open it"):
        Ring.create(name)
    assert name in Ring.names() and ring.name == name and str(ring.path).endswith(name)
    with pytest.raises(ultrafastring.SettingsError, match="accept_existing=True"):
        Ring.open_or_create(name, capacity=2)
    assert Ring.open_or_create(name, capacity=2, accept_existing=True).capacity == 256
    Ring.remove(name)
    assert name not in Ring.names()


def test_a_directory_of_its_own(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    directory = tmp_path_factory.mktemp("rings")
    Ring.create(name, directory=directory)
    assert Ring.names(directory=directory) == [name]
    Ring.open(name, directory=directory)
    Ring.remove(name, directory=directory)


def test_full_empty_and_timed_out(name: str) -> None:
    ring = Ring.create(name, capacity=2)
    producer, consumer = ring.producer(), ring.consumer()
    with pytest.raises(ultrafastring.TimedOut, match="no message came in time"):
        consumer.recv(timeout=0.01)
    assert producer.try_send(b"1") and producer.try_send(b"2")
    assert not producer.try_send(b"3")
    with pytest.raises(TimeoutError, match="no room"):
        producer.send(b"3", timeout=0.01)
    with pytest.raises(TimeoutError) as raised:
        producer.send_many([b"3", b"4"], timeout=0)
    assert raised.value.sent == 0  # type: ignore[attr-defined]
    consumer.recv()
    with pytest.raises(ultrafastring.TimedOut) as raised:
        producer.send_many([b"3", b"4"], timeout=0.01)
    assert raised.value.sent == 1
    assert consumer.recv_many() == [b"2", b"3"]
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout="):
            consumer.recv(timeout=wrong)
    producer.send(b"5", timeout=float("inf"))
    assert consumer.recv(timeout=1e300) == b"5"


def test_batches(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    sent = [bytes([n]) * (n * 3) for n in range(60)]  # in slots and beside them
    producer.send_many(iter(sent))
    assert consumer.recv_many(10) == sent[:10]
    assert [bytes(it) for it in consumer.try_recv_messages(20)] == sent[10:30]
    assert consumer.recv_many(1000) == sent[30:]
    assert consumer.try_recv_many() == [] and consumer.recv_many(0) == []
    assert producer.try_send_many(tuple(sent) + tuple(sent)) == 64
    assert consumer.recv_many(64) == sent + sent[:4]
    with pytest.raises(ultrafastring.TooLarge) as raised:
        producer.send_many([b"1", bytes(100_001)])
    assert "100001 bytes" in str(raised.value) and len(ring) == 0


def test_many_more_than_fit_are_sent_while_they_are_received(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    sent = [n.to_bytes(4, "little") for n in range(10_000)]

    def send() -> None:
        producer.send_many(sent)
        producer.close()

    thread = threading.Thread(target=send)
    thread.start()
    assert list(consumer) == sent
    thread.join()


def test_receiving_into_memory_of_ones_own(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    buffer = bytearray(b"." * 60)
    assert consumer.try_recv_into(buffer) is None
    producer.send(b"x" * 50)
    with pytest.raises(ultrafastring.BufferTooSmall, match="larger buffer") as raised:
        consumer.recv_into(memoryview(buffer)[:10])
    assert raised.value.needed == 50
    assert consumer.recv_into(buffer) == 50
    assert buffer == b"x" * 50 + b"." * 10
    producer.send(b"y")
    assert consumer.try_recv_into(memoryview(buffer)[3:]) == 1 and buffer[3:4] == b"y"
    with pytest.raises(BufferError):
        consumer.recv_into(b"read-only")


def test_the_end_of_a_stream(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    producer.send_many([b"1", b"2"])
    producer.close()
    assert ring.closed
    assert list(consumer) == [b"1", b"2"]
    with pytest.raises(ultrafastring.Closed):
        consumer.recv()
    with pytest.raises(ultrafastring.Closed, match=r"ring.reopen\(\)"):
        producer.send(b"3")
    with pytest.raises(ultrafastring.Closed):
        ring.producer(unless_closed=True)
    late = ring.consumer(await_next_stream=True)
    with pytest.raises(TimeoutError):
        late.recv(timeout=0.01)
    ring.reopen()
    assert not ring.closed
    producer.send(b"3")
    assert late.recv() == b"3"


def test_desertion(name: str) -> None:
    ring = Ring.create(name, capacity=2)
    with ring.producer() as producer:
        producer.send(b"1")
    consumer = ring.consumer(end_when_deserted=True)
    with ring.producer(end_when_deserted=True) as producer:
        assert consumer.living_producers() == 1 and producer.living_consumers() == 1
        producer.send(b"2")
    assert consumer.is_deserted()
    assert list(consumer) == [b"1", b"2"]
    with pytest.raises(ultrafastring.Deserted):
        consumer.recv()
    producer = ring.producer(end_when_deserted=True)
    consumer.leave()
    producer.send_many([b"1", b"2"])
    with pytest.raises(ultrafastring.Deserted, match="start one"):
        producer.send(b"3")


def test_a_handle_that_was_given_up_says_so(ring: Ring) -> None:
    with ring.producer() as producer, ring.consumer() as consumer:
        producer.send(b"1")
    for call in (consumer.recv, consumer.try_recv, lambda: producer.send(b"2"), consumer.flush):
        with pytest.raises(ultrafastring.HandleLeft, match="take another"):
            call()
    producer.leave()
    assert not ring.participants()
    with ring:
        pass
    with pytest.raises(ultrafastring.RingError, match="open it again"):
        ring.producer()


def test_handles_outlive_their_ring(name: str) -> None:
    ring = Ring.create(name)
    producer, consumer = ring.producer(), ring.consumer()
    del ring
    gc.collect()
    producer.send(b"1")
    assert consumer.recv() == b"1"


def test_statistics_by_class(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(b"123", "high")
    producer.send(b"45", "low")
    consumer.recv_many()
    producer.flush()
    consumer.flush()
    stats = ring.stats()
    assert (stats.sent, stats.received, stats.credit_limit) == (2, 2, 64)
    high = stats.classes[PriorityClass.HIGH]
    assert (high.sent, high.sent_bytes, high.received_bytes) == (1, 3, 3)
    assert 0 < high.average_latency_ns <= high.max_latency_ns
    assert not ring.under_pressure() and not producer.under_pressure() and not ring.damaged


def test_a_ring_with_lanes_by_class_shows_each(name: str) -> None:
    ring = Ring.create(
        name,
        lanes="by-class",
        capacity=8,
        capacity_of={"bulk": 32},
        credit_limit_of={"real-time": 4},
        max_message_of={PriorityClass.BULK: 1000},
    )
    assert ring.settings.lanes == "by-class"
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(b"later" * 100, "bulk")
    producer.send(b"first", "real-time")
    assert consumer.recv() == b"first"
    lanes = ultrafastring.Observer.open(name).lanes()
    assert [it.priority for it in lanes] == list(PriorityClass)
    assert [it.capacity for it in lanes] == [8, 8, 8, 8, 32]
    assert (lanes[0].credit_limit, lanes[4].max_message, lanes[4].in_flight) == (4, 1000, 1)
    assert (lanes[0].sent, lanes[0].received, lanes[0].owner) == (1, 1, None)
    assert {it.lane for it in ring.participants()} == {0, 1, 2, 3, 4}
    assert consumer.recv() == b"later" * 100
    with pytest.raises(ValueError, match="by-producer:N"):
        Ring.create(name, lanes="some")


def test_a_lane_of_a_producer_shows_its_owner() -> None:
    ring = Ring.anonymous(lanes="by-producer:2")
    producer = ring.producer()
    producer.send(b"!")
    first, second = ring.lanes()
    assert first.owner is not None and first.owner.pid == os.getpid() and second.owner is None
    assert (first.in_flight, second.in_flight, first.priority) == (1, 0, None)
    [only] = Ring.anonymous().lanes()
    assert (only.index, only.priority, only.owner, only.closed) == (0, None, None, False)


def test_latencies_are_counted_in_histograms(name: str) -> None:
    ring = Ring.create(name, latency_histograms=True)
    assert ring.settings.latency_histograms
    producer, consumer = ring.producer(), ring.consumer()
    empty = ring.latencies()
    assert empty is not None
    assert [it.count for it in empty.values()] == [0] * 5 and list(empty) == list(PriorityClass)
    high = empty[PriorityClass.HIGH]
    assert (high.quantile_ns(0.5), high.mean_ns, high.sum_ns, high.buckets()) == (None, None, 0, [])
    for message in (b"1", b"2", b"3"):
        producer.send(message, "high")
    producer.send(b"4", "low")
    time.sleep(0.002)
    consumer.recv_many()
    consumer.flush()
    for looked_at in (ring, ultrafastring.Observer.open(name)):
        counted = looked_at.latencies()
        assert counted is not None
        high, low = counted[PriorityClass.HIGH], counted[PriorityClass.LOW]
        median = high.quantile_ns(0.5)
        # It was asleep for so long, less the sixteenth that a bucket may be off.
        assert median is not None and 1.8e6 < median < 1e10
        assert high.mean_ns is not None and high.sum_ns == pytest.approx(3 * high.mean_ns)
        both = high + low
        assert (high.count, low.count, both.count) == (3, 1, 4)
        assert (both.count_up_to(1.8e6), both.count_up_to(1e10)) == (0, 4)
        assert sum(count for _, _, count in both.buckets()) == 4
        assert all(least < above for least, above, _ in both.buckets())
        assert (both.since(high).count, high.since(empty[PriorityClass.HIGH]).count) == (1, 3)
        assert "3 messages, half within" in repr(high)
    assert Ring.anonymous().latencies() is None


def test_a_ring_is_handed_over_a_socket() -> None:
    here, there = socket.socketpair()
    with here, there:
        ring = Ring.anonymous(capacity=8)
        assert ring.name is None and ring.path is None
        ring.hand_to(here)
        there.settimeout(5)
        taken = Ring.take_from(there)
        ring.producer().send(b"over")
        assert taken.consumer().recv() == b"over"
        there.settimeout(0.01)
        with pytest.raises(TimeoutError, match="handed over"):
            Ring.take_from(there)


def test_a_named_ring_is_not_handed_over(ring: Ring) -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(ultrafastring.RingError, match="open a named ring by its name"):
        ring.hand_to(here)


def test_every_exception_is_one_of_the_package() -> None:
    for value in vars(ultrafastring).values():
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, ultrafastring.UltraFastRingError)
            assert value.__doc__ and value.__module__ == "ultrafastring"
    assert issubclass(ultrafastring.TimedOut, TimeoutError)
    assert issubclass(ultrafastring.RingNotFound, FileNotFoundError)
    assert issubclass(ultrafastring.ViewsExported, BufferError)
