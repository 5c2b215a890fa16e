"""Queues: what they take, how many, in which order, and who gets it when processes are killed."""

import asyncio
import gc
import json
import multiprocessing
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ultrafastring
from ultrafastring import JoinableQueue, Queue, Ring, SimpleQueue

METHODS = ["fork", "spawn", "forkserver"]


# -- objects -----------------------------------------------------------------------------------

SHARED = [1]
PLAIN: list[Any] = [
    *(None, True, False, 0, 1, 127, 128, -1, -128, -129, 2**31 - 1, -(2**31), 2**31, 2**63 - 1),
    *(-(2**63), 0.0, -1.5, float("inf"), "", "text", "ü" * 300, "x" * 70_000, b"", b"bytes"),
    *(b"x" * 300, (), [], {}, (1, "a", (2, [3, {"k": (None,)}])), {1: "a", "b": 2.5, None: []}),
    *((1, 2, "three"), list(range(300)), tuple(range(300)), {n: str(n) for n in range(300)}),
    *([(), (), ()], ((((((((1,),),),),),),),)),
]
PICKLED: list[Any] = [
    *(2**63, -(2**63) - 1, 2**200, "\ud800", {1, 2}, bytearray(b"x"), complex(1, 2), range(3)),
    *((SHARED, SHARED), ((((((((((),),),),),),),),),), [[] for _ in range(40)], print, dict),
    *(ValueError("an error"), PurePath := Path("/a/b"), {"path": PurePath}),
]


@pytest.fixture(scope="module")
def plain() -> "Queue[Any]":
    return Queue(1000)


@pytest.mark.parametrize("item", [*PLAIN, *PICKLED], ids=lambda it: repr(it)[:30])
def test_an_object_comes_as_it_was_put(plain: "Queue[Any]", item: Any) -> None:
    plain.put(item)
    got = plain.get(timeout=5)
    assert type(got) is type(item)
    assert repr(got) == repr(item)
    if not isinstance(item, ValueError):
        assert got == item


def test_what_is_met_twice_in_an_object_is_one_in_the_copy(plain: "Queue[Any]") -> None:
    plain.put((SHARED, [SHARED], {"a": SHARED}))
    first, [second], third = plain.get()
    assert first is second is third["a"]
    endless: list[Any] = []
    endless.append(endless)
    plain.put(endless)
    got = plain.get()
    assert got[0] is got


class Word(str):
    """Not exactly a string."""


def test_a_subclass_of_a_plain_type_stays_one(plain: "Queue[Any]") -> None:
    plain.put((Word("word"), ultrafastring.PriorityClass.HIGH))
    word, priority = plain.get()
    assert type(word) is Word and priority is ultrafastring.PriorityClass.HIGH


def test_an_array_is_copied_beside_the_stream_and_can_be_written_to() -> None:
    numpy = pytest.importorskip("numpy")
    items: Queue[Any] = Queue(8)
    for shape in [(3,), (1 << 17,), (256, 512), (1 << 20,)]:
        array = numpy.arange(int(numpy.prod(shape)), dtype="f8").reshape(shape)
        turned, read_only = array.T, array.copy()
        read_only.setflags(write=False)
        items.put({"a": array, "again": array, "turned": turned, "every": array[::2]})
        items.put(read_only)
        got = items.get(timeout=5)
        assert (got["a"] == array).all() and got["a"] is got["again"]
        assert (got["turned"] == turned).all() and (got["every"] == array[::2]).all()
        got["a"][:] = 0
        assert memoryview(items.get(timeout=5)).readonly or array.nbytes < 1024


def test_large_buffers_do_not_pass_through_the_stream() -> None:
    numpy = pytest.importorskip("numpy")
    ring = Ring.anonymous(capacity=4, max_message=1 << 21)
    array = numpy.full(1 << 17, 7.0)
    queue_of_it = Queue._over(ring, maxsize=4)
    queue_of_it.put(array)
    message = ring.consumer().recv()
    # The stream is short, and the buffer is in one piece, at a multiple of 64.
    assert len(message) < array.nbytes + 1024
    place = message.index(array.tobytes())
    assert place % 64 == 0 and place < 1024


def test_a_connection_and_a_socket_are_passed_as_multiprocessing_does(plain: "Queue[Any]") -> None:
    here, there = multiprocessing.Pipe()
    plain.put(there)
    plain.get().send("through a connection that was passed")
    assert here.recv() == "through a connection that was passed"


