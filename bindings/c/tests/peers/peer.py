"""A process of the acceptance test, in Python: as `peer.c`."""

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable

import ultrafastring
from ultrafastring import Consumer, Producer, Ring

# As in `exchange.h`, so where the words of the log are.
LARGEST = 2000
MOST = 1 << 25
ALIKE = 16
NEXT, STOP, LARGE, UNTIL, SENT, RECEIVED = 0, 8, 16, 24, 32, 32 + MOST

# As compilers number the orderings.
SEQ_CST = 5

# A wait after which a worker looks whether it is to stop.
SOON = 0.02


def message(number: int, large: bool) -> bytes:
    size = 41 + number * 37 % (LARGEST - 40) if large else 8 + number // ALIKE % 33
    return number.to_bytes(8, "little") + bytes([number * 31 % 256]) * (size - 8)


class Log:
    """What all processes of a run share. Compilers' own library has the atomic operations."""

    def __init__(self, path: str) -> None:
        file = os.open(path, os.O_RDWR)
        self.memory = mmap.mmap(file, 0)
        os.close(file)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        atomic = ctypes.CDLL("libatomic.so.1")

        def adds(size: int, kind: type[ctypes.c_uint8 | ctypes.c_uint64]) -> Callable[..., int]:
            add = atomic[f"__atomic_fetch_add_{size}"]
            add.argtypes, add.restype = (ctypes.c_void_p, kind, ctypes.c_int), kind
            return add

        self.add_to_byte = adds(1, ctypes.c_uint8)
        self.add_to_word = adds(8, ctypes.c_uint64)

    def word(self, at: int) -> int:
        return int.from_bytes(self.memory[at : at + 8], "little")

    def stopped(self) -> bool:
        return self.word(STOP) != 0

    def goes_on(self) -> bool:
        """Waits until messages may be begun."""
        while not self.stopped():
            if self.word(NEXT) < self.word(UNTIL):
                return True
            time.sleep(0.0001)
        return False

    def is_large(self, number: int) -> bool:
        return self.word(LARGE) != 0 and number % 2 == 0

    def next(self, count: int) -> int:
        first = self.add_to_word(self.start + NEXT, count, SEQ_CST)
        self.memory[SENT + first : SENT + first + count] = b"\1" * count
        return first

    def sent(self, number: int) -> None:
        self.memory[SENT + number] = 2

    def note(self, data: bytes, redelivered: bool) -> None:
        number = int.from_bytes(data[:8], "little")
        if number >= MOST or data != message(number, self.is_large(number)):
            sys.exit("peer.py: a message is not one that was sent")
        self.add_to_byte(self.start + RECEIVED + number, 16 if redelivered else 1, SEQ_CST)


def send_all(producer: Producer, count: int, large: bool) -> None:
    # A receiver that finds something wrong ends.
    producer.end_when_deserted(True)
    for number in range(count):
        producer.send(message(number, large), priority=number // ALIKE % 5)
    producer.close()


def receive_all(consumer: Consumer, count: int, large: bool) -> None:
    number = 0
    try:
        while True:
            got = consumer.recv_message()
            same = got.data == message(number, large) and got.priority == number // ALIKE % 5
            if not same or got.position != number:
                sys.exit(f"peer.py: message {number} is another one")
            number += 1
    except ultrafastring.Closed:
        if number != count:
            sys.exit(f"peer.py: {number} messages came")


def produce(producer: Producer, log: Log) -> None:
    def went(call: Callable[..., object], *arguments: object) -> int:
        try:
            call(*arguments)
        except ultrafastring.TimedOut:
            return 0
        return 1

    def in_place(data: bytes, priority: int) -> None:
        with producer.reserve(len(data), priority=priority, timeout=SOON) as view:
            view[:] = data

    while log.goes_on():
        # In turn one by one, written in place, and in batches.
        way = log.word(NEXT) // ALIKE % 3
        count = 3 if way == 2 else 1
        first = log.next(count)
        if first + count > MOST:
            return
        messages = [message(number, log.is_large(number)) for number in range(first, first + count)]
        priority = first // ALIKE % 5
        done = 0
        while done < count and not log.stopped():
            if way == 0:
                sent = went(producer.send, messages[0], priority, SOON)
            elif way == 1:
                sent = went(in_place, messages[0], priority)
            else:
                try:
                    producer.send_many(messages[done:], priority, SOON)
                    sent = count - done
                except ultrafastring.TimedOut as error:
                    sent = error.sent
            for number in range(first + done, first + done + sent):
                log.sent(number)
            done += sent


def consume(consumer: Consumer, log: Log) -> None:
    while not log.stopped():
        try:
            borrowed = consumer.borrow(timeout=SOON)
        except ultrafastring.TimedOut:
            continue
        with borrowed as view:
            log.note(bytes(view), borrowed.redelivered)


def main() -> None:
    what, directory, name, *rest = sys.argv[1:]
    ring = Ring.open(name, directory=directory, trust_peers=True)
    if what == "send":
        send_all(ring.producer(), int(rest[0]), rest[1] == "large")
    elif what == "recv":
        receive_all(ring.consumer(), int(rest[0]), rest[1] == "large")
    elif what == "produce":
        produce(ring.producer(), Log(rest[0]))
    elif what == "consume":
        consume(ring.consumer(), Log(rest[0]))
    else:
        sys.exit("peer.py: send, recv, produce or consume")


main()
