"""Queues: as those of `multiprocessing`, on rings. `put` and `get` are in Rust (`src/queue/`)."""

import importlib
import os
import tempfile
import types
import uuid
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from ._aio import until
from ._errors import TimedOut
from ._ultrafastring import ObjectRing, Ring, _bytes_for_tasks, _Feeder, _Kept

if TYPE_CHECKING:
    from ._ultrafastring import _Path, _Trust

_T = TypeVar("_T")

#: Slots of a queue without a size.
_CAPACITY = 256
#: Bytes of the largest item that goes through the ring, unless chosen, and with very many slots.
_MAX_MESSAGE = 2 << 20
_LEAST_MAX_MESSAGE = 64 << 10
#: Bytes of address space that the side buffers take at most, unless chosen.
_ALL_MESSAGES = 16 << 30

_ITEMS = "ultrafastring-item-"
_OWN = {
    "_hands_of",
    "_feeder",
    "_close_feeder",
    "_join_feeder",
    "_join_cancelled",
    "_putting",
    "_getting",
}


class Serializer(Protocol):
    """What ``serializer=`` of a queue takes: an object, or a module, with these two functions."""

    def dumps(self, obj: Any, /) -> bytes | str: ...
    def loads(self, data: bytes, /) -> Any: ...


class _Module:
    """A module as a serializer: it can be pickled."""

    def __init__(self, name: str) -> None:
        module = importlib.import_module(name)
        self._name = name
        self.dumps = module.dumps
        self.loads = module.loads

    def __reduce__(self) -> tuple[Any, ...]:
        return _Module, (self._name,)


class _Side:
    """One side of a queue, as asyncio needs it."""

    def __init__(self, queue: "ObjectRing[Any]", receives: bool) -> None:
        self._queue = queue
        self._receives = receives
        self._aio: object = None

    def _fileno(self) -> int:
        return self._queue._fileno(self._receives)

    def _arm(self) -> bool:
        return self._queue._arm(self._receives)

    def _disarm(self) -> None:
        self._queue._disarm(self._receives)

    def _clear(self) -> None:
        self._queue._clear(self._receives)


# -- rings -------------------------------------------------------------------------------------


def _capacity_for(maxsize: int) -> int:
    return max(2, 1 << (maxsize - 1).bit_length())


