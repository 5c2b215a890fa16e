"""asyncio: awaiting messages and room through a descriptor that the loop watches.

A call takes or sends its message at once, with no `await` after that: who cancels it loses nothing.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from ._errors import Closed, Deserted
from ._ultrafastring import Consumer, Message, Producer

_T = TypeVar("_T")


class _Handle(Protocol):
    """What is awaited through a descriptor."""

    _aio: object

    def _fileno(self) -> int: ...
    def _disarm(self) -> None: ...
    def _clear(self) -> None: ...


#: So many calls in a row are served before other tasks have a turn.
_IN_A_ROW = 128


class _Awaited:
    """The tasks that await one handle, in one loop."""

    __slots__ = ("in_a_row", "loop", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiters: set[asyncio.Future[None]] = set()
        self.in_a_row = 0

    def readable(self, handle: _Handle) -> None:
        handle._clear()
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


def _awaited(handle: _Handle) -> _Awaited:
    loop = asyncio.get_running_loop()
    awaited = handle._aio
    if isinstance(awaited, _Awaited):
        if awaited.loop is loop:
            return awaited
        if awaited.waiters and not awaited.loop.is_closed():
            raise RuntimeError(
                "this handle is awaited in another event loop; take a handle of its own for each"
            )
    handle._aio = awaited = _Awaited(loop)
    return awaited


async def until(handle: _Handle, attempt: Callable[[], _T | None], arm: Callable[[], bool]) -> _T:
    awaited = _awaited(handle)
    awaited.in_a_row += 1
    if awaited.in_a_row >= _IN_A_ROW:
        awaited.in_a_row = 0
        await asyncio.sleep(0)
    while True:
        got = attempt()
        if got is not None:
            return got
        awaited.in_a_row = 0
        descriptor = handle._fileno()
        if not arm():
            await _readable(handle, awaited, descriptor)


async def _readable(handle: _Handle, awaited: _Awaited, descriptor: int) -> None:
    loop = awaited.loop
    waiter: asyncio.Future[None] = loop.create_future()
    if not awaited.waiters:
        loop.add_reader(descriptor, partial(awaited.readable, handle))
    awaited.waiters.add(waiter)
    try:
        await waiter
    except BaseException:
        if len(awaited.waiters) == 1:
            # What it may have been woken for is for others.
            handle._disarm()
        raise
    finally:
        awaited.waiters.discard(waiter)
        if not awaited.waiters:
            loop.remove_reader(descriptor)


async def arecv(consumer: Consumer) -> bytes:
    return await until(consumer, consumer.try_recv, consumer._arm)


async def arecv_message(consumer: Consumer) -> Message:
    return await until(consumer, consumer.try_recv_message, consumer._arm)


async def arecv_many(consumer: Consumer, most: int) -> list[bytes]:
    if most == 0:
        return []
    return await until(consumer, lambda: consumer.try_recv_many(most) or None, consumer._arm)


async def anext_(consumer: Consumer) -> bytes:
    try:
        return await arecv(consumer)
    except (Closed, Deserted):
        raise StopAsyncIteration from None


async def asend(producer: Producer, data: bytes, priority: int | str | None) -> None:
    await until(
        producer,
        lambda: producer.try_send(data, priority) or None,
        lambda: producer._arm(priority),
    )