LARGE = random.randbytes(100_000)
"""More than the messages of the queues that are made for it."""


def files_of(items: "Queue[Any]") -> set[str]:
    start = f"ultrafastring-item-{items._identity}"
    return {name for name in os.listdir("/dev/shm") if name.startswith(start)}


def test_an_item_that_is_larger_than_a_message_goes_into_a_file() -> None:
    items: Queue[bytes] = Queue(4, max_message=4096)
    items.put(LARGE)
    items.put(b"small")
    assert len(files_of(items)) == 1
    assert items.get() == LARGE and items.get() == b"small"
    assert not files_of(items)


def test_a_file_that_has_the_name_already_stays_and_the_item_takes_another() -> None:
    items: Queue[bytes] = Queue(4, max_message=4096)
    items.put(LARGE)
    (first,) = files_of(items)
    assert items.get() == LARGE
    # As left by a process with the same number: ultrafastring-item-QUEUE-PID-NUMBER...
    words = first.split("-")
    others = []
    for _ in range(3):
        words[4] = str(int(words[4]) + 1)
        others.append(Path("/dev/shm") / "-".join(words))
        others[-1].write_bytes(b"an item of another")
    try:
        items.put(LARGE)
        items.put(LARGE)
        assert len(files_of(items)) == 5
        assert [items.get(timeout=5) for _ in range(2)] == [LARGE] * 2
        assert files_of(items) == {other.name for other in others}
        assert all(other.read_bytes() == b"an item of another" for other in others)
    finally:
        for other in others:
            other.unlink(missing_ok=True)


async def aput_in_vain(items: "Queue[bytes]") -> None:
    """Each time that it is woken, the room is taken already."""
    putting = asyncio.create_task(items.aput(LARGE))
    for _ in range(3):
        await asyncio.sleep(0.02)
        assert items.get() == b"small"
        items.put_nowait(b"small")
    putting.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await putting
    # Although what was caught still has the call's variables.
    assert not files_of(items) and caught.tb


class Counted:
    """A large item that counts how often it is pickled."""

    def __init__(self) -> None:
        self.pickled = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.pickled += 1
        return bytes, (LARGE,)


def test_an_item_that_awaits_room_is_pickled_once_and_has_one_file() -> None:
    async def main() -> None:
        items: Queue[Any] = Queue(1, max_message=4096)
        items.put(b"small")
        item, files = Counted(), set()
        putting = asyncio.create_task(items.aput(item))
        for _ in range(3):
            await asyncio.sleep(0.02)
            files |= files_of(items)
            assert items.get() == b"small"
            items.put_nowait(b"small")
        assert len(files) == 1 and not putting.done()
        assert items.get() == b"small"
        await putting
        assert files_of(items) == files and item.pickled == 1
        assert items.get() == LARGE and not files_of(items)

    asyncio.run(main())


PUTS: dict[str, Callable[["Queue[bytes]"], object]] = {
    "nowait": lambda items: items.put_nowait(LARGE),
    "timeout": lambda items: items.put(LARGE, timeout=0.01),
    "many": lambda items: items.put_many([LARGE, LARGE], timeout=0.01),
    "ctrl-c": lambda items: items.put(LARGE),
    "closed": lambda items: items.put(LARGE),
    "asyncio": lambda items: asyncio.run(aput_in_vain(items)),
}


@pytest.mark.parametrize("way", PUTS)
def test_no_file_stays_of_an_item_that_was_not_put(way: str) -> None:
    items: Queue[bytes] = Queue(1, max_message=4096)
    items.put(b"small")
    later = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    if way == "ctrl-c":
        later.start()
    if way == "closed":
        items._rings[0].close()
    try:
        PUTS[way](items)
        assert way == "asyncio"
    except (queue.Full, KeyboardInterrupt, ultrafastring.Closed) as error:
        raised = {"ctrl-c": KeyboardInterrupt, "closed": ultrafastring.Closed}
        assert isinstance(error, raised.get(way, queue.Full))
    if way == "ctrl-c":
        later.join()
    assert not files_of(items)
    assert items.get() == b"small"


def test_a_forked_child_leaves_the_file_of_what_its_parent_is_putting() -> None:
    items: Queue[bytes] = Queue(1, max_message=4096)
    items.put(b"small")
    kept = items._put_or_keep(LARGE)
    assert kept is not None

    def child() -> None:
        kept.drop()
        assert len(files_of(items)) == 1

    in_a_fork(child)
    assert not items._put_kept(kept)
    kept.drop()
    assert not files_of(items)