def _max_message_for(capacity: int) -> int:
    return max(_LEAST_MAX_MESSAGE, min(_MAX_MESSAGE, _ALL_MESSAGES // capacity))


def _make(
    name: str | None,
    capacity: int,
    max_message: int | None,
    credit_limit: int | None,
    directory: "_Path | None",
    trust: "_Trust | str | None",
) -> Ring:
    settings: dict[str, Any] = {
        "capacity": capacity,
        "max_message": max_message or _max_message_for(capacity),
        "side_memory": "overcommitted",
        "credit_limit": credit_limit,
        "timestamps": "off",
        "trust": trust,
    }
    if name is None:
        return Ring.anonymous(**settings)
    return Ring.open_or_create(name, directory=directory, **settings)


def _make_tasks(ring: Ring, directory: "_Path | None", trust: "_Trust | str | None") -> Ring:
    settings: dict[str, Any] = {
        "capacity": 1,
        "max_message": _bytes_for_tasks(ring.settings.participants),
        "side_memory": "preallocated",
        "participants": 1,
        "trust": trust,
    }
    if ring.name is None:
        return Ring.anonymous(**settings)
    return Ring.open_or_create(f"{ring.name}.tasks", directory=directory, **settings)


def _identity_of(ring: Ring) -> str:
    if ring.path is None:
        return uuid.uuid4().hex[:16]
    return f"{os.stat(ring.path).st_ino:016x}"


# -- the end of a process ----------------------------------------------------------------------

_made: set[str] = set()
_made_in = 0


def _note_made(identity: str) -> None:
    """Has the files of large items that nobody got removed when this process ends."""
    global _made_in
    if _made_in != os.getpid():
        _made.clear()
        _made_in = os.getpid()
        # After the children have ended.
        util.Finalize(None, _remove_items, args=(_made,), exitpriority=-10)
    _made.add(identity)


def _remove_items(identities: set[str]) -> None:
    for directory in ("/dev/shm", tempfile.gettempdir()):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            if name.startswith(_ITEMS) and name[len(_ITEMS) :][:16] in identities:
                try:
                    os.unlink(os.path.join(directory, name))
                except OSError:
                    pass


def _let_go(queue: "weakref.ref[ObjectRing[Any]]") -> None:
    there = queue()
    if there is not None:
        there._let_go_of_all()


# -- queues ------------------------------------------------------------------------------------


def _rebuild(
    cls: type[ObjectRing[Any]], ring: Ring, identity: str, options: dict[str, Any]
) -> ObjectRing[Any]:
    return ObjectRing.__new__(cls, ring, identity, **options)


class _Passed(ObjectRing[_T]):
    """A ring of objects that may be passed to other processes."""

    _identity: str
    _options: dict[str, Any]

    @classmethod
    def _over(cls, ring: Ring, identity: str | None = None, **options: Any) -> Self:
        if identity is None:
            identity = _identity_of(ring)
        if isinstance(options.get("serializer"), types.ModuleType):
            options["serializer"] = _Module(options["serializer"].__name__)
        made = ObjectRing.__new__(cls, ring, identity, **options)
        made._identity = identity
        made._options = options
        if ring.name is None:
            _note_made(identity)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        ring, tasks = self._rings
        return (
            _rebuild,
            (type(self), ring, self._identity, {**self._options, "tasks": tasks}),
            state,
        )


class Queue(_Passed[_T]):
    """A queue of objects between processes, with the calls of ``multiprocessing.Queue``.

    >>> from ultrafastring import Queue
    >>> queue = Queue(maxsize=100)
    >>> queue.put(("AAPL", 101.5))
    >>> queue.put_many([1, 2, 3])
    >>> queue.get(), queue.qsize()
    (('AAPL', 101.5), 3)
    >>> queue.get_many()
    [1, 2, 3]

    ``maxsize`` items have room in it. Without it, ``put`` never waits: if the ring is full, items
    are listed, and a thread sends them. Any object that can be pickled is an item; it is pickled
    by ``put``. The queue may be inherited by child processes, and passed to them.

    - ``redeliver=True``: an item stays in hand until the thread gets the next one, or calls
      ``done()``. If its process is killed, another gets it, with ``redelivered`` true.
    - ``serializer``: ``"pickle"``, ``"bytes"``, ``"json"``, or an object with ``dumps`` and
      ``loads``, as msgpack.
    - ``name``: the queue is the ring of this name, which is opened or made, so that processes which
      are no children have it too; ``directory`` and ``trust`` are those of a ring. If other users
      can write to the ring, pickle is refused, unless ``allow_pickle=True``.
    - ``capacity``: slots of the ring of a queue without a size. ``max_message``: an item of more
      bytes is put into a file.
    """

    _feeder: _Feeder | None = None
    _close_feeder: util.Finalize | None = None
    _join_feeder: util.Finalize | None = None
    _join_cancelled = False
    _hands_of = 0
    _putting: _Side | None = None
    _getting: _Side | None = None

    def __new__(
        cls,
        maxsize: int = 0,
        *,
        redeliver: bool = False,
        serializer: Serializer | str | None = None,
        allow_pickle: bool = False,
        name: str | None = None,
        directory: "_Path | None" = None,
        trust: "_Trust | str | None" = None,
        capacity: int | None = None,
        max_message: int | None = None,
        ctx: object = None,
    ) -> Self:
        maxsize = max(0, maxsize)
        slots = _capacity_for(maxsize) if maxsize else capacity or _CAPACITY
        ring = _make(name, slots, max_message, maxsize or None, directory, trust)
        options: dict[str, Any] = {"maxsize": maxsize, "redeliver": redeliver}
        options |= {"serializer": serializer, "allow_pickle": allow_pickle}
        if cls._joinable:
            options["tasks"] = _make_tasks(ring, directory, trust)
        return cls._over(ring, **options)

    _joinable = False

    @staticmethod
    def remove(name: str, *, directory: "_Path | None" = None) -> None:
        """Removes the queue called ``name``, and the files of its large items."""
        path = Ring.open(name, directory=directory).path
        if path is not None:
            _remove_items({f"{os.stat(path).st_ino:016x}"})
        Ring.remove(name, directory=directory)
        try:
            Ring.remove(f"{name}.tasks", directory=directory)
        except FileNotFoundError:
            pass

    # -- items in hand -------------------------------------------------------------------------

    @property
    def redelivered(self) -> bool:
        """Whether the item that this thread got last may have been delivered before, to a worker
        that was killed. Only with ``redeliver=True``."""
        return self._redelivered

    def done(self) -> None:
        """Lets go of the item in hand: it is not delivered again. Only with ``redeliver=True``."""
        self._let_go()

    def _took_hand(self) -> None:
        """Something may be in hand from now on: a process that ends by itself lets go of it."""
        if self._hands_of != os.getpid():
            self._hands_of = os.getpid()
            util.Finalize(self, _let_go, args=(weakref.ref(self),), exitpriority=0)

    # -- the thread ----------------------------------------------------------------------------

    def _started(self, feeder: _Feeder) -> None:
        """Items are listed, and a thread sends them: the process is to end after it."""
        self._feeder = feeder
        self._close_feeder = util.Finalize(self, feeder.close, exitpriority=10)
        if not self._join_cancelled:
            self._join_feeder = util.Finalize(None, feeder.join, exitpriority=-5)

    def join_thread(self) -> None:
        """Waits until all that this process has put is in the ring. Only after ``close()``."""
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed")
        if self._feeder is not None and not self._join_cancelled:
            self._feeder.join()
            if self._join_feeder is not None:
                self._join_feeder.cancel()

    def cancel_join_thread(self) -> None:
        """Has the process not wait at its end for what is not in the ring yet: that is lost."""
        self._join_cancelled = True
        if self._join_feeder is not None:
            self._join_feeder.cancel()

    # -- asyncio -------------------------------------------------------------------------------

    async def aput(self, obj: _T) -> None:
        """Puts ``obj`` into the queue; awaits room for it."""
        if self._putting is None:
            self._putting = _Side(self, False)
        kept: _Kept | None = None

        def attempt() -> bool | None:
            nonlocal kept
            if kept is not None:
                return self._put_kept(kept) or None
            kept = self._put_or_keep(obj)
            return True if kept is None else None

        try:
            await until(self._putting, attempt, self._putting._arm)
        finally:
            if kept is not None:
                kept.drop()

    async def aget(self) -> _T:
        """The next item; awaits it."""
        from queue import Empty

        if self._getting is None:
            self._getting = _Side(self, True)

        def attempt() -> tuple[_T] | None:
            try:
                return (self.get_nowait(),)
            except Empty:
                return None

        return (await until(self._getting, attempt, self._getting._arm))[0]


class JoinableQueue(Queue[_T]):
    """A queue of tasks: as ``multiprocessing.JoinableQueue``.

    >>> from ultrafastring import JoinableQueue
    >>> queue = JoinableQueue()
    >>> queue.put("task")
    >>> queue.get()
    'task'
    >>> queue.task_done()
    >>> queue.join()

    A process that has got a task calls ``task_done()`` once for it. ``join()`` waits for each task
    that is in the queue, or that a living process has listed or in hand. A task that a worker had
    in hand when it was killed is lost, and not waited for. With ``redeliver=True`` another worker
    gets it, and ``join()`` waits for that.
    """

    _joinable = True

    def task_done(self) -> None:
        """Says that a task is done which this process got. Raises ``ValueError`` if it has none in
        hand."""
        self._task_done()

    def join(self, timeout: float | None = None) -> None:
        """Waits until no task is left. Raises ``TimedOut`` after ``timeout`` seconds."""
        if not self._wait_done(timeout):
            raise TimedOut("there are tasks that are not done")


class SimpleQueue(_Passed[_T]):
    """A queue without a thread, as ``multiprocessing.SimpleQueue``: ``put`` waits while it is full.

    >>> from ultrafastring import SimpleQueue
    >>> queue = SimpleQueue()
    >>> queue.put([1, 2, 3])
    >>> queue.get(), queue.empty()
    ([1, 2, 3], True)
    """

    def __new__(
        cls,
        *,
        serializer: Serializer | str | None = None,
        capacity: int = _CAPACITY,
        max_message: int | None = None,
        ctx: object = None,
    ) -> Self:
        ring = _make(None, capacity, max_message, None, None, None)
        return cls._over(ring, maxsize=ring.capacity, serializer=serializer)

    def empty(self) -> bool:
        """Whether there is no item."""
        if self._closed:
            raise OSError("handle is closed")
        return super().empty()


# Where users find them.
for _class in (Queue, JoinableQueue, SimpleQueue):
    _class.__module__ = "ultrafastring"
