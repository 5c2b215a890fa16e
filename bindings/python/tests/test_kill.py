"""Processes of Python and of Rust that are killed at random moments.

What a producer was told it had sent is received, by somebody, whoever is killed; a message that a
consumer held comes again. The Rust side is the command `ufr`: its path is in UFR_COMMAND, or it is
on the PATH.
"""

import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ultrafastring import Ring

KILLS = int(os.environ.get("UFR_PYTHON_KILLS", "12"))
"""So many processes are killed in each test."""

PRODUCER = """
import mmap, os, sys
from ultrafastring import Ring

name, notes, number, first, way = sys.argv[1:]
first = int(first)
notes = mmap.mmap(os.open(notes, os.O_RDWR), 0)
words = memoryview(notes).cast("Q")
producer = Ring.open(name, trust_peers=True).producer()
n = first
while True:
    lines = [b"%s %d" % (number.encode(), it) + b"." * (it % 120) for it in range(n, n + 3)]
    if way == "send":
        for line in lines:
            producer.send(line)
            n += 1
            words[int(number)] = n
    elif way == "many":
        producer.send_many(lines)
        n += 3
        words[int(number)] = n
    else:
        for line in lines:
            with producer.reserve(len(line)) as view:
                view[:] = line
            n += 1
            words[int(number)] = n
"""

CONSUMER = """
import os, sys
from ultrafastring import Ring

name, out, trust = sys.argv[1:]
out = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
consumer = Ring.open(name, trust_peers=trust == "trust").consumer(end_when_deserted=False)
while True:
    with consumer.borrow() as line:
        os.write(out, bytes(line) + b"\\n")  # in one piece, or not at all
"""


@pytest.fixture
def ufr() -> str:
    command = os.environ.get("UFR_COMMAND") or shutil.which("ufr")
    if command is None:
        pytest.skip("there is no command ufr: set UFR_COMMAND, or install it")
    return command


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[tuple[Path, memoryview]]:
    """Words in which each producer notes how far it has come."""
    path = tmp_path / "notes"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        words = memoryview(mapped).cast("Q")
        yield path, words
        words.release()


def python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


def rust_consumer(ufr: str, name: str, out: Path) -> subprocess.Popen[bytes]:
    # It writes to a pipe of its own kind, a file, and releases what it has written.
    with out.open("ab") as file:
        return subprocess.Popen([ufr, "recv", "--follow", name], stdout=file)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def received(files: list[Path]) -> dict[int, set[int]]:
    """The numbers that came, of each producer. A line that was cut by a kill does not count."""
    got: dict[int, set[int]] = {}
    for file in files:
        if not file.exists():
            continue
        for line in file.read_bytes().split(b"\n"):
            words = line.rstrip(b".").split(b" ")
            if len(words) == 2 and line.count(b".") == int(words[1]) % 120:
                got.setdefault(int(words[0]), set()).add(int(words[1]))
    return got


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def is_drained(ring: Ring) -> Callable[[], bool]:
    return lambda: (
        len(ring) == 0 and not any(it.alive for it in ring.participants() if it.side == "producer")
    )


@pytest.mark.timeout(150)
@pytest.mark.parametrize("consumer", ["python", "rust", "both"])
def test_producers_that_are_killed_lose_nothing_that_they_had_sent(
    name: str,
    notes: tuple[Path, memoryview],
    tmp_path: Path,
    consumer: str,
    request: pytest.FixtureRequest,
) -> None:
    path, words = notes
    ring = Ring.create(name, capacity=64, max_message=200)
    outs = [tmp_path / "python.out", tmp_path / "rust.out"]
    consumers = []
    if consumer != "rust":
        consumers.append(python(CONSUMER, name, outs[0], "trust"))
    if consumer != "python":
        consumers.append(rust_consumer(request.getfixturevalue("ufr"), name, outs[1]))
    seed = random.Random(1)
    ways = ["send", "many", "in place"]
    living: dict[int, subprocess.Popen[bytes]] = {}
    for number in range(KILLS + 2):
        living[number] = python(PRODUCER, name, path, number, 0, ways[number % 3])
        if number >= 2:
            until(lambda: all(words[it] > 0 for it in living))
            time.sleep(seed.random() / 20)
            kill(living.pop(seed.choice(list(living))))
    for process in living.values():
        kill(process)
    until(is_drained(ring))
    time.sleep(0.2)
    for process in consumers:
        kill(process)
    got = received(outs)
    for number in range(KILLS + 2):
        missing = set(range(words[number])) - got.get(number, set())
        assert not missing, (
            f"producer {number} had sent {words[number]}; lost: {sorted(missing)[:9]}"
        )
    assert not ring.damaged


@pytest.mark.timeout(150)
@pytest.mark.parametrize("survivor", ["python", "rust"])
@pytest.mark.parametrize("trust", ["trust", "copy"])
def test_consumers_that_are_killed_lose_nothing(
    name: str,
    notes: tuple[Path, memoryview],
    tmp_path: Path,
    survivor: str,
    trust: str,
    request: pytest.FixtureRequest,
) -> None:
    path, words = notes
    ring = Ring.create(name, capacity=64, max_message=200)
    seed = random.Random(2)
    producers = [python(PRODUCER, name, path, number, 0, "send") for number in range(2)]
    outs: list[Path] = []
    living: list[subprocess.Popen[bytes]] = []
    for n in range(KILLS + 2):
        outs.append(tmp_path / f"{n}.out")
        living.append(python(CONSUMER, name, outs[-1], trust))
        if n >= 2:
            until(lambda: outs[-1].exists() and outs[-1].stat().st_size > 0)
            time.sleep(seed.random() / 20)
            kill(living.pop(seed.randrange(len(living))))
    outs.append(tmp_path / "survivor.out")
    if survivor == "python":
        last = python(CONSUMER, name, outs[-1], trust)
    else:
        last = rust_consumer(request.getfixturevalue("ufr"), name, outs[-1])
    for process in [*producers, *living]:
        kill(process)
    until(is_drained(ring))
    # What the dead held comes when a peer finds nothing else.
    time.sleep(0.5)
    kill(last)
    got = received(outs)
    for number in range(2):
        missing = set(range(words[number])) - got.get(number, set())
        assert words[number] > 0 and not missing, f"lost: {sorted(missing)[:9]}"


def test_the_notes_are_words(notes: tuple[Path, memoryview]) -> None:
    path, words = notes
    words[1] = 7
    assert struct.unpack_from("QQ", path.read_bytes()) == (0, 7)
