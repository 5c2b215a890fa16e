"""Checked by mypy and pyright, not run: what a typed program does with the package."""

import asyncio
import json
import socket
import threading
from typing import assert_type

import ultrafastring
from ultrafastring import (
    Broadcast,
    BroadcastHandle,
    Consumer,
    JoinableQueue,
    LatencyHistogram,
    Message,
    Participant,
    PriorityClass,
    Producer,
    Queue,
    Ring,
    SimpleQueue,
)


def rings(there: socket.socket) -> None:
    ring = Ring.create(
        "quotes",
        capacity=1024,
        reserve={PriorityClass.REAL_TIME: 16},
        timestamps="1/16",
        side_memory="preallocated",
    )
    assert_type(ring.producer(), Producer)
    assert_type(ring.consumer(end_when_deserted=True), Consumer)
    assert_type(ring.stats().classes[PriorityClass.HIGH].sent, int)
    assert_type(ring.lanes()[0].owner, Participant | None)
    assert_type(ring.settings.capacity_of, dict[PriorityClass, int])
    assert_type(ring.consumer(in_time_order=0.01).late, int)
    assert_type(ring.join("log", ageing=4).recv_message().late, bool)
    assert_type(ring.tail().lane, int)
    assert_type(ring.participants()[0].pid, int)
    latencies = ring.latencies("risk")
    assert_type(latencies, dict[PriorityClass, LatencyHistogram] | None)
    if latencies is not None:
        both = latencies[PriorityClass.HIGH] + latencies[PriorityClass.LOW]
        assert_type(both.quantile_ns(0.99), float | None)
    ring.hand_to(there)
    assert_type(ring.join("risk", start="oldest", durable=True, evict_after=0.5), Consumer)
    assert_type(ring.groups()[0].evict_after, float | None)
    for message in ring.tail(3, poll=0.01):
        assert_type(message, Message)
    assert_type(ultrafastring.Observer.open("quotes").tail().latest(), Message | None)
    with Ring.take_from(there) as taken, taken.producer() as producer:
        producer.send(bytearray(3), priority="high", timeout=1.0)


def receives(consumer: Consumer) -> None:
    assert_type(consumer.recv(timeout=0.5), bytes)
    assert_type(consumer.try_recv(), bytes | None)
    assert_type(consumer.recv_message(), Message)
    assert_type(consumer.recv_message().latency_ns, int | None)
    assert_type(consumer.recv_many(16), list[bytes])
    for message in consumer:
        assert_type(message, bytes)
    with consumer.borrow() as view:
        assert_type(view, memoryview)
    try:
        consumer.recv_into(bytearray(3))
    except ultrafastring.BufferTooSmall as error:
        assert_type(error.needed, int)
    except (ultrafastring.Evicted, ultrafastring.Overrun) as missed:
        assert_type(missed.missed, int)


def sends(producer: Producer) -> None:
    assert_type(producer.try_send(b"one"), bool)
    assert_type(producer.try_send_many([b"one", memoryview(b"two")]), int)
    with producer.reserve(100, PriorityClass.BULK) as view:
        view[:3] = b"abc"


async def awaits(producer: Producer, consumer: Consumer) -> None:
    await producer.asend(b"one", PriorityClass.LOW)
    assert_type(await consumer.arecv(), bytes)
    assert_type(await asyncio.wait_for(consumer.arecv_many(), 1.0), list[bytes])
    async for message in consumer:
        assert_type(message, bytes)


def queues(quotes: "Queue[tuple[str, int]]", tasks: "JoinableQueue[bytes]") -> None:
    quotes.put(("AAPL", 101), timeout=1.0)
    quotes.put_many([("AAPL", 102)], block=False)
    assert_type(quotes.get(), tuple[str, int])
    assert_type(quotes.get_many(3), list[tuple[str, int]])
    assert_type(quotes.redelivered, bool)
    assert_type(tasks.get_nowait(), bytes)
    tasks.task_done()
    tasks.join(timeout=1.0)
    made: Queue[int] = Queue(10, redeliver=True, serializer=json, name="jobs", trust="group")
    assert_type(made.qsize(), int)
    simple: SimpleQueue[str] = SimpleQueue()
    assert_type(simple.get(), str)


async def awaits_items(quotes: "Queue[int]") -> None:
    await quotes.aput(1)
    assert_type(await quotes.aget(), int)


def broadcasts(stop: threading.Event) -> None:
    writer: Broadcast[dict[str, int]] = Broadcast(readers=2, max_message=1 << 20)
    assert_type(writer.export_handle(), BroadcastHandle)
    reader: Broadcast[dict[str, int]]
    reader = Broadcast.create_from_handle(writer.export_handle(), 0)
    writer.wait_until_ready(timeout=1.0)
    writer.enqueue({"step": 1})
    assert_type(reader.dequeue(timeout=1.0, cancel=stop), dict[str, int])
