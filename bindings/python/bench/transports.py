"""What is measured: the ring, and what else carries messages between two Python processes.

A transport has `name`, `crowds` (whether several may send, or receive), `batches`, `in_place`, and

    make(size, senders, receivers)   in the parent, before it forks
    sender(), receiver()             in a child; each gives the calls of one side

A side's `one` sends one message of `size` bytes or receives one, and its `many` as many as `BATCH`.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable
from typing import Any

BATCH = 64


class Side:
    def __init__(self, one: Callable[..., Any], many: Callable[..., Any] | None = None) -> None:
        self.one = one
        self.many = many


class Transport:
    name = ""
    crowds = False
    batches = False
    in_place = False

    def make(self, size: int, senders: int, receivers: int) -> None:
        raise NotImplementedError

    def sender(self) -> Side:
        raise NotImplementedError

    def receiver(self) -> Side:
        raise NotImplementedError

    def done(self) -> None:
        """Cleans up in the parent."""


class UltraFastRing(Transport):
    name = "ring"
    crowds = True
    batches = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        from ultrafastring import Ring

        self.ring = Ring.anonymous(
            capacity=1024 if size <= 4096 else 16,
            max_message=size,
            exclusive_producer=senders == 1,
            exclusive_consumer=receivers == 1,
            trust_peers=self.in_place,
        )

    def sender(self) -> Side:
        self.handle = self.ring.producer()
        return Side(self.handle.send, self.handle.send_many)

    def receiver(self) -> Side:
        self.handle = self.ring.consumer()
        return Side(self.handle.recv, lambda: len(self.handle.recv_many(BATCH)))


class InPlace(UltraFastRing):
    """Writes the first byte of each message, and reads it, where it lies."""

    name = "ring, in place"
    batches = False
    in_place = True

    def sender(self) -> Side:
        reserve = self.ring.producer().reserve

        def one(data: bytes) -> None:
            with reserve(len(data)) as view:
                view[0] = 1

        return Side(one)

    def receiver(self) -> Side:
        borrow = self.ring.consumer().borrow

        def one() -> None:
            with borrow() as view:
                view[0]

        return Side(one)


class OsPipe(Transport):
    name = "os.pipe"
    crowds = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        self.size = size
        # What is larger than PIPE_BUF is not written in one piece.
        self.crowds = size <= 4096
        self.reading, self.writing = os.pipe()

    def sender(self) -> Side:
        write, writing, size = os.write, self.writing, self.size
        if size <= 4096:
            return Side(lambda data: write(writing, data))

        def one(data: bytes) -> None:
            sent = write(writing, data)
            while sent < size:
                sent += write(writing, memoryview(data)[sent:])

        return Side(one)

    def receiver(self) -> Side:
        read, reading, size = os.read, self.reading, self.size
        if size <= 4096:
            return Side(lambda: read(reading, size))

        def one() -> bytes:
            parts = []
            left = size
            while left:
                parts.append(read(reading, left))
                left -= len(parts[-1])
            return b"".join(parts)

        return Side(one)

    def done(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


class MultiprocessingPipe(Transport):
    name = "multiprocessing.Pipe"

    def make(self, size: int, senders: int, receivers: int) -> None:
        import multiprocessing

        self.reading, self.writing = multiprocessing.Pipe(duplex=False)

    def sender(self) -> Side:
        return Side(self.writing.send_bytes)

    def receiver(self) -> Side:
        return Side(self.reading.recv_bytes)

    def done(self) -> None:
        self.reading.close()
        self.writing.close()


class Zmq(Transport):
    name = "pyzmq, ipc"
    crowds = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        import zmq

        self.zmq = zmq
        self.receivers = receivers
        self.folder = tempfile.TemporaryDirectory()
        self.address = f"ipc://{self.folder.name}/socket"

    def _socket(self, kind: int, binds: bool) -> Any:
        socket = self.zmq.Context().socket(kind)
        socket.bind(self.address) if binds else socket.connect(self.address)
        return socket

    # The side of which there is one has the address.
    def sending(self) -> Any:
        return self._socket(self.zmq.PUSH, self.receivers > 1)

    def receiving(self) -> Any:
        import time

        socket = self._socket(self.zmq.PULL, self.receivers == 1)
        if self.receivers > 1:
            # Until all are connected: a sender deals its messages out to those it knows.
            time.sleep(0.3)
        return socket

    def sender(self) -> Side:
        socket = self.sending()
        return Side(lambda data: socket.send(data))

    def receiver(self) -> Side:
        return Side(self.receiving().recv)

    def done(self) -> None:
        self.folder.cleanup()


class FasterFifo(Transport):
    """It pickles unless told otherwise; here it carries bytes as they are."""

    name = "faster-fifo"
    crowds = True
    batches = True

    def make(self, size: int, senders: int, receivers: int) -> None:
        import faster_fifo

        self.queue = faster_fifo.Queue(
            max_size_bytes=max(1024 * (size + 8), 16 * (size + 8))
            if size <= 4096
            else 16 * (size + 8),
            loads=bytes,
            dumps=bytes,
        )

    def sender(self) -> Side:
        put, put_many = self.queue.put, self.queue.put_many
        return Side(
            lambda data: put(data, timeout=60), lambda messages: put_many(messages, timeout=60)
        )

    def receiver(self) -> Side:
        get, get_many = self.queue.get, self.queue.get_many
        return Side(
            lambda: get(timeout=60),
            lambda: len(get_many(timeout=60, max_messages_to_get=BATCH)),
        )


class Tachyon(Transport):
    name = "tachyon-ipc"

    def make(self, size: int, senders: int, receivers: int) -> None:
        import tachyon

        self.tachyon = tachyon
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/bus"
        self.capacity = 1 << max(16, (size * 64 - 1).bit_length())

    def sender(self) -> Side:
        import time

        for _ in range(1000):
            try:
                bus = self.tachyon.Bus.connect(self.path)
                break
            except Exception:
                time.sleep(0.01)
        return Side(lambda data: bus.send(data, type_id=1))

    def receiver(self) -> Side:
        messages = iter(self.tachyon.Bus.listen(self.path, self.capacity))
        return Side(lambda: next(messages).data)

    def done(self) -> None:
        self.folder.cleanup()


class Iceoryx2(Transport):
    """It has no call that waits for a message: the receiver asks again and again."""

    name = "iceoryx2"

    def make(self, size: int, senders: int, receivers: int) -> None:
        import ctypes

        import iceoryx2

        self.iceoryx2 = iceoryx2
        self.size = size
        self.key = f"bench-{os.getpid()}-{struct.unpack('Q', os.urandom(8))[0]}"
        self.kind = type(
            "Payload", (ctypes.Structure,), {"_fields_": [("bytes", ctypes.c_uint8 * size)]}
        )

    def _service(self) -> Any:
        iceoryx2 = self.iceoryx2
        iceoryx2.set_log_level_from_env_or(iceoryx2.LogLevel.Error)
        self.node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
        return (
            self.node.service_builder(iceoryx2.ServiceName.new(self.key))
            .publish_subscribe(self.kind)
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(64 if self.size <= 4096 else 8)
            .open_or_create()
        )

    def sender(self) -> Side:
        self.service = self._service()
        publisher = self.service.publisher_builder().create()
        while self.service.dynamic_config.number_of_subscribers == 0:
            pass
        publisher.update_connections()
        self.publisher = publisher
        kind = self.kind
        return Side(lambda data: publisher.send_copy(kind.from_buffer_copy(data)))

    def receiver(self) -> Side:
        self.service = self._service()
        self.subscriber = self.service.subscriber_builder().create()
        receive = self.subscriber.receive

        def one() -> bytes:
            while True:
                sample = receive()
                if sample is not None:
                    data = bytes(sample.payload().contents)
                    sample.delete()
                    return data

        return Side(one)


ALL: list[type[Transport]] = [
    UltraFastRing,
    InPlace,
    OsPipe,
    MultiprocessingPipe,
    Zmq,
    FasterFifo,
    Tachyon,
    Iceoryx2,
]
