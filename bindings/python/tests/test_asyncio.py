"""asyncio, and uvloop where it is installed."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import ultrafastring
from ultrafastring import Ring

Run = Callable[[Coroutine[Any, Any, object]], object]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "asyncio":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop")
    return uvloop.run  # type: ignore[no-any-return]


def test_messages_and_room_are_awaited(run: Run, name: str) -> None:
    ring = Ring.create(name, capacity=4)
    sent = [n.to_bytes(4, "little") for n in range(3000)]

    async def send() -> None:
        with ring.producer() as producer:
            for message in sent:
                await producer.asend(message)
            producer.close()

    async def main() -> None:
        sending = asyncio.create_task(send())
        with ring.consumer() as consumer:
            assert [message async for message in consumer] == sent
        await sending

    run(main())


def test_an_awaited_message_comes_from_another_thread(run: Run, ring: Ring) -> None:
    consumer, producer = ring.consumer(), ring.producer()

    async def main() -> None:
        for n in range(20):
            threading.Timer(0.002, producer.send, [b"%d" % n, "high"]).start()
            message = await consumer.arecv_message()
            assert message == b"%d" % n and message.priority.word == "high"
        threading.Timer(0.002, producer.send_many, [[b"1", b"2"]]).start()
        got: list[bytes] = []
        while len(got) < 2:
            got += await consumer.arecv_many()
        assert got == [b"1", b"2"] and await consumer.arecv_many(0) == []

    run(main())


def test_other_tasks_run_beside_a_ring_that_is_never_empty(run: Run, ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        for _ in range(2000):
            await producer.asend(b"")
            await consumer.arecv()
        ticking.cancel()

    run(main())
    assert ticks >= 20


def test_cancelling_loses_nothing(run: Run, name: str) -> None:
    ring = Ring.create(name, capacity=1024)
    total = 3000
    got: list[int] = []
    seed = random.Random(31)

    def send() -> None:
        with ring.producer() as producer:
            for n in range(total):
                producer.send(n.to_bytes(4, "little"))
                if n % 7 == 0:
                    time.sleep(seed.random() / 3000)

    async def receive(consumer: ultrafastring.Consumer) -> None:
        got.append(int.from_bytes(await consumer.arecv(), "little"))

    async def main() -> None:
        consumer = ring.consumer()
        thread = threading.Thread(target=send)
        thread.start()
        while len(got) < total:
            task = asyncio.create_task(receive(consumer))
            await asyncio.sleep(seed.random() / 5000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            try:
                message = await asyncio.wait_for(consumer.arecv(), seed.random() / 5000)
                got.append(int.from_bytes(message, "little"))
            except TimeoutError:
                pass
        thread.join()

    run(main())
    assert got == list(range(total))


def test_a_cancelled_task_hands_on_what_it_was_woken_for(run: Run, ring: Ring) -> None:
    first, second, producer = ring.consumer(), ring.consumer(), ring.producer()
    # One who is not told finds it within 100 ms. The machine may be late itself, but not each time.
    quick = 0

    async def main() -> None:
        nonlocal quick
        for _ in range(10):
            cancelled = asyncio.create_task(first.arecv())
            await asyncio.sleep(0.002)
            waiting = asyncio.create_task(second.arecv())
            await asyncio.sleep(0.002)
            producer.send(b"for whoever is there")
            began = time.monotonic()
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            assert await asyncio.wait_for(waiting, 5) == b"for whoever is there"
            quick += time.monotonic() - began < 0.033

    run(main())
    assert quick >= 6


def test_several_tasks_await_one_handle(run: Run, ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()

    async def main() -> None:
        tasks = [asyncio.create_task(consumer.arecv()) for _ in range(10)]
        await asyncio.sleep(0.01)
        for n in range(10):
            await producer.asend(b"%d" % n)
        assert sorted(await asyncio.gather(*tasks)) == [b"%d" % n for n in range(10)]

    run(main())


def test_the_end_of_a_stream_ends_an_iteration(run: Run, ring: Ring) -> None:
    consumer = ring.consumer(end_when_deserted=True)

    async def iterate() -> list[bytes]:
        return [message async for message in consumer]

    async def main() -> None:
        iterating = asyncio.create_task(iterate())
        await asyncio.sleep(0.01)
        with ring.producer() as producer:
            producer.send(b"1")
        assert await asyncio.wait_for(iterating, 5) == [b"1"]
        ring.close()
        with pytest.raises((ultrafastring.Closed, ultrafastring.Deserted)):
            await asyncio.wait_for(consumer.arecv(), 5)

    run(main())


def test_a_handle_goes_from_loop_to_loop(run: Run, ring: Ring) -> None:
    consumer, producer = ring.consumer(), ring.producer()

    async def once() -> None:
        threading.Timer(0.005, producer.send, [b"1"]).start()
        assert await consumer.arecv() == b"1"

    run(once())
    run(once())


def test_an_awaiting_task_uses_little_of_a_core(run: Run, ring: Ring) -> None:
    consumer = ring.consumer()

    async def main() -> float:
        await asyncio.sleep(0.1)
        began = time.process_time()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.arecv(), 3)
        return (time.process_time() - began) / 3

    share = run(main())
    assert isinstance(share, float) and share < 0.01