def test_no_file_stays_of_an_item_that_was_listed_and_could_not_be_sent() -> None:
    items: Queue[bytes] = Queue(capacity=2, max_message=4096)
    items.put_many([LARGE] * 5)
    assert len(files_of(items)) == 5
    items._rings[0].close()
    items.close()
    items.join_thread()
    # Those of the two in the ring.
    assert len(files_of(items)) == 2
    for name in files_of(items):
        Path("/dev/shm", name).unlink()


LEAVES_A_FILE = """
import sys
from ultrafastring import Queue
queue = Queue(4, max_message=4096)
queue.put(bytes(1_000_000))
print(queue._identity)
"""


def test_files_that_nobody_got_go_with_the_process_that_made_the_queue() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES_A_FILE], capture_output=True, text=True, check=True
    )
    assert not [name for name in os.listdir("/dev/shm") if ended.stdout.strip() in name]


def test_what_cannot_be_pickled_raises_in_put_and_is_not_in_the_queue() -> None:
    items: Queue[Any] = Queue(2)
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        items.put(lambda: None)
    with pytest.raises(TypeError):
        items.put(threading.Lock())
    items.put((n for n in ()) if False else 1)
    assert items.qsize() == 1 and items.get() == 1


def test_pickling_may_use_the_queue_itself() -> None:
    items: Queue[Any] = Queue()
    global _put_by_reduce
    _put_by_reduce = items.put
    items.put([Nested()])
    assert items.get() == "from within" and items.get() == [1]


_put_by_reduce: Callable[[str], None]


class Nested:
    def __reduce__(self) -> tuple[Any, ...]:
        _put_by_reduce("from within")
        return int, (1,)


# -- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [1, 2, 3, 6, 7, 8, 100])
def test_a_queue_has_room_for_exactly_as_many_as_it_says(maxsize: int) -> None:
    items: Queue[int] = Queue(maxsize)
    for lap in range(5):
        for n in range(maxsize):
            assert not items.full() and items.qsize() == n
            items.put_nowait(n)
        assert items.full() and not items.empty()
        with pytest.raises(queue.Full):
            items.put_nowait(-1)
        with pytest.raises(queue.Full):
            items.put(-1, timeout=0.001)
        for n in range(lap % maxsize + 1):
            assert items.get_nowait() == n
            items.put_nowait(maxsize + n)
            with pytest.raises(queue.Full):
                items.put(-1, False)
        got = items.get_many(1000)
        assert len(got) == maxsize
        assert items.empty() and not items.full() and items.qsize() == 0
        with pytest.raises(queue.Empty):
            items.get_nowait()


def test_timeouts_are_as_those_of_multiprocessing() -> None:
    items: Queue[int] = Queue(1)
    for timeout in (-1, 0, 0.001, -0.5):
        with pytest.raises(queue.Empty):
            items.get(True, timeout)
    with pytest.raises(queue.Empty):
        items.get(block=False, timeout=100)
    items.put(1)
    for timeout in (-1, 0, 0.001):
        with pytest.raises(queue.Full):
            items.put(2, True, timeout)
    with pytest.raises(queue.Full):
        items.put(2, block=0)  # type: ignore[arg-type]
    assert items.get() == 1
    with pytest.raises(ValueError, match="timeout"):
        items.get(timeout=float("nan"))
    with pytest.raises(TypeError):
        items.get(timeout="soon")  # type: ignore[arg-type]


def test_without_a_size_put_never_waits_and_the_order_is_kept() -> None:
    items: Queue[int] = Queue(capacity=16)
    for n in range(10_000):
        items.put(n)
    assert items.qsize() == 10_000 and not items.full() and not items.empty()
    assert [items.get(timeout=20) for _ in range(10_000)] == list(range(10_000))
    items.put_many(range(1000))
    assert [items.get(timeout=20) for _ in range(1000)] == list(range(1000))
    assert items.empty()
    items.close()
    items.join_thread()


def threads_of(pid: str = "self") -> set[str]:
    names = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            names.add((task / "comm").read_text().strip())
        except FileNotFoundError:
            pass
    return names


def test_a_thread_is_started_only_when_the_ring_is_full_and_never_with_a_size() -> None:
    assert "queue-backlog" not in threads_of()
    bounded: Queue[int] = Queue(16)
    for n in range(16):
        bounded.put(n)
    with pytest.raises(queue.Full):
        bounded.put(16, timeout=0.01)
    items: Queue[int] = Queue(capacity=16)
    for n in range(16):
        items.put(n)
    assert "queue-backlog" not in threads_of()
    items.put(16)
    while "queue-backlog" not in threads_of():
        time.sleep(0.001)  # it gives itself its name
    assert [items.get(timeout=5) for _ in range(17)] == list(range(17))
    items.close()
    items.join_thread()


