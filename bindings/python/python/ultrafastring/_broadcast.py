"""Broadcasts: one writer, and readers each of which gets every object."""

import os
import time
import uuid
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, Full
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from ._errors import Cancelled, RingError, TimedOut
from ._queues import Serializer
from ._ultrafastring import ObjectRing, Ring, _remove_stale

_T = TypeVar("_T")

_PREFIX = "ultrafastring-broadcast-"

#: Seconds after which a call that waits looks whether it was cancelled.
_SLICE = 0.05


class _Event(Protocol):
    """What cancels a call: an event of threads or of processes."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class BroadcastHandle:
    """What a reader needs to take part. Any process of the user may have it, by any way."""

    name: str
    ranks: tuple[int, ...]


def _group(rank: int) -> str:
    return f"reader-{rank}"


def _remove(name: str, pid: int) -> None:
    # A child that was forked has not made it.
    if os.getpid() == pid:
        try:
            Ring.remove(name)
        except RingError:
            pass


def _remove_stale_ones() -> None:
    """Those whose writer was killed, and that nobody has open."""
    for name in Ring.names():
        if name.startswith(_PREFIX):
            try:
                _remove_stale(name)
            except RingError:
                pass


class Broadcast(Generic[_T]):
    """One writer, and readers each of which gets every object, in order.

    >>> from ultrafastring import Broadcast
    >>> writer = Broadcast(readers=2)
    >>> handle = writer.export_handle()  # can be pickled, and sent to other processes
    >>> readers = [Broadcast.create_from_handle(handle, rank) for rank in (0, 1)]
    >>> writer.wait_until_ready()
    >>> writer.enqueue({"step": 1})
    >>> [reader.dequeue(timeout=1.0) for reader in readers]
    [{'step': 1}, {'step': 1}]

    ``readers`` says how many there are, with the ranks from 0, or which ranks they have. Nothing is
    lost: ``enqueue`` waits for the slowest reader once ``capacity`` objects are under way. A call
    that waits sleeps. A reader that was killed takes its place again by ``create_from_handle`` with
    its rank, and goes on where it was. If the writer dies, the readers get what it has sent, and
    then ``Deserted``.
    """

    def __init__(
        self,
        readers: int | Iterable[int],
        max_message: int = 16 << 20,
        *,
        capacity: int = 16,
        serializer: Serializer | str | None = None,
    ) -> None:
        ranks = tuple(range(readers) if isinstance(readers, int) else readers)
        if not ranks:
            raise ValueError("a broadcast has one reader or more")
        _remove_stale_ones()
        name = f"{_PREFIX}{uuid.uuid4().hex}"
        ring = Ring.create(
            name,
            capacity=capacity,
            max_message=max_message,
            side_memory="overcommitted",
            exclusive_producer=True,
            groups=[_group(rank) for rank in ranks],
            timestamps="off",
        )
        self._remove = weakref.finalize(self, _remove, name, os.getpid())
        # From the start: no object passes a reader that has not joined yet.
        for rank in ranks:
            ring.remove_group(_group(rank))
            ring.join(_group(rank), durable=True, exclusive=True).leave()
        self._set(ring, BroadcastHandle(name, ranks), None, serializer)

    def _set(
        self,
        ring: Ring,
        handle: BroadcastHandle,
        rank: int | None,
        serializer: Serializer | str | None,
    ) -> None:
        self._ring = ring
        self._handle = handle
        self._rank = rank
        group = None if rank is None else _group(rank)
        self._objects: ObjectRing[_T] = ObjectRing(
            ring, None, maxsize=ring.capacity, serializer=serializer, group=group
        )
        self._objects._take_part(rank is not None)

    def export_handle(self) -> BroadcastHandle:
        """What readers need; see ``create_from_handle``."""
        return self._handle

    @classmethod
    def create_from_handle(
        cls,
        handle: BroadcastHandle,
        rank: int,
        *,
        serializer: Serializer | str | None = None,
    ) -> "Broadcast[Any]":
        """Takes the place of the reader ``rank``. Raises ``SideTaken`` if somebody has it."""
        if rank not in handle.ranks:
            raise ValueError(f"{rank} is none of the ranks {list(handle.ranks)}")
        made = cls.__new__(cls)
        made._set(Ring.open(handle.name), handle, rank, serializer)
        return made

    @property
    def rank(self) -> int | None:
        """The rank of this reader; ``None`` of the writer."""
        return self._rank

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Waits until everybody is there: the writer for all readers, and they for the writer's
        word, or its first object. Raises ``TimedOut`` after ``timeout`` seconds, and in a reader
        ``Deserted`` if the writer has died."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._rank is None:
            self._wait_for_readers(deadline)
            self._objects._notify()
            return
        while not self._was_told():
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOut("the writer was not ready in time")
            self._objects._wait_message(_SLICE)

    def _wait_for_readers(self, deadline: float | None) -> None:
        pause = 0.001
        while True:
            there = {group.name for group in self._ring.groups() if group.members}
            missing = [rank for rank in self._handle.ranks if _group(rank) not in there]
            if not missing:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOut(f"these readers were not ready in time: {missing}")
            time.sleep(pause)
            pause = min(2 * pause, _SLICE)

    def _was_told(self) -> bool:
        assert self._rank is not None
        name = _group(self._rank)
        return any(it.position + it.lag for it in self._ring.groups() if it.name == name)

    def enqueue(self, obj: _T, timeout: float | None = None) -> None:
        """Sends ``obj`` to all readers; waits while ``capacity`` objects are under way to the
        slowest. Raises ``TimedOut`` after ``timeout`` seconds, and ``TooLarge``."""
        if self._rank is not None:
            raise RuntimeError("only the writer sends")
        try:
            self._objects.put(obj, True, timeout)
        except Full:
            raise TimedOut("a reader has not kept up in time") from None

    def dequeue(self, timeout: float | None = None, cancel: _Event | None = None) -> _T:
        """The next object; waits for it. Raises ``TimedOut`` after ``timeout`` seconds,
        ``Cancelled`` once ``cancel.is_set()``, ``Deserted`` if the writer has died, and ``Closed``
        if it has closed the broadcast, each after the last object."""
        if self._rank is None:
            raise RuntimeError("only readers receive")
        if cancel is None:
            try:
                return self._objects.get(True, timeout)
            except Empty:
                raise TimedOut("no object came in time") from None
        deadline = None if timeout is None else time.monotonic() + timeout
        while not cancel.is_set():
            left = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
            try:
                return self._objects.get(True, left)
            except Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimedOut("no object came in time") from None
        raise Cancelled("the call was cancelled")

    def broadcast_object(self, obj: _T | None = None) -> _T | None:
        """Sends ``obj`` in the writer, and receives it in a reader; gives it in both."""
        if self._rank is not None:
            return self.dequeue()
        self.enqueue(obj)  # type: ignore[arg-type]
        return obj

    def close(self) -> None:
        """Ends the broadcast in the writer: readers get what is left and then ``Closed``. A reader
        leaves its place, which waits for it."""
        if self._rank is None:
            self._ring.close()
            self._remove()
        self._objects.close()
        self._ring.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("pass export_handle() to the other process, and make a reader of it there")


# Where users find them.
for _class in (Broadcast, BroadcastHandle):
    _class.__module__ = "ultrafastring"
