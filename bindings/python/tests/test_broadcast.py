"""Broadcasts: one writer, and readers each of which gets every object, whoever is killed."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import ultrafastring
from ultrafastring import Broadcast, Queue, Ring

READER = """
import pickle, sys
from ultrafastring import Broadcast
reader = Broadcast.create_from_handle(pickle.loads(bytes.fromhex(sys.argv[1])), int(sys.argv[2]))
reader.wait_until_ready(timeout=30)
print("ready", flush=True)
while (got := reader.dequeue(timeout=30)) is not None:
    print(got[0], len(got[1]), flush=True)
"""


def reader(writer: "Broadcast[Any]", rank: int) -> "subprocess.Popen[str]":
    handle = pickle.dumps(writer.export_handle()).hex()
    command = [sys.executable, "-c", READER, handle, str(rank)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_each_reader_gets_every_object_in_order() -> None:
    writer: Broadcast[Any] = Broadcast(readers=3)
    processes = [reader(writer, rank) for rank in range(3)]
    writer.wait_until_ready(timeout=30)
    assert [line(it) for it in processes] == ["ready"] * 3
    for n in range(100):
        writer.enqueue((n, bytes(n * n * 20)))
    writer.enqueue(None)
    for process in processes:
        assert process.stdout
        with process.stdout:
            lines = process.stdout.read().splitlines()
        assert lines == [f"{n} {n * n * 20}" for n in range(100)]
        assert process.wait(30) == 0


def test_ranks_are_those_that_were_chosen_and_each_has_one_reader() -> None:
    writer: Broadcast[int] = Broadcast([3, 5], 10_000)
    handle = writer.export_handle()
    first: Broadcast[int] = Broadcast.create_from_handle(handle, 3)
    assert (first.rank, writer.rank) == (3, None)
    with pytest.raises(ultrafastring.SideTaken):
        Broadcast.create_from_handle(handle, 3)
    with pytest.raises(ValueError, match=r"\[3, 5\]"):
        Broadcast.create_from_handle(handle, 0)
    with pytest.raises(TimeoutError, match=r"\[5\]"):
        writer.wait_until_ready(timeout=0.02)
    with pytest.raises(TimeoutError, match="not ready"):
        first.wait_until_ready(timeout=0.02)
    writer.enqueue(1)  # also without the word
    first.wait_until_ready(timeout=5)
    second: Broadcast[int] = Broadcast.create_from_handle(handle, 5)
    writer.wait_until_ready(timeout=5)
    assert writer.broadcast_object(2) == 2
    for it in (first, second):
        assert [it.broadcast_object(), it.dequeue()] == [1, 2]
    with pytest.raises(RuntimeError, match="writer"):
        first.enqueue(1)
    with pytest.raises(RuntimeError, match="readers"):
        writer.dequeue()
    with pytest.raises(ValueError, match="one reader"):
        Broadcast(0)
    with pytest.raises(TypeError, match="export_handle"):
        pickle.dumps(writer)
    with pytest.raises(ultrafastring.TooLarge):
        writer.enqueue(bytes(100_000))  # type: ignore[arg-type]


def test_waits_end_in_time_and_when_they_are_cancelled() -> None:
    writer: Broadcast[int] = Broadcast(1, capacity=4)
    only: Broadcast[int] = Broadcast.create_from_handle(writer.export_handle(), 0)
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError, match="in time"):
            only.dequeue(timeout=timeout)
    stop = threading.Event()
    with pytest.raises(TimeoutError):
        only.dequeue(timeout=0.02, cancel=stop)
    later = threading.Timer(0.1, stop.set)
    later.start()
    with pytest.raises(RuntimeError, match="cancelled"):
        only.dequeue(cancel=stop)
    later.join()
    for n in range(4):
        writer.enqueue(n, timeout=1)
    with pytest.raises(TimeoutError, match="not kept up"):
        writer.enqueue(4, timeout=0.02)
    assert [only.dequeue(cancel=threading.Event()) for _ in range(4)] == [0, 1, 2, 3]


def test_a_closed_broadcast_ends_after_its_last_object() -> None:
    with Broadcast[int](1) as writer:
        only: Broadcast[int] = Broadcast.create_from_handle(writer.export_handle(), 0)
        writer.enqueue(1)
    assert only.dequeue() == 1
    with pytest.raises(ultrafastring.Closed):
        only.dequeue()
    only.close()
    assert writer.export_handle().name not in Ring.names()


@pytest.mark.parametrize("size", [1, 30_000])
def test_a_reader_that_was_killed_takes_its_place_again(size: int) -> None:
    writer: Broadcast[Any] = Broadcast(2, capacity=32)
    other: Broadcast[Any] = Broadcast.create_from_handle(writer.export_handle(), 1)
    stop = threading.Event()
    sent = 0
    rest: list[int] = []

    def write() -> None:
        nonlocal sent
        while not stop.is_set():
            writer.enqueue((sent, bytes(size)))
            sent += 1
        writer.enqueue(None)

    def read() -> None:
        while (item := other.dequeue(timeout=50)) is not None:
            rest.append(item[0])

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    process = reader(writer, 0)
    writer.wait_until_ready(timeout=30)
    for thread in threads:
        thread.start()
    got: list[int] = []
    for _ in range(6):
        assert line(process) == "ready"
        seen = [int(line(process).split()[0]) for _ in range(60)]
        process.kill()
        assert process.stdout
        # What it had printed before it was killed; a line may be cut off.
        seen += [int(it.split()[0]) for it in process.stdout if it.endswith(f" {size}\n")]
        process.stdout.close()
        process.wait()
        # One at most is missing: that which it had, and had not printed. None comes twice.
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert not got or seen[0] in (got[-1] + 1, got[-1] + 2)
        got += seen
        process = reader(writer, 0)
    assert line(process) == "ready"
    stop.set()
    assert process.stdout
    with process.stdout:
        last = process.stdout.read().splitlines()
    assert process.wait(30) == 0
    for thread in threads:
        thread.join()
    assert rest == list(range(sent))
    assert int(last[-1].split()[0]) == sent - 1 if last else got[-1] >= sent - 2


WRITER = """
import os, pickle, signal, sys
from ultrafastring import Broadcast
writer = Broadcast(1)
print(pickle.dumps(writer.export_handle()).hex(), flush=True)
writer.wait_until_ready(timeout=30)
writer.enqueue("last words")
if sys.argv[1] == "killed":
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", ["killed", "ended"])
def test_a_writer_that_dies_is_told_to_readers_within_a_second(way: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    handle = pickle.loads(bytes.fromhex(process.stdout.readline()))
    only: Broadcast[str] = Broadcast.create_from_handle(handle, 0)
    only.wait_until_ready(timeout=30)
    assert only.dequeue(timeout=30) == "last words"
    process.stdin.write("\n")
    process.stdin.close()
    with pytest.raises(ultrafastring.Deserted):
        only.dequeue(timeout=30)
    process.wait()
    process.stdout.close()
    with pytest.raises(ultrafastring.Deserted):
        only.dequeue()
    del only
    # A ring whose writer was killed is left behind, until the next broadcast is made.
    Broadcast(1).close()
    assert handle.name not in Ring.names()


def put_all(handle: Any, rank: int, out: "Queue[Any]") -> None:
    mine: Broadcast[Any] = Broadcast.create_from_handle(handle, rank)
    mine.wait_until_ready()
    while (item := mine.dequeue(timeout=30)) is not None:
        out.put((rank, item))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_in_children(method: str) -> None:
    context = multiprocessing.get_context(method)
    writer: Broadcast[Any] = Broadcast(2)
    out: Queue[Any] = Queue()
    handle = writer.export_handle()
    children = [context.Process(target=put_all, args=(handle, rank, out)) for rank in range(2)]
    for child in children:
        child.start()
    writer.wait_until_ready(timeout=30)
    for n in range(50):
        writer.enqueue(n)
    writer.enqueue(None)
    got = [out.get(timeout=30) for _ in range(100)]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    for rank in range(2):
        assert [n for it, n in got if it == rank] == list(range(50))


def test_many_readers() -> None:
    writer: Broadcast[int] = Broadcast(56)
    readers: list[Broadcast[int]]
    readers = [Broadcast.create_from_handle(writer.export_handle(), n) for n in range(56)]
    writer.wait_until_ready(timeout=10)
    for n in range(40):
        writer.enqueue(n)
        for it in readers:
            assert it.dequeue(timeout=5) == n


def test_a_reader_that_waits_takes_little_of_a_core() -> None:
    writer: Broadcast[int] = Broadcast(1)
    only: Broadcast[int] = Broadcast.create_from_handle(writer.export_handle(), 0)
    took: list[float] = []

    def wait() -> None:
        with pytest.raises(TimeoutError):
            only.dequeue(timeout=2.0)
        took.append(time.thread_time())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert took[0] < 0.01, "more than 0.5 % of a core in two seconds"


def test_a_forked_child_removes_nothing() -> None:
    writer: Broadcast[int] = Broadcast(1)
    pid = os.fork()
    if pid == 0:
        del writer
        os._exit(0)
    os.waitpid(pid, 0)
    assert writer.export_handle().name in Ring.names()