def test_put_many_says_how_many_it_has_put() -> None:
    items: Queue[int] = Queue(10)
    with pytest.raises(queue.Full) as caught:
        items.put_many(range(30), timeout=0.01)
    assert caught.value.sent == 10  # type: ignore[attr-defined]
    assert items.get_many(4) == [0, 1, 2, 3]
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)) as failed:
        items.put_many([1, 2, lambda: None, 3])
    assert failed.value.sent == 2  # type: ignore[attr-defined]
    assert items.get_many() == [4, 5, 6, 7, 8, 9, 1, 2]
    assert items.get_many(0) == []
    with pytest.raises(queue.Empty):
        items.get_many(block=False)
    items.put_many([])
    items.put_many(str(n) * (n % 90) for n in range(10))
    assert items.get_many(3) == ["", "1", "22"]


# -- the end -----------------------------------------------------------------------------------


def test_a_closed_queue_says_so() -> None:
    for items in (Queue[int](), Queue[int](3), JoinableQueue[int](), SimpleQueue[int]()):
        items.put(1)
        items.close()
        items.close()
        with pytest.raises(ValueError, match="is closed"):
            items.put(2)
        with pytest.raises(ValueError, match="is closed"):
            items.get()
        with pytest.raises(OSError, match="is closed"):
            items.empty()
    unclosed: Queue[int] = Queue()
    with pytest.raises(AssertionError, match="not closed"):
        unclosed.join_thread()


