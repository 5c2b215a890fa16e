"""Waiting: other threads run, Ctrl-C ends it, threads take turns."""

import signal
import subprocess
import sys
import threading
import time

import pytest

import ultrafastring
from ultrafastring import Ring


def test_other_threads_run_while_one_waits(ring: Ring) -> None:
    consumer = ring.consumer()
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(consumer.recv()))
    thread.start()
    counted = 0
    while counted < 100_000:  # it would not get far if the waiting thread kept the interpreter
        counted += 1
    assert thread.is_alive()
    ring.producer().send(b"wake up")
    thread.join()
    assert got == [b"wake up"]


def test_a_call_that_finds_a_message_keeps_the_interpreter(ring: Ring) -> None:
    """A thread that would run at each release of the lock does not run."""
    producer, consumer = ring.producer(), ring.consumer()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    ran: list[int] = []
    ready, go = threading.Event(), threading.Event()

    def other() -> None:
        ready.set()
        go.wait()
        ran.append(1)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        ready.wait()
        time.sleep(0.01)
        go.set()
        for _ in range(1000):
            producer.send(b"one")
            consumer.recv()
            producer.send_many([b"two", b"three"])
            consumer.recv_many()
        assert not ran
    finally:
        sys.setswitchinterval(interval)
        thread.join()


INTERRUPTED = """
import os, signal, sys, threading, time
from ultrafastring import Ring

ring = Ring.anonymous(capacity=1, max_message=4096, trust_peers=True)
producer, consumer = ring.producer(), ring.consumer()
wait = {
    "recv": lambda: consumer.recv(),
    "recv_timeout": lambda: consumer.recv(timeout=60),
    "recv_message": lambda: consumer.recv_message(),
    "recv_into": lambda: consumer.recv_into(bytearray(10)),
    "recv_many": lambda: consumer.recv_many(),
    "iterate": lambda: next(consumer),
    "borrow": lambda: consumer.borrow(),
    "send": lambda: producer.send(b"2"),
    "send_many": lambda: producer.send_many([b"2", b"3"]),
    "reserve": lambda: producer.reserve(100),
    "turn": lambda: consumer.recv(),
}[sys.argv[1]]
if sys.argv[1] in ("send", "send_many", "reserve"):
    producer.send(b"1")
if sys.argv[1] == "turn":
    threading.Thread(target=consumer.recv, daemon=True).start()
    time.sleep(0.05)
print("waits", flush=True)
try:
    wait()
except KeyboardInterrupt:
    print("interrupted", time.monotonic_ns(), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(
    "call",
    [
        "recv",
        "recv_timeout",
        "recv_message",
        "recv_into",
        "recv_many",
        "iterate",
        "borrow",
        "send",
        "send_many",
        "reserve",
        "turn",
    ],
)
def test_ctrl_c_ends_every_wait(call: str) -> None:
    # A loaded machine may be late, but not each time.
    late = []
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, call], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "waits\n"
        time.sleep(0.2)
        sent = time.monotonic_ns()
        child.send_signal(signal.SIGINT)
        word, at = child.stdout.readline().split()
        child.wait()
        child.stdout.close()
        assert word == "interrupted"
        late.append((int(at) - sent) / 1e6)
        if late[-1] < 100:
            return
    pytest.fail(f"it took {late} milliseconds")


PART_SENT = """
import signal, threading
from ultrafastring import Ring

producer = Ring.anonymous(capacity=2).producer()
threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
try:
    producer.send_many([b"1", b"2", b"3"])
except KeyboardInterrupt as error:
    print(error.sent)
"""


def test_a_batch_that_is_interrupted_says_how_many_were_sent() -> None:
    ended = subprocess.run([sys.executable, "-c", PART_SENT], capture_output=True, text=True)
    assert ended.stdout == "2\n", ended.stderr


def test_threads_share_a_consumer_in_turns(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    got: list[bytes] = []

    def receive() -> None:
        got.extend(consumer)

    threads = [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(2000):
        producer.send(n.to_bytes(4, "little"))
    producer.close()
    for thread in threads:
        thread.join()
    assert sorted(int.from_bytes(it, "little") for it in got) == list(range(2000))


def test_threads_share_a_producer_in_turns(name: str) -> None:
    ring = Ring.create(name, capacity=4)
    producer, consumer = ring.producer(), ring.consumer()

    def send(first: int) -> None:
        for n in range(first, first + 500):
            producer.send(n.to_bytes(4, "little"))

    threads = [threading.Thread(target=send, args=(500 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    got = [int.from_bytes(consumer.recv(timeout=30), "little") for _ in range(2000)]
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(2000))


def test_a_call_that_does_not_wait_does_not_wait_for_its_turn_either(name: str) -> None:
    ring = Ring.create(name, capacity=1)
    consumer, producer = ring.consumer(), ring.producer()
    waiting = threading.Thread(target=lambda: consumer.recv())
    waiting.start()
    time.sleep(0.05)
    assert consumer.try_recv() is None and consumer.try_recv_many() == []
    assert consumer.try_borrow() is None
    with pytest.raises(ultrafastring.TimedOut, match="another thread"):
        consumer.recv(timeout=0.02)
    producer.send(b"1")
    waiting.join()
    producer.send(b"1")
    waiting = threading.Thread(target=lambda: producer.send(b"2"))
    waiting.start()
    time.sleep(0.05)
    assert not producer.try_send(b"3") and producer.try_send_many([b"3"]) == 0
    assert producer.try_reserve(3) is None
    assert consumer.recv_many(2, timeout=5) == [b"1"]
    waiting.join()
    assert consumer.recv(timeout=5) == b"2"


def test_closing_ends_the_wait_of_another_thread(ring: Ring) -> None:
    consumer = ring.consumer()
    ended: list[object] = []
    waiting = threading.Thread(target=lambda: ended.extend(consumer))
    waiting.start()
    time.sleep(0.05)
    consumer.close()
    waiting.join(5)
    assert not waiting.is_alive() and not ended


def test_a_waiting_consumer_uses_little_of_a_core(ring: Ring) -> None:
    consumer = ring.consumer()
    began = time.process_time()
    with pytest.raises(TimeoutError):
        consumer.recv(timeout=3)
    assert (time.process_time() - began) / 3 < 0.005


@pytest.mark.parametrize("strategy", ["spin", "spin-then-yield", "spin-then-park", "park"])
def test_every_way_to_wait(ring: Ring, strategy: str) -> None:
    consumer = ring.consumer(wait_strategy=strategy)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        consumer.recv(timeout=0.01)
    threading.Timer(0.01, lambda: ring.producer().send(b"1")).start()
    assert consumer.recv(timeout=5) == b"1"
    with pytest.raises(ValueError, match="spin-then-park"):
        ring.producer(wait_strategy="sleep")  # type: ignore[arg-type]
