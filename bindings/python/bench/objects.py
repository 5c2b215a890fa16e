"""What carries objects between Python processes: the queues of this package, and others.

The same transports as in `transports.py`, but a side's `one` puts the object that it is given, or
gets one. All queues have a size, so that none grows while its receivers are slower.
"""

from __future__ import annotations

import pickle
import tempfile
from typing import Any

from transports import BATCH, Side, Transport


def sample(item: str, size: int) -> Any:
    if item == "tuple":
        return (12345, 678, "hello")
    import numpy

    return numpy.zeros(size // 8)


def places(size: int) -> int:
    return 1024 if size < 1 << 20 else 32


class OurQueue(Transport):
    name = "ring: Queue"
    crowds = True
    batches = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        from ultrafastring import Queue

        self.queue: Queue[Any] = Queue(places(size))

    def sender(self) -> Side:
        return Side(self.queue.put, self.queue.put_many)

    def receiver(self) -> Side:
        return Side(self.queue.get, lambda: len(self.queue.get_many(BATCH)))


class NoSize(OurQueue):
    """It lists what there is no room for."""

    name = "ring: Queue, no size"

    def make(self, size: int, senders: int, receivers: int) -> None:
        from ultrafastring import Queue

        self.queue = Queue()


class Multiprocessing(Transport):
    name = "multiprocessing.Queue"
    crowds = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        import multiprocessing

        self.queue = multiprocessing.get_context("fork").Queue(places(size))

    def sender(self) -> Side:
        return Side(self.queue.put)

    def receiver(self) -> Side:
        return Side(self.queue.get)


class MultiprocessingSimple(Multiprocessing):
    name = "SimpleQueue"

    def make(self, size: int, senders: int, receivers: int) -> None:
        import multiprocessing

        self.queue = multiprocessing.get_context("fork").SimpleQueue()


class Torch(Multiprocessing):
    name = "torch.multiprocessing"

    def make(self, size: int, senders: int, receivers: int) -> None:
        import torch.multiprocessing

        self.queue = torch.multiprocessing.get_context("fork").Queue(places(size))


class FasterFifo(Transport):
    name = "faster-fifo"
    crowds = True
    batches = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        import faster_fifo

        self.queue = faster_fifo.Queue(max_size_bytes=places(size) * (size + 256))

    def sender(self) -> Side:
        put, put_many = self.queue.put, self.queue.put_many
        return Side(lambda it: put(it, timeout=60), lambda items: put_many(items, timeout=60))

    def receiver(self) -> Side:
        get, get_many = self.queue.get, self.queue.get_many
        return Side(
            lambda: get(timeout=60),
            lambda: len(get_many(timeout=60, max_messages_to_get=BATCH)),
        )


class Zmq(Transport):
    name = "pyzmq, pickle"
    crowds = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        import zmq

        self.zmq = zmq
        self.receivers = receivers
        self.size = size
        self.folder = tempfile.TemporaryDirectory()
        self.address = f"ipc://{self.folder.name}/socket"

    def _socket(self, kind: int, binds: bool) -> Any:
        socket = self.zmq.Context().socket(kind)
        socket.bind(self.address) if binds else socket.connect(self.address)
        return socket

    # The side of which there is one has the address.
    def sender(self) -> Side:
        socket = self._socket(self.zmq.PUSH, self.receivers > 1)
        copy = self.size < 1 << 16

        def one(item: Any) -> None:
            socket.send(pickle.dumps(item, 5), copy=copy)

        return Side(one)

    def receiver(self) -> Side:
        import time

        socket = self._socket(self.zmq.PULL, self.receivers == 1)
        if self.receivers > 1:
            # Until all are connected: a sender deals its messages out to those it knows.
            time.sleep(0.3)
        if self.size < 1 << 16:
            return Side(lambda: pickle.loads(socket.recv()))
        return Side(lambda: pickle.loads(socket.recv(copy=False).buffer))

    def done(self) -> None:
        self.folder.cleanup()


OBJECTS: list[type[Transport]] = [
    OurQueue,
    NoSize,
    Multiprocessing,
    MultiprocessingSimple,
    FasterFifo,
    Zmq,
    Torch,
]