PUTS_MANY = """
import sys
from ultrafastring import Queue
from multiprocessing import get_context

def put(queue, cancel):
    queue.put_many(range(2000))
    if cancel:
        queue.cancel_join_thread()

if __name__ == "__main__":
    cancel = sys.argv[2] == "cancel"
    queue = Queue(capacity=16)
    child = get_context(sys.argv[1]).Process(target=put, args=(queue, cancel))
    child.start()
    if cancel:
        child.join()
        print(queue.qsize() < 2000)
    else:
        print([queue.get(timeout=20) for _ in range(2000)] == list(range(2000)))
        child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize("way", ["join", "cancel"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_ends_after_all_that_it_has_put_is_in_the_ring(
    method: str, way: str, tmp_path: Path
) -> None:
    program = tmp_path / "puts_many.py"
    program.write_text(PUTS_MANY)
    ended = subprocess.run(
        [sys.executable, str(program), method, way], capture_output=True, text=True, timeout=50
    )
    assert ended.stdout.split() == ["True", "0"], ended.stderr


def test_a_queue_that_is_dropped_still_sends_what_is_listed() -> None:
    ring = Ring.anonymous(capacity=4)
    items = Queue._over(ring)
    items.put_many(range(100))
    del items
    gc.collect()
    consumer = ring.consumer()
    assert len([consumer.recv(timeout=10) for _ in range(100)]) == 100


# -- processes ---------------------------------------------------------------------------------


def double(tasks: "Queue[Any]", answers: "SimpleQueue[Any]") -> None:
    while (task := tasks.get(timeout=30)) is not None:
        answers.put((os.getpid(), task * 2))


@pytest.mark.parametrize("method", METHODS)
def test_queues_are_passed_to_children(method: str) -> None:
    context = multiprocessing.get_context(method)
    tasks: Queue[Any] = Queue()
    answers: SimpleQueue[Any] = SimpleQueue()
    arguments = (tasks, answers)
    children = [context.Process(target=double, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for n in range(100):
        tasks.put(n)
    got = [answers.get() for _ in range(100)]
    for _ in children:
        tasks.put(None)
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert sorted(answer for _, answer in got) == [2 * n for n in range(100)]
    assert {pid for pid, _ in got} <= {child.pid for child in children}


def keep(items: "Queue[int]") -> None:
    globals()["_kept"] = items


def put_into_kept(n: int) -> int:
    globals()["_kept"].put(n)
    return n


def put_into(pair: "tuple[Queue[int], int]") -> None:
    pair[0].put(pair[1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_queues_are_passed_to_pools(method: str) -> None:
    items: Queue[int] = Queue()
    context = multiprocessing.get_context(method)
    with context.Pool(2, initializer=keep, initargs=(items,)) as pool:
        pool.map(put_into_kept, range(50))
        # `multiprocessing` refuses this.
        pool.map(put_into, [(items, n) for n in range(50, 60)])
        assert sorted(items.get(timeout=10) for _ in range(60)) == list(range(60))


def test_a_queue_travels_through_a_queue() -> None:
    outer: Queue[Any] = Queue()
    inner: Queue[int] = Queue(3, redeliver=True)
    outer.put(inner)
    got = outer.get()
    got.put(5)
    assert inner.get() == 5 and got.redelivered is False and type(got) is Queue


def in_a_fork(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_forked_child_has_a_list_and_a_thread_of_its_own() -> None:
    items: Queue[int] = Queue(capacity=4)
    items.put_many(range(10))

    def child() -> None:
        # What the parent has listed is the parent's.
        assert items.qsize() <= 4
        items.put(100)
        items.close()

    in_a_fork(child)
    got = [items.get(timeout=10) for _ in range(10)]
    rest = [items.get(timeout=1)] if not items.empty() else []
    assert [n for n in got + rest if n != 100] == list(range(len(got + rest) - (100 in got + rest)))
    items.put(11)
    assert items.get(timeout=5) in (9, 11, 100)


def test_a_queue_with_a_name_is_had_by_processes_that_are_no_children(name: str) -> None:
    items: Queue[Any] = Queue(10, name=name)
    code = f"from ultrafastring import Queue\nQueue(10, name={name!r}).put({{'from': 'another'}})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert items.get(timeout=5) == {"from": "another"}
    tasks: JoinableQueue[int] = JoinableQueue(name=name + "-tasks")
    tasks.put(1)
    assert JoinableQueue(name=name + "-tasks").qsize() == 1
    JoinableQueue.remove(name + "-tasks")
    with pytest.raises(ultrafastring.SettingsError, match="credit"):
        Queue(11, name=name)


# -- threads, signals, asyncio -----------------------------------------------------------------


def test_threads_share_a_queue() -> None:
    items: Queue[int] = Queue(8)
    got: list[int] = []

    def get() -> None:
        while (item := items.get(timeout=20)) >= 0:
            got.append(item)

    threads = [threading.Thread(target=get) for _ in range(4)]
    threads += [
        threading.Thread(target=items.put_many, args=(range(n, 2000, 4),)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads[4:]:
        thread.join()
    items.put_many([-1] * 4)
    for thread in threads[:4]:
        thread.join()
    assert sorted(got) == list(range(2000))


@pytest.mark.parametrize("call", ["get", "put", "join"])
def test_ctrl_c_ends_a_wait(call: str) -> None:
    items: JoinableQueue[int] = JoinableQueue(1)
    if call != "get":
        items.put(1)
    later = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    later.start()
    with pytest.raises(KeyboardInterrupt):
        {"get": items.get, "put": lambda: items.put(2), "join": items.join}[call]()
    later.join()
    assert items.qsize() == (call != "get")


@pytest.mark.parametrize("redeliver", [False, True])
def test_asyncio_puts_and_gets(redeliver: bool) -> None:
    async def main() -> None:
        items: Queue[Any] = Queue(3, redeliver=redeliver)

        async def put() -> None:
            for n in range(300):
                await items.aput(n if n % 7 else None)

        putting = asyncio.create_task(put())
        got = [await items.aget() for _ in range(300)]
        await putting
        assert got == [n if n % 7 else None for n in range(300)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(items.aget(), 0.05)
        items.put(1)
        assert await asyncio.wait_for(items.aget(), 5) == 1

    asyncio.run(main())


def test_a_reader_that_waits_takes_little_of_a_core() -> None:
    items: Queue[int] = Queue()
    shares: list[float] = []

    def wait() -> None:
        with pytest.raises(queue.Empty):
            items.get(timeout=2.0)
        shares.append(time.thread_time())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert shares[0] < 0.01, "more than 0.5 % of a core in two seconds"


# -- serializers and other users ---------------------------------------------------------------


class Reversed:
    """A serializer of one's own."""

    @staticmethod
    def dumps(obj: str) -> bytes:
        return obj.encode()[::-1]

    @staticmethod
    def loads(data: bytes) -> str:
        return data[::-1].decode()


