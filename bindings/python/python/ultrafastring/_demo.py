"""The demo: a stream between two processes, through a ring and through a pipe."""

import argparse
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

from . import Ring, __version__

_SIZE = 40
_DESCRIPTION = "Streams between two processes, through a ring and through a pipe."


def _receive_from_ring(ring: Ring, messages: int, done: Connection) -> None:
    """Checks each message, and says how long all of them took."""
    with ring.consumer() as consumer:
        done.send(None)
        began = 0
        for number in range(messages):
            message = consumer.recv()
            began = began or time.perf_counter_ns()
            if int.from_bytes(message[:8], "little") != number:
                raise SystemExit(f"message {number} came out of order")
        done.send(time.perf_counter_ns() - began)


def _receive_from_pipe(reading: Connection, messages: int, done: Connection) -> None:
    descriptor = reading.fileno()
    done.send(None)
    began = 0
    for number in range(messages):
        message = os.read(descriptor, _SIZE)
        began = began or time.perf_counter_ns()
        if int.from_bytes(message[:8], "little") != number:
            raise SystemExit(f"message {number} came out of order")
    done.send(time.perf_counter_ns() - began)


def _through_a_ring(messages: int) -> float:
    context = multiprocessing.get_context("spawn")
    ring = Ring.anonymous(capacity=1024)
    mine, theirs = context.Pipe()
    child = context.Process(target=_receive_from_ring, args=(ring, messages, theirs))
    child.start()
    theirs.close()
    mine.recv()
    rest = bytes(_SIZE - 8)
    with ring.producer(end_when_deserted=True) as producer:
        for number in range(messages):
            producer.send(number.to_bytes(8, "little") + rest)
    took = mine.recv()
    child.join()
    stats = ring.stats()
    if (stats.sent, stats.received) != (messages, messages):
        raise SystemExit(f"the counters say {stats.sent} and {stats.received}")
    return float(took) / messages


def _through_a_pipe(messages: int) -> float:
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    mine, theirs = context.Pipe()
    child = context.Process(target=_receive_from_pipe, args=(reading, messages, theirs))
    child.start()
    reading.close()
    theirs.close()
    mine.recv()
    rest = bytes(_SIZE - 8)
    descriptor = writing.fileno()
    for number in range(messages):
        os.write(descriptor, number.to_bytes(8, "little") + rest)
    took = mine.recv()
    child.join()
    return float(took) / messages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ultrafastring", description=_DESCRIPTION)
    parser.add_argument("--messages", type=int, default=500_000, help="default: %(default)s")
    parser.add_argument("--version", action="version", version=__version__)
    messages = parser.parse_args().messages
    if messages < 1:
        parser.error("--messages is 1 or more")
    print(f"{messages:,} messages of {_SIZE} bytes from one process to another, each checked:")
    ring = _through_a_ring(messages)
    print(f"  through a ring   {ring:7.0f} ns a message", flush=True)
    pipe = _through_a_pipe(messages)
    print(f"  through os.pipe  {pipe:7.0f} ns a message, {pipe / ring:.1f} times as long")
