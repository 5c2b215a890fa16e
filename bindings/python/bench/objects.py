"""What carries objects between Python processes: the queues of this package, and others.

The same transports as in `transports.py`, but a side's `one` puts the object that it is given, or
gets one. All queues have a size, so that none grows while its receivers are slower.
"""

from __future__ import annotations

import pickle
from typing import Any

from transports import BATCH, FasterFifo, Side, Transport, Zmq


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


class FasterFifoPickle(FasterFifo):
    """Here it pickles."""

    def make(self, size: int, senders: int, receivers: int) -> None:
        import faster_fifo

        self.queue = faster_fifo.Queue(max_size_bytes=places(size) * (size + 256))


class ZmqPickle(Zmq):
    name = "pyzmq, pickle"

    def make(self, size: int, senders: int, receivers: int) -> None:
        super().make(size, senders, receivers)
        self.copy = size < 1 << 16

    def sender(self) -> Side:
        socket, copy = self.sending(), self.copy

        def one(item: Any) -> None:
            socket.send(pickle.dumps(item, 5), copy=copy)

        return Side(one)

    def receiver(self) -> Side:
        socket = self.receiving()
        if self.copy:
            return Side(lambda: pickle.loads(socket.recv()))
        return Side(lambda: pickle.loads(socket.recv(copy=False).buffer))


OBJECTS: list[type[Transport]] = [
    OurQueue,
    NoSize,
    Multiprocessing,
    MultiprocessingSimple,
    FasterFifoPickle,
    ZmqPickle,
    Torch,
]