def test_other_serializers(name: str) -> None:
    of_bytes: Queue[Any] = Queue(8, serializer="bytes")
    of_bytes.put(bytearray(b"bytes-like"))
    assert of_bytes.get() == b"bytes-like"
    with pytest.raises(TypeError):
        of_bytes.put("text")
    for serializer in ("json", json):
        of_json: Queue[Any] = Queue(8, serializer=serializer)
        of_json.put({"a": [1, None, "ü"]})
        assert of_json.get() == {"a": [1, None, "ü"]}
        again = pickle.loads(pickle.dumps(of_json))
        again.put((1, 2))
        assert of_json.get() == [1, 2]
    own: Queue[str] = Queue(8, serializer=Reversed(), max_message=100)
    own.put("word")
    own.put("long" * 1000)
    assert own.get() == "word" and own.get() == "long" * 1000
    with pytest.raises(ValueError, match="it is pickle"):
        Queue(serializer="yaml")
    with pytest.raises(TypeError, match="dumps"):
        Queue(serializer=3)  # type: ignore[arg-type]


def test_a_queue_reads_only_what_its_own_serializer_has_made(name: str) -> None:
    pickled: Queue[Any] = Queue(8, name=name)
    of_json: Queue[Any] = Queue(8, name=name, serializer="json")
    for item in (print, (1, 2), b"x" * 1000):
        pickled.put(item)
        with pytest.raises(ultrafastring.ReceiveError, match="another serializer"):
            of_json.get()
    of_json.put(1)
    with pytest.raises(ultrafastring.ReceiveError, match="another serializer"):
        pickled.get()
    assert pickled.empty()


def test_messages_that_are_no_items_are_errors() -> None:
    ring = Ring.anonymous(capacity=64, max_message=10_000)
    items = Queue._over(ring)
    producer = ring.producer()
    items.put(1)
    assert items.get() == 1
    numbers = random.Random(5)
    for n in range(2000):
        kind = numbers.choice([0, 1, 1, 1, 2, 4, 4, 4, 6, 8, 255])
        body = numbers.randbytes(numbers.choice([0, 1, 5, 12, 39, 60, 500]))
        if kind == 4 and n % 2:
            body = bytes([numbers.randrange(3), 0, 0, 0, numbers.randrange(40), 0, 0, 0]) + body
        producer.send(bytes([kind]) + body)
        try:
            items.get(timeout=5)
        except (ultrafastring.ReceiveError, pickle.UnpicklingError, ValueError, EOFError):
            pass
        except (TypeError, AttributeError, IndexError, KeyError, ImportError, MemoryError):
            pass  # what a broken stream makes of pickle
    for wrong in (b"", b"\x01", b"\x01\x10\xff\xff\xff\x7f", b"\x01" + b"\x0b\x01" * 15):
        producer.send(wrong)
        with pytest.raises(ultrafastring.ReceiveError):
            items.get(timeout=5)
    for name in (b"/etc/passwd", b"../../etc/passwd", b"ultrafastring-item-x"):
        producer.send(b"\x06" + name)
        with pytest.raises(ultrafastring.ReceiveError, match="no item"):
            items.get(timeout=5)


def as_another_user(name: str, directory: Path) -> None:
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(ultrafastring.PickleRefused, match="serializer="):
        Queue(10, name=name, directory=directory, trust="anyone")
    Queue(10, name=name, directory=directory, trust="anyone", serializer="json").put([1])
    pickled: Queue[Any]
    pickled = Queue(10, name=name, directory=directory, trust="anyone", allow_pickle=True)
    pickled.put({1, 2})


def test_pickle_is_refused_where_other_users_can_write(name: str, tmp_path: Path) -> None:
    with pytest.raises(ultrafastring.PickleRefused, match="allow_pickle=True"):
        Queue(10, name=name, directory=tmp_path, trust="anyone")
    of_json: Queue[Any]
    of_json = Queue(10, name=name, directory=tmp_path, trust="anyone", serializer="json")
    own: Queue[Any] = Queue(name=name + "-own", directory=tmp_path)
    own.put(print)
    assert own.get() is print
    if os.geteuid() != 0:
        pytest.skip("it takes root to be another user")
    for directory in [*reversed(tmp_path.parents), tmp_path]:
        if directory.stat().st_uid == 0 and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    tmp_path.chmod(0o1777)
    in_a_fork(lambda: as_another_user(name, tmp_path))
    assert of_json.get(timeout=5) == [1]
    with pytest.raises(ultrafastring.ReceiveError, match="another serializer"):
        of_json.get(timeout=5)


# -- tasks -------------------------------------------------------------------------------------


def test_join_waits_until_each_task_is_done() -> None:
    for redeliver in (False, True):
        tasks: JoinableQueue[int] = JoinableQueue(redeliver=redeliver)
        tasks.join()
        tasks.put_many(range(3))
        for n in range(3):
            assert tasks.get() == n
            with pytest.raises(TimeoutError, match="not done"):
                tasks.join(timeout=0.01)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                tasks.join(timeout=0.01)
            tasks.task_done()
        tasks.join(timeout=5)
        with pytest.raises(ValueError, match="too many times"):
            tasks.task_done()


def split(tasks: "JoinableQueue[int]", done: "Queue[int]") -> None:
    while (task := tasks.get(timeout=30)) >= 0:
        # More than there is room for in the ring.
        for _ in range(task):
            tasks.put(task // 8)
        done.put(1)
        tasks.task_done()


@pytest.mark.parametrize("redeliver", [False, True])
def test_join_waits_for_tasks_that_tasks_put(redeliver: bool) -> None:
    context = multiprocessing.get_context("fork")
    tasks: JoinableQueue[int] = JoinableQueue(redeliver=redeliver, capacity=64)
    done: Queue[int] = Queue()
    children = [context.Process(target=split, args=(tasks, done)) for _ in range(3)]
    for child in children:
        child.start()
    for _ in range(5):
        tasks.put(64)
        tasks.join(timeout=50)
        # 64 of 8 each, 8 of 1 each, 1 of 0 each.
        assert [done.get(timeout=5) for _ in range(1 + 64 + 512 + 512)]
        assert done.empty()
    tasks.put_many([-1] * 3)
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def die_with_a_task(tasks: "JoinableQueue[str]") -> None:
    while tasks.get(timeout=30) != "die":
        tasks.task_done()
    os.kill(os.getpid(), signal.SIGKILL)


def work(tasks: "JoinableQueue[str]", seen: "Queue[Any]") -> None:
    while True:
        task = tasks.get(timeout=30)
        seen.put((task, tasks.redelivered))
        tasks.task_done()
        if task == "end":
            return


@pytest.mark.parametrize("redeliver", [False, True])
def test_join_after_a_worker_was_killed_with_a_task_in_hand(redeliver: bool) -> None:
    context = multiprocessing.get_context("fork")
    tasks: JoinableQueue[str] = JoinableQueue(redeliver=redeliver)
    seen: Queue[Any] = Queue()
    killed = context.Process(target=die_with_a_task, args=(tasks,))
    killed.start()
    for task in ("one", "two", "die"):
        tasks.put(task)
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    if redeliver:
        with pytest.raises(TimeoutError):
            tasks.join(timeout=0.3)
        other = context.Process(target=work, args=(tasks, seen))
        other.start()
        tasks.join(timeout=30)
        assert seen.get(timeout=5) == ("die", True)
        tasks.put("end")
        other.join(30)
        assert seen.get(timeout=5) == ("end", False)
    tasks.join(timeout=30)


# -- kills -------------------------------------------------------------------------------------


def hold(items: "Queue[Any]", taken: "Queue[Any]") -> None:
    """Notes each item before it is done."""
    while True:
        item = items.get()
        taken.put((item, items.redelivered))
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("size", "max_message"), [(1, None), (100, None), (5000, None), (5000, 4096)]
)
def test_an_item_in_the_hand_of_a_killed_worker_goes_to_another_marked(
    size: int, max_message: int | None
) -> None:
    context = multiprocessing.get_context("fork")
    items: Queue[Any] = Queue(64, redeliver=True, max_message=max_message)
    # With a size: what a killed worker had listed would be lost.
    taken: Queue[Any] = Queue(1000)
    count = 400
    thread = threading.Thread(
        target=items.put_many, args=([b"%06d" % n * size for n in range(count)],)
    )
    thread.start()
    workers: list[Any] = []
    got: dict[bytes, list[bool]] = {}
    kills = 0
    end = time.monotonic() + 50
    while len(got) < count:
        assert time.monotonic() < end, f"{len(got)} of {count}"
        while len(workers) < 3:
            workers.append(context.Process(target=hold, args=(items, taken)))
            workers[-1].start()
        try:
            item, again = taken.get(timeout=0.02)
            got.setdefault(item[:6], []).append(again)
        except queue.Empty:
            pass
        if kills < 15 and random.random() < 0.1:
            victim = workers.pop(random.randrange(len(workers)))
            victim.kill()
            victim.join()
            kills += 1
    thread.join()
    for worker in workers:
        worker.terminate()
        worker.join()
    assert sorted(got) == [b"%06d" % n for n in range(count)]
    # The first time unmarked, unless it was noted by nobody then.
    assert all(not any(it[:1]) or len(it) == 1 for it in got.values())
    assert all(all(it[1:]) for it in got.values())


def test_an_item_is_let_go_by_done_by_the_next_get_and_by_the_end_of_the_process() -> None:
    items: Queue[int] = Queue(2, redeliver=True)
    items.put_many([1, 2])
    assert items.get() == 1
    with pytest.raises(queue.Full):
        items.put_nowait(3)
    assert items.full() and items.qsize() == 1
    items.done()
    items.done()
    items.put_nowait(3)
    assert [items.get(), items.get()] == [2, 3]
    items.put_nowait(4)
    context = multiprocessing.get_context("fork")
    items.done()
    child = context.Process(target=items.get)
    child.start()
    child.join(30)
    with pytest.raises(queue.Empty):
        items.get(timeout=0.3)


def die_with_a_large_one(items: "Queue[bytes]") -> None:
    if items.get(timeout=30) == LARGE:
        os.kill(os.getpid(), signal.SIGKILL)


LETS_GO: dict[str, Callable[["JoinableQueue[bytes]"], object]] = {
    "get": lambda items: items.get(timeout=5),
    "done": lambda items: items.done(),
    "task_done": lambda items: items.task_done(),
    "close": lambda items: items.close(),
}


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        *((Queue, way) for way in ("get", "done", "close")),
        *((JoinableQueue, way) for way in ("task_done", "close")),
    ],
)
def test_a_large_item_stays_in_its_file_until_it_is_let_go(
    kind: "type[Queue[Any]]", way: str
) -> None:
    context = multiprocessing.get_context("fork")
    items: Any = kind(4, redeliver=True, max_message=4096)
    items.put(LARGE)
    items.put(b"small")
    files = files_of(items)
    assert len(files) == 1
    for _ in range(2):
        worker = context.Process(target=die_with_a_large_one, args=(items,))
        worker.start()
        worker.join(30)
        assert worker.exitcode == -signal.SIGKILL
        assert files_of(items) == files
    assert items.get(timeout=5) == LARGE and items.redelivered
    assert files_of(items) == files
    LETS_GO[way](items)
    assert not files_of(items)


def test_a_large_item_goes_with_the_worker_that_ends_by_itself() -> None:
    items: Queue[bytes] = Queue(4, redeliver=True, max_message=4096)
    items.put(LARGE)
    worker = multiprocessing.get_context("fork").Process(target=items.get)
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0 and not files_of(items)
    with pytest.raises(queue.Empty):
        items.get(timeout=0.3)


def test_each_large_task_in_hand_has_its_own_file() -> None:
    tasks: JoinableQueue[bytes] = JoinableQueue(8, redeliver=True, max_message=4096)
    tasks.put_many([LARGE, b"small", LARGE[::-1]])
    assert [tasks.get(timeout=5) for _ in range(3)] == [LARGE, b"small", LARGE[::-1]]
    for left in (1, 1, 0):
        tasks.task_done()
        assert len(files_of(tasks)) == left
    tasks.join(timeout=5)


def put_numbers(items: "Queue[Any]", noted: Any, number: int) -> None:
    n = noted[number]
    while True:
        items.put((number, n, "x" * (n % 200)))
        n += 1
        noted[number] = n


def test_nothing_is_lost_once_put_has_returned_whoever_is_killed() -> None:
    context = multiprocessing.get_context("fork")
    items: Queue[Any] = Queue(32)
    noted = context.RawArray("Q", 3)

    def start(number: int) -> Any:
        child = context.Process(target=put_numbers, args=(items, noted, number))
        child.start()
        return child

    children = [start(number) for number in range(3)]
    got: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}

    def get(timeout: float) -> None:
        number, n, text = items.get(timeout=timeout)
        assert len(text) == n % 200
        got[number].add(n)

    for _ in range(12):
        until = time.monotonic() + random.random() * 0.1
        while time.monotonic() < until:
            get(20)
        number = random.randrange(3)
        children[number].kill()
        children[number].join()
        children[number] = start(number)
    for child in children:
        child.kill()
        child.join()
    with pytest.raises(queue.Empty):
        while True:
            get(0.5)
    for number in range(3):
        missing = set(range(noted[number])) - got[number]
        assert not missing
